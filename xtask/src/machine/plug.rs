//! Devices that a manifest wants QEMU to plug in.

use std::ffi::OsString;
use std::fmt;

/// A device with its properties, as the value of QEMU's option `-device`: `edu,dma_mask=0xffffffff`.
///
/// It is one argument of a process, which no shell reads, and its words have only letters, digits and a few signs, so that
/// nothing in it is another option, another device or a path of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plug {
    text: String,
}

/// Why QEMU cannot be asked for a device.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlugError {
    /// The device's name is not one.
    #[error("`{0}` is not the name of a device: letters, digits, `-`, `_` and `.`, the first a letter or a digit")]
    Name(String),
    /// A property is not one.
    #[error("`{0}` is not a property of a device: write `NAME=VALUE`, of letters, digits, `-`, `_` and `.`")]
    Property(String),
    /// A property that reaches beyond the device.
    #[error("the property `{0}` is not a manifest's to set: it would name something of the host or of QEMU itself")]
    Forbidden(String),
}

/// Properties that name files, back ends or other devices.
const FORBIDDEN: &[&str] = &["id", "bus", "romfile", "drive", "netdev", "chardev", "memdev", "driver"];

fn is_word(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

impl Plug {
    /// Reads a device with its properties.
    ///
    /// # Errors
    ///
    /// [`PlugError`].
    pub fn parse(text: &str) -> Result<Self, PlugError> {
        let mut parts = text.split(',');
        let name = parts.next().unwrap_or_default();
        if !is_word(name) {
            return Err(PlugError::Name(name.to_owned()));
        }
        for property in parts {
            let words = property.split_once('=').filter(|(key, value)| is_word(key) && is_word(value));
            let Some((key, _)) = words else {
                return Err(PlugError::Property(property.to_owned()));
            };
            if FORBIDDEN.contains(&key) {
                return Err(PlugError::Forbidden(key.to_owned()));
            }
        }
        Ok(Self { text: text.to_owned() })
    }

    /// QEMU's name for the device.
    pub fn name(&self) -> &str {
        self.text.split_once(',').map_or(&self.text, |(name, _)| name)
    }

    /// Whether these arguments of a person plug such a device in already.
    pub fn is_among(&self, arguments: &[OsString]) -> bool {
        arguments.windows(2).any(|pair| {
            let device = pair[1].to_string_lossy();
            let name = device.split(',').next().unwrap_or_default();
            matches!(pair[0].to_str(), Some("-device" | "--device"))
                && name.strip_prefix("driver=").unwrap_or(name) == self.name()
        })
    }
}

impl fmt::Display for Plug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_has_a_name_and_properties() {
        for text in ["edu", "edu,dma_mask=0xffffffff", "virtio-rng-pci,max-bytes=1024,period=1000"] {
            let plug = Plug::parse(text).unwrap();
            assert_eq!(plug.to_string(), text);
            assert_eq!(plug.name(), text.split(',').next().unwrap());
        }
    }

    #[test]
    fn nothing_can_be_smuggled_in_with_a_device() {
        for text in ["", "-drive", " edu", "edu -drive", "edu\n", "a/b", "edü"] {
            assert!(matches!(Plug::parse(text), Err(PlugError::Name(_))), "{text:?}");
        }
        for text in [
            "edu,",
            "edu,,x=1",
            "edu,x",
            "edu,x=",
            "edu,=1",
            "edu,x=/etc/passwd",
            "edu,x=1 -S",
            "edu,x=-S",
            "edu,x=a=b",
        ] {
            assert!(matches!(Plug::parse(text), Err(PlugError::Property(_))), "{text:?}");
        }
        for text in ["edu,romfile=x", "virtio-blk-pci,drive=disk0", "edu,id=disk0"] {
            assert!(matches!(Plug::parse(text), Err(PlugError::Forbidden(_))), "{text:?}");
        }
    }

    #[test]
    fn a_device_that_a_person_has_asked_for_is_recognised() {
        let plug = Plug::parse("edu,dma_mask=0xffffffff").unwrap();
        let arguments = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
        assert!(plug.is_among(&arguments(&["-d", "int", "-device", "edu"])));
        assert!(plug.is_among(&arguments(&["--device", "edu,dma_mask=1"])));
        assert!(plug.is_among(&arguments(&["-device", "driver=edu"])));
        assert!(!plug.is_among(&arguments(&["-device", "edu2", "edu"])));
        assert!(!plug.is_among(&arguments(&["edu"])));
    }
}
