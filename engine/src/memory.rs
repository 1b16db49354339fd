//! Memory that is reserved before it is taken, by what is no operator: uploads, metadata, pages of data files.
//!
//! All of it comes from the pool that operators reserve in, so that `memory.limit` holds for the sum. What does not fit is refused at
//! once, with the setting's name; nobody waits here.

use std::any::Any;
use std::fmt::{self, Debug, Formatter};
use std::sync::Arc;

use datafusion::execution::memory_pool::{
    FairSpillPool, MemoryConsumer, MemoryPool, MemoryReservation, TrackConsumersPool,
};

use crate::{Error, Result};

/// Consumers that an operator's error names.
const NAMED_CONSUMERS: std::num::NonZeroUsize = std::num::NonZeroUsize::MIN.saturating_add(2);

/// The pool of `memory.limit`, for those who reserve before they take.
#[derive(Clone)]
pub struct MemoryBudget {
    pool: Arc<dyn MemoryPool>,
    limit_bytes: u64,
}

impl MemoryBudget {
    /// A pool of so many bytes, which nobody has taken.
    pub(crate) fn new(limit_bytes: u64) -> Self {
        let limit = usize::try_from(limit_bytes).unwrap_or(usize::MAX);
        Self { pool: Arc::new(TrackConsumersPool::new(FairSpillPool::new(limit), NAMED_CONSUMERS)), limit_bytes }
    }

    /// The pool itself, for operators.
    pub(crate) fn pool(&self) -> &Arc<dyn MemoryPool> {
        &self.pool
    }

    /// What all reservations together may come to.
    pub(crate) fn limit_bytes(&self) -> u64 {
        self.limit_bytes
    }

    /// A reservation of nothing yet; `what` is what errors call it.
    pub fn begin(&self, what: impl Into<String>) -> Reserved {
        let what = what.into();
        let reservation = MemoryConsumer::new(what.clone()).register(&self.pool);
        Reserved { reservation, what, limit_bytes: self.limit_bytes }
    }

    /// Reserves so many bytes.
    ///
    /// # Errors
    /// If the limit leaves too few.
    pub fn reserve(&self, what: impl Into<String>, bytes: usize) -> Result<Reserved> {
        let mut reserved = self.begin(what);
        reserved.resize(bytes)?;
        Ok(reserved)
    }
}

/// Metadata is decoded in the same memory.
impl polynya_catalog::Memory for MemoryBudget {
    fn limit_bytes(&self) -> u64 {
        self.limit_bytes
    }

    fn reserve(&self, what: String, bytes: u64) -> Result<Box<dyn Any + Send>, polynya_catalog::Source> {
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        Ok(Box::new(Self::reserve(self, what, bytes)?))
    }
}

impl Debug for MemoryBudget {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryBudget").field("limit_bytes", &self.limit_bytes).finish_non_exhaustive()
    }
}

/// Memory that somebody may take; given back when dropped.
#[derive(Debug)]
pub struct Reserved {
    reservation: MemoryReservation,
    what: String,
    limit_bytes: u64,
}

impl Reserved {
    /// Bytes reserved now.
    pub fn bytes(&self) -> usize {
        self.reservation.size()
    }

    /// Reserves so many bytes in place of those before.
    ///
    /// # Errors
    /// If the limit leaves too few; then what was reserved stays.
    pub fn resize(&mut self, bytes: usize) -> Result<()> {
        self.reservation.try_resize(bytes).map_err(|_| Error::MemoryTaken {
            what: self.what.clone(),
            bytes: bytes as u64,
            limit_bytes: self.limit_bytes,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_refused_by_the_settings_name_and_what_is_dropped_comes_back() {
        let budget = MemoryBudget::new(1000);
        let mut first = budget.reserve("an upload", 600).unwrap();
        let refused = budget.reserve("another upload", 600).unwrap_err().to_string();
        for part in ["another upload", "600 bytes", "memory.limit", "1000"] {
            assert!(refused.contains(part), "{refused}");
        }
        assert!(first.resize(1001).is_err());
        assert_eq!((first.bytes(), budget.pool().reserved()), (600, 600));
        drop(first);
        assert_eq!(budget.reserve("another upload", 1000).unwrap().bytes(), 1000);
        assert_eq!(budget.pool().reserved(), 0);
    }
}
