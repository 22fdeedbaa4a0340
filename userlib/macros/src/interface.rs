//! `#[interface]`: from a trait to both ends of a protocol.

use crate::label::{fnv32, fnv64};
use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote};
use syn::parse::{Parse, ParseStream};
use syn::spanned::Spanned;
use syn::visit_mut::VisitMut;
use syn::{
    Attribute, Error, FnArg, Ident, ItemTrait, LitInt, LitStr, Pat, Result, ReturnType, Token, TraitItem, TraitItemFn,
    Type,
};

/// The most leases in a call, as in the kernel's ABI.
const LEASES_MAX: usize = 4;

/// `name = "…", version = N`.
pub(crate) struct Arguments {
    name: LitStr,
    version: u16,
}

impl Parse for Arguments {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let (mut name, mut version) = (None, None);
        while !input.is_empty() {
            let key: Ident = input.parse()?;
            input.parse::<Token![=]>()?;
            match key.to_string().as_str() {
                "name" => name = Some(input.parse::<LitStr>()?),
                "version" => version = Some(input.parse::<LitInt>()?.base10_parse()?),
                _ => return Err(Error::new(key.span(), "an interface has a `name` and a `version`")),
            }
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        let missing = |what| Error::new(Span::call_site(), format!("the interface's `{what}` is missing"));
        let name = name.ok_or_else(|| missing("name"))?;
        let text = name.value();
        if text.is_empty() || !text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') {
            return Err(Error::new(
                name.span(),
                "an interface's name consists of lower-case letters, digits and hyphens",
            ));
        }
        Ok(Self { name, version: version.ok_or_else(|| missing("version"))? })
    }
}

/// How an argument travels.
enum Passing {
    /// Within the message.
    Value { client: Box<Type>, server: Box<Type> },
    /// As a lease that the server reads.
    ReadBytes,
    /// The same, and it is text.
    ReadText,
    /// As a lease that the server writes.
    WriteBytes,
}

struct Argument {
    name: Ident,
    passing: Passing,
}

struct Method {
    docs: Vec<Attribute>,
    name: Ident,
    idempotent: bool,
    arguments: Vec<Argument>,
    /// What the server's method returns.
    output: TokenStream,
    value: TokenStream,
    error: TokenStream,
    fallible: bool,
    label: u32,
}

/// Writes `Owned` where the interface says `Cap`: what the server receives is its own.
struct Receiving;

impl VisitMut for Receiving {
    fn visit_path_segment_mut(&mut self, segment: &mut syn::PathSegment) {
        if segment.ident == "Cap" {
            segment.ident = Ident::new("Owned", segment.ident.span());
        }
        syn::visit_mut::visit_path_segment_mut(self, segment);
    }
}

fn passing(ty: &Type) -> Result<Passing> {
    let Type::Reference(reference) = ty else {
        let mut server = ty.clone();
        Receiving.visit_type_mut(&mut server);
        return Ok(Passing::Value { client: Box::new(ty.clone()), server: Box::new(server) });
    };
    let is = |path: &syn::TypePath, name: &str| path.path.is_ident(name);
    match (&*reference.elem, reference.mutability.is_some()) {
        (Type::Slice(slice), mutable) if matches!(&*slice.elem, Type::Path(path) if is(path, "u8")) => {
            Ok(if mutable { Passing::WriteBytes } else { Passing::ReadBytes })
        }
        (Type::Path(path), false) if is(path, "str") => Ok(Passing::ReadText),
        _ => Err(Error::new_spanned(
            ty,
            "memory is lent as `&[u8]`, `&mut [u8]` or `&str`; everything else travels by value",
        )),
    }
}

/// The two type arguments of `Result<T, E>`.
fn result_arguments(ty: &Type) -> Option<(&Type, &Type)> {
    let Type::Path(path) = ty else { return None };
    let last = path.path.segments.last()?;
    if last.ident != "Result" {
        return None;
    }
    let syn::PathArguments::AngleBracketed(arguments) = &last.arguments else {
        return None;
    };
    let mut types = arguments.args.iter().filter_map(|argument| match argument {
        syn::GenericArgument::Type(ty) => Some(ty),
        _ => None,
    });
    Some((types.next()?, types.next()?))
}

fn method(item: &TraitItemFn) -> Result<Method> {
    let signature = &item.sig;
    if let Some(body) = &item.default {
        return Err(Error::new_spanned(body, "a method of an interface has no body: servers have theirs"));
    }
    if signature.asyncness.is_some() || !signature.generics.params.is_empty() {
        return Err(Error::new_spanned(signature, "a method of an interface is a plain `fn` without generics"));
    }
    let mut docs = Vec::new();
    let mut idempotent = false;
    for attribute in &item.attrs {
        if attribute.path().is_ident("idempotent") {
            idempotent = true;
        } else if attribute.path().is_ident("doc") {
            docs.push(attribute.clone());
        } else {
            return Err(Error::new_spanned(attribute, "a method can only be marked `#[idempotent]`"));
        }
    }
    let mut arguments = Vec::new();
    for input in &signature.inputs {
        let FnArg::Typed(typed) = input else {
            return Err(Error::new_spanned(input, "a method of an interface takes no `self`"));
        };
        let Pat::Ident(name) = &*typed.pat else {
            return Err(Error::new_spanned(&typed.pat, "an argument needs a plain name"));
        };
        arguments.push(Argument { name: name.ident.clone(), passing: passing(&typed.ty)? });
    }
    let leases = arguments.iter().filter(|argument| !matches!(argument.passing, Passing::Value { .. })).count();
    if leases > LEASES_MAX {
        return Err(Error::new_spanned(
            &signature.inputs,
            format!("a call lends at most {LEASES_MAX} ranges of memory"),
        ));
    }
    let output = match &signature.output {
        ReturnType::Default => quote!(()),
        ReturnType::Type(_, ty) => quote!(#ty),
    };
    let (value, error, fallible) = match &signature.output {
        ReturnType::Type(_, ty) => match result_arguments(ty) {
            Some((value, error)) => (quote!(#value), quote!(#error), true),
            None => (quote!(#ty), quote!(::core::convert::Infallible), false),
        },
        ReturnType::Default => (quote!(()), quote!(::core::convert::Infallible), false),
    };
    Ok(Method {
        docs,
        name: signature.ident.clone(),
        idempotent,
        label: fnv32(&signature_text(item)),
        arguments,
        output,
        value,
        error,
        fallible,
    })
}

/// Name and types as written, without spaces: what a method's label is made of. Names of arguments do not matter.
fn signature_text(item: &TraitItemFn) -> String {
    let types: Vec<String> = item
        .sig
        .inputs
        .iter()
        .map(|input| match input {
            FnArg::Typed(typed) => compact(&typed.ty),
            FnArg::Receiver(_) => String::new(),
        })
        .collect();
    let output = match &item.sig.output {
        ReturnType::Default => "()".to_string(),
        ReturnType::Type(_, ty) => compact(ty),
    };
    format!("{}({})->{output}", item.sig.ident, types.join(","))
}

fn compact(ty: &Type) -> String {
    quote!(#ty).to_string().replace(' ', "")
}

pub(crate) fn expand(arguments: &Arguments, item: &ItemTrait) -> Result<TokenStream> {
    if !item.generics.params.is_empty() || !item.supertraits.is_empty() {
        return Err(Error::new_spanned(&item.ident, "an interface has neither generics nor supertraits"));
    }
    let mut methods: Vec<Method> = Vec::new();
    for member in &item.items {
        let TraitItem::Fn(function) = member else {
            return Err(Error::new_spanned(member, "an interface consists of methods only"));
        };
        let method = method(function)?;
        if let Some(other) = methods.iter().find(|other| other.label == method.label) {
            return Err(Error::new(
                function.sig.span(),
                format!("`{}` and `{}` have the same label: rename one", method.name, other.name),
            ));
        }
        methods.push(method);
    }
    let client = client(arguments, item, &methods);
    let server = server(item, &methods);
    Ok(quote!(#client #server))
}

fn client(arguments: &Arguments, item: &ItemTrait, methods: &[Method]) -> TokenStream {
    let Arguments { name, version } = arguments;
    let id = fnv64(&format!("{}/{version}", name.value()));
    let visibility = &item.vis;
    let docs = item.attrs.iter().filter(|attribute| attribute.path().is_ident("doc"));
    let client = format_ident!("{}Client", item.ident);
    let summary = format!("Calls servers of the interface `{}`, version {version}.", name.value());
    let calls = methods.iter().map(client_method);
    let names = methods.iter().map(|method| method.name.to_string());
    let labels = methods.iter().map(|method| method.label);
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
                methods: &[#(::userlib::ipc::MethodInfo { name: #names, label: #labels }),*],
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

fn client_method(method: &Method) -> TokenStream {
    let Method { docs, name, value, error, label, .. } = method;
    let mut parameters = Vec::new();
    let mut encode = Vec::new();
    let mut types = Vec::new();
    let mut leases = Vec::new();
    for argument in &method.arguments {
        let name = &argument.name;
        match &argument.passing {
            Passing::Value { client, .. } => {
                parameters.push(quote!(#name: #client));
                encode.push(quote!(<#client as ::userlib::ipc::Value>::encode(&#name, &mut out);));
                types.push(client);
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
    let call = if method.idempotent { quote!(call_idempotent) } else { quote!(call) };
    let mutable = (!encode.is_empty()).then(|| quote!(mut));
    quote! {
        #(#docs)*
        pub fn #name(
            &self,
            #(#parameters),*
        ) -> ::core::result::Result<#value, ::userlib::ipc::CallError<#error>> {
            use ::userlib::ipc::Value as _;
            const WORDS: usize = 0 #(+ <#types as ::userlib::ipc::Value>::WORDS)*;
            const CAPS: usize = 0 #(+ <#types as ::userlib::ipc::Value>::CAPS)*;
            const ANSWER: usize = ::userlib::ipc::value::larger(<#value>::WORDS, <#error>::WORDS);
            const ANSWER_CAPS: usize = ::userlib::ipc::value::larger(<#value>::CAPS, <#error>::CAPS);
            const { assert!(::userlib::ipc::value::fits(WORDS, CAPS), "the arguments do not fit into a message") };
            const { assert!(::userlib::ipc::value::fits(ANSWER, ANSWER_CAPS), "the result does not fit into a message") };
            let mut words = [0; WORDS];
            let #mutable out = ::userlib::ipc::Encoder::new(&mut words);
            #(#encode)*
            let (words, caps) = out.parts();
            let mut answer = [0; ANSWER];
            let mut request = ::userlib::ipc::Request {
                label: #label,
                words,
                caps,
                leases: &mut [#(#leases),*],
            };
            let response = self.connection.#call(Self::INTERFACE.id, &mut request, &mut answer)?;
            ::userlib::ipc::client::interpret::<#value, #error>(response, &answer)
        }
    }
}

fn server(item: &ItemTrait, methods: &[Method]) -> TokenStream {
    let visibility = &item.vis;
    let client = format_ident!("{}Client", item.ident);
    let server = format_ident!("{}Server", item.ident);
    let service = format_ident!("{}Service", item.ident);
    let docs = item.attrs.iter().filter(|attribute| attribute.path().is_ident("doc"));
    let signatures = methods.iter().map(server_method);
    let arms = methods.iter().map(dispatch_arm);
    let caps = methods.iter().map(|method| {
        let types = method.arguments.iter().filter_map(|argument| match &argument.passing {
            Passing::Value { server, .. } => Some(server),
            _ => None,
        });
        quote!(0 #(+ <#types as ::userlib::ipc::Value>::CAPS)*)
    });
    let server_summary =
        format!("What a server of [`{client}`] does. Each method may be under way several times at once.");
    let service_summary = format!("Dispatches calls to a [`{server}`].");
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

            fn dispatch(
                &self,
                mut call: ::userlib::ipc::Incoming<'_>,
            ) -> ::core::option::Option<::userlib::ipc::server::Work> {
                match call.label() {
                    #(#arms)*
                    _ => {
                        call.refuse_method();
                        ::core::option::Option::None
                    }
                }
            }
        }
    }
}

fn server_method(method: &Method) -> TokenStream {
    let Method { docs, name, output, .. } = method;
    let parameters = method.arguments.iter().map(|argument| {
        let name = &argument.name;
        match &argument.passing {
            Passing::Value { server, .. } => quote!(#name: #server),
            Passing::ReadBytes | Passing::ReadText => quote!(#name: ::userlib::ipc::ReadLease),
            Passing::WriteBytes => quote!(#name: ::userlib::ipc::WriteLease),
        }
    });
    quote! {
        #(#docs)*
        fn #name(
            &self,
            caller: &::userlib::ipc::Caller,
            #(#parameters),*
        ) -> impl ::core::future::Future<Output = #output>;
    }
}

fn dispatch_arm(method: &Method) -> TokenStream {
    let Method { name, value, error, label, .. } = method;
    let mut bound = Vec::new();
    let mut types = Vec::new();
    let mut passed = Vec::new();
    let mut leases: u8 = 0;
    for argument in &method.arguments {
        let name = &argument.name;
        match &argument.passing {
            Passing::Value { server, .. } => {
                bound.push(name);
                types.push(server);
                passed.push(quote!(#name));
                continue;
            }
            Passing::ReadBytes | Passing::ReadText => {
                passed.push(quote!(::userlib::ipc::ReadLease::new(&caller, #leases)));
            }
            Passing::WriteBytes => passed.push(quote!(::userlib::ipc::WriteLease::new(&caller, #leases))),
        }
        leases += 1;
    }
    let leases = usize::from(leases);
    let input = if bound.is_empty() { quote!(_) } else { quote!(input) };
    let outcome = if method.fallible { quote!(outcome) } else { quote!(::core::result::Result::Ok(outcome)) };
    quote! {
        #label => {
            let ::core::result::Result::Ok((#(#bound,)*)) = call.arguments(#leases, |#input| {
                ::core::result::Result::Ok((#(<#types as ::userlib::ipc::Value>::decode(input)?,)*))
            }) else {
                call.refuse_arguments();
                return ::core::option::Option::None;
            };
            let server = self.0.clone();
            let caller = call.into_caller();
            ::core::option::Option::Some(::userlib::ipc::server::work(async move {
                let method = server.#name(&caller, #(#passed),*);
                if let ::core::option::Option::Some(outcome) = caller.work_on(method).await {
                    caller.answer::<#value, #error>(&#outcome);
                }
            }))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(item: ItemTrait) -> String {
        let arguments = syn::parse_str("name = \"test\", version = 1").unwrap();
        expand(&arguments, &item).unwrap_err().to_string()
    }

    #[test]
    fn what_an_interface_cannot_say_is_refused_with_a_reason() {
        assert!(
            refusal(syn::parse_quote!(
                trait T {
                    fn f(&self);
                }
            ))
            .contains("`self`")
        );
        assert!(
            refusal(syn::parse_quote!(
                trait T {
                    fn f(x: &u64);
                }
            ))
            .contains("by value")
        );
        assert!(
            refusal(syn::parse_quote!(
                trait T {
                    fn f(x: &mut str);
                }
            ))
            .contains("lent")
        );
        assert!(
            refusal(syn::parse_quote!(
                trait T {
                    async fn f();
                }
            ))
            .contains("plain")
        );
        assert!(
            refusal(syn::parse_quote!(
                trait T {
                    fn f() {}
                }
            ))
            .contains("no body")
        );
        assert!(
            refusal(syn::parse_quote!(
                trait T {
                    const X: u64;
                }
            ))
            .contains("methods only")
        );
        assert!(
            refusal(syn::parse_quote!(
                trait T<X> {
                    fn f(x: X);
                }
            ))
            .contains("generics")
        );
        let five = syn::parse_quote!(
            trait T {
                fn f(a: &[u8], b: &[u8], c: &[u8], d: &[u8], e: &str);
            }
        );
        assert!(refusal(five).contains("at most 4"));
        assert!(
            refusal(syn::parse_quote!(
                trait T {
                    fn f();
                    fn f();
                }
            ))
            .contains("same label")
        );
    }

    #[test]
    fn names_and_versions_are_checked() {
        let parse = |text: &str| syn::parse_str::<Arguments>(text).map(drop).map_err(|e| e.to_string());
        assert!(parse("name = \"block-2\", version = 3").is_ok());
        assert!(parse("name = \"Block\", version = 3").unwrap_err().contains("lower-case"));
        assert!(parse("name = \"block\"").unwrap_err().contains("`version` is missing"));
        assert!(parse("version = 1").unwrap_err().contains("`name` is missing"));
        assert!(parse("name = \"block\", colour = 1").is_err());
    }

    #[test]
    fn labels_depend_on_types_and_not_on_names_of_arguments_or_spaces() {
        let text = |item: TraitItemFn| signature_text(&item);
        let a = text(syn::parse_quote!(
            fn read(file: u64, bytes: &mut [u8]) -> Result<u64, Failure>;
        ));
        let b = text(syn::parse_quote!(
            fn read(id: u64, to: &mut [u8]) -> Result<u64, Failure>;
        ));
        assert_eq!(a, b);
        assert_eq!(a, "read(u64,&mut[u8])->Result<u64,Failure>");
        let c = text(syn::parse_quote!(
            fn read(file: u32, bytes: &mut [u8]) -> Result<u64, Failure>;
        ));
        assert_ne!(fnv32(&a), fnv32(&c));
    }
}
