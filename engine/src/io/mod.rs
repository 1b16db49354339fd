//! Data reads. Everything that the engine asks of an object store for a data file passes here, and only here.
//!
//! ```text
//!  scan ──► decoded columns? ──► decoder ──► …
//!
//!  decoder ──► reader ──► staged ahead? ──► page cache ──────────► coalesce ──► fetch ──────────► store
//!             (ranges      (prefetch)       memory → disk →        few, large   limit, retry,
//!              → pages)                     request under way →    requests     hedge, measure
//!                                           a peer
//! ```

mod coalesce;
mod cost_model;
mod decoded;
mod delta_lengths;
mod disk;
mod fetch;
mod footers;
mod hydrate;
mod layout;
mod limit;
mod memory_tier;
mod meter;
mod page;
mod page_cache;
mod page_checksums;
mod page_growth;
mod page_header;
mod page_values;
mod pages;
mod peer;
mod prefetch;
mod query_io;
mod reader;
mod settings;
mod staged;
mod tail;
mod unpack;
mod waits;

pub use meter::IoCounts;
pub use page_cache::TierStats;
pub use query_io::{CacheMode, IoLimits};
pub use settings::{CacheSettings, PriceSettings};

pub(crate) use decoded::{BATCH_ROWS, ColumnKey, DecodedColumn, DecodedTier, Reservation};
pub(crate) use disk::DiskTier;
pub(crate) use fetch::Stores;
pub(crate) use footers::{Footer, FooterCache};
pub(crate) use hydrate::{Hydration, Hydrator};
pub(crate) use memory_tier::PageTier;
pub(crate) use meter::IoMeter;
pub(crate) use page::{FileKey, PageKey};
pub(crate) use page_cache::PageCache;
pub(crate) use pages::Pages;
pub(crate) use peer::PeerPages;
pub(crate) use prefetch::{Budget, Foreseen, PrefetchHandle};
pub(crate) use query_io::{DataFile, Prices, QueryIo};
pub(crate) use reader::{DataCaches, ReaderFactory};
pub(crate) use waits::WaitReport;
