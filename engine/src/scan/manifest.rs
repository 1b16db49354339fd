//! One manifest, decoded once into columns: what each live data file is, and what pruning may know of it.
//!
//! In: a manifest's entries. Out: [`ManifestColumns`], immutable and shared. What a partition value says about its source
//! column is folded into that column's bounds here, so that pruning has one kind of statistics to read.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use datafusion::arrow::array::UInt64Array;
use datafusion::common::ScalarValue;
use iceberg::spec::{
    DataContentType, DataFile, DataFileFormat, Literal, Manifest, ManifestContentType, ManifestFile, PrimitiveLiteral,
    PrimitiveType, Transform, Type,
};

use super::bucket::BucketRanges;
use super::containers::{ColumnBounds, Containers};
use super::literals;
use super::partition_bounds::{Range, source_range};

/// One manifest's live files and their statistics, in the same order.
#[derive(Debug)]
pub(crate) struct ManifestColumns {
    pub(crate) files: Vec<FileEntry>,
    pub(crate) statistics: Containers,
}

/// One live data file (or delete file) of a manifest.
#[derive(Debug)]
pub(crate) struct FileEntry {
    pub(crate) location: String,
    pub(crate) size_bytes: u64,
    pub(crate) rows: u64,
    /// Where row groups start, ascending; empty if not told.
    pub(crate) split_offsets: Box<[u64]>,
    /// Values of columns that the file may leave out because its partition names them, by field id.
    pub(crate) constants: Option<Arc<PartitionConstants>>,
    /// Why the file cannot be read, if it cannot.
    pub(crate) unreadable: Option<&'static str>,
}

/// Identity-partition values by source field id, ordered by id.
pub(crate) type PartitionConstants = Vec<(i32, ScalarValue)>;

impl ManifestColumns {
    /// Reads a manifest's live entries.
    pub(crate) fn decode(file: &ManifestFile, manifest: &Manifest) -> Self {
        let live: Vec<&DataFile> =
            manifest.entries().iter().filter(|entry| entry.is_alive()).map(|entry| entry.data_file()).collect();
        let partitioning = Partitioning::of(manifest);
        let mut constants = HashMap::new();
        let files = live
            .iter()
            .map(|data_file| FileEntry {
                location: data_file.file_path().to_owned(),
                size_bytes: data_file.file_size_in_bytes(),
                rows: data_file.record_count(),
                split_offsets: split_offsets(data_file),
                constants: partitioning.constants(data_file, &mut constants),
                unreadable: unreadable(file.content, data_file),
            })
            .collect();
        Self { files, statistics: statistics(manifest, &live, &partitioning) }
    }

    /// Heap bytes held, for the cache's accounting.
    pub(crate) fn memory_bytes(&self) -> usize {
        let files: usize = self
            .files
            .iter()
            .map(|file| size_of::<FileEntry>() + file.location.len() + file.split_offsets.len() * 8)
            .sum();
        files + self.statistics.memory_bytes()
    }
}

/// The feature that keeps a file from being read, in the words of an error.
fn unreadable(content: ManifestContentType, file: &DataFile) -> Option<&'static str> {
    if content == ManifestContentType::Deletes {
        return Some(match (file.content_type(), file.file_format()) {
            (_, DataFileFormat::Puffin) => "deletion vectors",
            (DataContentType::EqualityDeletes, _) => "equality deletes",
            _ => "position deletes",
        });
    }
    if file.key_metadata().is_some() {
        return Some("encrypted data files");
    }
    match file.file_format() {
        DataFileFormat::Parquet => None,
        DataFileFormat::Orc => Some("ORC data files"),
        DataFileFormat::Avro => Some("Avro data files"),
        _ => Some("data files that are not Parquet"),
    }
}

/// Row group starts, if they are plausible: ascending and inside the file.
fn split_offsets(file: &DataFile) -> Box<[u64]> {
    let offsets: Option<Vec<u64>> =
        file.split_offsets().unwrap_or_default().iter().map(|offset| u64::try_from(*offset).ok()).collect();
    let offsets = offsets.unwrap_or_default();
    let plausible =
        offsets.is_sorted_by(|a, b| a < b) && offsets.last().is_none_or(|last| *last < file.file_size_in_bytes());
    if plausible { offsets.into_boxed_slice() } else { Box::default() }
}

/// The partition fields of a manifest that say something about a column.
struct Partitioning {
    fields: Vec<PartitionColumn>,
}

/// One partition field: where its value stands in the tuple, and the column it came from.
struct PartitionColumn {
    position: usize,
    source_id: i32,
    source: PrimitiveType,
    transform: Transform,
}

impl Partitioning {
    fn of(manifest: &Manifest) -> Self {
        let schema = manifest.metadata().schema();
        let fields =
            manifest.metadata().partition_spec().fields().iter().enumerate().filter_map(|(position, field)| {
                let source = schema.field_by_id(field.source_id)?.field_type.as_primitive_type()?.clone();
                Some(PartitionColumn { position, source_id: field.source_id, source, transform: field.transform })
            });
        Self { fields: fields.filter(|field| field.transform != Transform::Void).collect() }
    }

    /// The identity-partition values of a file, shared between the files of a partition.
    fn constants(
        &self,
        file: &DataFile,
        known: &mut HashMap<Vec<Option<Literal>>, Option<Arc<PartitionConstants>>>,
    ) -> Option<Arc<PartitionConstants>> {
        let identities: Vec<&PartitionColumn> =
            self.fields.iter().filter(|field| field.transform == Transform::Identity).collect();
        if identities.is_empty() {
            return None;
        }
        let key = file.partition().fields().to_vec();
        let constants = known.entry(key).or_insert_with(|| {
            let mut constants: PartitionConstants = identities
                .iter()
                .filter_map(|field| {
                    let value = match field.entry(file)? {
                        Some(value) => literals::scalar(&field.source, value)?,
                        None => ScalarValue::try_from(
                            &crate::types::arrow_type(&Type::Primitive(field.source.clone()), "").ok()?,
                        )
                        .ok()?,
                    };
                    Some((field.source_id, value))
                })
                .collect();
            constants.sort_by_key(|(id, _)| *id);
            Some(Arc::new(constants))
        });
        constants.clone()
    }
}

impl PartitionColumn {
    /// The file's value for this field; outer `None` where the tuple does not tell.
    fn entry<'a>(&self, file: &'a DataFile) -> Option<Option<&'a PrimitiveLiteral>> {
        match file.partition().fields().get(self.position)? {
            Some(Literal::Primitive(value)) => Some(Some(value)),
            Some(_) => None,
            None => Some(None),
        }
    }

    fn value<'a>(&self, file: &'a DataFile) -> Option<&'a PrimitiveLiteral> {
        self.entry(file).flatten()
    }
}

/// Columns of bounds and counts over the live files, partition values folded in.
fn statistics(manifest: &Manifest, live: &[&DataFile], partitioning: &Partitioning) -> Containers {
    let schema = manifest.metadata().schema();
    let ids: BTreeSet<i32> = live
        .iter()
        .flat_map(|file| file.lower_bounds().keys().chain(file.null_value_counts().keys()).copied())
        .chain(partitioning.fields.iter().map(|field| field.source_id))
        .collect();
    let columns = ids.into_iter().filter_map(|id| {
        let primitive = schema.field_by_id(id)?.field_type.as_primitive_type()?;
        let partitions: Vec<&PartitionColumn> =
            partitioning.fields.iter().filter(|field| field.source_id == id).collect();
        Some((id, column_bounds(id, primitive, live, &partitions)))
    });
    Containers {
        len: live.len(),
        rows: Some(live.iter().map(|file| Some(file.record_count())).collect()),
        columns: columns.collect(),
        buckets: partitioning.fields.iter().filter_map(|field| bucket_ranges(field, live)).collect(),
    }
}

fn column_bounds(
    id: i32,
    primitive: &PrimitiveType,
    live: &[&DataFile],
    partitions: &[&PartitionColumn],
) -> ColumnBounds {
    let may_hold_nan = |file: &DataFile| {
        matches!(primitive, PrimitiveType::Float | PrimitiveType::Double)
            && file.nan_value_counts().get(&id) != Some(&0)
    };
    let ranges: Vec<Range> = live
        .iter()
        .map(|file| {
            // Bounds leave NaN out, and NaN compares above (or below) everything: with NaN about, there are no bounds.
            if may_hold_nan(file) {
                return (None, None);
            }
            let bound =
                |bounds: &HashMap<i32, iceberg::spec::Datum>| bounds.get(&id).map(|datum| datum.literal().clone());
            let own = (bound(file.lower_bounds()), bound(file.upper_bounds()));
            partitions.iter().fold(own, |range, field| match field.value(file) {
                Some(value) => narrower(range, source_range(&field.transform, &field.source, value)),
                None => range,
            })
        })
        .collect();
    let null_counts = live.iter().map(|file| {
        let by_partition = partitions.iter().find_map(|field| match field.entry(file)? {
            None => Some(file.record_count()),
            Some(_) => Some(0),
        });
        by_partition.or_else(|| file.null_value_counts().get(&id).copied())
    });
    ColumnBounds {
        lower: literals::array(primitive, ranges.iter().map(|range| range.0.as_ref())),
        upper: literals::array(primitive, ranges.iter().map(|range| range.1.as_ref())),
        null_counts: Some(null_counts.collect::<UInt64Array>()),
    }
}

/// Keeps the file's own bound where it has one: it is at least as narrow as the partition's.
fn narrower(own: Range, partition: Range) -> Range {
    (own.0.or(partition.0), own.1.or(partition.1))
}

fn bucket_ranges(field: &PartitionColumn, live: &[&DataFile]) -> Option<BucketRanges> {
    let Transform::Bucket(buckets) = field.transform else { return None };
    let ranges = live.iter().map(|file| match field.value(file) {
        Some(PrimitiveLiteral::Int(bucket)) => Some((*bucket, *bucket)),
        _ => None,
    });
    Some(BucketRanges { source_id: field.source_id, buckets, ranges: ranges.collect() })
}
