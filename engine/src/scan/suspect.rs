//! A file of which a scan may say that it is damaged: then nothing of it is kept.
//!
//! Where a scan panicked, the file is decoded once more, without any expression, to see whether it is the file's fault. Rows are
//! counted against its footer, where all were asked for: damaged levels of a nested column are rows more or less, and no error.

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
use crate::{Error, panics};

/// See the module.
pub(super) struct Suspect {
    file: PartitionedFile,
    readers: Arc<ReaderFactory>,
    /// The columns that are read, by their names.
    columns: Arc<[String]>,
    /// Whether all rows are asked for.
    is_whole: bool,
}

impl Suspect {
    pub(super) fn new(
        file: PartitionedFile,
        readers: &Arc<ReaderFactory>,
        columns: &Arc<[String]>,
        is_whole: bool,
    ) -> Arc<Self> {
        Arc::new(Self { file, readers: Arc::clone(readers), columns: Arc::clone(columns), is_whole })
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

    /// What is wrong with so many rows, if they cannot be the file's.
    pub(super) async fn wrong_rows(&self, given: usize) -> Option<DataFusionError> {
        let file = self.readers.file(&self.file).ok()?;
        let metadata = Arc::clone(&self.readers.footer(&file).await.ok()?.metadata);
        let rows = self.row_groups(&metadata).into_iter().map(|group| metadata.row_group(group).num_rows());
        let rows = usize::try_from(rows.sum::<i64>()).ok()?;
        (given > rows || (self.is_whole && given < rows)).then(|| {
            let reason = format!("it has {rows} rows by its footer; {given} were decoded");
            Error::DamagedFile { location: self.location().to_owned(), reason }.into()
        })
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
            let first = metadata.row_group(*group).columns().first();
            let begins =
                first.map(|column| column.dictionary_page_offset().unwrap_or_else(|| column.data_page_offset()));
            begins.is_some_and(|begins| (range.start..range.end).contains(&begins))
        };
        (0..metadata.num_row_groups()).filter(is_read).collect()
    }
}
