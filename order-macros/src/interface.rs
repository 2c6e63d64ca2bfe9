//! `#[interface]`.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::{FnArg, GenericParam, ItemTrait, ReturnType, TraitItem, TraitItemFn, Type, parse_quote};

use crate::{
    errors::Errors,
    item::{self, Unread},
    names::{self, Kind},
    place,
};

pub(crate) fn expand(arguments: TokenStream, tokens: TokenStream) -> TokenStream {
    let mut errors = Errors::new();
    item::no_arguments(&arguments, "interface", &mut errors);
    let mut item: ItemTrait = match syn::parse2(tokens.clone()) {
        Ok(item) => item,
        Err(error) => {
            let problem = Unread {
                attribute: "interface",
                keywords: &["trait"],
                stands_on: "a trait",
                example: "pub trait INTERFACE_HELPER_<Feature>",
            };
            return problem.report(&tokens, &error, errors);
        }
    };
    match names::feature(Kind::Interface, &item.ident.to_string()) {
        Ok(feature) => {
            if let Some(folder) = place::of(item.ident.span()).and_then(|place| place.wrong_for_feature(&feature)) {
                errors.at(
                    &item.ident,
                    format_args!("interface `{}` must be in the folder of its feature", item.ident),
                    format_args!("move it to `{folder}`"),
                );
            }
        }
        Err(wrong) => item::misnamed(&item.ident, &wrong, &mut errors),
    }
    check_object_safety(&mut item, &mut errors);

    let claim = errors.is_empty().then(|| {
        let claim = item::claim(&item.ident.to_string(), item.ident.span());
        item::hidden(&claim)
    });
    // The engine moves processors between threads, together with the helper that they borrow.
    item.supertraits.push(parse_quote!(::core::marker::Send));
    item.colon_token.get_or_insert_default();
    let errors = errors.into_tokens();
    let names = item::names();
    quote! {
        #[::order_runtime::__private::async_trait::async_trait]
        #[allow(non_camel_case_types, clippy::missing_errors_doc)]
        #item
        #names
        #claim
        #errors
    }
}

/// Reports members that prevent `&mut dyn` of the interface, and removes them from the trait object. Without this, rustc would
/// report an error at every use case that takes the interface.
fn check_object_safety(item: &mut ItemTrait, errors: &mut Errors) {
    if !item.generics.params.is_empty() {
        errors.at(
            &item.generics,
            format_args!("interface `{}` must not be generic", item.ident),
            "name the types that it works with",
        );
        item.generics = syn::Generics::default();
    }
    let mut kept = Vec::new();
    for mut member in std::mem::take(&mut item.items) {
        match &mut member {
            TraitItem::Const(constant) => {
                errors.at(
                    &constant.ident,
                    "an interface has no constants: it could not be used as `&mut dyn`",
                    "make it a method that returns the value",
                );
                continue;
            }
            TraitItem::Type(ty) => {
                errors.at(
                    &ty.ident,
                    "an interface has no associated types: it could not be used as `&mut dyn`",
                    "name the type in the methods",
                );
                continue;
            }
            TraitItem::Fn(method) if !check_method(method, errors) => {
                method.sig.generics.make_where_clause().predicates.push(parse_quote!(Self: ::core::marker::Sized));
            }
            _ => {}
        }
        kept.push(member);
    }
    item.items = kept;
}

fn check_method(method: &TraitItemFn, errors: &mut Errors) -> bool {
    let signature = &method.sig;
    let name = &signature.ident;
    let generic = signature.generics.params.iter().find(|parameter| !matches!(parameter, GenericParam::Lifetime(_)));
    if let Some(parameter) = generic {
        errors.at(
            parameter,
            format_args!("method `{name}` of an interface must not be generic: it could not be used as `&mut dyn`"),
            "name the type that it takes",
        );
        return false;
    }
    if let Some(ty) = signature.inputs.iter().find_map(|argument| match argument {
        FnArg::Typed(argument) => match &*argument.ty {
            Type::ImplTrait(ty) => Some(ty),
            _ => None,
        },
        FnArg::Receiver(_) => None,
    }) {
        errors.at(
            ty,
            format_args!(
                "method `{name}` of an interface must not take `impl Trait`: it could not be used as `&mut dyn`"
            ),
            "name the type that it takes",
        );
        return false;
    }
    match signature.receiver() {
        None => {
            errors.at(
                name,
                format_args!("method `{name}` of an interface has no `self`: it could not be used as `&mut dyn`"),
                "take `&self` or `&mut self`",
            );
            return false;
        }
        Some(receiver) if receiver.reference.is_none() && receiver.colon_token.is_none() => {
            errors.at(
                receiver,
                format_args!("method `{name}` of an interface takes itself by value"),
                "take `&self` or `&mut self`: a use case has the interface as `&mut dyn`",
            );
            return false;
        }
        Some(_) => {}
    }
    if let ReturnType::Type(_, returned) = &signature.output {
        if names_self(returned.to_token_stream()) {
            errors.at(
                returned,
                format_args!("method `{name}` of an interface returns `Self`: it could not be used as `&mut dyn`"),
                "name the type that it returns",
            );
            return false;
        }
        if let Type::ImplTrait(ty) = &**returned {
            errors.at(
                ty,
                format_args!(
                    "method `{name}` of an interface returns `impl Trait`: it could not be used as `&mut dyn`"
                ),
                "name the type that it returns, or make the method async",
            );
            return false;
        }
    }
    true
}

fn names_self(tokens: TokenStream) -> bool {
    item::idents_with(tokens, &["Self"]).iter().any(|ident| ident == "Self")
}
