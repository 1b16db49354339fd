//! Gets pages of a file: from the cache, from a request under way, or by few requests of its own.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::{BoxFuture, join_all};

use super::coalesce::{self, Request};
use super::fetch::{StoreState, Stores};
use super::layout::Layout;
use super::meter::Tier;
use super::page::{FileKey, PageKey};
use super::page_cache::{Brought, Landed, PageCache};
use super::page_checksums;
use super::peer::PeerPages;
use super::query_io::{CacheMode, DataFile};
use crate::{Error, Result};

/// How much longer than the store a peer may take; then the store is asked.
const PEER_PATIENCE: Duration = Duration::from_millis(250);

/// The cache and the stores behind it. Shared by all queries.
#[derive(Debug, Clone)]
pub(crate) struct Pages {
    pub(crate) cache: Arc<PageCache>,
    pub(crate) stores: Arc<Stores>,
}

impl Pages {
    /// Pages of a file, by where they start.
    ///
    /// # Errors
    /// If one of them cannot be read.
    pub(crate) async fn get(&self, file: &DataFile, layout: &Layout, wanted: &[Range<u64>]) -> Result<Brought> {
        let mode = file.io.cache;
        let mut got = HashMap::with_capacity(wanted.len());
        let mut missing: Vec<PageKey> = Vec::new();
        for range in wanted {
            let key = PageKey::new(&file.key, range);
            match self.cache.in_memory(&key, mode) {
                Some(page) => {
                    file.io.meter.page(Tier::Memory, page.len() as u64);
                    got.insert(range.start, page);
                }
                None => missing.push(key),
            }
        }
        if missing.is_empty() {
            return Ok(got);
        }
        let from_disk = join_all(missing.iter().map(|key| self.cache.on_disk(key, mode))).await;
        let mut absent = Vec::with_capacity(missing.len());
        for (key, page) in missing.into_iter().zip(from_disk) {
            match page {
                Some(page) => {
                    file.io.meter.page(Tier::Disk, page.len() as u64);
                    got.insert(key.start, page);
                }
                None => absent.push(key),
            }
        }
        self.fetch(file, layout, absent, &mut got).await?;
        Ok(got)
    }

    /// Pages that no tier has: from requests under way, from peers, or from the store.
    async fn fetch(&self, file: &DataFile, layout: &Layout, mut absent: Vec<PageKey>, got: &mut Brought) -> Result<()> {
        let mut others_limit = false;
        let mut peers = self.peers(file);
        while !absent.is_empty() {
            let store = self.stores.of(file);
            let peers = peers.take();
            let flights = self.cache.join(&absent, |alone, known| {
                if let Some(peers) = peers {
                    return vec![self.ask(file, &store, peers, alone)];
                }
                let ranges = alone.iter().map(|key| key.start..key.end).collect();
                let known = |range: &Range<u64>| known(&PageKey::new(&file.key, range));
                let requests = coalesce::requests(ranges, layout, &store.cost, known);
                let begin = |request: Request| self.begin(file, &store, layout, request);
                requests.into_iter().map(begin).collect()
            });
            for landed in join_all(flights).await {
                let landed = match landed {
                    Ok(landed) => landed,
                    // Another query, whose request we waited for, reached its own limit: once, we ask for ourselves.
                    Err(error) if matches!(*error, Error::Limit { .. }) && !others_limit => {
                        others_limit = true;
                        continue;
                    }
                    Err(error) => return Err(Arc::try_unwrap(error).unwrap_or_else(Error::Shared)),
                };
                absent.retain(|key| {
                    match landed.pages.get(&key.start).filter(|page| page.len() as u64 == key.end - key.start) {
                        Some(page) => {
                            file.io.meter.page(landed.from, page.len() as u64);
                            got.insert(key.start, page.clone());
                            false
                        }
                        None => true,
                    }
                });
            }
        }
        Ok(())
    }

    /// A request, not yet sent, that leaves its pages in the cache.
    fn begin(
        &self,
        file: &DataFile,
        store: &Arc<StoreState>,
        layout: &Layout,
        request: Request,
    ) -> (Vec<PageKey>, BoxFuture<'static, Result<Landed>>) {
        let keys: Vec<PageKey> = request.pages.iter().map(|range| PageKey::new(&file.key, range)).collect();
        let (cache, file, store, pages) = (Arc::clone(&self.cache), file.clone(), Arc::clone(store), keys.clone());
        let headed: Vec<Range<u64>> = request.pages.iter().flat_map(|page| layout.headed(page)).cloned().collect();
        let fetch = async move {
            let check = |bytes: &Bytes| page_checksums::damage(&headed, bytes, request.range.start);
            let bytes = store.fetch(&file, request.range.clone(), &check).await?;
            let mut brought = Brought::with_capacity(pages.len());
            for key in &pages {
                let at = (key.start - request.range.start) as usize;
                // A copy: a slice would keep the whole answer in memory for as long as one page of it is kept.
                let page = match pages.len() {
                    1 => bytes.clone(),
                    _ => Bytes::copy_from_slice(&bytes[at..at + (key.end - key.start) as usize]),
                };
                if file.io.cache == CacheMode::On {
                    cache.insert(key, &page);
                }
                brought.insert(key.start, page);
            }
            Ok(Landed { pages: brought, from: Tier::Store })
        };
        (keys, Box::pin(fetch))
    }

    /// A request to peers, not yet sent, that leaves in the cache what they have of these pages.
    fn ask(
        &self,
        file: &DataFile,
        store: &Arc<StoreState>,
        peers: Arc<dyn PeerPages>,
        keys: Vec<PageKey>,
    ) -> (Vec<PageKey>, BoxFuture<'static, Result<Landed>>) {
        let (cache, mode, wanted) = (Arc::clone(&self.cache), file.io.cache, keys.clone());
        let patience = PEER_PATIENCE + store.cost.expected(keys.iter().map(|key| key.end - key.start).sum());
        let asked = async move {
            let mut pages = Brought::new();
            for (key, page) in peers.get(&wanted, patience).await {
                if mode == CacheMode::On {
                    cache.insert(&key, &page);
                }
                pages.insert(key.start, page);
            }
            Ok(Landed { pages, from: Tier::Peer })
        };
        (keys, Box::pin(asked))
    }

    /// Forgets what is kept of a file in which something is damaged: it is read from the store from now on.
    pub(crate) fn forget(&self, file: &DataFile) {
        tracing::warn!(location = %file.location, "a data file is damaged, or came so: what is kept of it is forgotten");
        self.cache.forget(&file.key);
    }

    /// Who is asked before the store. What peers have of a file that was found damaged may be the same.
    fn peers(&self, file: &DataFile) -> Option<Arc<dyn PeerPages>> {
        file.io.peers.clone().filter(|_| !self.cache.distrusts(&file.key))
    }

    /// The end of a file, if a peer has it.
    pub(crate) async fn footer_from_peer(&self, file: &DataFile, key: &PageKey) -> Option<Bytes> {
        let patience = PEER_PATIENCE + self.stores.of(file).cost.latency();
        let (_, end) = self.peers(file)?.get(std::slice::from_ref(key), patience).await.pop()?;
        file.io.meter.page(Tier::Peer, end.len() as u64);
        Some(end)
    }

    /// Bytes of a file that are no page, in one request that nobody shares.
    pub(crate) async fn fetch_alone(&self, file: &DataFile, range: Range<u64>) -> Result<Bytes> {
        let bytes = self.stores.of(file).fetch(file, range, &|_| None).await?;
        file.io.meter.page(Tier::Store, bytes.len() as u64);
        Ok(bytes)
    }
}

/// The bytes of a range, from the pages that cover it.
pub(crate) fn assemble(range: &Range<u64>, covering: &[Range<u64>], pages: &Brought, file: &FileKey) -> Result<Bytes> {
    let missing = || Error::Internal(format!("bytes {} to {} of {} did not come", range.start, range.end, file.name));
    if let [page] = covering {
        let bytes = pages.get(&page.start).ok_or_else(missing)?;
        return Ok(bytes.slice((range.start - page.start) as usize..(range.end - page.start) as usize));
    }
    let mut whole = Vec::with_capacity((range.end - range.start) as usize);
    for page in covering {
        let bytes = pages.get(&page.start).ok_or_else(missing)?;
        let from = range.start.max(page.start) - page.start;
        let to = range.end.min(page.end) - page.start;
        whole.extend_from_slice(&bytes[from as usize..to as usize]);
    }
    Ok(Bytes::from(whole))
}
