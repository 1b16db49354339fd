//! What the page cache keeps in memory, pages or decoded columns: within a limit of bytes, by S3-FIFO.
//!
//! S3-FIFO (Yang et al., SOSP 2023) lets a new page into a small queue first, from which it leaves soon unless it is asked
//! for again: a scan of a big table passes through that tenth and leaves the rest alone.

use std::collections::{HashMap, HashSet};
use std::fmt::Debug;
use std::hash::Hash;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use bytes::Bytes;
use foyer::{Cache, CacheBuilder, Event, EventListener, S3FifoConfig};
use parking_lot::Mutex;

use super::page::{FileKey, PageKey};

/// Bytes that a key takes beside what it names, about.
const KEY_OVERHEAD_BYTES: usize = 128;

/// The least that a shard holds, in bytes: many times the largest page, so that one page does not push the others out.
const SHARD_BYTES_MIN: u64 = 256 << 20;

/// Names a part of a file.
pub(crate) trait PartKey: Clone + Debug + Eq + Hash + Send + Sync + 'static {
    /// The file.
    fn file(&self) -> &FileKey;
}

/// What a tier holds.
pub(crate) trait Held: Clone + Debug + Send + Sync + 'static {
    /// The most shards, with a lock and a share of the limit each.
    const SHARDS_MAX: usize;
    /// How often a part must be asked for after it came, to count as in use.
    const USES: u8;
    /// Its memory, in bytes.
    fn memory_bytes(&self) -> usize;
}

impl PartKey for PageKey {
    fn file(&self) -> &FileKey {
        &self.file
    }
}

impl Held for Bytes {
    const SHARDS_MAX: usize = 4;
    // A scan that reads ahead may ask for a page that it brought itself: once is not use.
    const USES: u8 = 2;

    fn memory_bytes(&self) -> usize {
        self.len()
    }
}

/// Parts of files in memory.
#[derive(Debug)]
pub(crate) struct MemoryTier<K: PartKey, V: Held> {
    parts: Cache<K, V>,
    watch: Arc<Watch<K, V>>,
    capacity_bytes: u64,
    shards: usize,
}

/// Pages in memory.
pub(crate) type PageTier = MemoryTier<PageKey, Bytes>;

/// Knows which parts of a file are here, and counts those that left for lack of room.
#[derive(Debug)]
struct Watch<K, V> {
    by_file: Mutex<HashMap<FileKey, HashSet<K>>>,
    evictions: AtomicU64,
    /// While everything is forgotten on purpose, nothing leaves for lack of room.
    clearing: AtomicBool,
    held: PhantomData<fn(V)>,
}

impl<K: PartKey, V: Held> EventListener for Watch<K, V> {
    type Key = K;
    type Value = V;

    fn on_leave(&self, reason: Event, key: &K, _part: &V) {
        if reason == Event::Evict && !self.clearing.load(Relaxed) {
            self.evictions.fetch_add(1, Relaxed);
        }
        if reason != Event::Replace {
            let mut by_file = self.by_file.lock();
            if let Some(parts) = by_file.get_mut(key.file()) {
                parts.remove(key);
                if parts.is_empty() {
                    by_file.remove(key.file());
                }
            }
        }
    }
}

/// Memory of an entry beside what it holds, in bytes.
fn key_bytes(key: &impl PartKey) -> usize {
    KEY_OVERHEAD_BYTES + key.file().name.len()
}

impl<K: PartKey, V: Held> MemoryTier<K, V> {
    /// A tier that holds at most `capacity_bytes`; 0 keeps nothing.
    pub(crate) fn new(capacity_bytes: u64) -> Self {
        let watch = Arc::new(Watch {
            by_file: Mutex::default(),
            evictions: AtomicU64::new(0),
            clearing: AtomicBool::new(false),
            held: PhantomData,
        });
        let capacity = usize::try_from(capacity_bytes).unwrap_or(usize::MAX);
        let shards = (capacity_bytes / SHARD_BYTES_MIN).clamp(1, V::SHARDS_MAX as u64) as usize;
        let parts = CacheBuilder::new(capacity.max(1))
            .with_shards(shards)
            .with_eviction_config(S3FifoConfig { small_to_main_freq_threshold: V::USES, ..S3FifoConfig::default() })
            .with_weighter(|key: &K, part: &V| key_bytes(key) + part.memory_bytes())
            .with_event_listener(Arc::clone(&watch) as Arc<dyn EventListener<Key = K, Value = V>>)
            .build();
        Self { parts, watch, capacity_bytes, shards }
    }

    /// The part, if it is here.
    pub(crate) fn get(&self, key: &K) -> Option<V> {
        self.parts.get(key).map(|entry| entry.value().clone())
    }

    /// Whether the part is here; does not count as use.
    pub(crate) fn contains(&self, key: &K) -> bool {
        self.parts.contains(key)
    }

    /// Whether something of this size would be kept: above a shard's share it would push everything out and not fit either.
    pub(crate) fn fits(&self, bytes: u64) -> bool {
        bytes.saturating_mul(self.shards as u64) <= self.capacity_bytes
    }

    /// Keeps a part. It must own its memory: a slice of a larger buffer would hold all of it.
    pub(crate) fn insert(&self, key: K, part: V) {
        if self.fits((key_bytes(&key) + part.memory_bytes()) as u64) {
            self.watch.by_file.lock().entry(key.file().clone()).or_default().insert(key.clone());
            self.parts.insert(key, part);
        }
    }

    /// What is here, in no order.
    pub(crate) fn keys(&self) -> Vec<K> {
        self.watch.by_file.lock().values().flatten().cloned().collect()
    }

    /// Forgets the parts of a file.
    pub(crate) fn remove_file(&self, file: &FileKey) {
        let parts = self.watch.by_file.lock().get(file).cloned().unwrap_or_default();
        for part in parts {
            self.parts.remove(&part);
        }
    }

    /// Forgets everything.
    pub(crate) fn clear(&self) {
        self.watch.clearing.store(true, Relaxed);
        // foyer 0.22's clear() goes on counting the bytes of what it drops: the cache would shrink with each call.
        self.parts.evict_all();
        self.watch.clearing.store(false, Relaxed);
    }

    /// Bytes held.
    pub(crate) fn bytes(&self) -> u64 {
        self.parts.usage() as u64
    }

    pub(crate) fn entries(&self) -> u64 {
        self.parts.entries() as u64
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
        let tier = PageTier::new(4 << 20);
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
        let tier = PageTier::new(1 << 20);
        for number in 0..10 {
            tier.insert(key("a", number), Bytes::from_static(b"page"));
            tier.insert(key("b", number), Bytes::from_static(b"page"));
        }
        tier.remove_file(&key("a", 0).file);
        assert!((0..10).all(|number| !tier.contains(&key("a", number)) && tier.contains(&key("b", number))));
    }

    #[test]
    fn what_is_forgotten_takes_no_room() {
        let tier = PageTier::new(1 << 20);
        for round in 0..50 {
            for page in 0..20 {
                tier.insert(key(if page % 2 == 0 { "a" } else { "b" }, page), Bytes::from(vec![1; 10_000]));
                assert!(tier.get(&key(if page % 2 == 0 { "a" } else { "b" }, page)).is_some());
            }
            if round % 2 == 0 {
                tier.clear();
            } else {
                tier.remove_file(&key("a", 0).file);
                tier.remove_file(&key("b", 0).file);
            }
            assert_eq!((tier.bytes(), tier.entries(), tier.evictions()), (0, 0, 0), "round {round}");
            assert!(tier.watch.by_file.lock().is_empty());
        }
    }

    #[test]
    fn a_limit_of_zero_keeps_nothing() {
        let tier = PageTier::new(0);
        tier.insert(key("a", 1), Bytes::from_static(b"page"));
        assert_eq!((tier.get(&key("a", 1)), tier.bytes()), (None, 0));
    }
}
