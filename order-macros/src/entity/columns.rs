//! The columns of an entity: its fields with their `#[key]` and `#[column(…)]`.

use proc_macro2::{Ident, TokenStream};
use quote::{ToTokens as _, quote, quote_spanned};
use syn::{Attribute, Field, FieldsNamed, Lit, LitInt, LitStr, Meta, Type, parse_quote, spanned::Spanned as _};

use super::arguments::{Version, is_column, skip};
use crate::{errors::Errors, item, names::camel_case, schema::renamed};

/// The columns that the runtime keeps in each table.
const KEPT: [&str; 3] = ["version", "created_at", "updated_at"];

pub(super) struct Column {
    pub(super) ident: Ident,
    pub(super) ty: Type,
    pub(super) key: bool,
    /// The name in the table.
    pub(super) name: String,
    /// The name in the read model.
    pub(super) json: String,
    pub(super) codec: Codec,
    pub(super) fixed: bool,
    /// The version that added the column, if it is not the first.
    pub(super) since: Option<Version>,
    /// The SQL literal for rows that exist when the column is added.
    pub(super) default: Option<String>,
    /// The version that added the index of a filter.
    pub(super) indexed: Option<Version>,
}

/// How values are stored.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Codec {
    /// As the type says.
    Own,
    Json,
    Text,
    Decimal,
}

impl Column {
    /// The runtime's codec of the field, whose missing implementation is an error at the field's type.
    pub(super) fn codec(&self) -> TokenStream {
        let ty = &self.ty;
        let marker = self.codec.marker(ty);
        quote_spanned! { item::located_at(ty) => <#marker as __p::table::Codec<#ty>> }
    }

    /// The expression of the runtime's description.
    pub(super) fn describe(&self) -> TokenStream {
        let Self { name, json, fixed, .. } = self;
        let codec = self.codec();
        let since = self.since.map_or(1, |since| since.number);
        let default = match &self.default {
            Some(literal) => quote! { ::core::option::Option::Some(#literal) },
            None => quote! { ::core::option::Option::None },
        };
        let indexed = match self.indexed {
            Some(version) => {
                let number = version.number;
                quote! { ::core::option::Option::Some(#number) }
            }
            None => quote! { ::core::option::Option::None },
        };
        quote! {
            __p::table::Column {
                name: #name,
                field: #json,
                kind: #codec::KIND,
                optional: #codec::OPTIONAL,
                fixed: #fixed,
                since: #since,
                default: #default,
                indexed: #indexed,
            }
        }
    }
}

/// Reads the columns, and removes the attributes that say what they are.
pub(super) fn read(fields: &mut FieldsNamed, manual: bool, errors: &mut Errors) -> Vec<Column> {
    fields.named.iter_mut().filter_map(|field| column(field, manual, errors)).collect()
}

fn column(field: &mut Field, manual: bool, errors: &mut Errors) -> Option<Column> {
    let ident = field.ident.clone()?;
    let rust_name = ident.to_string();
    let rust_name = rust_name.strip_prefix("r#").unwrap_or(&rust_name);
    let json = renamed(&field.attrs).unwrap_or_else(|| camel_case(rust_name));
    let mut column = Column {
        ty: field.ty.clone(),
        key: false,
        name: rust_name.to_owned(),
        json,
        codec: Codec::Own,
        fixed: false,
        since: None,
        default: None,
        indexed: None,
        ident,
    };
    let (own, others): (Vec<Attribute>, Vec<Attribute>) = std::mem::take(&mut field.attrs)
        .into_iter()
        .partition(|attribute| attribute.path().is_ident("key") || attribute.path().is_ident("column"));
    field.attrs = others;
    if is_option(&field.ty) && !has_own_serialization(&field.attrs) {
        field.attrs.push(parse_quote! { #[serde(skip_serializing_if = "::core::option::Option::is_none")] });
    }
    let mut options = Options::default();
    for attribute in &own {
        if attribute.path().is_ident("key") {
            column.key = true;
            if !matches!(attribute.meta, Meta::Path(_)) {
                errors.at(attribute, "`#[key]` takes no arguments", "write `#[key]`");
            }
        } else {
            options.read(attribute, &mut column, errors);
        }
    }
    check(&column, &options, manual, errors);
    if column.key {
        // The key is stored as the text of the id, by which stores compare and lock rows.
        column.codec = Codec::Text;
    }
    if options.is_filter && column.indexed.is_none() {
        column.indexed = column.since.or(Some(Version { number: 1, span: column.ident.span() }));
    }
    Some(column)
}

/// Which options a field has.
#[derive(Default)]
struct Options {
    seen: Vec<(String, proc_macro2::Span)>,
    is_filter: bool,
}

impl Options {
    fn read(&mut self, attribute: &Attribute, column: &mut Column, errors: &mut Errors) {
        let read = attribute.parse_nested_meta(|meta| {
            let name = meta.path.to_token_stream().to_string();
            if self.seen.iter().any(|(known, _)| *known == name) {
                errors.at(&meta.path, format_args!("`{name}` is given twice"), "keep one of the two");
            }
            match name.as_str() {
                "json" | "text" | "decimal" => {
                    if let Some((other, _)) =
                        self.seen.iter().find(|(known, _)| matches!(known.as_str(), "json" | "text" | "decimal"))
                        && *other != name
                    {
                        errors.at(
                            &meta.path,
                            format_args!("a column is stored as `{other}` or as `{name}`, not both"),
                            "keep one of the two",
                        );
                    }
                    column.codec = match name.as_str() {
                        "json" => Codec::Json,
                        "text" => Codec::Text,
                        _ => Codec::Decimal,
                    };
                }
                "fixed" => column.fixed = true,
                "filter" => {
                    self.is_filter = true;
                    if meta.input.peek(syn::token::Paren) {
                        meta.parse_nested_meta(|inner| {
                            if !inner.path.is_ident("since") {
                                return Err(inner.error("expected `filter(since = N)`"));
                            }
                            column.indexed = Some(Version::of(&inner.value()?.parse::<LitInt>()?)?);
                            Ok(())
                        })?;
                    }
                }
                "since" => column.since = Some(Version::of(&meta.value()?.parse::<LitInt>()?)?),
                "default" => {
                    // Given, even if it cannot be read.
                    column.default = Some(String::new());
                    column.default = Some(literal(&meta.value()?.parse::<Lit>()?)?);
                }
                "name" => {
                    let text: LitStr = meta.value()?.parse()?;
                    column.name = text.value();
                }
                _ => {
                    errors.at(
                        &meta.path,
                        format_args!("`#[column]` has no option `{name}`"),
                        "it takes json, text, decimal, fixed, filter, since, default and name",
                    );
                    skip(meta.input)?;
                }
            }
            self.seen.push((name, meta.path.span()));
            Ok(())
        });
        if let Err(error) = read {
            errors.at_span(
                error.span(),
                format_args!("`#[column]` cannot be read: {error}"),
                "write its options in parentheses, `#[column(json, fixed)]` say",
            );
        }
    }

    fn span(&self, name: &str) -> Option<proc_macro2::Span> {
        self.seen.iter().find(|(known, _)| known == name).map(|(_, span)| *span)
    }
}

fn check(column: &Column, options: &Options, manual: bool, errors: &mut Errors) {
    let Column { ident, name, .. } = column;
    if column.key
        && let Some((option, span)) = options.seen.iter().find(|(option, _)| option != "name")
    {
        errors.at_span(
            *span,
            format_args!("the key takes no `{option}`"),
            "remove it: a key is a text, never changes, and has an index of its own",
        );
        return;
    }
    if column.key && is_option(&column.ty) {
        errors.at(&column.ty, "a key is never absent", "write its type without `Option`");
    }
    if KEPT.contains(&name.as_str()) {
        errors.at(
            ident,
            format_args!("the runtime keeps a column `{name}` in each table"),
            "give the field another name; the read model shows the runtime's `version`, `createdAt` and `updatedAt`",
        );
    } else if !is_column(name) {
        errors.at(
            ident,
            format_args!("`{name}` is not the name of a column"),
            "a name has at most 48 lower-case letters, digits and `_`; write it in `#[column(name = \"…\")]`",
        );
    }
    if manual && let Some((option, span)) = options.seen.iter().find(|(option, _)| option != "filter") {
        errors.at_span(
            *span,
            format_args!("an entity with `storage = manual` takes no `{option}`"),
            "remove it: the implementation of the storage says how the field is stored",
        );
    }
    for version in [column.since, column.indexed].into_iter().flatten() {
        if version.number == 0 {
            errors.at_span(version.span, "the first version is 1", "write `since = 2` for a later one");
        }
    }
    let is_later = column.since.is_some_and(|since| since.number > 1);
    if is_later && column.default.is_none() && !is_option(&column.ty) {
        errors.at(
            ident,
            format_args!("the rows that exist when `{name}` is added have no value for it"),
            "make it an `Option`, or give the value with `default = …`",
        );
    }
    if !is_later && let Some(span) = options.span("default") {
        errors.at_span(
            span,
            "a column of the first version needs no `default`",
            "remove it: each row is written with its value",
        );
    }
    if let (Some(since), Some(indexed)) = (column.since, column.indexed)
        && indexed.number < since.number
    {
        errors.at_span(
            indexed.span,
            format_args!("`{name}` is filtered before it exists"),
            format_args!("write `filter(since = {})` or a later version", since.number),
        );
    }
}

/// The SQL literal of a default.
fn literal(value: &Lit) -> syn::Result<String> {
    match value {
        Lit::Str(text) => Ok(format!("'{}'", text.value().replace('\'', "''"))),
        Lit::Int(integer) => Ok(integer.base10_digits().to_owned()),
        Lit::Float(float) => Ok(float.base10_digits().to_owned()),
        Lit::Bool(truth) => Ok(truth.value.to_string().to_uppercase()),
        other => Err(syn::Error::new(other.span(), "a default is a text, a number or a boolean")),
    }
}

/// Whether the type is written as an `Option`.
pub(super) fn is_option(ty: &Type) -> bool {
    item::last_segment(ty).is_some_and(|segment| segment.ident == "Option")
}

/// Whether a serde attribute of the field says how it is written.
fn has_own_serialization(attributes: &[Attribute]) -> bool {
    let mut found = false;
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("serde")) {
        // serde reports attributes that do not parse.
        let _ = attribute.parse_nested_meta(|meta| {
            found |= meta.path.is_ident("skip_serializing_if") || meta.path.is_ident("skip");
            skip(meta.input)
        });
    }
    found
}
