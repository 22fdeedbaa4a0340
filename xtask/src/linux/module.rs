//! A kernel's loadable modules: which others each needs, and in which order they are loaded.

use std::collections::BTreeSet;
use std::io::{self, Read};

use elf::ElfBytes;
use elf::endian::LittleEndian;
use lzma_rust2::XzReader;

/// The section of a module that says what it is, in words that end with a zero.
const SECTION: &str = ".modinfo";

/// Why modules cannot be loaded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ModuleError {
    /// A file is no module.
    #[error("`{0}` is no module of a kernel, or a damaged one: it has no section {SECTION} that can be read")]
    Unreadable(String),
    /// A module is needed that is neither there nor a part of the kernel itself.
    #[error("the package has no module `{0}`, and the kernel has not got it built in")]
    Missing(String),
}

/// A name as the kernel writes it: dashes in a file's name are underscores in a module's.
pub(super) fn name(file: &str) -> String {
    file.replace('-', "_")
}

/// The contents of a module's file, which `file` names: compressed by xz if it ends so.
pub(super) fn contents(file: &str, bytes: Vec<u8>) -> io::Result<Vec<u8>> {
    if !file.ends_with(".xz") {
        return Ok(bytes);
    }
    let mut module = Vec::new();
    XzReader::new(bytes.as_slice(), true).read_to_end(&mut module)?;
    Ok(module)
}

/// The modules without which a module cannot be loaded.
fn needs(name: &str, module: &[u8]) -> Result<Vec<String>, ModuleError> {
    let unreadable = || ModuleError::Unreadable(name.to_owned());
    let file = ElfBytes::<LittleEndian>::minimal_parse(module).map_err(|_| unreadable())?;
    let header = file.section_header_by_name(SECTION).ok().flatten().ok_or_else(unreadable)?;
    let (section, _) = file.section_data(&header).map_err(|_| unreadable())?;
    let words = section.split(|byte| *byte == 0).filter_map(|word| std::str::from_utf8(word).ok());
    let needed = words.filter_map(|word| word.strip_prefix("depends=")).flat_map(|list| list.split(','));
    Ok(needed.filter(|name| !name.is_empty()).map(self::name).collect())
}

/// A way to a module's contents by its name, if the kernel has such a module.
type Source<'a> = dyn Fn(&str) -> Option<io::Result<Vec<u8>>> + 'a;

/// The modules `wanted` and all that they need, each behind those that it needs itself, with their contents. `built_in` are the names
/// of what the kernel has anyway.
pub(super) fn in_order(
    wanted: &[&str],
    built_in: &BTreeSet<String>,
    source: &Source<'_>,
) -> Result<Vec<(String, Vec<u8>)>, ModuleError> {
    let mut order = Vec::new();
    for name in wanted {
        add(name, built_in, source, &mut Vec::new(), &mut order)?;
    }
    Ok(order)
}

/// Adds a module to `order`, for those `above` that need it.
fn add(
    name: &str,
    built_in: &BTreeSet<String>,
    source: &Source<'_>,
    above: &mut Vec<String>,
    order: &mut Vec<(String, Vec<u8>)>,
) -> Result<(), ModuleError> {
    let is_in_order = order.iter().any(|(known, _)| known == name);
    // The kernel's build refuses circles; a file that claims one is loaded as far as it goes.
    if is_in_order || above.iter().any(|known| known == name) || built_in.contains(name) {
        return Ok(());
    }
    let contents = source(name).ok_or_else(|| ModuleError::Missing(name.to_owned()))?;
    let contents = contents.map_err(|_| ModuleError::Unreadable(name.to_owned()))?;
    above.push(name.to_owned());
    for needed in needs(name, &contents)? {
        add(&needed, built_in, source, above, order)?;
    }
    above.pop();
    order.push((name.to_owned(), contents));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An ELF file with one section, which says what a module needs.
    fn module(needs: &str) -> Vec<u8> {
        let information = format!("license=GPL\0depends={needs}\0name=x\0");
        let names = format!("\0{SECTION}\0.shstrtab\0");
        let (information_at, names_at) = (64_u64, 64 + information.len() as u64);
        let table = names_at + names.len() as u64;
        let mut file = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        for half in [1_u16, 62, 1, 0] {
            file.extend(half.to_le_bytes());
        }
        for word in [0, 0, table] {
            file.extend(word.to_le_bytes());
        }
        file.extend(0_u32.to_le_bytes());
        for half in [64_u16, 56, 0, 64, 3, 2] {
            file.extend(half.to_le_bytes());
        }
        file.extend(information.bytes());
        file.extend(names.bytes());
        let sections = [
            (0_u32, 0_u32, 0, 0),
            (1, 1, information_at, information.len() as u64),
            (1 + SECTION.len() as u32 + 1, 3, names_at, names.len() as u64),
        ];
        for (name, kind, offset, size) in sections {
            file.extend(name.to_le_bytes());
            file.extend(kind.to_le_bytes());
            for word in [0, 0, offset, size, 0, 1, 0] {
                file.extend(word.to_le_bytes());
            }
        }
        file
    }

    fn some(name: &str) -> Option<io::Result<Vec<u8>>> {
        let needs = match name {
            "disk" => "bus,ring",
            "bus" => "ring,table",
            "ring" => "",
            "round" => "about",
            "about" => "round",
            "text" => return Some(Ok(b"no module".to_vec())),
            _ => return None,
        };
        Some(Ok(module(needs)))
    }

    fn names(wanted: &[&str], built_in: &[&str]) -> Result<Vec<String>, ModuleError> {
        let built_in = built_in.iter().map(|name| (*name).to_owned()).collect();
        Ok(in_order(wanted, &built_in, &some)?.into_iter().map(|(name, _)| name).collect())
    }

    #[test]
    fn a_module_is_loaded_behind_all_that_it_needs_and_once() {
        assert_eq!(names(&["ring", "disk", "table"], &["table"]).unwrap(), ["ring", "bus", "disk"]);
    }

    #[test]
    fn what_is_nowhere_is_named() {
        assert_eq!(names(&["disk"], &[]), Err(ModuleError::Missing("table".to_owned())));
        assert_eq!(names(&["text"], &[]), Err(ModuleError::Unreadable("text".to_owned())));
    }

    #[test]
    fn a_circle_ends() {
        assert_eq!(names(&["round"], &[]).unwrap(), ["about", "round"]);
    }

    #[test]
    fn a_module_that_is_not_compressed_is_left_as_it_is() {
        assert_eq!(contents("a.ko", vec![1, 2]).unwrap(), [1, 2]);
        assert!(contents("a.ko.xz", vec![1, 2]).is_err());
        assert_eq!(name("virtio-rng"), "virtio_rng");
    }
}
