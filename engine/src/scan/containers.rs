//! Statistics of many containers (data files, or whole manifests) in columns, as pruning reads them.
//!
//! A container has a row count and, by field id, bounds and null counts. What is unknown is null, and keeps the container.
//! Bounds hold the type they were written with; they are promoted to the column's current type when they are asked for.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, BooleanArray, UInt64Array};
use datafusion::arrow::compute::{CastOptions, cast_with_options};
use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::{Column, ScalarValue};

use super::bucket::BucketRanges;

/// Statistics of `len` containers.
#[derive(Debug, Default)]
pub(crate) struct Containers {
    pub(crate) len: usize,
    pub(crate) rows: Option<UInt64Array>,
    pub(crate) columns: HashMap<i32, ColumnBounds>,
    pub(crate) buckets: Vec<BucketRanges>,
}

/// What is known of one column in each container.
#[derive(Debug, Default)]
pub(crate) struct ColumnBounds {
    /// Not above any value, nulls and NaN aside; null where unknown.
    pub(crate) lower: Option<ArrayRef>,
    /// Not below any value, nulls and NaN aside; null where unknown.
    pub(crate) upper: Option<ArrayRef>,
    /// Null values; null where unknown.
    pub(crate) null_counts: Option<UInt64Array>,
}

impl Containers {
    /// Heap bytes held, for the cache's accounting.
    pub(crate) fn memory_bytes(&self) -> usize {
        let array = |array: &Option<ArrayRef>| array.as_ref().map_or(0, |array| array.get_array_memory_size());
        let counts = |counts: &Option<UInt64Array>| counts.as_ref().map_or(0, Array::get_array_memory_size);
        let columns: usize = self
            .columns
            .values()
            .map(|column| array(&column.lower) + array(&column.upper) + counts(&column.null_counts) + 64)
            .sum();
        columns + counts(&self.rows) + self.buckets.iter().map(BucketRanges::memory_bytes).sum::<usize>()
    }

    /// The containers as DataFusion's pruning sees them, under the names and types of the current schema.
    pub(crate) fn view<'a>(&'a self, fields: &'a FieldIds) -> ContainersView<'a> {
        ContainersView { containers: self, fields }
    }
}

/// The current schema's top-level columns: name to field id and type.
#[derive(Debug)]
pub(crate) struct FieldIds {
    by_name: HashMap<String, (i32, DataType)>,
}

impl FieldIds {
    /// Reads the field ids that `types::arrow_schema` put in the fields' metadata.
    pub(crate) fn new(schema: &SchemaRef) -> Self {
        let by_name = schema.fields().iter().filter_map(|field| {
            let id = super::field_id(field)?;
            Some((field.name().clone(), (id, field.data_type().clone())))
        });
        Self { by_name: by_name.collect() }
    }

    fn get(&self, column: &Column) -> Option<&(i32, DataType)> {
        self.by_name.get(column.name())
    }
}

/// [`Containers`] under the names and types of a schema.
pub(crate) struct ContainersView<'a> {
    containers: &'a Containers,
    fields: &'a FieldIds,
}

impl ContainersView<'_> {
    fn bounds(&self, column: &Column, pick: impl Fn(&ColumnBounds) -> Option<&ArrayRef>) -> Option<ArrayRef> {
        let (id, data_type) = self.fields.get(column)?;
        promote(pick(self.containers.columns.get(id)?)?, data_type)
    }
}

impl PruningStatistics for ContainersView<'_> {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        self.bounds(column, |bounds| bounds.lower.as_ref())
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        self.bounds(column, |bounds| bounds.upper.as_ref())
    }

    fn num_containers(&self) -> usize {
        self.containers.len
    }

    fn null_counts(&self, column: &Column) -> Option<ArrayRef> {
        let (id, _) = self.fields.get(column)?;
        let counts = self.containers.columns.get(id)?.null_counts.as_ref()?;
        Some(Arc::new(counts.clone()))
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        self.containers.rows.as_ref().map(|rows| Arc::new(rows.clone()) as ArrayRef)
    }

    fn contained(&self, column: &Column, values: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        let (id, _) = self.fields.get(column)?;
        let buckets = self.containers.buckets.iter().find(|buckets| buckets.source_id == *id)?;
        buckets.contained(values)
    }
}

/// Brings bounds from the type they were written with to the current type. `None`, that is unknown, unless Iceberg
/// allows the promotion (spec, "Schema evolution"): then the cast is exact.
pub(crate) fn promote(bounds: &ArrayRef, current: &DataType) -> Option<ArrayRef> {
    let written = bounds.data_type();
    if written == current {
        return Some(Arc::clone(bounds));
    }
    let allowed = match (written, current) {
        (DataType::Int32, DataType::Int64) | (DataType::Float32, DataType::Float64) => true,
        (DataType::Decimal128(from, from_scale), DataType::Decimal128(to, to_scale)) => {
            from_scale == to_scale && from <= to
        }
        // The same Iceberg type in another Arrow layout.
        (DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View, DataType::Utf8 | DataType::Utf8View) => true,
        (DataType::Binary | DataType::LargeBinary | DataType::BinaryView, DataType::Binary | DataType::BinaryView) => {
            true
        }
        _ => false,
    };
    let options = CastOptions { safe: false, ..CastOptions::default() };
    allowed.then(|| cast_with_options(bounds, current, &options).ok()).flatten()
}
