//! Opens data files for DataFusion's Parquet decoder.

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::ParquetFileReaderFactory;
use datafusion::datasource::physical_plan::parquet::ParquetFileMetrics;
use datafusion::error::DataFusionError;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use futures::FutureExt;
use futures::future::BoxFuture;
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;
use polynya_catalog::Storage;

use super::decoded::{BATCH_ROWS, DecodedTier};
use super::footers::{Footer, FooterCache};
use super::page::FileKey;
use super::page_growth::growth;
use super::pages::{Pages, assemble};
use super::prefetch::{Budget, Foreseen, PrefetchHandle, prefetch};
use super::query_io::{CacheMode, DataFile, QueryIo};
use super::staged::Staged;
use crate::memory::{MemoryBudget, Reserved};
use crate::scan::{ColumnMapping, IcebergFile};
use crate::{Error, Result};

/// Where reads of data files are answered from before the store is asked. Shared by all queries.
#[derive(Debug, Clone)]
pub(crate) struct DataCaches {
    pub(crate) footers: FooterCache,
    pub(crate) pages: Pages,
    pub(crate) budget: Budget,
    /// Where is reserved what pages grow to when they are decoded.
    pub(crate) memory: MemoryBudget,
}

/// Opens the data files of one scan, for one query.
#[derive(Debug)]
pub(crate) struct ReaderFactory {
    storage: Arc<Storage>,
    io: Arc<QueryIo>,
    caches: DataCaches,
    mapping: Arc<ColumnMapping>,
    staged: Arc<Staged>,
}

impl ReaderFactory {
    /// `storage` is the table's, metered for the query.
    pub(crate) fn new(
        storage: Arc<Storage>,
        io: Arc<QueryIo>,
        caches: DataCaches,
        mapping: Arc<ColumnMapping>,
    ) -> Self {
        Self { storage, io, caches, mapping, staged: Arc::default() }
    }

    /// The table's store.
    pub(crate) fn storage(&self) -> &Arc<Storage> {
        &self.storage
    }

    /// A file that the scan planned.
    pub(crate) fn file(&self, file: &PartitionedFile) -> Result<DataFile> {
        let Some(iceberg) = IcebergFile::of(file) else {
            return Err(Error::Internal(format!("{} was not planned by an Iceberg scan", file.object_meta.location)));
        };
        let name = Arc::from(self.storage.cache_key(&iceberg.location)?);
        Ok(DataFile {
            location: Arc::clone(&iceberg.location),
            key: FileKey { name, size_bytes: iceberg.size_bytes },
            storage: Arc::clone(&self.storage),
            io: Arc::clone(&self.io),
        })
    }

    /// Counts a piece of a file whose reading begins.
    pub(crate) fn begin(&self, piece_bytes: u64) {
        self.io.meter.begun(piece_bytes);
    }

    /// A file's footer.
    pub(crate) async fn footer(&self, file: &DataFile) -> Result<Arc<Footer>> {
        self.caches.footers.get(&self.caches.pages, file, &self.mapping).await
    }

    /// Forgets what is kept of a file in which something is damaged: the next read of it asks the store.
    pub(crate) fn forget(&self, file: &DataFile) {
        self.caches.pages.forget(file);
        self.caches.footers.forget(&file.key);
        self.staged.forget_file(&file.key);
    }

    /// Reads the pages that cover these ranges, for the cache alone. Returns their bytes.
    pub(crate) async fn read(&self, file: &DataFile, footer: &Footer, ranges: &[Range<u64>]) -> Result<u64> {
        let mut pages: Vec<Range<u64>> = ranges.iter().flat_map(|range| footer.layout.covering(range)).collect();
        pages.sort_by_key(|page| page.start);
        pages.dedup();
        let brought = self.caches.pages.get(file, &footer.layout, &pages).await?;
        Ok(brought.values().map(|page| page.len() as u64).sum())
    }

    /// Columns that need no decoding.
    pub(crate) fn decoded(&self) -> &Arc<DecodedTier> {
        self.caches.pages.cache.decoded()
    }

    /// Whether this query reads the cache, and leaves there what it reads.
    pub(crate) fn cache_mode(&self) -> CacheMode {
        self.io.cache
    }

    /// Opens a file for a decoder that makes batches of so many rows.
    pub(crate) fn open(
        &self,
        partition_index: usize,
        file: &PartitionedFile,
        metrics: &ExecutionPlanMetricsSet,
        batch_rows: usize,
    ) -> Result<Box<dyn AsyncFileReader + Send>> {
        let file = self.file(file)?;
        Ok(Box::new(DataFileReader {
            metrics: ParquetFileMetrics::new(partition_index, &file.location, metrics),
            file,
            caches: self.caches.clone(),
            mapping: Arc::clone(&self.mapping),
            staged: Arc::clone(&self.staged),
            batch_rows,
            held: self.caches.memory.begin("decoding data files"),
        }))
    }

    /// Begins to read ahead for this scan.
    pub(crate) fn prefetch(&self, scan: impl Foreseen) -> Option<PrefetchHandle> {
        prefetch(scan, self.caches.pages.clone(), Arc::clone(&self.staged), self.caches.budget.clone())
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
        self.open(partition_index, &file, metrics, BATCH_ROWS).map_err(DataFusionError::from)
    }
}

/// One open data file.
struct DataFileReader {
    file: DataFile,
    caches: DataCaches,
    mapping: Arc<ColumnMapping>,
    staged: Arc<Staged>,
    metrics: ParquetFileMetrics,
    batch_rows: usize,
    /// What decoding takes for the pages that were read last.
    held: Reserved,
}

impl DataFileReader {
    async fn footer(&self) -> Result<Arc<Footer>> {
        self.caches.footers.get(&self.caches.pages, &self.file, &self.mapping).await
    }

    /// Each range, from the pages that cover it.
    async fn read(&mut self, ranges: Vec<Range<u64>>) -> Result<Vec<Bytes>> {
        self.file.io.scan(ranges.iter().map(|range| range.end - range.start).sum())?;
        let begun = Instant::now();
        let footer = self.footer().await?;
        let wait = self.file.io.waits.enter_file("pages", &self.file.location, None);
        let covering: Vec<Vec<Range<u64>>> = ranges.iter().map(|range| footer.layout.covering(range)).collect();
        let mut wanted: Vec<Range<u64>> = covering.iter().flatten().cloned().collect();
        wanted.sort_by_key(|page| page.start);
        wanted.dedup();
        let mut pages = self.staged.take(&self.file.key, &mut wanted);
        pages.extend(self.caches.pages.get(&self.file, &footer.layout, &wanted).await?);
        drop(wait);
        self.file.io.meter.waited(begun.elapsed());
        let assembled = ranges.iter().zip(&covering);
        let assembled = assembled.map(|(range, covering)| assemble(range, covering, &pages, &self.file.key));
        let read: Vec<Bytes> = assembled.collect::<Result<_>>()?;
        self.reserve(&footer, &ranges, &read).await?;
        Ok(read)
    }

    /// Reserves what decoding these bytes will take, in place of those before.
    async fn reserve(&mut self, footer: &Footer, ranges: &[Range<u64>], read: &[Bytes]) -> Result<()> {
        let bytes = growth(&footer.chunks, &footer.metadata, ranges, read, self.batch_rows).await;
        let location = &self.file.location;
        let bytes = bytes.map_err(|reason| Error::DamagedFile { location: location.to_string(), reason })?;
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        // As operators say it: alone, the query may have enough.
        self.held.resize(bytes).map_err(|_| {
            let message = format!("decoding pages of data file {location} takes {bytes} bytes more than is left");
            Error::from(DataFusionError::ResourcesExhausted(message))
        })
    }
}

impl AsyncFileReader for DataFileReader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes, ParquetError>> {
        async move { Ok(self.get_byte_ranges(vec![range]).await?.swap_remove(0)) }.boxed()
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, Result<Vec<Bytes>, ParquetError>> {
        let bytes: u64 = ranges.iter().map(|range| range.end - range.start).sum();
        self.metrics.bytes_scanned.add(bytes as usize);
        async move { self.read(ranges).await.map_err(external) }.boxed()
    }

    /// The footer always has the page index, where the file has one: it came with it.
    fn get_metadata<'a>(
        &'a mut self,
        _options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, Result<Arc<ParquetMetaData>, ParquetError>> {
        async move {
            let begun = Instant::now();
            let footer = self.footer().await.map_err(external)?;
            self.file.io.meter.waited(begun.elapsed());
            Ok(Arc::clone(&footer.metadata))
        }
        .boxed()
    }
}

/// Errors of ours travel through the decoder whole, and are taken back by `Error::from`.
fn external(error: Error) -> ParquetError {
    ParquetError::External(Box::new(error))
}
