//! The column types of the files: one letter for each family of types.

use arrow::datatypes::DataType;
use sqllogictest::ColumnType;

/// A family of types, as `query` lines write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Column {
    /// `B`
    Boolean,
    /// `I`: integers of any width.
    Integer,
    /// `R`: floats and decimals.
    Real,
    /// `T`: strings.
    Text,
    /// `D`
    Date,
    /// `P`: times, and timestamps with or without time zone.
    Timestamp,
    /// `?`: everything else (binary, lists, structs, maps, intervals).
    Other,
}

impl Column {
    /// The family of an Arrow type.
    pub fn of(data_type: &DataType) -> Self {
        match data_type {
            DataType::Boolean => Self::Boolean,
            other if other.is_integer() => Self::Integer,
            other if other.is_numeric() => Self::Real,
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Self::Text,
            DataType::Date32 | DataType::Date64 => Self::Date,
            DataType::Timestamp(..) | DataType::Time32(_) | DataType::Time64(_) => Self::Timestamp,
            DataType::Dictionary(_, values) => Self::of(values),
            _ => Self::Other,
        }
    }
}

impl ColumnType for Column {
    fn from_char(value: char) -> Option<Self> {
        Some(match value {
            'B' => Self::Boolean,
            'I' => Self::Integer,
            'R' => Self::Real,
            'T' => Self::Text,
            'D' => Self::Date,
            'P' => Self::Timestamp,
            '?' => Self::Other,
            _ => return None,
        })
    }

    fn to_char(&self) -> char {
        match self {
            Self::Boolean => 'B',
            Self::Integer => 'I',
            Self::Real => 'R',
            Self::Text => 'T',
            Self::Date => 'D',
            Self::Timestamp => 'P',
            Self::Other => '?',
        }
    }
}
