//! The command `flood`: opens a file again and again until the file server refuses, and keeps all of them open. A client
//! as greedy as it can be. Paths are the file server's own.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![forbid(unsafe_code)]

use interfaces::filesystem::{Access, FilesystemClient};
use userlib::command::{self, CommandError};

/// More than any server allows.
const ATTEMPTS: u64 = 10_000;

userlib::entry!(|environment| {
    let files = FilesystemClient::new(environment.connection("filesystem"));
    command::serve(environment, move |path, output| {
        for opened in 0..ATTEMPTS {
            if let Err(error) = files.open(path, Access::Read) {
                return writeln!(output, "{opened} times open, then: {error}");
            }
        }
        Err(CommandError::failed("nothing refused it"))
    })
});
