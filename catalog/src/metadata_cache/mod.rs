//! Metadata files and manifest lists, read once and kept by bytes.
//!
//! Both are immutable: what was read once from a location is right for ever. Callers that miss the same file at the same
//! time share one read. Manifests are read here too ([`read_manifest`]) but not kept: the engine keeps them in columns.

pub(crate) mod avro;
mod decompress;
mod manifest;
mod room;
mod shared_error;
mod size;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use bytes::Bytes;
use iceberg::spec::{Manifest, ManifestFile, ManifestList, Snapshot, TableMetadata, TableMetadataRef};
use moka::future::Cache;

use crate::own_task::own_task;
use crate::storage::Storage;
use crate::{Error, Result};

use self::decompress::Packed;
pub use self::manifest::read_manifest;
pub use self::room::Memory;
pub(crate) use self::room::Room;

/// A cache of parsed metadata, bounded by bytes and shared by catalogs.
pub struct MetadataCache {
    entries: Cache<Key, Entry>,
    room: Room,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    Metadata(String),
    ManifestList(String),
}

#[derive(Clone)]
struct Entry {
    value: Value,
    size_bytes: u32,
}

#[derive(Clone)]
enum Value {
    Metadata(TableMetadataRef),
    ManifestList(Arc<ManifestList>),
}

impl std::fmt::Debug for MetadataCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MetadataCache")
            .field("entries", &self.entries.entry_count())
            .field("bytes", &self.entries.weighted_size())
            .finish()
    }
}

impl MetadataCache {
    /// A cache that holds about this many bytes; least recently used entries leave first. What decoding takes is not counted.
    pub fn new(capacity_bytes: u64) -> Arc<Self> {
        Self::with_room(capacity_bytes, Room::default())
    }

    /// The same, and what decoding takes is reserved in `memory` first.
    pub fn within(capacity_bytes: u64, memory: Arc<dyn Memory>) -> Arc<Self> {
        Self::with_room(capacity_bytes, Room::of(memory))
    }

    fn with_room(capacity_bytes: u64, room: Room) -> Arc<Self> {
        let entries = Cache::builder()
            .max_capacity(capacity_bytes)
            .weigher(|_: &Key, entry: &Entry| entry.size_bytes)
            .eviction_policy(moka::policy::EvictionPolicy::lru())
            .build();
        Arc::new(Self { entries, room })
    }

    /// A table's metadata, from its metadata file (plain, gzip or zstd).
    ///
    /// # Errors
    /// `Malformed` names a file that is not a metadata file, or that would decompress to an absurd size; `Unsupported`
    /// a format version newer than 3; otherwise as [`Storage::read`].
    pub async fn table_metadata(&self, storage: &Arc<Storage>, location: &str) -> Result<TableMetadataRef> {
        let key = Key::Metadata(storage.cache_key(location)?);
        let (storage, file, room) = (Arc::clone(storage), location.to_owned(), self.room.clone());
        let load = async move {
            let (metadata, json_bytes) = read_table_metadata(&storage, &file, &room).await?;
            Ok(Entry { value: Value::Metadata(Arc::new(metadata)), size_bytes: size::of_metadata(json_bytes) })
        };
        match self.get(key, load).await? {
            Value::Metadata(metadata) => Ok(metadata),
            Value::ManifestList(_) => Err(wrong_kind(location)),
        }
    }

    /// Keeps metadata that this process has just written, so that it is not read back.
    pub async fn insert_table_metadata(&self, storage: &Arc<Storage>, location: &str, metadata: TableMetadataRef) {
        let Ok(key) = storage.cache_key(location) else { return };
        let json_bytes = serde_json::to_vec(metadata.as_ref()).map_or(0, |json| json.len());
        let entry = Entry { value: Value::Metadata(metadata), size_bytes: size::of_metadata(json_bytes) };
        self.entries.insert(Key::Metadata(key), entry).await;
    }

    /// A snapshot's list of manifests.
    ///
    /// # Errors
    /// `Malformed` names a file that is not a manifest list; `Unsupported` an encrypted one; otherwise as
    /// [`Storage::read`].
    pub async fn manifest_list(
        &self,
        storage: &Arc<Storage>,
        metadata: &TableMetadata,
        snapshot: &Snapshot,
    ) -> Result<Arc<ManifestList>> {
        let location = snapshot.manifest_list();
        let key = Key::ManifestList(storage.cache_key(location)?);
        let list = unread_manifest_list(storage, metadata, snapshot, &self.room)?;
        let load = async move {
            let list = list.await?;
            let size_bytes = size::of_manifest_list(&list);
            Ok(Entry { value: Value::ManifestList(Arc::new(list)), size_bytes })
        };
        match self.get(key, load).await? {
            Value::ManifestList(list) => Ok(list),
            Value::Metadata(_) => Err(wrong_kind(location)),
        }
    }

    /// What is made of the manifest that a file's bytes are, on the thread that decodes it. It is not kept here. See
    /// [`read_manifest`].
    ///
    /// # Errors
    /// As [`read_manifest`], but for those of reading; `Memory` if there is too little for it.
    pub async fn decode_manifest<T: Send + 'static>(
        &self,
        bytes: Bytes,
        file: &ManifestFile,
        make: impl FnOnce(Manifest) -> T + Send + 'static,
    ) -> Result<T> {
        manifest::decode_manifest(bytes, file, &self.room, make).await
    }

    /// Forgets everything.
    pub fn clear(&self) {
        self.entries.invalidate_all();
    }

    async fn get(&self, key: Key, load: impl Future<Output = Result<Entry>> + Send + 'static) -> Result<Value> {
        if let Some(entry) = self.entries.get(&key).await {
            return Ok(entry.value);
        }
        // Others may wait for this read: it goes on whatever becomes of this caller's patience.
        let entries = self.entries.clone();
        let entry = own_task(async move { entries.try_get_with(key, load).await }).await?;
        entry.map(|entry| entry.value).map_err(shared_error::unshare)
    }
}

/// A metadata file, and the length of its JSON in bytes. Not cached.
pub(crate) async fn read_table_metadata(
    storage: &Arc<Storage>,
    location: &str,
    room: &Room,
) -> Result<(TableMetadata, usize)> {
    read_decoded(storage, location, "metadata file", Packed::Json, room, |location, json| {
        let metadata = parse_metadata(location, &json)?;
        Ok((metadata, json.len()))
    })
    .await
}

/// A manifest list. Not cached.
pub(crate) async fn read_manifest_list(
    storage: &Arc<Storage>,
    metadata: &TableMetadata,
    snapshot: &Snapshot,
    room: &Room,
) -> Result<ManifestList> {
    unread_manifest_list(storage, metadata, snapshot, room)?.await
}

/// The read of a manifest list, not yet begun.
fn unread_manifest_list(
    storage: &Arc<Storage>,
    metadata: &TableMetadata,
    snapshot: &Snapshot,
    room: &Room,
) -> Result<impl Future<Output = Result<ManifestList>> + Send + use<>> {
    let location = snapshot.manifest_list().to_owned();
    if snapshot.encryption_key_id().is_some() {
        return Err(Error::Unsupported { what: location, feature: "encrypted manifest lists".to_string() });
    }
    let (storage, room, version) = (Arc::clone(storage), room.clone(), metadata.format_version());
    Ok(async move {
        let parse = move |location: &str, bytes: Bytes| {
            ManifestList::parse_with_version(&bytes, version)
                .map_err(|error| malformed(location, "manifest list", error))
        };
        read_decoded(&storage, &location, "manifest list", Packed::Avro, &room, parse).await
    })
}

fn parse_metadata(location: &str, json: &[u8]) -> Result<TableMetadata> {
    /// What can be read of metadata of any version.
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "kebab-case")]
    struct AnyVersion {
        format_version: u64,
    }
    serde_json::from_slice::<TableMetadata>(json).map_err(|error| match serde_json::from_slice::<AnyVersion>(json) {
        Ok(AnyVersion { format_version }) if format_version > 3 => Error::Unsupported {
            what: format!("metadata file {location}"),
            feature: format!("Iceberg format version {format_version}"),
        },
        _ => malformed(location, "metadata file", error),
    })
}

/// Reads a file and decodes it. One that cannot be decoded is read once more: the answer may have been bad, not the file.
async fn read_decoded<T: Send + 'static>(
    storage: &Arc<Storage>,
    location: &str,
    kind: &'static str,
    packed: fn(Bytes) -> Packed,
    room: &Room,
    work: impl Fn(&str, Bytes) -> Result<T> + Clone + Send + 'static,
) -> Result<T> {
    let bytes = storage.read(location).await?;
    match decode(location, kind, packed(bytes), room, work.clone()).await {
        Err(error @ Error::Malformed { .. }) => {
            tracing::warn!(location, %error, "a file of metadata is damaged; it is read once more");
            let bytes = storage.read(location).await?;
            decode(location, kind, packed(bytes), room, work).await
        }
        decoded => decoded,
    }
}

/// Unpacks and decodes on a thread that may block, once there is room. A decoder that panics on odd bytes has found a malformed
/// file.
async fn decode<T: Send + 'static>(
    location: &str,
    kind: &'static str,
    packed: Packed,
    room: &Room,
    work: impl FnOnce(&str, Bytes) -> Result<T> + Send + 'static,
) -> Result<T> {
    let (owned, room) = (location.to_string(), room.clone());
    let decode = move || {
        let unpacked = packed.measure().map_err(|found| malformed(&owned, kind, found))?;
        let _place = room.enter(&owned, kind, packed.memory_bytes(unpacked))?;
        let bytes = packed.unpack(unpacked).map_err(|found| malformed(&owned, kind, found))?;
        work(&owned, bytes)
    };
    match tokio::task::spawn_blocking(decode).await {
        Ok(result) => result,
        // A decoder that panics on damaged bytes: the panic is in the log.
        Err(_) => Err(malformed(location, kind, "its contents cannot be decoded".to_owned())),
    }
}

fn malformed(location: &str, kind: &'static str, source: impl Into<crate::error::Source>) -> Error {
    Error::Malformed { location: location.to_string(), kind, source: source.into() }
}

fn wrong_kind(location: &str) -> Error {
    Error::Internal(format!("the metadata cache holds something else for {location}"))
}
