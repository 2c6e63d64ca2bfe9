//! `cfg` conditions as texts: what stands in the parentheses of `#[cfg(…)]`.

use crate::lex;

/// The condition that all of these hold; `None` if there are none.
pub(crate) fn all(conditions: &[String]) -> Option<String> {
    match conditions {
        [] => None,
        [one] => Some(one.clone()),
        several => Some(format!("all({})", several.join(", "))),
    }
}

/// The condition that all of these hold, where `None` always holds.
pub(crate) fn both(one: Option<&String>, other: Option<&String>) -> Option<String> {
    all(&one.into_iter().chain(other).cloned().collect::<Vec<_>>())
}

/// The condition that any of these holds, where `None` always holds.
pub(crate) fn any(conditions: &[Option<String>]) -> Option<String> {
    let conditions = conditions.iter().cloned().collect::<Option<Vec<String>>>()?;
    match conditions.as_slice() {
        [one] => Some(one.clone()),
        several => Some(format!("any({})", several.join(", "))),
    }
}

/// The condition that `one` holds and none of `others`; `None` if that cannot be. Among the conditions, `None` always holds.
#[allow(clippy::option_option, reason = "the inner option is a condition, the outer one says whether there is any")]
pub(crate) fn without(one: Option<&String>, others: &[Option<String>]) -> Option<Option<String>> {
    let nots = others.iter().map(|other| other.as_ref().map(|other| format!("not({other})")));
    let nots = nots.collect::<Option<Vec<String>>>()?;
    Some(all(&one.cloned().into_iter().chain(nots).collect::<Vec<_>>()))
}

/// The condition as an attribute; empty if there is none.
pub(crate) fn attribute(condition: Option<&String>) -> String {
    condition.map(|condition| format!("#[cfg({condition})] ")).unwrap_or_default()
}

pub(crate) fn mentions_test(condition: &str) -> bool {
    lex::lex(condition).tokens.iter().any(|token| token.is("test"))
}
