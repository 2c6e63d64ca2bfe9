//! `dispatcher!(…)`.

mod arguments;

use std::path::Path;

use proc_macro2::{Span, TokenStream};
use quote::quote;

use self::arguments::Arguments;
pub(crate) use self::arguments::RESERVED;
use crate::{errors::Errors, place};

pub(crate) fn expand(tokens: TokenStream) -> TokenStream {
    expand_over(Files::of_the_crate(), tokens)
}

/// The files that become modules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Files {
    /// Those that the build script has found, with the name of the folder `src/` for messages.
    Scanned(String),
    /// There should be some, but the crate has no build script.
    NotScanned,
    /// None, because the macro is called outside of `src/`: in a fixture, an example or a doctest.
    None,
}

impl Files {
    fn of_the_crate() -> Self {
        if !place::is_below_source(Span::call_site()) {
            return Self::None;
        }
        if !place::is_scanned() {
            return Self::NotScanned;
        }
        Self::Scanned(folder_of(Span::call_site()))
    }
}

/// The folder of the span's file, as rustc writes it.
fn folder_of(span: Span) -> String {
    let file = if proc_macro::is_available() { span.unwrap().file() } else { String::new() };
    let folder = Path::new(&file).parent().filter(|folder| !folder.as_os_str().is_empty());
    folder.map_or_else(|| "src".to_owned(), |folder| folder.display().to_string())
}

pub(crate) fn expand_over(files: Files, tokens: TokenStream) -> TokenStream {
    let mut errors = Errors::new();
    let Arguments { name, sample } = Arguments::check(tokens, &mut errors);
    if files == Files::NotScanned {
        errors.at_span(
            Span::call_site(),
            "the files below `src/` are not known: this crate's build script does not call `order_build::scan()`",
            "write `fn main() { order_build::scan(); }` into `build.rs` beside `Cargo.toml`, and `order-build` under `[build-dependencies]`",
        );
    }
    let declarations = declarations(&files);
    let sample = match sample {
        Some(path) => quote! { ::core::option::Option::Some(#path) },
        None => quote! { ::core::option::Option::None },
    };
    let errors = errors.into_tokens();
    quote! {
        #declarations

        /// This domain, for [`order_runtime::run`]. The call links the crate with all its declarations.
        #[must_use]
        pub fn dispatcher() -> ::order_runtime::Dispatcher {
            #[allow(unused_imports)]
            use crate::__write_dispatcher_in_lib_rs::*;
            ::order_runtime::Dispatcher {
                name: #name,
                version: ::core::env!("CARGO_PKG_VERSION"),
                package: ::core::env!("CARGO_PKG_NAME"),
                manifest_dir: ::core::env!("CARGO_MANIFEST_DIR"),
                entities: ::order_runtime::__private::entities(),
                sample: #sample,
                on_start: ::core::option::Option::None,
            }
        }

        #errors
    }
}

/// The modules and the names that the attributes import.
fn declarations(files: &Files) -> TokenStream {
    if let Files::Scanned(folder) = files {
        let file = format!("/{}", order_build::DECLARATIONS);
        return quote! {
            // Editors notice when an included file changes. It has a macro with the modules, so that their paths begin here, and
            // the module with the names.
            ::core::include!(::core::concat!(::core::env!("OUT_DIR"), #file));
            __order_modules! { #folder }
        };
    }
    quote! {
        /// Nothing is imported into a domain of one file.
        #[doc(hidden)]
        pub mod __write_dispatcher_in_lib_rs {
            /// Has one constant for each declaration, so that a second declaration of the same name does not compile.
            #[allow(dead_code, missing_debug_implementations)]
            pub struct __Declared;
        }
    }
}
