//! Parquet footers with their page indexes, decoded under the table's column names, and kept between queries within a limit
//! of bytes; undecoded, they are pages of the cache, so that a restarted process need not ask for them again.
//!
//! One request brings the end of a file: its length is guessed from the number of columns and row groups. A file that is
//! small comes whole.

use std::sync::Arc;

use bytes::{Buf, Bytes};
use futures::FutureExt;
use moka::future::Cache;
use parquet::errors::ParquetError;
use parquet::file::metadata::{
    ColumnChunkMetaData, FileMetaData, PageIndexPolicy, ParquetMetaData, ParquetMetaDataBuilder,
    ParquetMetaDataOptions, ParquetMetaDataReader,
};
use polynya_catalog::own_task;

use super::layout::Layout;
use super::page::{FileKey, PageKey};
use super::page_checksums;
use super::page_growth::Chunks;
use super::pages::Pages;
use super::query_io::{CacheMode, DataFile};
use crate::memory::{MemoryBudget, Reserved};
use crate::scan::ColumnMapping;
use crate::{Error, Result};

/// A file up to this size is read whole: one request instead of two.
pub(super) const WHOLE_FILE_BYTES_MAX: u64 = 1 << 20;
/// The least that is read of a file's end.
const TAIL_BYTES_MIN: u64 = 64 << 10;
const TAIL_BYTES_MAX: u64 = 4 << 20;
/// Footer and page index of one column chunk, about: statistics, and forty pages.
const CHUNK_METADATA_BYTES: u64 = 1 << 10;
/// A row group's bytes, for a guess of how many a file has.
const ROW_GROUP_BYTES: u64 = 64 << 20;
/// Length of the footer's own length and of the magic number, in bytes.
const TRAILER_BYTES: usize = 8;

/// What opening a file needs: its metadata, and where its pages are.
#[derive(Debug)]
pub(crate) struct Footer {
    pub(crate) metadata: Arc<ParquetMetaData>,
    pub(crate) layout: Layout,
    pub(crate) chunks: Arc<Chunks>,
}

/// A file, and the mapping's fingerprint.
type Key = (FileKey, u64);

/// Decoded footers. Concurrent requests for one footer make one fetch.
#[derive(Debug, Clone)]
pub(crate) struct FooterCache {
    footers: Cache<Key, Arc<Footer>>,
    memory: MemoryBudget,
}

impl FooterCache {
    /// A cache that holds at most about `capacity_bytes`. Footers of unusual size are reserved in `memory` while they are read.
    pub(crate) fn new(capacity_bytes: u64, memory: &MemoryBudget) -> Self {
        let weigh = |key: &Key, footer: &Arc<Footer>| {
            u32::try_from(key.0.name.len() + footer.metadata.memory_size()).unwrap_or(u32::MAX)
        };
        let footers = Cache::builder().max_capacity(capacity_bytes).weigher(weigh).support_invalidation_closures();
        Self { footers: footers.build(), memory: memory.clone() }
    }

    /// A file's footer, its columns under the table's names.
    pub(crate) async fn get(
        &self,
        pages: &Pages,
        file: &DataFile,
        mapping: &Arc<ColumnMapping>,
    ) -> Result<Arc<Footer>> {
        let key = (file.key.clone(), mapping.fingerprint());
        if let Some(footer) = self.footers.get(&key).await {
            return Ok(footer);
        }
        let _wait = file.io.waits.enter_file("the footer", &file.location, None);
        match self.load_once(pages, file, mapping, key.clone()).await {
            // Another query, whose request we waited for, reached its own limit: once, we ask for ourselves.
            Err(error) if matches!(*error, Error::Limit { .. }) => self.load_once(pages, file, mapping, key).await,
            loaded => loaded,
        }
        .map_err(|error| Arc::try_unwrap(error).unwrap_or_else(Error::Shared))
    }

    /// The footer, loaded by whoever asks for it first.
    async fn load_once(
        &self,
        pages: &Pages,
        file: &DataFile,
        mapping: &Arc<ColumnMapping>,
        key: Key,
    ) -> Result<Arc<Footer>, Arc<Error>> {
        let (pages, file, mapping, memory) = (pages.clone(), file.clone(), Arc::clone(mapping), self.memory.clone());
        let load = async move {
            match load(&pages, &file, &mapping, &memory).await {
                // What came may be damaged, and not the file.
                Err(error) if error.damaged_file().is_some() || matches!(error, Error::Unsupported { .. }) => {
                    pages.forget(&file);
                    load(&pages, &file, &mapping, &memory).await
                }
                loaded => loaded,
            }
        };
        // The decoder may wait for a footer that is being read ahead: the read goes on though reading ahead waits for its budget.
        let footers = self.footers.clone();
        own_task(async move { footers.try_get_with(key, load).await }.boxed())
            .await
            .map_err(|error| Arc::new(error.into()))?
    }

    /// Forgets a file's footer, under whatever names its columns were.
    pub(crate) fn forget(&self, file: &FileKey) {
        let file = file.clone();
        if let Err(error) = self.footers.invalidate_entries_if(move |(known, _), _| *known == file) {
            tracing::warn!(%error, "a footer could not be forgotten");
        }
    }

    /// Forgets everything.
    pub(crate) fn clear(&self) {
        self.footers.invalidate_all();
    }
}

async fn load(pages: &Pages, file: &DataFile, mapping: &ColumnMapping, memory: &MemoryBudget) -> Result<Arc<Footer>> {
    let row_groups = file.key.size_bytes / ROW_GROUP_BYTES + 1;
    let columns = mapping.schema().as_struct().fields().len() as u64;
    let mut reserved = memory.begin(format!("the footer of {}", file.location));
    let end = end_of_file(pages, file, columns * row_groups, &mut reserved).await?;
    let metadata = Arc::new(decode(&end, file, mapping)?);
    let layout = match file.key.size_bytes {
        size if size <= WHOLE_FILE_BYTES_MAX => {
            let layout = Layout::whole_of(size, &metadata);
            // It came before its footer said where pages begin.
            if let Some(reason) = page_checksums::damage(layout.headed(&(0..size)), &end, 0) {
                return Err(damaged(file, reason));
            }
            layout
        }
        _ => Layout::new(&metadata),
    };
    let chunks = Arc::new(Chunks::new(&metadata));
    Ok(Arc::new(Footer { metadata, layout, chunks }))
}

/// The file's last bytes, from its page index or its footer on, whichever comes first.
///
/// More than the first request brings is reserved before it is read: a damaged footer may say anything.
async fn end_of_file(pages: &Pages, file: &DataFile, chunks: u64, reserved: &mut Reserved) -> Result<Bytes> {
    let size = file.key.size_bytes;
    if size < 12 {
        return Err(damaged(file, format!("{size} bytes are too few for a Parquet file")));
    }
    if size <= WHOLE_FILE_BYTES_MAX {
        let whole = pages.get(file, &Layout::whole(size), std::slice::from_ref(&(0..size))).await?;
        return whole.into_values().next().ok_or_else(|| Error::Internal(format!("{} did not come", file.location)));
    }
    let key = PageKey::footer(&file.key);
    if let Some((kept, tier)) = pages.cache.get(&key, file.io.cache).await {
        file.io.meter.page(tier, kept.len() as u64);
        return Ok(kept);
    }
    if let Some(end) = pages.footer_from_peer(file, &key).await {
        if file.io.cache == CacheMode::On {
            pages.cache.insert_on_disk(&key, &end);
        }
        return Ok(end);
    }
    let guess = (TAIL_BYTES_MIN + chunks * CHUNK_METADATA_BYTES).min(TAIL_BYTES_MAX).min(size);
    let tail = pages.fetch_alone(file, size - guess..size).await?;
    let start = start_of_end(&tail, file)?;
    let end = match start.checked_sub(size - tail.len() as u64) {
        Some(within) => Bytes::copy_from_slice(&tail[within as usize..]),
        None => {
            // As it comes, and put together.
            reserved.resize(2 * (size - start) as usize)?;
            let before = pages.fetch_alone(file, start..size - tail.len() as u64).await?;
            Bytes::from([before, tail].concat())
        }
    };
    // The index may begin before the footer that was just completed.
    let start = start_of_end(&end, file)?;
    let end = match (size - end.len() as u64).checked_sub(start) {
        None | Some(0) => end,
        Some(_) => {
            reserved.resize(2 * (size - start) as usize)?;
            Bytes::from([pages.fetch_alone(file, start..size - end.len() as u64).await?, end].concat())
        }
    };
    if file.io.cache == CacheMode::On {
        pages.cache.insert_on_disk(&key, &end);
    }
    Ok(end)
}

/// Where the page index begins, if the file has one where writers put it and the footer is here whole; else where the footer begins.
fn start_of_end(tail: &Bytes, file: &DataFile) -> Result<u64> {
    let footer_end = tail.len() - TRAILER_BYTES;
    let length = footer_length(tail, file)?;
    let Some(start) = footer_end.checked_sub(length) else {
        let footer_end = file.key.size_bytes - TRAILER_BYTES as u64;
        return footer_end
            .checked_sub(length as u64)
            .ok_or_else(|| damaged(file, format!("a footer of {length} bytes in a file of {}", file.key.size_bytes)));
    };
    let offset = file.key.size_bytes - tail.len() as u64;
    let footer =
        ParquetMetaDataReader::decode_metadata(&tail[start..footer_end]).map_err(|error| unreadable(file, &error))?;
    Ok(start_of_index(&footer).unwrap_or(u64::MAX).min(offset + start as u64))
}

/// Where the page index begins: behind all columns. One elsewhere is not read.
fn start_of_index(footer: &ParquetMetaData) -> Option<u64> {
    let chunks = || footer.row_groups().iter().flat_map(|group| group.columns());
    let indexes = chunks().flat_map(|chunk| [chunk.column_index_offset(), chunk.offset_index_offset()]).flatten();
    let first = indexes.min().and_then(|offset| u64::try_from(offset).ok())?;
    let end_of = |chunk: &ColumnChunkMetaData| {
        let start = chunk.dictionary_page_offset().unwrap_or(chunk.data_page_offset());
        start.saturating_add(chunk.compressed_size())
    };
    let columns_end = chunks().map(end_of).max().and_then(|end| u64::try_from(end).ok())?;
    (first >= columns_end).then_some(first)
}

fn footer_length(tail: &[u8], file: &DataFile) -> Result<usize> {
    let Some(trailer) = tail.len().checked_sub(TRAILER_BYTES).map(|at| &tail[at..]) else {
        return Err(damaged(file, "it ends before a Parquet footer".to_owned()));
    };
    if &trailer[4..] != b"PAR1" {
        return Err(damaged(file, "it does not end as a Parquet file does".to_owned()));
    }
    Ok((&trailer[..4]).get_u32_le() as usize)
}

/// Decodes a footer twice: for its schema, then for the rest under the renamed schema; then the page index.
fn decode(end: &Bytes, file: &DataFile, mapping: &ColumnMapping) -> Result<ParquetMetaData> {
    let footer_end = end.len() - TRAILER_BYTES;
    let footer_start = footer_end
        .checked_sub(footer_length(end, file)?)
        .ok_or_else(|| damaged(file, "its footer is longer than the file".to_owned()))?;
    let footer = &end[footer_start..footer_end];
    let schema = ParquetMetaDataReader::decode_schema(footer).map_err(|error| unreadable(file, &error))?;
    let renamed = mapping.apply(&schema, &file.location)?;
    let options = ParquetMetaDataOptions::new().with_schema(renamed);
    let decoded = ParquetMetaDataReader::decode_metadata_with_options(footer, Some(&options))
        .map_err(|error| unreadable(file, &error))?;
    within_file(&decoded, file)?;
    let index = match start_of_index(&decoded) {
        Some(_) => PageIndexPolicy::Optional,
        None => PageIndexPolicy::Skip,
    };
    // The writer's own Arrow schema is left out: it knows columns by their old names, and Iceberg's types come from Parquet's.
    let about = decoded.file_metadata();
    // Rows are those of the row groups, whatever the footer says of the whole: some writers leave it at 0.
    let rows = decoded.row_groups().iter().try_fold(0_i64, |rows, group| rows.checked_add(group.num_rows()));
    let rows = rows.ok_or_else(|| damaged(file, "its row groups have more rows than can be".to_owned()))?;
    let about = FileMetaData::new(
        about.version(),
        rows,
        about.created_by().map(str::to_owned),
        None,
        about.schema_descr_ptr(),
        about.column_orders().cloned(),
    );
    let metadata = ParquetMetaDataBuilder::new(about).set_row_groups(decoded.row_groups().to_vec()).build();
    let mut reader = ParquetMetaDataReader::new_with_metadata(metadata).with_page_index_policy(index);
    reader.read_page_indexes_sized(end, file.key.size_bytes).map_err(|error| unreadable(file, &error))?;
    let metadata = reader.finish().map_err(|error| unreadable(file, &error))?;
    pages_within_file(&metadata, file)?;
    Ok(metadata)
}

/// Checks that column chunks and indexes lie within the file: what reads them takes that for granted.
fn within_file(metadata: &ParquetMetaData, file: &DataFile) -> Result<()> {
    let outside = |what: &str| Err(damaged(file, format!("its footer names {what} that is not within the file")));
    for chunk in metadata.row_groups().iter().flat_map(|group| group.columns()) {
        let start = chunk.dictionary_page_offset().unwrap_or(chunk.data_page_offset());
        if !lies_within(start, chunk.compressed_size(), file.key.size_bytes) {
            return outside("a column");
        }
        let indexes = [
            (chunk.column_index_offset(), chunk.column_index_length()),
            (chunk.offset_index_offset(), chunk.offset_index_length()),
        ];
        // One without the other is no index: the decoder leaves it alone.
        let mut indexes = indexes.into_iter().filter_map(|(offset, length)| offset.zip(length));
        if indexes.any(|(offset, length)| !lies_within(offset, length.into(), file.key.size_bytes)) {
            return outside("a page index");
        }
    }
    if metadata.row_groups().iter().any(|group| group.num_rows() < 0) {
        return Err(damaged(file, "a row group has less than no rows".to_owned()));
    }
    Ok(())
}

/// Checks that the pages of the offset index lie within the file.
fn pages_within_file(metadata: &ParquetMetaData, file: &DataFile) -> Result<()> {
    let chunks = metadata.offset_index().into_iter().flatten().flatten();
    let mut pages = chunks.flat_map(|chunk| chunk.page_locations());
    if pages.any(|page| !lies_within(page.offset, page.compressed_page_size.into(), file.key.size_bytes)) {
        return Err(damaged(file, "its page index names a page that is not within the file".to_owned()));
    }
    Ok(())
}

fn lies_within(start: i64, length: i64, size: u64) -> bool {
    let end =
        u64::try_from(start).ok().zip(u64::try_from(length).ok()).and_then(|(start, length)| start.checked_add(length));
    end.is_some_and(|end| end <= size)
}

fn damaged(file: &DataFile, reason: String) -> Error {
    Error::DamagedFile { location: file.location.to_string(), reason }
}

fn unreadable(file: &DataFile, error: &ParquetError) -> Error {
    damaged(file, error.to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::HashMap;

    use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
    use arrow::datatypes::{DataType, Field, Schema as ArrowSchema};
    use iceberg::spec::{NestedField, PrimitiveType, Schema, Type};
    use parquet::arrow::ArrowWriter;
    use parquet::file::properties::WriterProperties;
    use polynya_catalog::Storage;

    use super::super::query_io::{IoLimits, Prices, QueryIo};
    use super::*;

    fn written() -> Bytes {
        let field = |name: &str, data_type, id: &str| {
            let id = [("PARQUET:field_id".to_owned(), id.to_owned())];
            Field::new(name, data_type, false).with_metadata(id.into())
        };
        let fields = vec![field("id", DataType::Int64, "1"), field("name", DataType::Utf8, "2")];
        let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..500));
        let names: ArrayRef =
            Arc::new(StringArray::from_iter_values((0..500).map(|number| format!("name {}", number % 7))));
        let batch = RecordBatch::try_new(Arc::new(ArrowSchema::new(fields)), vec![ids, names]).unwrap();
        let properties =
            WriterProperties::builder().set_data_page_row_count_limit(100).set_write_batch_size(50).build();
        let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).unwrap();
        writer.write(&batch).unwrap();
        writer.into_inner().unwrap().into()
    }

    /// A file of these bytes, and the mapping of its table.
    fn file_of(bytes: &Bytes) -> (DataFile, ColumnMapping) {
        let fields = [
            NestedField::required(1, "id", Type::Primitive(PrimitiveType::Long)),
            NestedField::required(2, "name", Type::Primitive(PrimitiveType::String)),
        ];
        let schema = Schema::builder().with_fields(fields.map(Arc::new)).build().unwrap();
        let mapping = ColumnMapping::new("t".to_owned(), Arc::new(schema), None).unwrap();
        let storage = Storage::new(&HashMap::new()).unwrap();
        let location: Arc<str> = Arc::from("memory://bucket/file.parquet");
        let key = FileKey { name: Arc::clone(&location), size_bytes: bytes.len() as u64 };
        let io = QueryIo::new(CacheMode::Off, IoLimits::default(), Prices::default());
        (DataFile { location, key, storage, io }, mapping)
    }

    #[test]
    fn rows_are_those_of_the_row_groups_whatever_the_footer_says() {
        let bytes = written();
        // The third field of the footer is a long: 500, and behind it is a list.
        let rows = [0x16, 0xe8, 0x07, 0x19];
        let places: Vec<usize> = (0..bytes.len() - 4).filter(|at| bytes[*at..].starts_with(&rows)).collect();
        let [place] = places[..] else { panic!("{places:?}") };
        // 0 and 1.
        for says in [[0x80, 0x00], [0x82, 0x00]] {
            let mut other = bytes.to_vec();
            other[place + 1..place + 3].copy_from_slice(&says);
            let other = Bytes::from(other);
            let (file, mapping) = file_of(&other);
            assert_eq!(decode(&other, &file, &mapping).unwrap().file_metadata().num_rows(), 500);
        }
    }

    #[test]
    fn a_damaged_footer_is_an_error_or_harmless_and_never_a_panic() {
        let bytes = written();
        let (file, mapping) = file_of(&bytes);
        let metadata = decode(&bytes, &file, &mapping).unwrap();
        assert!(metadata.offset_index().is_some() && metadata.row_group(0).num_rows() == 500);
        // Both indexes and the footer.
        let start =
            metadata.row_group(0).columns().iter().filter_map(|chunk| chunk.column_index_offset()).min().unwrap();
        let mut refused = 0;
        for position in start as usize..bytes.len() {
            for bit in 0..8 {
                let mut damaged = bytes.to_vec();
                damaged[position] ^= 1 << bit;
                let decoded = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                    decode(&Bytes::from(damaged), &file, &mapping).map(|metadata| {
                        let layout = Layout::new(&metadata);
                        metadata
                            .row_group(0)
                            .columns()
                            .iter()
                            .map(|chunk| layout.covering(&range(chunk)).len())
                            .sum::<usize>()
                    })
                }));
                let decoded = decoded.unwrap_or_else(|_| panic!("byte {position}, bit {bit}"));
                refused += usize::from(decoded.is_err());
            }
        }
        assert!(refused > 1000, "{refused}");
    }

    fn range(chunk: &parquet::file::metadata::ColumnChunkMetaData) -> std::ops::Range<u64> {
        let (start, length) = chunk.byte_range();
        start..start + length
    }
}
