//! Divides a data file into the pages that are fetched and kept as one.
//!
//! In: a footer. Out: ranges in file order, each within one column chunk: runs of whole Parquet pages of at least
//! [`RUN_BYTES`] where the file has a page index, else the column chunk, cut where it is very long. The division depends on
//! the file alone, so every query asks for the same pages.

use std::ops::Range;

use parquet::file::metadata::ParquetMetaData;

/// Parquet pages are joined until they have this many bytes: a page of its own is too small to be kept alone.
const RUN_BYTES: u64 = 256 << 10;
/// A column chunk without page index is cut into pieces of this size.
const PIECE_BYTES: u64 = 8 << 20;

/// The pages of a file.
#[derive(Debug)]
pub(crate) struct Layout {
    /// Sorted by start; they do not overlap.
    pages: Vec<Range<u64>>,
    /// Ranges that begin with the header of a Parquet page, sorted, each within a page of ours.
    headed: Vec<Range<u64>>,
}

impl Layout {
    /// The pages of a file with this footer.
    pub(crate) fn new(footer: &ParquetMetaData) -> Self {
        let (mut pages, mut headed) = (Vec::new(), Vec::new());
        for (group, metadata) in footer.row_groups().iter().enumerate() {
            for (column, chunk) in metadata.columns().iter().enumerate() {
                let (start, length) = chunk.byte_range();
                let index = footer.offset_index().and_then(|index| index.get(group)?.get(column));
                let starts: Vec<u64> = match index {
                    Some(index) => index.page_locations().iter().map(|page| page.offset as u64).collect(),
                    None => (1..length.div_ceil(PIECE_BYTES)).map(|piece| start + piece * PIECE_BYTES).collect(),
                };
                let first = pages.len();
                divide(start..start + length, &starts, if index.is_some() { RUN_BYTES } else { 1 }, &mut pages);
                // Where in a column chunk a later piece begins, only an index tells.
                let known = if index.is_some() { pages.len() } else { pages.len().min(first + 1) };
                headed.extend_from_slice(&pages[first..known]);
            }
        }
        pages.sort_by_key(|page| page.start);
        headed.sort_by_key(|page| page.start);
        Self { pages, headed }
    }

    /// A file that is one page, of which nothing is known yet.
    pub(crate) fn whole(size_bytes: u64) -> Self {
        Self { pages: std::iter::once(0..size_bytes).collect(), headed: Vec::new() }
    }

    /// A file that is one page, with this footer.
    pub(crate) fn whole_of(size_bytes: u64, footer: &ParquetMetaData) -> Self {
        let chunks = footer.row_groups().iter().flat_map(|group| group.columns());
        let mut headed: Vec<Range<u64>> =
            chunks.map(|chunk| chunk.byte_range()).map(|(start, length)| start..start + length).collect();
        headed.sort_by_key(|chunk| chunk.start);
        Self { headed, ..Self::whole(size_bytes) }
    }

    /// The parts of a page that begin with the header of a Parquet page.
    pub(crate) fn headed(&self, page: &Range<u64>) -> &[Range<u64>] {
        let first = self.headed.partition_point(|part| part.start < page.start);
        let length = self.headed[first..].iter().take_while(|part| part.end <= page.end).count();
        &self.headed[first..first + length]
    }

    /// A file of these pages, sorted.
    #[cfg(test)]
    pub(crate) fn of(pages: Vec<Range<u64>>) -> Self {
        Self { pages, headed: Vec::new() }
    }

    /// The pages that cover a range, in order; the range itself where no page does (a bloom filter).
    pub(crate) fn covering(&self, range: &Range<u64>) -> Vec<Range<u64>> {
        let first = self.pages.partition_point(|page| page.end <= range.start);
        let pages: Vec<Range<u64>> =
            self.pages[first..].iter().take_while(|page| page.start < range.end).cloned().collect();
        let mut reached = range.start;
        for page in &pages {
            if page.start > reached {
                break;
            }
            reached = page.end;
        }
        if reached >= range.end { pages } else { vec![range.clone()] }
    }

    /// All pages, in order.
    pub(crate) fn pages(&self) -> &[Range<u64>] {
        &self.pages
    }

    /// The page before a position, if it ends there.
    pub(crate) fn before(&self, position: u64) -> Option<Range<u64>> {
        let at = self.pages.partition_point(|page| page.end < position);
        self.pages.get(at).filter(|page| page.end == position).cloned()
    }

    /// The page that starts at a position.
    pub(crate) fn after(&self, position: u64) -> Option<Range<u64>> {
        let at = self.pages.partition_point(|page| page.start < position);
        self.pages.get(at).filter(|page| page.start == position).cloned()
    }
}

/// Cuts a range at those of the sorted `starts` that leave at least `bytes_min` before them.
fn divide(range: Range<u64>, starts: &[u64], bytes_min: u64, pages: &mut Vec<Range<u64>>) {
    let mut begun = range.start;
    for start in starts {
        if *start > begun && *start < range.end && start - begun >= bytes_min {
            pages.push(begun..*start);
            begun = *start;
        }
    }
    if begun < range.end {
        pages.push(begun..range.end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_pages_are_joined_and_the_rest_ends_the_chunk() {
        let mut pages = Vec::new();
        divide(4..1000, &[4, 100, 350, 400, 900], 200, &mut pages);
        assert_eq!(pages, vec![4..350, 350..900, 900..1000]);
    }

    #[test]
    fn a_range_is_covered_by_its_pages_or_by_itself() {
        let layout = Layout::of(vec![4..100, 100..200, 300..400]);
        assert_eq!(layout.covering(&(50..120)), vec![4..100, 100..200]);
        for alone in [4..100, 150..320, 500..600] {
            assert_eq!(layout.covering(&alone), std::slice::from_ref(&alone));
        }
        assert_eq!(layout.before(100), Some(4..100));
        assert_eq!(layout.after(100), Some(100..200));
        assert_eq!((layout.before(300), layout.after(200)), (None, None));
    }
}
