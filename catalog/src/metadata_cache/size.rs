//! What parsed metadata weighs in memory, near enough to bound a cache by it.

use std::mem::size_of;

use iceberg::spec::{ManifestFile, ManifestList};

/// Parsed metadata holds the JSON's strings plus maps and indexes of them: about twice the text.
const METADATA_FACTOR: usize = 2;
/// What one heap allocation costs besides its bytes.
const ALLOCATION_BYTES: usize = 16;

/// Metadata parsed from this many bytes of JSON.
pub(super) fn of_metadata(json_bytes: usize) -> u32 {
    saturated(json_bytes * METADATA_FACTOR)
}

/// A parsed manifest list.
pub(super) fn of_manifest_list(list: &ManifestList) -> u32 {
    saturated(list.entries().iter().map(of_manifest_file).sum())
}

fn of_manifest_file(file: &ManifestFile) -> usize {
    let summaries = file.partitions.iter().flatten().map(|summary| {
        let bounds = [&summary.lower_bound, &summary.upper_bound];
        size_of_val(summary)
            + bounds.iter().filter_map(|b| b.as_ref()).map(|b| b.len() + ALLOCATION_BYTES).sum::<usize>()
    });
    size_of::<ManifestFile>() + file.manifest_path.len() + ALLOCATION_BYTES + summaries.sum::<usize>()
}

fn saturated(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}
