//! Data reads. Everything that the engine asks of an object store for a data file passes here, and only here.

mod chunk_cache;
mod footers;
mod reader;

pub(crate) use chunk_cache::ChunkCache;
pub(crate) use footers::FooterCache;
pub(crate) use reader::{DataCaches, ReaderFactory};
