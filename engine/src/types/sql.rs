//! SQL's type names to Iceberg types, and back.
//!
//! In: the type in a column definition. Out: the Iceberg type. Lengths of `varchar(n)` are accepted and not
//! enforced, because Iceberg strings have none. [`sql_type_name`] writes a type so that parsing it gives the type
//! again: `SHOW CREATE TABLE` relies on it.

use datafusion::sql::sqlparser::ast::{BinaryLength, DataType, ExactNumberInfo, TimezoneInfo};
use datafusion::sql::sqlparser::keywords::{
    ALL_KEYWORDS, ALL_KEYWORDS_INDEX, RESERVED_FOR_COLUMN_ALIAS, RESERVED_FOR_IDENTIFIER, RESERVED_FOR_TABLE_ALIAS,
};
use iceberg::spec::{NestedField, PrimitiveType, Type};

use super::UnsupportedType;

/// The Iceberg type of a SQL type without fields: nested types are put together by the parser of column
/// definitions, which knows their field ids. `column` is what an error calls it.
///
/// # Errors
/// When Iceberg has no such type.
pub fn iceberg_type(ty: &DataType, column: &str) -> Result<PrimitiveType, UnsupportedType> {
    let unsupported = |reason: &str| UnsupportedType {
        column: column.to_string(),
        type_name: ty.to_string(),
        reason: reason.to_string(),
    };
    Ok(match ty {
        DataType::Boolean | DataType::Bool => PrimitiveType::Boolean,
        DataType::TinyInt(_)
        | DataType::SmallInt(_)
        | DataType::MediumInt(_)
        | DataType::Int(_)
        | DataType::Integer(_)
        | DataType::Int2(_)
        | DataType::Int4(_)
        | DataType::Int16
        | DataType::Int32 => PrimitiveType::Int,
        DataType::BigInt(_) | DataType::Int8(_) | DataType::Int64 => PrimitiveType::Long,
        DataType::Real | DataType::Float4 | DataType::Float32 => PrimitiveType::Float,
        DataType::Float(ExactNumberInfo::None) => PrimitiveType::Float,
        DataType::Float(ExactNumberInfo::Precision(bits)) if *bits <= 24 => PrimitiveType::Float,
        DataType::Float(_) | DataType::Float8 | DataType::Float64 | DataType::Double(_) | DataType::DoublePrecision => {
            PrimitiveType::Double
        }
        DataType::Decimal(digits) | DataType::Numeric(digits) | DataType::Dec(digits) => decimal(digits)
            .ok_or_else(|| unsupported("a decimal has 1 to 38 digits, at most that many after the point"))?,
        DataType::Date | DataType::Date32 => PrimitiveType::Date,
        DataType::Time(precision, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => match precision {
            None | Some(0..=6) => PrimitiveType::Time,
            Some(_) => return Err(unsupported("a time has at most microseconds: use time(6)")),
        },
        DataType::Time(..) => return Err(unsupported("Iceberg has no time with a time zone")),
        DataType::Timestamp(precision, zone) => {
            let zoned = matches!(zone, TimezoneInfo::WithTimeZone | TimezoneInfo::Tz);
            timestamp(*precision, zoned).ok_or_else(|| unsupported("a timestamp has at most nanoseconds"))?
        }
        DataType::TimestampNtz(precision) | DataType::Datetime(precision) => {
            timestamp(*precision, false).ok_or_else(|| unsupported("a timestamp has at most nanoseconds"))?
        }
        DataType::Varchar(_)
        | DataType::Nvarchar(_)
        | DataType::Char(_)
        | DataType::Character(_)
        | DataType::CharVarying(_)
        | DataType::CharacterVarying(_)
        | DataType::Text
        | DataType::Clob(_)
        | DataType::String(_) => PrimitiveType::String,
        DataType::Uuid => PrimitiveType::Uuid,
        DataType::Binary(Some(length)) => PrimitiveType::Fixed(*length),
        DataType::Binary(None)
        | DataType::Varbinary(None | Some(BinaryLength::Max | BinaryLength::IntegerLength { .. }))
        | DataType::Bytea
        | DataType::Blob(_)
        | DataType::Bytes(_) => PrimitiveType::Binary,
        DataType::Custom(name, arguments) => named(&name.to_string(), arguments)
            .ok_or_else(|| unsupported("there is no such type; docs/types.md lists the types of columns"))?,
        DataType::TinyIntUnsigned(_)
        | DataType::SmallIntUnsigned(_)
        | DataType::IntUnsigned(_)
        | DataType::IntegerUnsigned(_)
        | DataType::BigIntUnsigned(_)
        | DataType::UInt8
        | DataType::UInt16
        | DataType::UInt32
        | DataType::UInt64 => return Err(unsupported("Iceberg has no unsigned integers: use a wider signed type")),
        _ => return Err(unsupported("docs/types.md lists the types that columns may have")),
    })
}

/// The names that Iceberg has and SQL does not.
fn named(name: &str, arguments: &[String]) -> Option<PrimitiveType> {
    Some(match (name.to_ascii_lowercase().as_str(), arguments) {
        ("long", []) => PrimitiveType::Long,
        ("timestamp_ns", []) => PrimitiveType::TimestampNs,
        ("timestamptz_ns", []) => PrimitiveType::TimestamptzNs,
        ("fixed", [length]) => PrimitiveType::Fixed(length.parse().ok()?),
        _ => return None,
    })
}

fn decimal(digits: &ExactNumberInfo) -> Option<PrimitiveType> {
    let (precision, scale) = match *digits {
        // What CAST(x AS DECIMAL) means to the engine.
        ExactNumberInfo::None => (38, 10),
        ExactNumberInfo::Precision(precision) => (precision, 0),
        ExactNumberInfo::PrecisionAndScale(precision, scale) => (precision, u64::try_from(scale).ok()?),
    };
    ((1..=38).contains(&precision) && scale <= precision)
        .then_some(PrimitiveType::Decimal { precision: precision as u32, scale: scale as u32 })
}

fn timestamp(precision: Option<u64>, zoned: bool) -> Option<PrimitiveType> {
    match (precision, zoned) {
        (None | Some(0..=6), false) => Some(PrimitiveType::Timestamp),
        (None | Some(0..=6), true) => Some(PrimitiveType::Timestamptz),
        (Some(7..=9), false) => Some(PrimitiveType::TimestampNs),
        (Some(7..=9), true) => Some(PrimitiveType::TimestamptzNs),
        _ => None,
    }
}

/// How SQL writes an Iceberg type, such as `decimal(12, 2)` or `array<struct<a int, b varchar>>`.
pub fn sql_type_name(ty: &Type) -> String {
    match ty {
        Type::Primitive(primitive) => match primitive {
            PrimitiveType::Long => "bigint".to_string(),
            PrimitiveType::String => "varchar".to_string(),
            other => other.to_string(),
        },
        Type::Struct(fields) => {
            let fields: Vec<String> =
                fields.fields().iter().map(|field| format!("{} {}", quoted(&field.name), nested(field))).collect();
            format!("struct<{}>", fields.join(", "))
        }
        Type::List(list) => format!("array<{}>", nested(&list.element_field)),
        Type::Map(map) => format!("map<{}, {}>", sql_type_name(&map.key_field.field_type), nested(&map.value_field)),
    }
}

/// A nested field's type, with its NOT NULL.
fn nested(field: &NestedField) -> String {
    let name = sql_type_name(&field.field_type);
    if field.required { format!("{name} not null") } else { name }
}

/// A name as SQL must write it to mean exactly that name: quoted if it is reserved, or not in plain lower case.
pub(crate) fn quoted(name: &str) -> String {
    let plain = name.starts_with(|first: char| first.is_ascii_lowercase() || first == '_')
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if plain && !is_reserved(name) { name.to_string() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

fn is_reserved(name: &str) -> bool {
    let Ok(position) = ALL_KEYWORDS.binary_search(&name.to_ascii_uppercase().as_str()) else { return false };
    let keyword = ALL_KEYWORDS_INDEX[position];
    [RESERVED_FOR_COLUMN_ALIAS, RESERVED_FOR_TABLE_ALIAS, RESERVED_FOR_IDENTIFIER]
        .iter()
        .any(|reserved| reserved.contains(&keyword))
}
