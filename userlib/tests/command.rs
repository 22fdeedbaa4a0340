//! Commands: a function of arguments and output at one end, a shell at the other.

use std::rc::Rc;
use userlib::abi::Handle;
use userlib::cap::{Cap, Endpoint};
use userlib::command::{self, ARGUMENTS_MAX, CommandClient, CommandError, SENTENCE_MAX};
use userlib::host::{self, Loopback};
use userlib::ipc::CallError;

const ENDPOINT: Cap<Endpoint> = Cap::from_handle(Handle::new(3, 1));

/// Calls a command that says its arguments backwards, and refuses to say nothing.
fn run(arguments: &str, output: &mut [u8]) -> Result<usize, CallError<CommandError>> {
    let kernel: Rc<Loopback> = Loopback::new();
    let service = command::service(|arguments, output| {
        if arguments.is_empty() {
            return Err(CommandError::usage("backwards WORDS"));
        }
        let server_died: Result<(), CallError<CommandError>> =
            if arguments == "die" { Err(CallError::ServerDied) } else { Ok(()) };
        server_died?;
        write!(output, "{}", arguments.chars().rev().collect::<String>())
    });
    kernel.serve(ENDPOINT.handle(), service);
    host::with(kernel, || CommandClient::new(ENDPOINT).run(arguments, output))
}

#[test]
fn what_a_command_says_is_in_the_output() {
    let mut output = [0; 16];
    assert_eq!(run("hello", &mut output), Ok(5));
    assert_eq!(&output[..5], b"olleh");
}

#[test]
fn output_that_does_not_fit_is_cut_and_its_length_tells_so() {
    let mut output = [0; 3];
    assert_eq!(run("hello", &mut output), Ok(5));
    assert_eq!(&output, b"oll");
}

#[test]
fn errors_carry_a_sentence() {
    assert_eq!(run("", &mut []), Err(CallError::Failed(CommandError::usage("backwards WORDS"))));
    let Err(CallError::Failed(died)) = run("die", &mut []) else { panic!("it failed") };
    assert_eq!(died.to_string(), "the server died while it was working on the request");
    // One that is too long is cut.
    assert_eq!(CommandError::failed("x".repeat(500)), CommandError::failed("x".repeat(SENTENCE_MAX)));
}

#[test]
fn arguments_that_are_too_long_are_refused() {
    let mut output = [0; ARGUMENTS_MAX];
    assert_eq!(run(&"x".repeat(ARGUMENTS_MAX), &mut output), Ok(ARGUMENTS_MAX));
    assert_eq!(run(&"x".repeat(ARGUMENTS_MAX + 1), &mut output), Err(CallError::Failed(CommandError::BadArguments)));
}
