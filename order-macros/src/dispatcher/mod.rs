//! `dispatcher!(…)`.

mod arguments;
mod exports;
mod file;
mod scan;

use std::path::{Path, PathBuf};

use proc_macro2::{Ident, Span, TokenStream};
use quote::{format_ident, quote};

pub(crate) use self::arguments::RESERVED;
use self::{arguments::Arguments, exports::exports, file::SourceFile, scan::Folder};
use crate::errors::Errors;

pub(crate) fn expand(tokens: TokenStream) -> TokenStream {
    expand_over(source_folder().as_deref(), tokens)
}

/// Expands the macro for the files of `source`, or for no files if it is `None`.
pub(crate) fn expand_over(source: Option<&Path>, tokens: TokenStream) -> TokenStream {
    let mut errors = Errors::new();
    let arguments = Arguments::check(tokens, &mut errors);
    let folder = source.map(scan::read).unwrap_or_default();
    for (problem, help) in &folder.problems {
        errors.at_span(Span::call_site(), problem, help);
    }
    check_entities(&folder, &mut errors);

    let modules = modules(&folder);
    let exports = exports(&folder);
    let Arguments { name, sample } = arguments;
    let sample = match sample {
        Some(path) => quote! { ::core::option::Option::Some(#path) },
        None => quote! { ::core::option::Option::None },
    };
    let errors = errors.into_tokens();
    quote! {
        #modules

        /// The public types of features and entities. Every attribute imports them into its file.
        #[doc(hidden)]
        #[allow(unused_imports)]
        pub mod __write_dispatcher_in_lib_rs {
            #(#exports)*

            /// Has one constant for each declaration, so that a second declaration of the same name does not compile.
            #[allow(dead_code, missing_debug_implementations)]
            pub struct __Declared;
        }

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

/// The folder whose files become modules; `None` for code outside `src/`, such as doctests and fixtures.
fn source_folder() -> Option<PathBuf> {
    if std::env::var_os("UNSTABLE_RUSTDOC_TEST_PATH").is_some() {
        return None;
    }
    let source = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR")?).join("src");
    // The macro may be called outside `src/`: in a fixture, an example or an integration test.
    if proc_macro::is_available()
        && let Some(file) = Span::call_site().unwrap().local_file()
        && let (Ok(file), Ok(root)) = (file.canonicalize(), source.canonicalize())
        && !file.starts_with(&root)
    {
        return None;
    }
    Some(source)
}

fn modules(folder: &Folder) -> TokenStream {
    let files = folder.files.iter().map(|file| {
        let name = module_ident(&file.module);
        // A file with its own documentation needs no generated one.
        let documentation = (!file.documented).then(|| {
            let text = format!("`{}`.", file.inside);
            quote! { #[doc = #text] }
        });
        quote! { #documentation pub mod #name; }
    });
    let folders = folder.folders.iter().map(|(name, inner)| {
        let ident = module_ident(name);
        let text = format!("The folder `{name}/`.");
        let content = modules(inner);
        quote! { #[doc = #text] pub mod #ident { #content } }
    });
    quote! { #(#files)* #(#folders)* }
}

fn module_ident(name: &str) -> Ident {
    // The file's name may be a keyword, as in `type.rs`.
    match syn::parse_str::<Ident>(name) {
        Ok(ident) => ident,
        Err(_) => format_ident!("r#{name}"),
    }
}

/// Reports entities that use names of other layers. An entity has no attribute that could check this.
fn check_entities(folder: &Folder, errors: &mut Errors) {
    folder.each(&mut Vec::new(), &mut |path: &[String], file: &SourceFile| {
        if path.iter().any(|part| part == "entities")
            && let Some((name, line)) = &file.layer_break
        {
            errors.at_span(
                Span::call_site(),
                format_args!("the entity in `{}:{line}` names `{name}`", file.inside),
                "move that into a use case: an entity is pure and uses no interface, contract, use case or service",
            );
        }
    });
}
