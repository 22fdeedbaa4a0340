//! The calling side of an interface.

use crate::interface::{Interface, constant, sum};
use crate::label::fnv64;
use crate::method::{Argument, Method, Passing};
use proc_macro2::{Ident, Span, TokenStream};
use quote::{quote, quote_spanned};

pub(crate) fn expand(interface: &Interface) -> TokenStream {
    let Interface { name, version, visibility, docs, methods, .. } = interface;
    let id = fnv64(&format!("{name}/{version}"));
    let client = interface.named("Client");
    let summary = format!("Calls servers of the interface `{name}`, version {version}.");
    let calls = methods.iter().enumerate().map(|(index, method)| call(&client, index, method));
    let infos = methods.iter().map(info);
    quote! {
        #[doc = #summary]
        #[doc = ""]
        #(#docs)*
        #[derive(Clone, Copy, Debug)]
        #visibility struct #client {
            connection: ::userlib::ipc::Connection,
        }

        impl ::userlib::ipc::Client for #client {
            fn endpoint(&self) -> ::userlib::cap::Cap<::userlib::cap::Endpoint> {
                self.connection.endpoint()
            }
        }

        impl #client {
            /// The interface's name, version, id and methods.
            pub const INTERFACE: ::userlib::ipc::InterfaceInfo = ::userlib::ipc::InterfaceInfo {
                name: #name,
                version: #version,
                id: #id,
                methods: &[#(#infos),*],
            };

            /// A client of the server behind an endpoint.
            pub fn new(connection: impl ::core::convert::Into<::userlib::ipc::Connection>) -> Self {
                Self { connection: connection.into() }
            }

            /// The same client; each call waits at most `timeout`.
            #[must_use]
            pub fn with_timeout(self, timeout: ::core::time::Duration) -> Self {
                Self { connection: self.connection.with_timeout(timeout) }
            }

            /// The same client; all calls wait until `deadline`.
            #[must_use]
            pub fn with_deadline(self, deadline: ::userlib::time::Deadline) -> Self {
                Self { connection: self.connection.with_deadline(deadline) }
            }

            #(#calls)*
        }
    }
}

/// Name and label. Names of arguments do not matter, nor how types are called.
fn info(method: &Method) -> TokenStream {
    let name = method.name.to_string();
    let arguments = method.arguments.iter().map(shape);
    let [value, error] = [&method.value, &method.error].map(|passed| constant(&passed.sent, "SHAPE"));
    let [words, caps] = ["WORDS", "CAPS"].map(|name| sum(method.values().map(|passed| &passed.sent), name));
    let leases = method.arguments.iter().filter_map(|argument| match &argument.passing {
        Passing::Value(_) => None,
        Passing::ReadBytes => Some(quote!(ReadBytes)),
        Passing::ReadText => Some(quote!(ReadText)),
        Passing::WriteBytes => Some(quote!(WriteBytes)),
    });
    quote! {
        ::userlib::ipc::MethodInfo {
            name: #name,
            label: ::userlib::ipc::shape::label(#name, &[#(#arguments),*], #value, #error),
            words: #words,
            caps: #caps,
            leases: &[#(::userlib::ipc::LeaseKind::#leases),*],
        }
    }
}

fn shape(argument: &Argument) -> TokenStream {
    match &argument.passing {
        Passing::Value(passed) => constant(&passed.sent, "SHAPE"),
        Passing::ReadBytes => quote!(::userlib::ipc::shape::READ_BYTES),
        Passing::ReadText => quote!(::userlib::ipc::shape::READ_TEXT),
        Passing::WriteBytes => quote!(::userlib::ipc::shape::WRITE_BYTES),
    }
}

fn call(client: &Ident, index: usize, method: &Method) -> TokenStream {
    let Method { docs, name, .. } = method;
    // The method's own variables, so that none of them is taken for an argument of that name.
    let own = Span::mixed_site();
    let mut parameters = Vec::new();
    let mut encode = Vec::new();
    let mut leases = Vec::new();
    for argument in &method.arguments {
        let name = &argument.name;
        match &argument.passing {
            Passing::Value(passed) => {
                let ty = &passed.sent;
                parameters.push(quote!(#name: #ty));
                let encoder = constant(ty, "encode");
                encode.push(quote_spanned!(own=> #encoder(&#name, &mut out);));
            }
            Passing::ReadBytes => {
                parameters.push(quote!(#name: &[u8]));
                leases.push(quote!(::userlib::ipc::Lent::Read(#name)));
            }
            Passing::ReadText => {
                parameters.push(quote!(#name: &str));
                leases.push(quote!(::userlib::ipc::Lent::Read(#name.as_bytes())));
            }
            Passing::WriteBytes => {
                parameters.push(quote!(#name: &mut [u8]));
                leases.push(quote!(::userlib::ipc::Lent::Write(#name)));
            }
        }
    }
    let words = sum(method.values().map(|passed| &passed.sent), "WORDS");
    let (value, error) = (&method.value.received, &method.error.received);
    let (value_words, error_words) = (constant(value, "WORDS"), constant(error, "WORDS"));
    let mutable = (!encode.is_empty()).then(|| quote!(mut));
    let (call, failure, conversion) = if method.idempotent {
        let failure = quote!(::userlib::ipc::RetriedError);
        (quote!(call_idempotent), failure.clone(), Some(quote!(.map_err(#failure::from))))
    } else {
        (quote!(call), quote!(::userlib::ipc::CallError), None)
    };
    quote_spanned! {own=>
        #(#docs)*
        pub fn #name(&self, #(#parameters),*) -> ::core::result::Result<#value, #failure<#error>> {
            const INTERFACE: ::userlib::ipc::InterfaceInfo = #client::INTERFACE;
            const LABEL: u32 = INTERFACE.methods[#index].label;
            let mut words = [0; #words];
            let #mutable out = ::userlib::ipc::Encoder::new(&mut words);
            #(#encode)*
            let (words, caps) = out.parts();
            let mut answer = [0; ::userlib::ipc::value::larger(#value_words, #error_words)];
            let mut request = ::userlib::ipc::Request {
                label: LABEL,
                words,
                caps,
                leases: &mut [#(#leases),*],
            };
            let response = self.connection.#call(INTERFACE.id, &mut request, &mut answer)?;
            ::userlib::ipc::client::interpret::<#value, #error>(response, &answer) #conversion
        }
    }
}
