//! A server of values by their keys.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![forbid(unsafe_code)]

use interfaces::stream::StreamService;
use keyvalue::Server;

userlib::entry!(|environment| environment.serve("stream", StreamService::new(Server::new())));
