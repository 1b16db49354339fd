//! How Iceberg's types, Arrow's types and SQL's type names correspond.
//!
//! The full table is docs/types.md. Nothing here reads data; values are cast by the scan and by the writer.

mod digits;
mod float_decimals;
mod forms;
mod from_arrow;
mod kind;
mod sql;
mod to_arrow;

pub(crate) use digits::check_digits;
pub(crate) use float_decimals::{becomes_decimal, cast_by_digits};
pub(crate) use forms::{Form, holds_floats, holds_intervals, may_hide};
pub use from_arrow::iceberg_schema;
pub(crate) use kind::{Kind, plain_message};
pub(crate) use sql::quoted;
pub use sql::{iceberg_type, sql_type_name};
pub(crate) use to_arrow::without_ids_below;
pub use to_arrow::{FIELD_ID_KEY, arrow_field, arrow_schema, arrow_type};

/// A type that one side has and the other cannot express.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("column {column} has type {type_name}, which is not supported: {reason}")]
pub struct UnsupportedType {
    /// The column's name, with the path of nested fields, such as `address.zip`.
    pub column: String,
    /// The type, as its own side writes it.
    pub type_name: String,
    /// Why not, or what to use instead.
    pub reason: String,
}

impl From<UnsupportedType> for crate::Error {
    fn from(error: UnsupportedType) -> Self {
        Self::unsupported(format!("column {}", error.column), format!("type {} ({})", error.type_name, error.reason))
    }
}

/// Hands out field ids, from 1. Catalogs assign them again when a table is created; here they only have to differ.
#[derive(Debug, Default)]
pub(crate) struct FieldIds(i32);

impl FieldIds {
    pub(crate) fn next(&mut self) -> i32 {
        self.0 += 1;
        self.0
    }
}
