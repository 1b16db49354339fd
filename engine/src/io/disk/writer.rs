//! The thread that writes pages to disk, one at a time, and makes room for them.
//!
//! A write that fails (a full or broken disk) ends its segment and pauses writing for [`PAUSE`]: the tier then only
//! answers reads, and the cache is as good as its memory.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::super::page::PageKey;
use super::Shared;
use super::index::Victim;
use super::segment::{Queue, Segment, entry_bytes};

/// How long nothing is written after a write failed.
const PAUSE: Duration = Duration::from_secs(5);

/// What the thread owns.
pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) folder: PathBuf,
    pub(super) limit_bytes: u64,
    pub(super) segment_bytes: u64,
    pub(super) next_number: u64,
    pub(super) paused_until: Option<Instant>,
}

impl Writer {
    /// Writes until the tier is dropped and everything that waits is written.
    pub(super) fn run(mut self) {
        while let Some((key, page)) = self.shared.next_to_write() {
            self.write(&key, &page);
            self.shared.written(&key);
        }
    }

    fn write(&mut self, key: &PageKey, page: &Bytes) {
        if self.shared.index.lock().contains(key) {
            return;
        }
        if self.paused_until.is_some_and(|until| Instant::now() < until) {
            self.shared.remember_unwritten(key);
            return;
        }
        self.paused_until = None;
        let queue = self.shared.index.lock().queue_for(key);
        if let Err(error) = self.make_room(entry_bytes(key, page.len())).and_then(|()| self.append(queue, key, page, 0))
        {
            self.failed(&error, key);
        }
        // It may have been forgotten while it was written.
        if !self.shared.is_queued(key, page) {
            self.shared.index.lock().remove(key);
        }
    }

    fn failed(&mut self, error: &io::Error, key: &PageKey) {
        self.shared.counters.write_errors.fetch_add(1, Relaxed);
        self.shared.remember_unwritten(key);
        self.paused_until = Some(Instant::now() + PAUSE);
        tracing::warn!(folder = %self.folder.display(), %error, "the page cache cannot write to its disk; it goes on in memory");
    }

    /// Appends a page to its queue's open segment, or to a new one.
    fn append(&mut self, queue: Queue, key: &PageKey, page: &[u8], uses: u8) -> io::Result<()> {
        let open =
            self.shared.index.lock().open_segment(queue).map(|stored| (Arc::clone(&stored.segment), stored.bytes));
        let (segment, end) = match open {
            Some((segment, end)) if end < self.segment_bytes => (segment, end),
            _ => self.new_segment(queue)?,
        };
        match segment.append(end, key, page) {
            Ok((place, end)) => {
                self.shared.index.lock().insert(segment.number, key.clone(), place, uses, end);
                Ok(())
            }
            Err(error) => {
                segment.truncate(end);
                self.shared.index.lock().seal(queue);
                Err(error)
            }
        }
    }

    fn new_segment(&mut self, queue: Queue) -> io::Result<(Arc<Segment>, u64)> {
        let number = self.next_number;
        self.next_number += 1;
        let (segment, end) = Segment::create(&self.folder, number, queue)?;
        let mut index = self.shared.index.lock();
        index.add_segment(segment, end, true);
        let stored = index.open_segment(queue).ok_or_else(|| io::Error::other("the new segment is gone"))?;
        Ok((Arc::clone(&stored.segment), end))
    }

    /// Lets the oldest segments go until `bytes` more fit, and writes their used pages again.
    fn make_room(&mut self, bytes: u64) -> io::Result<()> {
        let mut stay: Vec<(PageKey, Bytes, u8)> = Vec::new();
        let mut stay_bytes = 0;
        while self.shared.index.lock().total_bytes() + stay_bytes + bytes > self.limit_bytes {
            let mut index = self.shared.index.lock();
            let victim = index.take_victim(self.limit_bytes).or_else(|| {
                index.seal(Queue::Small);
                index.seal(Queue::Main);
                index.take_victim(self.limit_bytes)
            });
            drop(index);
            let Some(Victim { segment, used }) = victim else {
                // Everything is used: the oldest of it goes.
                stay.truncate(stay.len() / 2);
                stay_bytes = stay.iter().map(|(key, page, _)| entry_bytes(key, page.len())).sum();
                if stay.is_empty() {
                    break;
                }
                continue;
            };
            segment.delete();
            for (key, slot) in used {
                // From the small queue a used page starts anew in the main one; there, each round costs a use.
                let uses = if segment.queue == Queue::Small { 0 } else { slot.uses - 1 };
                if let Ok(Some(page)) = segment.read(&key, slot.place, vec![0; slot.place.bytes as usize]) {
                    stay_bytes += entry_bytes(&key, page.len());
                    stay.push((key, page, uses));
                }
            }
        }
        for (key, page, uses) in stay {
            self.append(Queue::Main, &key, &page, uses)?;
        }
        Ok(())
    }

    /// Brings what was recovered below the limit.
    pub(super) fn shrink(&mut self) {
        if let Err(error) = self.make_room(0) {
            tracing::warn!(%error, "the page cache could not make room");
        }
    }
}
