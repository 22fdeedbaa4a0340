//! Programs of a few instructions for Linux.

use crate::machine::handmade::executable;

/// What the first user process says.
pub(in super::super) const FIRST_WORDS: &str = "first user process";

const LOAD_ADDRESS: u32 = 0x40_0000;

/// A program that writes [`FIRST_WORDS`] and then waits for signals for ever.
pub(super) fn first_process() -> Vec<u8> {
    let text = format!("{FIRST_WORDS}\n");
    #[rustfmt::skip]
    let mut code = vec![
        0xb8, 1, 0, 0, 0,                         // mov  eax, 1       write
        0xbf, 1, 0, 0, 0,                         // mov  edi, 1       to standard output
        0x48, 0x8d, 0x35, 16, 0, 0, 0,            // lea  rsi, [rip + 16]
        0xba, text.len() as u8, 0, 0, 0,          // mov  edx, length
        0x0f, 0x05,                               // syscall
        0xb8, 34, 0, 0, 0,                        // mov  eax, 34      pause
        0x0f, 0x05,                               // syscall
        0xeb, 0xf7,                               // jmp  back to the pause
    ];
    code.extend(text.bytes());
    executable(LOAD_ADDRESS, &code)
}

/// A program that writes a byte into the pipe that it finds as file 10 and ends: what `tests/linux` executes to measure how long a
/// process takes to its first message.
pub(super) fn child() -> Vec<u8> {
    #[rustfmt::skip]
    let code = [
        0xb8, 1, 0, 0, 0,                         // mov  eax, 1       write
        0xbf, 10, 0, 0, 0,                        // mov  edi, 10      into the pipe
        0x48, 0x8d, 0x35, 16, 0, 0, 0,            // lea  rsi, [rip + 16]
        0xba, 1, 0, 0, 0,                         // mov  edx, 1       length
        0x0f, 0x05,                               // syscall
        0xb8, 60, 0, 0, 0,                        // mov  eax, 60      exit
        0x31, 0xff,                               // xor  edi, edi
        0x0f, 0x05,                               // syscall
        b'!',
    ];
    executable(LOAD_ADDRESS, &code)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io::Read;
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;
    use std::process::{Command, Stdio};

    fn file(folder: &tempfile::TempDir, contents: &[u8]) -> PathBuf {
        let program = folder.path().join("init");
        fs::write(&program, contents).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        program
    }

    #[test]
    fn the_first_process_says_its_words_and_waits() {
        let folder = tempfile::tempdir().unwrap();
        let program = file(&folder, &first_process());
        let mut process = Command::new(&program).stdout(Stdio::piped()).spawn().unwrap();
        let mut words = vec![0; FIRST_WORDS.len()];
        process.stdout.as_mut().unwrap().read_exact(&mut words).unwrap();
        assert_eq!(words, FIRST_WORDS.as_bytes());
        assert!(process.try_wait().unwrap().is_none(), "it ended");
        process.kill().unwrap();
        process.wait().unwrap();
    }

    #[test]
    fn the_child_says_one_byte_and_ends() {
        let folder = tempfile::tempdir().unwrap();
        let program = file(&folder, &child());
        let said = Command::new("bash").args(["-c", "\"$0\" 10>&1"]).arg(&program).output().unwrap();
        assert!(said.status.success(), "{said:?}");
        assert_eq!(said.stdout, b"!");
    }
}
