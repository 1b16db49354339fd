//! Pages between queries, in two tiers; and pages on their way, so that nobody fetches what another fetches already.
//!
//! In: a page's key. Out: its bytes from memory, from disk, or from a request under way. A page that comes from disk enters
//! memory; one that comes from the store enters both. Above them lies the tier of decoded columns, which scans ask first.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::{BoxFuture, Shared, WeakShared};
use moka::sync::Cache;
use parking_lot::Mutex;
use polynya_catalog::own_task;

use super::decoded::DecodedTier;
use super::disk::DiskTier;
use super::memory_tier::{Held, MemoryTier, PageTier, PartKey};
use super::meter::Tier;
use super::page::{FileKey, PageKey};
use super::query_io::CacheMode;
use crate::Error;

/// How long nobody else is asked for pages of a file that was found damaged, and for how many files that is remembered.
const DISTRUST: Duration = Duration::from_secs(3600);
const DISTRUSTED_MAX: u64 = 10_000;

/// A request under way, in a task of its own. It ends early when nobody waits for it any more.
pub(crate) type Flight = Shared<BoxFuture<'static, Result<Arc<Landed>, Arc<Error>>>>;
type WeakFlight = WeakShared<BoxFuture<'static, Result<Arc<Landed>, Arc<Error>>>>;

/// The pages that a request brought, by where they start.
pub(crate) type Brought = HashMap<u64, Bytes>;

/// What a request brought, and from where.
#[derive(Debug)]
pub(crate) struct Landed {
    pub(crate) pages: Brought,
    pub(crate) from: Tier,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct PageCache {
    decoded: Arc<DecodedTier>,
    memory: PageTier,
    disk: Option<DiskTier>,
    flights: Mutex<Flights>,
    counters: [TierCounters; 2],
    /// Files that were found damaged here.
    distrusted: Cache<FileKey, ()>,
}

#[derive(Default)]
struct Flights {
    by_page: HashMap<PageKey, (u64, WeakFlight)>,
    next_id: u64,
}

impl std::fmt::Debug for Flights {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Flights").field("pages", &self.by_page.len()).finish()
    }
}

#[derive(Debug, Default)]
struct TierCounters {
    hits: AtomicU64,
    misses: AtomicU64,
}

/// One tier, as `system.cache` shows it.
#[derive(Debug, Clone)]
pub struct TierStats {
    /// `decoded`, `memory` or `disk`.
    pub tier: &'static str,
    /// Bytes held.
    pub bytes: u64,
    /// The most it may hold, in bytes.
    pub limit_bytes: u64,
    /// Pages held; decoded columns of row groups in the first tier.
    pub entries: u64,
    /// Pages that this tier answered.
    pub hits: u64,
    /// Pages that this tier was asked for and did not have.
    pub misses: u64,
    /// Pages that left for lack of room.
    pub evictions: u64,
    /// Pages that were not what had been written (disk only).
    pub damaged: u64,
    /// Writes that failed (disk only).
    pub write_errors: u64,
}

impl PageCache {
    pub(crate) fn new(decoded: DecodedTier, memory: PageTier, disk: Option<DiskTier>) -> Arc<Self> {
        let (decoded, flights) = (Arc::new(decoded), Mutex::default());
        let distrusted = Cache::builder().max_capacity(DISTRUSTED_MAX).time_to_live(DISTRUST).build();
        Arc::new(Self { decoded, memory, disk, flights, counters: Default::default(), distrusted })
    }

    /// Columns that need no decoding.
    pub(crate) fn decoded(&self) -> &Arc<DecodedTier> {
        &self.decoded
    }

    /// The page, if memory has it.
    pub(crate) fn in_memory(&self, key: &PageKey, mode: CacheMode) -> Option<Bytes> {
        if mode == CacheMode::Off {
            return None;
        }
        let page = self.memory.get(key);
        self.count(0, page.is_some());
        if let (Some(page), Some(disk)) = (&page, &self.disk) {
            disk.used_in_memory(key, page);
        }
        page
    }

    /// The page, if the disk has it.
    pub(crate) async fn on_disk(&self, key: &PageKey, mode: CacheMode) -> Option<Bytes> {
        let disk = self.disk.as_ref().filter(|_| mode != CacheMode::Off)?;
        let page = disk.get(key).await;
        self.count(1, page.is_some());
        if let Some(page) = page.as_ref().filter(|_| mode == CacheMode::On) {
            self.memory.insert(key.clone(), page.clone());
        }
        page
    }

    /// The page, from whichever tier has it.
    pub(crate) async fn get(&self, key: &PageKey, mode: CacheMode) -> Option<(Bytes, Tier)> {
        if let Some(page) = self.in_memory(key, mode) {
            return Some((page, Tier::Memory));
        }
        self.on_disk(key, mode).await.map(|page| (page, Tier::Disk))
    }

    /// Whether a page is here or on its way. Does not count as use.
    pub(crate) fn knows(&self, key: &PageKey) -> bool {
        self.memory.contains(key) || self.disk.as_ref().is_some_and(|disk| disk.contains(key))
    }

    /// What memory holds, as far as `bytes_max` goes: what a worker that ends leaves to others.
    pub(crate) fn pages_in_memory(&self, bytes_max: u64) -> Vec<(PageKey, Bytes)> {
        let mut left = bytes_max;
        let pages = self.memory.keys().into_iter().filter_map(|key| self.memory.get(&key).map(|page| (key, page)));
        pages.take_while(|(_, page)| left.checked_sub(page.len() as u64).map(|rest| left = rest).is_some()).collect()
    }

    /// All pages here, in no order.
    pub(crate) fn keys(&self) -> Vec<PageKey> {
        let mut keys = self.disk.as_ref().map(DiskTier::keys).unwrap_or_default();
        keys.extend(self.memory.keys());
        keys
    }

    /// Keeps a page that owns its bytes.
    pub(crate) fn insert(&self, key: &PageKey, page: &Bytes) {
        self.memory.insert(key.clone(), page.clone());
        self.insert_on_disk(key, page);
    }

    /// Keeps a page on disk only: its contents are in memory in another form.
    pub(crate) fn insert_on_disk(&self, key: &PageKey, page: &Bytes) {
        if let Some(disk) = &self.disk {
            disk.insert(key, page.clone());
        }
    }

    /// For each page, the request that brings it, or none. `begin` makes requests for those without one, and is called with
    /// the pages that no request brings; it says for each new request which pages it brings.
    pub(crate) fn join(
        self: &Arc<Self>,
        pages: &[PageKey],
        begin: impl FnOnce(
            Vec<PageKey>,
            &dyn Fn(&PageKey) -> bool,
        ) -> Vec<(Vec<PageKey>, BoxFuture<'static, Result<Landed, Error>>)>,
    ) -> Vec<Flight> {
        let mut flights = self.flights.lock();
        let mut joined: Vec<Flight> = Vec::new();
        let mut alone: Vec<PageKey> = Vec::new();
        for page in pages {
            match flights.by_page.get(page).and_then(|(_, flight)| flight.upgrade()) {
                Some(flight) if joined.iter().any(|known| known.ptr_eq(&flight)) => {}
                Some(flight) => joined.push(flight),
                None => alone.push(page.clone()),
            }
        }
        if alone.is_empty() {
            return joined;
        }
        let flying = |page: &PageKey| flights.by_page.contains_key(page) || self.knows(page);
        let begun = begin(alone, &flying);
        for (pages, request) in begun {
            flights.next_id += 1;
            let id = flights.next_id;
            let landing = Landing { cache: Arc::clone(self), id, pages: pages.clone() };
            let flight: Flight = async move {
                let landed = own_task(async move {
                    let landed = request.await;
                    drop(landing);
                    landed
                });
                landed.await.unwrap_or_else(|ended| Err(ended.into())).map(Arc::new).map_err(Arc::new)
            }
            .boxed()
            .shared();
            if let Some(weak) = flight.downgrade() {
                flights.by_page.extend(pages.into_iter().map(|page| (page, (id, weak.clone()))));
            }
            joined.push(flight);
        }
        joined
    }

    /// Forgets the pages of these files, or everything. Returns how many pages of the disk tier went.
    pub(crate) fn evict(&self, files: Option<&std::collections::HashSet<FileKey>>) -> usize {
        match files {
            None => {
                self.evict_memory();
                let entries = self.disk.as_ref().map_or(0, |disk| disk.stats().entries);
                if let Some(disk) = &self.disk {
                    disk.clear();
                }
                entries as usize
            }
            Some(files) => {
                for file in files {
                    self.decoded.remove_file(file);
                    self.memory.remove_file(file);
                }
                self.disk.as_ref().map_or(0, |disk| disk.remove_where(|key| files.contains(&key.file)))
            }
        }
    }

    /// Forgets a file in which something is damaged, so that not even a restart brings it back.
    pub(crate) fn forget(&self, file: &FileKey) {
        self.distrusted.insert(file.clone(), ());
        self.decoded.remove_file(file);
        self.memory.remove_file(file);
        if let Some(disk) = &self.disk {
            disk.spoil(file);
        }
    }

    /// Whether a file was found damaged lately.
    pub(crate) fn distrusts(&self, file: &FileKey) -> bool {
        self.distrusted.contains_key(file)
    }

    /// Forgets what is in memory; the disk tier stays.
    pub(crate) fn evict_memory(&self) {
        self.decoded.clear();
        self.memory.clear();
    }

    /// Pages and decoded columns that memory holds.
    pub(crate) fn entries_in_memory(&self) -> u64 {
        self.decoded.columns().entries() + self.memory.entries()
    }

    /// All tiers, as they are now.
    pub(crate) fn stats(&self) -> Vec<TierStats> {
        let counted = |tier: usize| (self.counters[tier].hits.load(Relaxed), self.counters[tier].misses.load(Relaxed));
        let decoded = in_memory("decoded", self.decoded.columns(), self.decoded.hits_and_misses());
        let mut tiers = vec![
            TierStats { bytes: self.decoded.bytes(), limit_bytes: self.decoded.limit_bytes(), ..decoded },
            in_memory("memory", &self.memory, counted(0)),
        ];
        if let Some(disk) = &self.disk {
            let (hits, misses) = counted(1);
            let stats = disk.stats();
            tiers.push(TierStats {
                tier: "disk",
                bytes: stats.bytes,
                limit_bytes: disk.limit_bytes(),
                entries: stats.entries,
                hits,
                misses,
                evictions: stats.evictions,
                damaged: stats.damaged,
                write_errors: stats.write_errors,
            });
        }
        tiers
    }

    fn count(&self, tier: usize, hit: bool) {
        let counters = &self.counters[tier];
        if hit { &counters.hits } else { &counters.misses }.fetch_add(1, Relaxed);
    }
}

fn in_memory<K: PartKey, V: Held>(
    name: &'static str,
    tier: &MemoryTier<K, V>,
    (hits, misses): (u64, u64),
) -> TierStats {
    TierStats {
        tier: name,
        bytes: tier.bytes(),
        limit_bytes: tier.capacity_bytes(),
        entries: tier.entries(),
        hits,
        misses,
        evictions: tier.evictions(),
        damaged: 0,
        write_errors: 0,
    }
}

/// Takes a request's pages off the list of those under way, when it ends or nobody waits for it any more.
struct Landing {
    cache: Arc<PageCache>,
    id: u64,
    pages: Vec<PageKey>,
}

impl Drop for Landing {
    fn drop(&mut self) {
        let mut flights = self.cache.flights.lock();
        for page in &self.pages {
            if flights.by_page.get(page).is_some_and(|(id, _)| *id == self.id) {
                flights.by_page.remove(page);
            }
        }
    }
}
