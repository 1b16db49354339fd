//! Parquet footers, decoded under the table's column names and kept between queries within a limit of bytes.
//!
//! A file is immutable and named by its location and size, so a footer is never revalidated.

use std::ops::Range;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use datafusion::error::DataFusionError;
use futures::future::BoxFuture;
use moka::future::Cache;
use parquet::arrow::async_reader::MetadataFetch;
use parquet::errors::ParquetError;
use parquet::file::metadata::{
    FileMetaData, PageIndexPolicy, ParquetMetaData, ParquetMetaDataBuilder, ParquetMetaDataOptions,
    ParquetMetaDataReader,
};
use polynya_catalog::Storage;

use crate::scan::ColumnMapping;
use crate::{Error, Result};

/// The end of a file that one request brings: the footer, and mostly the page index before it. 64 KiB.
const TAIL_BYTES: u64 = 64 << 10;

/// Length of the footer's own length and of the magic number, in bytes.
const TRAILER_BYTES: usize = 8;

/// A file's store and location, its size, the mapping's fingerprint, and whether the page index is included.
type Key = (Arc<str>, u64, u64, bool);

/// Decoded footers. Concurrent requests for one footer make one fetch.
#[derive(Debug, Clone)]
pub(crate) struct FooterCache {
    footers: Cache<Key, Arc<ParquetMetaData>>,
}

impl FooterCache {
    /// A cache that holds at most about `capacity_bytes`.
    pub(crate) fn new(capacity_bytes: u64) -> Self {
        let weigh = |key: &Key, footer: &Arc<ParquetMetaData>| {
            u32::try_from(key.0.len() + footer.memory_size()).unwrap_or(u32::MAX)
        };
        Self { footers: Cache::builder().max_capacity(capacity_bytes).weigher(weigh).build() }
    }

    /// A file's footer, its columns under the table's names; with the page index where the file has one, if asked for.
    /// `key` names the file across stores.
    pub(crate) async fn get(
        &self,
        storage: &Arc<Storage>,
        key: &Arc<str>,
        location: &str,
        size_bytes: u64,
        mapping: &ColumnMapping,
        page_index: bool,
    ) -> Result<Arc<ParquetMetaData>> {
        let entry = (Arc::clone(key), size_bytes, mapping.fingerprint(), page_index);
        let load = async {
            let footer = if page_index {
                let plain = Box::pin(self.get(storage, key, location, size_bytes, mapping, false)).await?;
                with_page_index(storage, location, plain.as_ref().clone()).await?
            } else {
                fetch(storage, location, size_bytes, mapping).await?
            };
            Ok(Arc::new(footer))
        };
        let loaded = self.footers.try_get_with(entry, load).await;
        loaded.map_err(|error: Arc<Error>| Arc::try_unwrap(error).unwrap_or_else(Error::Shared))
    }
}

/// Reads and decodes a footer: one request, or two if the footer is longer than the tail.
async fn fetch(
    storage: &Arc<Storage>,
    location: &str,
    size_bytes: u64,
    mapping: &ColumnMapping,
) -> Result<ParquetMetaData> {
    let damaged = |reason: String| Error::DamagedFile { location: location.to_owned(), reason };
    if size_bytes < 12 {
        return Err(damaged(format!("{size_bytes} bytes are too few for a Parquet file")));
    }
    let tail_start = size_bytes.saturating_sub(TAIL_BYTES);
    let tail = storage.read_range(location, tail_start..size_bytes).await?;
    let trailer = &tail[tail.len() - TRAILER_BYTES..];
    if &trailer[4..] != b"PAR1" {
        return Err(damaged("it does not end as a Parquet file does".to_owned()));
    }
    let length = (&trailer[..4]).get_u32_le() as usize;
    let end = tail.len() - TRAILER_BYTES;
    let footer: Bytes = if length <= end {
        tail.slice(end - length..end)
    } else {
        let footer_end = size_bytes - TRAILER_BYTES as u64;
        let start =
            footer_end.checked_sub(length as u64).ok_or_else(|| damaged(format!("a footer of {length} bytes")))?;
        storage.read_range(location, start..footer_end).await?
    };
    decode(&footer, location, mapping)
}

/// Decodes a footer twice: for its schema, then for the rest under the renamed schema.
fn decode(footer: &[u8], location: &str, mapping: &ColumnMapping) -> Result<ParquetMetaData> {
    let damaged = |error: ParquetError| Error::DamagedFile { location: location.to_owned(), reason: error.to_string() };
    let schema = ParquetMetaDataReader::decode_schema(footer).map_err(damaged)?;
    let renamed = mapping.apply(&schema, location)?;
    let options = ParquetMetaDataOptions::new().with_schema(renamed);
    let decoded = ParquetMetaDataReader::decode_metadata_with_options(footer, Some(&options)).map_err(damaged)?;
    // The writer's own Arrow schema is left out: it knows columns by their old names, and Iceberg's types come from Parquet's.
    let file = decoded.file_metadata();
    let file = FileMetaData::new(
        file.version(),
        file.num_rows(),
        file.created_by().map(str::to_owned),
        None,
        file.schema_descr_ptr(),
        file.column_orders().cloned(),
    );
    Ok(ParquetMetaDataBuilder::new(file).set_row_groups(decoded.row_groups().to_vec()).build())
}

/// Adds the page index, where the file has one.
async fn with_page_index(storage: &Arc<Storage>, location: &str, footer: ParquetMetaData) -> Result<ParquetMetaData> {
    let mut reader = ParquetMetaDataReader::new_with_metadata(footer).with_page_index_policy(PageIndexPolicy::Optional);
    reader.load_page_index(FetchRange { storage, location }).await.map_err(DataFusionError::from)?;
    reader.finish().map_err(|error| DataFusionError::from(error).into())
}

/// Fetches for the Parquet reader.
struct FetchRange<'a> {
    storage: &'a Arc<Storage>,
    location: &'a str,
}

impl MetadataFetch for FetchRange<'_> {
    fn fetch(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes, ParquetError>> {
        let read = self.storage.read_range(self.location, range);
        Box::pin(async move { read.await.map_err(|error| ParquetError::External(Box::new(error))) })
    }
}
