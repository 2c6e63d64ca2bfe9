//! `problem!`, which reports what the scan of a domain's files has found.

use proc_macro2::TokenStream;
use syn::{
    LitStr,
    parse::{Parse, ParseStream},
};

/// `"crate/src" "events/x.rs:1:1" "the problem" "the fix"`; the first text has the span of `dispatcher!(…)`.
struct Problem {
    folder: LitStr,
    place: LitStr,
    text: LitStr,
    help: LitStr,
}

impl Parse for Problem {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        Ok(Self { folder: input.parse()?, place: input.parse()?, text: input.parse()?, help: input.parse()? })
    }
}

/// A compile error at `dispatcher!(…)` that names the place, because a macro can give no span of another file.
pub(crate) fn expand(tokens: TokenStream) -> TokenStream {
    match syn::parse2(tokens) {
        Ok(Problem { folder, place, text, help }) => {
            let text = format!("{}\nhelp: {}\n--> {}/{}", text.value(), help.value(), folder.value(), place.value());
            syn::Error::new(folder.span(), text).to_compile_error()
        }
        Err(error) => error.to_compile_error(),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_problem_names_its_place_as_rustc_does() {
        let tokens = "\"shop/src\" \"events/x.rs:3:14\" \"it is wrong\" \"mend it\"".parse().expect("it lexes");
        let expanded = super::expand(tokens).to_string();
        assert!(expanded.contains("it is wrong\\nhelp: mend it\\n--> shop/src/events/x.rs:3:14"), "{expanded}");
    }
}
