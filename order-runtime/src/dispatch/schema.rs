//! Typed data of an event: decoding and validation with JSON paths.

use std::fmt::{self, Write as _};

use garde::Validate;
use serde::de::{Deserialize, DeserializeOwned, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use crate::decode::whole;

/// The data of an event does not fit its schema: every violation that was found, by JSON path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid {
    /// The violations; never empty.
    pub violations: Vec<Violation>,
}

/// One violation of the schema.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Violation {
    /// The JSON path, such as `$.items[0].quantity`. In the result of a schema, `$` is the event's `data`. In outcomes, dead
    /// letters and over HTTP, `$` is the event, so the same path is `$.data.items[0].quantity`.
    pub path: String,
    /// The broken rule; never the value itself, which may be personal data.
    pub message: String,
}

impl Invalid {
    /// One violation at `path`.
    pub fn at(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { violations: vec![Violation { path: path.into(), message: message.into() }] }
    }

    /// The same violations, with their paths in the whole event.
    pub(crate) fn in_event(mut self) -> Self {
        for violation in &mut self.violations {
            violation.path.insert_str(1, ".data");
        }
        self
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, violation) in self.violations.iter().enumerate() {
            if index > 0 {
                f.write_str("; ")?;
            }
            // `write_str` is faster than `write!`, and this formats every dead letter of invalid data.
            f.write_str(&violation.path)?;
            f.write_str(": ")?;
            f.write_str(&violation.message)?;
        }
        Ok(())
    }
}

impl std::error::Error for Invalid {}

/// The typed data of an event: implemented by `#[schema]`, and by [`Value`](serde_json::Value) for data of any shape.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a schema",
    label = "not declared with `#[schema]`",
    note = "declare it as `#[schema] pub struct INPUT_<Feature> {{ … }}`, or take `Event<Value>` and read `event.data[\"field\"]`"
)]
pub trait Schema: Sized + Send + 'static {
    /// Decodes `json` and applies every rule of the schema.
    ///
    /// # Errors
    /// [`Invalid`] names each violation by its JSON path.
    fn decode(json: &str) -> Result<Self, Invalid>;
}

/// Data of any shape. A repeated name in an object and a number that no JSON number type holds exactly are refused. A plain
/// `Value` would silently take the last one and the nearest number.
impl Schema for serde_json::Value {
    fn decode(json: &str) -> Result<Self, Invalid> {
        serde_json::from_str::<Strict>(json).map(|Strict(value)| value).map_err(|error| Invalid::at("$", what(&error)))
    }
}

/// The implementation of `decode` for a `#[schema]`. `names` maps Rust field names of the schema itself to their JSON names, if
/// these are not the field's name in camelCase.
///
/// # Errors
/// [`Invalid`] names each violation by its JSON path. A value of the wrong type or a missing one ends the decoding, so
/// there is one violation of that kind. Of the rules that a well-typed value breaks, up to 32 are reported.
pub fn decode_data<T>(json: &str, names: &[(&str, &str)]) -> Result<T, Invalid>
where
    T: DeserializeOwned + Validate<Context = ()>,
{
    match serde_json::from_str(json) {
        // A derived `Deserialize` also takes an array for a struct.
        Ok(value) if is_object(json) => valid(value, names),
        Ok(_) | Err(_) => decode_again(json, names),
    }
}

/// Decodes data again that could not be decoded, step by step, to find the path of the error.
fn decode_again<T>(json: &str, names: &[(&str, &str)]) -> Result<T, Invalid>
where
    T: DeserializeOwned + Validate<Context = ()>,
{
    if !is_object(json) {
        return Err(Invalid::at("$", "is not an object"));
    }
    // JSON Schema counts 2.0 and 2e0 as integers, and so do we; serde reads them as floats.
    let rewritten = whole::numbers(json);
    let json = &*rewritten;
    if matches!(rewritten, std::borrow::Cow::Owned(_))
        && let Ok(value) = serde_json::from_str(json)
    {
        return valid(value, names);
    }
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| undecodable(&error))?;
    deserializer.end().map_err(|_| Invalid::at("$", "is followed by something else"))?;
    valid(value, names)
}

/// Formats a value into a string with spare capacity, because a string that grows with each part is allocated several times.
pub(crate) fn shown(what: &impl fmt::Display) -> String {
    let mut text = String::with_capacity(128);
    // Writing to a string does not fail.
    let _ = write!(text, "{what}");
    text
}

/// Whether the text begins with an object, which an event's data has to be.
fn is_object(json: &str) -> bool {
    json.trim_ascii_start().starts_with('{')
}

fn valid<T: Validate<Context = ()>>(value: T, names: &[(&str, &str)]) -> Result<T, Invalid> {
    match value.validate() {
        Ok(()) => Ok(value),
        Err(report) => Err(broken_rules(&report, names)),
    }
}

/// The path and the cause of a decoding error.
fn undecodable(error: &serde_path_to_error::Error<serde_json::Error>) -> Invalid {
    let mut path = String::with_capacity(64);
    path.push('$');
    if error.path().iter().next().is_some() {
        path.push('.');
        // Writing to a string does not fail.
        let _ = write!(path, "{}", error.path());
    }
    let text = shown(error.inner());
    for (complaint, message) in [("missing field `", "is missing"), ("duplicate field `", "occurs twice")] {
        if let Some((field, _)) = text.strip_prefix(complaint).and_then(|rest| rest.split_once('`')) {
            path.push('.');
            path.push_str(field);
            return Invalid::at(path, message);
        }
    }
    Invalid::at(path, what(error.inner()))
}

/// serde's message without the value that it quotes, and without line and column, which refer to an internal text.
fn what(error: &serde_json::Error) -> String {
    let text = shown(error);
    let text = text.rsplit_once(" at line ").map_or(text.as_str(), |(message, _)| message);
    for kind in ["invalid type: ", "invalid value: ", "invalid length "] {
        if let Some(rest) = text.strip_prefix(kind) {
            // `string "…", expected a number`: the first part quotes the value, the second names our type.
            return match rest.rsplit_once(", expected ") {
                Some((found, expected)) => format!("is {}, expected {expected}", shape(found)),
                None => "has the wrong type".to_owned(),
            };
        }
    }
    for (known, said) in [
        ("unknown variant", "is not one of the allowed values"),
        ("duplicate field", "occurs twice"),
        ("number out of range", "is a number out of range"),
    ] {
        if text.starts_with(known) {
            return said.to_owned();
        }
    }
    // The message of a custom `Deserialize` may contain the value. Any other error means that the text is not JSON.
    if error.classify() == serde_json::error::Category::Data { own_words(text) } else { "is not JSON".to_owned() }
}

/// The message of a custom `Deserialize`, cut where a quotation begins, and to 200 bytes.
fn own_words(text: &str) -> String {
    let unquoted = text.split(['"', '`']).next().unwrap_or_default().trim_end_matches([' ', ':']);
    crate::model::cut(unquoted, 200).to_owned()
}

/// The kind of value that serde found, without the value.
fn shape(found: &str) -> &'static str {
    match found.split([' ', '`', ',']).next().unwrap_or_default() {
        "string" => "a string",
        "integer" => "an integer",
        "floating" => "a number with a fraction",
        "boolean" => "a boolean",
        "null" => "null",
        "map" => "an object",
        "sequence" => "an array",
        _ => "something else",
    }
}

/// The most violations that are reported for one event.
const VIOLATIONS: usize = 32;

fn broken_rules(report: &garde::Report, names: &[(&str, &str)]) -> Invalid {
    let violations = report
        .iter()
        .take(VIOLATIONS)
        .map(|(path, error)| Violation { path: json_path(&shown(path), names), message: shown(error) })
        .collect();
    Invalid { violations }
}

/// `items[0].unit_price` as `$.items[0].unitPrice`.
fn json_path(path: &str, names: &[(&str, &str)]) -> String {
    let mut json = String::with_capacity(path.len() + 8);
    json.push('$');
    for (depth, component) in path.split('.').filter(|component| !component.is_empty()).enumerate() {
        let (field, index) = component.split_at(component.find('[').unwrap_or(component.len()));
        if !field.is_empty() {
            json.push('.');
            match names.iter().find(|(rust, _)| depth == 0 && *rust == field) {
                Some((_, name)) => json.push_str(name),
                None => push_camel_case(&mut json, field),
            }
        }
        json.push_str(index);
    }
    json
}

/// `unit_price` as `unitPrice`, as serde's `rename_all = "camelCase"` does it.
fn push_camel_case(json: &mut String, field: &str) {
    let start = json.len();
    let mut upper = false;
    for character in field.strip_prefix("r#").unwrap_or(field).chars() {
        if character == '_' {
            upper = json.len() > start;
        } else if upper {
            json.extend(character.to_uppercase());
            upper = false;
        } else {
            json.push(character);
        }
    }
}

/// A JSON value that refuses repeated names, and numbers that it cannot hold exactly.
struct Strict(serde_json::Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Self)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = serde_json::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Self::Value, E> {
        // serde_json passes a whole number beyond 64 bits as a float; from 2^53 on, floats skip whole numbers.
        const EXACT: f64 = 9_007_199_254_740_992.0;
        if value.fract() == 0.0 && value.abs() > EXACT {
            return Err(E::custom("is a whole number too large to be kept exactly; send it as a string"));
        }
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Self::Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(serde_json::Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
        let mut array = Vec::new();
        while let Some(Strict(element)) = elements.next_element()? {
            array.push(element);
        }
        Ok(array.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut object = serde_json::Map::new();
        while let Some((name, Strict(value))) = members.next_entry::<String, _>()? {
            if object.insert(name, value).is_some() {
                return Err(A::Error::custom("duplicate field"));
            }
        }
        Ok(object.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize, garde::Validate)]
    #[serde(rename_all = "camelCase")]
    #[garde(allow_unvalidated)]
    struct Thing {
        #[garde(length(min = 1))]
        serial_no: String,
        #[serde(rename = "N")]
        #[garde(range(min = 1))]
        count: u32,
        #[serde(default)]
        #[garde(dive)]
        parts: Vec<Part>,
    }

    #[derive(Debug, serde::Deserialize, garde::Validate)]
    #[serde(rename_all = "camelCase")]
    struct Part {
        #[garde(range(min = 0))]
        unit_weight: i32,
    }

    const NAMES: &[(&str, &str)] = &[("count", "N")];

    fn violations(json: &str) -> Vec<(String, String)> {
        let invalid = decode_data::<Thing>(json, NAMES).expect_err("it is invalid");
        assert_eq!(decode_again::<Thing>(json, NAMES).expect_err("it is invalid"), invalid);
        invalid.violations.into_iter().map(|violation| (violation.path, violation.message)).collect()
    }

    #[test]
    fn valid_data_is_decoded_and_unknown_members_are_ignored() {
        let json = r#"{"serialNo":"a","N":1,"parts":[{"unitWeight":3}],"more":[1]}"#;
        for decode in [decode_data, decode_again] {
            let thing: Thing = decode(json, NAMES).expect("it is valid");
            assert_eq!((thing.serial_no.as_str(), thing.count, thing.parts[0].unit_weight), ("a", 1, 3));
        }
    }

    #[test]
    fn whole_numbers_are_integers_however_they_are_written() {
        for count in ["2.0", "2e0", "20E-1", "0.2e1", "2.000000000000000000000000"] {
            let json =
                format!(r#"{{"serialNo":"2.0","N":{count},"parts":[{{"unitWeight":3.0}},{{"unitWeight":-0}}]}}"#);
            let thing: Thing = decode_data(&json, NAMES).unwrap_or_else(|invalid| panic!("{json}: {invalid}"));
            assert_eq!((thing.serial_no.as_str(), thing.count, thing.parts[0].unit_weight), ("2.0", 2, 3));
        }
        for count in ["1.5", "4294967296.0", "1e300", "-2.0", "25e-1"] {
            assert_eq!(violations(&format!(r#"{{"serialNo":"a","N":{count}}}"#))[0].0, "$.N", "{count}");
        }
    }

    #[test]
    fn decoding_errors_name_the_path_without_the_value() {
        for (json, path, message) in [
            (r#"{"N":1}"#, "$.serialNo", "is missing"),
            (r#"{"serialNo":"a","N":"secret"}"#, "$.N", "is a string, expected u32"),
            (r#"{"serialNo":"a","N":-5}"#, "$.N", "is an integer, expected u32"),
            (r#"{"serialNo":"a","N":1.5}"#, "$.N", "is a number with a fraction, expected u32"),
            (r#"{"serialNo":null,"N":1}"#, "$.serialNo", "is null, expected a string"),
            (r#"{"serialNo":"a","N":1,"parts":[{"unitWeight":1},{}]}"#, "$.parts[1].unitWeight", "is missing"),
            (
                r#"{"serialNo":"a","N":1,"parts":[{"unitWeight":{}}]}"#,
                "$.parts[0].unitWeight",
                "is an object, expected i32",
            ),
            (r#"{"serialNo":"a","serialNo":"b","N":1}"#, "$.serialNo", "occurs twice"),
            (r#"["a",1]"#, "$", "is not an object"),
            ("null", "$", "is not an object"),
            (r#"{"serialNo":"a","N":1}{}"#, "$", "is followed by something else"),
        ] {
            assert_eq!(violations(json), [(path.to_owned(), message.to_owned())], "{json}");
        }
    }

    #[test]
    fn every_broken_rule_is_reported_by_its_json_path() {
        let json = r#"{"serialNo":"","N":0,"parts":[{"unitWeight":1},{"unitWeight":-1}]}"#;
        let mut paths: Vec<_> = violations(json).into_iter().map(|(path, _)| path).collect();
        paths.sort();
        assert_eq!(paths, ["$.N", "$.parts[1].unitWeight", "$.serialNo"]);
    }

    #[test]
    fn data_of_any_shape_is_exact() {
        let value = serde_json::Value::decode(r#"{"a":[1,-2,3.5,"x",null,true]}"#).expect("it is JSON");
        assert_eq!(value, serde_json::json!({ "a": [1, -2, 3.5, "x", null, true] }));
        for json in [
            r#"{"a":1,"a":2}"#,
            r#"{"a":18446744073709551616}"#,
            r#"{"a":1e400}"#,
            r#"{"a":NaN}"#,
            r#"{"a":01}"#,
            r#"{"a":1,}"#,
            r#"{"a":"\ud800"}"#,
            "{} {}",
        ] {
            assert!(serde_json::Value::decode(json).is_err(), "{json}");
        }
    }
}
