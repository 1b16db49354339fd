//! A file of which a scan may say that it is damaged: then nothing of it is kept. Where a scan panicked, the file is decoded once
//! more, without any expression, to see whether it is the file's fault.

use std::sync::Arc;

use datafusion::common::{DataFusionError, Result};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::ParquetFileReaderFactory as _;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use futures::TryStreamExt;
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::arrow::{ParquetRecordBatchStreamBuilder, ProjectionMask};
use parquet::file::metadata::ParquetMetaData;

use super::file::IcebergFile;
use super::second_reading::damaged_file;
use crate::io::{BATCH_ROWS, ReaderFactory};
use crate::panics;

/// See the module.
pub(super) struct Suspect {
    file: PartitionedFile,
    readers: Arc<ReaderFactory>,
    /// The columns that are read, by their names.
    columns: Arc<[String]>,
}

impl Suspect {
    pub(super) fn new(file: PartitionedFile, readers: &Arc<ReaderFactory>, columns: &Arc<[String]>) -> Arc<Self> {
        Arc::new(Self { file, readers: Arc::clone(readers), columns: Arc::clone(columns) })
    }

    pub(super) fn location(&self) -> &str {
        IcebergFile::of(&self.file).map_or(self.file.object_meta.location.as_ref(), |file| file.location.as_ref())
    }

    /// The error. If the file is damaged, or came so, what is kept of it is forgotten.
    pub(super) fn told(&self, error: DataFusionError) -> DataFusionError {
        if damaged_file(&error).is_some()
            && let Ok(file) = self.readers.file(&self.file)
        {
            self.readers.forget(&file);
        }
        error
    }

    /// Whether the columns that are read cannot be decoded.
    pub(super) async fn is_damaged(&self) -> bool {
        !matches!(panics::guarded("the decoder of a data file", self.decode()).await, Ok(Ok(())))
    }

    async fn decode(&self) -> Result<()> {
        let metrics = ExecutionPlanMetricsSet::new();
        let reader: Box<dyn AsyncFileReader> = self.readers.create_reader(0, self.file.clone(), None, &metrics)?;
        let builder = ParquetRecordBatchStreamBuilder::new(reader).await?;
        let mask = ProjectionMask::columns(builder.parquet_schema(), self.columns.iter().map(String::as_str));
        let row_groups = self.row_groups(builder.metadata());
        let batches = builder.with_row_groups(row_groups).with_projection(mask).with_batch_size(BATCH_ROWS).build()?;
        batches.try_for_each(|_| async { Ok(()) }).await.map_err(DataFusionError::from)
    }

    /// Those that the scan reads: that begin in its piece of the file.
    fn row_groups(&self, metadata: &ParquetMetaData) -> Vec<usize> {
        let is_read = |group: &usize| {
            let Some(range) = &self.file.range else { return true };
            let begins = metadata.row_group(*group).columns().first().map(|column| column.byte_range().0 as i64);
            begins.is_some_and(|begins| (range.start..range.end).contains(&begins))
        };
        (0..metadata.num_row_groups()).filter(is_read).collect()
    }
}
