//! What a query's reads share: its meter, its limits, and its use of the cache.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use polynya_catalog::{RequestCounts, Storage};

use super::meter::{IoMeter, Tier};
use super::page::FileKey;
use super::peer::PeerPages;
use super::waits::Waits;
use crate::{Error, Result};

/// A data file as one query reads it.
#[derive(Debug, Clone)]
pub(crate) struct DataFile {
    pub(crate) location: Arc<str>,
    pub(crate) key: FileKey,
    /// The table's store, metered for the query.
    pub(crate) storage: Arc<Storage>,
    pub(crate) io: Arc<QueryIo>,
}

/// Whether a query reads the cache, and whether it leaves its pages there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CacheMode {
    /// Reads it, and keeps what it fetches.
    #[default]
    On,
    /// Reads it, and leaves it as it is.
    Read,
    /// Neither.
    Off,
}

/// What a query may spend on reads. None is no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct IoLimits {
    /// Bytes of data files, from whichever tier.
    pub max_scan_bytes: Option<u64>,
    /// US dollars for requests and egress.
    pub max_cost_usd: Option<f64>,
}

impl IoLimits {
    /// Whether a query may spend what it wants.
    pub(crate) fn are_none(&self) -> bool {
        *self == Self::default()
    }
}

/// What S3 charges: see [`super::PriceSettings`].
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Prices {
    pub(crate) get_usd: f64,
    pub(crate) put_usd: f64,
    pub(crate) egress_usd_per_byte: f64,
}

/// One query's reads.
#[derive(Debug, Default)]
pub(crate) struct QueryIo {
    pub(crate) meter: IoMeter,
    pub(crate) cache: CacheMode,
    /// Who is asked before the store.
    pub(crate) peers: Option<Arc<dyn PeerPages>>,
    /// Where parts of the query wait now.
    pub(crate) waits: Waits,
    limits: IoLimits,
    prices: Prices,
    requests: AtomicU64,
    request_bytes: AtomicU64,
    scanned_bytes: AtomicU64,
}

impl QueryIo {
    pub(crate) fn new(cache: CacheMode, limits: IoLimits, prices: Prices) -> Arc<Self> {
        Arc::new(Self { cache, limits, prices, ..Self::default() })
    }

    /// The reads of one task of a query: they ask these peers before the store, and count what they begin in `begun_bytes`.
    pub(crate) fn of_task(
        cache: CacheMode,
        limits: IoLimits,
        prices: Prices,
        peers: Option<Arc<dyn PeerPages>>,
        begun_bytes: Arc<AtomicU64>,
    ) -> Arc<Self> {
        Arc::new(Self { meter: IoMeter::of_task(begun_bytes), cache, limits, prices, peers, ..Self::default() })
    }

    /// Counts bytes of data that decoding asks for.
    ///
    /// # Errors
    /// When the query has read more than it may.
    pub(crate) fn scan(&self, bytes: u64) -> Result<()> {
        let scanned = self.scanned_bytes.fetch_add(bytes, Relaxed) + bytes;
        match self.limits.max_scan_bytes {
            Some(limit) if scanned > limit => Err(Error::Limit {
                setting: "polynya.max_scan_bytes",
                message: format!("the query reads more than {limit} bytes of data files"),
            }),
            _ => Ok(()),
        }
    }

    /// Counts bytes of data that would have been asked for, had they not been decoded before.
    ///
    /// # Errors
    /// When the query has read more than it may.
    pub(crate) fn scan_decoded(&self, bytes: u64) -> Result<()> {
        self.meter.page(Tier::Memory, bytes);
        self.scan(bytes)
    }

    /// Counts a request before it is sent.
    ///
    /// # Errors
    /// When the query would cost more than it may.
    pub(crate) fn request(&self, bytes: u64) -> Result<()> {
        self.meter.requested(bytes);
        let requests = self.requests.fetch_add(1, Relaxed) + 1;
        let bytes = self.request_bytes.fetch_add(bytes, Relaxed) + bytes;
        let usd = requests as f64 * self.prices.get_usd + bytes as f64 * self.prices.egress_usd_per_byte;
        match self.limits.max_cost_usd {
            Some(limit) if usd > limit => Err(Error::Limit {
                setting: "polynya.max_cost_usd",
                message: format!(
                    "the query would spend more than {limit} USD on requests ({requests} reads of data so far)"
                ),
            }),
            _ => Ok(()),
        }
    }

    /// What all of a query's requests cost, in US dollars: those for metadata too, which its request meter has counted.
    pub(crate) fn cost_usd(&self, requests: &RequestCounts) -> f64 {
        (requests.get + requests.head) as f64 * self.prices.get_usd
            + (requests.put + requests.list) as f64 * self.prices.put_usd
            + requests.bytes_read as f64 * self.prices.egress_usd_per_byte
    }

    /// Counts a second request for the same bytes, if the query may have it.
    pub(crate) fn hedge(&self, bytes: u64) -> bool {
        let may = self.request(bytes).is_ok();
        if may {
            self.meter.hedged();
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_name_their_setting() {
        let limits = IoLimits { max_scan_bytes: Some(100), max_cost_usd: Some(1.0) };
        let io = QueryIo::new(CacheMode::On, limits, Prices { get_usd: 0.4, ..Prices::default() });
        assert!(io.scan(100).is_ok());
        assert!(io.scan(1).unwrap_err().to_string().contains("polynya.max_scan_bytes"));
        assert!(io.request(5).is_ok());
        assert!(io.request(5).is_ok());
        assert!(io.request(5).unwrap_err().to_string().contains("polynya.max_cost_usd"));
    }
}
