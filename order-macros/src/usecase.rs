//! `#[usecase]`.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::{FnArg, Type, TypeParamBound};

use crate::{
    errors::Errors,
    item::{self, Function, Unread},
    names::{self, Kind},
    place,
};

pub(crate) fn expand(arguments: TokenStream, tokens: TokenStream) -> TokenStream {
    let mut errors = Errors::new();
    item::no_arguments(&arguments, "usecase", &mut errors);
    let function: Function = match syn::parse2(tokens.clone()) {
        Ok(function) => function,
        Err(error) => {
            let problem = Unread {
                attribute: "usecase",
                keywords: &["fn"],
                stands_on: "an async function",
                example: "pub async fn USECASE_<Feature>(input: INPUT_<Feature>) -> Result<OUTPUT_<Feature>, …>",
            };
            return problem.report(&tokens, &error, errors);
        }
    };
    let ident = &function.signature.ident;
    let here = place::of(ident.span());
    let feature = names::feature(Kind::Usecase, &ident.to_string());
    item::check_function(&function.signature, Kind::Usecase.noun(), &mut errors);
    check_contracts(&function, &mut errors);
    let interface = match &feature {
        Ok(feature) => {
            if let Some(folder) = here.as_ref().and_then(|place| place.wrong_for_feature(feature)) {
                errors.at(
                    ident,
                    format_args!("use case `{ident}` must be in the folder of its feature"),
                    format_args!("move it to `{folder}`"),
                );
            }
            check_output(&function, feature, &mut errors);
            check_arguments(&function, feature, &mut errors)
        }
        Err(wrong) => {
            item::misnamed(ident, wrong, &mut errors);
            None
        }
    };

    let names = item::names_beside(&function);
    // Processors refer to the service by its feature's name, so the stub takes that name from the folder. A mistake in the use
    // case then causes no errors in the processors.
    let service = match (&feature, errors.is_empty()) {
        (Ok(feature), true) => service(&function, feature, interface),
        _ => {
            let folder = here.and_then(|place| place.feature_folder());
            stub(&function, &names::of_service(&ident.to_string(), folder.as_deref()))
        }
    };
    let errors = errors.into_tokens();
    quote! {
        #[allow(non_snake_case, clippy::unused_async, clippy::missing_errors_doc)]
        #function
        #names
        #service
        #errors
    }
}

/// Reports contracts in the signature. A use case takes an interface, and the configuration selects the contract behind it.
fn check_contracts(function: &Function, errors: &mut Errors) {
    let signature = &function.signature;
    let inputs = &signature.inputs;
    let output = &signature.output;
    for contract in item::idents_with(quote!(#inputs #output), &[Kind::Contract.prefix()]) {
        let feature = names::contract(&contract.to_string()).map(|(feature, _)| feature);
        let interface = Kind::Interface.of(&feature.unwrap_or_else(|wrong| names::guess(&wrong.written)));
        errors.at(
            &contract,
            format_args!("use case `{}` names the contract `{contract}`", signature.ident),
            format_args!("take the interface instead: `&mut dyn {interface}`"),
        );
    }
}

/// Checks the arguments and returns the interface, if the use case takes one.
fn check_arguments<'f>(function: &'f Function, feature: &str, errors: &mut Errors) -> Option<&'f Ident> {
    let signature = &function.signature;
    let input = Kind::Input.of(feature);
    let wanted = Kind::Interface.of(feature);
    let mut arguments = signature.inputs.iter();
    match arguments.next() {
        Some(FnArg::Typed(argument)) => {
            let is_input = item::last_segment(&argument.ty).is_some_and(|segment| segment.ident == input);
            if !is_input {
                errors.at(
                    &argument.ty,
                    format_args!("the first argument of `{}` is its input", signature.ident),
                    format_args!("take `{input}` by value"),
                );
            }
        }
        Some(FnArg::Receiver(receiver)) => {
            errors.at(
                receiver,
                "a use case is a free function and has no `self`",
                format_args!("take `{input}` first"),
            );
        }
        None => errors.at(
            &signature.ident,
            format_args!("`{}` takes no input", signature.ident),
            format_args!("take `input: {input}`"),
        ),
    }
    let mut found = None;
    if let Some(FnArg::Typed(argument)) = arguments.next() {
        found = interface_of(&argument.ty).filter(|interface| **interface == wanted);
        // `check_contracts` has already reported a contract here.
        if found.is_none() && item::idents_with(quote!(#argument), &[Kind::Contract.prefix()]).is_empty() {
            errors.at(
                &argument.ty,
                format_args!("the second argument of `{}` is its interface", signature.ident),
                format_args!("take `&mut dyn {wanted}`, or remove the argument"),
            );
        }
    }
    for argument in arguments {
        errors.at(
            argument,
            format_args!("`{}` takes its input and its interface, and no more", signature.ident),
            format_args!("make its other dependencies methods of `{wanted}`"),
        );
    }
    found
}

/// The `INTERFACE_…` of a `&mut dyn INTERFACE_…`.
fn interface_of(ty: &Type) -> Option<&Ident> {
    let Type::Reference(reference) = ty else { return None };
    reference.mutability?;
    let Type::TraitObject(object) = &*reference.elem else { return None };
    match object.bounds.first() {
        Some(TypeParamBound::Trait(bound)) => bound.path.segments.last().map(|segment| &segment.ident),
        _ => None,
    }
}

fn check_output(function: &Function, feature: &str, errors: &mut Errors) {
    let output = Kind::Output.of(feature);
    let right = item::result_types(&function.signature.output)
        .is_some_and(|(success, _)| item::last_segment(success).is_some_and(|segment| segment.ident == output));
    if !right {
        let help = format!("return `Result<{output}, E>`");
        match &function.signature.output {
            syn::ReturnType::Default => {
                let ident = &function.signature.ident;
                errors.at(ident, format_args!("`{ident}` returns nothing"), help);
            }
            syn::ReturnType::Type(_, returned) => {
                errors.at(returned, format_args!("a use case returns its output or an error"), help);
            }
        }
    }
}

/// The input and return types of the service's `run`; `None` if the use case has no first argument.
fn run_types(function: &Function) -> Option<(&Type, &syn::ReturnType)> {
    match function.signature.inputs.first() {
        Some(FnArg::Typed(argument)) => Some((&argument.ty, &function.signature.output)),
        _ => None,
    }
}

fn service(function: &Function, feature: &str, interface: Option<&Ident>) -> TokenStream {
    let usecase = &function.signature.ident;
    let name = usecase.to_string();
    let summary = item::summary(&function.attributes);
    let service = item::service_ident(feature, Span::call_site().located_at(usecase.span()));
    let Some((input, output)) = run_types(function) else { return TokenStream::new() };
    let call = match interface {
        // The helper is a local variable, because a temporary in the tail expression would not live long enough.
        Some(interface) => quote! {
            let mut helper = self.delivery.contract::<dyn #interface>();
            let output = #usecase(input, &mut *helper).await;
            output
        },
        None => quote! { #usecase(input).await },
    };
    let interface_id = match interface {
        Some(interface) => quote! {
            ::core::option::Option::Some(|| ::core::any::TypeId::of::<dyn #interface>())
        },
        None => quote! { ::core::option::Option::None },
    };
    let documentation = format!("Runs [`{name}`] with the configured contract.");
    let run_documentation = format!("Runs [`{name}`].");
    // A missing type is named twice, in the use case and in `run`. With this span rustc considers both errors equal and shows
    // one.
    let implementation = quote_spanned! { usecase.span() => impl };
    let place = item::place();
    let claim = item::claim(&name, usecase.span());
    let registration = item::hidden(&quote! {
        impl __p::Injectable for #service {
            fn inject(delivery: &__p::Delivery) -> Self {
                Self { delivery: ::core::clone::Clone::clone(delivery) }
            }
        }
        #[__p::linkme::distributed_slice(__p::ORDER_RUNTIME_USECASES)]
        #[linkme(crate = ::order_runtime::__private::linkme)]
        static REGISTRATION: __p::UsecaseEntry = __p::UsecaseEntry {
            feature: #feature,
            name: #name,
            summary: #summary,
            interface: #interface_id,
            place: #place,
        };
        #claim
    });
    quote! {
        #[doc = #documentation]
        #[allow(non_camel_case_types, dead_code)]
        #[derive(Debug)]
        pub struct #service { delivery: ::order_runtime::__private::Delivery }
        #[allow(clippy::missing_errors_doc, clippy::let_and_return, dead_code)]
        #implementation #service {
            #[doc = #run_documentation]
            pub async fn run(&self, input: #input) #output { #call }
        }
        #registration
    }
}

/// The service of a use case with violations. Other items can name it; it never runs.
fn stub(function: &Function, feature: &str) -> TokenStream {
    let service = item::service_ident(feature, Span::call_site().located_at(function.signature.ident.span()));
    let implementation = quote_spanned! { function.signature.ident.span() => impl };
    let run = run_types(function).map(|(input, output)| {
        quote! {
            #[allow(clippy::missing_errors_doc, dead_code)]
            #implementation #service {
                #[doc(hidden)]
                pub async fn run(&self, _input: #input) #output { ::core::unreachable!() }
            }
        }
    });
    let injectable = item::hidden(&quote! {
        impl __p::Injectable for #service {
            fn inject(_: &__p::Delivery) -> Self { Self }
        }
    });
    quote! {
        #[doc(hidden)]
        #[allow(non_camel_case_types, dead_code)]
        #[derive(Debug)]
        pub struct #service;
        #run
        #injectable
    }
}
