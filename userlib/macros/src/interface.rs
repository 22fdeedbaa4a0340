//! `#[interface]`: from a trait to both ends of a protocol.

use crate::arguments::Arguments;
use crate::method::Method;
use crate::{client, double, server};
use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Attribute, Error, ItemTrait, Result, TraitItem, Type, Visibility};

/// A trait that is an interface.
pub(crate) struct Interface {
    pub(crate) name: String,
    pub(crate) version: u16,
    pub(crate) visibility: Visibility,
    pub(crate) docs: Vec<Attribute>,
    /// The trait's own name.
    pub(crate) ident: Ident,
    pub(crate) methods: Vec<Method>,
}

impl Interface {
    /// The trait's name with something behind it.
    pub(crate) fn named(&self, end: &str) -> Ident {
        format_ident!("{}{end}", self.ident)
    }

    fn of(arguments: &Arguments, item: &ItemTrait) -> Result<Self> {
        let mut errors: Option<Error> = None;
        let mut note = |error: Error| match &mut errors {
            Some(errors) => errors.combine(error),
            None => errors = Some(error),
        };
        if !item.generics.params.is_empty() {
            note(Error::new_spanned(&item.generics, "an interface has no generics: what travels has one layout"));
        }
        if !item.supertraits.is_empty() {
            note(Error::new_spanned(&item.supertraits, "an interface stands for itself: remove the supertraits"));
        }
        if let Some(token) = &item.unsafety {
            note(Error::new_spanned(token, "remove `unsafe`: nothing that a client sends can break a server's memory"));
        }
        let (docs, others): (Vec<_>, Vec<_>) =
            item.attrs.iter().cloned().partition(|attribute| attribute.path().is_ident("doc"));
        if let Some(attribute) = others.first() {
            note(Error::new_spanned(attribute, "an interface has documentation and no other attributes: remove it"));
        }
        let mut methods: Vec<Method> = Vec::new();
        for member in &item.items {
            let method = match member {
                TraitItem::Fn(function) => Method::of(function),
                _ => Err(Error::new_spanned(member, "an interface consists of methods only: remove this")),
            };
            match method {
                Ok(method) if methods.iter().any(|other| other.name == method.name) => {
                    note(Error::new(method.name.span(), format!("there is a method `{}` already", method.name)));
                }
                Ok(method) => methods.push(method),
                Err(error) => note(error),
            }
        }
        match errors {
            Some(errors) => Err(errors),
            None => Ok(Self {
                name: arguments.name.value(),
                version: arguments.version,
                visibility: item.vis.clone(),
                docs,
                ident: item.ident.clone(),
                methods,
            }),
        }
    }
}

pub(crate) fn expand(arguments: &Arguments, item: &ItemTrait) -> Result<TokenStream> {
    let interface = Interface::of(arguments, item)?;
    let client = client::expand(&interface);
    let server = server::expand(&interface);
    let double = double::expand(&interface);
    let checks = checks(&interface);
    Ok(quote!(#client #server #double #checks))
}

/// A constant or function of a type as a value; mistakes are shown at the type.
pub(crate) fn constant(ty: &Type, name: &str) -> TokenStream {
    let name = Ident::new(name, ty.span());
    quote_spanned!(ty.span()=> <#ty as ::userlib::ipc::Value>::#name)
}

/// The sum of a constant over types.
pub(crate) fn sum<'a>(types: impl Iterator<Item = &'a Type>, name: &str) -> TokenStream {
    let constants = types.map(|ty| constant(ty, name));
    quote!(0 #(+ #constants)*)
}

/// What is checked when sizes and labels are known.
fn checks(interface: &Interface) -> TokenStream {
    let client = interface.named("Client");
    let of_method = interface.methods.iter().enumerate().map(|(index, method)| {
        let name = method.name.to_string();
        let values: Vec<_> = method.arguments.iter().filter_map(|a| Some((&a.name, &a.value()?.sent))).collect();
        let arguments = values.iter().enumerate().map(|(last, (argument, ty))| {
            let argument = argument.to_string();
            let upto = |count: usize, name| sum(values[..count].iter().map(|(_, ty)| *ty), name);
            let [words_before, caps_before] = ["WORDS", "CAPS"].map(|name| upto(last, name));
            let [words, caps] = ["WORDS", "CAPS"].map(|name| upto(last + 1, name));
            quote_spanned! {ty.span()=>
                const _: () = ::userlib::ipc::declaration::argument_fits(
                    #name,
                    #argument,
                    [#words_before, #caps_before],
                    [#words, #caps],
                );
            }
        });
        let results = [&method.value.sent, &method.error.sent];
        let [value_words, error_words] = results.map(|ty| constant(ty, "WORDS"));
        let [value_caps, error_caps] = results.map(|ty| constant(ty, "CAPS"));
        let result = quote_spanned! {method.output.span()=>
            const _: () = ::userlib::ipc::declaration::result_fits(
                #name,
                [
                    ::userlib::ipc::value::larger(#value_words, #error_words),
                    ::userlib::ipc::value::larger(#value_caps, #error_caps),
                ],
            );
        };
        let distinct = quote_spanned! {method.name.span()=>
            const _: () = ::userlib::ipc::declaration::distinct(#client::INTERFACE.methods, #index);
        };
        quote!(#(#arguments)* #result #distinct)
    });
    quote!(#(#of_method)*)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(item: ItemTrait) -> String {
        let arguments = syn::parse_str("name = \"test\", version = 1").unwrap();
        let error = expand(&arguments, &item).unwrap_err();
        error.into_iter().map(|error| error.to_string()).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn what_an_interface_cannot_say_is_refused_with_a_reason() {
        let cases: [(ItemTrait, &str); 16] = [
            (
                syn::parse_quote!(
                    trait T {
                        fn f(&self);
                    }
                ),
                "`self`",
            ),
            (
                syn::parse_quote!(
                    trait T {
                        fn f(x: &u64);
                    }
                ),
                "by value",
            ),
            (
                syn::parse_quote!(
                    trait T {
                        fn f(x: &mut str);
                    }
                ),
                "lent as `&mut [u8]`",
            ),
            (
                syn::parse_quote!(
                    trait T {
                        fn f(x: &[u64]);
                    }
                ),
                "as bytes",
            ),
            (
                syn::parse_quote!(
                    trait T {
                        fn f(x: Option<&[u8]>);
                    }
                ),
                "of its own",
            ),
            (
                syn::parse_quote!(
                    trait T {
                        fn f() -> &str;
                    }
                ),
                "by value",
            ),
            (
                syn::parse_quote!(
                    trait T {
                        fn f(x: impl Clone);
                    }
                ),
                "name the type",
            ),
            (
                syn::parse_quote!(
                    trait T {
                        async fn f();
                    }
                ),
                "`async`",
            ),
            (
                syn::parse_quote!(
                    trait T {
                        unsafe fn f();
                    }
                ),
                "`unsafe`",
            ),
            (
                syn::parse_quote!(
                    trait T {
                        fn f() {}
                    }
                ),
                "no body",
            ),
            (
                syn::parse_quote!(
                    trait T {
                        const X: u64;
                    }
                ),
                "methods only",
            ),
            (
                syn::parse_quote!(
                    trait T<X> {
                        fn f(x: X);
                    }
                ),
                "generics",
            ),
            (
                syn::parse_quote!(
                    trait T: Clone {
                        fn f();
                    }
                ),
                "supertraits",
            ),
            (
                syn::parse_quote!(
                    trait T {
                        fn f(a: &[u8], b: &[u8], c: &[u8], d: &[u8], e: &str);
                    }
                ),
                "at most 4",
            ),
            (
                syn::parse_quote!(
                    trait T {
                        fn f();
                        fn f();
                    }
                ),
                "a method `f` already",
            ),
            (
                syn::parse_quote!(
                    trait T {
                        #[inline]
                        fn f();
                    }
                ),
                "`#[idempotent]`",
            ),
        ];
        for (item, expected) in cases {
            let said = refusal(item);
            assert!(said.contains(expected), "{said}");
        }
    }

    #[test]
    fn every_mistake_is_told_at_once() {
        let said = refusal(syn::parse_quote!(
            trait T {
                fn f(&self);
                async fn g();
            }
        ));
        assert!(said.contains("`self`") && said.contains("`async`"), "{said}");
    }
}
