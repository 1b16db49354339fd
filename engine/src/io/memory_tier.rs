//! The memory tier of the page cache: pages within a limit of bytes, kept by S3-FIFO.
//!
//! S3-FIFO (Yang et al., SOSP 2023) lets a new page into a small queue first, from which it leaves soon unless it is asked
//! for again: a scan of a big table passes through that tenth and leaves the rest alone.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use bytes::Bytes;
use foyer::{Cache, CacheBuilder, Event, EventListener, S3FifoConfig};
use parking_lot::Mutex;

use super::page::{FileKey, PageKey};

/// Shards with a lock and a share of the limit each.
const SHARDS: usize = 4;

/// Pages in memory.
#[derive(Debug)]
pub(crate) struct MemoryTier {
    pages: Cache<PageKey, Bytes>,
    watch: Arc<Watch>,
    capacity_bytes: u64,
}

/// Knows which pages of a file are here, and counts those that left for lack of room.
#[derive(Debug, Default)]
struct Watch {
    by_file: Mutex<HashMap<FileKey, HashSet<(u64, u64)>>>,
    evictions: AtomicU64,
}

impl EventListener for Watch {
    type Key = PageKey;
    type Value = Bytes;

    fn on_leave(&self, reason: Event, key: &PageKey, _page: &Bytes) {
        if reason == Event::Evict {
            self.evictions.fetch_add(1, Relaxed);
        }
        if reason != Event::Replace {
            let mut by_file = self.by_file.lock();
            if let Some(pages) = by_file.get_mut(&key.file) {
                pages.remove(&(key.start, key.end));
                if pages.is_empty() {
                    by_file.remove(&key.file);
                }
            }
        }
    }
}

impl MemoryTier {
    /// A tier that holds at most `capacity_bytes`; 0 keeps nothing.
    pub(crate) fn new(capacity_bytes: u64) -> Self {
        let watch = Arc::new(Watch::default());
        let capacity = usize::try_from(capacity_bytes).unwrap_or(usize::MAX);
        let pages = CacheBuilder::new(capacity.max(SHARDS))
            .with_shards(SHARDS)
            .with_eviction_config(S3FifoConfig::default())
            .with_weighter(|key: &PageKey, page: &Bytes| key.memory_bytes() + page.len())
            .with_event_listener(Arc::clone(&watch) as Arc<dyn EventListener<Key = PageKey, Value = Bytes>>)
            .build();
        Self { pages, watch, capacity_bytes }
    }

    /// The page, if it is here.
    pub(crate) fn get(&self, key: &PageKey) -> Option<Bytes> {
        self.pages.get(key).map(|entry| entry.value().clone())
    }

    /// Whether the page is here; does not count as use.
    pub(crate) fn contains(&self, key: &PageKey) -> bool {
        self.pages.contains(key)
    }

    /// Keeps a page. It must own its bytes: a slice of a larger buffer would hold all of it.
    pub(crate) fn insert(&self, key: PageKey, page: Bytes) {
        // A page above a shard's share would push everything out and not fit either.
        if (key.memory_bytes() + page.len()) as u64 * SHARDS as u64 <= self.capacity_bytes {
            self.watch.by_file.lock().entry(key.file.clone()).or_default().insert((key.start, key.end));
            self.pages.insert(key, page);
        }
    }

    /// Forgets the pages of a file.
    pub(crate) fn remove_file(&self, file: &FileKey) {
        let pages = self.watch.by_file.lock().get(file).cloned().unwrap_or_default();
        for (start, end) in pages {
            self.pages.remove(&PageKey::new(file, &(start..end)));
        }
    }

    pub(crate) fn clear(&self) {
        self.pages.clear();
    }

    /// Bytes held.
    pub(crate) fn bytes(&self) -> u64 {
        self.pages.usage() as u64
    }

    pub(crate) fn entries(&self) -> u64 {
        self.pages.entries() as u64
    }

    pub(crate) fn evictions(&self) -> u64 {
        self.watch.evictions.load(Relaxed)
    }

    pub(crate) fn capacity_bytes(&self) -> u64 {
        self.capacity_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str, page: u64) -> PageKey {
        PageKey::new(&FileKey { name: Arc::from(name), size_bytes: 1 << 30 }, &(page * 1000..page * 1000 + 1000))
    }

    #[test]
    fn a_scan_of_four_times_the_limit_leaves_what_is_used_twice() {
        let tier = MemoryTier::new(4 << 20);
        let page = Bytes::from(vec![7; 4 << 10]);
        let hot: Vec<PageKey> = (0..200).map(|number| key("hot", number)).collect();
        for _ in 0..3 {
            for key in &hot {
                if tier.get(key).is_none() {
                    tier.insert(key.clone(), page.clone());
                }
            }
        }
        for number in 0..4096 {
            tier.insert(key("scan", number), page.clone());
        }
        let kept = hot.iter().filter(|key| tier.contains(key)).count();
        assert!(kept >= 190, "{kept} of 200 hot pages were kept");
        assert!(tier.bytes() <= 4 << 20);
        assert!(tier.evictions() > 0);
    }

    #[test]
    fn a_file_is_forgotten_whole_and_others_stay() {
        let tier = MemoryTier::new(1 << 20);
        for number in 0..10 {
            tier.insert(key("a", number), Bytes::from_static(b"page"));
            tier.insert(key("b", number), Bytes::from_static(b"page"));
        }
        tier.remove_file(&key("a", 0).file);
        assert!((0..10).all(|number| !tier.contains(&key("a", number)) && tier.contains(&key("b", number))));
    }

    #[test]
    fn a_limit_of_zero_keeps_nothing() {
        let tier = MemoryTier::new(0);
        tier.insert(key("a", 1), Bytes::from_static(b"page"));
        assert_eq!((tier.get(&key("a", 1)), tier.bytes()), (None, 0));
    }
}
