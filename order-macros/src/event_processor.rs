//! `#[event_processor("X")]`.

use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::{FnArg, ReturnType, Type};

use crate::{
    arguments::Arguments,
    errors::Errors,
    item::{self, Function, Unread, located_at},
    names::{self, Kind},
    place,
};

pub(crate) fn expand(arguments: TokenStream, tokens: TokenStream) -> TokenStream {
    let function: Function = match syn::parse2(tokens.clone()) {
        Ok(function) => function,
        Err(error) => {
            let problem = Unread {
                attribute: "event_processor",
                keywords: &["fn"],
                stands_on: "an async function",
                example: "pub async fn EventProcessor_<Event>(event: Event<…>) -> Result<(), …>",
            };
            return problem.report(&tokens, &error, Errors::new());
        }
    };
    let mut errors = Errors::new();
    let arguments = Arguments::check(arguments, &mut errors);
    check_name(&function.signature.ident, &arguments, &mut errors);
    item::check_function(&function.signature, Kind::Processor.noun(), &mut errors);
    let input = check_event_argument(&function, &mut errors);
    check_further_arguments(&function, &mut errors);
    check_return(&function, &mut errors);
    if let Some(folder) = place::of(function.signature.ident.span()).and_then(|place| place.wrong_for_processor()) {
        errors.at(
            &function.signature.ident,
            format_args!("event processor `{}` must be in a file under `events/`", function.signature.ident),
            format_args!("move it to `{folder}`"),
        );
    }

    let registration = match (&arguments.event, input, errors.is_empty()) {
        (Some(event), Some(input), true) => register(&function, event, &input, &arguments),
        _ => TokenStream::new(),
    };
    let errors = errors.into_tokens();
    let names = item::names_beside(&function);
    quote! {
        #[allow(non_snake_case, clippy::unused_async, clippy::missing_errors_doc)]
        #function
        #names
        #registration
        #errors
    }
}

fn check_name(ident: &Ident, arguments: &Arguments, errors: &mut Errors) {
    let name = ident.to_string();
    match arguments.corrected_event() {
        Some(event) => {
            let expected = Kind::Processor.of(&event);
            if name != expected {
                errors.at(
                    ident,
                    format_args!(
                        "the event processor of `{event}` must be named `EventProcessor_{event}`, not `{name}`"
                    ),
                    format_args!("rename it to `{expected}`"),
                );
            }
        }
        None => {
            if let Err(wrong) = names::feature(Kind::Processor, &name) {
                item::misnamed(ident, &wrong, errors);
            }
        }
    }
}

/// The processor's input: the schema's name, or `None` for data of any shape.
struct Input {
    schema: Option<String>,
}

fn check_event_argument(function: &Function, errors: &mut Errors) -> Option<Input> {
    let signature = &function.signature;
    let example = "begin with `event: Event<INPUT_<Feature>>`, or `event: Event<Value>` for data of any shape";
    let argument = match signature.inputs.first() {
        Some(FnArg::Typed(argument)) => argument,
        Some(FnArg::Receiver(receiver)) => {
            errors.at(receiver, "an event processor is a free function and has no `self`", example);
            return None;
        }
        None => {
            errors.at(&signature.ident, format_args!("`{}` takes no event", signature.ident), example);
            return None;
        }
    };
    let event = item::last_segment(&argument.ty).filter(|segment| segment.ident == "Event");
    let data = event.map(item::type_arguments).unwrap_or_default();
    let [data] = data.as_slice() else {
        errors.at(&argument.ty, "the first argument of an event processor is its event", example);
        return None;
    };
    let name = item::last_segment(data).map(|segment| segment.ident.to_string()).unwrap_or_default();
    if name == "Value" {
        return Some(Input { schema: None });
    }
    if names::feature(Kind::Input, &name).is_ok() {
        return Some(Input { schema: Some(name) });
    }
    let suggestion = if name.is_empty() { "<Feature>".to_owned() } else { names::guess(&name) };
    errors.at(
        data,
        "an event carries an input schema or a `Value`",
        format_args!("write `Event<INPUT_{suggestion}>` or `Event<Value>`"),
    );
    None
}

fn check_further_arguments(function: &Function, errors: &mut Errors) {
    for argument in function.signature.inputs.iter().skip(1) {
        let FnArg::Typed(argument) = argument else { continue };
        match &*argument.ty {
            Type::Reference(reference) => errors.at(
                reference,
                "an argument of an event processor is owned, not borrowed",
                "take it by value: services and working sets are handles that cost a reference count",
            ),
            Type::ImplTrait(ty) => errors.at(
                ty,
                "an argument of an event processor has a named type",
                "take a service (`SERVICE_<Feature>`), a working set, or a type with `#[derive(Injectable)]`",
            ),
            _ => {}
        }
    }
}

fn check_return(function: &Function, errors: &mut Errors) {
    let signature = &function.signature;
    let help = "return `Result<(), E>` with an error that derives `Failure`, or `Result<(), Failed>`";
    let returned = match &signature.output {
        ReturnType::Default => {
            errors.at(
                &signature.ident,
                format_args!("`{}` returns nothing, so it cannot report a failure", signature.ident),
                help,
            );
            return;
        }
        ReturnType::Type(_, returned) => returned,
    };
    // A type alias of a `Result` is accepted; only rustc can resolve it.
    let is_result = item::last_segment(returned).is_some_and(|segment| segment.ident.to_string().ends_with("Result"));
    let success_is_unit = item::result_types(&signature.output).is_none_or(|(success, _)| item::is_unit(success));
    if !is_result || !success_is_unit {
        errors.at(returned, "an event processor returns `Result<(), E>`", help);
    }
}

fn register(function: &Function, event: &syn::LitStr, input: &Input, arguments: &Arguments) -> TokenStream {
    let ident = &function.signature.ident;
    let name = ident.to_string();
    let summary = item::summary(&function.attributes);
    let version = arguments.version.unwrap_or(1);
    let schema = match &input.schema {
        Some(name) => quote! { ::core::option::Option::Some(#name) },
        None => quote! { ::core::option::Option::None },
    };
    let types: Vec<&Type> = function
        .signature
        .inputs
        .iter()
        .filter_map(|argument| match argument {
            FnArg::Typed(argument) => Some(&*argument.ty),
            FnArg::Receiver(_) => None,
        })
        .collect();
    let written = types.iter().skip(1).map(|ty| quote!(#ty).to_string().replace(' ', ""));
    let values: Vec<Ident> = (0..types.len()).map(|index| format_ident!("argument_{index}")).collect();
    // The types are inferred from the call and not named, so that a missing type causes one error, in the signature.
    let event_value = values.first().zip(types.first()).map(|(value, ty)| {
        let decoded = quote_spanned! { located_at(ty) => __p::event(&delivery) };
        quote! {
            let #value = match #decoded {
                ::core::result::Result::Ok(event) => event,
                ::core::result::Result::Err(outcome) => return outcome,
            };
        }
    });
    let injected = values.iter().zip(&types).skip(1).map(|(value, ty)| {
        let injected = quote_spanned! { located_at(ty) => __p::inject(&delivery) };
        quote! { let #value = #injected; }
    });
    let outcome_span = match item::result_types(&function.signature.output) {
        Some((_, error)) => located_at(error),
        None => located_at(&function.signature.output),
    };
    let outcome = quote_spanned! { outcome_span => __p::outcome(result) };
    let policy = arguments.policy();
    let place = item::place();
    let claimed = if version == 1 { name.clone() } else { format!("{name}_V{version}") };
    let claim = item::claim(&claimed, event.span());
    item::hidden(&quote! {
        #[__p::linkme::distributed_slice(__p::ORDER_RUNTIME_PROCESSORS)]
        #[linkme(crate = ::order_runtime::__private::linkme)]
        static REGISTRATION: __p::ProcessorEntry = __p::ProcessorEntry {
            event: #event,
            version: #version,
            name: #name,
            summary: #summary,
            input: #schema,
            arguments: &[#(#written),*],
            policy: #policy,
            place: #place,
            handler: |delivery: __p::Delivery| ::std::boxed::Box::pin(async move {
                #event_value
                #(#injected)*
                let result = #ident(#(#values),*).await;
                #outcome
            }),
        };
        #claim
    })
}
