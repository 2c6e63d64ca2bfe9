//! `#[schema]`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Attribute, Data, DeriveInput, Expr, ExprLit, Fields, Lit};

use crate::{
    errors::Errors,
    item::{self, Unread},
    names::{self, Kind},
    place,
};

pub(crate) fn expand(arguments: TokenStream, tokens: TokenStream) -> TokenStream {
    let mut errors = Errors::new();
    item::no_arguments(&arguments, "schema", &mut errors);
    let parsed: syn::Result<DeriveInput> = syn::parse2(tokens.clone());
    let item = match parsed {
        Ok(item) if !matches!(item.data, Data::Union(_)) => item,
        other => {
            let error = other.err().unwrap_or_else(|| syn::Error::new_spanned(&tokens, "a union"));
            let problem = Unread {
                attribute: "schema",
                keywords: &["struct", "enum"],
                stands_on: "a struct or an enum",
                example: "pub struct INPUT_<Feature>` or `pub struct OUTPUT_<Feature>",
            };
            return problem.report(&tokens, &error, errors);
        }
    };
    let name = item.ident.to_string();
    let kind = kind(&name);
    let feature = names::feature(kind, &name);
    if let Err(wrong) = &feature {
        let other = if kind == Kind::Output { Kind::Input } else { Kind::Output };
        errors.at(
            &item.ident,
            format_args!("schema `{name}` must be named `{}` or `{}`", Kind::Input.pattern(), Kind::Output.pattern()),
            format_args!("rename it to `{}` or `{}`", wrong.suggestion, other.of(&names::guess(&name))),
        );
    }
    if !item.generics.params.is_empty() {
        errors.at(
            &item.generics,
            format_args!("schema `{name}` must not be generic"),
            "name the types; nothing in the domain carries a type parameter or a lifetime",
        );
    }
    if let Ok(feature) = &feature
        && let Some(folder) = place::of(item.ident.span()).and_then(|place| place.of_another_feature(feature))
    {
        errors.at(
            &item.ident,
            format_args!("schema `{name}` is in the folder of another feature"),
            format_args!("move it to `{folder}`"),
        );
    }
    let own_case = check_attributes(&item, &mut errors);

    let registration = match &feature {
        Ok(feature) if errors.is_empty() => register(&item, kind, feature),
        _ => TokenStream::new(),
    };
    let attributes = derives(&item, kind, own_case);
    let errors = errors.into_tokens();
    let names = item::names_if_any();
    quote! {
        #[allow(non_camel_case_types)]
        #attributes
        #item
        #names
        #registration
        #errors
    }
}

/// Whether a schema is an input or an output: by its prefix or, for a wrong name, by its first or last word.
fn kind(name: &str) -> Kind {
    let lower = name.to_ascii_lowercase();
    let output = name.starts_with(Kind::Output.prefix()) || lower.starts_with("output") || lower.ends_with("output");
    if output && !name.starts_with(Kind::Input.prefix()) { Kind::Output } else { Kind::Input }
}

/// Reports serde attributes that `#[schema]` sets itself. Returns whether `rename_all` is one of them.
fn check_attributes(item: &DeriveInput, errors: &mut Errors) -> bool {
    let mut own_case = false;
    for attribute in item.attrs.iter().filter(|attribute| attribute.path().is_ident("serde")) {
        // serde reports attributes that do not parse.
        let _ = attribute.parse_nested_meta(|meta| {
            if meta.path.is_ident("rename_all") || meta.path.is_ident("crate") {
                own_case |= meta.path.is_ident("rename_all");
                errors.at(
                    &meta.path,
                    "`#[schema]` sets this itself: JSON names are in camelCase",
                    "remove it; rename a single field with `#[serde(rename = \"…\")]`",
                );
            }
            let _ = meta.value().and_then(syn::parse::ParseBuffer::parse::<Expr>);
            Ok(())
        });
    }
    own_case
}

fn derives(item: &DeriveInput, kind: Kind, own_case: bool) -> TokenStream {
    let private = quote!(::order_runtime::__private);
    let mut wanted = vec![
        ("Debug", quote!(::core::fmt::Debug)),
        ("Clone", quote!(::core::clone::Clone)),
        ("PartialEq", quote!(::core::cmp::PartialEq)),
        ("JsonSchema", quote!(#private::schemars::JsonSchema)),
    ];
    // One direction for each kind. With both, a field type that implements neither would be reported twice.
    match kind {
        Kind::Output => wanted.push(("Serialize", quote!(#private::serde::Serialize))),
        _ => {
            wanted.push(("Deserialize", quote!(#private::serde::Deserialize)));
            wanted.push(("Validate", quote!(::garde::Validate)));
        }
    }
    let derives = item::missing_derives(&item.attrs, &wanted);
    let garde = (kind != Kind::Output).then(|| quote! { #[garde(allow_unvalidated)] });
    // `check_attributes` has reported the user's `rename_all`. With a second one, serde would report it again.
    let case = (!own_case).then(|| quote! { #[serde(rename_all = "camelCase")] });
    quote! {
        #[derive(#(#derives),*)]
        #[serde(crate = "::order_runtime::__private::serde")]
        #case
        #[schemars(crate = "::order_runtime::__private::schemars")]
        #garde
    }
}

/// The JSON names of the fields, each with the last segment of its type.
fn json_fields(item: &DeriveInput) -> Vec<(String, String)> {
    let Data::Struct(data) = &item.data else { return Vec::new() };
    let Fields::Named(fields) = &data.fields else { return Vec::new() };
    let field = |field: &syn::Field| {
        let name = field.ident.as_ref()?.to_string();
        let name = renamed(&field.attrs).unwrap_or_else(|| names::camel_case(&name));
        Some((name, item::last_segment(&field.ty)?.ident.to_string()))
    };
    fields.named.iter().filter_map(field).collect()
}

/// The Rust and JSON names of renamed fields.
fn renamed_fields(item: &DeriveInput) -> Vec<(String, String)> {
    let Data::Struct(data) = &item.data else { return Vec::new() };
    let Fields::Named(fields) = &data.fields else { return Vec::new() };
    fields.named.iter().filter_map(|field| Some((field.ident.as_ref()?.to_string(), renamed(&field.attrs)?))).collect()
}

/// The name that a field's serde attribute gives it.
pub(crate) fn renamed(attributes: &[Attribute]) -> Option<String> {
    let mut name = None;
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("serde")) {
        let _ = attribute.parse_nested_meta(|meta| {
            let value = meta.value().and_then(syn::parse::ParseBuffer::parse::<Expr>);
            if meta.path.is_ident("rename")
                && let Ok(Expr::Lit(ExprLit { lit: Lit::Str(text), .. })) = value
            {
                name = Some(text.value());
            }
            Ok(())
        });
    }
    name
}

fn register(item: &DeriveInput, kind: Kind, feature: &str) -> TokenStream {
    let ident = &item.ident;
    let name = ident.to_string();
    let summary = item::summary(&item.attrs);
    let place = item::place();
    let claim = place::has_dispatcher().then(|| item::claim(&name, ident.span()));
    let fields = json_fields(item).into_iter().map(|(name, of)| quote! { (#name, #of) });
    let (schema, check) = if kind == Kind::Output {
        (TokenStream::new(), quote! { __p::not_an_input })
    } else {
        let names = renamed_fields(item).into_iter().map(|(rust, json)| quote! { (#rust, #json) });
        let names = quote! { &[#(#names),*] };
        let schema = quote! {
            impl __p::Schema for #ident {
                fn decode(json: &str) -> ::core::result::Result<Self, __p::Invalid> {
                    __p::decode_data(json, #names)
                }
            }
        };
        (schema, quote! { __p::check::<#ident> })
    };
    item::hidden(&quote! {
        #schema
        #[__p::linkme::distributed_slice(__p::ORDER_RUNTIME_SCHEMAS)]
        #[linkme(crate = ::order_runtime::__private::linkme)]
        static REGISTRATION: __p::SchemaEntry = __p::SchemaEntry {
            name: #name,
            feature: #feature,
            summary: #summary,
            schema: || __p::schemars::schema_for!(#ident),
            fields: &[#(#fields),*],
            check: #check,
            place: #place,
        };
        #claim
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prefix_says_which_schema_it_is() {
        for (name, expected) in [
            ("INPUT_RecordOutput", Kind::Input),
            ("INPUT_OutputPower", Kind::Input),
            ("OUTPUT_ReadInput", Kind::Output),
            ("output_ship_order", Kind::Output),
            ("ShipOrderOutput", Kind::Output),
            ("ShipOrder", Kind::Input),
        ] {
            assert_eq!(kind(name), expected, "{name}");
        }
    }
}
