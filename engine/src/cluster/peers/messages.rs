//! What workers say to each other about pages, and to the coordinator about their progress, as Protocol Buffers.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message;

use crate::io::{FileKey, PageKey};

/// The service's name and its calls.
pub(super) const SERVICE: &str = "polynya.Peer";
pub(super) const SUMMARY: &str = "/polynya.Peer/Summary";
pub(super) const PAGES: &str = "/polynya.Peer/Pages";
pub(super) const KEEP: &str = "/polynya.Peer/Keep";
pub(super) const PROGRESS: &str = "/polynya.Peer/Progress";
/// The most that one message holds, in bytes; a page is smaller.
pub(super) const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// Nothing to say.
#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct Empty {}

/// A Bloom filter: see [`super::summary`].
#[derive(Clone, PartialEq, Message)]
pub(super) struct SummaryAnswer {
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) bits: Bytes,
    /// Names the process: a worker that hears of itself is no peer of its own.
    #[prost(string, tag = "2")]
    pub(super) instance: String,
    /// Whether it is about to end: what it is handed would be lost.
    #[prost(bool, tag = "3")]
    pub(super) is_draining: bool,
}

/// The name of a page.
#[derive(Clone, PartialEq, Message)]
pub(super) struct WireKey {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(uint64, tag = "2")]
    size_bytes: u64,
    #[prost(uint64, tag = "3")]
    start: u64,
    #[prost(uint64, tag = "4")]
    end: u64,
}

/// A page.
#[derive(Clone, PartialEq, Message)]
pub(super) struct WirePage {
    #[prost(message, required, tag = "1")]
    pub(super) key: WireKey,
    #[prost(bytes = "bytes", tag = "2")]
    pub(super) bytes: Bytes,
}

/// Which pages are wanted.
#[derive(Clone, PartialEq, Message)]
pub(super) struct PagesCall {
    #[prost(message, repeated, tag = "1")]
    pub(super) keys: Vec<WireKey>,
}

/// Pages that are there, or that are to be kept.
#[derive(Clone, PartialEq, Message)]
pub(super) struct SomePages {
    #[prost(message, repeated, tag = "1")]
    pub(super) pages: Vec<WirePage>,
}

/// Which attempt of which query is asked about.
#[derive(Clone, PartialEq, Message)]
pub(super) struct ProgressCall {
    #[prost(string, tag = "1")]
    pub(super) query_id: String,
    #[prost(uint64, tag = "2")]
    pub(super) attempt: u64,
}

/// How far its tasks on this worker are.
#[derive(Clone, PartialEq, Message)]
pub(super) struct ProgressAnswer {
    #[prost(uint64, tag = "1")]
    pub(super) begun_bytes: u64,
    /// Read so far by those that run, from whichever tier.
    #[prost(uint64, tag = "2")]
    pub(super) read_bytes: u64,
    /// CPU that the process has used since its start.
    #[prost(uint64, tag = "3")]
    pub(super) cpu_ms: u64,
    /// Where parts of the tasks wait; empty if none does.
    #[prost(string, tag = "4")]
    pub(super) waits: String,
    /// For how long the longest of them has waited.
    #[prost(uint64, tag = "5")]
    pub(super) longest_ms: u64,
}

impl From<&PageKey> for WireKey {
    fn from(key: &PageKey) -> Self {
        Self { name: key.file.name.to_string(), size_bytes: key.file.size_bytes, start: key.start, end: key.end }
    }
}

impl From<WireKey> for PageKey {
    fn from(key: WireKey) -> Self {
        let file = FileKey { name: Arc::from(key.name), size_bytes: key.size_bytes };
        Self { file, start: key.start, end: key.end }
    }
}

impl WirePage {
    /// The page, if it is as long as its name says. Only the length of a file's end is not in its name.
    pub(super) fn checked(self) -> Option<(PageKey, Bytes)> {
        let key = PageKey::from(self.key);
        let complete = match key.end.checked_sub(key.start)? {
            0 => !self.bytes.is_empty(),
            length => length == self.bytes.len() as u64,
        };
        complete.then_some((key, self.bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_of_another_length_than_its_name_says_is_none() {
        let file = FileKey { name: Arc::from("s3://bucket/file"), size_bytes: 100 };
        let page = |key: &PageKey, bytes: &'static [u8]| WirePage { key: key.into(), bytes: Bytes::from_static(bytes) };
        let key = PageKey::new(&file, &(10..14));
        assert_eq!(page(&key, b"four").checked(), Some((key.clone(), Bytes::from_static(b"four"))));
        assert_eq!(page(&key, b"three").checked(), None);
        assert!(page(&PageKey::footer(&file), b"a footer").checked().is_some());
        assert!(page(&PageKey::footer(&file), b"").checked().is_none());
    }
}
