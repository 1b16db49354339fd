//! The statistics of one data file that manifests carry: sizes, counts, bounds.
//!
//! In: the Parquet footer that was just written, and the NaN counts taken from the batches. Out: maps by field id.
//! Bounds that are not certain are left out: a reader that trusts a wrong bound loses rows. Fields in lists and maps
//! have counts and no bounds. Specification: <https://iceberg.apache.org/spec/#manifests>.

use std::cmp::Ordering;
use std::collections::HashMap;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Field, Float32Type, Float64Type};
use iceberg::spec::{Datum, PrimitiveLiteral, PrimitiveType, Schema as IcebergSchema, Type};
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};
use parquet::file::statistics::Statistics;

use super::metrics_mode::{MetricsConfig, MetricsMode};
use crate::types::FIELD_ID_KEY;

/// Statistics by field id.
#[derive(Debug, Default)]
pub(super) struct FileMetrics {
    pub(super) column_sizes: HashMap<i32, u64>,
    pub(super) value_counts: HashMap<i32, u64>,
    pub(super) null_value_counts: HashMap<i32, u64>,
    pub(super) nan_value_counts: HashMap<i32, u64>,
    pub(super) lower_bounds: HashMap<i32, Datum>,
    pub(super) upper_bounds: HashMap<i32, Datum>,
}

impl FileMetrics {
    pub(super) fn of(
        footer: &ParquetMetaData,
        schema: &IcebergSchema,
        nan_counts: &HashMap<i32, u64>,
        config: &MetricsConfig,
    ) -> Self {
        let mut metrics = Self::default();
        for (position, column) in footer.file_metadata().schema_descr().columns().iter().enumerate() {
            let info = column.self_type().get_basic_info();
            let Some(field) = info.has_id().then(|| schema.field_by_id(info.id())).flatten() else { continue };
            let chunks: Vec<&ColumnChunkMetaData> =
                footer.row_groups().iter().map(|group| group.column(position)).collect();
            let sum = |of: fn(&ColumnChunkMetaData) -> i64| chunks.iter().map(|chunk| of(chunk).max(0) as u64).sum();
            metrics.column_sizes.insert(field.id, sum(ColumnChunkMetaData::compressed_size));
            let mode = config.mode(field.id);
            if mode == MetricsMode::None {
                continue;
            }
            metrics.value_counts.insert(field.id, sum(ColumnChunkMetaData::num_values));
            let nulls: Option<u64> = chunks.iter().map(|chunk| chunk.statistics()?.null_count_opt()).sum();
            if let Some(nulls) = nulls {
                metrics.null_value_counts.insert(field.id, nulls);
            }
            let Type::Primitive(ty) = field.field_type.as_ref() else { continue };
            if matches!(ty, PrimitiveType::Float | PrimitiveType::Double) {
                metrics.nan_value_counts.insert(field.id, nan_counts.get(&field.id).copied().unwrap_or(0));
            }
            if mode != MetricsMode::Counts && column.max_rep_level() == 0 {
                metrics.add_bounds(field.id, ty, mode, &chunks);
            }
        }
        metrics
    }

    fn add_bounds(&mut self, id: i32, ty: &PrimitiveType, mode: MetricsMode, chunks: &[&ColumnChunkMetaData]) {
        let Some((lower, upper)) = bounds(ty, chunks) else { return };
        let (lower, upper) = match mode {
            MetricsMode::Truncate(length) => (Some(truncated_lower(lower, length)), truncated_upper(upper, length)),
            _ => (Some(lower), Some(upper)),
        };
        if let Some(lower) = lower.and_then(|bound| datum(ty, &bound)) {
            self.lower_bounds.insert(id, lower);
        }
        if let Some(upper) = upper.and_then(|bound| datum(ty, &bound)) {
            self.upper_bounds.insert(id, upper);
        }
    }
}

/// The least and the greatest value over all row groups; none if there is no value, or a row group does not say.
fn bounds(ty: &PrimitiveType, chunks: &[&ColumnChunkMetaData]) -> Option<(PrimitiveLiteral, PrimitiveLiteral)> {
    let mut bounds: Option<(PrimitiveLiteral, PrimitiveLiteral)> = None;
    for chunk in chunks {
        let statistics = chunk.statistics()?;
        let only_nulls = statistics.null_count_opt() == Some(chunk.num_values().max(0) as u64);
        let (Some(min), Some(max)) = (statistics.min_bytes_opt(), statistics.max_bytes_opt()) else {
            // The Parquet writer leaves NaNs out of bounds: a row group of NaNs and NULLs has none.
            if only_nulls || matches!(ty, PrimitiveType::Float | PrimitiveType::Double) {
                continue;
            }
            return None;
        };
        let (min, max) = (from_parquet(ty, statistics, min)?, from_parquet(ty, statistics, max)?);
        bounds = Some(match bounds {
            None => (min, max),
            Some((lower, upper)) => (
                if compare(&min, &lower)? == Ordering::Less { min } else { lower },
                if compare(&max, &upper)? == Ordering::Greater { max } else { upper },
            ),
        });
    }
    bounds
}

fn compare(left: &PrimitiveLiteral, right: &PrimitiveLiteral) -> Option<Ordering> {
    left.partial_cmp(right)
}

/// A bound as the Parquet footer stores it, as a value of an Iceberg type.
fn from_parquet(ty: &PrimitiveType, statistics: &Statistics, bytes: &[u8]) -> Option<PrimitiveLiteral> {
    Some(match (ty, statistics) {
        (PrimitiveType::Boolean, Statistics::Boolean(_)) => PrimitiveLiteral::Boolean(*bytes.first()? != 0),
        (PrimitiveType::Int | PrimitiveType::Date, Statistics::Int32(_)) => {
            PrimitiveLiteral::Int(i32::from_le_bytes(bytes.try_into().ok()?))
        }
        (PrimitiveType::Float, Statistics::Float(_)) => {
            PrimitiveLiteral::Float(f32::from_le_bytes(bytes.try_into().ok()?).into())
        }
        (PrimitiveType::Double, Statistics::Double(_)) => {
            PrimitiveLiteral::Double(f64::from_le_bytes(bytes.try_into().ok()?).into())
        }
        (PrimitiveType::Decimal { .. }, Statistics::Int32(_)) => {
            PrimitiveLiteral::Int128(i32::from_le_bytes(bytes.try_into().ok()?).into())
        }
        (PrimitiveType::Decimal { .. }, Statistics::Int64(_)) => {
            PrimitiveLiteral::Int128(i64::from_le_bytes(bytes.try_into().ok()?).into())
        }
        (PrimitiveType::Decimal { .. }, Statistics::FixedLenByteArray(_)) => {
            PrimitiveLiteral::Int128(from_big_endian(bytes)?)
        }
        (_, Statistics::Int64(_)) => PrimitiveLiteral::Long(i64::from_le_bytes(bytes.try_into().ok()?)),
        (PrimitiveType::String, Statistics::ByteArray(_)) => {
            PrimitiveLiteral::String(std::str::from_utf8(bytes).ok()?.to_string())
        }
        (PrimitiveType::Binary, Statistics::ByteArray(_))
        | (PrimitiveType::Fixed(_), Statistics::FixedLenByteArray(_)) => PrimitiveLiteral::Binary(bytes.to_vec()),
        (PrimitiveType::Uuid, Statistics::FixedLenByteArray(_)) => {
            PrimitiveLiteral::UInt128(u128::from_be_bytes(bytes.try_into().ok()?))
        }
        _ => return None,
    })
}

/// A two's complement number of up to 16 big-endian bytes.
fn from_big_endian(bytes: &[u8]) -> Option<i128> {
    let sign = if *bytes.first()? & 0x80 == 0 { 0 } else { 0xff };
    let mut wide = [sign; 16];
    wide.get_mut(16_usize.checked_sub(bytes.len())?..)?.copy_from_slice(bytes);
    Some(i128::from_be_bytes(wide))
}

/// A bound in the specification's single-value form.
fn datum(ty: &PrimitiveType, value: &PrimitiveLiteral) -> Option<Datum> {
    let bytes = match value {
        PrimitiveLiteral::Boolean(value) => vec![u8::from(*value)],
        PrimitiveLiteral::Int(value) => value.to_le_bytes().to_vec(),
        PrimitiveLiteral::Long(value) => value.to_le_bytes().to_vec(),
        PrimitiveLiteral::Float(value) => value.0.to_le_bytes().to_vec(),
        PrimitiveLiteral::Double(value) => value.0.to_le_bytes().to_vec(),
        PrimitiveLiteral::String(value) => value.as_bytes().to_vec(),
        PrimitiveLiteral::Binary(value) => value.clone(),
        PrimitiveLiteral::Int128(value) => value.to_be_bytes().to_vec(),
        PrimitiveLiteral::UInt128(value) => value.to_be_bytes().to_vec(),
        PrimitiveLiteral::AboveMax | PrimitiveLiteral::BelowMin => return None,
    };
    Datum::try_from_bytes(&bytes, ty.clone()).ok()
}

/// A prefix is never greater than the whole.
fn truncated_lower(bound: PrimitiveLiteral, length: usize) -> PrimitiveLiteral {
    match bound {
        PrimitiveLiteral::String(text) => PrimitiveLiteral::String(text.chars().take(length).collect()),
        PrimitiveLiteral::Binary(bytes) => PrimitiveLiteral::Binary(bytes.into_iter().take(length).collect()),
        other => other,
    }
}

/// A prefix whose last character or byte is raised; none if nothing in it can be raised.
fn truncated_upper(bound: PrimitiveLiteral, length: usize) -> Option<PrimitiveLiteral> {
    Some(match bound {
        PrimitiveLiteral::String(text) if text.chars().nth(length).is_some() => {
            let mut prefix: Vec<char> = text.chars().take(length).collect();
            PrimitiveLiteral::String(loop {
                match next_char(prefix.pop()?) {
                    Some(raised) => break prefix.iter().chain([&raised]).collect(),
                    None => continue,
                }
            })
        }
        PrimitiveLiteral::Binary(bytes) if bytes.len() > length => {
            let mut prefix: Vec<u8> = bytes.into_iter().take(length).collect();
            PrimitiveLiteral::Binary(loop {
                match prefix.pop()? {
                    0xff => continue,
                    last => {
                        prefix.push(last + 1);
                        break prefix;
                    }
                }
            })
        }
        other => other,
    })
}

/// The code point after a character, past the surrogates, which are not characters.
fn next_char(c: char) -> Option<char> {
    match c {
        '\u{d7ff}' => Some('\u{e000}'),
        _ => char::from_u32(u32::from(c) + 1),
    }
}

/// Adds the NaNs of every float and double field, nested ones too.
pub(super) fn count_nans(field: &Field, array: &ArrayRef, counts: &mut HashMap<i32, u64>) {
    let mut add = |nans: usize| {
        if let Some(id) = field.metadata().get(FIELD_ID_KEY).and_then(|id| id.parse().ok()) {
            *counts.entry(id).or_default() += nans as u64;
        }
    };
    match field.data_type() {
        DataType::Float32 => add(array.as_primitive::<Float32Type>().iter().flatten().filter(|v| v.is_nan()).count()),
        DataType::Float64 => add(array.as_primitive::<Float64Type>().iter().flatten().filter(|v| v.is_nan()).count()),
        DataType::Struct(fields) => {
            for (field, column) in fields.iter().zip(array.as_struct().columns()) {
                count_nans(field, column, counts);
            }
        }
        DataType::List(element) => {
            let list = array.as_list::<i32>();
            count_nans(element, &used(list.values(), list.value_offsets()), counts);
        }
        DataType::Map(entries, _) => {
            let map = array.as_map();
            let entry: ArrayRef = std::sync::Arc::new(map.entries().clone());
            count_nans(entries, &used(&entry, map.value_offsets()), counts);
        }
        _ => {}
    }
}

/// The part of a list's values that its offsets reach.
fn used(values: &ArrayRef, offsets: &[i32]) -> ArrayRef {
    let (first, last) = (offsets.first().copied().unwrap_or(0), offsets.last().copied().unwrap_or(0));
    values.slice(first as usize, (last - first) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upper(text: &str, length: usize) -> Option<String> {
        match truncated_upper(PrimitiveLiteral::String(text.to_string()), length)? {
            PrimitiveLiteral::String(text) => Some(text),
            _ => None,
        }
    }

    #[test]
    fn an_upper_bound_is_raised_only_if_it_was_cut() {
        assert_eq!(upper("abc", 3).as_deref(), Some("abc"));
        assert_eq!(upper("abcd", 3).as_deref(), Some("abd"));
        assert_eq!(upper("ab\u{10ffff}d", 3).as_deref(), Some("ac"));
        assert_eq!(upper("\u{10ffff}\u{10ffff}x", 2), None);
        assert_eq!(upper("a\u{d7ff}x", 2).as_deref(), Some("a\u{e000}"));
        let bytes = |bytes: &[u8]| PrimitiveLiteral::Binary(bytes.to_vec());
        assert_eq!(truncated_upper(bytes(&[1, 255, 3]), 2), Some(bytes(&[2])));
        assert_eq!(truncated_upper(bytes(&[255, 255, 3]), 2), None);
        assert_eq!(truncated_lower(bytes(&[1, 2, 3]), 2), bytes(&[1, 2]));
    }

    #[test]
    fn decimals_keep_their_sign() {
        assert_eq!(from_big_endian(&[0xff, 0xfe]), Some(-2));
        assert_eq!(from_big_endian(&[0x00, 0xff]), Some(255));
        assert_eq!(from_big_endian(&[0; 17]), None);
    }
}
