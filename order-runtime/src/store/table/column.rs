//! How a field becomes the cell of a column, and a cell a field.

use std::{borrow::Cow, error::Error, fmt, str::FromStr, sync::Arc};

use jiff::Timestamp;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// How the values of a column are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ColumnKind {
    /// Text.
    Text,
    /// An integer of 64 bits.
    Integer,
    /// A truth value.
    Boolean,
    /// A floating-point number of 64 bits.
    Real,
    /// A decimal number of any precision: `numeric` in PostgreSQL, text in SQLite.
    Decimal,
    /// A JSON document: `jsonb` in PostgreSQL, text in SQLite.
    Json,
    /// A time with a resolution of microseconds: `timestamptz` in PostgreSQL, microseconds since the epoch in SQLite.
    Time,
    /// Bytes.
    Bytes,
}

impl ColumnKind {
    /// Whether a page can be filtered by such a column: its values are compared with the text of a query parameter.
    pub const fn is_filter(self) -> bool {
        matches!(self, Self::Text | Self::Integer | Self::Boolean)
    }

    /// The cell of a query parameter; `None` if no row can have this value.
    pub(crate) fn parse(self, text: &str) -> Option<Cell<'_>> {
        match self {
            Self::Integer => text.parse().ok().map(Cell::Integer),
            Self::Boolean => text.parse().ok().map(Cell::Boolean),
            _ => Some(Cell::Text(text.into())),
        }
    }
}

/// One value of a row.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell<'a> {
    /// No value.
    Null,
    /// The value of a text, decimal or JSON column.
    Text(Cow<'a, str>),
    /// The value of an integer column.
    Integer(i64),
    /// The value of a boolean column.
    Boolean(bool),
    /// The value of a floating-point column.
    Real(f64),
    /// The value of a time column.
    Time(Timestamp),
    /// The value of a byte column.
    Bytes(Cow<'a, [u8]>),
}

/// A row that was read.
pub trait Cells {
    /// The cell at this index, which is of this kind.
    ///
    /// # Errors
    /// When the row has no such cell, or it has another type.
    fn cell(&self, index: usize, kind: ColumnKind) -> Result<Cell<'_>, ColumnError>;
}

/// Why a value does not fit its column, or a cell its field.
#[derive(Debug)]
pub struct ColumnError {
    column: Option<&'static str>,
    cause: Box<dyn Error + Send + Sync>,
}

impl ColumnError {
    /// The error with this cause.
    pub fn new(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { column: None, cause: cause.into() }
    }

    /// The error for an index that no column has.
    pub fn no_column(index: usize) -> Self {
        Self::new(format!("there is no column {index}"))
    }

    /// The error of the column with this name.
    #[must_use]
    pub fn of(self, column: &'static str) -> Self {
        Self { column: Some(column), ..self }
    }
}

impl fmt::Display for ColumnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.column {
            Some(column) => write!(f, "column `{column}`: {}", self.cause),
            None => self.cause.fmt(f),
        }
    }
}

impl Error for ColumnError {}

/// A type whose values are stored in a column of their own.
///
/// `#[id]` and `#[values]` implement it. A field of another type says in its `#[column]` how it is stored: as `json`, or by its
/// `Display` and `FromStr` as `text` or `decimal`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not the value of a column",
    label = "no column can hold it as it is",
    note = "write `#[column(json)]` above the field if `{Self}` implements Serialize and Deserialize, `#[column(text)]` or \
            `#[column(decimal)]` if it implements Display and FromStr; a type of your own can be an `#[id]` or `#[values]`"
)]
pub trait ColumnValue: Sized {
    /// How values are stored.
    const KIND: ColumnKind;
    /// Whether there can be no value.
    const OPTIONAL: bool = false;

    /// The cell of this value.
    ///
    /// # Errors
    /// When no cell can hold the value.
    fn cell(&self) -> Result<Cell<'_>, ColumnError>;

    /// The value of a cell.
    ///
    /// # Errors
    /// When the cell is no such value.
    fn from_cell(cell: Cell<'_>) -> Result<Self, ColumnError>;
}

/// How the values of a field are stored; a marker that the expansion of `#[entity]` chooses by the field's `#[column]`.
pub trait Codec<T> {
    /// How values are stored.
    const KIND: ColumnKind;
    /// Whether there can be no value.
    const OPTIONAL: bool = false;

    /// The cell of a value.
    ///
    /// # Errors
    /// When no cell can hold the value.
    fn cell(value: &T) -> Result<Cell<'_>, ColumnError>;

    /// The value of a cell.
    ///
    /// # Errors
    /// When the cell is no such value.
    fn value(cell: Cell<'_>) -> Result<T, ColumnError>;
}

/// Values are stored as their [`ColumnValue`] says.
#[derive(Debug)]
pub enum Own {}

impl<T: ColumnValue> Codec<T> for Own {
    const KIND: ColumnKind = T::KIND;
    const OPTIONAL: bool = T::OPTIONAL;

    fn cell(value: &T) -> Result<Cell<'_>, ColumnError> {
        value.cell()
    }

    fn value(cell: Cell<'_>) -> Result<T, ColumnError> {
        T::from_cell(cell)
    }
}

/// Values are stored as JSON documents.
#[derive(Debug)]
pub enum AsJson {}

impl<T: Serialize + DeserializeOwned> Codec<T> for AsJson {
    const KIND: ColumnKind = ColumnKind::Json;

    fn cell(value: &T) -> Result<Cell<'_>, ColumnError> {
        serde_json::to_string(value).map(|text| Cell::Text(text.into())).map_err(ColumnError::new)
    }

    fn value(cell: Cell<'_>) -> Result<T, ColumnError> {
        serde_json::from_str(&text(cell)?).map_err(ColumnError::new)
    }
}

/// Values are stored as the text of their `Display`, and read by their `FromStr`.
#[derive(Debug)]
pub enum AsText {}

/// Values are stored as the decimal number of their `Display`, and read by their `FromStr`.
#[derive(Debug)]
pub enum AsDecimal {}

macro_rules! as_displayed {
    ($codec:ident, $kind:ident) => {
        impl<T: fmt::Display + FromStr<Err: Error + Send + Sync + 'static>> Codec<T> for $codec {
            const KIND: ColumnKind = ColumnKind::$kind;

            fn cell(value: &T) -> Result<Cell<'_>, ColumnError> {
                Ok(Cell::Text(value.to_string().into()))
            }

            fn value(cell: Cell<'_>) -> Result<T, ColumnError> {
                text(cell)?.parse().map_err(ColumnError::new)
            }
        }
    };
}
as_displayed!(AsText, Text);
as_displayed!(AsDecimal, Decimal);

/// Values are options of values that another codec stores.
#[derive(Debug)]
pub struct Optional<C>(std::marker::PhantomData<C>);

impl<T, C: Codec<T>> Codec<Option<T>> for Optional<C> {
    const KIND: ColumnKind = C::KIND;
    const OPTIONAL: bool = true;

    fn cell(value: &Option<T>) -> Result<Cell<'_>, ColumnError> {
        value.as_ref().map_or(Ok(Cell::Null), C::cell)
    }

    fn value(cell: Cell<'_>) -> Result<Option<T>, ColumnError> {
        if cell == Cell::Null { Ok(None) } else { C::value(cell).map(Some) }
    }
}

/// Reads the field of the column at `index`, with the function of its [`Codec`].
///
/// # Errors
/// When its cell is no value of the field.
pub fn read<T, R: Cells>(
    row: &R,
    index: usize,
    kind: ColumnKind,
    value: fn(Cell<'_>) -> Result<T, ColumnError>,
) -> Result<T, ColumnError> {
    row.cell(index, kind).and_then(value)
}

fn text(cell: Cell<'_>) -> Result<Cow<'_, str>, ColumnError> {
    match cell {
        Cell::Text(text) => Ok(text),
        other => Err(unlike(&other, "a text")),
    }
}

fn unlike(found: &Cell<'_>, wanted: &str) -> ColumnError {
    let found = match found {
        Cell::Null => "NULL",
        Cell::Text(_) => "a text",
        Cell::Integer(_) => "an integer",
        Cell::Boolean(_) => "a boolean",
        Cell::Real(_) => "a floating-point number",
        Cell::Time(_) => "a time",
        Cell::Bytes(_) => "bytes",
    };
    ColumnError::new(format!("found {found} instead of {wanted}"))
}

impl<T: ColumnValue> ColumnValue for Option<T> {
    const KIND: ColumnKind = T::KIND;
    const OPTIONAL: bool = true;

    fn cell(&self) -> Result<Cell<'_>, ColumnError> {
        self.as_ref().map_or(Ok(Cell::Null), T::cell)
    }

    fn from_cell(cell: Cell<'_>) -> Result<Self, ColumnError> {
        if cell == Cell::Null { Ok(None) } else { T::from_cell(cell).map(Some) }
    }
}

macro_rules! texts {
    ($($type:ty),*) => { $(
        impl ColumnValue for $type {
            const KIND: ColumnKind = ColumnKind::Text;

            fn cell(&self) -> Result<Cell<'_>, ColumnError> {
                Ok(Cell::Text(Cow::Borrowed(self)))
            }

            fn from_cell(cell: Cell<'_>) -> Result<Self, ColumnError> {
                text(cell).map(|text| text.into_owned().into())
            }
        }
    )* };
}
texts!(String, Arc<str>, Box<str>);

macro_rules! integers {
    ($($type:ty),*) => { $(
        impl ColumnValue for $type {
            const KIND: ColumnKind = ColumnKind::Integer;

            fn cell(&self) -> Result<Cell<'_>, ColumnError> {
                i64::try_from(*self).map(Cell::Integer).map_err(|_| {
                    ColumnError::new(format!("{self} is above {}, the largest integer of a column", i64::MAX))
                })
            }

            fn from_cell(cell: Cell<'_>) -> Result<Self, ColumnError> {
                match cell {
                    Cell::Integer(integer) => integer.try_into().map_err(|_| {
                        ColumnError::new(format!("{integer} is out of the range of {}", stringify!($type)))
                    }),
                    other => Err(unlike(&other, "an integer")),
                }
            }
        }
    )* };
}
integers!(i8, i16, i32, i64, u8, u16, u32, u64);

macro_rules! plain {
    ($($type:ty, $kind:ident, $wanted:literal;)*) => { $(
        impl ColumnValue for $type {
            const KIND: ColumnKind = ColumnKind::$kind;

            fn cell(&self) -> Result<Cell<'_>, ColumnError> {
                Ok(Cell::$kind(*self))
            }

            fn from_cell(cell: Cell<'_>) -> Result<Self, ColumnError> {
                match cell {
                    Cell::$kind(value) => Ok(value),
                    other => Err(unlike(&other, $wanted)),
                }
            }
        }
    )* };
}
plain! {
    bool, Boolean, "a boolean";
    f64, Real, "a floating-point number";
    Timestamp, Time, "a time";
}

impl ColumnValue for Vec<u8> {
    const KIND: ColumnKind = ColumnKind::Bytes;

    fn cell(&self) -> Result<Cell<'_>, ColumnError> {
        Ok(Cell::Bytes(Cow::Borrowed(self)))
    }

    fn from_cell(cell: Cell<'_>) -> Result<Self, ColumnError> {
        match cell {
            Cell::Bytes(bytes) => Ok(bytes.into_owned()),
            other => Err(unlike(&other, "bytes")),
        }
    }
}
