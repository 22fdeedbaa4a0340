//! A method of an interface, as its declaration says it.

use syn::spanned::Spanned;
use syn::visit::Visit;
use syn::visit_mut::VisitMut;
use syn::{Attribute, Error, FnArg, Ident, Pat, Result, ReturnType, TraitItemFn, Type, TypeReference};

/// The most leases in a call, as in the kernel's ABI.
const LEASES_MAX: usize = 4;

/// How an argument travels.
pub(crate) enum Passing {
    /// Within the message.
    Value(Box<Passed>),
    /// As a lease that the server reads.
    ReadBytes,
    /// The same, and it is text.
    ReadText,
    /// As a lease that the server writes.
    WriteBytes,
}

/// A type, as whoever sends the value has it and as whoever receives it.
#[derive(Clone)]
pub(crate) struct Passed {
    pub(crate) sent: Type,
    pub(crate) received: Type,
}

impl Passed {
    fn new(ty: &Type) -> Self {
        let mut received = ty.clone();
        Receiving.visit_type_mut(&mut received);
        Self { sent: ty.clone(), received }
    }
}

pub(crate) struct Argument {
    pub(crate) name: Ident,
    pub(crate) passing: Passing,
}

impl Argument {
    /// The type, if it travels within the message.
    pub(crate) fn value(&self) -> Option<&Passed> {
        match &self.passing {
            Passing::Value(passed) => Some(passed),
            _ => None,
        }
    }
}

pub(crate) struct Method {
    pub(crate) docs: Vec<Attribute>,
    pub(crate) name: Ident,
    pub(crate) idempotent: bool,
    pub(crate) arguments: Vec<Argument>,
    /// What the server's method returns.
    pub(crate) output: Type,
    /// What it gives if all is well.
    pub(crate) value: Passed,
    /// Its own error.
    pub(crate) error: Passed,
    /// Whether `output` is a `Result` of both.
    pub(crate) fallible: bool,
}

impl Method {
    /// The types of what travels within the message.
    pub(crate) fn values(&self) -> impl Iterator<Item = &Passed> {
        self.arguments.iter().filter_map(Argument::value)
    }

    pub(crate) fn of(item: &TraitItemFn) -> Result<Self> {
        let signature = &item.sig;
        let refuse = |tokens: &dyn quote::ToTokens, why: &str| Err(Error::new_spanned(tokens, why));
        if let Some(body) = &item.default {
            return refuse(body, "a method of an interface has no body: write `;` here, servers have theirs");
        }
        if let Some(token) = &signature.asyncness {
            return refuse(
                token,
                "remove `async`: a client waits for the answer, and the methods of the server's trait are `async` anyway",
            );
        }
        if let Some(token) = &signature.constness {
            return refuse(token, "remove `const`: a call cannot be made at compile time");
        }
        if let Some(token) = &signature.unsafety {
            return refuse(token, "remove `unsafe`: nothing that a client sends can break a server's memory");
        }
        if let Some(abi) = &signature.abi {
            return refuse(abi, "remove this: a method of an interface is a plain `fn`");
        }
        if !signature.generics.params.is_empty() {
            return refuse(
                &signature.generics,
                "a method of an interface has no generics: what travels has one layout, so name the type",
            );
        }
        if let Some(clause) = &signature.generics.where_clause {
            return refuse(clause, "a method of an interface has no generics, so there is nothing to say about them");
        }
        let (docs, idempotent) = attributes(&item.attrs)?;
        let arguments = arguments(signature)?;
        let output: Type = match &signature.output {
            ReturnType::Default => syn::parse_quote!(()),
            ReturnType::Type(_, ty) => {
                check_result(ty)?;
                (**ty).clone()
            }
        };
        let (value, error, fallible) = match result_arguments(&output) {
            Some((value, error)) => (Passed::new(value), Passed::new(error), true),
            None => (Passed::new(&output), Passed::new(&syn::parse_quote!(::core::convert::Infallible)), false),
        };
        Ok(Self { docs, name: signature.ident.clone(), idempotent, arguments, output, value, error, fallible })
    }
}

/// Writes `Owned` where the interface says `Cap`: what is received has an owner.
struct Receiving;

impl VisitMut for Receiving {
    fn visit_path_mut(&mut self, path: &mut syn::Path) {
        if let Some(last) = path.segments.last_mut()
            && last.ident == "Cap"
        {
            let span = last.ident.span();
            let arguments = std::mem::take(&mut last.arguments);
            *path = syn::parse_quote_spanned!(span=> ::userlib::cap::Owned);
            if let Some(last) = path.segments.last_mut() {
                last.arguments = arguments;
            }
        }
        syn::visit_mut::visit_path_mut(self, path);
    }
}

/// Documentation, and whether the method is idempotent.
fn attributes(all: &[Attribute]) -> Result<(Vec<Attribute>, bool)> {
    let mut docs = Vec::new();
    let mut idempotent = false;
    for attribute in all {
        if attribute.path().is_ident("doc") {
            docs.push(attribute.clone());
            continue;
        }
        if !attribute.path().is_ident("idempotent") {
            return Err(Error::new_spanned(
                attribute,
                "a method has documentation and may be marked `#[idempotent]`; remove anything else",
            ));
        }
        attribute.meta.require_path_only()?;
        idempotent = true;
    }
    Ok((docs, idempotent))
}

fn arguments(signature: &syn::Signature) -> Result<Vec<Argument>> {
    let mut arguments = Vec::new();
    let mut leases = 0;
    for input in &signature.inputs {
        let FnArg::Typed(typed) = input else {
            return Err(Error::new_spanned(
                input,
                "a method of an interface takes no `self`: remove it, clients and servers have it anyway",
            ));
        };
        if let Some(attribute) = typed.attrs.first() {
            return Err(Error::new_spanned(attribute, "an argument has no attributes: remove it"));
        }
        let name = match &*typed.pat {
            Pat::Ident(name) if name.subpat.is_none() && name.by_ref.is_none() && name.mutability.is_none() => {
                &name.ident
            }
            pattern => return Err(Error::new_spanned(pattern, "an argument needs a plain name, as in `value: u64`")),
        };
        let passing = passing(&typed.ty)?;
        if !matches!(passing, Passing::Value(_)) {
            leases += 1;
            if leases > LEASES_MAX {
                return Err(Error::new_spanned(
                    &typed.ty,
                    format!(
                        "a call lends at most {LEASES_MAX} ranges of memory, and this is one more: put some of them into \
                         one range, or make two methods"
                    ),
                ));
            }
        }
        arguments.push(Argument { name: name.clone(), passing });
    }
    if let Some(variadic) = &signature.variadic {
        return Err(Error::new_spanned(variadic, "a method of an interface has a fixed number of arguments"));
    }
    Ok(arguments)
}

fn passing(ty: &Type) -> Result<Passing> {
    let Type::Reference(reference) = ty else {
        check_plain(ty, "memory is lent by an argument of its own: `&[u8]`, `&mut [u8]` or `&str`")?;
        return Ok(Passing::Value(Box::new(Passed::new(ty))));
    };
    if let Some(lifetime) = &reference.lifetime {
        return Err(Error::new_spanned(lifetime, "remove the lifetime: what is lent is lent until the answer"));
    }
    let is = |path: &syn::TypePath, name: &str| path.path.is_ident(name);
    match (&*reference.elem, reference.mutability.is_some()) {
        (Type::Slice(slice), mutable) if matches!(&*slice.elem, Type::Path(path) if is(path, "u8")) => {
            Ok(if mutable { Passing::WriteBytes } else { Passing::ReadBytes })
        }
        (Type::Path(path), false) if is(path, "str") => Ok(Passing::ReadText),
        (Type::Path(path), true) if is(path, "str") => {
            Err(Error::new_spanned(ty, "text that the server is to write is lent as `&mut [u8]`"))
        }
        (Type::Slice(_), _) => Err(Error::new_spanned(
            ty,
            "memory is lent as bytes: `&[u8]` or `&mut [u8]`; a short list is a `List<T, N>`",
        )),
        _ => Err(Error::new_spanned(
            ty,
            "only memory is lent (`&[u8]`, `&mut [u8]` or `&str`); anything else travels by value, so remove the `&`",
        )),
    }
}

fn check_result(ty: &Type) -> Result<()> {
    check_plain(ty, "a result travels by value: let the caller lend memory for it, by an argument `&mut [u8]`")
}

/// Refuses what has no layout of its own in a message.
fn check_plain(ty: &Type, reference: &str) -> Result<()> {
    /// Finds the first mistake.
    struct Check<'a> {
        reference: &'a str,
        found: Option<Error>,
    }
    impl<'ast> Visit<'ast> for Check<'_> {
        fn visit_type_reference(&mut self, ty: &'ast TypeReference) {
            self.found.get_or_insert_with(|| Error::new_spanned(ty, self.reference));
        }
        fn visit_type(&mut self, ty: &'ast Type) {
            let why = match ty {
                Type::ImplTrait(_) | Type::TraitObject(_) | Type::Infer(_) | Type::Macro(_) => {
                    "what travels has one layout: name the type"
                }
                Type::Slice(_) => "a list within a message has a bound: write `List<T, N>`, or lend bytes as `&[u8]`",
                Type::BareFn(_) | Type::Ptr(_) => "an address means nothing in another domain: send a value",
                _ => return syn::visit::visit_type(self, ty),
            };
            self.found.get_or_insert_with(|| Error::new(ty.span(), why));
        }
    }
    let mut check = Check { reference, found: None };
    check.visit_type(ty);
    check.found.map_or(Ok(()), Err)
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
