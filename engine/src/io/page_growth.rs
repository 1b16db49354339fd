//! How much memory the decoder will take for the pages of a column chunk, told from the pages before it sees them.
//!
//! A page's header says how large it is without compression, and the decoder makes room for what is said: a file of 559 bytes may say
//! 2 GiB. What a codec cannot give of so few bytes is damage. What it can give is memory to be reserved, and so is what values become when
//! they are decoded: texts that repeat the one before, lists of a billion elements in a run of a few bytes. Columns of ordinary pages
//! come to less than [`FREE_BYTES`], and nothing is reserved for them.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use parquet::basic::{CompressionCodec as Codec, Type as PhysicalType};
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};
use parquet::file::page_index::offset_index::PageLocation;

use super::page_header::PageHeader;
use super::unpack::{growth_max, ignores_size, is_more_than, unpacked};
use super::{delta_lengths, page_values};

/// What a column has without being counted: pages are of a megabyte as a rule.
const FREE_BYTES: u64 = 4 << 20;
/// A page may say that it is larger by so much than its codec gives, since bounds are for long inputs.
const SLACK_BYTES: usize = 64 << 10;
/// How much longer than the rest the rows of one batch may be.
const SKEW_MAX: u64 = 8;
/// Levels, and what reads them, for each value of a column in lists.
const LEVELS_BYTES: u64 = 8;
/// Encodings of texts by differences of their lengths (parquet.thrift).
const DELTA_LENGTH_BYTE_ARRAY: i64 = 6;
const DELTA_BYTE_ARRAY: i64 = 7;
/// Of numbers, by the first bytes of all of them, then the second ones, and so on.
const BYTE_STREAM_SPLIT: i64 = 9;

/// Where a file's column chunks are, and which of their pages were looked into already.
#[derive(Debug)]
pub(crate) struct Chunks {
    /// By where they start: the chunk's range, its row group and its column.
    places: Vec<(Range<u64>, usize, usize)>,
    looked_into: Mutex<HashMap<u64, u64>>,
}

/// What is wrong with a page.
type Damage = String;

impl Chunks {
    pub(crate) fn new(metadata: &ParquetMetaData) -> Self {
        let mut places = Vec::new();
        for (group, row_group) in metadata.row_groups().iter().enumerate() {
            for (column, chunk) in row_group.columns().iter().enumerate() {
                let (start, length) = chunk.byte_range();
                places.push((start..start.saturating_add(length), group, column));
            }
        }
        places.sort_by_key(|(range, ..)| range.start);
        Self { places, looked_into: Mutex::default() }
    }

    /// The memory to reserve before the decoder gets what was read of these ranges, in bytes. Computes as long as the decoder does, for
    /// some codecs and encodings, once for each page.
    ///
    /// # Errors
    /// If a page says what cannot be.
    pub(crate) fn growth(
        &self,
        metadata: &ParquetMetaData,
        ranges: &[Range<u64>],
        read: &[Bytes],
        batch_rows: usize,
    ) -> Result<u64, Damage> {
        let mut sum = 0_u64;
        // Pages of one chunk may be read as several ranges.
        let mut of_chunk: Option<(usize, usize, Vec<Page>)> = None;
        for (range, bytes) in ranges.iter().zip(read) {
            let Some((group, column)) = self.chunk_at(range.start) else { continue };
            let row_group = metadata.row_group(group);
            let index = metadata.offset_index().and_then(|index| index.get(group)?.get(column));
            let index = index.map_or(&[][..], |index| index.page_locations());
            let pages = self.pages(row_group.column(column), index, range.start, bytes)?;
            match &mut of_chunk {
                Some((last_group, last_column, known)) if (*last_group, *last_column) == (group, column) => {
                    known.extend(pages);
                }
                other => {
                    let before = other.replace((group, column, pages));
                    sum = sum.saturating_add(before.map_or(0, |before| column_bytes(metadata, &before, batch_rows)));
                }
            }
        }
        Ok(sum.saturating_add(of_chunk.map_or(0, |last| column_bytes(metadata, &last, batch_rows))))
    }

    fn chunk_at(&self, position: u64) -> Option<(usize, usize)> {
        let after = self.places.partition_point(|(range, ..)| range.start <= position);
        let (range, group, column) = self.places.get(after.checked_sub(1)?)?;
        range.contains(&position).then_some((*group, *column))
    }

    /// The pages that bytes of a chunk hold, of which an index may say where they are.
    fn pages(
        &self,
        chunk: &ColumnChunkMetaData,
        index: &[PageLocation],
        start: u64,
        bytes: &Bytes,
    ) -> Result<Vec<Page>, Damage> {
        let codec = chunk.compression_codec();
        let (mut pages, mut at, mut values) = (Vec::new(), 0, 0_u64);
        // Behind the last value the decoder reads nothing.
        while at < bytes.len() && values < u64::try_from(chunk.num_values()).unwrap_or(0) {
            let header = PageHeader::read(&bytes[at..])
                .ok_or_else(|| format!("the header of the page at byte {} cannot be read", start + at as u64))?;
            values = values.saturating_add(if header.is_dictionary { 0 } else { header.values as u64 });
            let begin = at + header.header_bytes;
            // The decoder says what is wrong with a page that is not there whole.
            let Some(body) = begin.checked_add(header.packed_bytes).and_then(|end| bytes.get(begin..end)) else {
                break;
            };
            let codec = if header.is_plain { Codec::UNCOMPRESSED } else { codec };
            check_size(&header, codec)?;
            let key = start + at as u64;
            check_index(&header, key, index)?;
            let known = self.looked_into.lock().get(&key).copied();
            let grown = match known {
                Some(grown) => grown,
                None => {
                    let grown = look_into(&header, codec, body, chunk)?;
                    if needs_a_look(&header, codec) {
                        self.looked_into.lock().insert(key, grown);
                    }
                    grown
                }
            };
            pages.push(Page { header, grown });
            at = begin + header.packed_bytes;
        }
        Ok(pages)
    }
}

/// A page, and what its values grow to beyond its own bytes.
struct Page {
    header: PageHeader,
    grown: u64,
}

fn check_size(header: &PageHeader, codec: Codec) -> Result<(), Damage> {
    let (says, has) = (header.unpacked_bytes, header.packed_bytes);
    if codec == Codec::UNCOMPRESSED && says != has {
        return Err(format!("a page that is not compressed says that it has {says} bytes, and has {has}"));
    }
    let Some(growth) = growth_max(codec) else { return Ok(()) };
    if says > has.saturating_mul(growth).saturating_add(SLACK_BYTES) {
        return Err(format!("a page says that it has {says} bytes, which {codec:?} cannot make of {has}"));
    }
    Ok(())
}

/// The decoder takes the size of a page from the index, where there is one.
fn check_index(header: &PageHeader, position: u64, index: &[PageLocation]) -> Result<(), Damage> {
    let Ok(found) = index.binary_search_by_key(&position, |location| location.offset.cast_unsigned()) else {
        return Ok(());
    };
    let (says, has) = (index[found].compressed_page_size, header.header_bytes + header.packed_bytes);
    match usize::try_from(says) == Ok(has) {
        true => Ok(()),
        false => {
            Err(format!("the page at byte {position} has {has} bytes by its header, and {says} by the page index"))
        }
    }
}

fn needs_a_look(header: &PageHeader, codec: Codec) -> bool {
    ignores_size(codec) || matches!(header.encoding, DELTA_LENGTH_BYTE_ARRAY | DELTA_BYTE_ARRAY | BYTE_STREAM_SPLIT)
}

/// What only the page itself tells: whether it unpacks to more than it says, and what its values grow to.
fn look_into(header: &PageHeader, codec: Codec, body: &[u8], chunk: &ColumnChunkMetaData) -> Result<u64, Damage> {
    let levels = header.levels_bytes.min(body.len());
    let unpacked_bytes = header.unpacked_bytes.saturating_sub(levels);
    if ignores_size(codec) && is_more_than(codec, &body[levels..], unpacked_bytes) {
        return Err(format!("a page says that it has {} bytes, and has more", header.unpacked_bytes));
    }
    let is_delta = matches!(header.encoding, DELTA_LENGTH_BYTE_ARRAY | DELTA_BYTE_ARRAY);
    if header.is_dictionary || !(is_delta || header.encoding == BYTE_STREAM_SPLIT) {
        return Ok(0);
    }
    let values = header.values as u64;
    if is_delta && header.values > delta_lengths::VALUES_MAX {
        return Ok(values.saturating_mul(u64::from(u32::MAX)));
    }
    let page = unpacked(codec, &body[levels..], unpacked_bytes);
    let Some((present, page)) = page.as_deref().and_then(|page| past_levels(header, page, chunk)) else {
        return Ok(0);
    };
    if header.encoding == BYTE_STREAM_SPLIT {
        return page_values::check_streams(page, present, chunk).map(|()| 0);
    }
    let Some(lengths) = delta_lengths::read(page) else { return Ok(0) };
    if lengths.count > header.values {
        return Err(format!("a page of {} values has lengths for {}", header.values, lengths.count));
    }
    let for_lengths = (values * size_of::<i32>() as u64).saturating_mul(2);
    if header.encoding != DELTA_BYTE_ARRAY {
        return Ok(for_lengths);
    }
    page_values::check_prefixes(page)?;
    // The lengths are of what each text has in common with the one before.
    Ok(for_lengths.saturating_add(lengths.sum))
}

/// The values of a page behind its levels, and how many of them are there. In a page of the first kind levels begin with their length.
fn past_levels<'a>(
    header: &PageHeader,
    mut page: &'a [u8],
    chunk: &ColumnChunkMetaData,
) -> Option<(Option<usize>, &'a [u8])> {
    if header.is_second_kind {
        return Some((header.values.checked_sub(header.nulls), page));
    }
    let column = chunk.column_descr();
    let mut present = Some(header.values);
    let levels = [
        (column.max_rep_level(), header.has_old_repetitions, false),
        (column.max_def_level(), header.has_old_definitions, true),
    ];
    for (highest, is_old, defines) in levels {
        if highest > 0 {
            if is_old {
                return None;
            }
            let (length, rest) = page.split_first_chunk::<4>()?;
            let (levels, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
            if defines {
                present = page_values::count_present(levels, highest, header.values);
            }
            page = rest;
        }
    }
    Some((present, page))
}

/// What decoding takes for the pages of one chunk, beyond what is free.
fn column_bytes(
    metadata: &ParquetMetaData,
    (group, column, pages): &(usize, usize, Vec<Page>),
    batch_rows: usize,
) -> u64 {
    let row_group = metadata.row_group(*group);
    let chunk = row_group.column(*column);
    let descriptor = chunk.column_descr();
    let dictionary = pages.iter().find(|page| page.header.is_dictionary).map(|page| page.header);
    let data: Vec<&Page> = pages.iter().filter(|page| !page.header.is_dictionary).collect();
    let width = match chunk.column_type() {
        PhysicalType::BOOLEAN => 1,
        PhysicalType::INT32 | PhysicalType::FLOAT => 4,
        PhysicalType::INT64 | PhysicalType::DOUBLE => 8,
        PhysicalType::INT96 => 12,
        PhysicalType::FIXED_LEN_BYTE_ARRAY => u64::try_from(descriptor.type_length()).unwrap_or(0),
        // A view; within lists the text as well, as often as it is named.
        PhysicalType::BYTE_ARRAY => 16,
    };
    let held = dictionary.map_or(0, |dictionary| dictionary.unpacked_bytes as u64);
    let of_values = if descriptor.max_rep_level() > 0 {
        let named = dictionary.filter(|_| chunk.column_type() == PhysicalType::BYTE_ARRAY);
        let text = named.map_or(0, |named| named.unpacked_bytes as u64 / (named.values as u64).max(1));
        of_lists(&data, width + text + LEVELS_BYTES, row_group.num_rows(), batch_rows)
    } else {
        width.saturating_mul(batch_rows as u64)
    };
    let is_text = chunk.column_type() == PhysicalType::BYTE_ARRAY;
    let of_pages = largest_batch(&data, if is_text { batch_rows } else { 1 });
    held.saturating_add(of_values).saturating_add(of_pages).saturating_sub(FREE_BYTES)
}

/// The values of a batch of lists: those of its rows, if rows are about equal, and of one page in any case.
fn of_lists(data: &[&Page], width: u64, rows: i64, batch_rows: usize) -> u64 {
    let values = data.iter().map(|page| page.header.values as u64);
    let largest = values.clone().max().unwrap_or(0);
    let all: u64 = values.sum();
    let rows = u64::try_from(rows).unwrap_or(0).max(1);
    let share = (u128::from(all) * u128::from(SKEW_MAX * batch_rows as u64) / u128::from(rows)).min(u128::from(all));
    (share as u64).max(largest).saturating_mul(width)
}

/// The most bytes of pages that a batch of so many values in a row has a part of: a batch of texts keeps all of them.
fn largest_batch(data: &[&Page], values: usize) -> u64 {
    let bytes = |page: &Page| (page.header.unpacked_bytes as u64).saturating_add(page.grown);
    let (mut first, mut held_bytes, mut largest) = (0, 0_u64, 0);
    // Values of the pages between the first and the last.
    let mut between = 0_usize;
    for (last, page) in data.iter().enumerate() {
        held_bytes = held_bytes.saturating_add(bytes(page));
        if last > first + 1 {
            between = between.saturating_add(data[last - 1].header.values);
        }
        // A batch that has a part of both of these has all between.
        while first < last && between.saturating_add(2) > values {
            held_bytes = held_bytes.saturating_sub(bytes(data[first]));
            first += 1;
            between = between.saturating_sub(if first < last { data[first].header.values } else { 0 });
        }
        largest = largest.max(held_bytes);
    }
    largest
}

/// Looks on a thread that serves nobody where it may take long.
pub(crate) async fn growth(
    chunks: &Arc<Chunks>,
    metadata: &Arc<ParquetMetaData>,
    ranges: &[Range<u64>],
    read: &[Bytes],
    batch_rows: usize,
) -> Result<u64, Damage> {
    let computes = ranges.iter().filter_map(|range| chunks.chunk_at(range.start)).any(|(group, column)| {
        let chunk = metadata.row_group(group).column(column);
        let computed = chunk.encodings().any(|encoding| {
            use parquet::basic::Encoding::{BYTE_STREAM_SPLIT, DELTA_BYTE_ARRAY, DELTA_LENGTH_BYTE_ARRAY};
            matches!(encoding, DELTA_LENGTH_BYTE_ARRAY | DELTA_BYTE_ARRAY | BYTE_STREAM_SPLIT)
        });
        computed || ignores_size(chunk.compression_codec())
    });
    if !computes {
        return chunks.growth(metadata, ranges, read, batch_rows);
    }
    let (chunks, metadata) = (Arc::clone(chunks), Arc::clone(metadata));
    let (ranges, read) = (ranges.to_vec(), read.to_vec());
    let looked = tokio::task::spawn_blocking(move || chunks.growth(&metadata, &ranges, &read, batch_rows)).await;
    // A panic in a codec: the decoder would meet it, too.
    looked.unwrap_or_else(|_| Err("a page cannot be unpacked".to_owned()))
}

#[cfg(test)]
mod tests;
