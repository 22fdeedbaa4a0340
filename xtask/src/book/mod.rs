//! `cargo xtask book`: the reference pages of the book in `docs/`, written from the sources.
//!
//! The pages are committed, so that they can be read without building anything; a test compares them with what the
//! sources say.

mod interfaces;
mod system_calls;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::workspace;

/// Why the pages cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum BookError {
    /// A source or a page cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A source is no Rust.
    #[error("{}: {source}", path.display())]
    Syntax {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: syn::Error,
    },
    /// A source lacks something that the page needs.
    #[error("{}: {what}", path.display())]
    Missing {
        /// Which one.
        path: PathBuf,
        /// What is missing.
        what: String,
    },
}

/// A page of the book that is written from sources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Where it lies in the source tree.
    pub path: &'static str,
    /// What it says.
    pub text: String,
}

/// The pages, as the sources of the tree at `root` have them.
///
/// # Errors
///
/// [`BookError`].
pub fn pages(root: &Path) -> Result<Vec<Page>, BookError> {
    Ok(vec![
        Page { path: "docs/reference/system-calls.md", text: system_calls::page(root)? },
        Page { path: "docs/reference/interfaces.md", text: interfaces::page(root)? },
    ])
}

/// Writes the pages into the source tree and tells which ones have changed.
///
/// # Errors
///
/// [`BookError`].
pub fn write() -> Result<Vec<&'static str>, BookError> {
    let root = workspace::root();
    let mut changed = Vec::new();
    for page in pages(&root)? {
        let path = root.join(page.path);
        if fs::read_to_string(&path).is_ok_and(|old| old == page.text) {
            continue;
        }
        fs::write(&path, &page.text).map_err(|source| BookError::Io { path, source })?;
        changed.push(page.path);
    }
    Ok(changed)
}

fn read(path: PathBuf) -> Result<(PathBuf, String), BookError> {
    match fs::read_to_string(&path) {
        Ok(text) => Ok((path, text)),
        Err(source) => Err(BookError::Io { path, source }),
    }
}

/// Documentation in comments as text for a page: links to items become their names.
fn plain(docs: &str) -> String {
    let mut text = docs.trim().to_owned();
    // [`crate::fault::FaultKind::Protocol`] or [`Self::read`] or [`entries`].
    while let Some(start) = text.find("[`") {
        let Some(length) = text[start..].find("`]") else { break };
        let name = text[start + 2..start + length].to_owned();
        let name = name.rsplit("::").next().unwrap_or(&name).to_owned();
        let mut end = start + length + 2;
        // A target in round brackets belongs to the link.
        if text[end..].starts_with('(') {
            end += text[end..].find(')').map_or(0, |close| close + 1);
        }
        text.replace_range(start..end, &format!("`{name}`"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pages_in_the_tree_say_what_the_sources_say() {
        let root = workspace::root();
        for page in pages(&root).unwrap() {
            let committed = fs::read_to_string(root.join(page.path)).unwrap_or_default();
            assert!(committed == page.text, "{} is not what the sources say: run `cargo xtask book`", page.path);
        }
    }

    #[test]
    fn every_chapter_in_the_table_of_contents_is_there_and_every_page_is_in_it() {
        let docs = workspace::root().join("docs");
        let contents = fs::read_to_string(docs.join("SUMMARY.md")).unwrap();
        let chapters: Vec<&str> = contents
            .lines()
            .filter_map(|line| line.split_once("](")?.1.split_once(')'))
            .map(|(path, _)| path)
            .collect();
        for chapter in &chapters {
            assert!(docs.join(chapter).is_file(), "SUMMARY.md names {chapter}, which is not there");
        }
        for folder in ["", "tutorial", "reference", "decisions"] {
            for entry in fs::read_dir(docs.join(folder)).unwrap() {
                let name = entry.unwrap().file_name().into_string().unwrap();
                let path = if folder.is_empty() { name } else { format!("{folder}/{name}") };
                if path.ends_with(".md") && path != "SUMMARY.md" {
                    assert!(chapters.contains(&&*path), "docs/{path} is in no chapter of SUMMARY.md");
                }
            }
        }
    }

    #[test]
    fn every_link_inside_the_book_leads_somewhere() {
        let docs = workspace::root().join("docs");
        for folder in ["", "tutorial", "reference", "decisions"] {
            for entry in fs::read_dir(docs.join(folder)).unwrap() {
                let path = entry.unwrap().path();
                if path.extension().is_none_or(|extension| extension != "md") {
                    continue;
                }
                let text = fs::read_to_string(&path).unwrap();
                for (_, rest) in text.match_indices("](").map(|(at, _)| text.split_at(at + 2)) {
                    let target = rest.split([')', '#']).next().unwrap_or_default();
                    let is_outside = target.contains("://") || target.is_empty() || target.contains(' ');
                    let there = path.parent().unwrap().join(target);
                    assert!(is_outside || there.exists(), "{}: a link to {target}", path.display());
                }
            }
        }
    }

    #[test]
    fn links_to_items_become_their_names() {
        assert_eq!(plain("As [`crate::a::B`], see [`Self::c`]."), "As `B`, see `c`.");
        assert_eq!(plain("[`x`](crate::y) and more"), "`x` and more");
        assert_eq!(plain("no [link] here"), "no [link] here");
    }
}
