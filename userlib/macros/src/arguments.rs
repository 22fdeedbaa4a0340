//! What stands in the parentheses of `#[interface(…)]`.

use proc_macro2::Span;
use syn::parse::{Parse, ParseStream};
use syn::{Error, Ident, LitInt, LitStr, Result, Token};

/// `name = "…", version = N`.
pub(crate) struct Arguments {
    pub(crate) name: LitStr,
    pub(crate) version: u16,
}

impl Parse for Arguments {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let (mut name, mut version) = (None, None);
        while !input.is_empty() {
            let key: Ident = input.parse()?;
            input.parse::<Token![=]>()?;
            match key.to_string().as_str() {
                "name" => name = Some(parse_name(input)?),
                "version" => version = Some(parse_version(input)?),
                _ => {
                    return Err(Error::new(
                        key.span(),
                        "an interface has a `name` and a `version`, as in `#[interface(name = \"clock\", version = 1)]`",
                    ));
                }
            }
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        let missing = |what, example| {
            Error::new(Span::call_site(), format!("the interface's `{what}` is missing: add `{what} = {example}`"))
        };
        Ok(Self {
            name: name.ok_or_else(|| missing("name", "\"clock\""))?,
            version: version.ok_or_else(|| missing("version", "1"))?,
        })
    }
}

fn parse_name(input: ParseStream<'_>) -> Result<LitStr> {
    let name: LitStr = input.parse()?;
    let text = name.value();
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') {
        return Err(Error::new(
            name.span(),
            "an interface's name consists of lower-case letters, digits and hyphens, as in \"clock\" or \"block-2\"",
        ));
    }
    Ok(name)
}

fn parse_version(input: ParseStream<'_>) -> Result<u16> {
    let version: LitInt = input.parse()?;
    version.base10_parse().map_err(|_| {
        Error::new(version.span(), "an interface's version is a number from 0 to 65535, as in `version = 1`")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_versions_are_checked() {
        let parse = |text: &str| syn::parse_str::<Arguments>(text).map(drop).map_err(|e| e.to_string());
        assert!(parse("name = \"block-2\", version = 3").is_ok());
        assert!(parse("name = \"Block\", version = 3").unwrap_err().contains("lower-case"));
        assert!(parse("name = \"block\"").unwrap_err().contains("`version` is missing"));
        assert!(parse("version = 1").unwrap_err().contains("`name` is missing"));
        assert!(parse("name = \"block\", version = 70000").unwrap_err().contains("65535"));
        assert!(parse("name = \"block\", colour = 1").is_err());
    }
}
