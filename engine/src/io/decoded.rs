//! The decoded tier: columns of row groups as Arrow arrays, so that queries which come back to them decode nothing.
//!
//! Decoding Parquet is about half of the time of an analytic query whose pages are in memory. What a scan decodes whole it
//! leaves here; the next one takes the arrays as they are. Only for flat columns, and only in batches of [`BATCH_ROWS`].

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use arrow::array::{Array, ArrayData, ArrayRef};
use arrow::datatypes::DataType;

use super::memory_tier::{Held, MemoryTier, PartKey};
use super::page::FileKey;

/// Rows of one array of a decoded column; the last one has what is left.
pub(crate) const BATCH_ROWS: usize = 8192;

/// The part of the limit that is for columns that are being decoded, before they are kept.
const UNFINISHED_SHARE: u64 = 4;

/// A column of a row group.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct ColumnKey {
    pub(crate) file: FileKey,
    pub(crate) row_group: usize,
    /// The column's position among the file's top-level columns.
    pub(crate) column: usize,
}

impl PartKey for ColumnKey {
    fn file(&self) -> &FileKey {
        &self.file
    }
}

/// All rows of one column of a row group.
#[derive(Debug, Clone)]
pub(crate) struct DecodedColumn {
    batches: Arc<[ArrayRef]>,
    memory_bytes: usize,
}

impl DecodedColumn {
    /// From arrays of [`BATCH_ROWS`] rows each, but for the last one.
    pub(crate) fn new(batches: Vec<ArrayRef>) -> Self {
        let mut known = HashSet::new();
        let memory_bytes = batches.iter().map(|batch| buffers_bytes(&batch.to_data(), &mut known)).sum();
        Self { batches: batches.into(), memory_bytes }
    }

    /// The arrays, in order.
    pub(crate) fn batches(&self) -> &[ArrayRef] {
        &self.batches
    }

    fn is_of(&self, data_type: &DataType) -> bool {
        self.batches.iter().all(|batch| batch.data_type() == data_type)
    }
}

impl Held for DecodedColumn {
    // Columns are large: shards of their own limit would push each other out while others have room.
    const SHARDS_MAX: usize = 1;
    const USES: u8 = 1;

    fn memory_bytes(&self) -> usize {
        self.memory_bytes
    }
}

/// The memory behind an array, without buffers that were counted before: strings of one dictionary share its bytes.
fn buffers_bytes(data: &ArrayData, known: &mut HashSet<usize>) -> usize {
    let nulls = data.nulls().map(|nulls| nulls.buffer());
    let buffers = data.buffers().iter().chain(nulls).filter(|buffer| known.insert(buffer.data_ptr().as_ptr() as usize));
    let own: usize = buffers.map(|buffer| buffer.capacity()).sum();
    let children: usize = data.child_data().iter().map(|child| buffers_bytes(child, known)).sum();
    size_of::<ArrayData>() + own + children
}

/// See the module.
#[derive(Debug)]
pub(crate) struct DecodedTier {
    columns: MemoryTier<ColumnKey, DecodedColumn>,
    unfinished_limit_bytes: u64,
    unfinished_bytes: AtomicU64,
    hits: AtomicU64,
    misses: AtomicU64,
}

impl DecodedTier {
    /// A tier that takes at most `capacity_bytes`; 0 keeps nothing.
    pub(crate) fn new(capacity_bytes: u64) -> Self {
        let unfinished_limit_bytes = capacity_bytes / UNFINISHED_SHARE;
        Self {
            columns: MemoryTier::new(capacity_bytes - unfinished_limit_bytes),
            unfinished_limit_bytes,
            unfinished_bytes: AtomicU64::new(0),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
        }
    }

    /// Whether there is such a tier.
    pub(crate) fn is_on(&self) -> bool {
        self.columns.capacity_bytes() > 0
    }

    /// The column, if it is here in this type.
    pub(crate) fn get(&self, key: &ColumnKey, data_type: &DataType) -> Option<DecodedColumn> {
        let column = self.columns.get(key).filter(|column| column.is_of(data_type));
        if column.is_some() { &self.hits } else { &self.misses }.fetch_add(1, Relaxed);
        column
    }

    /// Whether the column is here; does not count as use.
    pub(crate) fn contains(&self, key: &ColumnKey) -> bool {
        self.columns.contains(key)
    }

    /// Room for a column that is about to be decoded, if there is some and it would be kept.
    pub(crate) fn reserve(self: &Arc<Self>, bytes: u64) -> Option<Reservation> {
        let taken = self.unfinished_bytes.fetch_add(bytes, Relaxed) + bytes;
        let reservation = Reservation { tier: Arc::clone(self), bytes };
        (taken <= self.unfinished_limit_bytes && self.columns.fits(bytes)).then_some(reservation)
    }

    /// Keeps a column.
    pub(crate) fn insert(&self, key: ColumnKey, column: DecodedColumn) {
        self.columns.insert(key, column);
    }

    /// Forgets the columns of a file.
    pub(crate) fn remove_file(&self, file: &FileKey) {
        self.columns.remove_file(file);
    }

    pub(crate) fn clear(&self) {
        self.columns.clear();
    }

    pub(crate) fn columns(&self) -> &MemoryTier<ColumnKey, DecodedColumn> {
        &self.columns
    }

    /// Bytes held, with those of columns that are being decoded.
    pub(crate) fn bytes(&self) -> u64 {
        self.columns.bytes() + self.unfinished_bytes.load(Relaxed)
    }

    /// The most that it may hold, in bytes.
    pub(crate) fn limit_bytes(&self) -> u64 {
        self.columns.capacity_bytes() + self.unfinished_limit_bytes
    }

    /// Columns that were here and that were not, of those asked for.
    pub(crate) fn hits_and_misses(&self) -> (u64, u64) {
        (self.hits.load(Relaxed), self.misses.load(Relaxed))
    }
}

/// Memory of a column that is being decoded, given back when dropped.
#[derive(Debug)]
pub(crate) struct Reservation {
    tier: Arc<DecodedTier>,
    bytes: u64,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.tier.unfinished_bytes.fetch_sub(self.bytes, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, StringViewArray};

    use super::*;

    fn key(column: usize) -> ColumnKey {
        ColumnKey { file: FileKey { name: Arc::from("file"), size_bytes: 1 }, row_group: 0, column }
    }

    fn numbers(rows: usize) -> DecodedColumn {
        DecodedColumn::new(vec![Arc::new(Int64Array::from(vec![7; rows]))])
    }

    #[test]
    fn a_column_is_found_by_its_type_only() {
        let tier = DecodedTier::new(1 << 20);
        tier.insert(key(0), numbers(10));
        assert!(tier.get(&key(0), &DataType::Int64).is_some());
        assert!(tier.get(&key(0), &DataType::Int32).is_none());
        assert!(tier.get(&key(1), &DataType::Int64).is_none());
        assert_eq!(tier.hits_and_misses(), (1, 2));
        tier.remove_file(&key(0).file);
        assert!(!tier.contains(&key(0)));
    }

    #[test]
    fn memory_that_arrays_share_is_counted_once() {
        let long = "a text that is too long to be kept inside of its view";
        let all = StringViewArray::from(vec![long; 1000]);
        let (one, two) = (Arc::new(all.slice(0, 500)), Arc::new(all.slice(500, 500)));
        let halves = DecodedColumn::new(vec![one, two]).memory_bytes;
        let whole = DecodedColumn::new(vec![Arc::new(all)]).memory_bytes;
        assert_eq!(halves - whole, size_of::<ArrayData>());
        assert!(numbers(1000).memory_bytes >= 8000);
    }

    #[test]
    fn the_limit_is_held_and_reservations_are_given_back() {
        let tier = Arc::new(DecodedTier::new(1 << 20));
        for column in 0..100 {
            tier.insert(key(column), numbers(10_000));
        }
        assert!(tier.columns().bytes() <= 1 << 20 && tier.columns().entries() > 1);
        let first = tier.reserve(200 << 10);
        assert!(first.is_some() && tier.reserve(100 << 10).is_none());
        drop(first);
        assert!(tier.reserve(100 << 10).is_some());
        assert!(Arc::new(DecodedTier::new(0)).reserve(1).is_none());
    }
}
