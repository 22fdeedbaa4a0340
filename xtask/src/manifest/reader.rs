//! Typed access to the parsed text: every getter reports what is wrong with a value, at its place, and goes on.

use std::{cell::RefCell, ops::Range, ops::RangeInclusive};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    diagnostic::{Diagnostic, Rule},
    quantity::{self, Malformed},
    spelling,
};

/// A value of the parsed text with its place.
pub(super) type Value<'t> = Spanned<DeValue<'t>>;

/// The mistakes found so far.
#[derive(Default)]
pub(super) struct Findings {
    diagnostics: RefCell<Vec<Diagnostic>>,
}

impl Findings {
    pub(super) fn report(&self, diagnostic: Diagnostic) {
        self.diagnostics.borrow_mut().push(diagnostic);
    }

    pub(super) fn has_errors(&self) -> bool {
        self.diagnostics.borrow().iter().any(|found| !found.rule.is_warning())
    }

    pub(super) fn into_diagnostics(self) -> Vec<Diagnostic> {
        self.diagnostics.into_inner()
    }
}

/// Keys that make sense in other sections, and what to say to who writes them here.
pub(super) struct Elsewhere {
    pub(super) keys: &'static [&'static str],
    pub(super) hint: &'static str,
}

/// One table of the text, whose keys are all known.
pub(super) struct Section<'t> {
    table: &'t DeTable<'t>,
    /// Where to point if something is missing from it.
    span: Range<usize>,
    /// What it describes, for messages: `domain `fat``.
    what: String,
    findings: &'t Findings,
}

impl<'t> Section<'t> {
    /// The section in `table`; keys that are not in `keys` are reported.
    pub(super) fn open(
        table: &'t DeTable<'t>,
        span: Range<usize>,
        what: impl Into<String>,
        keys: &'static [&'static str],
        elsewhere: Option<Elsewhere>,
        findings: &'t Findings,
    ) -> Self {
        let what = what.into();
        for key in table.keys() {
            let name: &str = key.get_ref();
            if keys.contains(&name) {
                continue;
            }
            let elsewhere = elsewhere.as_ref().filter(|other| other.keys.contains(&name));
            let hint = match elsewhere {
                Some(elsewhere) => Some(elsewhere.hint.to_owned()),
                None => spelling::hint(name, keys.iter().copied()),
            };
            findings.report(
                Diagnostic::new(Rule::UnknownKey, key.span(), format!("{what} has no key `{name}`"))
                    .label("unknown key")
                    .maybe_hint(hint),
            );
        }
        Self { table, span, what, findings }
    }

    pub(super) fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    pub(super) fn findings(&self) -> &'t Findings {
        self.findings
    }

    pub(super) fn value(&self, key: &str) -> Option<&'t Value<'t>> {
        self.table.get(key)
    }

    pub(super) fn text(&self, key: &str) -> Option<Spanned<&'t str>> {
        text(key, self.value(key)?, self.findings)
    }

    /// The text at `key`, whose absence is a mistake.
    pub(super) fn required_text(&self, key: &str, example: &str) -> Option<Spanned<&'t str>> {
        if self.value(key).is_none() {
            self.report_missing(key, example);
        }
        self.text(key)
    }

    pub(super) fn report_missing(&self, key: &str, example: &str) {
        self.findings.report(
            Diagnostic::new(Rule::MissingKey, self.span(), format!("{} needs the key `{key}`", self.what))
                .label(format!("`{key}` is missing"))
                .hint(format!("add `{key} = {example}`")),
        );
    }

    pub(super) fn flag(&self, key: &str) -> Option<bool> {
        let value = self.value(key)?;
        match value.get_ref() {
            DeValue::Boolean(flag) => Some(*flag),
            _ => {
                report_type(key, value, "`true` or `false`", self.findings);
                None
            }
        }
    }

    pub(super) fn number(&self, key: &str, range: RangeInclusive<u64>) -> Option<Spanned<u64>> {
        number(key, self.value(key)?, range, self.findings)
    }

    pub(super) fn size(&self, key: &str, range: RangeInclusive<u64>) -> Option<Spanned<u64>> {
        let written = text(key, self.value(key)?, self.findings)?;
        let report = |message: String, hint: &str| {
            self.findings.report(Diagnostic::new(Rule::InvalidSize, written.span(), message).hint(hint));
        };
        let how = "write a whole number and K, M or G, such as \"64K\" or \"6M\"";
        match quantity::parse_size(written.get_ref()) {
            Ok(bytes) if range.contains(&bytes) => Some(Spanned::new(written.span(), bytes)),
            Ok(bytes) => {
                let (least, most) = range.into_inner();
                let message = format!(
                    "`{key}` of {} is out of range: {} to {} are possible",
                    quantity::show_size(bytes),
                    quantity::show_size(least),
                    quantity::show_size(most)
                );
                report(message, "choose a size within the range");
                None
            }
            Err(Malformed::PartialPage) => {
                let message = format!("`{key}` of {} is not a whole number of pages", written.get_ref());
                report(message, "memory comes in pages of 4K: round up to a multiple of 4K");
                None
            }
            Err(Malformed::TooLarge) => {
                report(format!("`{key}` of {} is more than any machine has", written.get_ref()), how);
                None
            }
            Err(Malformed::NoNumber | Malformed::Unit) => {
                report(format!("`{key}` is not a size: {:?}", written.get_ref()), how);
                None
            }
        }
    }

    /// A duration in microseconds, within `range` of them.
    pub(super) fn duration(&self, key: &str, range: RangeInclusive<u64>) -> Option<u64> {
        let written = text(key, self.value(key)?, self.findings)?;
        let report = |message: String, hint: &str| {
            self.findings.report(Diagnostic::new(Rule::InvalidDuration, written.span(), message).hint(hint));
        };
        let how = "write a whole number and us, ms, s or min, such as \"20ms\" or \"2s\"";
        match quantity::parse_duration(written.get_ref()) {
            Ok(duration) if range.contains(&duration) => Some(duration),
            Ok(_) | Err(Malformed::TooLarge) => {
                let (least, most) = range.into_inner();
                let message = format!(
                    "`{key}` of {} is out of range: {} to {} are possible",
                    written.get_ref(),
                    quantity::show_duration(least),
                    quantity::show_duration(most)
                );
                report(message, "choose a duration within the range");
                None
            }
            Err(_) => {
                report(format!("`{key}` is not a duration: {:?}", written.get_ref()), how);
                None
            }
        }
    }

    /// The elements of the list at `key`; none if it is absent or no list.
    pub(super) fn list(&self, key: &str) -> &'t [Value<'t>] {
        match self.value(key) {
            None => &[],
            Some(value) => match value.get_ref() {
                DeValue::Array(array) => array,
                _ => {
                    report_type(key, value, "a list", self.findings);
                    &[]
                }
            },
        }
    }

    /// The list of texts at `key`.
    pub(super) fn texts(&self, key: &str) -> Vec<Spanned<&'t str>> {
        self.list(key).iter().filter_map(|value| text(key, value, self.findings)).collect()
    }

    /// The table at `key`, with its keys checked against `keys`.
    pub(super) fn section(
        &self,
        key: &str,
        what: impl Into<String>,
        keys: &'static [&'static str],
    ) -> Option<Section<'t>> {
        section(key, self.value(key)?, what, keys, self.findings)
    }

    /// The tables in the table at `key`, each with its name, in the order in which they are written.
    pub(super) fn named_tables(&self, key: &str) -> Vec<(Spanned<&'t str>, &'t Value<'t>)> {
        let Some(value) = self.value(key) else {
            return Vec::new();
        };
        let DeValue::Table(table) = value.get_ref() else {
            report_type(key, value, "a table of tables", self.findings);
            return Vec::new();
        };
        let mut tables: Vec<_> =
            table.iter().map(|(name, value)| (Spanned::new(name.span(), name.get_ref().as_ref()), value)).collect();
        tables.sort_by_key(|(name, _)| name.span().start);
        tables
    }
}

/// `value`, which was found at `key`, as a section.
pub(super) fn section<'t>(
    key: &str,
    value: &'t Value<'t>,
    what: impl Into<String>,
    keys: &'static [&'static str],
    findings: &'t Findings,
) -> Option<Section<'t>> {
    match value.get_ref() {
        DeValue::Table(table) => Some(Section::open(table, value.span(), what, keys, None, findings)),
        _ => {
            report_type(key, value, "a table", findings);
            None
        }
    }
}

/// `value`, which was found at `key`, as text.
pub(super) fn text<'t>(key: &str, value: &'t Value<'t>, findings: &Findings) -> Option<Spanned<&'t str>> {
    match value.get_ref() {
        DeValue::String(text) => Some(Spanned::new(value.span(), text.as_ref())),
        _ => {
            report_type(key, value, "text in quotes", findings);
            None
        }
    }
}

/// `value`, which was found at `key`, as a number within `range`.
pub(super) fn number(
    key: &str,
    value: &Value<'_>,
    range: RangeInclusive<u64>,
    findings: &Findings,
) -> Option<Spanned<u64>> {
    let DeValue::Integer(integer) = value.get_ref() else {
        report_type(key, value, "a number", findings);
        return None;
    };
    match u64::from_str_radix(integer.as_str(), integer.radix()) {
        Ok(number) if range.contains(&number) => Some(Spanned::new(value.span(), number)),
        _ => {
            let (least, most) = range.into_inner();
            let limits =
                if integer.radix() == 16 { format!("{least:#x} to {most:#x}") } else { format!("{least} to {most}") };
            findings.report(
                Diagnostic::new(
                    Rule::InvalidNumber,
                    value.span(),
                    format!("`{key}` of {integer} is out of range: {limits} are possible"),
                )
                .hint("choose a number within the range"),
            );
            None
        }
    }
}

/// Reports that `value`, which was found at `key`, should have been `expected`.
pub(super) fn report_type(key: &str, value: &Value<'_>, expected: &str, findings: &Findings) {
    let found = match value.get_ref() {
        DeValue::String(_) => "text",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "`true` or `false`",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    };
    findings.report(
        Diagnostic::new(Rule::WrongType, value.span(), format!("`{key}` takes {expected}, not {found}"))
            .label(format!("this is {found}")),
    );
}

/// The member of `all` that is called as `written` says.
pub(super) fn word<T: Copy>(
    key: &str,
    written: &Spanned<&str>,
    all: &[T],
    name: fn(T) -> &'static str,
    findings: &Findings,
) -> Option<T> {
    let found = all.iter().copied().find(|&candidate| name(candidate) == *written.get_ref());
    if found.is_none() {
        findings.report(
            Diagnostic::new(Rule::UnknownWord, written.span(), format!("`{key}` cannot be `{}`", written.get_ref()))
                .maybe_hint(spelling::hint(written.get_ref(), all.iter().map(|&candidate| name(candidate)))),
        );
    }
    found
}
