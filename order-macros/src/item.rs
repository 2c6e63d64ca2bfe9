//! Parsing, checks and code generation that several attributes share.

use proc_macro2::{Group, Ident, Span, TokenStream, TokenTree};
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
    place,
};

/// A function whose body is not parsed, so that only rustc reports an incomplete one.
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

/// Imports the names of the domain. If `dispatcher!()` is missing, the unresolved module's name tells the user the fix.
pub(crate) fn names() -> TokenStream {
    quote! {
        #[allow(unused_imports)]
        use crate::__write_dispatcher_in_lib_rs::*;
    }
}

/// The import of [`names`], if the crate has a `dispatcher!`. Schemas and derives may be in a crate that has none.
pub(crate) fn names_if_any() -> Option<TokenStream> {
    place::has_dispatcher().then(names)
}

/// The import of [`names`] beside a function; empty for a method, because an `impl` cannot contain imports.
pub(crate) fn names_beside(function: &Function) -> TokenStream {
    if function.signature.receiver().is_some() { TokenStream::new() } else { names() }
}

/// Describes the items that an attribute expects, for the report of one that it cannot parse.
pub(crate) struct Unread {
    pub(crate) attribute: &'static str,
    /// The keywords of the items that the attribute can be on.
    pub(crate) keywords: &'static [&'static str],
    pub(crate) stands_on: &'static str,
    pub(crate) example: &'static str,
}

impl Unread {
    /// Whether the attribute imports the names of the domain: entities are pure, and schemas work without a dispatcher.
    fn imports_names(&self) -> bool {
        match self.attribute {
            "entity" | "id" | "values" => false,
            "schema" => place::has_dispatcher(),
            _ => true,
        }
    }

    /// Emits the unchanged item with the names of the domain, so that the rest of the file compiles, and reports the problem.
    ///
    /// An item of the right kind is incomplete, and rustc reports that better than the macro. If rustc accepts the item, a panic
    /// during constant evaluation fails the build, because an item must not be left out silently. That panic comes after all
    /// other errors.
    pub(crate) fn report(&self, tokens: &TokenStream, error: &syn::Error, errors: Errors) -> TokenStream {
        let names = self.imports_names().then(names);
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
        self.misplaced(&quote! { #tokens #names }, errors)
    }

    /// Emits the unchanged item and reports that the attribute stands on something else.
    pub(crate) fn misplaced(&self, tokens: &TokenStream, mut errors: Errors) -> TokenStream {
        errors.at(
            tokens.clone().into_iter().next(),
            format_args!("`#[{}]` stands on {}", self.attribute, self.stands_on),
            format_args!("write it above `{}`", self.example),
        );
        let errors = errors.into_tokens();
        let tokens = without(tokens, &["key", "column", "value"]);
        quote! { #tokens #errors }
    }
}

/// The tokens without these attributes, which rustc does not know.
pub(crate) fn without(tokens: &TokenStream, attributes: &[&str]) -> TokenStream {
    let is_one = |token: &TokenTree| match token {
        TokenTree::Group(group) => {
            matches!(group.stream().into_iter().next(), Some(TokenTree::Ident(name)) if attributes.iter().any(|known| name == known))
        }
        _ => false,
    };
    let mut kept = TokenStream::new();
    let mut rest = tokens.clone().into_iter().peekable();
    while let Some(token) = rest.next() {
        match &token {
            TokenTree::Punct(punct) if punct.as_char() == '#' && rest.peek().is_some_and(is_one) => {
                rest.next();
            }
            TokenTree::Group(group) => {
                let mut inner = Group::new(group.delimiter(), without(&group.stream(), attributes));
                inner.set_span(group.span());
                kept.extend([TokenTree::Group(inner)]);
            }
            _ => kept.extend([token]),
        }
    }
    kept
}

/// The keyword of an item's kind: the first word after its attributes, visibility and qualifiers.
fn keyword(tokens: &TokenStream) -> String {
    const BEFORE: [&str; 7] = ["pub", "async", "unsafe", "const", "extern", "default", "auto"];
    let words = tokens.clone().into_iter().filter_map(|token| match token {
        TokenTree::Ident(ident) => Some(ident.to_string()),
        _ => None,
    });
    words.into_iter().find(|word| !BEFORE.contains(&word.as_str())).unwrap_or_default()
}

/// Wraps generated code in an anonymous constant, so that its names are not visible outside.
pub(crate) fn hidden(content: &TokenStream) -> TokenStream {
    quote! {
        const _: () = {
            use ::order_runtime::__private as __p;
            #content
        };
    }
}

/// A constant on the crate's marker type. A second declaration of the same name is a compile error that shows both places.
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

/// An expression for the place where the item is declared.
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

/// Reports arguments of an attribute that takes none.
pub(crate) fn no_arguments(arguments: &TokenStream, attribute: &str, errors: &mut Errors) {
    if !arguments.is_empty() {
        errors.at(
            arguments,
            format_args!("`#[{attribute}]` takes no arguments"),
            format_args!("write `#[{attribute}]`"),
        );
    }
}

/// Reports a wrong name at its identifier.
pub(crate) fn misnamed(ident: &Ident, wrong: &Misnamed, errors: &mut Errors) {
    errors.at(ident, wrong, format_args!("rename it to `{}`", wrong.suggestion));
}

/// Reports a function that is not async, or that is qualified, generic or variadic.
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

/// A span for generated code that points to the user's tokens. rustc reports errors there, and suggests no changes to the
/// generated code.
pub(crate) fn located_at(tokens: &impl ToTokens) -> Span {
    let span = tokens.to_token_stream().into_iter().last().map_or_else(Span::call_site, |token| token.span());
    Span::call_site().located_at(span)
}

/// All identifiers in the tokens that begin with one of the prefixes.
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

/// The wanted derives that the item does not have yet.
pub(crate) fn missing_derives(attributes: &[Attribute], wanted: &[(&str, TokenStream)]) -> Vec<TokenStream> {
    let mut present: Vec<String> = Vec::new();
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("derive")) {
        // rustc reports attributes that do not parse.
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

/// The name of a feature's service, with the given span.
pub(crate) fn service_ident(feature: &str, span: Span) -> Ident {
    format_ident!("{}", Kind::Service.of(feature), span = span)
}
