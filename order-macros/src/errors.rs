//! Collects all violations of an item, so that one compilation reports all of them.

use proc_macro2::{Span, TokenStream};
use quote::ToTokens;

/// The violations of one item.
///
/// Must be consumed by [`Errors::into_tokens`]. Dropping collected violations is a bug in a macro, and panics.
#[derive(Debug)]
pub(crate) struct Errors {
    found: Option<Vec<syn::Error>>,
}

impl Errors {
    pub(crate) fn new() -> Self {
        Self { found: Some(Vec::new()) }
    }

    /// Adds a violation at `tokens`, with the problem and its fix.
    pub(crate) fn at(&mut self, tokens: impl ToTokens, problem: impl std::fmt::Display, help: impl std::fmt::Display) {
        self.add(syn::Error::new_spanned(tokens, format!("{problem}\nhelp: {help}")));
    }

    /// Adds a violation at `span`, with the problem and its fix.
    pub(crate) fn at_span(&mut self, span: Span, problem: impl std::fmt::Display, help: impl std::fmt::Display) {
        self.add(syn::Error::new(span, format!("{problem}\nhelp: {help}")));
    }

    /// Adds an error of the parser.
    pub(crate) fn add(&mut self, error: syn::Error) {
        if let Some(found) = &mut self.found {
            found.push(error);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.found.as_ref().is_none_or(Vec::is_empty)
    }

    /// The violations as compile errors; empty if there are none.
    pub(crate) fn into_tokens(mut self) -> TokenStream {
        self.found.take().unwrap_or_default().iter().map(syn::Error::to_compile_error).collect()
    }
}

impl Drop for Errors {
    fn drop(&mut self) {
        assert!(self.found.is_none() || std::thread::panicking(), "a macro dropped the errors that it collected");
    }
}
