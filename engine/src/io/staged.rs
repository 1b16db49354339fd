//! Pages that were read ahead for one scan, held until its decoder takes them.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::OwnedSemaphorePermit;

use super::page::{FileKey, PageKey};
use super::page_cache::Brought;

/// See the module. Holds memory of the prefetch budget for as long as it holds pages.
#[derive(Debug, Default)]
pub(crate) struct Staged {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    pages: HashMap<PageKey, (Bytes, OwnedSemaphorePermit)>,
    /// Pages that the decoder has had: they are not read ahead any more.
    taken: HashSet<PageKey>,
}

impl Staged {
    /// Gives the decoder those of the wanted pages that are here; the others are left in the list.
    pub(crate) fn take(&self, file: &FileKey, wanted: &mut Vec<Range<u64>>) -> Brought {
        let mut state = self.state.lock();
        let mut taken = Brought::new();
        wanted.retain(|range| {
            let key = PageKey::new(file, range);
            let staged = state.pages.remove(&key);
            state.taken.insert(key);
            match staged {
                Some((page, _)) => taken.insert(range.start, page).is_some(),
                None => true,
            }
        });
        taken
    }

    /// Whether reading the page ahead would help.
    pub(crate) fn wants(&self, key: &PageKey) -> bool {
        let state = self.state.lock();
        !state.taken.contains(key) && !state.pages.contains_key(key)
    }

    /// Holds a page until it is taken, unless it was.
    pub(crate) fn put(&self, key: PageKey, page: Bytes, permit: OwnedSemaphorePermit) {
        let mut state = self.state.lock();
        if !state.taken.contains(&key) {
            state.pages.insert(key, (page, permit));
        }
    }

    /// Lets pages go that will not be taken.
    pub(crate) fn forget(&self, keys: &[PageKey]) {
        let mut state = self.state.lock();
        for key in keys {
            state.pages.remove(key);
        }
    }

    /// Lets a file's pages go, and holds none of it again.
    pub(crate) fn forget_file(&self, file: &FileKey) {
        let mut state = self.state.lock();
        let gone: Vec<PageKey> = state.pages.keys().filter(|key| key.file == *file).cloned().collect();
        for key in gone {
            state.pages.remove(&key);
            state.taken.insert(key);
        }
    }
}
