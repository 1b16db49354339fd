//! Divides batches into partitions, and names the partitions' folders.
//!
//! In: a batch in the write schema. Out: pieces that each belong to one partition, with its values. The values are
//! computed by the same functions that SQL's `months(c)` or `bucket(16, c)` call.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::row::{RowConverter, SortField};
use chrono::{DateTime, Datelike, Days, NaiveDate, NaiveTime, SecondsFormat, Timelike};
use iceberg::spec::{
    Literal, PartitionSpecRef, PrimitiveLiteral, PrimitiveType, Schema as IcebergSchema, Struct, StructType, Transform,
    Type,
};
use polynya_udfs::transform;

use super::literal::literal_at;
use crate::{Error, Result};

/// Bytes of a folder's name: what file systems take.
const NAME_BYTES_MAX: usize = 255;
/// Bytes of the names of a partition's folders together: keys of stores have 1,024, with the table's location and the file's name.
const PATH_BYTES_MAX: usize = 640;

/// Divides rows by a partition spec.
#[derive(Debug)]
pub(super) struct Partitioner {
    spec: PartitionSpecRef,
    fields: Vec<PartitionColumn>,
}

/// One partition field.
#[derive(Debug)]
struct PartitionColumn {
    name: String,
    transform: Transform,
    /// Where its source is: the position of a column, then of fields within structs.
    source: Vec<usize>,
    result: PrimitiveType,
}

impl Partitioner {
    /// # Errors
    /// If a transform is not known, or its column is not there or is in a list or map.
    pub(super) fn new(table: &str, spec: &PartitionSpecRef, schema: &IcebergSchema) -> Result<Self> {
        let unsupported = |field: &str, why: &str| {
            Error::unsupported(format!("writing to table {table}"), format!("partition field {field} ({why})"))
        };
        let mut fields = Vec::with_capacity(spec.fields().len());
        for field in spec.fields() {
            let source_field = schema.field_by_id(field.source_id);
            let source = source_path(schema.as_struct(), field.source_id);
            let (Some(source_field), Some(source)) = (source_field, source) else {
                return Err(unsupported(&field.name, "its column is not in the table, or is in a list or map"));
            };
            let result = match field.transform {
                Transform::Unknown => return Err(unsupported(&field.name, "its transform is not known")),
                known => known.result_type(&source_field.field_type),
            };
            let Ok(Type::Primitive(result)) = result else {
                return Err(unsupported(&field.name, "its transform is not defined for its column's type"));
            };
            fields.push(PartitionColumn { name: field.name.clone(), transform: field.transform, source, result });
        }
        Ok(Self { spec: Arc::clone(spec), fields })
    }

    pub(super) fn spec_id(&self) -> i32 {
        self.spec.spec_id()
    }

    /// The pieces of a batch, one for each partition that has rows in it.
    pub(super) fn split(&self, batch: RecordBatch) -> Result<Vec<(Struct, RecordBatch)>> {
        if self.fields.is_empty() {
            return Ok(vec![(Struct::empty(), batch)]);
        }
        let values = self.fields.iter().map(|field| field.values(&batch)).collect::<Result<Vec<_>>>()?;
        let groups = groups(&values)?;
        if groups.len() == 1 {
            return Ok(vec![(self.partition_at(&values, 0)?, batch)]);
        }
        groups
            .into_iter()
            .map(|rows| {
                let partition = self.partition_at(&values, rows[0] as usize)?;
                Ok((partition, take_record_batch(&batch, &UInt32Array::from(rows))?))
            })
            .collect()
    }

    fn partition_at(&self, values: &[ArrayRef], row: usize) -> Result<Struct> {
        let fields = self.fields.iter().zip(values);
        fields.map(|(field, values)| literal_at(values, row, &field.result)).collect()
    }

    /// The folder of a partition, such as `shipdate_month=1994-03`, as the Iceberg libraries name it, but for names that file systems and
    /// stores have no room for: these are cut off. Nobody reads values from them, and files have names of their own.
    pub(super) fn path(&self, partition: &Struct) -> String {
        let name_max = NAME_BYTES_MAX.min(PATH_BYTES_MAX / self.fields.len().max(1)).max(1);
        let parts = self.fields.iter().zip(partition.fields()).map(|(field, value)| {
            let value = value.as_ref().map_or_else(|| "null".to_string(), |value| field.readable(value));
            cut_off(format!("{}={}", url_encoded(&field.name), url_encoded(&value)), name_max)
        });
        parts.collect::<Vec<_>>().join("/")
    }
}

impl PartitionColumn {
    fn values(&self, batch: &RecordBatch) -> Result<ArrayRef> {
        let [column, nested @ ..] = self.source.as_slice() else {
            return Err(Error::Internal(format!("partition field {} has no source", self.name)));
        };
        let mut array = Arc::clone(batch.column(*column));
        for field in nested {
            let parent = array.as_struct();
            let child = Arc::clone(parent.column(*field));
            // A field of a NULL struct is NULL, whatever its own slot holds.
            array = match parent.nulls() {
                Some(nulls) => {
                    let absent = arrow::array::BooleanArray::new(!nulls.inner(), None);
                    arrow::compute::nullif(&child, &absent)?
                }
                None => child,
            };
        }
        Ok(transform::apply(&self.transform, &array)?)
    }

    fn readable(&self, value: &Literal) -> String {
        let Literal::Primitive(value) = value else { return "null".to_string() };
        match (self.transform, value) {
            (Transform::Year, PrimitiveLiteral::Int(years)) => format!("{:04}", 1970 + i64::from(*years)),
            (Transform::Month, PrimitiveLiteral::Int(months)) => {
                let months = i64::from(*months);
                format!("{:04}-{:02}", 1970 + months.div_euclid(12), months.rem_euclid(12) + 1)
            }
            (Transform::Hour, PrimitiveLiteral::Int(hours)) => {
                let hours = i64::from(*hours);
                format!("{}-{:02}", readable_date(hours.div_euclid(24)), hours.rem_euclid(24))
            }
            _ => readable_value(&self.result, value),
        }
    }
}

/// The rows of each combination of values, in order of first appearance.
fn groups(values: &[ArrayRef]) -> Result<Vec<Vec<u32>>> {
    let sort_fields = values.iter().map(|values| SortField::new(values.data_type().clone())).collect();
    let rows = RowConverter::new(sort_fields)?.convert_columns(values)?;
    let mut groups: Vec<Vec<u32>> = Vec::new();
    let mut known: HashMap<&[u8], usize> = HashMap::new();
    let mut previous: Option<(&[u8], usize)> = None;
    for index in 0..rows.num_rows() {
        let key = rows.row(index).data();
        let group = match previous {
            Some((same, group)) if same == key => group,
            _ => *known.entry(key).or_insert_with(|| {
                groups.push(Vec::new());
                groups.len() - 1
            }),
        };
        groups[group].push(index as u32);
        previous = Some((key, group));
    }
    Ok(groups)
}

/// Positions from the top to a field that is reached through structs only.
fn source_path(fields: &StructType, id: i32) -> Option<Vec<usize>> {
    fields.fields().iter().enumerate().find_map(|(position, field)| {
        if field.id == id {
            return Some(vec![position]);
        }
        let Type::Struct(nested) = field.field_type.as_ref() else { return None };
        source_path(nested, id).map(|path| [vec![position], path].concat())
    })
}

fn readable_date(days: i64) -> String {
    let epoch = NaiveDate::default();
    let distance = Days::new(days.unsigned_abs());
    let date = if days < 0 { epoch.checked_sub_days(distance) } else { epoch.checked_add_days(distance) };
    date.map_or_else(|| days.to_string(), |date| format!("{:04}-{:02}-{:02}", date.year(), date.month(), date.day()))
}

fn readable_value(ty: &PrimitiveType, value: &PrimitiveLiteral) -> String {
    match (ty, value) {
        (PrimitiveType::Date, PrimitiveLiteral::Int(days)) => readable_date((*days).into()),
        (PrimitiveType::Time, PrimitiveLiteral::Long(micros)) => {
            let (seconds, rest) = (micros.div_euclid(1_000_000), micros.rem_euclid(1_000_000));
            let time = NaiveTime::from_num_seconds_from_midnight_opt(seconds as u32, rest as u32 * 1000);
            time.map_or_else(
                || micros.to_string(),
                |time| format!("{}.{rest:06}", time.with_nanosecond(0).unwrap_or(time)),
            )
        }
        (PrimitiveType::Timestamp | PrimitiveType::Timestamptz, PrimitiveLiteral::Long(micros)) => {
            let zoned = *ty == PrimitiveType::Timestamptz;
            DateTime::from_timestamp_micros(*micros)
                .map_or_else(|| micros.to_string(), |time| readable_timestamp(time, SecondsFormat::Micros, zoned))
        }
        (PrimitiveType::TimestampNs | PrimitiveType::TimestamptzNs, PrimitiveLiteral::Long(nanos)) => {
            let zoned = *ty == PrimitiveType::TimestamptzNs;
            readable_timestamp(DateTime::from_timestamp_nanos(*nanos), SecondsFormat::Nanos, zoned)
        }
        (PrimitiveType::Decimal { scale, .. }, PrimitiveLiteral::Int128(unscaled)) => decimal(*unscaled, *scale),
        (_, PrimitiveLiteral::Boolean(value)) => value.to_string(),
        (_, PrimitiveLiteral::Int(value)) => value.to_string(),
        (_, PrimitiveLiteral::Long(value)) => value.to_string(),
        (_, PrimitiveLiteral::Float(value)) => float(&value.0.to_string(), &format!("{:e}", value.0), value.0.into()),
        (_, PrimitiveLiteral::Double(value)) => float(&value.0.to_string(), &format!("{:e}", value.0), value.0),
        (_, PrimitiveLiteral::String(value)) => value.clone(),
        (_, PrimitiveLiteral::UInt128(value)) => uuid::Uuid::from_u128(*value).to_string(),
        (_, PrimitiveLiteral::Binary(value)) => base64(value),
        _ => "null".to_string(),
    }
}

fn readable_timestamp(time: DateTime<chrono::Utc>, digits: SecondsFormat, zoned: bool) -> String {
    let text = time.to_rfc3339_opts(digits, false);
    if zoned { text } else { text.trim_end_matches("+00:00").to_string() }
}

fn decimal(unscaled: i128, scale: u32) -> String {
    if scale == 0 {
        return unscaled.to_string();
    }
    let digits = format!("{:0width$}", unscaled.unsigned_abs(), width = scale as usize + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale as usize);
    format!("{}{whole}.{fraction}", if unscaled < 0 { "-" } else { "" })
}

/// As Java writes it: with an exponent if it is small or large, and always with a digit behind the point.
fn float(plain: &str, scientific: &str, value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_string();
    }
    if value.is_infinite() {
        return if value > 0.0 { "Infinity" } else { "-Infinity" }.to_string();
    }
    let is_plain = value == 0.0 || (1e-3..1e7).contains(&value.abs());
    let text = if is_plain { plain } else { scientific };
    let (digits, power) = text.split_once('e').map_or((text, None), |(digits, power)| (digits, Some(power)));
    let point = if digits.contains('.') { "" } else { ".0" };
    let power = power.map_or_else(String::new, |power| format!("E{power}"));
    format!("{digits}{point}{power}")
}

/// A name of so many bytes, without the half of an encoded one.
fn cut_off(mut name: String, bytes_max: usize) -> String {
    if name.len() > bytes_max {
        // It is ASCII. An encoded byte has three letters.
        let half = (bytes_max.saturating_sub(2)..bytes_max).find(|at| name.as_bytes().get(*at) == Some(&b'%'));
        name.truncate(half.unwrap_or(bytes_max));
    }
    name
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().chain([&0, &0]).take(3).fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte));
        for digit in 0..4 {
            let index = (bits >> (18 - 6 * digit) & 63) as usize;
            text.push(if digit <= chunk.len() { char::from(DIGITS[index]) } else { '=' });
        }
    }
    text
}

/// As HTML forms encode: letters, digits and `.-*_` stay, a space is `+`, all else is percent-encoded.
fn url_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'*' | b'_' => encoded.push(char::from(byte)),
            b' ' => encoded.push('+'),
            _ => {
                // Writing to a string cannot fail.
                let _ = write!(encoded, "%{byte:02X}");
            }
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(transform: Transform, result: PrimitiveType) -> PartitionColumn {
        PartitionColumn { name: "c".to_string(), transform, source: vec![0], result }
    }

    #[test]
    fn folders_are_named_as_by_the_iceberg_libraries() {
        let int = |value| Literal::Primitive(PrimitiveLiteral::Int(value));
        let long = |value| Literal::Primitive(PrimitiveLiteral::Long(value));
        for (transform, ty, value, readable) in [
            (Transform::Year, PrimitiveType::Int, int(24), "1994"),
            (Transform::Month, PrimitiveType::Int, int(24 * 12 + 2), "1994-03"),
            (Transform::Month, PrimitiveType::Int, int(-1), "1969-12"),
            (Transform::Day, PrimitiveType::Date, int(-1), "1969-12-31"),
            (Transform::Day, PrimitiveType::Date, int(17_486), "2017-11-16"),
            (Transform::Hour, PrimitiveType::Int, int(-1), "1969-12-31-23"),
            (Transform::Bucket(4), PrimitiveType::Int, int(3), "3"),
            (Transform::Identity, PrimitiveType::Date, int(0), "1970-01-01"),
            (Transform::Identity, PrimitiveType::Timestamp, long(1_510_871_468_000_001), "2017-11-16T22:31:08.000001"),
            (
                Transform::Identity,
                PrimitiveType::Timestamptz,
                long(1_510_871_468_000_000),
                "2017-11-16T22:31:08.000000+00:00",
            ),
            (Transform::Identity, PrimitiveType::Time, long(81_068_000_000), "22:31:08.000000"),
            (
                Transform::Identity,
                PrimitiveType::Decimal { precision: 9, scale: 2 },
                Literal::Primitive(PrimitiveLiteral::Int128(-5)),
                "-0.05",
            ),
            (
                Transform::Identity,
                PrimitiveType::Binary,
                Literal::Primitive(PrimitiveLiteral::Binary(vec![0, 1, 2, 3])),
                "AAECAw==",
            ),
        ] {
            assert_eq!(column(transform, ty).readable(&value), readable);
        }
        for (value, readable) in [
            (1.0, "1.0"),
            (-0.0, "-0.0"),
            (0.001, "0.001"),
            (9_999_999.5, "9999999.5"),
            (1e7, "1.0E7"),
            (-1e300, "-1.0E300"),
            (1.25e-7, "1.25E-7"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Infinity"),
        ] {
            let value = Literal::double(value);
            assert_eq!(column(Transform::Identity, PrimitiveType::Double).readable(&value), readable);
        }
        assert_eq!(column(Transform::Identity, PrimitiveType::Float).readable(&Literal::float(0.1)), "0.1");
        assert_eq!(url_encoded("a b/c=ü.x"), "a+b%2Fc%3D%C3%BC.x");
    }

    #[test]
    fn long_names_are_cut_off_between_letters() {
        for (name, expected) in
            [("abc", "abc"), ("abcde", "abcd"), ("a%20%20", "a%20"), ("ab%20", "ab"), ("abc%20", "abc")]
        {
            assert_eq!(cut_off(name.to_string(), 4), expected);
        }
    }

    #[test]
    fn rows_are_grouped_by_all_values() {
        let first: ArrayRef = Arc::new(arrow::array::Int32Array::from(vec![Some(1), None, Some(1), None, Some(2)]));
        let second: ArrayRef = Arc::new(arrow::array::StringArray::from(vec!["a", "a", "a", "b", "a"]));
        assert_eq!(groups(&[first, second]).expect("grouped"), [vec![0, 2], vec![1], vec![3], vec![4]]);
    }
}
