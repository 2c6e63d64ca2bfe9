//! Amounts of money, exact.

use std::{borrow::Cow, fmt, iter::Sum, ops::Mul, str::FromStr};

use rust_decimal::Decimal;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use serde_json::value::RawValue;

/// The longest text of an amount; 28 digits fit with sign, point and exponent.
const LONGEST: usize = 40;

/// An amount in the currency of its order: a decimal number of up to 28 digits, never a binary float.
///
/// In JSON it is read from a number, by the digits as they stand there, or from a text of such a number, and written as a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Money(Decimal);

/// A text that is no amount, or one that cannot be kept exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not a decimal number of at most 28 digits")]
pub struct NoMoney;

impl Money {
    /// An amount of hundredths: `Money::cents(1250)` is 12.50.
    pub fn cents(cents: u32) -> Self {
        Self(Decimal::new(cents.into(), 2))
    }

    /// Whether it is below zero.
    pub fn is_negative(&self) -> bool {
        self.0 < Decimal::ZERO
    }
}

/// The rule of a schema that an amount is not below zero.
pub fn not_negative<C>(money: &Money, _: &C) -> garde::Result {
    if money.is_negative() { Err(garde::Error::new("is below zero")) } else { Ok(()) }
}

impl FromStr for Money {
    type Err = NoMoney;

    fn from_str(text: &str) -> Result<Self, NoMoney> {
        // Only what JSON calls a number: the library's own parsers take more.
        let number = text.strip_prefix('-').unwrap_or(text);
        let is_number = number.starts_with(|first: char| first.is_ascii_digit())
            && number.ends_with(|last: char| last.is_ascii_digit())
            && number.bytes().all(|byte| byte.is_ascii_digit() || b".eE+-".contains(&byte));
        if !is_number || text.len() > LONGEST {
            return Err(NoMoney);
        }
        let amount = if number.contains(['e', 'E']) {
            Decimal::from_scientific(text).map_err(|_| NoMoney)?
        } else {
            // Refuses what it would have to round.
            Decimal::from_str_exact(text).map_err(|_| NoMoney)?
        };
        Ok(Self(amount))
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Mul<u32> for Money {
    type Output = Self;

    fn mul(self, factor: u32) -> Self {
        Self(self.0.saturating_mul(factor.into()))
    }
}

impl Sum for Money {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        Self(amounts.fold(Decimal::ZERO, |sum, Self(amount)| sum.saturating_add(amount)))
    }
}

impl Serialize for Money {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Money {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // The number as it is written: as a float, 0.1 would be something else already.
        let raw = <&RawValue>::deserialize(deserializer)?.get();
        let text = raw.strip_prefix('"').and_then(|raw| raw.strip_suffix('"')).unwrap_or(raw);
        text.parse().map_err(D::Error::custom)
    }
}

impl JsonSchema for Money {
    fn schema_name() -> Cow<'static, str> {
        "Money".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A decimal number of at most 28 digits, as a number or as text.",
            "anyOf": [
                {"type": "number", "minimum": 0},
                {"type": "string", "pattern": "^[0-9]+(\\.[0-9]+)?([eE][+-]?[0-9]+)?$"},
            ],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn money(json: &str) -> Result<String, String> {
        serde_json::from_str(json).map(|money: Money| money.to_string()).map_err(|error| error.to_string())
    }

    #[test]
    fn amounts_are_what_is_written() {
        for (json, amount) in [
            ("0.1", "0.1"),
            ("\"0.10\"", "0.10"),
            ("25.0", "25.0"),
            ("4", "4"),
            ("1e3", "1000"),
            ("1.5E-3", "0.0015"),
            ("9007199254740993", "9007199254740993"),
            ("1234567890123456789.01", "1234567890123456789.01"),
            ("-1", "-1"),
        ] {
            assert_eq!(money(json).as_deref(), Ok(amount), "{json}");
        }
    }

    #[test]
    fn sums_are_exact() {
        let sum: Money = ["0.1", "0.2"].iter().map(|text| text.parse::<Money>().unwrap()).sum();
        assert_eq!(Ok(sum), "0.3".parse());
        assert_eq!(Money::cents(1250) * 3, "37.5".parse().unwrap());
    }

    #[test]
    fn what_would_be_rounded_or_is_no_number_is_refused() {
        let long = format!("\"0.{}\"", "1".repeat(30));
        let bad = [
            &long,
            "\"\"",
            "\"ten\"",
            "\"1_000\"",
            "\" 1\"",
            "null",
            "true",
            "\"1.\"",
            "\"+1\"",
            "1e999",
            "\"0x10\"",
            "{}",
        ];
        for json in bad {
            assert!(money(json).is_err(), "{json}: {:?}", money(json));
        }
    }

    #[test]
    fn amounts_are_written_as_text() {
        assert_eq!(serde_json::to_string(&Money::cents(1250)).unwrap(), "\"12.50\"");
    }
}
