//! The arguments of `#[entity(table = "…", storage = manual, renamed(…), dropped(…))]`.

use proc_macro2::{Span, TokenStream};
use syn::{
    Ident, LitInt, LitStr, Token, parenthesized,
    parse::{Parse, ParseStream, Parser as _},
};

use super::RUNTIME_TABLES;
use crate::{dispatcher::RESERVED, errors::Errors};

const EXAMPLE: &str = "write `#[entity(table = \"orders\")]`";

pub(super) struct Arguments {
    pub(super) table: LitStr,
    /// Whether the domain implements the storage by hand.
    pub(super) manual: bool,
    pub(super) steps: Vec<Step>,
}

/// A version of the table, where it is named.
#[derive(Clone, Copy)]
pub(super) struct Version {
    pub(super) number: u32,
    pub(super) span: Span,
}

/// A change of a column by a version of the table.
pub(super) struct Step {
    pub(super) since: Version,
    pub(super) change: Change,
}

pub(super) enum Change {
    Renamed { from: LitStr, to: LitStr },
    Dropped { column: LitStr },
}

impl Arguments {
    pub(super) fn check(tokens: TokenStream, errors: &mut Errors) -> Self {
        let mut arguments = Self { table: LitStr::new("unnamed", Span::call_site()), manual: false, steps: Vec::new() };
        let mut seen: Vec<String> = Vec::new();
        let parser = syn::meta::parser(|meta| {
            let Some(name) = meta.path.get_ident().map(ToString::to_string) else {
                return Err(meta.error("not a name"));
            };
            if seen.contains(&name) && !matches!(name.as_str(), "renamed" | "dropped") {
                errors.at(&meta.path, format_args!("`{name}` is given twice"), "keep one of the two");
            }
            match name.as_str() {
                "table" => {
                    arguments.table = meta.value()?.parse()?;
                    check_table(&arguments.table, errors);
                }
                "storage" => {
                    let storage: Ident = meta.value()?.parse()?;
                    arguments.manual = storage == "manual";
                    if !arguments.manual {
                        errors.at(
                            &storage,
                            format_args!("there is no storage `{storage}`"),
                            "write `storage = manual`, and implement SqliteEntity and PostgresEntity by hand",
                        );
                    }
                }
                "renamed" | "dropped" => {
                    let content;
                    parenthesized!(content in meta.input);
                    let step = if name == "renamed" { Step::renamed(&content)? } else { Step::dropped(&content)? };
                    if step.since.number < 2 {
                        errors.at_span(
                            step.since.span,
                            format_args!("the first version of a table has no `{name}` column"),
                            "write the version that makes this change, 2 or later",
                        );
                    }
                    arguments.steps.push(step);
                }
                _ => {
                    errors.at(
                        &meta.path,
                        format_args!("`#[entity]` has no argument `{name}`"),
                        "it takes table, storage, renamed and dropped",
                    );
                    skip(meta.input)?;
                }
            }
            seen.push(name);
            Ok(())
        });
        let read = parser.parse2(tokens);
        if let Err(error) = read {
            errors.at_span(error.span(), format_args!("the arguments of `#[entity]` cannot be read: {error}"), EXAMPLE);
        } else if !seen.iter().any(|name| name == "table") {
            errors.at_span(Span::call_site(), "`#[entity]` does not name the table", EXAMPLE);
        }
        if arguments.manual && !arguments.steps.is_empty() {
            errors.at_span(
                Span::call_site(),
                "an entity with `storage = manual` has its migrations in its implementation",
                "remove `renamed` and `dropped`",
            );
        }
        arguments
    }
}

impl Step {
    /// `renamed(from = "…", to = "…", since = N)`.
    fn renamed(input: ParseStream<'_>) -> syn::Result<Self> {
        let from = named(input, "from")?;
        input.parse::<Token![,]>()?;
        let to = named(input, "to")?;
        input.parse::<Token![,]>()?;
        Ok(Self { since: Version::named(input)?, change: Change::Renamed { from, to } })
    }

    /// `dropped(column = "…", since = N)`.
    fn dropped(input: ParseStream<'_>) -> syn::Result<Self> {
        let column = named(input, "column")?;
        input.parse::<Token![,]>()?;
        Ok(Self { since: Version::named(input)?, change: Change::Dropped { column } })
    }
}

impl Version {
    /// `since = N`.
    fn named(input: ParseStream<'_>) -> syn::Result<Self> {
        named::<LitInt>(input, "since").and_then(|literal| Self::of(&literal))
    }

    pub(super) fn of(literal: &LitInt) -> syn::Result<Self> {
        Ok(Self { number: literal.base10_parse()?, span: literal.span() })
    }
}

/// `name = value`.
fn named<T: Parse>(input: ParseStream<'_>, name: &str) -> syn::Result<T> {
    let found: Ident = input.parse()?;
    if found != name {
        return Err(syn::Error::new(found.span(), format!("expected `{name} = …`")));
    }
    input.parse::<Token![=]>()?;
    input.parse()
}

/// Skips the value or the group of an unknown argument.
pub(super) fn skip(input: ParseStream<'_>) -> syn::Result<()> {
    while !input.is_empty() && !input.peek(Token![,]) {
        input.parse::<proc_macro2::TokenTree>()?;
    }
    Ok(())
}

/// Checks the name of a table, which is part of statements and routes.
fn check_table(table: &LitStr, errors: &mut Errors) {
    let name = table.value();
    if !is_column(&name) {
        errors.at(table, "the name of a table is a string of lower-case letters, digits and `_`", EXAMPLE);
    } else if RUNTIME_TABLES.lines().any(|known| known == name) {
        errors.at(table, format_args!("the store has a table `{name}` of its own"), "give this one another name");
    } else if RESERVED.lines().any(|known| known == name) {
        errors.at(
            table,
            format_args!("`/{name}` is a route of the service itself"),
            "name the table by its entities, `orders` say",
        );
    }
}

/// Whether a name can be that of a column or a table without quotes in other tools.
pub(super) fn is_column(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.len() <= 48
        && name.chars().all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_')
}
