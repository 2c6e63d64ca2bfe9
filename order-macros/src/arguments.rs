//! The arguments of `#[event_processor]`: the event and its retry policy.

use std::time::Duration;

use proc_macro2::{Ident, Span, TokenStream};
use quote::quote;
use syn::{
    Expr, ExprLit, Lit, LitStr, Token,
    parse::{Parse, ParseStream},
    punctuated::Punctuated,
};

use crate::{errors::Errors, names};

/// The upper limit of `timeout`. It is short because later events of the key wait during an attempt.
const LONGEST_TIMEOUT: Duration = Duration::from_mins(5);
/// The upper limit of all attempts and delays together. Later events of the key wait meanwhile, so a longer failure is left to an
/// operator.
const LONGEST_BUDGET: Duration = Duration::from_hours(168);
/// The defaults of `order_runtime::registry::RetryPolicy`.
const DEFAULT_RETRIES: u32 = 12;
const DEFAULT_BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

const KNOWN: &str = "version, retries, backoff, timeout, on_exhausted";

/// The parsed arguments, unchecked.
struct Written {
    event: Option<LitStr>,
    pairs: Punctuated<Pair, Token![,]>,
}

struct Pair {
    name: Ident,
    value: Expr,
}

impl Parse for Written {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        if input.peek(syn::Ident) && !input.peek2(Token![=]) {
            let event: Ident = input.parse()?;
            return Err(syn::Error::new(event.span(), format_args!("the event is a string: write `\"{event}\"`")));
        }
        let event = input.peek(LitStr).then(|| input.parse()).transpose()?;
        if event.is_some() && !input.is_empty() {
            input.parse::<Token![,]>()?;
        }
        Ok(Self { event, pairs: Punctuated::parse_terminated(input)? })
    }
}

impl Parse for Pair {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let name: Ident = input.parse()?;
        if !input.peek(Token![=]) {
            return Err(syn::Error::new(name.span(), format_args!("`{name}` has no value")));
        }
        input.parse::<Token![=]>()?;
        Ok(Self { name, value: input.parse()? })
    }
}

/// The checked arguments.
#[derive(Default)]
pub(crate) struct Arguments {
    /// The event; `None` if it is missing or the arguments could not be parsed.
    pub(crate) event: Option<LitStr>,
    pub(crate) version: Option<u32>,
    retries: Option<u32>,
    backoff: Option<(Duration, Duration)>,
    timeout: Option<Duration>,
    on_exhausted: Option<Ident>,
}

impl Arguments {
    /// Parses and checks the tokens in the attribute's parentheses.
    pub(crate) fn check(tokens: TokenStream, errors: &mut Errors) -> Self {
        let written: Written = match syn::parse2(tokens) {
            Ok(written) => written,
            Err(error) => {
                errors.at_span(
                    error.span(),
                    format_args!("the arguments of `#[event_processor]` cannot be read: {error}"),
                    "write `#[event_processor(\"OrderCreated\", retries = 4, backoff = \"50ms..2s\")]`, with the event first",
                );
                return Self::default();
            }
        };
        if written.event.is_none() {
            errors.at_span(
                Span::call_site(),
                "`#[event_processor]` does not say which event it handles",
                "name the event first: `#[event_processor(\"OrderCreated\")]`",
            );
        }
        let mut arguments = Self { event: written.event, ..Self::default() };
        arguments.check_event(errors);
        let mut seen: Vec<String> = Vec::new();
        for pair in &written.pairs {
            let name = pair.name.to_string();
            if seen.contains(&name) {
                errors.at(&pair.name, format_args!("`{name}` is given twice"), "keep one of the two");
                continue;
            }
            arguments.take(pair, &name, errors);
            seen.push(name);
        }
        arguments.check_budget(&written.pairs, errors);
        arguments
    }

    /// The event's name in UpperCamelCase, corrected if necessary; `None` if no name can be derived.
    pub(crate) fn corrected_event(&self) -> Option<String> {
        let event = self.event.as_ref()?.value();
        if names::is_upper_camel(&event) { Some(event) } else { names::event(&event) }
    }

    fn check_event(&self, errors: &mut Errors) {
        let Some(event) = &self.event else { return };
        let name = event.value();
        if !names::is_upper_camel(&name) {
            errors.at(
                event,
                format_args!("the event `{name}` must be named in UpperCamelCase"),
                match names::event(&name) {
                    Some(right) => format!("rename it to `{right}`"),
                    None => "name it after the fact, for example `OrderPaid`; a processor handles one event".to_owned(),
                },
            );
        }
    }

    fn take(&mut self, pair: &Pair, name: &str, errors: &mut Errors) {
        match name {
            "version" => self.version = number(pair, 1, errors),
            "retries" => self.retries = number(pair, 0, errors),
            "backoff" => {
                let example = "write a range such as `\"100ms..30s\"`";
                self.backoff = text(pair, example, errors).and_then(|literal| range(&literal, errors));
            }
            "timeout" => {
                let example = "write a duration such as `\"5s\"`";
                self.timeout = text(pair, example, errors).and_then(|literal| timeout(&literal, errors));
            }
            "on_exhausted" => {
                let example = "write `\"dead_letter\"`, `\"park_key\"` or `\"stop\"`";
                self.on_exhausted = text(pair, example, errors).and_then(|literal| on_exhausted(&literal, errors));
            }
            _ => errors.at(
                &pair.name,
                format_args!("`#[event_processor]` has no argument `{name}`"),
                match nearest(name) {
                    Some(known) => format!("did you mean `{known}`? It takes {KNOWN}"),
                    None => format!("it takes {KNOWN}"),
                },
            ),
        }
    }

    /// Reports arguments that contradict each other, and a retry policy that exceeds [`LONGEST_BUDGET`].
    fn check_budget(&self, pairs: &Punctuated<Pair, Token![,]>, errors: &mut Errors) {
        let written = |name: &str| pairs.iter().find(|pair| pair.name == name);
        if self.retries == Some(0)
            && let Some(backoff) = written("backoff")
        {
            errors.at(
                &backoff.name,
                "`backoff` has no effect with `retries = 0`",
                "remove `backoff`, or allow retries",
            );
            return;
        }
        let retries = self.retries.unwrap_or(DEFAULT_RETRIES);
        let (first, longest) = self.backoff.unwrap_or(DEFAULT_BACKOFF);
        let timeout = self.timeout.unwrap_or(DEFAULT_TIMEOUT);
        let budget = span(retries, first, longest, timeout);
        if budget > LONGEST_BUDGET
            && let Some(pair) = written("retries").or_else(|| written("backoff"))
        {
            errors.at(
                &pair.value,
                format_args!(
                    "all retries together may take {} days, and later events of the key would wait for as long; the most is 7 days",
                    budget.as_secs() / (24 * 3600)
                ),
                "allow fewer retries or a shorter `backoff`; `on_exhausted = \"park_key\"` keeps the event for an operator",
            );
        }
    }

    /// The retry policy as a constant expression.
    pub(crate) fn policy(&self) -> TokenStream {
        let duration = |duration: &Duration| {
            let milliseconds = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
            quote! { ::core::time::Duration::from_millis(#milliseconds) }
        };
        let retries = self.retries.map(|retries| quote! { retries: #retries, });
        let backoff = self.backoff.as_ref().map(|(first, longest)| {
            let (first, longest) = (duration(first), duration(longest));
            quote! { backoff: #first, backoff_max: #longest, }
        });
        let timeout = self.timeout.as_ref().map(duration).map(|timeout| quote! { timeout: #timeout, });
        let on_exhausted = self.on_exhausted.as_ref().map(|choice| quote! { on_exhausted: __p::OnExhausted::#choice, });
        let all = retries.is_some() && backoff.is_some() && timeout.is_some() && on_exhausted.is_some();
        // When every field is given, a `..DEFAULT` would be a Clippy warning in the user's code.
        let rest = (!all).then(|| quote! { ..__p::RetryPolicy::DEFAULT });
        quote! { __p::RetryPolicy { #retries #backoff #timeout #on_exhausted #rest } }
    }
}

/// The longest possible duration of all attempts and delays together.
fn span(retries: u32, first: Duration, longest: Duration, timeout: Duration) -> Duration {
    let mut total = timeout.saturating_mul(retries.saturating_add(1));
    let mut delay = first;
    for retry in 0..retries {
        if delay >= longest {
            return total.saturating_add(longest.saturating_mul(retries - retry));
        }
        total = total.saturating_add(delay);
        delay = delay.saturating_mul(2);
    }
    total
}

fn number(pair: &Pair, least: u32, errors: &mut Errors) -> Option<u32> {
    if let Expr::Lit(ExprLit { lit: Lit::Int(literal), .. }) = &pair.value
        && let Ok(number) = literal.base10_parse::<u32>()
        && number >= least
    {
        return Some(number);
    }
    let name = &pair.name;
    errors.at(
        &pair.value,
        format_args!("`{name}` must be a whole number from {least} on"),
        format_args!("write `{name} = {}`", least.max(1)),
    );
    None
}

fn text(pair: &Pair, example: &str, errors: &mut Errors) -> Option<LitStr> {
    if let Expr::Lit(ExprLit { lit: Lit::Str(literal), .. }) = &pair.value {
        return Some(literal.clone());
    }
    errors.at(&pair.value, format_args!("`{}` must be a string", pair.name), example);
    None
}

fn range(literal: &LitStr, errors: &mut Errors) -> Option<(Duration, Duration)> {
    let written = literal.value();
    let Some((first, longest)) = written.split_once("..") else {
        errors.at(
            literal,
            format_args!("the back-off `{written}` is not a range"),
            "write the first and the longest delay, such as `\"100ms..30s\"`",
        );
        return None;
    };
    let first = duration(literal, first, errors)?;
    let longest = duration(literal, longest, errors)?;
    if first.is_zero() {
        errors.at(
            literal,
            format_args!("the back-off `{written}` begins at zero: a failing event would spin"),
            "begin with at least `1ms`",
        );
        return None;
    }
    if first > longest {
        let turned = written.split_once("..").map(|(a, b)| format!("{b}..{a}")).unwrap_or_default();
        errors.at(
            literal,
            format_args!("the back-off `{written}` descends: its first delay is longer than its longest"),
            format_args!("write `\"{turned}\"`"),
        );
        return None;
    }
    Some((first, longest))
}

fn timeout(literal: &LitStr, errors: &mut Errors) -> Option<Duration> {
    let timeout = duration(literal, &literal.value(), errors)?;
    if timeout.is_zero() || timeout > LONGEST_TIMEOUT {
        errors.at(
            literal,
            format_args!("the timeout `{}` is not between `1ms` and `5m`", literal.value()),
            "choose one between them: later events of the key wait while an attempt runs",
        );
        return None;
    }
    Some(timeout)
}

fn on_exhausted(literal: &LitStr, errors: &mut Errors) -> Option<Ident> {
    let choice = match literal.value().as_str() {
        "dead_letter" => "DeadLetter",
        "park_key" => "ParkKey",
        "stop" => "Stop",
        other => {
            errors.at(
                literal,
                format_args!("`on_exhausted` has no value `{other}`"),
                "choose `\"dead_letter\"`, `\"park_key\"` or `\"stop\"`",
            );
            return None;
        }
    };
    Some(Ident::new(choice, literal.span()))
}

fn duration(literal: &LitStr, written: &str, errors: &mut Errors) -> Option<Duration> {
    let parsed = parse_duration(written.trim());
    if parsed.is_none() {
        errors.at(
            literal,
            format_args!("`{}` is not a duration", written.trim()),
            "write a whole number and its unit: `250ms`, `5s`, `2m` or `1h`",
        );
    }
    parsed
}

fn parse_duration(written: &str) -> Option<Duration> {
    let unit = written.trim_start_matches(|character: char| character.is_ascii_digit());
    let number: u64 = written[..written.len() - unit.len()].parse().ok()?;
    let milliseconds = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    number.checked_mul(milliseconds).map(Duration::from_millis)
}

/// The known argument that is most similar to `name`.
fn nearest(name: &str) -> Option<&'static str> {
    let alike = |known: &&str| {
        let common = name.chars().zip(known.chars()).take_while(|(a, b)| a == b).count();
        common >= 3
    };
    match name {
        "retry" | "attempts" | "max_retries" => Some("retries"),
        "delay" | "back_off" => Some("backoff"),
        _ => KNOWN.split(", ").find(alike),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_number_and_a_unit() {
        for (written, milliseconds) in
            [("250ms", Some(250)), ("5s", Some(5_000)), ("2m", Some(120_000)), ("1h", Some(3_600_000))]
        {
            assert_eq!(parse_duration(written), milliseconds.map(Duration::from_millis), "{written}");
        }
        for written in ["", "5", "s", "-5s", "1.5s", "5 s", "5d", "99999999999999999999s", "18446744073709551615h"] {
            assert_eq!(parse_duration(written), None, "{written}");
        }
    }

    #[test]
    fn a_budget_sums_delays_and_timeouts() {
        let second = Duration::from_secs(1);
        // 1 + 2 + 4 s of delay and four attempts of 1 s.
        assert_eq!(span(3, second, second * 10, second), second * 11);
        assert_eq!(span(3, second, second * 2, second), second * 9);
        assert!(span(u32::MAX, second, second, second) > LONGEST_BUDGET);
    }

    #[test]
    fn the_default_budget_holds() {
        let budget = span(DEFAULT_RETRIES, DEFAULT_BACKOFF.0, DEFAULT_BACKOFF.1, DEFAULT_TIMEOUT);
        assert!(budget < LONGEST_BUDGET);
    }
}
