//! What a manifest list says about its manifests: partition summaries, as statistics for pruning.
//!
//! In: the manifests of one partition spec. Out: one container a manifest, bounds by source column.

use std::collections::HashMap;

use datafusion::arrow::array::UInt64Array;
use iceberg::spec::{
    Datum, FieldSummary, ManifestFile, PartitionField, PartitionSpec, PrimitiveLiteral, PrimitiveType, Schema,
    Transform, Type,
};

use super::bucket::BucketRanges;
use super::containers::{ColumnBounds, Containers};
use super::literals;
use super::partition_bounds::{Range, may_have_wrapped, source_range};

/// Statistics of manifests that were all written with `spec`; `schema` is the table's current one.
pub(crate) fn summaries(manifests: &[&ManifestFile], spec: &PartitionSpec, schema: &Schema) -> Containers {
    let mut columns = HashMap::new();
    let mut buckets = Vec::new();
    for (position, field) in spec.fields().iter().enumerate() {
        // A column that was dropped since cannot be asked for.
        let Some(source) = schema.field_by_id(field.source_id) else { continue };
        let Some(source) = source.field_type.as_primitive_type() else { continue };
        let Some(result) = result_type(field, source) else { continue };
        let summaries: Vec<Option<Summary>> =
            manifests.iter().map(|file| Summary::read(file, position, &result)).collect();
        if let Transform::Bucket(count) = field.transform {
            buckets.push(bucket_ranges(field.source_id, count, &summaries));
        }
        columns.entry(field.source_id).or_insert_with(|| column_bounds(field, source, manifests, &summaries));
    }
    Containers {
        len: manifests.len(),
        rows: Some(manifests.iter().map(|file| live_rows(file)).collect()),
        columns,
        buckets,
    }
}

fn result_type(field: &PartitionField, source: &PrimitiveType) -> Option<PrimitiveType> {
    if matches!(field.transform, Transform::Void | Transform::Unknown) {
        return None;
    }
    field.transform.result_type(&Type::Primitive(source.clone())).ok()?.as_primitive_type().cloned()
}

/// The rows of a manifest's live files. A count of none where files are listed proves nothing: some writers leave it at 0.
fn live_rows(file: &ManifestFile) -> Option<u64> {
    let rows = |rows: Option<u64>, files: Option<u32>| rows.filter(|rows| *rows > 0 || files == Some(0));
    let added = rows(file.added_rows_count, file.added_files_count)?;
    added.checked_add(rows(file.existing_rows_count, file.existing_files_count)?)
}

/// One partition field's summary over the files of a manifest.
struct Summary {
    lower: Option<PrimitiveLiteral>,
    upper: Option<PrimitiveLiteral>,
    has_null: bool,
    may_have_nan: bool,
}

impl Summary {
    fn read(file: &ManifestFile, position: usize, result: &PrimitiveType) -> Option<Self> {
        let summary: &FieldSummary = file.partitions.as_ref()?.get(position)?;
        let literal =
            |bytes: &[u8]| Datum::try_from_bytes(bytes, result.clone()).ok().map(|datum| datum.literal().clone());
        let floating = matches!(result, PrimitiveType::Float | PrimitiveType::Double);
        Some(Self {
            lower: summary.lower_bound.as_ref().and_then(|bytes| literal(bytes)),
            upper: summary.upper_bound.as_ref().and_then(|bytes| literal(bytes)),
            has_null: summary.contains_null,
            may_have_nan: floating && summary.contains_nan != Some(false),
        })
    }

    fn source_range(&self, field: &PartitionField, source: &PrimitiveType) -> Range {
        let may_have_wrapped = |highest| may_have_wrapped(&field.transform, highest);
        if self.may_have_nan || self.upper.as_ref().is_some_and(may_have_wrapped) {
            return (None, None);
        }
        let range = |value: &Option<PrimitiveLiteral>| {
            value.as_ref().map_or((None, None), |value| source_range(&field.transform, source, value))
        };
        (range(&self.lower).0, range(&self.upper).1)
    }
}

fn column_bounds(
    field: &PartitionField,
    source: &PrimitiveType,
    manifests: &[&ManifestFile],
    summaries: &[Option<Summary>],
) -> ColumnBounds {
    let ranges: Vec<Range> = summaries
        .iter()
        .map(|summary| summary.as_ref().map_or((None, None), |summary| summary.source_range(field, source)))
        .collect();
    let null_counts = summaries.iter().zip(manifests).map(|(summary, file)| match summary {
        Some(summary) if !summary.has_null => Some(0),
        Some(summary) if summary.lower.is_none() && summary.upper.is_none() && !summary.may_have_nan => live_rows(file),
        _ => None,
    });
    ColumnBounds {
        lower: literals::array(source, ranges.iter().map(|range| range.0.as_ref())),
        upper: literals::array(source, ranges.iter().map(|range| range.1.as_ref())),
        null_counts: Some(null_counts.collect::<UInt64Array>()),
    }
}

fn bucket_ranges(source_id: i32, buckets: u32, summaries: &[Option<Summary>]) -> BucketRanges {
    let ranges = summaries.iter().map(|summary| match summary {
        Some(Summary {
            lower: Some(PrimitiveLiteral::Int(first)), upper: Some(PrimitiveLiteral::Int(last)), ..
        }) => Some((*first, *last)),
        _ => None,
    });
    BucketRanges { source_id, buckets, ranges: ranges.collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_of_no_rows_where_files_are_listed_is_no_count() {
        let mut manifest = ManifestFile {
            manifest_path: String::new(),
            manifest_length: 0,
            partition_spec_id: 0,
            content: iceberg::spec::ManifestContentType::Data,
            sequence_number: 0,
            min_sequence_number: 0,
            added_snapshot_id: 0,
            added_files_count: Some(2),
            existing_files_count: Some(0),
            deleted_files_count: Some(0),
            added_rows_count: Some(7),
            existing_rows_count: Some(0),
            deleted_rows_count: Some(0),
            partitions: None,
            key_metadata: None,
            first_row_id: None,
        };
        assert_eq!(live_rows(&manifest), Some(7));
        manifest.existing_files_count = Some(1);
        assert_eq!(live_rows(&manifest), None);
        manifest.existing_rows_count = Some(3);
        assert_eq!(live_rows(&manifest), Some(10));
        manifest.added_rows_count = Some(0);
        assert_eq!(live_rows(&manifest), None);
        manifest.added_files_count = None;
        assert_eq!(live_rows(&manifest), None);
        manifest.added_files_count = Some(0);
        assert_eq!(live_rows(&manifest), Some(3));
    }
}
