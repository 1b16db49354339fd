//! What a scan knows of one data file beyond what DataFusion's `PartitionedFile` has room for.

use std::sync::Arc;

use datafusion::datasource::listing::PartitionedFile;

use super::manifest::PartitionConstants;

/// Travels in the file's extensions, and through [`super::ScanCodec`] to workers.
#[derive(Debug, Clone)]
pub(crate) struct IcebergFile {
    /// The full location, exactly as the manifest has it.
    pub(crate) location: Arc<str>,
    /// The file's size in bytes, as the manifest has it.
    pub(crate) size_bytes: u64,
    /// Values of columns that the file may leave out, by field id.
    pub(crate) constants: Option<Arc<PartitionConstants>>,
}

impl IcebergFile {
    /// The extension of a file that a scan planned; `None` for a file that is not ours.
    pub(crate) fn of(file: &PartitionedFile) -> Option<&Self> {
        file.extensions.get::<Self>()
    }
}
