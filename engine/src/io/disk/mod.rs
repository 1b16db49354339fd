//! The disk tier of the page cache: a folder of append-only segments on local disk (NVMe at best).
//!
//! In: pages as they were fetched. Out: the same bytes, or nothing. A page is checked by checksum whenever it is read, so a
//! damaged, cut or foreign file is a miss. What was written is found again by the next process on the same folder, however
//! this one ends. Writes happen on a thread of their own behind a queue of bounded bytes; a page that finds the queue full
//! is written when it is next used in memory. Why this is not foyer's disk engine: docs/decisions/0006.

mod index;
mod segment;
#[cfg(test)]
mod tests;
mod writer;

use std::collections::{HashMap, HashSet, VecDeque};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};

use super::page::{FileKey, PageKey};
use crate::{Error, Result};

use self::index::Index;
use self::segment::{Recovered, Segment, segments_in};
use self::writer::Writer;

/// Pages that wait to be written, in bytes.
const QUEUE_BYTES_MAX: u64 = 64 << 20;
/// Keys of pages that were not written, to write them when they are used again.
const UNWRITTEN_MAX: usize = 64 << 10;
/// Segments of a full tier: each is evicted as one.
const SEGMENTS: u64 = 64;
const SEGMENT_BYTES_MAX: u64 = 256 << 20;
const SEGMENT_BYTES_MIN: u64 = 64 << 10;
const LOCK_FILE: &str = "polynya-page-cache.lock";

/// See the module. Dropping it writes what waits.
#[derive(Debug)]
pub(crate) struct DiskTier {
    shared: Arc<Shared>,
    folder: PathBuf,
    limit_bytes: u64,
    writer: Option<JoinHandle<()>>,
    /// Held for as long as the tier lives: two processes never share a folder.
    _lock: File,
}

/// What the tier and its writer share.
#[derive(Debug, Default)]
struct Shared {
    index: Mutex<Index>,
    queue: Mutex<WriteQueue>,
    wake: Condvar,
    counters: Counters,
}

#[derive(Debug, Default)]
struct WriteQueue {
    order: VecDeque<PageKey>,
    pages: HashMap<PageKey, Bytes>,
    bytes: u64,
    unwritten: HashSet<PageKey>,
    closed: bool,
}

/// Counts since the start.
#[derive(Debug, Default)]
struct Counters {
    damaged: AtomicU64,
    write_errors: AtomicU64,
}

/// What a tier holds and has seen.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct DiskStats {
    pub(crate) bytes: u64,
    pub(crate) entries: u64,
    pub(crate) evictions: u64,
    pub(crate) damaged: u64,
    pub(crate) write_errors: u64,
}

impl DiskTier {
    /// Opens the folder, or creates it, and finds what an earlier process left.
    ///
    /// # Errors
    /// `Settings` if the folder cannot be used, or another process uses it.
    pub(crate) fn open(folder: &Path, limit_bytes: u64) -> Result<Self> {
        let wrong = |what: &str, error: std::io::Error| Error::Settings {
            setting: "cache.disk_dir".to_owned(),
            message: format!("{} {what}: {error}", folder.display()),
        };
        std::fs::create_dir_all(folder).map_err(|error| wrong("cannot be created", error))?;
        let lock = File::create(folder.join(LOCK_FILE)).map_err(|error| wrong("cannot be written to", error))?;
        lock.try_lock().map_err(|error| wrong("is used by another process; give each its own", error.into()))?;
        let shared = Arc::new(Shared::default());
        let next_number = recover(folder, &shared).map_err(|error| wrong("cannot be read", error))?;
        let mut writer = Writer {
            shared: Arc::clone(&shared),
            folder: folder.to_owned(),
            limit_bytes,
            segment_bytes: (limit_bytes / SEGMENTS).clamp(SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX),
            next_number,
            paused_until: None,
        };
        writer.shrink();
        let thread = std::thread::Builder::new().name("page-cache-writer".to_owned());
        let writer = thread.spawn(move || writer.run()).map_err(|error| wrong("has no writer", error))?;
        Ok(Self { shared, folder: folder.to_owned(), limit_bytes, writer: Some(writer), _lock: lock })
    }

    /// The page, read and checked. A page that is not what was written is forgotten.
    pub(crate) async fn get(&self, key: &PageKey) -> Option<Bytes> {
        if let Some(waiting) = self.shared.queue.lock().pages.get(key) {
            return Some(waiting.clone());
        }
        let (slot, segment) = self.shared.index.lock().touch(key)?;
        let wanted = key.clone();
        // Taken here: memory that many short-lived threads allocate and others free stays with the allocator for long.
        let buffer = vec![0; slot.place.bytes as usize];
        let read = tokio::task::spawn_blocking(move || segment.read(&wanted, slot.place, buffer)).await;
        match read {
            Ok(Ok(Some(page))) => Some(page),
            other => {
                let why = match other {
                    Ok(Err(error)) => error.to_string(),
                    Err(error) => error.to_string(),
                    Ok(Ok(_)) => "its checksum is wrong".to_owned(),
                };
                tracing::warn!(folder = %self.folder.display(), file = %key.file.name, why, "a cached page is damaged; it is fetched again");
                self.shared.counters.damaged.fetch_add(1, Relaxed);
                self.shared.index.lock().remove(key);
                None
            }
        }
    }

    /// Whether the page is here or on its way.
    pub(crate) fn contains(&self, key: &PageKey) -> bool {
        self.shared.index.lock().contains(key) || self.shared.queue.lock().pages.contains_key(key)
    }

    /// Counts a use of a page that memory answered, and writes it if it could not be written before.
    pub(crate) fn used_in_memory(&self, key: &PageKey, page: &Bytes) {
        if self.shared.index.lock().touch(key).is_some() {
            return;
        }
        let again = self.shared.queue.lock().unwritten.remove(key);
        if again {
            self.insert(key, page.clone());
        }
    }

    /// Queues a page to be written; never waits.
    pub(crate) fn insert(&self, key: &PageKey, page: Bytes) {
        let mut queue = self.shared.queue.lock();
        let bytes = page.len() as u64;
        if bytes > self.limit_bytes / 8 || queue.pages.contains_key(key) {
            return;
        }
        if queue.bytes + bytes > QUEUE_BYTES_MAX {
            drop(queue);
            self.shared.remember_unwritten(key);
            return;
        }
        queue.bytes += bytes;
        queue.order.push_back(key.clone());
        queue.pages.insert(key.clone(), page);
        drop(queue);
        self.shared.wake.notify_all();
    }

    /// What is here, in no order.
    pub(crate) fn keys(&self) -> Vec<PageKey> {
        self.shared.index.lock().keys().cloned().collect()
    }

    /// Forgets the pages for which `drop` holds. Returns how many.
    pub(crate) fn remove_where(&self, drop: impl Fn(&PageKey) -> bool) -> usize {
        self.shared.unqueue(&drop);
        self.shared.index.lock().remove_where(drop)
    }

    /// Forgets a file's pages for good: they do not check out any more.
    pub(crate) fn spoil(&self, file: &FileKey) {
        self.shared.unqueue(&|key| key.file == *file);
        let gone = self.shared.index.lock().take_file(file);
        for (segment, place) in gone {
            if let Err(error) = segment.spoil(place) {
                tracing::warn!(folder = %self.folder.display(), %error, "a damaged page stays in the page cache");
            }
        }
    }

    /// Forgets everything and deletes the files.
    pub(crate) fn clear(&self) {
        self.shared.unqueue(&|_| true);
        for segment in self.shared.index.lock().clear() {
            segment.delete();
        }
    }

    /// Waits until what was inserted so far is written.
    #[cfg(test)]
    pub(crate) fn flush(&self) {
        let mut queue = self.shared.queue.lock();
        while !queue.pages.is_empty() {
            self.shared.wake.wait(&mut queue);
        }
    }

    pub(crate) fn stats(&self) -> DiskStats {
        let index = self.shared.index.lock();
        DiskStats {
            bytes: index.total_bytes(),
            entries: index.entries() as u64,
            evictions: index.evictions,
            damaged: self.shared.counters.damaged.load(Relaxed),
            write_errors: self.shared.counters.write_errors.load(Relaxed),
        }
    }

    pub(crate) fn limit_bytes(&self) -> u64 {
        self.limit_bytes
    }
}

impl Drop for DiskTier {
    fn drop(&mut self) {
        self.shared.queue.lock().closed = true;
        self.shared.wake.notify_all();
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

impl Shared {
    /// The next page to write; waits for one, and ends when the tier is closed and nothing waits.
    fn next_to_write(&self) -> Option<(PageKey, Bytes)> {
        let mut queue = self.queue.lock();
        loop {
            if let Some(key) = queue.order.pop_front() {
                let page = queue.pages.get(&key).cloned();
                match page {
                    Some(page) => return Some((key, page)),
                    None => continue,
                }
            }
            if queue.closed {
                return None;
            }
            self.wake.wait(&mut queue);
        }
    }

    /// Takes pages off the queue.
    fn unqueue(&self, drop: &impl Fn(&PageKey) -> bool) {
        let mut queue = self.queue.lock();
        let gone: Vec<PageKey> = queue.pages.keys().filter(|key| drop(key)).cloned().collect();
        for key in gone {
            let bytes = queue.pages.remove(&key).map_or(0, |page| page.len() as u64);
            queue.bytes -= bytes;
        }
        queue.unwritten.retain(|key| !drop(key));
        std::mem::drop(queue);
        self.wake.notify_all();
    }

    /// Whether a page is still wanted that the writer took from the queue.
    fn is_queued(&self, key: &PageKey, page: &Bytes) -> bool {
        self.queue.lock().pages.get(key).is_some_and(|queued| queued.as_ptr() == page.as_ptr())
    }

    fn written(&self, key: &PageKey) {
        let mut queue = self.queue.lock();
        if let Some(page) = queue.pages.remove(key) {
            queue.bytes -= page.len() as u64;
        }
        drop(queue);
        self.wake.notify_all();
    }

    fn remember_unwritten(&self, key: &PageKey) {
        let mut queue = self.queue.lock();
        if queue.unwritten.len() < UNWRITTEN_MAX {
            queue.unwritten.insert(key.clone());
        }
    }
}

/// Indexes the segments of a folder. A file that is not one is deleted. The next segment's number is returned.
fn recover(folder: &Path, shared: &Shared) -> std::io::Result<u64> {
    let mut next = 0;
    let mut index = shared.index.lock();
    for path in segments_in(folder)? {
        next = segment::number_of(&path).map_or(next, |number| next.max(number + 1));
        match Segment::open(path.clone()) {
            Ok(Recovered { segment, entries, bytes }) => {
                let number = segment.number;
                index.add_segment(segment, bytes, false);
                for (key, place) in entries {
                    index.insert(number, key, place, 0, bytes);
                }
            }
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "a file of the page cache is damaged; it is deleted");
                let _ = std::fs::remove_file(&path);
            }
        }
    }
    Ok(next)
}
