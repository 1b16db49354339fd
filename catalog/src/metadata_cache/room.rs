//! Memory for metadata while it is unpacked and parsed: reserved first, where somebody counts it.
//!
//! Many files are decoded at the same time when a table is planned. Half of all memory is for that; who finds it taken waits on its own
//! thread for those who decode, who need nobody else to end. What all memory together does not hold is refused.

use std::any::Any;
use std::fmt::Debug;
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

use crate::error::Source;
use crate::{Error, Result};

/// Where memory is counted.
pub trait Memory: Debug + Send + Sync {
    /// All that there may be, in bytes.
    fn limit_bytes(&self) -> u64;

    /// Reserves so many bytes until the answer is dropped.
    ///
    /// # Errors
    /// If there are too few left; the error names the setting.
    fn reserve(&self, what: String, bytes: u64) -> std::result::Result<Box<dyn Any + Send>, Source>;
}

/// See the module. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Room {
    counted: Option<Arc<Counted>>,
}

#[derive(Debug)]
struct Counted {
    memory: Arc<dyn Memory>,
    all: u64,
    free: Mutex<u64>,
    came_free: Condvar,
}

/// Memory that one file has while it is decoded.
#[derive(Debug)]
pub(super) struct Place {
    counted: Arc<Counted>,
    bytes: u64,
    _reserved: Box<dyn Any + Send>,
}

impl Room {
    /// Room within counted memory.
    pub(super) fn of(memory: Arc<dyn Memory>) -> Self {
        let all = memory.limit_bytes() / 2;
        let counted = Counted { memory, all, free: Mutex::new(all), came_free: Condvar::new() };
        Self { counted: Some(Arc::new(counted)) }
    }

    /// Waits for room for one file, on a thread that may block.
    ///
    /// # Errors
    /// `Memory` if there is not so much.
    pub(super) fn enter(&self, location: &str, kind: &'static str, bytes: u64) -> Result<Option<Place>> {
        let Some(counted) = &self.counted else { return Ok(None) };
        let wanted = bytes.min(counted.all);
        let mut free = counted.free.lock();
        while *free < wanted {
            counted.came_free.wait(&mut free);
        }
        let no_memory = |source| Error::Memory { location: location.to_owned(), kind, source };
        let reserved = counted.memory.reserve(format!("decoding {kind} {location}"), bytes).map_err(no_memory)?;
        *free -= wanted;
        drop(free);
        Ok(Some(Place { counted: Arc::clone(counted), bytes: wanted, _reserved: reserved }))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        *self.counted.free.lock() += self.bytes;
        self.counted.came_free.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Memory of 1,000 bytes, of which some are taken.
    #[derive(Debug, Default)]
    struct Bytes(Arc<Mutex<u64>>);

    struct Taken(Arc<Mutex<u64>>, u64);

    impl Drop for Taken {
        fn drop(&mut self) {
            *self.0.lock() -= self.1;
        }
    }

    impl Memory for Bytes {
        fn limit_bytes(&self) -> u64 {
            1000
        }

        fn reserve(&self, what: String, bytes: u64) -> std::result::Result<Box<dyn Any + Send>, Source> {
            let mut taken = self.0.lock();
            if *taken + bytes > 1000 {
                return Err(format!("{what} needs {bytes} bytes").into());
            }
            *taken += bytes;
            Ok(Box::new(Taken(Arc::clone(&self.0), bytes)))
        }
    }

    #[test]
    fn who_finds_the_room_taken_waits_and_what_never_fits_is_refused() {
        let memory = Arc::new(Bytes::default());
        let room = Room::of(Arc::clone(&memory) as Arc<dyn Memory>);
        let first = room.enter("a", "manifest", 400).unwrap();
        let waiting = std::thread::spawn({
            let room = room.clone();
            move || room.enter("b", "manifest", 400).map(drop).is_ok()
        });
        std::thread::sleep(Duration::from_millis(50));
        assert!(!waiting.is_finished());
        drop(first);
        assert!(waiting.join().unwrap());
        // Alone it may have more than half of all.
        drop(room.enter("c", "manifest", 900).unwrap());
        let refused = room.enter("d", "manifest", 1001).unwrap_err();
        assert!(matches!(&refused, Error::Memory { location, .. } if location == "d"), "{refused:?}");
        assert_eq!(*memory.0.lock(), 0);
        assert!(room.enter("e", "manifest", 500).unwrap().is_some());
        assert!(Room::default().enter("f", "manifest", u64::MAX).unwrap().is_none());
    }
}
