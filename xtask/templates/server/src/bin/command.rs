//! The command `{{name}}` of the shell: a domain that can reach the server `{{name}}`, and nothing else.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![forbid(unsafe_code)]

userlib::entry!(|environment| {
    let server = {{crate}}::{{Type}}Client::new(environment.connection("{{name}}"));
    userlib::command::serve(environment, move |arguments, output| {
        let (words, answers) = server.answer(arguments)?;
        writeln!(output, "{{name}}: {words} (answer {answers})")
    })
});
