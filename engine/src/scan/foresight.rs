//! Which byte ranges a partition's scan will ask for, known before it does: for reading ahead.
//!
//! In: files, the columns to read, the predicate as it is by now. Out: for each row group that is not ruled out, the ranges
//! of its columns, page by page where the page index rules out some. Uses the decoder's own pruning. A guess too many costs
//! bytes, a guess too few costs waiting, neither changes an answer: what cannot be judged is kept.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::{ParquetFileMetrics, RowGroupAccess};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use parquet::file::metadata::ParquetMetaData;

use super::defaults::MissingColumns;
use super::opened::OpenedFile;
use crate::io::{ColumnKey, DataFile, Footer, Foreseen, ReaderFactory};

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
    /// Whether the scan takes columns that are decoded already.
    pub(super) takes_decoded: bool,
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
        // A file that cannot be opened is the decoder's to complain about.
        let opened = OpenedFile::new(&self.files[number], &footer.metadata, &self.schema, &self.missing);
        let Ok(opened) = opened else { return Vec::new() };
        let metrics = ParquetFileMetrics::new(0, "", &ExecutionPlanMetricsSet::new());
        let plan = opened.access_plan(self.predicate.as_ref(), &metrics);
        let scanned = plan.inner().iter().enumerate().filter(|(_, access)| access.should_scan());
        scanned.map(|(group, access)| self.ranges(&opened, group, access)).collect()
    }

    fn undecoded(&self, number: usize, footer: &Footer, group: &[Range<u64>]) -> Vec<Range<u64>> {
        let Some(file) = self.file(number).ok().filter(|_| self.takes_decoded) else { return group.to_vec() };
        let decoded = |range: &Range<u64>| {
            column_at(&footer.metadata, range.start).is_some_and(|(row_group, column)| {
                self.readers.decoded().contains(&ColumnKey { file: file.key.clone(), row_group, column })
            })
        };
        group.iter().filter(|range| !decoded(range)).cloned().collect()
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

    /// The ranges of the wanted columns in one row group.
    fn ranges(&self, opened: &OpenedFile, group: usize, access: &RowGroupAccess) -> Vec<Range<u64>> {
        let chunks = opened.metadata.row_group(group).columns().iter().enumerate();
        let wanted = chunks
            .filter(|(_, chunk)| chunk.column_path().parts().first().is_some_and(|root| self.columns.contains(root)));
        wanted.flat_map(|(leaf, _)| opened.ranges(group, leaf, access)).collect()
    }
}

/// The row group and the top-level column whose bytes are at an offset of a file.
fn column_at(metadata: &ParquetMetaData, offset: u64) -> Option<(usize, usize)> {
    let descriptor = metadata.file_metadata().schema_descr();
    metadata.row_groups().iter().enumerate().find_map(|(row_group, about)| {
        let leaf = about.columns().iter().position(|chunk| {
            let (start, length) = chunk.byte_range();
            (start..start + length).contains(&offset)
        })?;
        Some((row_group, descriptor.get_column_root_idx(leaf)))
    })
}
