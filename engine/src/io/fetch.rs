//! The one place where data reads are sent: one request at a time is checked, tried again, hedged, limited and measured.
//!
//! In: a range of a file. Out: exactly its bytes, or an error that says after how many tries. Nothing below tries again.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use backon::{BackoffBuilder, ExponentialBuilder};
use bytes::Bytes;
use parking_lot::Mutex;
use polynya_catalog::{ReadFailure, ReadFailureKind};

use super::cost_model::CostModel;
use super::limit::Limit;
use super::query_io::DataFile;
use super::tail::Tail;
use crate::Result;

/// No new try begins later than this after the first.
const RETRY_TIMEOUT: Duration = Duration::from_secs(12);
/// A try that brings nothing for this long, beyond what its bytes should take, has failed.
const TRY_TIMEOUT: Duration = Duration::from_secs(10);
const TRIES_MAX: usize = 9;

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
            Arc::new(StoreState { cost, limit: Limit::new(self.concurrency_max), tail: Tail::new() })
        });
        Arc::clone(state)
    }
}

impl StoreState {
    /// A range of a file: as many tries as its query's budget and the time allow.
    ///
    /// # Errors
    /// The last failure, or the query's own limit.
    pub(crate) async fn fetch(&self, file: &DataFile, range: Range<u64>) -> Result<Bytes> {
        let begun = Instant::now();
        let mut delays = ExponentialBuilder::default()
            .with_jitter()
            .with_min_delay(Duration::from_millis(50))
            .with_max_delay(Duration::from_secs(2))
            .with_max_times(TRIES_MAX - 1)
            .build();
        loop {
            file.io.request(range.end - range.start)?;
            let failure = match self.hedged(file, &range).await {
                Ok(bytes) => {
                    self.limit.succeeded();
                    return Ok(bytes);
                }
                Err(failure) => failure,
            };
            if failure.kind == ReadFailureKind::Throttled {
                self.limit.throttled();
            }
            let delay = match failure.kind {
                ReadFailureKind::Permanent => None,
                _ => delays.next().filter(|delay| begun.elapsed() + *delay < RETRY_TIMEOUT),
            };
            match delay.filter(|_| file.io.may_retry()) {
                Some(delay) => {
                    tracing::debug!(location = %file.location, ?range, error = %failure.error, "a read is tried again");
                    tokio::time::sleep(delay).await;
                }
                None => return Err(failure.error.into()),
            }
        }
    }

    /// One try: a request, and a second one if the first takes too long. The first good answer wins.
    async fn hedged(&self, file: &DataFile, range: &Range<u64>) -> std::result::Result<Bytes, ReadFailure> {
        let waits = &file.io.waits;
        let place = waits.enter_file("a place among the requests to the store", &file.location, Some(range.clone()));
        let _permit = self.limit.acquire().await;
        drop(place);
        let _wait = waits.enter_file("the store's answer", &file.location, Some(range.clone()));
        let bytes = range.end - range.start;
        let expected = self.cost.expected(bytes);
        let hedge_after = self.tail.hedge_after(expected);
        let begun = Instant::now();
        let first = request(file, range, expected);
        tokio::pin!(first);
        let answer = tokio::select! {
            biased;
            answer = &mut first => answer,
            () = tokio::time::sleep(hedge_after) => {
                if self.tail.may_hedge() && file.io.hedge(bytes) {
                    let second = request(file, range, expected);
                    tokio::pin!(second);
                    let (answer, other) = match futures::future::select(first, second).await {
                        futures::future::Either::Left((answer, other)) => (answer, other),
                        futures::future::Either::Right((answer, other)) => (answer, other),
                    };
                    match answer {
                        Ok(bytes) => Ok(bytes),
                        Err(_) => other.await,
                    }
                } else {
                    first.await
                }
            }
        };
        if answer.is_ok() {
            self.cost.observe(bytes, begun.elapsed());
            self.tail.observe(expected, begun.elapsed());
        }
        answer
    }
}

/// One request, bounded in time.
async fn request(file: &DataFile, range: &Range<u64>, expected: Duration) -> std::result::Result<Bytes, ReadFailure> {
    let read = file.storage.read_range_once(&file.location, range.clone(), file.key.size_bytes);
    let timeout = TRY_TIMEOUT + expected * 4;
    match tokio::time::timeout(timeout, read).await {
        Ok(answer) => answer,
        Err(_) => Err(ReadFailure::timeout(&file.location, timeout)),
    }
}
