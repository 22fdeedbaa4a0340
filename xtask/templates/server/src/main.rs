//! The program of the server `{{name}}`.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![forbid(unsafe_code)]

userlib::entry!(|environment| {
    let state = {{crate}}::State::default();
    environment.serve("{{name}}", {{crate}}::{{Type}}Service::new(state))
});
