//! One cell: what the answers hold, what a server sends, and when the two agree.

use std::fmt;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Date32Type, Decimal128Type, Float64Type, Int64Type};
use arrow::util::display::array_value_to_string;

/// How far computed numbers may be apart, relative to their size.
const RELATIVE_TOLERANCE: f64 = 1e-9;
/// One unit of a decimal's last digit is allowed in place of a double, but no more than this.
const DECIMAL_TOLERANCE_MAX: f64 = 0.01;

/// A cell's value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// No value.
    Null,
    /// An integer.
    Integer(i128),
    /// A decimal: the digits, and how many of them are behind the point.
    Decimal(i128, u32),
    /// A computed number.
    Double(f64),
    /// A string, a date as `1994-01-01`, or anything else as it is shown.
    Text(String),
}

impl Value {
    /// Reads a stored cell, whose column has this DuckDB type.
    pub(super) fn parse(text: &str, type_name: &str) -> Option<Self> {
        if text.is_empty() {
            return Some(Value::Null);
        }
        Some(match type_name.split('(').next()? {
            "tinyint" | "smallint" | "integer" | "bigint" | "hugeint" => Value::Integer(text.parse().ok()?),
            "double" => Value::Double(text.parse().ok()?),
            "decimal" => {
                let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
                Value::Decimal(format!("{whole}{fraction}").parse().ok()?, u32::try_from(fraction.len()).ok()?)
            }
            "varchar" | "date" => Value::Text(text.to_string()),
            _ => return None,
        })
    }

    /// Whether a server's value agrees with this expected one.
    pub(super) fn accepts(&self, got: &Value) -> bool {
        match (self, got) {
            (Value::Double(expected), got) => got.as_double().is_some_and(|(number, tolerance)| {
                (expected - number).abs() <= tolerance.max(RELATIVE_TOLERANCE * expected.abs().max(number.abs()))
            }),
            (Value::Integer(_) | Value::Decimal(..), Value::Integer(_) | Value::Decimal(..)) => {
                self.same_exact_number(got)
            }
            (expected, got) => expected == got,
        }
    }

    fn same_exact_number(&self, other: &Value) -> bool {
        match (self.without_trailing_zeros(), other.without_trailing_zeros()) {
            (Some(a), Some(b)) => a == b,
            _ => false,
        }
    }

    /// Digits and scale in lowest terms, for exact numbers.
    fn without_trailing_zeros(&self) -> Option<(i128, u32)> {
        let (mut digits, mut scale) = match self {
            Value::Integer(number) => (*number, 0),
            Value::Decimal(digits, scale) => (*digits, *scale),
            _ => return None,
        };
        while scale > 0 && digits % 10 == 0 {
            digits /= 10;
            scale -= 1;
        }
        Some((digits, scale))
    }

    /// The number as a double, and by how much its representation may be off.
    fn as_double(&self) -> Option<(f64, f64)> {
        match self {
            Value::Integer(number) => Some((*number as f64, 0.0)),
            Value::Decimal(digits, scale) => {
                let unit = 10f64.powi(-i32::try_from(*scale).ok()?);
                Some((*digits as f64 * unit, unit.min(DECIMAL_TOLERANCE_MAX)))
            }
            Value::Double(number) => Some((*number, 0.0)),
            Value::Null | Value::Text(_) => None,
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Null => f.write_str("NULL"),
            Value::Integer(number) => write!(f, "{number}"),
            Value::Double(number) => write!(f, "{number}"),
            Value::Text(text) => write!(f, "'{text}'"),
            Value::Decimal(digits, 0) => write!(f, "{digits}"),
            Value::Decimal(digits, scale) => {
                let width = *scale as usize + 1;
                let text = format!("{:0>width$}", digits.unsigned_abs());
                let (whole, fraction) = text.split_at(text.len() - *scale as usize);
                write!(f, "{}{whole}.{fraction}", if *digits < 0 { "-" } else { "" })
            }
        }
    }
}

/// The values of a batch, row by row.
pub(super) fn rows(batch: &RecordBatch) -> Vec<Vec<Value>> {
    let columns: Vec<ArrayRef> = batch.columns().iter().map(canonical).collect();
    (0..batch.num_rows()).map(|row| columns.iter().map(|column| cell(column, row)).collect()).collect()
}

/// The column as one of the few types that [`cell`] reads; a column that cannot be converted stays as it is.
fn canonical(column: &ArrayRef) -> ArrayRef {
    let target = match column.data_type() {
        DataType::Float16 | DataType::Float32 => DataType::Float64,
        DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8,
        DataType::Dictionary(_, value) => (**value).clone(),
        DataType::Decimal32(precision, scale) | DataType::Decimal64(precision, scale) => {
            DataType::Decimal128(*precision, *scale)
        }
        integer if integer.is_integer() => DataType::Int64,
        _ => return column.clone(),
    };
    cast(column, &target).unwrap_or_else(|_| column.clone())
}

fn cell(column: &ArrayRef, row: usize) -> Value {
    if column.is_null(row) {
        return Value::Null;
    }
    match column.data_type() {
        DataType::Int64 => Value::Integer(column.as_primitive::<Int64Type>().value(row).into()),
        DataType::Float64 => Value::Double(column.as_primitive::<Float64Type>().value(row)),
        DataType::Utf8 => Value::Text(column.as_string::<i32>().value(row).to_string()),
        DataType::Decimal128(_, scale) if *scale >= 0 => {
            Value::Decimal(column.as_primitive::<Decimal128Type>().value(row), scale.unsigned_abs().into())
        }
        DataType::Date32 => {
            let date = column.as_primitive::<Date32Type>().value_as_date(row);
            Value::Text(date.map(|date| date.to_string()).unwrap_or_default())
        }
        _ => Value::Text(array_value_to_string(column, row).unwrap_or_else(|error| error.to_string())),
    }
}
