//! Which workers are there: all are asked at once, and what they answered is remembered longer than asking takes.
//!
//! ```text
//! answered a moment ago ─────────────► is used
//! not asked for a while, or doubted ─► asked; is used if it answers within a moment
//! has not answered ──────────────────► asked beside the query, and used by the next one once it has answered
//! ```
//! So a worker that hangs costs a query a moment once, and the next ones nothing. Only where nobody else is there is a worker
//! waited for that has not answered before.

use std::collections::HashMap;
use std::future::ready;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::{BoxFuture, Shared, join_all};
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use parking_lot::Mutex;
use tokio_util::task::AbortOnDropHandle;
use url::Url;

use super::channels::{Channels, Presence};
use super::placement::Worker;
use super::provisioner::Unfit;

/// An answer counts for so long.
const GOOD_FOR: Duration = Duration::from_secs(5);
/// How long a query waits for the answers of some while others have answered.
const MOMENT: Duration = Duration::from_millis(800);
/// How long a worker may take to answer: it may have just begun.
const PATIENCE: Duration = Duration::from_secs(4);
/// How long it is looked for somebody who answers, where nobody does: all may be restarted.
const NOBODY_PATIENCE: Duration = Duration::from_secs(4);
/// How long is waited before workers that refuse connections are asked again.
const PAUSE: Duration = Duration::from_millis(100);
/// What is known of a worker that nobody asked for is forgotten after this time.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(3600);

/// What the workers of an attempt have answered.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) ready: Vec<Worker>,
    /// They have not answered, and it is not known that they would.
    pub(super) silent: Vec<Worker>,
    pub(super) unfit: Vec<(Url, Unfit)>,
}

/// What is known of each worker.
#[derive(Debug)]
pub(super) struct Presences {
    channels: Arc<Channels>,
    known: Mutex<HashMap<Url, Known>>,
}

type Answer = Shared<BoxFuture<'static, Presence>>;

/// The last answer, and the question that is on its way, since when.
#[derive(Debug, Default)]
struct Known {
    last: Option<(Presence, Instant)>,
    asked: Option<(Answer, Instant)>,
}

impl Known {
    /// Takes note of an answer that has come.
    fn settle(&mut self) {
        if let Some(answer) = self.asked.as_ref().and_then(|(asked, _)| asked.clone().now_or_never()) {
            self.last = Some((answer, Instant::now()));
            self.asked = None;
        }
    }

    /// The answer, if it counts. Who was silent is asked each time, since it may be there by now.
    fn fresh(&self) -> Option<Presence> {
        let counts =
            |(presence, since): &(Presence, Instant)| *presence != Presence::Silent && since.elapsed() < GOOD_FOR;
        self.last.filter(counts).map(|(presence, _)| presence)
    }

    fn was_silent(&self) -> bool {
        matches!(self.last, Some((Presence::Silent, _)))
    }

    /// Whether nobody should wait for its answer.
    fn is_late(&self) -> bool {
        self.was_silent() || self.asked.as_ref().is_some_and(|(_, since)| since.elapsed() >= MOMENT)
    }
}

impl Presences {
    pub(super) fn new(channels: &Arc<Channels>) -> Self {
        Self { channels: Arc::clone(channels), known: Mutex::default() }
    }

    /// A worker was lost: all are asked again before the next attempt, since what is wrong with it may be so with others.
    pub(super) fn doubt(&self, lost: &Url) {
        let mut known = self.known.lock();
        for other in known.values_mut() {
            other.settle();
            if !other.was_silent() {
                other.last = None;
            }
        }
        known.remove(lost);
    }

    /// Which of these are there. `is_patient`: waits for somebody also where it is known that nobody has answered.
    pub(super) async fn of(&self, workers: &[Worker], is_patient: bool) -> Found {
        let begun = Instant::now();
        let hopeless = !is_patient && workers.iter().all(|worker| self.known(&worker.url, Known::was_silent));
        loop {
            let answers: Vec<Answer> = workers.iter().map(|worker| self.ask(&worker.url)).collect();
            let awaited = workers.iter().zip(&answers).filter(|(worker, _)| !self.known(&worker.url, Known::is_late));
            let awaited: Vec<Answer> = awaited.map(|(_, answer)| answer.clone()).collect();
            let _ = tokio::time::timeout(MOMENT, join_all(awaited)).await;
            let found = found(workers, &answers);
            let rest = NOBODY_PATIENCE.saturating_sub(begun.elapsed());
            if !found.ready.is_empty() || workers.is_empty() || hopeless || rest.is_zero() {
                return found;
            }
            let _ = tokio::time::timeout(rest, somebody(answers)).await;
        }
    }

    fn known(&self, url: &Url, is: impl Fn(&Known) -> bool) -> bool {
        self.known.lock().get_mut(url).is_some_and(|known| {
            known.settle();
            is(known)
        })
    }

    /// The answer that is known, or the one to a question that is on its way.
    fn ask(&self, url: &Url) -> Answer {
        let mut all = self.known.lock();
        all.retain(|_, known| match known.last {
            Some((_, since)) => since.elapsed() < FORGOTTEN_AFTER,
            None => known.asked.as_ref().is_some_and(|(_, since)| since.elapsed() < FORGOTTEN_AFTER),
        });
        let known = all.entry(url.clone()).or_default();
        known.settle();
        if let Some(presence) = known.fresh() {
            return ready(presence).boxed().shared();
        }
        let (asked, _) = known.asked.get_or_insert_with(|| {
            let (channels, url) = (Arc::clone(&self.channels), url.clone());
            // In a task of its own: whoever asked may not wait for the answer.
            let asking = AbortOnDropHandle::new(tokio::spawn(async move { channels.presence(&url, PATIENCE).await }));
            let answer = async move { asking.await.unwrap_or(Presence::Silent) };
            (answer.boxed().shared(), Instant::now())
        });
        asked.clone()
    }
}

/// Waits until one is there, or all have answered, and then a little: they are asked again.
async fn somebody(answers: Vec<Answer>) {
    let mut answers: FuturesUnordered<Answer> = answers.into_iter().collect();
    while let Some(answer) = answers.next().await {
        if answer == Presence::Ready {
            return;
        }
    }
    tokio::time::sleep(PAUSE).await;
}

fn found(workers: &[Worker], answers: &[Answer]) -> Found {
    let mut found = Found::default();
    for (worker, answer) in workers.iter().zip(answers) {
        // The first poll of an answer that is here.
        match answer.clone().now_or_never() {
            Some(Presence::Ready) => found.ready.push(worker.clone()),
            Some(Presence::Unfit(why)) => found.unfit.push((worker.url.clone(), why)),
            Some(Presence::Silent) | None => found.silent.push(worker.clone()),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::cluster::{Secret, WorkerService};
    use crate::{Engine, Settings};

    fn worker(url: String) -> Worker {
        Worker { id: Arc::from(url.as_str()), url: Url::parse(&url).unwrap() }
    }

    /// Accepts connections, and says nothing.
    async fn black_hole() -> (TcpListener, Worker) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let worker = worker(format!("http://{}/", listener.local_addr().unwrap()));
        (listener, worker)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn those_that_hang_cost_a_moment_once_and_are_used_when_they_answer() {
        let secret = Secret::random();
        let engine = Engine::start(Settings::default()).await.unwrap();
        let service = WorkerService::new(&engine, &secret);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let good = worker(format!("http://{}/", listener.local_addr().unwrap()));
        let _serving = AbortOnDropHandle::new(tokio::spawn(service.serve(listener, CancellationToken::new())));
        let (first, hangs) = black_hole().await;
        let (_second, hangs_too) = black_hole().await;
        let presences = Presences::new(&Channels::new(secret.clone()));
        let workers = [hangs.clone(), good.clone(), hangs_too];
        let found = presences.of(&workers, true).await;
        assert_eq!((&found.ready[..], found.silent.len()), (&[good.clone()][..], 2));
        let begun = Instant::now();
        for _ in 0..3 {
            assert_eq!(presences.of(&workers, true).await.ready, std::slice::from_ref(&good));
        }
        assert!(begun.elapsed() < MOMENT, "they were waited for again: {:?}", begun.elapsed());

        // One of them comes to itself.
        drop(first);
        let listener = TcpListener::bind(hangs.url.socket_addrs(|| None).unwrap()[0]).await.unwrap();
        let service = WorkerService::new(&engine, &secret);
        let _serving = AbortOnDropHandle::new(tokio::spawn(service.serve(listener, CancellationToken::new())));
        let deadline = Instant::now() + 4 * PATIENCE;
        while presences.of(&workers, true).await.ready.len() < 2 {
            assert!(Instant::now() < deadline, "it answers, and nobody asks it");
            tokio::time::sleep(PAUSE).await;
        }
        // After a loss, an answer that was given before counts no more.
        presences.doubt(&good.url);
        assert!(presences.known.lock().values().all(|known| known.fresh().is_none()));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn where_nobody_answers_it_is_known_after_the_first_time() {
        let presences = Presences::new(&Channels::new(Secret::random()));
        let (_listener, hangs) = black_hole().await;
        let workers = [hangs, worker("http://127.0.0.1:9/".to_owned())];
        assert_eq!(presences.of(&workers, false).await.silent.len(), 2);
        let mut waited = Vec::new();
        // Where others compute, a moment may be long.
        for _ in 0..5 {
            let begun = Instant::now();
            assert_eq!(presences.of(&workers, false).await.silent.len(), 2);
            waited.push(begun.elapsed());
        }
        assert!(waited.iter().any(|waited| *waited < MOMENT), "it was waited for each time: {waited:?}");
        assert_eq!(presences.of(&[], true).await, Found::default());
    }
}
