//! Lines on the console.

use core::fmt::{self, Write};

use crate::kernel;

/// The console is open as standard output.
const OUTPUT: i32 = 1;

/// A line being put together: written at once, so that it costs one system call.
struct Line {
    bytes: [u8; 256],
    length: usize,
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for &byte in text.as_bytes() {
            *self.bytes.get_mut(self.length).ok_or(fmt::Error)? = byte;
            self.length += 1;
        }
        Ok(())
    }
}

/// Writes a line; what does not fit into 255 bytes is cut off.
pub(crate) fn line(text: fmt::Arguments<'_>) {
    let mut line = Line { bytes: [0; 256], length: 0 };
    let _ = line.write_fmt(text);
    line.length = line.length.min(line.bytes.len() - 1);
    line.bytes[line.length] = b'\n';
    // Without a console there is nobody to tell.
    let _ = kernel::write(OUTPUT, &line.bytes[..=line.length]);
}
