//! `#[id]`.

use proc_macro2::{Span, TokenStream};
use quote::quote;
use syn::{Data, DeriveInput, Fields, LitInt};

use crate::{
    errors::Errors,
    item::{self, Unread},
    names::spoken,
};

const EXAMPLE: &str = "write `#[id(max_bytes = 128)]`";

/// The most that a limit may be. A Kafka key, an index entry and a path of HTTP must hold the id.
const LONGEST: usize = 1024;

pub(crate) fn expand(arguments: TokenStream, tokens: TokenStream) -> TokenStream {
    let mut errors = Errors::new();
    let problem = Unread {
        attribute: "id",
        keywords: &["struct"],
        stands_on: "a struct of one `String`",
        example: "pub struct OrderId(String);",
    };
    let item: DeriveInput = match syn::parse2(tokens.clone()) {
        Ok(item) => item,
        Err(error) => return problem.report(&tokens, &error, errors),
    };
    if !is_of_one_string(&item) {
        return problem.misplaced(&tokens, errors);
    }
    if !item.generics.params.is_empty() {
        errors.at(&item.generics, format_args!("id `{}` must not be generic", item.ident), "write a type for each id");
    }
    let limit = Limit::check(arguments, &mut errors);
    let implementation = if errors.is_empty() { implement(&item, &limit) } else { TokenStream::new() };
    let errors = errors.into_tokens();
    let derives = item::missing_derives(
        &item.attrs,
        &[
            ("Debug", quote!(::core::fmt::Debug)),
            ("Clone", quote!(::core::clone::Clone)),
            ("PartialEq", quote!(::core::cmp::PartialEq)),
            ("Eq", quote!(::core::cmp::Eq)),
            ("Hash", quote!(::core::hash::Hash)),
            ("PartialOrd", quote!(::core::cmp::PartialOrd)),
            ("Ord", quote!(::core::cmp::Ord)),
        ],
    );
    quote! {
        #[derive(#(#derives),*)]
        #item
        #implementation
        #errors
    }
}

fn is_of_one_string(item: &DeriveInput) -> bool {
    let Data::Struct(data) = &item.data else { return false };
    let Fields::Unnamed(fields) = &data.fields else { return false };
    let is_string = |field: &syn::Field| item::last_segment(&field.ty).is_some_and(|segment| segment.ident == "String");
    fields.unnamed.len() == 1 && fields.unnamed.iter().all(is_string)
}

/// The longest id.
struct Limit {
    length: usize,
    in_chars: bool,
}

impl Limit {
    fn check(arguments: TokenStream, errors: &mut Errors) -> Self {
        let mut limit = None;
        let parser = syn::meta::parser(|meta| {
            let in_chars = meta.path.is_ident("max_chars");
            if !in_chars && !meta.path.is_ident("max_bytes") {
                return Err(meta.error("`#[id]` takes max_bytes or max_chars"));
            }
            if limit.is_some() {
                return Err(meta.error("an id has one limit"));
            }
            let literal: LitInt = meta.value()?.parse()?;
            let length: usize = literal.base10_parse()?;
            if !(1..=LONGEST).contains(&length) {
                return Err(syn::Error::new(literal.span(), format!("the limit of an id is from 1 to {LONGEST}")));
            }
            limit = Some(Self { length, in_chars });
            Ok(())
        });
        match syn::parse::Parser::parse2(parser, arguments) {
            Ok(()) if limit.is_none() => {
                errors.at_span(Span::call_site(), "`#[id]` does not say how long an id may be", EXAMPLE);
            }
            Ok(()) => {}
            Err(error) => {
                errors.at_span(error.span(), format_args!("the arguments of `#[id]` cannot be read: {error}"), EXAMPLE);
            }
        }
        limit.unwrap_or(Self { length: LONGEST, in_chars: false })
    }
}

fn implement(item: &DeriveInput, limit: &Limit) -> TokenStream {
    let ident = &item.ident;
    let name = ident.to_string();
    let spoken = spoken(&name);
    let Limit { length, in_chars } = *limit;
    item::hidden(&quote! {
        impl #ident {
            const RULE: __p::IdRule = __p::IdRule { name: #spoken, max: #length, in_chars: #in_chars };

            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl ::core::convert::TryFrom<::std::string::String> for #ident {
            type Error = __p::InvalidId;

            fn try_from(text: ::std::string::String) -> ::core::result::Result<Self, __p::InvalidId> {
                Self::RULE.check(&text).map(|()| Self(text))
            }
        }

        impl ::core::str::FromStr for #ident {
            type Err = __p::InvalidId;

            fn from_str(text: &str) -> ::core::result::Result<Self, __p::InvalidId> {
                Self::RULE.check(text).map(|()| Self(::std::borrow::ToOwned::to_owned(text)))
            }
        }

        impl ::core::convert::From<#ident> for ::std::string::String {
            fn from(id: #ident) -> Self {
                id.0
            }
        }

        impl ::core::fmt::Display for #ident {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl __p::serde::Serialize for #ident {
            fn serialize<S: __p::serde::Serializer>(&self, serializer: S) -> ::core::result::Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> __p::serde::Deserialize<'de> for #ident {
            fn deserialize<D: __p::serde::Deserializer<'de>>(
                deserializer: D,
            ) -> ::core::result::Result<Self, D::Error> {
                let text = <::std::string::String as __p::serde::Deserialize>::deserialize(deserializer)?;
                <Self as ::core::convert::TryFrom<::std::string::String>>::try_from(text)
                    .map_err(__p::serde::de::Error::custom)
            }
        }

        impl __p::schemars::JsonSchema for #ident {
            fn schema_name() -> ::std::borrow::Cow<'static, str> {
                ::std::borrow::Cow::Borrowed(#name)
            }

            fn json_schema(_: &mut __p::schemars::SchemaGenerator) -> __p::schemars::Schema {
                Self::RULE.json_schema()
            }
        }

        impl __p::table::ColumnValue for #ident {
            const KIND: __p::table::ColumnKind = __p::table::ColumnKind::Text;

            fn cell(&self) -> ::core::result::Result<__p::table::Cell<'_>, __p::table::ColumnError> {
                __p::table::ColumnValue::cell(&self.0)
            }

            fn from_cell(cell: __p::table::Cell<'_>) -> ::core::result::Result<Self, __p::table::ColumnError> {
                let text = <::std::string::String as __p::table::ColumnValue>::from_cell(cell)?;
                <Self as ::core::convert::TryFrom<::std::string::String>>::try_from(text)
                    .map_err(__p::table::ColumnError::new)
            }
        }
    })
}
