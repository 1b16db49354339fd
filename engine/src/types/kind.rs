//! Which values are taken for which types without a CAST: text for everything and everything for text, numbers for
//! numbers, dates and timestamps for each other.

use arrow::datatypes::DataType;
use arrow::error::ArrowError;

/// What a type is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Boolean,
    Number,
    Text,
    Bytes,
    Date,
    Time,
    Timestamp,
}

impl Kind {
    /// None for nested types and intervals.
    pub(crate) fn of(ty: &DataType) -> Option<Self> {
        Some(match ty {
            DataType::Boolean => Self::Boolean,
            ty if ty.is_numeric() => Self::Number,
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Self::Text,
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
                Self::Bytes
            }
            DataType::Date32 | DataType::Date64 => Self::Date,
            DataType::Time32(_) | DataType::Time64(_) => Self::Time,
            DataType::Timestamp(..) => Self::Timestamp,
            _ => return None,
        })
    }

    /// Whether values of the one are values of the other without a CAST.
    pub(crate) fn converts_to(self, to: Self) -> bool {
        self == to
            || self == Self::Text
            || to == Self::Text
            || matches!((self, to), (Self::Date, Self::Timestamp) | (Self::Timestamp, Self::Date))
    }
}

/// The message without arrow's name for the kind of error.
pub(crate) fn plain_message(error: ArrowError) -> String {
    match error {
        ArrowError::CastError(message)
        | ArrowError::ComputeError(message)
        | ArrowError::InvalidArgumentError(message)
        | ArrowError::ParseError(message)
        | ArrowError::ArithmeticOverflow(message) => message,
        other => other.to_string(),
    }
}
