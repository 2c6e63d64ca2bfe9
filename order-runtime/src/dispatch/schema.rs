//! Typed data of an event: decoding and validation with JSON paths.

use std::fmt;

use garde::Validate;
use serde::de::DeserializeOwned;

/// The data of an event does not fit its schema: every violation that was found, by JSON path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid {
    /// What is wrong and where; never empty.
    pub violations: Vec<Violation>,
}

/// One place of the data that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Violation {
    /// The place in the event's `data`, `$.items[0].quantity` say; `$` is the data itself.
    pub path: String,
    /// What is wrong; never the value itself, which may be personal.
    pub message: String,
}

impl Invalid {
    /// One violation at `path`.
    pub fn at(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { violations: vec![Violation { path: path.into(), message: message.into() }] }
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, violation) in self.violations.iter().enumerate() {
            if index > 0 {
                f.write_str("; ")?;
            }
            write!(f, "{}: {}", violation.path, violation.message)?;
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

/// What the `decode` of a `#[schema]` calls. `names` maps the schema's own Rust field names to their JSON names where these differ from
/// the field in camelCase.
///
/// # Errors
/// [`Invalid`] names each violation by its JSON path.
pub fn decode_data<T>(json: &str, names: &[(&str, &str)]) -> Result<T, Invalid>
where
    T: DeserializeOwned + Validate<Context = ()>,
{
    todo!()
}
