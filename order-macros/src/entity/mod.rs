//! `#[entity]`.

mod arguments;
mod columns;

use proc_macro2::{Ident, TokenStream};
use quote::quote;
use syn::{Data, DeriveInput, Fields, FieldsNamed};

use self::{
    arguments::{Arguments, Change},
    columns::{Codec, Column},
};
use crate::{
    errors::Errors,
    item::{self, Unread},
};

/// The tables of the runtime itself. A test of the stores checks the list.
const RUNTIME_TABLES: &str = include_str!("runtime_tables.txt");

pub(crate) fn expand(arguments: TokenStream, tokens: TokenStream) -> TokenStream {
    let mut errors = Errors::new();
    let problem = Unread {
        attribute: "entity",
        keywords: &["struct"],
        stands_on: "a struct with named fields",
        example: "pub struct Order { #[key] pub order_id: OrderId, … }",
    };
    let mut item: DeriveInput = match syn::parse2(tokens.clone()) {
        Ok(item) => item,
        Err(error) => return problem.report(&item::without(&tokens, &["key", "column"]), &error, errors),
    };
    if !matches!(&item.data, Data::Struct(data) if matches!(data.fields, Fields::Named(_))) {
        return problem.misplaced(&tokens, errors);
    }
    let arguments = Arguments::check(arguments, &mut errors);
    if !item.generics.params.is_empty() {
        errors.at(
            &item.generics,
            format_args!("entity `{}` must not be generic", item.ident),
            "name the types; each entity has a table of its own",
        );
    }
    let ident = item.ident.clone();
    let fields = named(&mut item);
    let columns = columns::read(fields, arguments.manual, &mut errors);
    check(&ident, &arguments, &columns, &mut errors);

    let implementation = match columns.iter().position(|column| column.key) {
        Some(key) if errors.is_empty() => implement(&ident, &arguments, &columns, key),
        _ => TokenStream::new(),
    };
    let derives = item::missing_derives(
        &item.attrs,
        &[
            ("Debug", quote!(::core::fmt::Debug)),
            ("Clone", quote!(::core::clone::Clone)),
            ("PartialEq", quote!(::core::cmp::PartialEq)),
            ("Serialize", quote!(::order_runtime::__private::serde::Serialize)),
        ],
    );
    let errors = errors.into_tokens();
    quote! {
        #[derive(#(#derives),*)]
        #[serde(crate = "::order_runtime::__private::serde", rename_all = "camelCase")]
        #item
        #implementation
        #errors
    }
}

fn named(item: &mut DeriveInput) -> &mut FieldsNamed {
    match &mut item.data {
        Data::Struct(data) => match &mut data.fields {
            Fields::Named(fields) => fields,
            _ => unreachable!("only named fields are accepted"),
        },
        _ => unreachable!("only structs are accepted"),
    }
}

/// Checks what concerns several columns, or a column and the arguments.
fn check(ident: &Ident, arguments: &Arguments, columns: &[Column], errors: &mut Errors) {
    let keys: Vec<_> = columns.iter().filter(|column| column.key).collect();
    match keys.as_slice() {
        [] => errors.at(
            ident,
            format_args!("entity `{ident}` has no key"),
            "write `#[key]` above the field that identifies it, an `#[id]` type or a `String`",
        ),
        [_] => {}
        [_, second, ..] => errors.at(
            &second.ident,
            format_args!("entity `{ident}` has two keys"),
            "keep one `#[key]`: a key of several parts is one `#[id]` type",
        ),
    }
    for (index, column) in columns.iter().enumerate() {
        if columns[..index].iter().any(|earlier| earlier.name == column.name) {
            errors.at(
                &column.ident,
                format_args!("two columns are called `{}`", column.name),
                "give one of them another `#[column(name = \"…\")]`",
            );
        }
    }
    for step in &arguments.steps {
        let exists = |name: &str| columns.iter().any(|column| column.name == name);
        match &step.change {
            Change::Renamed { to, .. } if !exists(&to.value()) => errors.at(
                to,
                format_args!("no field has the column `{}`", to.value()),
                "write the new name of the column, as a field of this entity has it",
            ),
            Change::Renamed { from, .. } | Change::Dropped { column: from } if exists(&from.value()) => errors.at(
                from,
                format_args!("a field still has the column `{}`", from.value()),
                "remove the field, or this step",
            ),
            _ => {}
        }
    }
    check_versions(arguments, columns, errors);
}

/// Reports a version that nothing has although a later one exists: probably a mistyped number.
fn check_versions(arguments: &Arguments, columns: &[Column], errors: &mut Errors) {
    let named = || {
        let of_columns = columns.iter().flat_map(|column| [column.since.as_ref(), column.indexed.as_ref()]).flatten();
        of_columns.chain(arguments.steps.iter().map(|step| &step.since))
    };
    let Some(latest) = named().max_by_key(|version| version.number) else { return };
    if let Some(missing) = (2..latest.number).find(|wanted| !named().any(|version| version.number == *wanted)) {
        errors.at_span(
            latest.span,
            format_args!("version {} exists, but nothing is of version {missing}", latest.number),
            "number the versions of the table without a gap, beginning with 1",
        );
    }
}

fn implement(ident: &Ident, arguments: &Arguments, columns: &[Column], key: usize) -> TokenStream {
    let (key_field, id) = (&columns[key].ident, &columns[key].ty);
    let table = &arguments.table;
    let filters = columns.iter().filter(|column| column.indexed.is_some()).map(|column| &column.json);
    let storage = if arguments.manual { TokenStream::new() } else { storage(ident, arguments, columns, key) };
    let description = if arguments.manual {
        quote! { ::core::option::Option::None }
    } else {
        quote! { ::core::option::Option::Some(&<#ident as __p::table::TableEntity>::DESCRIPTION) }
    };
    let place = item::place();
    item::hidden(&quote! {
        impl __p::Entity for #ident {
            type Id = #id;
            const TABLE: &'static str = #table;
            const FILTERS: &'static [&'static str] = &[#(#filters),*];

            fn id(&self) -> &Self::Id {
                &self.#key_field
            }
        }
        #storage
        #[__p::linkme::distributed_slice(__p::ORDER_RUNTIME_ENTITIES)]
        #[linkme(crate = ::order_runtime::__private::linkme)]
        static REGISTRATION: __p::EntityEntry = __p::EntityEntry {
            table: #table,
            entity: __p::EntityType::of::<#ident>,
            description: #description,
            place: #place,
        };
    })
}

/// The description of the table, and the conversion of rows.
fn storage(ident: &Ident, arguments: &Arguments, columns: &[Column], key: usize) -> TokenStream {
    let table = &arguments.table;
    let described = columns.iter().map(Column::describe);
    let steps = arguments.steps.iter().map(|step| {
        let since = step.since.number;
        let change = match &step.change {
            Change::Renamed { from, to } => quote! { __p::table::ColumnChange::Renamed { from: #from, to: #to } },
            Change::Dropped { column } => quote! { __p::table::ColumnChange::Dropped { column: #column } },
        };
        quote! { __p::table::Step { since: #since, change: #change } }
    });
    let cells = columns.iter().enumerate().map(|(index, column)| {
        let (field, name, codec) = (&column.ident, &column.name, column.codec());
        quote! { #index => #codec::cell(&self.#field).map_err(|error| error.of(#name)) }
    });
    let fields = columns.iter().enumerate().map(|(index, column)| {
        let (field, name, codec) = (&column.ident, &column.name, column.codec());
        quote! { #field: __p::table::read(row, #index, #codec::KIND, #codec::value).map_err(|error| error.of(#name))? }
    });
    let filters = columns.iter().filter(|column| column.indexed.is_some()).map(|column| {
        let codec = column.codec();
        let text = format!(
            "a page cannot be filtered by the column `{}`: only texts, integers and booleans are compared; remove `filter`",
            column.name
        );
        quote! {
            const _: () = ::core::assert!(#codec::KIND.is_filter(), #text);
        }
    });
    quote! {
        impl __p::table::TableEntity for #ident {
            const DESCRIPTION: __p::table::Description = __p::table::Description {
                table: #table,
                columns: &[#(#described),*],
                key: #key,
                steps: &[#(#steps),*],
            };

            fn statements() -> &'static __p::table::Statements {
                static STATEMENTS: ::std::sync::OnceLock<__p::table::Statements> = ::std::sync::OnceLock::new();
                STATEMENTS.get_or_init(|| __p::table::Statements::of(&Self::DESCRIPTION))
            }

            fn cell(
                &self,
                column: usize,
            ) -> ::core::result::Result<__p::table::Cell<'_>, __p::table::ColumnError> {
                match column {
                    #(#cells,)*
                    _ => ::core::result::Result::Err(__p::table::ColumnError::no_column(column)),
                }
            }

            fn from_row(row: &impl __p::table::Cells) -> ::core::result::Result<Self, __p::table::ColumnError> {
                ::core::result::Result::Ok(Self { #(#fields),* })
            }
        }
        #(#filters)*
    }
}

impl Codec {
    /// The marker type of the runtime.
    fn marker(self, ty: &syn::Type) -> TokenStream {
        let marker = match self {
            Self::Own => return quote! { __p::table::Own },
            Self::Json => quote! { __p::table::AsJson },
            Self::Text => quote! { __p::table::AsText },
            Self::Decimal => quote! { __p::table::AsDecimal },
        };
        if columns::is_option(ty) {
            quote! { __p::table::Optional<#marker> }
        } else {
            marker
        }
    }
}
