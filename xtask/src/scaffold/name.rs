//! Names that a server, its crate, interface and command can all have.

use std::fmt;

use manifest::MAX_NAME_BYTES;

/// What the command's crate and domain have behind the server's name.
const COMMAND_SUFFIX: &str = "-command";
/// The longest name, so that the one of its command is none too long for a domain.
pub(super) const LONGEST: usize = MAX_NAME_BYTES - COMMAND_SUFFIX.len();

/// Words of Rust, in any edition.
const KEYWORDS: &[&str] = &[
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate", "do", "dyn", "else",
    "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let", "loop", "macro", "match", "mod",
    "move", "mut", "override", "priv", "pub", "ref", "return", "self", "static", "struct", "super", "trait", "true",
    "try", "type", "typeof", "union", "unsafe", "unsized", "use", "virtual", "where", "while", "yield",
];
/// Crates that come with the compiler.
const STANDARD_CRATES: &[&str] = &["alloc", "core", "proc-macro", "std", "test"];

/// Why something cannot be called like this.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// It has characters that no name has.
    #[error("`{0}` cannot be a name: use lowercase letters, digits and single inner dashes, the first a letter")]
    Characters(String),
    /// It is too long.
    #[error("`{0}` is too long a name: {LONGEST} characters are possible, so that `{0}-command` can be one too")]
    TooLong(String),
    /// It is a word of the language.
    #[error("`{0}` cannot be a name: it is a keyword of Rust")]
    Keyword(String),
    /// It is a crate of the language.
    #[error("`{0}` cannot be a name: a crate that comes with Rust has it")]
    StandardCrate(String),
}

/// A name that fits everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name(String);

impl Name {
    /// Checks a name.
    ///
    /// # Errors
    ///
    /// [`NameError`].
    pub fn new(name: &str) -> Result<Self, NameError> {
        let owned = name.to_owned();
        let part_is_valid = |part: &str| {
            !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        };
        if !name.starts_with(|first: char| first.is_ascii_lowercase()) || !name.split('-').all(part_is_valid) {
            return Err(NameError::Characters(owned));
        }
        if name.len() > LONGEST {
            return Err(NameError::TooLong(owned));
        }
        if KEYWORDS.contains(&name) {
            return Err(NameError::Keyword(owned));
        }
        if STANDARD_CRATES.contains(&name) {
            return Err(NameError::StandardCrate(owned));
        }
        Ok(Self(owned))
    }

    /// The name itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of its command's program and domain.
    pub fn command(&self) -> String {
        format!("{}{COMMAND_SUFFIX}", self.0)
    }

    /// As a crate in Rust code.
    pub(super) fn as_crate(&self) -> String {
        self.0.replace('-', "_")
    }

    /// As the beginning of types' names.
    pub(super) fn as_type(&self) -> String {
        let capital = |part: &str| part[..1].to_uppercase() + &part[1..];
        self.0.split('-').map(capital).collect()
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_fits_crates_types_and_domains() {
        let name = Name::new("my-2nd-greeter").unwrap();
        assert_eq!(name.as_crate(), "my_2nd_greeter");
        assert_eq!(name.as_type(), "My2ndGreeter");
        assert!(manifest::name_is_valid(&Name::new(&"x".repeat(LONGEST)).unwrap().command()));
    }

    #[test]
    fn what_cannot_be_a_name_is_refused_with_the_reason() {
        for name in ["", "Greeter", "2nd", "-a", "a-", "a--b", "a_b", "a b", "../a", "é", "a.b"] {
            assert_eq!(Name::new(name), Err(NameError::Characters(name.to_owned())));
        }
        assert_eq!(Name::new("async"), Err(NameError::Keyword("async".to_owned())));
        assert_eq!(Name::new("core"), Err(NameError::StandardCrate("core".to_owned())));
        let long = "x".repeat(LONGEST + 1);
        assert_eq!(Name::new(&long), Err(NameError::TooLong(long)));
    }
}
