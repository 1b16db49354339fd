//! Which byte ranges a partition's scan will ask for, known before it does: for reading ahead.
//!
//! In: files, the columns to read, the predicate as it is by now. Out: for each row group that is not ruled out, the ranges
//! of its columns, page by page where the page index rules out some. Uses the decoder's own pruning. A guess too many costs
//! bytes, a guess too few costs waiting, neither changes an answer: what cannot be judged is kept.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::Result;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::{
    PagePruningAccessPlanFilter, ParquetAccessPlan, ParquetFileMetrics, RowGroupAccess, RowGroupAccessPlanFilter,
};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr_adapter::PhysicalExprAdapterFactory as _;
use datafusion::physical_optimizer::pruning::PruningPredicateBuilder;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use parquet::arrow::parquet_to_arrow_schema;
use parquet::file::metadata::ParquetMetaData;

use super::defaults::MissingColumns;
use super::file::IcebergFile;
use crate::io::{DataFile, Footer, Foreseen, ReaderFactory};

/// One partition of a scan.
pub(crate) struct Foresight {
    pub(super) files: Vec<PartitionedFile>,
    pub(super) readers: Arc<ReaderFactory>,
    /// The table's columns.
    pub(super) schema: SchemaRef,
    /// Names of the columns to read.
    pub(super) columns: HashSet<String>,
    pub(super) predicate: Option<Arc<dyn PhysicalExpr>>,
    pub(super) missing: MissingColumns,
}

impl Foreseen for Foresight {
    fn files(&self) -> usize {
        self.files.len()
    }

    fn file(&self, number: usize) -> crate::Result<DataFile> {
        self.readers.file(&self.files[number])
    }

    async fn footer(&self, number: usize) -> crate::Result<Arc<Footer>> {
        self.readers.footer(&self.file(number)?).await
    }

    fn row_groups(&self, number: usize, footer: &Footer) -> Vec<Vec<Range<u64>>> {
        let metadata = footer.metadata.as_ref();
        let plan = self.access_plan(&self.files[number], metadata);
        let scanned = plan.inner().iter().enumerate().filter(|(_, access)| access.should_scan());
        scanned.map(|(group, access)| self.ranges(metadata, group, access)).collect()
    }

    fn filter_generation(&self) -> u64 {
        self.predicate.as_ref().map_or(0, datafusion::physical_expr_common::physical_expr::snapshot_generation)
    }
}

impl Foresight {
    /// Reads what decoding a file would ask for into the cache. Returns its bytes.
    pub(crate) async fn read(&self, number: usize) -> crate::Result<u64> {
        let (file, footer) = (self.file(number)?, self.footer(number).await?);
        let ranges = self.row_groups(number, &footer).concat();
        self.readers.read(&file, &footer, &ranges).await
    }

    /// The rows that are left of a file, as far as its footer tells.
    fn access_plan(&self, file: &PartitionedFile, metadata: &ParquetMetaData) -> ParquetAccessPlan {
        let mut filter = RowGroupAccessPlanFilter::new(ParquetAccessPlan::new_all(metadata.num_row_groups()));
        if let Some(range) = &file.range {
            filter.prune_by_range(metadata.row_groups(), range);
        }
        let Ok(Some((predicate, schema))) = self.predicate_on(file, metadata) else { return filter.build() };
        let metrics = ParquetFileMetrics::new(0, "", &ExecutionPlanMetricsSet::new());
        let parquet_schema = metadata.file_metadata().schema_descr();
        if let Ok(pruning) =
            PruningPredicateBuilder::new().with_file_schema(Arc::clone(&schema)).try_build(Arc::clone(&predicate))
        {
            filter.prune_by_statistics(&schema, parquet_schema, metadata.row_groups(), &pruning, &metrics);
        }
        let plan = filter.build();
        if metadata.column_index().is_none() || metadata.offset_index().is_none() {
            return plan;
        }
        let pages = PagePruningAccessPlanFilter::new(&predicate, Arc::clone(&schema));
        pages.prune_plan_with_page_index(plan, &schema, parquet_schema, metadata, &metrics)
    }

    /// The predicate on this file's columns, as dynamic filters have made it by now, and those columns.
    fn predicate_on(
        &self,
        file: &PartitionedFile,
        metadata: &ParquetMetaData,
    ) -> Result<Option<(Arc<dyn PhysicalExpr>, SchemaRef)>> {
        let Some(predicate) = &self.predicate else { return Ok(None) };
        let descriptor = metadata.file_metadata().schema_descr();
        let schema = Arc::new(parquet_to_arrow_schema(descriptor, None)?);
        let constants = IcebergFile::of(file).and_then(|file| file.constants.clone());
        let adapter = self.missing.with_constants(constants).create(Arc::clone(&self.schema), Arc::clone(&schema))?;
        let now = datafusion::physical_expr_common::physical_expr::snapshot_physical_expr(Arc::clone(predicate))?;
        Ok(Some((adapter.rewrite(now)?, schema)))
    }

    /// The ranges of the wanted columns in one row group.
    fn ranges(&self, metadata: &ParquetMetaData, group: usize, access: &RowGroupAccess) -> Vec<Range<u64>> {
        let mut ranges = Vec::new();
        for (leaf, chunk) in metadata.row_group(group).columns().iter().enumerate() {
            let root = chunk.column_path().parts().first();
            if !root.is_some_and(|root| self.columns.contains(root)) {
                continue;
            }
            let (start, length) = chunk.byte_range();
            let index = metadata.offset_index().and_then(|index| index.get(group)?.get(leaf));
            match (access, index) {
                (RowGroupAccess::Selection(selection), Some(index)) => {
                    let pages = index.page_locations();
                    let selected = selection.scan_ranges(pages);
                    let first = pages.first().map(|page| page.offset as u64).filter(|first| *first > start);
                    ranges.extend(first.filter(|_| !selected.is_empty()).map(|first| start..first));
                    ranges.extend(selected);
                }
                _ => ranges.push(start..start + length),
            }
        }
        ranges
    }
}
