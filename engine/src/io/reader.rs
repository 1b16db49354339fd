//! Opens data files for DataFusion's Parquet decoder: footers from the cache, column chunks in few, large requests.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::ParquetFileReaderFactory;
use datafusion::datasource::physical_plan::parquet::ParquetFileMetrics;
use datafusion::error::DataFusionError;
use datafusion::object_store::coalesce_ranges;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use futures::FutureExt;
use futures::future::BoxFuture;
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::errors::ParquetError;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData};
use polynya_catalog::Storage;

use super::footers::FooterCache;
use crate::scan::{ColumnMapping, IcebergFile};

/// Bytes between two ranges that are read through rather than asked around. 1 MiB.
const GAP_BYTES_MAX: u64 = 1 << 20;

/// Opens the data files of one scan, through one query's meter.
#[derive(Debug)]
pub(crate) struct ReaderFactory {
    storage: Arc<Storage>,
    footers: FooterCache,
    mapping: Arc<ColumnMapping>,
}

impl ReaderFactory {
    /// `storage` is the table's, metered for the query.
    pub(crate) fn new(storage: Arc<Storage>, footers: FooterCache, mapping: Arc<ColumnMapping>) -> Self {
        Self { storage, footers, mapping }
    }
}

impl ParquetFileReaderFactory for ReaderFactory {
    fn create_reader(
        &self,
        partition_index: usize,
        file: PartitionedFile,
        _metadata_size_hint: Option<usize>,
        metrics: &ExecutionPlanMetricsSet,
    ) -> datafusion::common::Result<Box<dyn AsyncFileReader + Send>> {
        let Some(iceberg) = IcebergFile::of(&file) else {
            return Err(DataFusionError::Internal(format!(
                "{} was not planned by an Iceberg scan",
                file.object_meta.location
            )));
        };
        Ok(Box::new(DataFileReader {
            location: Arc::clone(&iceberg.location),
            size_bytes: iceberg.size_bytes,
            storage: Arc::clone(&self.storage),
            footers: self.footers.clone(),
            mapping: Arc::clone(&self.mapping),
            metrics: ParquetFileMetrics::new(partition_index, &iceberg.location, metrics),
        }))
    }
}

/// One open data file.
struct DataFileReader {
    location: Arc<str>,
    size_bytes: u64,
    storage: Arc<Storage>,
    footers: FooterCache,
    mapping: Arc<ColumnMapping>,
    metrics: ParquetFileMetrics,
}

impl AsyncFileReader for DataFileReader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes, ParquetError>> {
        self.metrics.bytes_scanned.add((range.end - range.start) as usize);
        async move { self.storage.read_range(&self.location, range).await.map_err(external) }.boxed()
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, Result<Vec<Bytes>, ParquetError>> {
        let bytes: u64 = ranges.iter().map(|range| range.end - range.start).sum();
        self.metrics.bytes_scanned.add(bytes as usize);
        async move {
            let fetch = |range| async { self.storage.read_range(&self.location, range).await.map_err(external) };
            coalesce_ranges(&ranges, fetch, GAP_BYTES_MAX).await
        }
        .boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, Result<Arc<ParquetMetaData>, ParquetError>> {
        let page_index = options.is_some_and(|options| {
            options.column_index_policy() != PageIndexPolicy::Skip
                || options.offset_index_policy() != PageIndexPolicy::Skip
        });
        async move {
            let footer = self.footers.get(&self.storage, &self.location, self.size_bytes, &self.mapping, page_index);
            footer.await.map_err(external)
        }
        .boxed()
    }
}

/// Errors of ours travel through the decoder whole, and are taken back by `Error::from`.
fn external(error: impl Into<crate::Error>) -> ParquetError {
    ParquetError::External(Box::new(error.into()))
}
