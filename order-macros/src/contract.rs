//! `#[contract]`, for the struct and its `impl`.

use proc_macro2::{Ident, TokenStream};
use quote::{quote, quote_spanned};
use syn::{Item, ItemImpl, ItemStruct, Type};

use crate::{
    errors::Errors,
    injectable,
    item::{self, Unread},
    names::{self, Kind},
    place,
};

pub(crate) fn expand(arguments: TokenStream, tokens: TokenStream) -> TokenStream {
    let mut errors = Errors::new();
    item::no_arguments(&arguments, "contract", &mut errors);
    match syn::parse2(tokens.clone()) {
        Ok(Item::Struct(item)) => on_struct(&item, errors),
        Ok(Item::Impl(item)) => on_impl(&item, errors),
        other => {
            let error = other.err().unwrap_or_else(|| syn::Error::new_spanned(&tokens, "neither a struct nor an impl"));
            let problem = Unread {
                attribute: "contract",
                keywords: &["struct", "impl"],
                stands_on: "a struct and on its impl of an interface",
                example: "pub struct CONTRACT_HELPER_<Feature>_V<N>` and above `impl INTERFACE_HELPER_<Feature> for …",
            };
            problem.report(&tokens, &error, errors)
        }
    }
}

/// Makes the struct injectable. Its name is checked only on the `impl`, so that one mistake causes one error.
fn on_struct(item: &ItemStruct, mut errors: Errors) -> TokenStream {
    let ident = &item.ident;
    if !item.generics.params.is_empty() {
        errors.at(
            &item.generics,
            format_args!("contract `{ident}` must not be generic"),
            "name the types that it works with; nothing in the domain carries a type parameter or a lifetime",
        );
    }
    let built = if errors.is_empty() {
        let injectable = injectable::implement(ident, &item.fields);
        item::hidden(&quote! {
            #injectable
            impl __p::Contract for #ident {}
        })
    } else {
        TokenStream::new()
    };
    let errors = errors.into_tokens();
    let names = item::names();
    quote! {
        #[allow(non_camel_case_types)]
        #item
        #names
        #built
        #errors
    }
}

fn on_impl(item: &ItemImpl, mut errors: Errors) -> TokenStream {
    let declared = check_impl(item, &mut errors);
    let registration = match &declared {
        Some(declared) if errors.is_empty() => register(declared),
        _ => TokenStream::new(),
    };
    let errors = errors.into_tokens();
    let names = item::names();
    // `async_trait` accepts only an `impl` of a trait; `check_impl` has reported any other.
    let boxed = item.trait_.is_some().then(|| quote! { #[::order_runtime::__private::async_trait::async_trait] });
    quote! {
        #boxed
        #item
        #names
        #registration
        #errors
    }
}

/// An `impl` whose names are right.
struct Declared<'i> {
    contract: &'i Ident,
    interface: &'i Ident,
    feature: String,
    version: u32,
}

fn check_impl<'i>(item: &'i ItemImpl, errors: &mut Errors) -> Option<Declared<'i>> {
    if !item.generics.params.is_empty() {
        errors.at(&item.generics, "a contract must not be generic", "name the types that it works with");
    }
    let Some(contract) = named(&item.self_ty) else {
        errors.at(
            &item.self_ty,
            "a contract is a struct named `CONTRACT_HELPER_<Feature>_V<N>`",
            "implement the interface for such a struct",
        );
        return None;
    };
    let named = names::contract(&contract.to_string());
    if let Err(wrong) = &named {
        item::misnamed(contract, wrong, errors);
    }
    let Some((_, path, _)) = &item.trait_ else {
        let feature = named.map_or_else(|wrong| names::guess(&wrong.written), |(feature, _)| feature);
        errors.at(
            &item.self_ty,
            format_args!("contract `{contract}` implements no interface"),
            format_args!("write `impl {} for {contract}`", Kind::Interface.of(&feature)),
        );
        return None;
    };
    let interface = &path.segments.last()?.ident;
    let implemented = names::feature(Kind::Interface, &interface.to_string());
    let (feature, version) = named.ok()?;
    let wanted = Kind::Interface.of(&feature);
    match implemented {
        Ok(implemented) if implemented == feature => {}
        Ok(_) => {
            errors.at(
                interface,
                format_args!("contract `{contract}` implements the interface of another feature"),
                format_args!("implement `{wanted}`"),
            );
            return None;
        }
        Err(wrong) => {
            errors.at(interface, &wrong, format_args!("implement `{wanted}`"));
            return None;
        }
    }
    if let Some(folder) = place::of(contract.span()).and_then(|place| place.wrong_for_feature(&feature)) {
        errors.at(
            contract,
            format_args!("contract `{contract}` must be in the folder of its feature"),
            format_args!("move it to `{folder}contracts/v{version}.rs`"),
        );
    }
    Some(Declared { contract, interface, feature, version })
}

fn named(ty: &Type) -> Option<&Ident> {
    item::last_segment(ty).map(|segment| &segment.ident)
}

fn register(declared: &Declared<'_>) -> TokenStream {
    let Declared { contract, interface, feature, version } = declared;
    let name = contract.to_string();
    let place = item::place();
    let claim = item::claim(&name, contract.span());
    let build = quote_spanned! { item::located_at(contract) => __p::contract::<#contract>(delivery) };
    item::hidden(&quote! {
        const BUILD: fn(&__p::Delivery) -> ::std::boxed::Box<dyn #interface> =
            |delivery| ::std::boxed::Box::new(#build);
        #[__p::linkme::distributed_slice(__p::ORDER_RUNTIME_CONTRACTS)]
        #[linkme(crate = ::order_runtime::__private::linkme)]
        static REGISTRATION: __p::ContractEntry = __p::ContractEntry {
            feature: #feature,
            version: #version,
            name: #name,
            interface: || ::core::any::TypeId::of::<dyn #interface>(),
            build: &BUILD,
            probe: |delivery| ::core::mem::drop(BUILD(delivery)),
            place: #place,
        };
        #claim
    })
}
