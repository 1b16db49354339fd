//! What manifests tell the optimiser about a scan: rows, bounds, null counts and widths.
//!
//! Only the row count is exact. Bounds may be loose (truncated strings, partition ranges), so they only steer choices.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, UInt64Array};
use datafusion::arrow::compute::{sum, take};
use datafusion::arrow::datatypes::{DataType, SchemaRef, UInt64Type};
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, ScalarValue, Statistics};

use datafusion_functions_aggregate_common::min_max::{max_batch, min_batch};

use super::containers::promote;
use super::manifest::ManifestColumns;
use super::planning::Selection;

/// Bytes that a text or binary value is taken to have in memory.
const VARIABLE_WIDTH_BYTES: usize = 24;

/// Statistics of all selected files together.
/// Columns outside `wanted` (positions in `schema`) are left unknown.
pub(crate) fn of_selection(selection: &Selection, schema: &SchemaRef, wanted: &BTreeSet<usize>) -> Statistics {
    let rows: u64 = selection.files().map(|file| file.rows).sum();
    let rows = usize::try_from(rows).unwrap_or(usize::MAX);
    let column_statistics: Vec<ColumnStatistics> = schema
        .fields()
        .iter()
        .enumerate()
        .map(|(position, field)| {
            let id = super::field_id(field).filter(|_| wanted.contains(&position));
            let merged = id.map_or_else(ColumnStatistics::new_unknown, |id| merge(selection, id, field.data_type()));
            let width = field.data_type().primitive_width().unwrap_or(VARIABLE_WIDTH_BYTES);
            ColumnStatistics { byte_size: Precision::Inexact(rows.saturating_mul(width)), ..merged }
        })
        .collect();
    let bytes = column_statistics.iter().filter_map(|column| column.byte_size.get_value()).sum();
    Statistics { num_rows: Precision::Exact(rows), total_byte_size: Precision::Inexact(bytes), column_statistics }
}

/// Statistics of one file, for filters that arrive while the query runs to skip it by.
pub(crate) fn of_file(
    manifest: &ManifestColumns,
    position: usize,
    schema: &SchemaRef,
    wanted: &BTreeSet<usize>,
) -> Arc<Statistics> {
    let column_statistics = schema.fields().iter().enumerate().map(|(column_position, field)| {
        let id = super::field_id(field).filter(|_| wanted.contains(&column_position));
        id.map_or_else(ColumnStatistics::new_unknown, |id| column(manifest, position, id, field.data_type()))
    });
    Arc::new(Statistics {
        num_rows: Precision::Exact(manifest.files[position].rows as usize),
        total_byte_size: Precision::Absent,
        column_statistics: column_statistics.collect(),
    })
}

fn column(manifest: &ManifestColumns, position: usize, id: i32, data_type: &DataType) -> ColumnStatistics {
    let Some(bounds) = manifest.statistics.columns.get(&id) else { return ColumnStatistics::new_unknown() };
    let value = |array: &Option<ArrayRef>| {
        let promoted = promote(&array.as_ref()?.slice(position, 1), data_type)?;
        let scalar = ScalarValue::try_from_array(&promoted, 0).ok()?;
        (!scalar.is_null()).then_some(scalar)
    };
    let precision = |scalar: Option<ScalarValue>| scalar.map_or(Precision::Absent, Precision::Inexact);
    let nulls =
        bounds.null_counts.as_ref().filter(|counts| counts.is_valid(position)).map(|counts| counts.value(position));
    ColumnStatistics {
        null_count: nulls.map_or(Precision::Absent, |nulls| Precision::Inexact(nulls as usize)),
        min_value: precision(value(&bounds.lower)),
        max_value: precision(value(&bounds.upper)),
        ..ColumnStatistics::new_unknown()
    }
}

/// Bounds and null counts over all selected files; absent as soon as one file does not tell.
fn merge(selection: &Selection, id: i32, data_type: &DataType) -> ColumnStatistics {
    let mut merged: Option<ColumnStatistics> = None;
    for (manifest, positions) in &selection.manifests {
        let one = of_manifest(manifest, positions, id, data_type).unwrap_or_else(ColumnStatistics::new_unknown);
        merged = Some(match merged {
            None => one,
            Some(merged) => ColumnStatistics {
                null_count: merged.null_count.add(&one.null_count),
                min_value: merged.min_value.min(&one.min_value),
                max_value: merged.max_value.max(&one.max_value),
                ..ColumnStatistics::new_unknown()
            },
        });
    }
    merged.unwrap_or_else(ColumnStatistics::new_unknown)
}

fn of_manifest(
    manifest: &ManifestColumns,
    positions: &[usize],
    id: i32,
    data_type: &DataType,
) -> Option<ColumnStatistics> {
    let bounds = manifest.statistics.columns.get(&id)?;
    let positions: UInt64Array = positions.iter().map(|position| *position as u64).collect();
    let values = |array: &Option<ArrayRef>| {
        let values = promote(&take(array.as_ref()?, &positions, None).ok()?, data_type)?;
        (values.null_count() == 0).then_some(values)
    };
    let precision = |scalar: Option<ScalarValue>| scalar.map_or(Precision::Absent, Precision::Inexact);
    let nulls = bounds.null_counts.as_ref().and_then(|counts| {
        let counts = take(counts, &positions, None).ok()?;
        let counts = counts.as_primitive::<UInt64Type>();
        (counts.null_count() == 0).then(|| sum(counts).unwrap_or(0) as usize)
    });
    Some(ColumnStatistics {
        null_count: nulls.map_or(Precision::Absent, Precision::Inexact),
        min_value: precision(values(&bounds.lower).and_then(|values| min_batch(&values).ok())),
        max_value: precision(values(&bounds.upper).and_then(|values| max_batch(&values).ok())),
        ..ColumnStatistics::new_unknown()
    })
}
