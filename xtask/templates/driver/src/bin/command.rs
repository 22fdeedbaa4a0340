//! The command `{{name}}` of the shell: a domain that can reach the driver `{{name}}`, and nothing else.
#![cfg_attr(target_os = "none", no_std, no_main)]

userlib::entry!(|environment| {
    let driver = {{crate}}::{{Type}}Client::new(environment.connection("{{name}}"));
    userlib::command::serve(environment, move |arguments, output| {
        let number = arguments.parse().map_err(|_| userlib::command::CommandError::usage("{{name}} NUMBER"))?;
        writeln!(output, "{}", driver.factorial(number)?)
    })
});
