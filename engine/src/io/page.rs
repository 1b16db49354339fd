//! What a cached page is called.
//!
//! A page here is what is fetched, kept and dropped as one: a run of Parquet pages of one column chunk, a column chunk
//! without page index, a small file, or a file's end with its footer (see [`super::layout`]). A file is immutable and named
//! by its store, location and size, so a page is never revalidated.

use std::ops::Range;
use std::sync::Arc;

/// A file across stores: two endpoints may have files of one location.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct FileKey {
    /// The store's name and the location.
    pub(crate) name: Arc<str>,
    pub(crate) size_bytes: u64,
}

/// A page of a file.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct PageKey {
    pub(crate) file: FileKey,
    pub(crate) start: u64,
    pub(crate) end: u64,
}

impl PageKey {
    pub(crate) fn new(file: &FileKey, range: &Range<u64>) -> Self {
        Self { file: file.clone(), start: range.start, end: range.end }
    }

    /// The end of a file, from where its page index or footer starts: where that is, only the file itself tells.
    pub(crate) fn footer(file: &FileKey) -> Self {
        Self { file: file.clone(), start: file.size_bytes, end: file.size_bytes }
    }

    /// The key as the disk tier writes it.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(24 + self.file.name.len());
        for number in [self.file.size_bytes, self.start, self.end] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(self.file.name.as_bytes());
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_differ_by_file_size_and_range() {
        let file = |name: &str, size_bytes| FileKey { name: Arc::from(name), size_bytes };
        let keys = [
            PageKey::new(&file("a", 9), &(0..4)),
            PageKey::new(&file("a", 9), &(0..5)),
            PageKey::new(&file("a", 8), &(0..4)),
            PageKey::new(&file("b", 9), &(0..4)),
            PageKey::footer(&file("a", 9)),
        ];
        for (position, key) in keys.iter().enumerate() {
            for other in &keys[position + 1..] {
                assert_ne!(key.encode(), other.encode());
            }
        }
    }
}
