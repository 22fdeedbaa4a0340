//! `#[derive(Value)]`: fields one after the other; an enum is its variant's number and then the fields, filled up to the
//! longest variant.

use crate::interface;
use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::ext::IdentExt;
use syn::{Data, DeriveInput, Error, Fields, Result, Type};

pub(crate) fn expand(item: &DeriveInput) -> Result<TokenStream> {
    let name = &item.ident;
    let (impl_generics, type_generics, where_clause) = item.generics.split_for_impl();
    check_fields(item)?;
    let Body { words, caps, shape, encode, decode } = match &item.data {
        Data::Struct(data) => structure(&data.fields),
        Data::Enum(data) if data.variants.is_empty() => {
            return Err(Error::new_spanned(name, "an enum without variants has no values to send: give it one"));
        }
        Data::Enum(data) => enumeration(data),
        Data::Union(_) => {
            return Err(Error::new_spanned(
                name,
                "a union does not say which of its fields to send: make it an enum, whose variants do",
            ));
        }
    };
    Ok(quote! {
        #[automatically_derived]
        impl #impl_generics ::userlib::ipc::Value for #name #type_generics #where_clause {
            const WORDS: usize = #words;
            const CAPS: usize = #caps;
            const SHAPE: u64 = #shape;
            #[inline]
            fn encode(&self, out: &mut ::userlib::ipc::Encoder<'_>) {
                #encode
            }
            #[inline]
            fn decode(
                input: &mut ::userlib::ipc::Decoder<'_>,
            ) -> ::core::result::Result<Self, ::userlib::ipc::Malformed> {
                #decode
            }
        }
    })
}

struct Body {
    words: TokenStream,
    caps: TokenStream,
    shape: TokenStream,
    encode: TokenStream,
    decode: TokenStream,
}

/// Refuses fields that would be received without an owner.
fn check_fields(item: &DeriveInput) -> Result<()> {
    let fields: Vec<&syn::Field> = match &item.data {
        Data::Struct(data) => data.fields.iter().collect(),
        Data::Enum(data) => data.variants.iter().flat_map(|variant| &variant.fields).collect(),
        Data::Union(_) => Vec::new(),
    };
    for field in fields {
        if let Type::Path(path) = &field.ty
            && path.path.segments.last().is_some_and(|segment| segment.ident == "Cap")
        {
            return Err(Error::new_spanned(
                &field.ty,
                "whoever receives this value receives a capability and has to own it: write `Owned` instead of `Cap`",
            ));
        }
    }
    Ok(())
}

/// `0 + A::WORDS + B::WORDS …` or the same of `CAPS`.
fn sum(fields: &Fields, constant: &str) -> TokenStream {
    interface::sum(fields.iter().map(|field| &field.ty), constant)
}

/// The shape of some fields under a name: names, or positions, and shapes.
fn shape(sort: &str, name: &str, fields: &Fields) -> TokenStream {
    let names = fields.iter().enumerate().map(|(position, field)| match &field.ident {
        Some(name) => name.unraw().to_string(),
        None => position.to_string(),
    });
    let shapes = fields.iter().map(|field| interface::constant(&field.ty, "SHAPE"));
    quote!(::userlib::ipc::shape::composed(
        #sort,
        &[::userlib::ipc::shape::named(#name), #(::userlib::ipc::shape::named(#names), #shapes),*],
    ))
}

/// A pattern that binds the fields, the encoding of what it binds, and an expression that decodes all of them.
fn parts(fields: &Fields) -> (TokenStream, TokenStream, TokenStream) {
    let bound: Vec<_> = (0..fields.len()).map(|index| format_ident!("field_{index}")).collect();
    let types: Vec<_> = fields.iter().map(|field| &field.ty).collect();
    let encode = quote!(#(<#types as ::userlib::ipc::Value>::encode(#bound, out);)*);
    match fields {
        Fields::Named(named) => {
            let names: Vec<_> = named.named.iter().map(|field| &field.ident).collect();
            let pattern = quote!({ #(#names: #bound),* });
            let decode = quote!({ #(#names: <#types as ::userlib::ipc::Value>::decode(input)?),* });
            (pattern, encode, decode)
        }
        Fields::Unnamed(_) => {
            let pattern = quote!(( #(#bound),* ));
            let decode = quote!(( #(<#types as ::userlib::ipc::Value>::decode(input)?),* ));
            (pattern, encode, decode)
        }
        Fields::Unit => (quote!(), quote!(), quote!()),
    }
}

fn structure(fields: &Fields) -> Body {
    let (pattern, encode, decode) = parts(fields);
    let encode = if fields.is_empty() { quote!(let _ = out;) } else { quote!(let Self #pattern = self; #encode) };
    let unused = fields.is_empty().then(|| quote!(let _ = input;));
    Body {
        words: sum(fields, "WORDS"),
        caps: sum(fields, "CAPS"),
        shape: shape("struct", "", fields),
        encode,
        decode: quote!(#unused ::core::result::Result::Ok(Self #decode)),
    }
}

fn enumeration(data: &syn::DataEnum) -> Body {
    let mut longest = quote!(0);
    let mut most_caps = quote!(0);
    let mut shapes = Vec::new();
    let mut encode = Vec::new();
    let mut decode = Vec::new();
    for (number, variant) in data.variants.iter().enumerate() {
        let number = number as u64;
        let name = &variant.ident;
        shapes.push(shape("variant", &name.unraw().to_string(), &variant.fields));
        let words = sum(&variant.fields, "WORDS");
        let caps = sum(&variant.fields, "CAPS");
        longest = quote!(::userlib::ipc::value::larger(#longest, #words));
        most_caps = quote!(::userlib::ipc::value::larger(#most_caps, #caps));
        let (pattern, encode_fields, decode_fields) = parts(&variant.fields);
        encode.push(quote!(Self::#name #pattern => { out.word(#number); #encode_fields }));
        decode.push(quote!(#number => Self::#name #decode_fields,));
    }
    Body {
        words: quote!(1 + #longest),
        caps: most_caps,
        shape: quote!(::userlib::ipc::shape::composed("enum", &[#(#shapes),*])),
        encode: quote! {
            let end = out.len() + <Self as ::userlib::ipc::Value>::WORDS;
            match self { #(#encode)* }
            out.pad_to(end);
        },
        decode: quote! {
            let end = input.position() + <Self as ::userlib::ipc::Value>::WORDS;
            let value = match input.word()? {
                #(#decode)*
                _ => return ::core::result::Result::Err(::userlib::ipc::Malformed),
            };
            input.skip_to(end);
            ::core::result::Result::Ok(value)
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unions_and_empty_enums_are_refused_with_a_reason() {
        let union: DeriveInput = syn::parse_quote!(union U { a: u64 });
        assert!(expand(&union).unwrap_err().to_string().contains("union"));
        let empty: DeriveInput = syn::parse_quote!(
            enum E {}
        );
        assert!(expand(&empty).unwrap_err().to_string().contains("variants"));
    }
}
