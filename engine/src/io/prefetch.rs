//! Reads ahead what a scan will decode: footers of all its files at once, then the pages of its row groups in order, within
//! a budget of memory shared by all queries. What a late filter makes useless is cancelled.
//!
//! The decoder never waits for the budget: what is not here when it is needed, it fetches for itself, and where a request
//! is under way already, both wait for that one. So no read may depend on this run's going on: each is a task of its own.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt};
use tokio::sync::Semaphore;
use tokio::task::{AbortHandle, JoinSet};
use tokio_util::task::AbortOnDropHandle;

use super::footers::Footer;
use super::page::PageKey;
use super::pages::Pages;
use super::query_io::DataFile;
use super::staged::Staged;
use crate::Result;

/// Footers of one scan's partition that are fetched at once.
const CONCURRENT_FOOTERS: usize = 16;
/// How often a filter that may have changed is looked at.
const FILTER_CHECK: Duration = Duration::from_millis(25);
/// The unit of the budget's permits, in bytes.
const PERMIT_BYTES: u64 = 4 << 10;

/// What a scan knows of its own future.
pub(crate) trait Foreseen: Send + Sync + 'static {
    /// How many files there are; they are numbered in the order in which they will be read.
    fn files(&self) -> usize;
    /// A file as the scan's query reads it.
    fn file(&self, number: usize) -> Result<DataFile>;
    /// The file's footer, fetched if need be.
    fn footer(&self, number: usize) -> impl Future<Output = Result<Arc<Footer>>> + Send;
    /// The byte ranges that decoding will ask for, one list for each row group; none if the file is ruled out by now.
    fn row_groups(&self, number: usize, footer: &Footer) -> Vec<Vec<Range<u64>>>;
    /// Those of a row group's ranges whose bytes decoding will need: not those that are decoded already.
    fn undecoded(&self, number: usize, footer: &Footer, group: &[Range<u64>]) -> Vec<Range<u64>>;
    /// Grows when the filters have changed, so that row groups may be ruled out that were not before.
    fn filter_generation(&self) -> u64;
}

/// Memory that pages read ahead may hold.
#[derive(Debug, Clone)]
pub(crate) struct Budget {
    permits: Arc<Semaphore>,
    total: u64,
}

impl Budget {
    pub(crate) fn new(bytes: u64) -> Self {
        let total = (bytes / PERMIT_BYTES).min(Semaphore::MAX_PERMITS as u64);
        Self { permits: Arc::new(Semaphore::new(total as usize)), total }
    }

    /// Leaves out the pages that go beyond the whole budget: of a row group larger than that, its beginning is read ahead.
    fn cut(&self, pages: &mut Vec<Range<u64>>) {
        let mut permits = 0;
        pages.retain(|page| {
            permits += (page.end - page.start).div_ceil(PERMIT_BYTES);
            permits <= self.total
        });
    }

    fn permits_for(&self, bytes: u64) -> u32 {
        u32::try_from(bytes.div_ceil(PERMIT_BYTES).min(self.total)).unwrap_or(u32::MAX)
    }
}

/// Stops reading ahead when dropped.
pub(crate) type PrefetchHandle = AbortOnDropHandle<()>;

/// Begins to read ahead. Failures are left to the decoder to meet.
pub(crate) fn prefetch<F: Foreseen>(
    scan: F,
    pages: Pages,
    staged: Arc<Staged>,
    budget: Budget,
) -> Option<PrefetchHandle> {
    if budget.total == 0 {
        return None;
    }
    let runtime = tokio::runtime::Handle::try_current().ok()?;
    let run =
        Run { scan: Arc::new(scan), pages, staged, budget, reads: JoinSet::new(), pending: Vec::new(), generation: 0 };
    Some(AbortOnDropHandle::new(runtime.spawn(run.all())))
}

struct Run<F> {
    scan: Arc<F>,
    pages: Pages,
    staged: Arc<Staged>,
    budget: Budget,
    reads: JoinSet<()>,
    /// Row groups that were begun, for a filter to rule out.
    pending: Vec<Pending>,
    generation: u64,
}

struct Pending {
    number: usize,
    group: Vec<Range<u64>>,
    footer: Arc<Footer>,
    keys: Vec<PageKey>,
    read: AbortHandle,
}

impl<F: Foreseen> Run<F> {
    async fn all(mut self) {
        self.generation = self.scan.filter_generation();
        let mut footers = std::pin::pin!(footers(&self.scan));
        loop {
            let next = self.while_watching(footers.next()).await;
            let Some((number, footer)) = next else { break };
            let Ok(footer) = footer else { continue };
            for group in self.scan.row_groups(number, &footer) {
                self.begin(number, &footer, group).await;
            }
        }
        while !self.reads.is_empty() {
            let mut reads = std::mem::take(&mut self.reads);
            self.while_watching(reads.join_next()).await;
            self.reads = reads;
        }
    }

    /// Begins to read a row group's pages, once the budget allows it.
    async fn begin(&mut self, number: usize, footer: &Arc<Footer>, group: Vec<Range<u64>>) {
        let Ok(file) = self.scan.file(number) else { return };
        let needed = self.scan.undecoded(number, footer, &group);
        let mut wanted: Vec<Range<u64>> = needed.iter().flat_map(|range| footer.layout.covering(range)).collect();
        wanted.sort_by_key(|page| page.start);
        wanted.dedup();
        wanted.retain(|range| self.staged.wants(&PageKey::new(&file.key, range)));
        self.budget.cut(&mut wanted);
        let bytes: u64 = wanted.iter().map(|page| page.end - page.start).sum();
        if bytes == 0 {
            return;
        }
        let permits = Arc::clone(&self.budget.permits);
        let amount = self.budget.permits_for(bytes);
        let wait = file.io.waits.enter_aside("memory to read ahead (setting cache.prefetch_bytes)", &file.location);
        let Ok(permit) = self.while_watching(permits.acquire_many_owned(amount)).await else { return };
        drop(wait);
        wanted.retain(|range| self.staged.wants(&PageKey::new(&file.key, range)));
        let keys: Vec<PageKey> = wanted.iter().map(|range| PageKey::new(&file.key, range)).collect();
        let (pages, staged, for_layout) = (self.pages.clone(), Arc::clone(&self.staged), Arc::clone(footer));
        let budget = self.budget.clone();
        let read = self.reads.spawn(async move {
            let mut permit = permit;
            let Ok(brought) = pages.get(&file, &for_layout.layout, &wanted).await else { return };
            for range in wanted {
                let Some(page) = brought.get(&range.start) else { continue };
                let share = budget.permits_for(page.len() as u64) as usize;
                let share = share.min(permit.num_permits());
                if let Some(own) = permit.split(share) {
                    staged.put(PageKey::new(&file.key, &range), page.clone(), own);
                }
            }
        });
        self.pending.push(Pending { number, group, footer: Arc::clone(footer), keys, read });
    }

    /// Waits for something, and meanwhile drops what filters have ruled out.
    async fn while_watching<T>(&mut self, work: impl Future<Output = T>) -> T {
        tokio::pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done,
                () = tokio::time::sleep(FILTER_CHECK) => self.drop_what_is_ruled_out(),
            }
        }
    }

    fn drop_what_is_ruled_out(&mut self) {
        let generation = self.scan.filter_generation();
        if generation == self.generation {
            return;
        }
        self.generation = generation;
        let (scan, staged) = (&self.scan, &self.staged);
        self.pending.retain(|pending| {
            let stays = scan.row_groups(pending.number, &pending.footer).contains(&pending.group);
            if !stays {
                pending.read.abort();
                staged.forget(&pending.keys);
            }
            stays
        });
    }
}

/// The footers of all files in order, several fetched at once.
fn footers<F: Foreseen>(scan: &Arc<F>) -> impl Stream<Item = (usize, Result<Arc<Footer>>)> + use<F> {
    let scan = Arc::clone(scan);
    futures::stream::iter(0..scan.files())
        .map(move |number| {
            let scan = Arc::clone(&scan);
            async move { (number, scan.footer(number).await) }
        })
        .buffered(CONCURRENT_FOOTERS)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::HashMap;
    use std::sync::atomic::{AtomicU64, Ordering};

    use bytes::Bytes;
    use parking_lot::Mutex;
    use parquet::basic::Type as PhysicalType;
    use parquet::file::metadata::{FileMetaData, ParquetMetaDataBuilder};
    use parquet::schema::types::{SchemaDescriptor, Type};
    use polynya_catalog::{RequestMeter, Storage};

    use super::super::decoded::DecodedTier;
    use super::super::fetch::Stores;
    use super::super::layout::Layout;
    use super::super::memory_tier::PageTier;
    use super::super::page::FileKey;
    use super::super::page_cache::PageCache;
    use super::super::page_growth::Chunks;
    use super::super::query_io::{CacheMode, IoLimits, Prices, QueryIo};
    use super::*;

    const GROUP: u64 = 64 << 10;
    const GROUPS: u64 = 8;

    /// One file of eight row groups with a page each; those that `left` names are not ruled out.
    #[derive(Clone)]
    struct OneFile {
        file: DataFile,
        left: Arc<Mutex<Vec<u64>>>,
        generation: Arc<AtomicU64>,
    }

    fn group(number: u64) -> Range<u64> {
        number * GROUP..(number + 1) * GROUP
    }

    impl Foreseen for OneFile {
        fn files(&self) -> usize {
            1
        }

        fn file(&self, _number: usize) -> Result<DataFile> {
            Ok(self.file.clone())
        }

        async fn footer(&self, _number: usize) -> Result<Arc<Footer>> {
            let leaf = Type::primitive_type_builder("a", PhysicalType::INT32).build().unwrap();
            let root = Type::group_type_builder("schema").with_fields(vec![Arc::new(leaf)]).build().unwrap();
            let about = FileMetaData::new(1, 0, None, None, Arc::new(SchemaDescriptor::new(Arc::new(root))), None);
            let metadata = Arc::new(ParquetMetaDataBuilder::new(about).build());
            let chunks = Arc::new(Chunks::new(&metadata));
            Ok(Arc::new(Footer { metadata, layout: Layout::of((0..GROUPS).map(group).collect()), chunks }))
        }

        fn row_groups(&self, _number: usize, _footer: &Footer) -> Vec<Vec<Range<u64>>> {
            self.left.lock().iter().map(|number| vec![group(*number)]).collect()
        }

        fn undecoded(&self, _number: usize, _footer: &Footer, group: &[Range<u64>]) -> Vec<Range<u64>> {
            group.to_vec()
        }

        fn filter_generation(&self) -> u64 {
            self.generation.load(Ordering::SeqCst)
        }
    }

    async fn setup() -> (OneFile, Pages, Arc<RequestMeter>) {
        let storage = Storage::new(&HashMap::new()).unwrap();
        let location = "memory://bucket/file.parquet";
        storage.write(location, Bytes::from(vec![1; (GROUP * GROUPS) as usize])).await.unwrap();
        let meter = Arc::new(RequestMeter::default());
        let io = QueryIo::new(CacheMode::Off, IoLimits::default(), Prices::default());
        let key = FileKey { name: Arc::from(location), size_bytes: GROUP * GROUPS };
        let file = DataFile { location: Arc::from(location), key, storage: storage.metered(Arc::clone(&meter)), io };
        // Without a cache, what is read ahead is nowhere but in the staged pages.
        let pages = Pages {
            cache: PageCache::new(DecodedTier::new(0), PageTier::new(0), None),
            stores: Arc::new(Stores::new(0.0, Some(0), 64)),
        };
        let left = Arc::new(Mutex::new((0..GROUPS).collect()));
        (OneFile { file, left, generation: Arc::default() }, pages, meter)
    }

    fn here(scan: &OneFile, staged: &Staged, number: u64) -> bool {
        !staged.wants(&PageKey::new(&scan.file.key, &group(number)))
    }

    async fn until(condition: impl Fn() -> bool) {
        for _ in 0..500 {
            if condition() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("it did not come to be");
    }

    #[tokio::test]
    async fn pages_come_in_order_within_the_budget_and_once() {
        let (scan, pages, meter) = setup().await;
        let staged = Arc::new(Staged::default());
        let _run = prefetch(scan.clone(), pages, Arc::clone(&staged), Budget::new(2 * GROUP)).unwrap();
        for number in 0..GROUPS {
            until(|| here(&scan, &staged, number)).await;
            assert!((number + 2..GROUPS).all(|later| !here(&scan, &staged, later)), "{number}");
            let taken = staged.take(&scan.file.key, &mut vec![group(number)]);
            assert_eq!(taken[&group(number).start].len() as u64, GROUP);
        }
        assert_eq!(meter.snapshot().get, GROUPS);
    }

    #[tokio::test]
    async fn what_a_late_filter_rules_out_is_let_go() {
        let (scan, pages, _) = setup().await;
        let staged = Arc::new(Staged::default());
        let _run = prefetch(scan.clone(), pages, Arc::clone(&staged), Budget::new(4 * GROUP)).unwrap();
        until(|| here(&scan, &staged, 3)).await;
        *scan.left.lock() = vec![0, 1];
        scan.generation.fetch_add(1, Ordering::SeqCst);
        until(|| !here(&scan, &staged, 2) && !here(&scan, &staged, 3)).await;
        assert!(here(&scan, &staged, 0) && here(&scan, &staged, 1));
    }

    #[tokio::test]
    async fn a_budget_of_zero_reads_nothing_ahead() {
        let (scan, pages, _) = setup().await;
        assert!(prefetch(scan, pages, Arc::default(), Budget::new(0)).is_none());
    }
}
