//! Collects every violation of an item, so that one compile shows them all.

use proc_macro2::{Span, TokenStream};
use quote::ToTokens;

/// The violations of one item.
///
/// Dropping it without asking for them is a bug of a macro, and panics.
#[derive(Debug)]
pub(crate) struct Errors {
    found: Option<Vec<syn::Error>>,
}

impl Errors {
    pub(crate) fn new() -> Self {
        Self { found: Some(Vec::new()) }
    }

    /// A violation at `tokens`: what is wrong, and its cure.
    pub(crate) fn at(&mut self, tokens: impl ToTokens, problem: impl std::fmt::Display, help: impl std::fmt::Display) {
        self.add(syn::Error::new_spanned(tokens, format!("{problem}\nhelp: {help}")));
    }

    /// A violation at `span`.
    pub(crate) fn at_span(&mut self, span: Span, problem: impl std::fmt::Display, help: impl std::fmt::Display) {
        self.add(syn::Error::new(span, format!("{problem}\nhelp: {help}")));
    }

    /// A violation in the words of the parser.
    pub(crate) fn add(&mut self, error: syn::Error) {
        if let Some(found) = &mut self.found {
            found.push(error);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.found.as_ref().is_none_or(Vec::is_empty)
    }

    /// The violations as compile errors; nothing where there is none.
    pub(crate) fn into_tokens(mut self) -> TokenStream {
        self.found.take().unwrap_or_default().iter().map(syn::Error::to_compile_error).collect()
    }
}

impl Drop for Errors {
    fn drop(&mut self) {
        assert!(self.found.is_none() || std::thread::panicking(), "the errors of a macro were collected and forgotten");
    }
}
