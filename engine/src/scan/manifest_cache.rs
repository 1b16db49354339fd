//! Decoded manifests, kept between queries within a limit of bytes; undecoded, they are in the disk tier of the page cache.
//! Manifests are immutable: nothing is ever revalidated.

use std::sync::Arc;

use bytes::Bytes;
use iceberg::spec::{Manifest, ManifestFile};
use moka::future::Cache;
use polynya_catalog::{MetadataCache, Storage, own_task};

use super::manifest::ManifestColumns;
use crate::io::{CacheMode, FileKey, PageCache, PageKey};
use crate::{Error, Result};

/// Decoded manifests by store and location. Concurrent requests for one manifest make one fetch.
#[derive(Debug, Clone)]
pub(crate) struct ManifestCache {
    manifests: Cache<String, Arc<ManifestColumns>>,
    pages: Arc<PageCache>,
    /// Decodes them.
    metadata: Arc<MetadataCache>,
}

impl ManifestCache {
    /// A cache that holds at most about `capacity_bytes`.
    pub(crate) fn new(capacity_bytes: u64, pages: Arc<PageCache>, metadata: Arc<MetadataCache>) -> Self {
        let weigh = |location: &String, manifest: &Arc<ManifestColumns>| {
            u32::try_from(location.len() + manifest.memory_bytes()).unwrap_or(u32::MAX)
        };
        Self { manifests: Cache::builder().max_capacity(capacity_bytes).weigher(weigh).build(), pages, metadata }
    }

    /// A manifest from disk or from the store; one that cannot be decoded is read once more from the store.
    async fn read(&self, storage: &Arc<Storage>, file: &ManifestFile) -> Result<Arc<ManifestColumns>> {
        let name = Arc::from(storage.cache_key(&file.manifest_path)?);
        let size_bytes = u64::try_from(file.manifest_length).unwrap_or(0);
        let key = PageKey::new(&FileKey { name, size_bytes }, &(0..size_bytes));
        if let Some((kept, _)) = self.pages.get(&key, CacheMode::On).await {
            match self.decode(kept, file).await {
                Err(polynya_catalog::Error::Malformed { .. }) => self.pages.forget(&key.file),
                decoded => return Ok(decoded?),
            }
        }
        let bytes = storage.read(&file.manifest_path).await?;
        match self.decode(bytes.clone(), file).await {
            Err(error @ polynya_catalog::Error::Malformed { .. }) => {
                tracing::warn!(location = file.manifest_path, %error, "a manifest is damaged; it is read once more");
            }
            decoded => {
                self.pages.insert_on_disk(&key, &bytes);
                return Ok(decoded?);
            }
        }
        let bytes = storage.read(&file.manifest_path).await?;
        let manifest = self.decode(bytes.clone(), file).await?;
        self.pages.insert_on_disk(&key, &bytes);
        Ok(manifest)
    }

    /// In columns, made on the thread that decodes it.
    async fn decode(&self, bytes: Bytes, file: &ManifestFile) -> polynya_catalog::Result<Arc<ManifestColumns>> {
        let owned = file.clone();
        let columns = move |manifest: Manifest| Arc::new(ManifestColumns::decode(&owned, &manifest));
        self.metadata.decode_manifest(bytes, file, columns).await
    }

    /// Forgets everything.
    pub(crate) fn clear(&self) {
        self.manifests.invalidate_all();
    }

    /// The manifest in columns, from memory or from the store.
    pub(crate) async fn get(&self, storage: &Arc<Storage>, file: &ManifestFile) -> Result<Arc<ManifestColumns>> {
        let location = storage.cache_key(&file.manifest_path)?;
        if let Some(manifest) = self.manifests.get(&location).await {
            return Ok(manifest);
        }
        let (cache, storage, file) = (self.clone(), Arc::clone(storage), file.clone());
        let load = async move { cache.read(&storage, &file).await };
        // Others may wait for this read: it goes on whatever becomes of this caller's patience.
        let manifests = self.manifests.clone();
        let loaded = own_task(async move { manifests.try_get_with(location, load).await }).await?;
        loaded.map_err(|error| Arc::try_unwrap(error).unwrap_or_else(Error::Shared))
    }
}
