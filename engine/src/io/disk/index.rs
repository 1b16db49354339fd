//! Which page is where on disk, and which leaves when room is needed: S3-FIFO by segment.
//!
//! New pages are appended to segments of the small queue. When room is needed and that queue has more than its tenth, its
//! oldest segment goes: pages used since they were written move to the main queue, the others are forgotten but for a
//! hash, by which they enter the main queue directly if they come again soon. A main segment that goes keeps its used
//! pages by writing them again. Plain state: the writer does the I/O.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use super::super::page::{FileKey, PageKey};
use super::segment::{Place, Queue, Segment};

/// The small queue's share of the limit: one in ten.
const SMALL_QUEUE_SHARE: u64 = 10;
/// Uses that count.
const USES_MAX: u8 = 3;
/// Forgotten pages that are remembered by hash.
const GHOSTS_MAX: usize = 64 << 10;

/// A page on disk.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slot {
    pub(super) segment: u64,
    pub(super) place: Place,
    pub(super) uses: u8,
}

/// A segment with what it holds.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) segment: Arc<Segment>,
    /// Length of the file.
    pub(super) bytes: u64,
    pub(super) keys: Vec<PageKey>,
}

/// A segment that goes, and its pages that are to stay.
pub(super) struct Victim {
    pub(super) segment: Arc<Segment>,
    pub(super) used: Vec<(PageKey, Slot)>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Index {
    slots: HashMap<PageKey, Slot>,
    segments: HashMap<u64, Stored>,
    /// Sealed segments, oldest first.
    small: VecDeque<u64>,
    main: VecDeque<u64>,
    /// The segments that pages are appended to now.
    pub(super) open_small: Option<u64>,
    pub(super) open_main: Option<u64>,
    ghosts: VecDeque<u64>,
    ghost_set: HashSet<u64>,
    hasher: RandomState,
    total_bytes: u64,
    pub(super) evictions: u64,
}

impl Index {
    /// The page's slot, counted as a use.
    pub(super) fn touch(&mut self, key: &PageKey) -> Option<(Slot, Arc<Segment>)> {
        let slot = self.slots.get_mut(key)?;
        slot.uses = (slot.uses + 1).min(USES_MAX);
        let segment = Arc::clone(&self.segments.get(&slot.segment)?.segment);
        Some((*slot, segment))
    }

    pub(super) fn contains(&self, key: &PageKey) -> bool {
        self.slots.contains_key(key)
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &PageKey> {
        self.slots.keys()
    }

    pub(super) fn remove(&mut self, key: &PageKey) {
        self.slots.remove(key);
    }

    /// Forgets the pages for which `drop` holds; their room comes back when their segments go.
    pub(super) fn remove_where(&mut self, drop: impl Fn(&PageKey) -> bool) -> usize {
        let before = self.slots.len();
        self.slots.retain(|key, _| !drop(key));
        before - self.slots.len()
    }

    /// Forgets a file's pages, and says where they are.
    pub(super) fn take_file(&mut self, file: &FileKey) -> Vec<(Arc<Segment>, Place)> {
        let slots = self.slots.extract_if(|key, _| key.file == *file);
        let found =
            slots.filter_map(|(_, slot)| Some((Arc::clone(&self.segments.get(&slot.segment)?.segment), slot.place)));
        found.collect()
    }

    /// The queue that a page enters.
    pub(super) fn queue_for(&mut self, key: &PageKey) -> Queue {
        let hash = self.hasher.hash_one(key);
        if self.ghost_set.remove(&hash) { Queue::Main } else { Queue::Small }
    }

    pub(super) fn open_segment(&self, queue: Queue) -> Option<&Stored> {
        let number = match queue {
            Queue::Small => self.open_small?,
            Queue::Main => self.open_main?,
        };
        self.segments.get(&number)
    }

    /// Adds a segment; a new one is open, a recovered one sealed.
    pub(super) fn add_segment(&mut self, segment: Segment, bytes: u64, open: bool) {
        let (number, queue) = (segment.number, segment.queue);
        self.total_bytes += bytes;
        self.segments.insert(number, Stored { segment: Arc::new(segment), bytes, keys: Vec::new() });
        if open {
            self.seal(queue);
            match queue {
                Queue::Small => self.open_small = Some(number),
                Queue::Main => self.open_main = Some(number),
            }
        } else {
            self.queue(queue).push_back(number);
        }
    }

    /// Ends the open segment of a queue.
    pub(super) fn seal(&mut self, queue: Queue) {
        let open = match queue {
            Queue::Small => self.open_small.take(),
            Queue::Main => self.open_main.take(),
        };
        if let Some(number) = open {
            self.queue(queue).push_back(number);
        }
    }

    fn queue(&mut self, queue: Queue) -> &mut VecDeque<u64> {
        match queue {
            Queue::Small => &mut self.small,
            Queue::Main => &mut self.main,
        }
    }

    /// Records a page that was written to a segment whose file now has `bytes`.
    pub(super) fn insert(&mut self, segment: u64, key: PageKey, place: Place, uses: u8, bytes: u64) {
        if let Some(stored) = self.segments.get_mut(&segment) {
            self.total_bytes += bytes.saturating_sub(stored.bytes);
            stored.bytes = bytes.max(stored.bytes);
            stored.keys.push(key.clone());
            self.slots.insert(key, Slot { segment, place, uses });
        }
    }

    /// Takes out the segment that is to go, with its pages that are to stay. Open segments are never taken.
    pub(super) fn take_victim(&mut self, limit_bytes: u64) -> Option<Victim> {
        let small_bytes: u64 = self.small.iter().filter_map(|number| self.segments.get(number)).map(|s| s.bytes).sum();
        let from_small =
            !self.small.is_empty() && (small_bytes > limit_bytes / SMALL_QUEUE_SHARE || self.main.is_empty());
        let number = if from_small { self.small.pop_front() } else { self.main.pop_front() }?;
        let stored = self.segments.remove(&number)?;
        self.total_bytes -= stored.bytes;
        let mut stay = Vec::new();
        for key in stored.keys {
            let Some(slot) = self.slots.get(&key).copied().filter(|slot| slot.segment == number) else { continue };
            self.slots.remove(&key);
            if slot.uses > 0 {
                stay.push((key, slot));
            } else {
                self.evictions += 1;
                if from_small {
                    self.remember(&key);
                }
            }
        }
        Some(Victim { segment: stored.segment, used: stay })
    }

    fn remember(&mut self, key: &PageKey) {
        let hash = self.hasher.hash_one(key);
        if self.ghost_set.insert(hash) {
            self.ghosts.push_back(hash);
        }
        while self.ghosts.len() > GHOSTS_MAX {
            if let Some(oldest) = self.ghosts.pop_front() {
                self.ghost_set.remove(&oldest);
            }
        }
    }

    /// Takes out everything.
    pub(super) fn clear(&mut self) -> Vec<Arc<Segment>> {
        let segments = self.segments.drain().map(|(_, stored)| stored.segment).collect();
        *self = Self { evictions: self.evictions, ..Self::default() };
        segments
    }

    /// Lengths of all files together.
    pub(super) fn total_bytes(&self) -> u64 {
        self.total_bytes
    }

    pub(super) fn entries(&self) -> usize {
        self.slots.len()
    }
}
