//! A data file whose footer is here: the types that decoding gives its columns, expressions over the table's columns in
//! their terms, and the rows that a predicate leaves.

use std::ops::Range;
use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::Result;
use datafusion::datasource::listing::{FileRange, PartitionedFile};
use datafusion::datasource::physical_plan::parquet::{
    PagePruningAccessPlanFilter, ParquetAccessPlan, ParquetFileMetrics, RowGroupAccess, RowGroupAccessPlanFilter,
    apply_file_schema_type_coercions,
};
use datafusion::physical_expr::{PhysicalExpr, PhysicalExprSimplifier};
use datafusion::physical_expr_adapter::{PhysicalExprAdapter, PhysicalExprAdapterFactory as _};
use datafusion::physical_expr_common::physical_expr::snapshot_physical_expr;
use datafusion::physical_optimizer::pruning::PruningPredicateBuilder;
use parquet::arrow::parquet_to_arrow_schema;
use parquet::file::metadata::ParquetMetaData;

use super::defaults::MissingColumns;
use super::file::IcebergFile;
use crate::io::BATCH_ROWS;

/// What a batch of large rows has, in bytes.
const BATCH_BYTES: u64 = 64 << 20;

/// See the module.
pub(super) struct OpenedFile {
    pub(super) metadata: Arc<ParquetMetaData>,
    /// The file's columns as they are decoded.
    pub(super) schema: SchemaRef,
    range: Option<FileRange>,
    adapter: Arc<dyn PhysicalExprAdapter>,
}

impl OpenedFile {
    /// `table` are the table's columns.
    pub(super) fn new(
        file: &PartitionedFile,
        metadata: &Arc<ParquetMetaData>,
        table: &SchemaRef,
        missing: &MissingColumns,
    ) -> Result<Self> {
        let written = parquet_to_arrow_schema(metadata.file_metadata().schema_descr(), None)?;
        let schema = Arc::new(apply_file_schema_type_coercions(table, &written).unwrap_or(written));
        let constants = IcebergFile::of(file).and_then(|file| file.constants.clone());
        let adapter = missing.with_constants(constants).create(Arc::clone(table), Arc::clone(&schema))?;
        Ok(Self { metadata: Arc::clone(metadata), schema, range: file.range.clone(), adapter })
    }

    /// An expression over the table's columns as one over the file's.
    pub(super) fn rewrite(&self, expr: Arc<dyn PhysicalExpr>) -> Result<Arc<dyn PhysicalExpr>> {
        PhysicalExprSimplifier::new(&self.schema).simplify(self.adapter.rewrite(expr)?)
    }

    /// The rows that are left, as far as the footer tells, by a predicate as dynamic filters have made it by now.
    pub(super) fn access_plan(
        &self,
        predicate: Option<&Arc<dyn PhysicalExpr>>,
        metrics: &ParquetFileMetrics,
    ) -> ParquetAccessPlan {
        let metadata = self.metadata.as_ref();
        let mut filter = RowGroupAccessPlanFilter::new(ParquetAccessPlan::new_all(metadata.num_row_groups()));
        if let Some(range) = &self.range {
            filter.prune_by_range(metadata.row_groups(), range);
        }
        let now = predicate.map(|predicate| snapshot_physical_expr(Arc::clone(predicate)));
        let Some(Ok(predicate)) = now.map(|now| now.and_then(|now| self.rewrite(now))) else { return filter.build() };
        let descriptor = metadata.file_metadata().schema_descr();
        if let Ok(pruning) =
            PruningPredicateBuilder::new().with_file_schema(Arc::clone(&self.schema)).try_build(Arc::clone(&predicate))
        {
            filter.prune_by_statistics(&self.schema, descriptor, metadata.row_groups(), &pruning, metrics);
        }
        let plan = filter.build();
        if metadata.column_index().is_none() || metadata.offset_index().is_none() {
            return plan;
        }
        let pages = PagePruningAccessPlanFilter::new(&predicate, Arc::clone(&self.schema));
        pages.prune_plan_with_page_index(plan, &self.schema, descriptor, metadata, metrics)
    }

    /// The rows that are decoded at once of these columns: fewer than usual where they are large, as documents are.
    pub(super) fn batch_rows(&self, row_group: usize, leaves: impl Iterator<Item = usize>) -> usize {
        let row_group = self.metadata.row_group(row_group);
        let bytes = leaves.map(|leaf| u64::try_from(row_group.column(leaf).uncompressed_size()).unwrap_or(0));
        let row_bytes = bytes.sum::<u64>() / u64::try_from(row_group.num_rows()).unwrap_or(0).max(1);
        usize::try_from(BATCH_BYTES / row_bytes.max(1)).unwrap_or(BATCH_ROWS).clamp(1, BATCH_ROWS)
    }

    /// The byte ranges of a column chunk that decoding these rows asks for.
    pub(super) fn ranges(&self, row_group: usize, leaf: usize, access: &RowGroupAccess) -> Vec<Range<u64>> {
        let (start, length) = self.metadata.row_group(row_group).column(leaf).byte_range();
        let index = self.metadata.offset_index().and_then(|index| index.get(row_group)?.get(leaf));
        let (RowGroupAccess::Selection(selection), Some(index)) = (access, index) else {
            return access.should_scan().then_some(start..start + length).into_iter().collect();
        };
        let pages = index.page_locations();
        let selected = selection.scan_ranges(pages);
        // The dictionary lies before the first page.
        let first = pages.first().map(|page| page.offset as u64).filter(|first| *first > start && !selected.is_empty());
        first.map(|first| start..first).into_iter().chain(selected).collect()
    }
}
