//! The macros of `userlib`: an interface is a trait, and what travels in its messages is a plain type.
//!
//! Use them through `userlib`, which documents what they mean: `userlib::interface` and `userlib::Value`.

mod arguments;
mod client;
mod double;
mod driver;
mod interface;
mod label;
mod method;
mod server;
mod value;

use proc_macro::TokenStream;
use syn::parse_macro_input;

/// Makes a trait an interface: a client, a server trait, a dispatcher and the interface's id.
#[proc_macro_attribute]
pub fn interface(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let arguments = parse_macro_input!(arguments as arguments::Arguments);
    let item = parse_macro_input!(item as syn::ItemTrait);
    interface::expand(&arguments, &item).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Makes a structure or enum a value that travels in messages.
#[proc_macro_derive(Value)]
pub fn value(item: TokenStream) -> TokenStream {
    let item = parse_macro_input!(item as syn::DeriveInput);
    value::expand(&item).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Makes an async function the program of a driver's domain.
#[proc_macro_attribute]
pub fn driver(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let syn::parse::Nothing = parse_macro_input!(arguments as syn::parse::Nothing);
    let item = parse_macro_input!(item as syn::ItemFn);
    driver::expand(&item).unwrap_or_else(syn::Error::into_compile_error).into()
}
