//! Lints that a place in the code is excepted from, and why.

/// An attribute `#[expect(…)]` or `#[allow(…)]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exception {
    /// Its line, counted from 1.
    pub line: usize,
    /// The lints, as they are written.
    pub lints: Vec<String>,
    /// Why, if it says so.
    pub reason: Option<String>,
}

impl Exception {
    /// The attributes of a file whose text this is, in order. An attribute begins its line.
    pub fn find_in(text: &str) -> Vec<Self> {
        let mut found = Vec::new();
        let mut offset = 0;
        for (index, line) in text.split_inclusive('\n').enumerate() {
            let indent = line.len() - line.trim_start().len();
            if let Some(exception) = Self::read(&text[offset + indent..], index + 1) {
                found.push(exception);
            }
            offset += line.len();
        }
        found
    }

    fn read(text: &str, line: usize) -> Option<Self> {
        let rest = text.strip_prefix("#[").or_else(|| text.strip_prefix("#!["))?;
        let rest = rest.strip_prefix("expect(").or_else(|| rest.strip_prefix("allow("))?;
        // A reason is the only string in it, and its text may hold brackets.
        let (lints, reason) = match rest.find(['"', ')']).filter(|&at| rest[at..].starts_with('"')) {
            Some(quote) => {
                let inside = &rest[quote + 1..];
                (rest[..quote].rsplit_once("reason")?.0, Some(inside[..inside.find('"')?].to_owned()))
            }
            None => (&rest[..rest.find(')')?], None),
        };
        let lints = lints.split(',').map(str::trim).filter(|lint| !lint.is_empty()).map(str::to_owned).collect();
        Some(Self { line, lints, reason: reason.filter(|reason| !reason.trim().is_empty()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exception_is_found_with_its_lints_and_its_reason() {
        let text = "fn a() {}\n\n    #[expect(clippy::x, clippy::y, reason = \"b (c) is bounded\")]\n    fn b() {}\n";
        assert_eq!(
            Exception::find_in(text),
            [Exception {
                line: 3,
                lints: vec!["clippy::x".to_owned(), "clippy::y".to_owned()],
                reason: Some("b (c) is bounded".to_owned()),
            }]
        );
    }

    #[test]
    fn an_exception_may_reach_over_lines_or_cover_a_module() {
        let text = "#![expect(\n    clippy::x,\n    reason = \"why\"\n)]\n";
        let found = Exception::find_in(text);
        assert_eq!((found[0].line, found[0].reason.as_deref()), (1, Some("why")));
    }

    #[test]
    fn an_exception_without_a_reason_is_found_too() {
        assert_eq!(Exception::find_in("#[allow(clippy::x)]\n")[0].reason, None);
        assert_eq!(Exception::find_in("#[expect(clippy::x, reason = \" \")]\n")[0].reason, None);
    }

    #[test]
    fn other_attributes_and_comments_are_none() {
        assert_eq!(Exception::find_in("#[derive(Debug)]\n// #[allow(x)]\n#[cfg(test)]\n"), []);
    }
}
