//! The arguments of `dispatcher!(name = "…", sample = …)`.

use proc_macro2::{Ident, Span, TokenStream};
use quote::ToTokens;
use syn::{
    Expr, ExprLit, ExprPath, Lit, LitStr, Token,
    parse::{Parse, ParseStream},
    punctuated::Punctuated,
};

use crate::errors::Errors;

/// The first path segments of the service's own routes, one per line. A test of the routes checks the list.
pub(crate) const RESERVED: &str = include_str!("reserved.txt");

const EXAMPLE: &str = "write `dispatcher!(name = \"orders\")`";

pub(super) struct Arguments {
    pub(super) name: LitStr,
    pub(super) sample: Option<ExprPath>,
}

struct Pair {
    name: Ident,
    value: Expr,
}

impl Parse for Pair {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let name = input.parse()?;
        input.parse::<Token![=]>()?;
        Ok(Self { name, value: input.parse()? })
    }
}

struct Pairs(Punctuated<Pair, Token![,]>);

impl Parse for Pairs {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        Punctuated::parse_terminated(input).map(Self)
    }
}

impl Arguments {
    pub(super) fn check(tokens: TokenStream, errors: &mut Errors) -> Self {
        let mut arguments = Self { name: LitStr::new("unnamed", Span::call_site()), sample: None };
        let pairs = match syn::parse2::<Pairs>(tokens) {
            Ok(Pairs(pairs)) => pairs,
            Err(error) => {
                errors.at_span(
                    error.span(),
                    format_args!("the arguments of `dispatcher!` cannot be read: {error}"),
                    EXAMPLE,
                );
                return arguments;
            }
        };
        let mut seen: Vec<String> = Vec::new();
        for pair in &pairs {
            let name = pair.name.to_string();
            if seen.contains(&name) {
                errors.at(&pair.name, format_args!("`{name}` is given twice"), "keep one of the two");
                continue;
            }
            arguments.take(pair, &name, errors);
            seen.push(name);
        }
        if !seen.iter().any(|name| name == "name") {
            errors.at_span(Span::call_site(), "`dispatcher!` does not name the domain", EXAMPLE);
        }
        arguments
    }

    fn take(&mut self, pair: &Pair, name: &str, errors: &mut Errors) {
        match name {
            "name" => self.take_name(&pair.value, errors),
            "entity" | "entities" => errors.at(
                &pair.name,
                "`dispatcher!` lists no entities",
                "remove this argument, and write `#[entity(table = \"…\")]` above each entity",
            ),
            "sample" => match &pair.value {
                Expr::Path(path) => self.sample = Some(path.clone()),
                other => errors.at(
                    other,
                    "`sample` is a function",
                    "write its path, `crate::orders::sample::order_life` say",
                ),
            },
            _ => errors.at(
                &pair.name,
                format_args!("`dispatcher!` has no argument `{name}`"),
                "it takes name and sample",
            ),
        }
    }

    /// Checks the domain's name, which becomes part of routes and metric names.
    fn take_name(&mut self, value: &Expr, errors: &mut Errors) {
        let text = match value {
            Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Some(text),
            _ => None,
        };
        let fits = |text: &&LitStr| {
            let name = text.value();
            name.starts_with(|first: char| first.is_ascii_lowercase())
                && name.chars().all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_')
        };
        match text.filter(fits) {
            Some(text) if RESERVED.lines().any(|route| route == text.value()) => errors.at(
                text,
                format_args!("`/{}` is a route of the service itself", text.value()),
                "name the domain by its entities, `orders` say",
            ),
            Some(text) => self.name = text.clone(),
            None => errors.at(
                value.to_token_stream(),
                "the name of a domain is a string of lower-case letters, digits and `_`",
                EXAMPLE,
            ),
        }
    }
}
