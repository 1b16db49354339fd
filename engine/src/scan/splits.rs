//! Divides the selected files into pieces, and the pieces among partitions, so that few big files still use all cores.
//!
//! A piece is a byte range that begins where a row group begins (Iceberg's `split_offsets`); the pieces of a file tile it,
//! so a row group is read exactly once, by the piece in which it starts.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use datafusion::common::Statistics;
use datafusion::datasource::listing::{FileRange, PartitionedFile};
use datafusion::datasource::physical_plan::FileGroup;

use super::file::IcebergFile;
use super::manifest::FileEntry;

/// Pieces smaller than this are not made: opening one costs more than it brings.
const PIECE_BYTES_MIN: u64 = 4 << 20;

/// Divides files among at most `partitions` groups of about equal bytes. Every group is non-empty.
pub(crate) fn file_groups(files: Vec<(&FileEntry, Option<Arc<Statistics>>)>, partitions: usize) -> Vec<FileGroup> {
    let total: u64 = files.iter().map(|(file, _)| file.size_bytes).sum();
    let partitions = partitions.max(1);
    let piece_bytes = (total / partitions as u64 / 2).max(PIECE_BYTES_MIN);
    let mut pieces: Vec<(u64, PartitionedFile)> = Vec::with_capacity(files.len());
    for (file, statistics) in files {
        for (start, end) in ranges(file, piece_bytes) {
            pieces.push((end - start, partitioned_file(file, start, end, statistics.clone())));
        }
    }
    balance(pieces, partitions)
}

/// Runs of row groups of at least `piece_bytes`, tiling the file.
fn ranges(file: &FileEntry, piece_bytes: u64) -> Vec<(u64, u64)> {
    let mut ranges = Vec::new();
    let mut start = 0;
    for offset in file.split_offsets.iter().skip(1) {
        if offset - start >= piece_bytes {
            ranges.push((start, *offset));
            start = *offset;
        }
    }
    ranges.push((start, file.size_bytes));
    ranges
}

fn partitioned_file(file: &FileEntry, start: u64, end: u64, statistics: Option<Arc<Statistics>>) -> PartitionedFile {
    // The path only names the file in metrics: data is read by the full location in the extension.
    let mut partitioned = PartitionedFile::new(file.location.clone(), file.size_bytes);
    if (start, end) != (0, file.size_bytes) {
        partitioned.range = Some(FileRange { start: start as i64, end: end as i64 });
    }
    partitioned.statistics = statistics;
    partitioned.extensions.insert(IcebergFile {
        location: Arc::from(file.location.as_str()),
        size_bytes: file.size_bytes,
        constants: file.constants.clone(),
    });
    partitioned
}

/// Gives each piece, largest first, to the group with the fewest bytes. Deterministic.
pub(crate) fn balance(mut pieces: Vec<(u64, PartitionedFile)>, partitions: usize) -> Vec<FileGroup> {
    pieces.sort_by_key(|(bytes, _)| Reverse(*bytes));
    let mut groups: Vec<Vec<PartitionedFile>> = vec![Vec::new(); partitions.min(pieces.len())];
    let mut loads: BinaryHeap<Reverse<(u64, usize)>> = (0..groups.len()).map(|group| Reverse((0, group))).collect();
    for (bytes, piece) in pieces {
        if let Some(Reverse((load, group))) = loads.pop() {
            groups[group].push(piece);
            loads.push(Reverse((load + bytes.max(1), group)));
        }
    }
    groups.into_iter().map(FileGroup::new).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(size_bytes: u64, split_offsets: &[u64]) -> FileEntry {
        FileEntry {
            location: "s3://lake/t/data/1.parquet".to_owned(),
            size_bytes,
            rows: 1,
            split_offsets: split_offsets.into(),
            constants: None,
            unreadable: None,
        }
    }

    #[test]
    fn pieces_start_at_row_groups_and_tile_the_file() {
        let file = file(100, &[4, 30, 60, 90]);
        assert_eq!(ranges(&file, 40), vec![(0, 60), (60, 100)]);
        assert_eq!(ranges(&file, 1), vec![(0, 30), (30, 60), (60, 90), (90, 100)]);
        assert_eq!(ranges(&file, 1000), vec![(0, 100)]);
    }

    #[test]
    fn one_big_file_with_row_groups_is_shared_by_all_partitions() {
        let offsets: Vec<u64> = (0..8).map(|group| 4 + group * (16 << 20)).collect();
        let file = file(128 << 20, &offsets);
        let groups = file_groups(vec![(&file, None)], 2);
        assert_eq!(groups.len(), 2);
        let bytes = |group: &FileGroup| -> i64 {
            group.files().iter().filter_map(|file| file.range.as_ref()).map(|range| range.end - range.start).sum()
        };
        assert!((bytes(&groups[0]) - bytes(&groups[1])).abs() <= 16 << 20);
    }

    #[test]
    fn no_file_gives_no_group() {
        assert!(file_groups(Vec::new(), 4).is_empty());
    }
}
