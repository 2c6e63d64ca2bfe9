//! `#[derive(Failure)]`.

use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote};
use syn::{Attribute, Data, DeriveInput, Fields, Meta};

use crate::{errors::Errors, item, names};

const CLASSES: [(&str, &str); 6] = [
    ("retry", "Retry"),
    ("unavailable", "Unavailable"),
    ("dead_letter", "DeadLetter"),
    ("skip", "Skip"),
    ("park_key", "ParkKey"),
    ("stop", "Stop"),
];

const CHOICES: &str = "write `#[failure(retry)]`, `#[failure(unavailable)]`, `#[failure(dead_letter)]`, `#[failure(skip)]`, `#[failure(park_key)]` or `#[failure(stop)]`";

pub(crate) fn expand(tokens: TokenStream) -> TokenStream {
    let item: DeriveInput = match syn::parse2(tokens) {
        Ok(item) => item,
        Err(error) => return error.to_compile_error(),
    };
    let mut errors = Errors::new();
    let ident = &item.ident;
    if !item.generics.params.is_empty() {
        errors.at(
            &item.generics,
            format_args!("the error `{ident}` must not be generic"),
            "name the types; nothing in the domain carries a type parameter or a lifetime",
        );
    }
    let (class, code) = match &item.data {
        Data::Enum(data) => {
            if let Some(attribute) = item.attrs.iter().find(|attribute| attribute.path().is_ident("failure")) {
                errors.at(
                    attribute,
                    "each variant of an enum has its own class",
                    "move `#[failure(…)]` to the variants",
                );
            }
            let variants: Vec<_> = data
                .variants
                .iter()
                .map(|variant| {
                    (&variant.ident, &variant.fields, class(&variant.attrs, &variant.ident, "variant", &mut errors))
                })
                .collect();
            let classes = variants.iter().map(|(name, fields, class)| {
                let pattern = pattern(fields);
                quote! { Self::#name #pattern => __p::Class::#class }
            });
            let codes = variants.iter().map(|(name, fields, _)| {
                let pattern = pattern(fields);
                let code = names::snake_case(&name.to_string());
                quote! { Self::#name #pattern => #code }
            });
            // An enum without variants has no values. `match self {}` would not compile, because `self` is a reference.
            if variants.is_empty() {
                (quote! { match *self {} }, quote! { match *self {} })
            } else {
                (quote! { match self { #(#classes),* } }, quote! { match self { #(#codes),* } })
            }
        }
        Data::Struct(_) => {
            let class = class(&item.attrs, ident, "error", &mut errors);
            let code = names::snake_case(&ident.to_string());
            (quote! { __p::Class::#class }, quote! { #code })
        }
        Data::Union(data) => {
            errors.at(
                data.union_token,
                "an error is an enum or a struct",
                "make it an enum with a variant for each failure",
            );
            return errors.into_tokens();
        }
    };
    // Emitted even when a class is missing, so that a processor that returns the type does not cause a second error.
    let implementation = if item.generics.params.is_empty() {
        item::hidden(&quote! {
            impl __p::Failure for #ident {
                fn class(&self) -> __p::Class { #class }
                fn code(&self) -> ::std::borrow::Cow<'static, str> {
                    ::std::borrow::Cow::Borrowed(#code)
                }
            }
        })
    } else {
        TokenStream::new()
    };
    let names = item::names_if_any();
    let errors = errors.into_tokens();
    quote! { #names #implementation #errors }
}

fn pattern(fields: &Fields) -> TokenStream {
    match fields {
        Fields::Named(_) => quote! { { .. } },
        Fields::Unnamed(_) => quote! { (..) },
        Fields::Unit => TokenStream::new(),
    }
}

/// The class from the `#[failure(…)]` attributes; `Stop`, the safest class, if there is none.
fn class(attributes: &[Attribute], ident: &Ident, noun: &str, errors: &mut Errors) -> Ident {
    let mut found: Option<Ident> = None;
    let mut any = false;
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("failure")) {
        any = true;
        let Meta::List(list) = &attribute.meta else {
            errors.at(attribute, "`#[failure]` does not say what to do", CHOICES);
            continue;
        };
        let Ok(word) = syn::parse2::<Ident>(list.tokens.clone()) else {
            errors.at(&list.tokens, "`#[failure(…)]` takes one class", CHOICES);
            continue;
        };
        match CLASSES.iter().find(|(name, _)| word == name) {
            Some(_) if found.is_some() => {
                errors.at(&word, format_args!("{noun} `{ident}` has two classes"), "keep one of them");
            }
            Some((_, class)) => found = Some(format_ident!("{class}", span = word.span())),
            None => errors.at(&word, format_args!("there is no class `{word}`"), CHOICES),
        }
    }
    if !any {
        errors.at(
            ident,
            format_args!("{noun} `{ident}` does not say what to do with the event"),
            format_args!("{CHOICES} above it"),
        );
    }
    found.unwrap_or_else(|| format_ident!("Stop"))
}
