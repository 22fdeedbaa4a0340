//! A server that answers, counts, copies, and breaks in every way on request: the smallest example of a server, and what
//! tests of supervision break.
#![cfg_attr(target_os = "none", no_std, no_main)]

mod server;

use echo::Echo;
use interfaces::echo::EchoService;

userlib::entry!(|environment| environment.serve("echo", EchoService::new(Echo::new(server::break_down))));
