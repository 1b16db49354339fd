//! SQL's types as ODBC and JDBC know them: names, sizes, literals, conversions.

use std::collections::HashMap;

use arrow::datatypes::{DataType, TimeUnit};
use arrow_flight::error::Result;
use arrow_flight::sql::metadata::{XdbcTypeInfo, XdbcTypeInfoData, XdbcTypeInfoDataBuilder};
use arrow_flight::sql::{Nullable, Searchable, SqlSupportsConvert as Convert, XdbcDataType, XdbcDatetimeSubcode};

/// The SQL name of a column's type.
pub(super) fn type_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Boolean => "BOOLEAN".to_owned(),
        DataType::Int8 | DataType::UInt8 => "TINYINT".to_owned(),
        DataType::Int16 | DataType::UInt16 => "SMALLINT".to_owned(),
        DataType::Int32 | DataType::UInt32 => "INTEGER".to_owned(),
        DataType::Int64 | DataType::UInt64 => "BIGINT".to_owned(),
        DataType::Float16 | DataType::Float32 => "REAL".to_owned(),
        DataType::Float64 => "DOUBLE".to_owned(),
        DataType::Decimal32(..) | DataType::Decimal64(..) | DataType::Decimal128(..) | DataType::Decimal256(..) => {
            "DECIMAL".to_owned()
        }
        DataType::Date32 | DataType::Date64 => "DATE".to_owned(),
        DataType::Time32(_) | DataType::Time64(_) => "TIME".to_owned(),
        DataType::Timestamp(_, None) => "TIMESTAMP".to_owned(),
        DataType::Timestamp(_, Some(_)) => "TIMESTAMP WITH TIME ZONE".to_owned(),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "VARCHAR".to_owned(),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => "VARBINARY".to_owned(),
        DataType::FixedSizeBinary(16) => "UUID".to_owned(),
        DataType::FixedSizeBinary(size) => format!("BINARY({size})"),
        DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..) => "ARRAY".to_owned(),
        DataType::Struct(_) => "STRUCT".to_owned(),
        DataType::Map(..) => "MAP".to_owned(),
        DataType::Dictionary(_, values) => type_name(values),
        other => other.to_string().to_uppercase(),
    }
}

/// Digits in all and after the point, for types that have them.
pub(super) fn precision_and_scale(data_type: &DataType) -> Option<(i32, i32)> {
    Some(match data_type {
        DataType::Int8 | DataType::UInt8 => (3, 0),
        DataType::Int16 | DataType::UInt16 => (5, 0),
        DataType::Int32 | DataType::UInt32 => (10, 0),
        DataType::Int64 | DataType::UInt64 => (19, 0),
        DataType::Float16 | DataType::Float32 => (7, 0),
        DataType::Float64 => (15, 0),
        DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale) => {
            (i32::from(*precision), i32::from(*scale))
        }
        // As many characters as the literal has: `2024-02-29 12:00:00.000000`.
        DataType::Timestamp(unit, _) => with_fraction(19, *unit),
        DataType::Time32(unit) | DataType::Time64(unit) => with_fraction(8, *unit),
        _ => return None,
    })
}

/// Characters in all and after the point, of a time that has so many before the point.
fn with_fraction(whole: i32, unit: TimeUnit) -> (i32, i32) {
    match unit {
        TimeUnit::Second => (whole, 0),
        TimeUnit::Millisecond => (whole + 4, 3),
        TimeUnit::Microsecond => (whole + 7, 6),
        TimeUnit::Nanosecond => (whole + 10, 9),
    }
}

/// The types a column of a table may have.
pub(super) fn all() -> Result<XdbcTypeInfoData> {
    use XdbcDataType as Type;
    let mut builder = XdbcTypeInfoDataBuilder::new();
    builder.append(info("BOOLEAN", Type::XdbcBit, 1));
    builder.append(number("INTEGER", Type::XdbcInteger, 10, 10));
    builder.append(number("BIGINT", Type::XdbcBigint, 19, 10));
    builder.append(number("REAL", Type::XdbcReal, 24, 2));
    builder.append(number("DOUBLE", Type::XdbcDouble, 53, 2));
    builder.append(XdbcTypeInfo {
        create_params: Some(vec!["precision".to_owned(), "scale".to_owned()]),
        minimum_scale: Some(0),
        maximum_scale: Some(38),
        ..number("DECIMAL", Type::XdbcDecimal, 38, 10)
    });
    builder.append(text("VARCHAR", Type::XdbcVarchar));
    builder.append(XdbcTypeInfo {
        literal_prefix: Some("X'".to_owned()),
        literal_suffix: Some("'".to_owned()),
        searchable: Searchable::Basic,
        ..info("VARBINARY", Type::XdbcVarbinary, i32::MAX)
    });
    builder.append(info("UUID", Type::XdbcBinary, 16));
    builder.append(moment("DATE", Type::XdbcDate, 10, None, XdbcDatetimeSubcode::XdbcSubcodeYear));
    builder.append(moment("TIME", Type::XdbcTime, 15, Some(6), XdbcDatetimeSubcode::XdbcSubcodeTime));
    builder.append(moment("TIMESTAMP", Type::XdbcTimestamp, 26, Some(6), XdbcDatetimeSubcode::XdbcSubcodeTimestamp));
    builder.append(moment(
        "TIMESTAMP WITH TIME ZONE",
        Type::XdbcTimestamp,
        32,
        Some(6),
        XdbcDatetimeSubcode::XdbcSubcodeTimestampWithTimezone,
    ));
    builder.build()
}

fn info(name: &str, data_type: XdbcDataType, size: i32) -> XdbcTypeInfo {
    XdbcTypeInfo {
        type_name: name.to_owned(),
        local_type_name: Some(name.to_owned()),
        data_type,
        sql_data_type: data_type,
        column_size: Some(size),
        nullable: Nullable::NullabilityNullable,
        searchable: Searchable::Full,
        ..XdbcTypeInfo::default()
    }
}

fn number(name: &str, data_type: XdbcDataType, size: i32, radix: i32) -> XdbcTypeInfo {
    XdbcTypeInfo {
        unsigned_attribute: Some(false),
        auto_increment: Some(false),
        num_prec_radix: Some(radix),
        searchable: Searchable::Basic,
        ..info(name, data_type, size)
    }
}

fn text(name: &str, data_type: XdbcDataType) -> XdbcTypeInfo {
    XdbcTypeInfo {
        literal_prefix: Some("'".to_owned()),
        literal_suffix: Some("'".to_owned()),
        case_sensitive: true,
        ..info(name, data_type, i32::MAX)
    }
}

fn moment(
    name: &str,
    data_type: XdbcDataType,
    size: i32,
    scale: Option<i32>,
    subcode: XdbcDatetimeSubcode,
) -> XdbcTypeInfo {
    XdbcTypeInfo {
        literal_prefix: Some(format!("{name} '")),
        literal_suffix: Some("'".to_owned()),
        minimum_scale: scale.map(|_| 0),
        maximum_scale: scale,
        sql_data_type: XdbcDataType::XdbcDatetime,
        datetime_subcode: Some(subcode),
        searchable: Searchable::Basic,
        ..info(name, data_type, size)
    }
}

/// Which types CAST takes to which (`SqlSupportsConvert` codes).
pub(super) fn conversions() -> HashMap<i32, Vec<i32>> {
    let numbers = [
        Convert::SqlConvertBigint,
        Convert::SqlConvertDecimal,
        Convert::SqlConvertFloat,
        Convert::SqlConvertInteger,
        Convert::SqlConvertNumeric,
        Convert::SqlConvertReal,
        Convert::SqlConvertSmallint,
        Convert::SqlConvertTinyint,
    ];
    let texts = [Convert::SqlConvertChar, Convert::SqlConvertVarchar, Convert::SqlConvertLongvarchar];
    let moments = [Convert::SqlConvertDate, Convert::SqlConvertTime, Convert::SqlConvertTimestamp];
    let codes = |groups: &[&[Convert]]| -> Vec<i32> {
        groups.iter().flat_map(|group| group.iter()).map(|convert| *convert as i32).collect()
    };
    let mut conversions = HashMap::new();
    for from in numbers {
        conversions.insert(from as i32, codes(&[&numbers, &texts, &[Convert::SqlConvertBit]]));
    }
    for from in texts {
        let to: [&[Convert]; 4] = [&numbers, &texts, &moments, &[Convert::SqlConvertBit, Convert::SqlConvertVarbinary]];
        conversions.insert(from as i32, codes(&to));
    }
    conversions.insert(Convert::SqlConvertBit as i32, codes(&[&numbers, &texts]));
    conversions.insert(Convert::SqlConvertDate as i32, codes(&[&texts, &[Convert::SqlConvertTimestamp]]));
    conversions.insert(Convert::SqlConvertTimestamp as i32, codes(&[&texts, &moments]));
    conversions.insert(Convert::SqlConvertTime as i32, codes(&[&texts]));
    conversions.insert(Convert::SqlConvertVarbinary as i32, codes(&[&texts]));
    conversions
}
