//! What is wrong with a manifest, and how it is shown.

use std::{borrow::Cow, fmt, ops::Range};

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

/// The rule that a manifest breaks; its name stands in brackets in the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Rule {
    /// The text is not TOML.
    Syntax,
    /// A key that nothing reads.
    UnknownKey,
    /// A key that must be there is not.
    MissingKey,
    /// A value of another type than the key has.
    WrongType,
    /// A word that is none of those that the key takes.
    UnknownWord,
    /// A name that is not well formed or is taken.
    InvalidName,
    /// A size that is malformed, no whole number of pages, or out of range.
    InvalidSize,
    /// A duration that is malformed or out of range.
    InvalidDuration,
    /// A number, or the length of a list, that is out of range.
    InvalidNumber,
    /// A device that QEMU cannot be asked for like this.
    InvalidDevice,
    /// A file for the boot archive that is not there, or has nothing in it.
    MissingFile,
    /// A binary that the project does not build.
    UnknownBinary,
    /// An interface that nobody defined.
    UnknownInterface,
    /// A version of an interface that is not the one in which it is known.
    WrongVersion,
    /// A domain that is not in the manifest.
    UnknownDomain,
    /// A group that is not in the manifest.
    UnknownGroup,
    /// A used interface that no domain provides.
    MissingProvider,
    /// A used interface that the named domain does not provide.
    WrongProvider,
    /// A used interface that several domains provide, with none named.
    AmbiguousProvider,
    /// The same thing listed twice in one domain.
    Duplicate,
    /// Domains that would call each other in a circle.
    Cycle,
    /// A device, a port, an interrupt line or an exclusive grant that two domains claim.
    ClaimedTwice,
    /// Authority that does not go with what the domain is.
    Misplaced,
    /// Two keys of one domain that cannot stand together.
    Contradiction,
    /// More memory than the machine has, or more of a processor than all of it.
    OverCommitted,
    /// More domains or event bits than a system can have.
    TooMany,
    /// Something provided that nobody uses: a warning.
    Unused,
}

impl Rule {
    /// The rule's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Syntax => "syntax",
            Self::UnknownKey => "unknown-key",
            Self::MissingKey => "missing-key",
            Self::WrongType => "wrong-type",
            Self::UnknownWord => "unknown-word",
            Self::InvalidName => "invalid-name",
            Self::InvalidSize => "invalid-size",
            Self::InvalidDuration => "invalid-duration",
            Self::InvalidNumber => "invalid-number",
            Self::InvalidDevice => "invalid-device",
            Self::MissingFile => "missing-file",
            Self::UnknownBinary => "unknown-binary",
            Self::UnknownInterface => "unknown-interface",
            Self::WrongVersion => "wrong-version",
            Self::UnknownDomain => "unknown-domain",
            Self::UnknownGroup => "unknown-group",
            Self::MissingProvider => "missing-provider",
            Self::WrongProvider => "wrong-provider",
            Self::AmbiguousProvider => "ambiguous-provider",
            Self::Duplicate => "duplicate",
            Self::Cycle => "cycle",
            Self::ClaimedTwice => "claimed-twice",
            Self::Misplaced => "misplaced",
            Self::Contradiction => "contradiction",
            Self::OverCommitted => "over-committed",
            Self::TooMany => "too-many",
            Self::Unused => "unused",
        }
    }

    /// Whether a manifest that breaks the rule can still be compiled.
    pub const fn is_warning(self) -> bool {
        matches!(self, Self::Unused)
    }
}

/// One mistake in a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// The rule that is broken.
    pub rule: Rule,
    /// What is wrong, in one sentence that names the things involved.
    pub message: String,
    /// Where, in bytes of the source.
    pub span: Range<usize>,
    /// What to say at the underlined text; may be empty.
    pub label: String,
    /// Other places that explain the mistake.
    pub related: Vec<(Range<usize>, String)>,
    /// Facts that the places do not show.
    pub notes: Vec<String>,
    /// What to do.
    pub hint: Option<String>,
}

impl Diagnostic {
    pub(super) fn new(rule: Rule, span: Range<usize>, message: impl Into<String>) -> Self {
        Self {
            rule,
            message: message.into(),
            span,
            label: String::new(),
            related: Vec::new(),
            notes: Vec::new(),
            hint: None,
        }
    }

    pub(super) fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    pub(super) fn related(mut self, span: Range<usize>, label: impl Into<String>) -> Self {
        self.related.push((span, label.into()));
        self
    }

    pub(super) fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(super) fn maybe_hint(mut self, hint: Option<String>) -> Self {
        self.hint = hint.or(self.hint);
        self
    }

    fn group<'a>(&'a self, file: &'a str, source: &'a str) -> Group<'a> {
        let level = if self.rule.is_warning() { Level::WARNING } else { Level::ERROR };
        let label = (!self.label.is_empty()).then_some(Cow::from(&self.label));
        let primary = AnnotationKind::Primary.span(self.span.clone()).label(label);
        let related =
            self.related.iter().map(|(span, label)| AnnotationKind::Context.span(span.clone()).label(label.as_str()));
        let snippet = Snippet::source(source).path(file).annotation(primary).annotations(related);
        let notes = self.notes.iter().map(|note| Level::NOTE.message(note));
        let hints = self.hint.iter().map(|hint| Level::HELP.message(hint));
        level.primary_title(&self.message).id(self.rule.name()).element(snippet).elements(notes).elements(hints)
    }
}

/// Everything that is wrong with one manifest, in the order of its lines.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    file: String,
    source: String,
    diagnostics: Vec<Diagnostic>,
}

impl Report {
    pub(super) fn new(file: &str, source: &str, mut diagnostics: Vec<Diagnostic>) -> Self {
        diagnostics.sort_by_key(|diagnostic| (diagnostic.span.start, diagnostic.span.end, diagnostic.rule));
        Self { file: file.into(), source: source.into(), diagnostics }
    }

    /// The mistakes.
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.diagnostics
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.diagnostics.is_empty()
    }

    /// Whether something is wrong that is more than a warning.
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(|diagnostic| !diagnostic.rule.is_warning())
    }

    /// Line and column at which `diagnostic` starts, both from 1; columns count characters.
    pub fn position(&self, diagnostic: &Diagnostic) -> (usize, usize) {
        let before = &self.source[..diagnostic.span.start.min(self.source.len())];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    }

    /// The text that `diagnostic` underlines.
    pub fn underlined(&self, diagnostic: &Diagnostic) -> &str {
        self.source.get(diagnostic.span.clone()).unwrap_or_default()
    }

    /// The report for a person, with colours if `coloured`.
    pub fn render(&self, coloured: bool) -> String {
        let renderer = if coloured { Renderer::styled() } else { Renderer::plain() };
        let mut text = String::new();
        for diagnostic in &self.diagnostics {
            text.push_str(&renderer.render(&[diagnostic.group(&self.file, &self.source)]));
            text.push_str("\n\n");
        }
        let errors = self.diagnostics.iter().filter(|found| !found.rule.is_warning()).count();
        if errors > 0 {
            let noun = if errors == 1 { "error" } else { "errors" };
            text.push_str(&format!("{}: {errors} {noun}; nothing was built\n", self.file));
        }
        text
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.render(false))
    }
}

impl std::error::Error for Report {}
