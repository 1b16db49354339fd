//! Leaves files that this process writes in the cache as they are written, so that the first query of them reads nothing.
//!
//! A small file is kept whole. Of a larger one its end is kept, footer and page index; its pages too, if the setting
//! `cache.hydrate_pages` says so and the file is not too large to be held until it is done.

use std::sync::Arc;

use bytes::Bytes;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaDataReader};

use super::footers::WHOLE_FILE_BYTES_MAX;
use super::layout::Layout;
use super::page::{FileKey, PageKey};
use super::page_cache::PageCache;

/// Files up to this size are held in memory while they are written, if their pages are to be kept.
const HELD_BYTES_MAX: u64 = 64 << 20;

/// What a writer needs to leave its files in the cache.
#[derive(Debug, Clone)]
pub(crate) struct Hydration {
    cache: Arc<PageCache>,
    held_bytes_max: u64,
}

/// The bytes of a file that is being written.
#[derive(Debug)]
pub(crate) struct Hydrator {
    hydration: Hydration,
    pieces: Vec<Bytes>,
    held_bytes: u64,
    whole: bool,
}

impl Hydration {
    pub(crate) fn new(cache: Arc<PageCache>, pages: bool) -> Self {
        Self { cache, held_bytes_max: if pages { HELD_BYTES_MAX } else { WHOLE_FILE_BYTES_MAX } }
    }

    /// Begins a file.
    pub(crate) fn begin(&self) -> Hydrator {
        Hydrator { hydration: self.clone(), pieces: Vec::new(), held_bytes: 0, whole: true }
    }
}

impl Hydrator {
    /// The next bytes of the file.
    pub(crate) fn push(&mut self, bytes: &Bytes) {
        self.held_bytes += bytes.len() as u64;
        self.pieces.push(bytes.clone());
        if self.held_bytes > self.hydration.held_bytes_max {
            // Only the last bytes matter now: they hold the end of the file.
            self.whole = false;
            self.pieces.drain(..self.pieces.len() - 1);
            self.held_bytes = bytes.len() as u64;
        }
    }

    /// Memory held, in bytes.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.held_bytes as usize
    }

    /// The file is in the store.
    pub(crate) fn finish(self, file: &FileKey) {
        let held = Bytes::from(self.pieces.concat());
        let cache = &self.hydration.cache;
        if self.whole && file.size_bytes <= WHOLE_FILE_BYTES_MAX {
            cache.insert(&PageKey::new(file, &(0..file.size_bytes)), &held);
            return;
        }
        let mut reader = ParquetMetaDataReader::new().with_page_index_policy(PageIndexPolicy::Optional);
        if reader.try_parse_sized(&held, file.size_bytes).is_err() {
            return;
        }
        let Ok(metadata) = reader.finish() else { return };
        let offset = file.size_bytes - held.len() as u64;
        let chunks = metadata.row_groups().iter().flat_map(|group| group.columns());
        let data_end = chunks.map(|chunk| chunk.byte_range()).map(|(start, length)| start + length).max().unwrap_or(4);
        let end = held.slice(data_end.saturating_sub(offset) as usize..);
        cache.insert(&PageKey::footer(file), &Bytes::copy_from_slice(&end));
        if self.whole {
            for page in Layout::new(&metadata).pages() {
                let bytes = Bytes::copy_from_slice(&held[page.start as usize..page.end as usize]);
                cache.insert(&PageKey::new(file, page), &bytes);
            }
        }
    }
}
