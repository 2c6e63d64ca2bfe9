//! `#[derive(Injectable)]`.

use proc_macro2::{Ident, TokenStream};
use quote::{quote, quote_spanned};
use syn::{Data, DeriveInput, Fields};

use crate::{errors::Errors, item};

pub(crate) fn expand(tokens: TokenStream) -> TokenStream {
    let item: DeriveInput = match syn::parse2(tokens) {
        Ok(item) => item,
        Err(error) => return error.to_compile_error(),
    };
    let mut errors = Errors::new();
    if !item.generics.params.is_empty() {
        errors.at(
            &item.generics,
            "an injected type must not be generic",
            "name the types; nothing in the domain carries a type parameter or a lifetime",
        );
    }
    let Data::Struct(data) = &item.data else {
        errors.at(&item.ident, "only a struct can be injected", "make it a struct whose fields can be injected");
        return errors.into_tokens();
    };
    let implementation = errors.is_empty().then(|| item::hidden(&implement(&item.ident, &data.fields)));
    let names = item::names_if_any();
    let errors = errors.into_tokens();
    quote! { #names #implementation #errors }
}

/// Implements `Injectable` for a struct: each field is injected.
pub(crate) fn implement(ident: &Ident, fields: &Fields) -> TokenStream {
    let values = fields.members().zip(fields).map(|(member, field)| {
        // The type is inferred and not named, so that a missing field type causes one error, at the field.
        let value = quote_spanned! { item::located_at(&field.ty) => __p::inject(delivery) };
        quote! { #member: #value }
    });
    let delivery = if fields.is_empty() { quote!(_delivery) } else { quote!(delivery) };
    quote! {
        impl __p::Injectable for #ident {
            fn inject(#delivery: &__p::Delivery) -> Self {
                Self { #(#values),* }
            }
        }
    }
}
