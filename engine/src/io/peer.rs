//! Pages from other workers of the cluster: asked before the store is.

use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::page::PageKey;

/// Other processes that have pages.
#[async_trait]
pub(crate) trait PeerPages: Debug + Send + Sync {
    /// Those of the pages that peers have, and give within `patience`. Fails in silence: the store has all of them.
    async fn get(&self, pages: &[PageKey], patience: Duration) -> Vec<(PageKey, Bytes)>;
}
