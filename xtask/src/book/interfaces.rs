//! The page about the standard interfaces, from `userlib/interfaces`.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use quote::ToTokens;
use syn::{Attribute, Expr, Fields, File, Item, ItemEnum, ItemStruct, ItemTrait, Lit, Meta, TraitItem};

use super::{BookError, plain, read};

/// Where the interfaces are declared, one a file.
const FOLDER: &str = "userlib/interfaces/src";

/// The documentation of an item, paragraphs kept.
fn docs(attributes: &[Attribute]) -> String {
    let lines = attributes.iter().filter_map(|attribute| {
        let Meta::NameValue(pair) = &attribute.meta else { return None };
        let Expr::Lit(literal) = &pair.value else { return None };
        match &literal.lit {
            Lit::Str(text) if pair.path.is_ident("doc") => Some(text.value().trim().to_owned()),
            _ => None,
        }
    });
    let mut text = String::new();
    for line in lines {
        if line.is_empty() {
            text.push_str("\n\n");
        } else {
            if !text.is_empty() && !text.ends_with('\n') {
                text.push(' ');
            }
            text.push_str(&line);
        }
    }
    plain(&text)
}

fn has(attributes: &[Attribute], name: &str) -> bool {
    attributes.iter().any(|attribute| attribute.path().segments.last().is_some_and(|last| last.ident == name))
}

/// Rust as people write it, on one line.
fn code(tokens: &impl ToTokens) -> String {
    let mut text = tokens.to_token_stream().to_string();
    for (from, to) in [
        (" :: ", "::"),
        (" < ", "<"),
        (" > ", "> "),
        (" >", ">"),
        ("& mut", "&mut"),
        ("& ", "&"),
        (" , ", ", "),
        (" : ", ": "),
        (" ;", ""),
        (" (", "("),
        ("( ", "("),
        (" )", ")"),
        ("[ ", "["),
        (" ]", "]"),
        ("-> ", "-> "),
        ("->(", "-> ("),
    ] {
        text = text.replace(from, to);
    }
    text.trim().trim_end_matches(',').to_owned()
}

/// The interface's name and version, as `#[interface]` has them.
fn identity(item: &ItemTrait) -> Option<(String, String)> {
    let attribute = item.attrs.iter().find(|attribute| attribute.path().is_ident("interface"))?;
    let (mut name, mut version) = (None, None);
    attribute
        .parse_nested_meta(|meta| {
            let value: Lit = meta.value()?.parse()?;
            match value {
                Lit::Str(text) => name = Some(text.value()),
                Lit::Int(number) => version = Some(number.base10_digits().to_owned()),
                _ => {}
            }
            Ok(())
        })
        .ok()?;
    Some((name?, version?))
}

/// The sentence that a macro `sentences!(ErrorType { Case => "…", })` gives an error.
fn sentence(file: &File, error: &str, case: &str) -> Option<String> {
    file.items.iter().find_map(|item| {
        let Item::Macro(item) = item else { return None };
        let text = item.mac.tokens.to_string();
        if !item.mac.path.is_ident("sentences") || !text.starts_with(&format!("{error} ")) {
            return None;
        }
        let after = text.split(&format!(" {case} => \"")).nth(1)?;
        Some(after.split('"').next()?.to_owned())
    })
}

fn method(page: &mut String, function: &syn::TraitItemFn) {
    let _ = write!(page, "\n```rust\n{}\n```\n\n{}", code(&function.sig), docs(&function.attrs));
    if has(&function.attrs, "idempotent") {
        page.push_str("\n\nIdempotent: the client repeats it if the server dies meanwhile.");
    }
    page.push('\n');
}

fn structure(page: &mut String, item: &ItemStruct) {
    let _ = write!(page, "\n**`{}`**: {}\n", item.ident, docs(&item.attrs));
    if let Fields::Named(fields) = &item.fields {
        page.push_str("\n| field | type | |\n| --- | --- | --- |\n");
        for field in &fields.named {
            let name = field.ident.as_ref().map(ToString::to_string).unwrap_or_default();
            let _ = writeln!(page, "| `{name}` | `{}` | {} |", code(&field.ty), docs(&field.attrs).replace('\n', " "));
        }
    }
}

fn enumeration(page: &mut String, file: &File, item: &ItemEnum) {
    let _ = write!(
        page,
        "\n**`{}`**: {}\n\n| case | | what people read |\n| --- | --- | --- |\n",
        item.ident,
        docs(&item.attrs)
    );
    for variant in &item.variants {
        let name = variant.ident.to_string();
        let said = sentence(file, &item.ident.to_string(), &name).unwrap_or_default();
        let _ = writeln!(page, "| `{name}` | {} | {said} |", docs(&variant.attrs).replace('\n', " "));
    }
}

/// What the page says of one file; nothing if it declares no interface.
fn section(file: &File) -> Option<String> {
    let item = file.items.iter().find_map(|item| match item {
        Item::Trait(item) if has(&item.attrs, "interface") => Some(item),
        _ => None,
    })?;
    let (name, version) = identity(item)?;
    let mut page = format!("\n## {name}\n\nVersion {version}. {}\n", docs(&file.attrs));
    for member in &item.items {
        if let TraitItem::Fn(function) = member {
            method(&mut page, function);
        }
    }
    for item in &file.items {
        match item {
            Item::Struct(item) if has_derive(&item.attrs, "Value") => structure(&mut page, item),
            Item::Enum(item) if has_derive(&item.attrs, "Value") => enumeration(&mut page, file, item),
            _ => {}
        }
    }
    Some(page)
}

fn has_derive(attributes: &[Attribute], name: &str) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("derive")
            && attribute.to_token_stream().to_string().split(|c: char| !c.is_alphanumeric()).any(|word| word == name)
    })
}

/// The page.
pub(super) fn page(root: &Path) -> Result<String, BookError> {
    let folder = root.join(FOLDER);
    let entries = fs::read_dir(&folder).map_err(|source| BookError::Io { path: folder.clone(), source })?;
    let mut paths: Vec<_> = entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "rs"));
    paths.sort();
    let mut page = String::from(
        "# Standard interfaces\n\n\
         <!-- Written by `cargo xtask book` from userlib/interfaces. -->\n\n\
         What the domains of Bulkhead say to each other. A client calls `NAMEClient`, a server implements `NAMEServer`; both \
         are made by [`#[interface]`](../interfaces.md). Whatever a method returns, its caller can also meet what can become \
         of any call: the server died (`ServerDied`), the deadline passed (`TimedOut`), the two do not speak the same protocol \
         (`NotUnderstood`), the kernel refused (`Refused`).\n",
    );
    for path in paths {
        let (path, text) = read(path)?;
        let file = syn::parse_file(&text).map_err(|source| BookError::Syntax { path, source })?;
        page.push_str(&section(&file).unwrap_or_default());
    }
    Ok(page)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_is_shown_with_methods_values_and_sentences() {
        let file: File = syn::parse_quote! {
            //! Doors.

            /// Why not.
            #[derive(Clone, Value)]
            pub enum DoorError {
                /// It is locked.
                Locked,
            }

            sentences!(DoorError {
                Locked => "the door is locked",
            });

            /// A door.
            #[interface(name = "door", version = 2)]
            pub trait Door {
                /// Opens it.
                #[idempotent]
                fn open(width: u64, note: &str, into: &mut [u8]) -> Result<(), DoorError>;
            }
        };
        let text = section(&file).expect("it declares an interface");
        for part in [
            "## door\n\nVersion 2. Doors.",
            "fn open(width: u64, note: &str, into: &mut [u8]) -> Result<(), DoorError>\n",
            "Opens it.\n\nIdempotent",
            "| `Locked` | It is locked. | the door is locked |",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
    }

    #[test]
    fn a_file_without_an_interface_has_no_section() {
        assert_eq!(
            section(&syn::parse_quote!(
                pub mod a;
            )),
            None
        );
    }
}
