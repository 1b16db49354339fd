//! One data file: gathers rows, encodes them, sends them, and at the end describes itself.
//!
//! In: batches of one partition. Out: a [`DataFile`] for the manifest, once the whole file is in the store.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use iceberg::spec::{DataContentType, DataFile, DataFileBuilder, DataFileFormat, Struct};
use parquet::file::metadata::ParquetMetaData;

use super::encoder::Encoder;
use super::metrics::{FileMetrics, count_nans};
use super::plan::WritePlan;
use super::upload::Upload;
use crate::change::Unfinished;
use crate::io::{FileKey, Hydrator};
use crate::{Error, Result};

/// Rows that are encoded at once: enough that a column's task is worth starting.
const CHUNK_ROWS: usize = 64 << 10;
/// Bytes in memory that are encoded at once, whatever the number of rows.
const CHUNK_BYTES: usize = 64 << 20;

/// A data file that is being written.
pub(super) struct DataFileWriter {
    plan: Arc<WritePlan>,
    location: String,
    partition: Struct,
    encoder: Encoder,
    upload: Upload,
    hydrator: Option<Hydrator>,
    pending: Vec<RecordBatch>,
    pending_rows: usize,
    pending_bytes: usize,
    rows: u64,
    nan_counts: HashMap<i32, u64>,
}

impl DataFileWriter {
    pub(super) fn new(
        plan: &Arc<WritePlan>,
        location: String,
        partition: Struct,
        unfinished: &Unfinished,
    ) -> Result<Self> {
        Ok(Self {
            encoder: plan.encoder().map_err(|source| failed(&location, source))?,
            upload: Upload::new(&plan.storage, &location, unfinished)?,
            hydrator: plan.hydrator(),
            plan: Arc::clone(plan),
            location,
            partition,
            pending: Vec::new(),
            pending_rows: 0,
            pending_bytes: 0,
            rows: 0,
            nan_counts: HashMap::new(),
        })
    }

    /// Bytes that the file has so far, about.
    pub(super) fn file_bytes(&self) -> u64 {
        self.upload.bytes() + self.encoder.group_bytes() as u64
    }

    /// Memory held, in bytes.
    pub(super) fn memory_bytes(&self) -> usize {
        let held = self.hydrator.as_ref().map_or(0, Hydrator::memory_bytes);
        self.pending_bytes + self.encoder.memory_bytes() + self.upload.memory_bytes() + held
    }

    /// Adds rows.
    pub(super) async fn push(&mut self, batch: RecordBatch) -> Result<()> {
        self.pending_rows += batch.num_rows();
        self.pending_bytes += batch.get_array_memory_size();
        self.pending.push(batch);
        if self.pending_rows >= CHUNK_ROWS || self.pending_bytes >= CHUNK_BYTES {
            self.encode_pending().await?;
        }
        Ok(())
    }

    /// Gives back as much memory as can be given: ends the open row group.
    pub(super) async fn relieve(&mut self) -> Result<()> {
        self.encode_pending().await?;
        self.close_group().await
    }

    async fn encode_pending(&mut self) -> Result<()> {
        let pending = std::mem::take(&mut self.pending);
        (self.pending_rows, self.pending_bytes) = (0, 0);
        let batch = match pending.as_slice() {
            [] => return Ok(()),
            [one] => one.clone(),
            several => concat_batches(&self.plan.arrow_schema, several)?,
        };
        for (field, column) in self.plan.arrow_schema.fields().iter().zip(batch.columns()) {
            count_nans(field, column, &mut self.nan_counts);
        }
        self.rows += batch.num_rows() as u64;
        let properties = &self.plan.properties;
        let (group_rows, group_bytes) = (properties.row_group_rows, properties.row_group_bytes);
        let mut offset = 0;
        while offset < batch.num_rows() {
            let space = group_rows.saturating_sub(self.encoder.group_rows()).max(1);
            let length = space.min(batch.num_rows() - offset);
            self.encoder.write(&batch.slice(offset, length)).await.map_err(|source| failed(&self.location, source))?;
            offset += length;
            if self.encoder.group_rows() >= group_rows || self.encoder.group_bytes() as u64 >= group_bytes {
                self.close_group().await?;
            }
        }
        Ok(())
    }

    async fn close_group(&mut self) -> Result<()> {
        self.encoder.close_group().await.map_err(|source| failed(&self.location, source))?;
        self.send().await
    }

    async fn send(&mut self) -> Result<()> {
        let bytes = self.encoder.take_bytes();
        if let Some(hydrator) = &mut self.hydrator {
            hydrator.push(&bytes);
        }
        self.upload.push(bytes).await.map_err(|source| self.plan.storage.write_failed(&self.location, source).into())
    }

    /// Writes what is left and the footer, and waits until the file is in the store.
    pub(super) async fn finish(mut self) -> Result<DataFile> {
        self.relieve().await?;
        let footer =
            self.encoder.finish(self.plan.schema_json.clone()).map_err(|source| failed(&self.location, source))?;
        self.send().await?;
        let Self { plan, location, partition, upload, hydrator, rows, nan_counts, .. } = self;
        let bytes = upload.finish().await.map_err(|source| plan.storage.write_failed(&location, source))?;
        if let (Some(hydrator), Ok(name)) = (hydrator, plan.storage.cache_key(&location)) {
            hydrator.finish(&FileKey { name: Arc::from(name), size_bytes: bytes });
        }
        let metrics = FileMetrics::of(&footer, &plan.schema, &nan_counts, &plan.properties.metrics);
        DataFileBuilder::default()
            .content(DataContentType::Data)
            .file_format(DataFileFormat::Parquet)
            .file_path(location)
            .partition(partition)
            .partition_spec_id(plan.partitioner.spec_id())
            .record_count(rows)
            .file_size_in_bytes(bytes)
            .column_sizes(metrics.column_sizes)
            .value_counts(metrics.value_counts)
            .null_value_counts(metrics.null_value_counts)
            .nan_value_counts(metrics.nan_value_counts)
            .lower_bounds(metrics.lower_bounds)
            .upper_bounds(metrics.upper_bounds)
            .split_offsets(Some(split_offsets(&footer)))
            .sort_order_id(0)
            .build()
            .map_err(|error| Error::Internal(format!("a data file without {error}")))
    }
}

/// Where each row group starts.
fn split_offsets(footer: &ParquetMetaData) -> Vec<i64> {
    let starts = footer.row_groups().iter().filter_map(|group| {
        let first = group.columns().first()?;
        Some(first.dictionary_page_offset().unwrap_or_else(|| first.data_page_offset()).min(first.data_page_offset()))
    });
    starts.collect()
}

/// Rows that Parquet cannot hold, or a bug: the file is named.
fn failed(location: &str, source: parquet::errors::ParquetError) -> Error {
    let context = format!("while writing {location}");
    datafusion::error::DataFusionError::from(source).context(context).into()
}
