//! The serving side of an interface: the trait of servers, and the dispatch of messages to one.

use crate::interface::{Interface, sum};
use crate::method::{Method, Passing};
use proc_macro2::{Ident, Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};

pub(crate) fn expand(interface: &Interface) -> TokenStream {
    let Interface { visibility, docs, methods, .. } = interface;
    let [client, server, service] = ["Client", "Server", "Service"].map(|end| interface.named(end));
    let signatures = methods.iter().map(signature);
    let labels: Vec<_> =
        methods.iter().map(|method| format_ident!("{}", method.name.to_string().to_uppercase())).collect();
    let arms = methods.iter().zip(&labels).map(|(method, label)| arm(method, label));
    let indices = 0..methods.len();
    let caps = methods.iter().map(|method| sum(method.values().map(|passed| &passed.received), "CAPS"));
    let server_summary =
        format!("What a server of [`{client}`] does. Each method may be under way several times at once.");
    let service_summary = format!("Dispatches calls to a [`{server}`].");
    let dispatch = quote_spanned! {Span::mixed_site()=>
        fn dispatch(
            &self,
            call: &mut ::userlib::ipc::Incoming<'_>,
        ) -> ::core::option::Option<::userlib::ipc::server::Work> {
            #(const #labels: u32 = #client::INTERFACE.methods[#indices].label;)*
            match call.label() {
                #(#arms)*
                _ => {
                    call.refuse_method();
                    ::core::option::Option::None
                }
            }
        }
    };
    quote! {
        #[doc = #server_summary]
        #[doc = ""]
        #(#docs)*
        #visibility trait #server {
            #(#signatures)*
        }

        #[doc = #service_summary]
        #[derive(Debug)]
        #visibility struct #service<S>(::userlib::ipc::server::Shared<S>);

        impl<S: #server + 'static> #service<S> {
            /// Calls go to `server`.
            pub fn new(server: S) -> Self {
                Self(::userlib::ipc::server::Shared::new(server))
            }

            /// Calls go to `server`, which is used by others too.
            pub fn shared(server: ::userlib::ipc::server::Shared<S>) -> Self {
                Self(server)
            }

            /// The server.
            pub fn server(&self) -> ::userlib::ipc::server::Shared<S> {
                self.0.clone()
            }
        }

        impl<S: #server + 'static> ::userlib::ipc::Service for #service<S> {
            fn interface(&self) -> u64 {
                #client::INTERFACE.id
            }

            fn accepts_caps(&self) -> u8 {
                const { ::userlib::ipc::value::largest(&[#(#caps),*]) as u8 }
            }

            #dispatch
        }
    }
}

fn signature(method: &Method) -> TokenStream {
    let Method { docs, name, output, .. } = method;
    let parameters = method.arguments.iter().map(|argument| {
        let name = &argument.name;
        match &argument.passing {
            Passing::Value(passed) => {
                let ty = &passed.received;
                quote!(#name: #ty)
            }
            Passing::ReadBytes | Passing::ReadText => quote!(#name: ::userlib::ipc::ReadLease),
            Passing::WriteBytes => quote!(#name: ::userlib::ipc::WriteLease),
        }
    });
    quote_spanned! {Span::mixed_site()=>
        #(#docs)*
        fn #name(
            &self,
            caller: &::userlib::ipc::Caller,
            #(#parameters),*
        ) -> impl ::core::future::Future<Output = #output>;
    }
}

fn arm(method: &Method, label: &Ident) -> TokenStream {
    let name = &method.name;
    let (value, error) = (&method.value.sent, &method.error.sent);
    // The dispatcher's own variables, so that none of them is taken for an argument of that name.
    let own = Span::mixed_site();
    let mut bound = Vec::new();
    let mut types = Vec::new();
    let mut passed = Vec::new();
    let mut leases: u8 = 0;
    for argument in &method.arguments {
        let name = &argument.name;
        let lease = match &argument.passing {
            Passing::Value(value) => {
                bound.push(name);
                types.push(&value.received);
                passed.push(quote!(#name));
                continue;
            }
            Passing::ReadBytes | Passing::ReadText => quote!(ReadLease),
            Passing::WriteBytes => quote!(WriteLease),
        };
        passed.push(quote_spanned!(own=> ::userlib::ipc::#lease::new(&caller, #leases)));
        leases += 1;
    }
    let leases = usize::from(leases);
    let outcome = if method.fallible {
        quote_spanned!(own=> outcome)
    } else {
        quote_spanned!(own=> ::core::result::Result::Ok(outcome))
    };
    quote_spanned! {own=>
        #label => {
            let ::core::result::Result::Ok((#(#bound,)*)) = call.arguments(#leases, |_input| {
                ::core::result::Result::Ok((#(<#types as ::userlib::ipc::Value>::decode(_input)?,)*))
            }) else {
                call.refuse_arguments();
                return ::core::option::Option::None;
            };
            let server = self.0.clone();
            let caller = call.for_later();
            ::core::option::Option::Some(::userlib::ipc::server::work(async move {
                let method = server.#name(&caller, #(#passed),*);
                if let ::core::option::Option::Some(outcome) = caller.work_on(method).await {
                    caller.answer::<#value, #error>(&#outcome);
                }
            }))
        }
    }
}
