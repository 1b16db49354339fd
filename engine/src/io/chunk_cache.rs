//! Ranges of data files, kept in memory between queries within a limit of bytes.
//!
//! The unit is the range that the decoder asks for: a column chunk of a row group, or runs of its pages. A file is immutable
//! and named by its store, location and size, so a range is never revalidated. Admission is TinyLFU: one big scan does not
//! push out what is asked for often.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use moka::future::Cache;

/// A file's store and location, its size, and a range of it.
type Key = (Arc<str>, u64, Range<u64>);

/// Cached ranges by file.
#[derive(Debug, Clone)]
pub(crate) struct ChunkCache {
    chunks: Cache<Key, Bytes>,
}

impl ChunkCache {
    /// A cache that holds at most about `capacity_bytes`; 0 keeps nothing.
    pub(crate) fn new(capacity_bytes: u64) -> Self {
        let weigh = |key: &Key, bytes: &Bytes| u32::try_from(key.0.len() + bytes.len() + 64).unwrap_or(u32::MAX);
        Self { chunks: Cache::builder().max_capacity(capacity_bytes).weigher(weigh).build() }
    }

    /// The range, if it is here.
    pub(crate) async fn get(&self, file: &Arc<str>, size_bytes: u64, range: &Range<u64>) -> Option<Bytes> {
        self.chunks.get(&(Arc::clone(file), size_bytes, range.clone())).await
    }

    /// Keeps a range. `bytes` must own just its range: a slice of a larger read would hold all of it.
    pub(crate) async fn insert(&self, file: &Arc<str>, size_bytes: u64, range: Range<u64>, bytes: Bytes) {
        self.chunks.insert((Arc::clone(file), size_bytes, range), bytes).await;
    }
}
