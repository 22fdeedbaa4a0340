//! `#[driver]`: an async function as the program of a driver's domain.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Error, ItemFn};

/// The function, and an entry point that gives it to `driver::run`.
pub(crate) fn expand(function: &ItemFn) -> Result<TokenStream, Error> {
    let signature = &function.sig;
    if signature.asyncness.is_none() {
        return Err(Error::new_spanned(signature.fn_token, "a driver is an `async fn`: it waits for its device"));
    }
    if signature.inputs.len() != 1 {
        return Err(Error::new_spanned(
            &signature.ident,
            "a driver has one argument, its device: `device: PciDevice` or `device: LegacyDevice`",
        ));
    }
    if let Some(generic) = signature.generics.params.first() {
        return Err(Error::new_spanned(generic, "a driver is for one device: it has no generic parameters"));
    }
    let name = &signature.ident;
    Ok(quote! {
        #function

        ::driver::userlib::entry!(|environment| ::driver::run(environment, #name));
    })
}
