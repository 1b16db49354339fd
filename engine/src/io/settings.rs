//! What an operator may change about reads: the cache's limits, and what requests cost.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use bytesize::ByteSize;

use super::query_io::Prices;
use crate::settings::machine_memory_bytes;
use crate::{Error, Result};

/// What is kept between queries, and how much is read ahead.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CacheSettings {
    /// Memory for pages of data files, in bytes; 0 keeps none. Default: 1 GiB.
    #[serde(deserialize_with = "crate::sizes::size")]
    pub memory_bytes: ByteSize,
    /// Memory for decoded columns of data files, in bytes; 0 keeps none. Default: 15% of the machine's memory.
    #[serde(deserialize_with = "crate::sizes::optional")]
    pub decoded_bytes: Option<ByteSize>,
    /// Memory for decoded table metadata, manifests and Parquet footers, in bytes. Default: 512 MiB.
    #[serde(deserialize_with = "crate::sizes::size")]
    pub metadata_bytes: ByteSize,
    /// Folder on fast local disk for pages; it survives restarts, and one process uses it. Default: none, memory only.
    pub disk_dir: Option<PathBuf>,
    /// Disk for pages, in bytes. Default: 50 GiB.
    #[serde(deserialize_with = "crate::sizes::size")]
    pub disk_bytes: ByteSize,
    /// Memory for pages that running queries have asked for ahead of their need, in bytes; 0 reads nothing ahead.
    /// Default: 256 MiB.
    #[serde(deserialize_with = "crate::sizes::size")]
    pub prefetch_bytes: ByteSize,
    /// Requests for data that one store gets at once; fewer while it answers that it has too many. Default: 64.
    pub concurrent_requests: NonZeroUsize,
    /// Bytes between two wanted ranges that one request reads through. Default: as measured latency, bandwidth and the
    /// price of a request make it cheapest.
    #[serde(deserialize_with = "crate::sizes::optional")]
    pub gap_bytes: Option<ByteSize>,
    /// How old a table's metadata may be before a query asks the catalog again, in milliseconds. What this process
    /// commits is seen at once. Default: 0, every query asks.
    pub metadata_max_age_ms: u64,
    /// Keep the pages of data files that this process writes, not only their footers. Default: false.
    pub hydrate_pages: bool,
}

impl Default for CacheSettings {
    fn default() -> Self {
        Self {
            memory_bytes: ByteSize::gib(1),
            decoded_bytes: None,
            metadata_bytes: ByteSize::mib(512),
            disk_dir: None,
            disk_bytes: ByteSize::gib(50),
            prefetch_bytes: ByteSize::mib(256),
            concurrent_requests: NonZeroUsize::MIN.saturating_add(63),
            gap_bytes: None,
            metadata_max_age_ms: 0,
            hydrate_pages: false,
        }
    }
}

impl CacheSettings {
    /// What all caches may hold in memory, in bytes.
    pub(crate) fn limits_bytes(&self) -> u64 {
        let limits = [self.memory_bytes, self.metadata_bytes, self.prefetch_bytes];
        limits.iter().map(ByteSize::as_u64).fold(self.decoded_limit_bytes(), u64::saturating_add)
    }

    /// The limit of decoded columns in force, in bytes.
    pub fn decoded_limit_bytes(&self) -> u64 {
        self.decoded_bytes.map_or_else(|| machine_memory_bytes() / 100 * 15, |limit| limit.as_u64())
    }
}

/// What the object store charges, in US dollars. The defaults are Amazon S3 Standard's in us-east-1, read from the same
/// region (aws.amazon.com/s3/pricing).
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PriceSettings {
    /// 1,000 GET or HEAD requests. Default: 0.0004.
    pub get_usd_per_1000: f64,
    /// 1,000 PUT, POST or LIST requests. Default: 0.005.
    pub put_usd_per_1000: f64,
    /// 1 GB (10^9 bytes) read. Default: 0, since reads within a region are free; 0.09 to the internet.
    pub egress_usd_per_gb: f64,
}

impl Default for PriceSettings {
    fn default() -> Self {
        Self { get_usd_per_1000: 0.0004, put_usd_per_1000: 0.005, egress_usd_per_gb: 0.0 }
    }
}

impl PriceSettings {
    /// # Errors
    /// When one of them is negative or no number.
    pub(crate) fn prices(&self) -> Result<Prices> {
        let price = |name: &str, usd: f64, unit: f64| match usd.is_finite() && usd >= 0.0 {
            true => Ok(usd / unit),
            false => Err(Error::Settings {
                setting: format!("prices.{name}"),
                message: format!("{usd} is no price: expected US dollars, 0 or more"),
            }),
        };
        Ok(Prices {
            get_usd: price("get_usd_per_1000", self.get_usd_per_1000, 1e3)?,
            put_usd: price("put_usd_per_1000", self.put_usd_per_1000, 1e3)?,
            egress_usd_per_byte: price("egress_usd_per_gb", self.egress_usd_per_gb, 1e9)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_price_that_is_none_names_its_setting() {
        assert!(PriceSettings::default().prices().is_ok());
        for usd in [-0.1, f64::NAN, f64::INFINITY] {
            let error = PriceSettings { put_usd_per_1000: usd, ..PriceSettings::default() }.prices().unwrap_err();
            assert!(error.to_string().contains("prices.put_usd_per_1000"), "{error}");
        }
    }
}
