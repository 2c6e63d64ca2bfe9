//! The macros with which a service declares its processors, use cases, interfaces, contracts and schemas. They check names and
//! files at compile time.
//!
//! Each attribute works in three steps: it parses the item into a model, checks the model and collects *every* violation, and
//! expands. The item itself is always emitted, so that one mistake causes one error. The registration is emitted only for an item
//! without violations.
//!
//! Use the macros through `order_runtime::prelude`. The expansions refer to `::order_runtime::__private`.

mod arguments;
mod contract;
mod dispatcher;
mod entity;
mod errors;
mod event_processor;
mod failure;
#[cfg(test)]
mod golden;
mod id;
mod injectable;
mod interface;
mod item;
mod place;
mod problem;
mod schema;
mod usecase;
mod values;

/// The naming rules, which the scan of a domain's files shares.
use order_build::names;
use proc_macro::TokenStream;

#[doc = include_str!("../docs/event_processor.md")]
#[proc_macro_attribute]
pub fn event_processor(arguments: TokenStream, item: TokenStream) -> TokenStream {
    event_processor::expand(arguments.into(), item.into()).into()
}

#[doc = include_str!("../docs/usecase.md")]
#[proc_macro_attribute]
pub fn usecase(arguments: TokenStream, item: TokenStream) -> TokenStream {
    usecase::expand(arguments.into(), item.into()).into()
}

#[doc = include_str!("../docs/interface.md")]
#[proc_macro_attribute]
pub fn interface(arguments: TokenStream, item: TokenStream) -> TokenStream {
    interface::expand(arguments.into(), item.into()).into()
}

#[doc = include_str!("../docs/contract.md")]
#[proc_macro_attribute]
pub fn contract(arguments: TokenStream, item: TokenStream) -> TokenStream {
    contract::expand(arguments.into(), item.into()).into()
}

#[doc = include_str!("../docs/schema.md")]
#[proc_macro_attribute]
pub fn schema(arguments: TokenStream, item: TokenStream) -> TokenStream {
    schema::expand(arguments.into(), item.into()).into()
}

#[doc = include_str!("../docs/entity.md")]
#[proc_macro_attribute]
pub fn entity(arguments: TokenStream, item: TokenStream) -> TokenStream {
    entity::expand(arguments.into(), item.into()).into()
}

#[doc = include_str!("../docs/id.md")]
#[proc_macro_attribute]
pub fn id(arguments: TokenStream, item: TokenStream) -> TokenStream {
    id::expand(arguments.into(), item.into()).into()
}

#[doc = include_str!("../docs/values.md")]
#[proc_macro_attribute]
pub fn values(arguments: TokenStream, item: TokenStream) -> TokenStream {
    values::expand(arguments.into(), item.into()).into()
}

#[doc = include_str!("../docs/failure.md")]
#[proc_macro_derive(Failure, attributes(failure))]
pub fn failure(item: TokenStream) -> TokenStream {
    failure::expand(item.into()).into()
}

#[doc = include_str!("../docs/injectable.md")]
#[proc_macro_derive(Injectable)]
pub fn injectable(item: TokenStream) -> TokenStream {
    injectable::expand(item.into()).into()
}

/// Reports what the scan of a domain's files has found; written by `order_build::scan()`.
#[doc(hidden)]
#[proc_macro]
pub fn problem(tokens: TokenStream) -> TokenStream {
    problem::expand(tokens.into()).into()
}

#[doc = include_str!("../docs/dispatcher.md")]
#[proc_macro]
pub fn dispatcher(arguments: TokenStream) -> TokenStream {
    dispatcher::expand(arguments.into()).into()
}
