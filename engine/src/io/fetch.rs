//! The one place where data reads are sent: one request at a time is checked, tried again, hedged, limited and measured.
//!
//! In: a range of a file. Out: exactly its bytes, or an error that says after how many tries. Nothing below tries again;
//! whether and when this does, the state of the store decides ([`polynya_catalog::Health`]), for all queries together.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use parking_lot::Mutex;
use polynya_catalog::{Arrived, Health, ReadFailure, ReadFailureKind, Tries, Turn};

use super::cost_model::CostModel;
use super::limit::{Limit, Permit};
use super::query_io::DataFile;
use super::tail::Tail;
use crate::{Error, Result};

/// Says what is wrong with the bytes of a range, if anything is.
pub(crate) type Check<'a> = &'a (dyn Fn(&Bytes) -> Option<String> + Send + Sync);

/// The stores that reads go to, by name.
#[derive(Debug)]
pub(crate) struct Stores {
    by_name: Mutex<HashMap<String, Arc<StoreState>>>,
    request_usd: f64,
    gap_bytes: Option<u64>,
    concurrency_max: usize,
}

/// What is known of one store.
#[derive(Debug)]
pub(crate) struct StoreState {
    pub(crate) cost: CostModel,
    health: Arc<Health>,
    limit: Limit,
    tail: Tail,
}

impl Stores {
    /// `request_usd` is the price of one GET; `gap_bytes` overrides the cost model; each store gets at most `concurrency_max`
    /// requests at once.
    pub(crate) fn new(request_usd: f64, gap_bytes: Option<u64>, concurrency_max: usize) -> Self {
        Self { by_name: Mutex::default(), request_usd, gap_bytes, concurrency_max }
    }

    /// The store of a file.
    pub(crate) fn of(&self, file: &DataFile) -> Arc<StoreState> {
        let name = file.storage.store_name(&file.location).unwrap_or_default();
        let mut by_name = self.by_name.lock();
        let state = by_name.entry(name).or_insert_with(|| {
            let cost = CostModel::new(self.request_usd, self.gap_bytes);
            // What metadata is read with knows the store, too.
            let health = file.storage.health(&file.location).unwrap_or_default();
            Arc::new(StoreState { cost, health, limit: Limit::new(self.concurrency_max), tail: Tail::new() })
        });
        Arc::clone(state)
    }
}

impl StoreState {
    /// A range of a file, in as many tries as the state of the store and the query's own limits allow. Bytes that `check`
    /// finds wrong are asked for again.
    ///
    /// # Errors
    /// The last failure, or the query's own limit.
    pub(crate) async fn fetch(&self, file: &DataFile, range: Range<u64>, check: Check<'_>) -> Result<Bytes> {
        let mut tries = self.health.tries();
        loop {
            let (permit, turn) = self.turn(&mut tries, file, &range).await;
            file.io.request(range.end - range.start)?;
            if tries.failures() > 0 {
                file.io.meter.retried();
            }
            let answer = self.hedged(file, &range).await;
            // Nobody waits for the store with a place among its requests.
            drop(permit);
            let (failure, damage) = match answer {
                Ok(bytes) => match check(&bytes) {
                    None => {
                        turn.answered();
                        self.limit.succeeded();
                        return Ok(bytes);
                    }
                    Some(reason) => (ReadFailure::wrong_bytes(&file.location, &reason), Some(reason)),
                },
                Err(failure) => (failure, None),
            };
            if failure.kind == ReadFailureKind::Throttled {
                self.limit.throttled();
            }
            tracing::debug!(location = %file.location, ?range, error = %failure.error, "a read failed");
            if let Err(error) = tries.failed(turn, failure) {
                let location = file.location.to_string();
                return Err(damage.map_or(error.into(), |reason| Error::DamagedFile { location, reason }));
            }
        }
    }

    /// Waits until the store may be asked, then for a place among its requests.
    async fn turn(&self, tries: &mut Tries, file: &DataFile, range: &Range<u64>) -> (Permit<'_>, Turn) {
        let wait = |what| file.io.waits.enter_file(what, &file.location, Some(range.clone()));
        loop {
            let refused = wait("the store, which refuses requests");
            tries.ready().await;
            drop(refused);
            let place = wait("a place among the requests to the store");
            let permit = self.limit.acquire().await;
            drop(place);
            if let Some(turn) = tries.turn() {
                return (permit, turn);
            }
        }
    }

    /// One try: a request, and a second one if the first is late and nothing comes. The first good answer wins.
    async fn hedged(&self, file: &DataFile, range: &Range<u64>) -> Result<Bytes, ReadFailure> {
        let _wait = file.io.waits.enter_file("the store's answer", &file.location, Some(range.clone()));
        let bytes = range.end - range.start;
        let expected = self.cost.expected(bytes);
        let late_after = self.tail.hedge_after(expected);
        let begun = Instant::now();
        let (arrived, ignored) = (Arrived::default(), Arrived::default());
        let first = self.request(file, range, &arrived);
        tokio::pin!(first);
        let mut seen = 0;
        let answer = loop {
            tokio::select! {
                biased;
                answer = &mut first => break answer,
                () = tokio::time::sleep(late_after) => {}
            }
            let now = arrived.bytes();
            if std::mem::replace(&mut seen, now) != now {
                continue;
            }
            if !(self.tail.may_hedge() && file.io.hedge(bytes)) {
                break first.await;
            }
            let second = self.request(file, range, &ignored);
            tokio::pin!(second);
            let (answer, other) = match futures::future::select(first, second).await {
                futures::future::Either::Left((answer, other)) => (answer, other),
                futures::future::Either::Right((answer, other)) => (answer, other),
            };
            break match answer {
                Ok(bytes) => Ok(bytes),
                Err(_) => other.await,
            };
        };
        if answer.is_ok() {
            self.tail.observe(expected, begun.elapsed());
        }
        answer
    }

    /// One request. Whatever comes of it, the model learns from it.
    async fn request(
        &self,
        file: &DataFile,
        range: &Range<u64>,
        arrived: &Arrived,
    ) -> std::result::Result<Bytes, ReadFailure> {
        let read = file.storage.read_range_once(&file.location, range.clone(), file.key.size_bytes, arrived);
        match read.await {
            Ok((bytes, progress)) => {
                self.cost.observe(&progress);
                Ok(bytes)
            }
            Err(failure) => {
                self.cost.observe(&failure.progress);
                Err(failure)
            }
        }
    }
}
