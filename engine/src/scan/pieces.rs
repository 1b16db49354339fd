//! What a plan has to read, in pieces of files: the measure of how far a query is.

use std::sync::Arc;

use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::FileGroup;
use datafusion::physical_plan::ExecutionPlan;

use super::codec::iceberg_scan;

/// Bytes of a piece: of its range, or of the whole file.
pub(crate) fn piece_bytes(piece: &PartitionedFile) -> u64 {
    let range = piece.range.as_ref().map(|range| (range.end - range.start) as u64);
    range.unwrap_or(piece.object_meta.size)
}

/// Bytes of all pieces that the plan's scans of Iceberg tables read.
pub(crate) fn bytes_to_read(plan: &Arc<dyn ExecutionPlan>) -> u64 {
    let here: u64 = iceberg_scan(plan)
        .map_or(0, |(config, _)| config.file_groups.iter().flat_map(FileGroup::files).map(piece_bytes).sum());
    here + plan.children().into_iter().map(bytes_to_read).sum::<u64>()
}
