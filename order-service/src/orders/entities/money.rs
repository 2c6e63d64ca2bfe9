//! Exact amounts of money.

use std::{borrow::Cow, fmt, iter::Sum, ops::Mul, str::FromStr};

use rust_decimal::Decimal;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use serde_json::value::RawValue;

/// The maximum number of digits of an amount, as written.
const DIGITS: usize = 28;
/// The largest exponent of an amount in a JSON string. Such an amount has at most [`DIGITS_BEFORE_EXPONENT`] digits on either
/// side of its point, so it never exceeds [`DIGITS`], and the schema's pattern can express the rule.
const EXPONENT: i32 = 18;
const DIGITS_BEFORE_EXPONENT: usize = 9;

/// An amount in the currency of its order: a decimal number of up to 28 digits, never a binary float.
///
/// It is read from a JSON number, digit by digit, or from a string with such a number, and written as a string. An amount that
/// would have to be rounded is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Money(Decimal);

/// The error for a text that is not an amount, or an amount that cannot be stored exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not a decimal number of at most 28 digits")]
pub struct NoMoney;

impl Money {
    /// An amount in hundredths: `Money::cents(1250)` is 12.50.
    pub fn cents(cents: u32) -> Self {
        Self(Decimal::new(cents.into(), 2))
    }

    /// Whether the amount is below zero.
    pub fn is_negative(&self) -> bool {
        self.0 < Decimal::ZERO
    }
}

/// Schema rule: the amount is not below zero.
pub fn not_negative<C>(money: &Money, _: &C) -> garde::Result {
    if money.is_negative() { Err(garde::Error::new("is below zero")) } else { Ok(()) }
}

impl FromStr for Money {
    type Err = NoMoney;

    fn from_str(text: &str) -> Result<Self, NoMoney> {
        Written::of(text).and_then(Written::amount).ok_or(NoMoney)
    }
}

/// The parts of a JSON number; leading zeros are allowed.
#[derive(Debug, Clone, Copy)]
struct Written<'a> {
    /// Sign, digits and point.
    mantissa: &'a str,
    whole: &'a str,
    fraction: &'a str,
    exponent: i32,
    /// The number of digits of the written exponent; 0 if there is none.
    exponent_digits: usize,
}

impl<'a> Written<'a> {
    /// Parses only JSON numbers; the library's own parsers accept more.
    fn of(text: &'a str) -> Option<Self> {
        let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let (mantissa, exponent) =
            text.split_once(['e', 'E']).map_or((text, None), |(mantissa, exponent)| (mantissa, Some(exponent)));
        let number = mantissa.strip_prefix('-').unwrap_or(mantissa);
        let (whole, fraction) = number.split_once('.').map_or((number, None), |(whole, rest)| (whole, Some(rest)));
        let exponent_digits = exponent.map(|text| text.strip_prefix(['+', '-']).unwrap_or(text));
        let fits = is_digits(whole) && fraction.is_none_or(is_digits) && exponent_digits.is_none_or(is_digits);
        fits.then_some(())?;
        let exponent = exponent.map_or(Ok(0), str::parse).ok()?;
        let exponent_digits = exponent_digits.map_or(0, str::len);
        Some(Self { mantissa, whole, fraction: fraction.unwrap_or_default(), exponent, exponent_digits })
    }

    fn digits(self) -> usize {
        self.whole.len() + self.fraction.len()
    }

    /// The amount, if it has no more digits than allowed.
    fn amount(self) -> Option<Money> {
        (self.digits() <= DIGITS).then(|| self.exact().map(Money)).flatten()
    }

    /// The amount, if no digit has to be dropped.
    fn exact(self) -> Option<Decimal> {
        let amount = Decimal::from_str_exact(self.mantissa).ok()?;
        if self.exponent == 0 || amount.is_zero() {
            return Some(amount);
        }
        // Trailing zeros use up scale without changing the value.
        let amount = amount.normalize();
        let scale = i32::try_from(amount.scale()).ok()?.checked_sub(self.exponent)?;
        let (digits, scale) = if scale < 0 {
            let factor = 10_i128.checked_pow(scale.unsigned_abs())?;
            (amount.mantissa().checked_mul(factor)?, 0)
        } else {
            (amount.mantissa(), scale.unsigned_abs())
        };
        // Counts the digits of the written amount: below 1, it has a zero before its point.
        let is_short = digits.unsigned_abs() < 10_u128.pow(u32::try_from(DIGITS).ok()?)
            && usize::try_from(scale).is_ok_and(|scale| scale < DIGITS);
        is_short.then(|| Decimal::try_from_i128_with_scale(digits, scale).ok()).flatten()
    }

    /// Whether the number is allowed in a JSON string, by the same rule as the schema's pattern.
    fn is_text(self) -> bool {
        let most = DIGITS_BEFORE_EXPONENT;
        self.exponent_digits == 0
            || (self.whole.len() <= most
                && self.fraction.len() <= most
                && self.exponent_digits <= 2
                && self.exponent.abs() <= EXPONENT)
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
        // Reads the number as written: as a float, 0.1 would no longer be exact.
        let raw = <&RawValue>::deserialize(deserializer)?.get();
        let Some(text) = raw.strip_prefix('"').and_then(|raw| raw.strip_suffix('"')) else {
            return raw.parse().map_err(D::Error::custom);
        };
        let amount = Written::of(text).filter(|written| written.is_text()).and_then(Written::amount);
        let is_minus_zero = |amount: &Self| amount.0.is_zero() && text.starts_with('-');
        amount.filter(|amount| !is_minus_zero(amount)).ok_or_else(|| D::Error::custom(NoMoney))
    }
}

impl JsonSchema for Money {
    fn schema_name() -> Cow<'static, str> {
        "Money".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let (digits, before, length) = (DIGITS, DIGITS_BEFORE_EXPONENT, DIGITS + 1);
        let plain = format!("[0-9]{{1,{digits}}}|[0-9]+\\.[0-9]+");
        let exponent = format!("[0-9]{{1,{before}}}(\\.[0-9]{{1,{before}}})?[eE][+-]?(0?[0-9]|1[0-8])");
        json_schema!({
            "description": "A decimal number of at most 28 digits, as a string or a number. JSON Schema cannot count the digits of a number: \
                            an amount of more digits is refused, never rounded.",
            "anyOf": [
                {"type": "number", "minimum": 0, "exclusiveMaximum": 1e28},
                {"type": "string", "maxLength": length, "pattern": format!("^({plain}|{exponent})$")},
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
    fn amounts_are_read_digit_by_digit() {
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
            ("2.50e1", "25"),
            ("25.004999e0", "25.004999"),
            ("\"1E+3\"", "1000"),
            ("1e-27", "0.000000000000000000000000001"),
            ("0e99", "0"),
            ("\"007\"", "7"),
        ] {
            assert_eq!(money(json).as_deref(), Ok(amount), "{json}");
            // An accepted amount can be read again from the store.
            assert_eq!(amount.parse::<Money>().map(|read| read.to_string()).as_deref(), Ok(amount), "{json}");
        }
    }

    #[test]
    fn sums_are_exact() {
        let sum: Money = ["0.1", "0.2"].iter().map(|text| text.parse::<Money>().unwrap()).sum();
        assert_eq!(Ok(sum), "0.3".parse());
        assert_eq!(Money::cents(1250) * 3, "37.5".parse().unwrap());
    }

    #[test]
    fn inexact_amounts_and_other_texts_are_refused() {
        let long = format!("\"0.{}\"", "1".repeat(30));
        let bad = [
            &long,
            "25.004999999999999999999999999999e0",
            "1e-28",
            "1.5e-27",
            "25.004999999999999999999999999999",
            "123456789.123456789e-20",
            "1e28",
            "10000000000000000000000000000",
            "\"1e19\"",
            "\"1e-19\"",
            "\"1.1234567890e1\"",
            "\"-0\"",
            "\"1e\"",
            "\"1e+\"",
            "\".5\"",
            "\"1e1.5\"",
            "1e99999999999",
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
