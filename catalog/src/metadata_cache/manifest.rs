//! Reads one manifest whole, and decodes it on a thread that may block.

use std::sync::Arc;

use bytes::Bytes;
use iceberg::spec::{Manifest, ManifestEntry, ManifestFile, ManifestStatus};

use crate::storage::Storage;
use crate::{Error, Result};

use super::{Packed, Room, decode, malformed};

const KIND: &str = "manifest";

/// One manifest, with what its entries inherit (snapshot id, sequence numbers) filled in from the manifest list.
///
/// Row ids are not filled in: entries of a v3 table without a `first_row_id` take theirs from `file.first_row_id`, in
/// order, as the specification's "first row id inheritance" says.
///
/// # Errors
/// `Malformed` names a manifest that is cut short, damaged, or not one; `Unsupported` an encrypted one; otherwise as
/// [`Storage::read`].
pub async fn read_manifest(storage: &Arc<Storage>, file: &ManifestFile) -> Result<Manifest> {
    let bytes = storage.read(&file.manifest_path).await?;
    match whole(bytes, file).await {
        Err(error @ Error::Malformed { .. }) => {
            tracing::warn!(location = file.manifest_path, %error, "a manifest is damaged; it is read once more");
            whole(storage.read(&file.manifest_path).await?, file).await
        }
        decoded => decoded,
    }
}

/// The manifest that a file's bytes are; what decoding takes is not counted.
async fn whole(bytes: Bytes, file: &ManifestFile) -> Result<Manifest> {
    decode_manifest(bytes, file, &Room::default(), |manifest| manifest).await
}

/// What is made of the manifest that a file's bytes are; see [`read_manifest`].
pub(super) async fn decode_manifest<T: Send + 'static>(
    bytes: Bytes,
    file: &ManifestFile,
    room: &Room,
    make: impl FnOnce(Manifest) -> T + Send + 'static,
) -> Result<T> {
    let location = &file.manifest_path;
    if file.key_metadata.is_some() {
        return Err(Error::Unsupported { what: location.clone(), feature: "encrypted manifests".to_string() });
    }
    // A file cut between two blocks is well formed: only its length tells.
    if bytes.len() as i64 != file.manifest_length {
        let found = format!("it has {} bytes, and its manifest list says {}", bytes.len(), file.manifest_length);
        return Err(malformed(location, KIND, found));
    }
    let inherited = file.clone();
    decode(location, KIND, Packed::Avro(bytes), room, move |location, bytes| {
        let manifest = Manifest::parse_avro(&bytes).map_err(|error| malformed(location, KIND, error))?;
        Ok(make(inherit(manifest, &inherited)))
    })
    .await
}

/// Fills in what entries leave to the manifest list (spec, "sequence number inheritance").
fn inherit(manifest: Manifest, file: &ManifestFile) -> Manifest {
    let (entries, metadata) = manifest.into_parts();
    let entries = entries.into_iter().map(|entry| {
        let mut entry = Arc::try_unwrap(entry).unwrap_or_else(|shared| ManifestEntry::clone(&shared));
        entry.snapshot_id.get_or_insert(file.added_snapshot_id);
        if entry.status == ManifestStatus::Added || file.sequence_number == 0 {
            entry.sequence_number.get_or_insert(file.sequence_number);
            entry.file_sequence_number.get_or_insert(file.sequence_number);
        }
        entry
    });
    Manifest::new(metadata, entries.collect())
}
