//! The identity of an order.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// The maximum length of an id in characters, as JSON Schema counts them.
const LONGEST: usize = 128;

/// The identity of an order: 1 to 128 characters without control characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct OrderId(String);

/// The error for a text that is not an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an order id has 1 to {LONGEST} characters and no control characters")]
pub struct NoOrderId;

impl TryFrom<String> for OrderId {
    type Error = NoOrderId;

    fn try_from(text: String) -> Result<Self, NoOrderId> {
        // Most ids are short enough in bytes, so their characters need not be counted.
        let is_short = text.len() <= LONGEST || text.chars().count() <= LONGEST;
        let fits = !text.is_empty() && is_short && !text.chars().any(char::is_control);
        fits.then_some(Self(text)).ok_or(NoOrderId)
    }
}

impl FromStr for OrderId {
    type Err = NoOrderId;

    fn from_str(text: &str) -> Result<Self, NoOrderId> {
        text.to_owned().try_into()
    }
}

impl From<OrderId> for String {
    fn from(id: OrderId) -> Self {
        id.0
    }
}

impl fmt::Display for OrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl OrderId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl JsonSchema for OrderId {
    fn schema_name() -> Cow<'static, str> {
        "OrderId".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "minLength": 1,
            "maxLength": LONGEST,
            "pattern": r"^[^\x00-\x1f\x7f-\x9f]*$",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_short_texts() {
        assert_eq!("order-1".parse().map(|id: OrderId| id.to_string()), Ok("order-1".to_owned()));
        assert!("é".repeat(128).parse::<OrderId>().is_ok());
        for text in ["", "a\nb", "a\0b", "a\u{85}", &"x".repeat(129), &"é".repeat(129)] {
            assert_eq!(text.parse::<OrderId>(), Err(NoOrderId), "{text:?}");
        }
    }
}
