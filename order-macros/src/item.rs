//! What several attributes need of the items that they stand on.

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::{
    Attribute, Expr, GenericArgument, Lit, Meta, Path, PathArguments, PathSegment, ReturnType, Signature, Type,
    Visibility,
    parse::{Parse, ParseStream},
    spanned::Spanned,
};

use crate::{
    errors::Errors,
    names::{Kind, Misnamed},
};

/// A function whose body is kept as it was written, so that a half-typed one is reported by rustc and by nobody else.
pub(crate) struct Function {
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) visibility: Visibility,
    pub(crate) signature: Signature,
    pub(crate) body: TokenStream,
}

impl Parse for Function {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        Ok(Self {
            attributes: input.call(Attribute::parse_outer)?,
            visibility: input.parse()?,
            signature: input.parse()?,
            body: input.parse()?,
        })
    }
}

impl ToTokens for Function {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        let Self { attributes, visibility, signature, body } = self;
        tokens.extend(quote! { #(#attributes)* #visibility #signature #body });
    }
}

/// Brings the names of the domain into the module; the module's own name is the cure where `dispatcher!()` is missing.
pub(crate) fn names() -> TokenStream {
    quote! {
        #[allow(unused_imports)]
        use crate::__write_dispatcher_in_lib_rs::*;
    }
}

/// The names for the module of a function; none for one that stands in an impl, where nothing can be brought in.
pub(crate) fn names_beside(function: &Function) -> TokenStream {
    if function.signature.receiver().is_some() { TokenStream::new() } else { names() }
}

/// What an attribute says of an item that it cannot read.
pub(crate) struct Unread {
    pub(crate) attribute: &'static str,
    /// The keywords of the items that it stands on.
    pub(crate) keywords: &'static [&'static str],
    pub(crate) stands_on: &'static str,
    pub(crate) example: &'static str,
}

impl Unread {
    /// The item as it is, with the names of the domain, so that the rest of its file goes on to compile.
    ///
    /// An item of the right kind is half typed, and rustc reports that better. If rustc does accept it, the program is refused when
    /// it is built, which is after all other errors: an item must not be left out silently.
    pub(crate) fn report(&self, tokens: &TokenStream, error: &syn::Error, mut errors: Errors) -> TokenStream {
        let names = names();
        if self.keywords.contains(&keyword(tokens).as_str()) {
            let text = format!("`#[{}]` cannot read this item: {error}", self.attribute);
            let errors = errors.into_tokens();
            return quote! {
                #tokens
                #names
                const _: () = {
                    #[used]
                    static UNREAD: fn() = || const { ::core::panic!(#text) };
                };
                #errors
            };
        }
        errors.at(
            tokens.clone().into_iter().next(),
            format_args!("`#[{}]` stands on {}", self.attribute, self.stands_on),
            format_args!("write it above `{}`", self.example),
        );
        let errors = errors.into_tokens();
        quote! { #tokens #names #errors }
    }
}

/// The keyword that says what an item is: the first word behind its attributes, its visibility and its qualifiers.
fn keyword(tokens: &TokenStream) -> String {
    const BEFORE: [&str; 7] = ["pub", "async", "unsafe", "const", "extern", "default", "auto"];
    let words = tokens.clone().into_iter().filter_map(|token| match token {
        TokenTree::Ident(ident) => Some(ident.to_string()),
        _ => None,
    });
    words.into_iter().find(|word| !BEFORE.contains(&word.as_str())).unwrap_or_default()
}

/// Wraps what an expansion adds, so that none of its names can be seen.
pub(crate) fn hidden(content: &TokenStream) -> TokenStream {
    quote! {
        const _: () = {
            use ::order_runtime::__private as __p;
            #content
        };
    }
}

/// A constant on the crate's marker type: the second one of the same name is a compile error that shows both places.
pub(crate) fn claim(name: &str, span: Span) -> TokenStream {
    let constant = Ident::new(name, span);
    quote_spanned! { span =>
        #[allow(non_upper_case_globals, dead_code)]
        impl crate::__write_dispatcher_in_lib_rs::__Declared {
            #[doc(hidden)]
            pub const #constant: () = ();
        }
    }
}

/// Where the item is declared, as an expression.
pub(crate) fn place() -> TokenStream {
    quote! {
        __p::Place { file: ::core::file!(), line: ::core::line!(), module: ::core::module_path!() }
    }
}

/// The first line of an item's documentation.
pub(crate) fn summary(attributes: &[Attribute]) -> String {
    let lines = attributes.iter().filter_map(|attribute| match &attribute.meta {
        Meta::NameValue(pair) if pair.path.is_ident("doc") => match &pair.value {
            Expr::Lit(literal) => match &literal.lit {
                Lit::Str(text) => Some(text.value()),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    });
    lines.map(|line| line.trim().to_owned()).find(|line| !line.is_empty()).unwrap_or_default()
}

/// Refuses arguments of an attribute that takes none.
pub(crate) fn no_arguments(arguments: &TokenStream, attribute: &str, errors: &mut Errors) {
    if !arguments.is_empty() {
        errors.at(
            arguments,
            format_args!("`#[{attribute}]` takes no arguments"),
            format_args!("write `#[{attribute}]`"),
        );
    }
}

/// Reports a wrong name where it stands.
pub(crate) fn misnamed(ident: &Ident, wrong: &Misnamed, errors: &mut Errors) {
    errors.at(ident, wrong, format_args!("rename it to `{}`", wrong.suggestion));
}

/// Checks what no declared function may be.
pub(crate) fn check_function(signature: &Signature, noun: &str, errors: &mut Errors) {
    if signature.asyncness.is_none() {
        errors.at(signature.fn_token, format_args!("{noun} `{}` must be async", signature.ident), "write `async fn`");
    }
    for (token, word) in [
        (signature.constness.map(|token| token.span()), "const"),
        (signature.unsafety.map(|token| token.span()), "unsafe"),
        (signature.abi.as_ref().map(Spanned::span), "extern"),
    ] {
        if let Some(span) = token {
            errors.at_span(
                span,
                format_args!("{noun} `{}` must not be `{word}`", signature.ident),
                format_args!("remove `{word}`"),
            );
        }
    }
    if !signature.generics.params.is_empty() {
        errors.at(
            &signature.generics,
            format_args!("{noun} `{}` must not be generic", signature.ident),
            "name the types that it works with; nothing in the domain carries a type parameter or a lifetime",
        );
    }
    if let Some(variadic) = &signature.variadic {
        errors.at(variadic, format_args!("{noun} `{}` must not be variadic", signature.ident), "remove `...`");
    }
}

/// The last segment of a type that is a path.
pub(crate) fn last_segment(ty: &Type) -> Option<&PathSegment> {
    match ty {
        Type::Path(path) if path.qself.is_none() => path.path.segments.last(),
        Type::Group(group) => last_segment(&group.elem),
        Type::Paren(paren) => last_segment(&paren.elem),
        _ => None,
    }
}

/// The type arguments of a path segment.
pub(crate) fn type_arguments(segment: &PathSegment) -> Vec<&Type> {
    match &segment.arguments {
        PathArguments::AngleBracketed(arguments) => arguments
            .args
            .iter()
            .filter_map(|argument| match argument {
                GenericArgument::Type(ty) => Some(ty),
                _ => None,
            })
            .collect(),
        _ => Vec::new(),
    }
}

/// The success and the error type of a returned `Result`.
pub(crate) fn result_types(output: &ReturnType) -> Option<(&Type, &Type)> {
    let ReturnType::Type(_, ty) = output else { return None };
    let segment = last_segment(ty).filter(|segment| segment.ident == "Result")?;
    match type_arguments(segment).as_slice() {
        [success, error] => Some((success, error)),
        _ => None,
    }
}

/// Whether a type is `()`.
pub(crate) fn is_unit(ty: &Type) -> bool {
    matches!(ty, Type::Tuple(tuple) if tuple.elems.is_empty())
}

/// A span for code that we write at a place that the user wrote: rustc points there, and offers no fix for what is ours.
pub(crate) fn located_at(tokens: &impl ToTokens) -> Span {
    let span = tokens.to_token_stream().into_iter().last().map_or_else(Span::call_site, |token| token.span());
    Span::call_site().located_at(span)
}

/// Every identifier in the tokens that begins with one of these texts.
pub(crate) fn idents_with(tokens: TokenStream, prefixes: &[&str]) -> Vec<Ident> {
    let mut found = Vec::new();
    for token in tokens {
        match token {
            TokenTree::Ident(ident) if prefixes.iter().any(|prefix| ident.to_string().starts_with(prefix)) => {
                found.push(ident);
            }
            TokenTree::Group(group) => found.extend(idents_with(group.stream(), prefixes)),
            _ => {}
        }
    }
    found
}

/// The derives of the list that the item does not have yet.
pub(crate) fn missing_derives(attributes: &[Attribute], wanted: &[(&str, TokenStream)]) -> Vec<TokenStream> {
    let mut present: Vec<String> = Vec::new();
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("derive")) {
        // What does not parse is rustc's to report.
        let _ = attribute.parse_nested_meta(|meta| {
            present.extend(last_of(&meta.path));
            Ok(())
        });
    }
    wanted.iter().filter(|(name, _)| !present.iter().any(|known| known == name)).map(|(_, path)| path.clone()).collect()
}

fn last_of(path: &Path) -> Option<String> {
    path.segments.last().map(|segment| segment.ident.to_string())
}

/// The name of the service of a feature, at the place of an identifier.
pub(crate) fn service_ident(feature: &str, span: Span) -> Ident {
    format_ident!("{}", Kind::Service.of(feature), span = span)
}
