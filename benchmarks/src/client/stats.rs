//! The server's own account of a query.
//!
//! Polynya's server attaches it as JSON in the `app_metadata` of the last Flight message of a result. Other servers send
//! nothing, or other bytes, which are ignored.

use serde::{Deserialize, Serialize};

/// What a query looked at, and what that took. A figure that the server did not send is absent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct QueryStats {
    /// The query's id on the server.
    pub query_id: Option<String>,
    /// Manifests of the tables' snapshots.
    pub manifests_considered: Option<u64>,
    /// Manifests that need not be read.
    pub manifests_pruned: Option<u64>,
    /// Data files of the tables' snapshots.
    pub files_considered: Option<u64>,
    /// Data files that need not be read.
    pub files_pruned: Option<u64>,
    /// GET requests to the object store.
    pub requests_get: Option<u64>,
    /// HEAD requests to the object store.
    pub requests_head: Option<u64>,
    /// Bytes read from the object store.
    pub bytes_read: Option<u64>,
    /// Bytes of data files that the server's memory answered.
    pub bytes_from_memory: Option<u64>,
    /// Bytes of data files that the server's disk cache answered.
    pub bytes_from_disk: Option<u64>,
    /// Bytes of data files that were fetched.
    pub bytes_from_store: Option<u64>,
    /// Pages that the server's cache answered.
    pub page_hits: Option<u64>,
    /// Pages that had to be fetched.
    pub page_misses: Option<u64>,
    /// Requests that were sent again after a failure.
    pub retries: Option<u64>,
    /// Second requests that were sent because the first took long.
    pub hedges: Option<u64>,
    /// Milliseconds that decoding waited for reads, over all partitions.
    pub wait_ms: Option<u64>,
    /// What the requests cost, in US dollars.
    pub cost_usd: Option<f64>,
    /// Rows of the result.
    pub rows: Option<u64>,
    /// Time on the server, in milliseconds.
    pub elapsed_ms: Option<f64>,
}

impl QueryStats {
    /// Reads the account from a message's metadata; `None` when it is something else.
    pub(crate) fn from_metadata(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    /// All requests to the object store.
    pub fn requests(&self) -> Option<u64> {
        match (self.requests_get, self.requests_head) {
            (None, None) => None,
            (get, head) => Some(get.unwrap_or(0) + head.unwrap_or(0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_and_missing_figures_are_fine() {
        let stats = QueryStats::from_metadata(br#"{"files_considered":84,"requests_get":3,"new_figure":[1]}"#);
        let stats = stats.expect("this is an account");
        assert_eq!((stats.files_considered, stats.requests(), stats.bytes_read), (Some(84), Some(3), None));
        assert_eq!(QueryStats::from_metadata(b"\x08\x01"), None);
    }
}
