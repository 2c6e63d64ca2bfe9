//! `#[values]`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Data, DataEnum, DeriveInput, Fields, LitStr, parse_quote};

use crate::{
    errors::Errors,
    item::{self, Unread},
    names::{snake_case, spoken},
};

pub(crate) fn expand(arguments: TokenStream, tokens: TokenStream) -> TokenStream {
    let mut errors = Errors::new();
    item::no_arguments(&arguments, "values", &mut errors);
    let parsed: syn::Result<DeriveInput> = syn::parse2(tokens.clone());
    let mut item = match parsed {
        Ok(item) if matches!(item.data, Data::Enum(_)) => item,
        other => {
            let error = other.err().unwrap_or_else(|| syn::Error::new_spanned(&tokens, "not an enum"));
            let problem = Unread {
                attribute: "values",
                keywords: &["enum"],
                stands_on: "an enum without data",
                example: "pub enum Status { Created, Paid }",
            };
            return problem.report(&tokens, &error, errors);
        }
    };
    if !item.generics.params.is_empty() {
        errors.at(&item.generics, format_args!("values `{}` must not be generic", item.ident), "remove the parameters");
    }
    let (ident, name) = (item.ident.clone(), item.ident.to_string());
    let Data::Enum(data) = &mut item.data else { unreachable!("only enums are accepted above") };
    if data.variants.is_empty() {
        errors.at(&ident, format_args!("values `{name}` has no value"), "name at least one");
    }
    let texts = names(data, &mut errors);
    // Data is reported already; without `Copy` and what is read and written, it causes no second error.
    let carries_data = data.variants.iter().any(|variant| !variant.fields.is_empty());
    if carries_data {
        let errors = errors.into_tokens();
        return quote! { #item #errors };
    }
    for (variant, name) in data.variants.iter_mut().zip(&texts) {
        variant.attrs.push(parse_quote! { #[serde(rename = #name)] });
    }
    let variants: Vec<_> = data.variants.iter().map(|variant| variant.ident.clone()).collect();
    let implementation = errors.is_empty().then(|| {
        let count = variants.len();
        let spoken = spoken(&name);
        item::hidden(&quote! {
            impl #ident {
                /// All values, in the order of their declaration.
                pub const ALL: [Self; #count] = [#(Self::#variants),*];

                /// The name of the value in JSON and in stores.
                #[must_use]
                pub const fn as_str(self) -> &'static str {
                    match self {
                        #(Self::#variants => #texts,)*
                    }
                }
            }

            impl ::core::fmt::Display for #ident {
                fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                    f.write_str(self.as_str())
                }
            }

            impl ::core::str::FromStr for #ident {
                type Err = __p::UnknownValue;

                fn from_str(text: &str) -> ::core::result::Result<Self, __p::UnknownValue> {
                    match text {
                        #(#texts => ::core::result::Result::Ok(Self::#variants),)*
                        _ => ::core::result::Result::Err(__p::UnknownValue::new(#spoken, text, &[#(#texts),*])),
                    }
                }
            }

            impl __p::table::ColumnValue for #ident {
                const KIND: __p::table::ColumnKind = __p::table::ColumnKind::Text;

                fn cell(&self) -> ::core::result::Result<__p::table::Cell<'_>, __p::table::ColumnError> {
                    ::core::result::Result::Ok(__p::table::Cell::Text(::std::borrow::Cow::Borrowed(self.as_str())))
                }

                fn from_cell(cell: __p::table::Cell<'_>) -> ::core::result::Result<Self, __p::table::ColumnError> {
                    <__p::table::AsText as __p::table::Codec<Self>>::value(cell)
                }
            }
        })
    });
    let private = quote!(::order_runtime::__private);
    let derives = item::missing_derives(
        &item.attrs,
        &[
            ("Debug", quote!(::core::fmt::Debug)),
            ("Clone", quote!(::core::clone::Clone)),
            ("Copy", quote!(::core::marker::Copy)),
            ("PartialEq", quote!(::core::cmp::PartialEq)),
            ("Eq", quote!(::core::cmp::Eq)),
            ("Hash", quote!(::core::hash::Hash)),
            ("Serialize", quote!(#private::serde::Serialize)),
            ("Deserialize", quote!(#private::serde::Deserialize)),
            ("JsonSchema", quote!(#private::schemars::JsonSchema)),
        ],
    );
    let errors = errors.into_tokens();
    quote! {
        #[derive(#(#derives),*)]
        #[serde(crate = "::order_runtime::__private::serde")]
        #[schemars(crate = "::order_runtime::__private::schemars")]
        #item
        #implementation
        #errors
    }
}

/// The names of the variants, from their `#[value("…")]` or in `snake_case`.
fn names(data: &mut DataEnum, errors: &mut Errors) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for variant in &mut data.variants {
        if !matches!(variant.fields, Fields::Unit) {
            errors.at(
                &variant.fields,
                format_args!("the value `{}` carries data", variant.ident),
                "keep the data in a field of the entity",
            );
        }
        let mut name = snake_case(&variant.ident.to_string());
        for attribute in std::mem::take(&mut variant.attrs) {
            if !attribute.path().is_ident("value") {
                variant.attrs.push(attribute);
                continue;
            }
            match attribute.parse_args::<LitStr>() {
                Ok(text) if !text.value().is_empty() => name = text.value(),
                _ => errors.at(
                    &attribute,
                    "`#[value]` takes the name of the value",
                    format_args!("write `#[value(\"{name}\")]`"),
                ),
            }
        }
        if names.contains(&name) {
            errors.at(
                &variant.ident,
                format_args!("two values are called `{name}`"),
                "name one of them with `#[value(\"…\")]`",
            );
        }
        names.push(name);
    }
    names
}
