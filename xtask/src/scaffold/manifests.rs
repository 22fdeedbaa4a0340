//! `system.toml` and `Cargo.toml`, edited so that everything else in them, comments too, stays as it is.

use std::fmt;

use toml_edit::{Array, DocumentMut, InlineTable, Item, Value, value};

use super::{Kind, Name, ScaffoldError, template};

const COMMAND: &str = interfaces::command::NAME;

fn parse(file: &'static str, text: &str) -> Result<DocumentMut, ScaffoldError> {
    let unexpected = |problem: String| ScaffoldError::Unexpected { file, problem };
    text.parse().map_err(|error: toml_edit::TomlError| unexpected(error.to_string()))
}

/// Appends to a list, on a line of its own if the others have lines of their own.
fn push(list: &mut Array, value: Value) {
    let on_lines = list
        .iter()
        .next()
        .and_then(|first| first.decor().prefix()?.as_str())
        .is_some_and(|prefix| prefix.contains('\n'));
    // What stands behind the last comma, a comment say, belongs in front of what comes there now.
    let trailing = list.trailing().as_str().unwrap_or_default().trim_end().to_owned();
    if on_lines {
        list.push_formatted(value.decorated(format!("{trailing}\n    "), ""));
        list.set_trailing("\n");
        list.set_trailing_comma(true);
    } else {
        list.push(value);
    }
}

/// Takes out of a list what `is_meant`, and leaves what stood in front of it at the end of the list.
fn take(list: &mut Array, is_meant: impl Fn(&Value) -> bool) {
    loop {
        let found = list.iter().position(&is_meant);
        let Some(index) = found else { return };
        let is_last = index + 1 == list.len();
        let prefix = list.get(index).and_then(|value| value.decor().prefix()?.as_str()).unwrap_or_default().to_owned();
        list.remove(index);
        let kept = prefix.trim_end();
        if kept.is_empty() {
            continue;
        }
        if is_last {
            list.set_trailing(format!("{kept}\n"));
        } else if let Some(next) = list.get_mut(index) {
            let own = next.decor().prefix().and_then(|prefix| prefix.as_str()).unwrap_or_default().to_owned();
            next.decor_mut().set_prefix(format!("{kept}{own}"));
        }
    }
}

/// `system.toml`.
pub(super) struct SystemToml(DocumentMut);

impl SystemToml {
    pub(super) fn parse(text: String) -> Result<Self, ScaffoldError> {
        let document = parse("system.toml", &text)?;
        let shell = document.get("domain").and_then(|domains| domains.get("shell"));
        if shell.and_then(|shell| shell.get("uses")).is_none_or(|uses| !uses.is_array()) {
            let problem =
                "there is no domain `shell` with a list `uses`, to which the command could be given".to_owned();
            return Err(ScaffoldError::Unexpected { file: "system.toml", problem });
        }
        Ok(Self(document))
    }

    fn domain(&self, name: &str) -> Option<&Item> {
        self.0.get("domain")?.get(name)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.domain(name).is_some()
    }

    /// Where the crate of a domain is, if it is not in the tree.
    pub(super) fn path(&self, name: &str) -> Option<String> {
        self.domain(name)?.get("path")?.as_str().map(str::to_owned)
    }

    /// Whether a domain provides an interface of this name.
    pub(super) fn declares(&self, interface: &str) -> bool {
        let domains = self.0.get("domain").and_then(Item::as_table_like);
        let provided = domains
            .into_iter()
            .flat_map(|domains| domains.iter())
            .filter_map(|(_, domain)| domain.get("provides")?.as_array());
        provided.flatten().any(|entry| interface_of(entry) == Some(interface))
    }

    /// What the shell calls the commands that it is given.
    pub(super) fn commands(&self) -> Vec<String> {
        let uses = self.domain("shell").and_then(|shell| shell.get("uses")?.as_array());
        let commands = uses.into_iter().flatten().filter(|entry| interface_of(entry) == Some(COMMAND));
        let name =
            |entry: &Value| entry.as_inline_table().and_then(|table| table.get("name")?.as_str().map(str::to_owned));
        commands.map(|entry| name(entry).unwrap_or_else(|| COMMAND.to_owned())).collect()
    }

    fn uses_of_shell(&mut self) -> Option<&mut Array> {
        self.0.get_mut("domain")?.get_mut("shell")?.get_mut("uses")?.as_array_mut()
    }

    /// Adds the domains of a crate, which is at `path` if it is not in the tree, and gives the command to the shell.
    pub(super) fn add(&mut self, kind: Kind, name: &Name, path: Option<&str>) {
        let own = name.as_str();
        let mut usage = InlineTable::new();
        usage.insert("interface", COMMAND.into());
        usage.insert("from", name.command().into());
        usage.insert("name", own.into());
        if let Some(uses) = self.uses_of_shell() {
            push(uses, usage.into());
        }
        let mut sections: DocumentMut = template::sections(kind, name).parse().expect("the templates are well-formed");
        let Some(Item::Table(mut sections)) = sections.remove("domain") else { return };
        let domains = self.0.entry("domain").or_insert_with(toml_edit::table);
        let Some(domains) = domains.as_table_like_mut() else { return };
        for domain in [own, &name.command()] {
            let Some(Item::Table(mut section)) = sections.remove(domain) else { continue };
            // It takes its place behind the sections that are there.
            section.set_position(None);
            if let Some(path) = path {
                section.insert("path", value(path));
            }
            domains.insert(domain, Item::Table(section));
        }
    }

    /// Takes out what [`SystemToml::add`] has put in.
    pub(super) fn remove(&mut self, name: &Name) {
        let command = name.command();
        if let Some(uses) = self.uses_of_shell() {
            let from = |entry: &Value| entry.as_inline_table()?.get("from")?.as_str().map(str::to_owned);
            take(uses, |entry| from(entry).as_deref() == Some(&command));
        }
        if let Some(domains) = self.0.get_mut("domain").and_then(Item::as_table_like_mut) {
            domains.remove(name.as_str());
            domains.remove(&command);
        }
    }
}

impl fmt::Display for SystemToml {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

fn interface_of(entry: &Value) -> Option<&str> {
    entry.as_str().or_else(|| entry.as_inline_table()?.get("interface")?.as_str())
}

/// The workspace's `Cargo.toml`.
pub(super) struct CargoToml(DocumentMut);

impl CargoToml {
    pub(super) fn parse(text: String) -> Result<Self, ScaffoldError> {
        let document = parse("Cargo.toml", &text)?;
        for key in ["members", "default-members"] {
            if document.get("workspace").and_then(|workspace| workspace.get(key)?.as_array()).is_none() {
                let problem = format!("the workspace has no list `{key}`");
                return Err(ScaffoldError::Unexpected { file: "Cargo.toml", problem });
            }
        }
        Ok(Self(document))
    }

    fn lists(&mut self) -> Vec<&mut Array> {
        let workspace = self.0.get_mut("workspace").and_then(Item::as_table_like_mut);
        let items = workspace.into_iter().flat_map(|workspace| workspace.iter_mut());
        items
            .filter(|(key, _)| matches!(key.get(), "members" | "default-members"))
            .filter_map(|(_, item)| item.as_array_mut())
            .collect()
    }

    /// The folders of the workspace's crates.
    pub(super) fn members(&self) -> Vec<String> {
        let members = self.0.get("workspace").and_then(|workspace| workspace.get("members")?.as_array());
        members.into_iter().flatten().filter_map(|member| member.as_str().map(str::to_owned)).collect()
    }

    pub(super) fn add(&mut self, member: &str) {
        for list in self.lists() {
            push(list, member.into());
        }
    }

    pub(super) fn remove(&mut self, member: &str) {
        for list in self.lists() {
            take(list, |entry| entry.as_str() == Some(member));
        }
    }
}

impl fmt::Display for CargoToml {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The template that a crate's `Cargo.toml` names.
pub(super) fn template(text: &str) -> Option<String> {
    let document: DocumentMut = text.parse().ok()?;
    let name = document.get("package")?.get("metadata")?.get("bulkhead")?.get("template")?.as_str()?;
    Some(name.to_owned())
}
