//! Opens data files for DataFusion's Parquet decoder: footers and column chunks from memory, the rest in few, large requests.

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

use super::chunk_cache::ChunkCache;
use super::footers::FooterCache;
use crate::scan::{ColumnMapping, IcebergFile};

/// Bytes between two ranges that are read through rather than asked around. 1 MiB.
const GAP_BYTES_MAX: u64 = 1 << 20;

/// Where reads of data files are answered from before the store is asked. Shared by all queries.
#[derive(Debug, Clone)]
pub(crate) struct DataCaches {
    pub(crate) footers: FooterCache,
    pub(crate) chunks: ChunkCache,
}

/// Opens the data files of one scan, through one query's meter.
#[derive(Debug)]
pub(crate) struct ReaderFactory {
    storage: Arc<Storage>,
    caches: DataCaches,
    mapping: Arc<ColumnMapping>,
}

impl ReaderFactory {
    /// `storage` is the table's, metered for the query.
    pub(crate) fn new(storage: Arc<Storage>, caches: DataCaches, mapping: Arc<ColumnMapping>) -> Self {
        Self { storage, caches, mapping }
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
            let path = file.object_meta.location;
            return Err(DataFusionError::Internal(format!("{path} was not planned by an Iceberg scan")));
        };
        let key = self.storage.cache_key(&iceberg.location).map_err(crate::Error::from)?;
        Ok(Box::new(DataFileReader {
            location: Arc::clone(&iceberg.location),
            key: Arc::from(key),
            size_bytes: iceberg.size_bytes,
            storage: Arc::clone(&self.storage),
            caches: self.caches.clone(),
            mapping: Arc::clone(&self.mapping),
            metrics: ParquetFileMetrics::new(partition_index, &iceberg.location, metrics),
        }))
    }
}

/// One open data file.
struct DataFileReader {
    location: Arc<str>,
    /// Names the file across stores: two endpoints may have files of one location.
    key: Arc<str>,
    size_bytes: u64,
    storage: Arc<Storage>,
    caches: DataCaches,
    mapping: Arc<ColumnMapping>,
    metrics: ParquetFileMetrics,
}

impl DataFileReader {
    /// Each range, from memory or from the store; misses that lie near each other share a request.
    async fn read(&self, ranges: Vec<Range<u64>>) -> Result<Vec<Bytes>, ParquetError> {
        let mut found: Vec<Option<Bytes>> = Vec::with_capacity(ranges.len());
        for range in &ranges {
            found.push(self.caches.chunks.get(&self.key, self.size_bytes, range).await);
        }
        let missing: Vec<Range<u64>> =
            ranges.iter().zip(&found).filter(|(_, found)| found.is_none()).map(|(range, _)| range.clone()).collect();
        if !missing.is_empty() {
            let fetch = |range| async { self.storage.read_range(&self.location, range).await.map_err(external) };
            let mut fetched = coalesce_ranges(&missing, fetch, GAP_BYTES_MAX).await?.into_iter();
            for (range, slot) in ranges.iter().zip(&mut found).filter(|(_, slot)| slot.is_none()) {
                let Some(bytes) = fetched.next() else { break };
                let own = Bytes::copy_from_slice(&bytes);
                self.caches.chunks.insert(&self.key, self.size_bytes, range.clone(), own.clone()).await;
                *slot = Some(own);
            }
        }
        let all: Option<Vec<Bytes>> = found.into_iter().collect();
        all.ok_or_else(|| ParquetError::General(format!("{}: fewer ranges came than were asked for", self.location)))
    }
}

impl AsyncFileReader for DataFileReader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes, ParquetError>> {
        async move { Ok(self.get_byte_ranges(vec![range]).await?.swap_remove(0)) }.boxed()
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, Result<Vec<Bytes>, ParquetError>> {
        let bytes: u64 = ranges.iter().map(|range| range.end - range.start).sum();
        self.metrics.bytes_scanned.add(bytes as usize);
        self.read(ranges).boxed()
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
            let footers = &self.caches.footers;
            let footer =
                footers.get(&self.storage, &self.key, &self.location, self.size_bytes, &self.mapping, page_index);
            footer.await.map_err(external)
        }
        .boxed()
    }
}

/// Errors of ours travel through the decoder whole, and are taken back by `Error::from`.
fn external(error: impl Into<crate::Error>) -> ParquetError {
    ParquetError::External(Box::new(error.into()))
}
