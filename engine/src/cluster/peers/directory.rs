//! The side that misses pages: which peers there are, what they have, and asking them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use futures::FutureExt;
use futures::future::{BoxFuture, Shared, join_all};
use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use parking_lot::Mutex;
use tokio_util::task::AbortOnDropHandle;
use twox_hash::XxHash64;
use url::Url;
use uuid::Uuid;

use super::super::channels::Channels;
use super::call::call;
use super::messages::{Empty, KEEP, PAGES, PagesCall, SUMMARY, SomePages, SummaryAnswer, WirePage};
use super::summary::Summary;
use crate::io::{PageKey, PeerPages};

/// A summary is asked for anew after this time.
const SUMMARY_AGE: Duration = Duration::from_secs(2);
/// How long a peer may take to tell its summary.
const SUMMARY_TIMEOUT: Duration = Duration::from_millis(300);
/// How long a peer may take to keep what it is handed.
const KEEP_TIMEOUT: Duration = Duration::from_secs(2);
/// Peers that are known; of more, those are forgotten of which no task has told for the longest time.
const PEERS_MAX: u64 = 256;
/// Pages that are handed over in one call, in bytes.
const KEEP_BYTES: usize = 8 << 20;

/// What this process knows of its peers.
#[derive(Debug)]
pub(crate) struct Directory {
    channels: Arc<Channels>,
    /// This process, by a name that it tells whoever asks: a worker is not told which of the addresses is its own.
    instance: String,
    peers: Cache<Url, Arc<Peer>>,
}

/// What a peer has, as it said; the question is a task of its own, which all who want to know wait for: none of them holds it up.
type Asked = Shared<BoxFuture<'static, Summary>>;

#[derive(Debug, Default)]
struct Peer {
    /// None until it was asked. A peer that did not answer has nothing for a while.
    asked: Mutex<Option<(Instant, Asked)>>,
}

/// The peers of one task.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) directory: Arc<Directory>,
    pub(crate) urls: Vec<Url>,
}

impl Directory {
    pub(crate) fn new(channels: Arc<Channels>) -> Arc<Self> {
        // By its default policy the cache would rather not take in a peer that is new: workers come back at other addresses.
        let peers = Cache::builder().max_capacity(PEERS_MAX).eviction_policy(EvictionPolicy::lru()).build();
        Arc::new(Self { channels, instance: Uuid::new_v4().to_string(), peers })
    }

    /// Takes note of the peers of a task: also a worker that misses no page knows then whom it can leave its own to.
    pub(crate) fn hears_of(&self, urls: &[Url]) {
        for url in urls {
            self.peers.get_with_by_ref(url, Arc::default);
        }
    }

    pub(crate) fn instance(&self) -> &str {
        &self.instance
    }

    /// What a peer says, if it answers and is another process than this one.
    fn ask(&self, url: &Url) -> impl Future<Output = Option<SummaryAnswer>> + Send + 'static {
        let (channels, url, instance) = (Arc::clone(&self.channels), url.clone(), self.instance.clone());
        async move {
            let answer = call::<Empty, SummaryAnswer>(&channels, &url, SUMMARY, Empty {}, SUMMARY_TIMEOUT).await;
            answer.filter(|answer| answer.instance != instance)
        }
    }

    /// What a peer has, as far as was known a moment ago.
    async fn summary(&self, url: &Url) -> Summary {
        let peer = self.peers.get_with_by_ref(url, Arc::default);
        let asked = {
            let mut known = peer.asked.lock();
            let recent = known.take().filter(|(since, _)| since.elapsed() < SUMMARY_AGE);
            let (_, asked) = known.insert(recent.unwrap_or_else(|| {
                let answer = AbortOnDropHandle::new(tokio::spawn(self.ask(url)));
                let summary = async move {
                    let answer = answer.await.ok().flatten();
                    answer.map(|answer| Summary::from_bits(answer.bits)).unwrap_or_default()
                };
                (Instant::now(), summary.boxed().shared())
            }));
            asked.clone()
        };
        asked.await
    }

    /// Gives pages to the peers that were last heard of, while `within` lasts: each file's to one of them.
    pub(crate) async fn hand_over(&self, pages: Vec<(PageKey, Bytes)>, within: Duration) {
        let urls: Vec<Url> = self.peers.iter().map(|(url, _)| url.as_ref().clone()).collect();
        let answers = join_all(urls.iter().map(|url| self.ask(url))).await;
        let stays = |answer: Option<SummaryAnswer>| answer.is_some_and(|answer| !answer.is_draining);
        let alive: Vec<&Url> =
            urls.iter().zip(answers).filter_map(|(url, answer)| stays(answer).then_some(url)).collect();
        if alive.is_empty() {
            return;
        }
        let mut shares: HashMap<&Url, Vec<WirePage>> = HashMap::new();
        for (key, bytes) in &pages {
            let owner = alive.iter().copied().max_by_key(|url| {
                XxHash64::oneshot(XxHash64::oneshot(0, url.as_str().as_bytes()), key.file.name.as_bytes())
            });
            if let Some(owner) = owner {
                shares.entry(owner).or_default().push(WirePage { key: key.into(), bytes: bytes.clone() });
            }
        }
        let given = join_all(shares.into_iter().map(|(url, share)| self.give(url, share)));
        match tokio::time::timeout(within, given).await {
            Ok(given) => tracing::info!(pages = given.into_iter().sum::<usize>(), "pages were handed over to peers"),
            Err(_) => tracing::info!("not all pages could be handed over to peers in time"),
        }
    }

    async fn give(&self, url: &Url, mut share: Vec<WirePage>) -> usize {
        let mut given = 0;
        while !share.is_empty() {
            let (mut some, mut bytes) = (Vec::new(), 0);
            while let Some(page) = share.pop() {
                bytes += page.bytes.len();
                some.push(page);
                if bytes >= KEEP_BYTES {
                    break;
                }
            }
            let count = some.len();
            if call::<SomePages, Empty>(&self.channels, url, KEEP, SomePages { pages: some }, KEEP_TIMEOUT)
                .await
                .is_none()
            {
                break;
            }
            given += count;
        }
        given
    }
}

#[async_trait]
impl PeerPages for Known {
    async fn get(&self, pages: &[PageKey], patience: Duration) -> Vec<(PageKey, Bytes)> {
        let summaries = join_all(self.urls.iter().map(|url| self.directory.summary(url))).await;
        let mut wanted: HashMap<&Url, Vec<&PageKey>> = HashMap::new();
        for page in pages {
            if let Some((url, _)) = self.urls.iter().zip(&summaries).find(|(_, summary)| summary.may_have(page)) {
                wanted.entry(url).or_default().push(page);
            }
        }
        let calls = wanted.into_iter().map(|(url, keys)| async move {
            let asked = PagesCall { keys: keys.iter().map(|key| (*key).into()).collect() };
            let channels = &self.directory.channels;
            let answer = call::<PagesCall, SomePages>(channels, url, PAGES, asked, patience).await;
            let pages = answer.unwrap_or_default().pages.into_iter().filter_map(WirePage::checked);
            let asked = pages.filter(|(key, _)| keys.contains(&key));
            // A copy: a slice would keep the whole answer in memory.
            asked.map(|(key, page)| (key, Bytes::copy_from_slice(&page))).collect::<Vec<_>>()
        });
        join_all(calls).await.into_iter().flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::secret::Secret;
    use super::*;

    #[tokio::test]
    async fn of_many_peers_the_latest_are_known_however_often_the_others_were_heard_of() {
        let directory = Directory::new(Channels::new(Secret::random()));
        let url = |number: u64| Url::parse(&format!("http://127.0.0.1:{}/", 1000 + number)).unwrap();
        let gone: Vec<Url> = (0..PEERS_MAX).map(url).collect();
        for _ in 0..20 {
            directory.hears_of(&gone);
            directory.peers.run_pending_tasks();
        }
        let there = [url(PEERS_MAX), url(PEERS_MAX + 1)];
        directory.hears_of(&there);
        directory.peers.run_pending_tasks();
        assert!(there.iter().all(|url| directory.peers.contains_key(url)));
        assert!(directory.peers.entry_count() <= PEERS_MAX);
    }
}
