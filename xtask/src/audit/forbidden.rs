//! What the kernel's core must not do, found by clippy.

use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;

use serde_json::Value;

use super::AuditError;
use crate::workspace;

/// The crate whose code is looked at: without its tests, and without those it depends on.
const CORE: &str = "kernel-core";

/// What is forbidden, by its lint and in words. The core denies the same itself, so that everybody's clippy finds it;
/// `kernel/core/clippy.toml` lists the macros.
pub const PATTERNS: [(&str, &str); 10] = [
    ("clippy::unwrap_used", "unwrap"),
    ("clippy::expect_used", "expect"),
    ("clippy::panic", "panic!"),
    ("clippy::unreachable", "unreachable!"),
    ("clippy::disallowed_macros", "assert! and its like"),
    ("clippy::indexing_slicing", "an index without a bound"),
    ("clippy::string_slice", "a slice of text"),
    ("clippy::cast_possible_truncation", "`as` that narrows"),
    ("clippy::cast_possible_wrap", "`as` that may turn negative"),
    ("clippy::cast_sign_loss", "`as` that loses a sign"),
];

/// A place at which something forbidden is done without a stated reason.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// File and line, as the compiler gives them.
    pub place: String,
    /// The lint.
    pub lint: String,
    /// What is done there, in the compiler's words.
    pub message: String,
}

/// Asks clippy for what the core does that is forbidden and not excepted with a reason.
///
/// # Errors
///
/// [`AuditError::Clippy`] with the compiler's messages if it does not come to an end, else [`AuditError::Io`].
pub(super) fn find() -> Result<Vec<Finding>, AuditError> {
    let mut cargo = workspace::cargo();
    cargo.args(["clippy", "--quiet", "--lib", "--no-deps", "--message-format=json", "--package", CORE, "--"]);
    for (lint, _) in PATTERNS {
        cargo.args(["-W", lint]);
    }
    let mut child = cargo.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let mut findings = Vec::new();
    let mut errors = String::new();
    if let Some(output) = child.stdout.take() {
        for line in BufReader::new(output).lines() {
            let message: Value = serde_json::from_str(&line?).unwrap_or_default();
            match finding(&message) {
                Some(finding) => findings.push(finding),
                None if message["message"]["level"] == "error" => {
                    errors.push_str(message["message"]["rendered"].as_str().unwrap_or_default());
                }
                None => {}
            }
        }
    }
    let mut text = String::new();
    if let Some(mut stream) = child.stderr.take() {
        stream.read_to_string(&mut text)?;
    }
    // The core denies the patterns, so that findings make clippy fail as well.
    if !child.wait()?.success() && findings.is_empty() {
        return Err(AuditError::Clippy(errors + &text));
    }
    findings.sort();
    findings.dedup();
    Ok(findings)
}

fn finding(message: &Value) -> Option<Finding> {
    let message = &message["message"];
    let lint = message["code"]["code"].as_str()?;
    PATTERNS.iter().find(|(pattern, _)| *pattern == lint)?;
    let spans = message["spans"].as_array()?;
    let mut span = spans.iter().find(|span| span["is_primary"] == true)?;
    // What a macro does, it does where it is used.
    while span["expansion"]["span"].is_object() {
        span = &span["expansion"]["span"];
    }
    Some(Finding {
        lint: lint.to_owned(),
        place: format!("{}:{}", span["file_name"].as_str()?, span["line_start"].as_u64()?),
        message: message["message"].as_str()?.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_messages_about_forbidden_patterns_are_findings() {
        let message = |lint: &str| {
            serde_json::json!({ "reason": "compiler-message", "message": {
                "level": "warning", "message": "indexing may panic", "code": { "code": lint },
                "spans": [{ "is_primary": true, "file_name": "kernel/core/src/a.rs", "line_start": 7 }],
            }})
        };
        assert_eq!(finding(&message("dead_code")), None);
        assert_eq!(finding(&serde_json::json!({ "reason": "build-finished" })), None);
        assert_eq!(
            finding(&message("clippy::indexing_slicing")),
            Some(Finding {
                place: "kernel/core/src/a.rs:7".to_owned(),
                lint: "clippy::indexing_slicing".to_owned(),
                message: "indexing may panic".to_owned(),
            })
        );
    }
}
