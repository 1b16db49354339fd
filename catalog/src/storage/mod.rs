//! The stores that tables' files live in, opened from Iceberg's property names, and metered.
//!
//! In: full locations as metadata files write them (`s3://bucket/key`). Out: bytes, or an error that names the location
//! and never a secret. One store per bucket, opened at its first use and kept: handles that differ only in who counts
//! share it, with its connections. OpenDAL is not used; `iceberg`'s own readers and writers come here by
//! [`Storage::file_io`].

mod azure;
mod checksum;
mod failure;
mod file_io;
mod gcs;
mod head;
mod http;
mod listing;
mod local;
mod location;
mod meter;
mod metered;
mod placement;
mod properties;
mod read;
mod read_failure;
mod renewal;
mod retry;
mod s3;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutOptions, PutPayload};
use parking_lot::Mutex;

use crate::{Error, Result};

use self::failure::Request;
pub(crate) use self::failure::is_refusal;
use self::http::ClientPool;
pub(crate) use self::listing::Listed;
use self::local::Confinement;
use self::location::{Location, Scheme};
pub use self::meter::{RequestCounts, RequestMeter};
use self::metered::Metered;
pub use self::placement::is_placement;
pub(crate) use self::placement::{check_namespace, check_table, overlap};
use self::properties::Properties;
pub use self::read::Arrived;
pub use self::read_failure::{Progress, ReadFailure, ReadFailureKind};
pub(crate) use self::renewal::CredentialSource;
use self::renewal::Renewed;
pub use self::retry::{Health, Tries, Turn};

/// Deletions under way at once.
const DELETE_CONCURRENCY: usize = 8;

/// Access to the stores of one catalog, or of one table with credentials of its own. Cheap to clone behind its `Arc`.
pub struct Storage {
    opened: Arc<Opened>,
    meters: Arc<[Arc<RequestMeter>]>,
}

/// What handles with the same properties share.
struct Opened {
    properties: Properties,
    renewed: Option<Renewed>,
    secrets: Vec<String>,
    confinement: Confinement,
    stores: Mutex<HashMap<StoreKey, Arc<dyn ObjectStore>>>,
    kept: Kept,
}

/// What handles with other properties keep, too.
#[derive(Clone)]
struct Kept {
    /// One store for all `memory:` locations.
    memory: Arc<InMemory>,
    /// Sets this memory apart from that of other storages.
    memory_id: uuid::Uuid,
    clients: ClientPool,
    healths: Arc<Mutex<HashMap<String, Arc<Health>>>>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct StoreKey {
    scheme: Scheme,
    bucket: String,
    host: Option<String>,
    retries: Retries,
}

/// Who tries a request again that failed for a reason that may pass.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Retries {
    /// `object_store`, a few times: what writes, lists and deletes.
    Inside,
    /// Nobody below: reads, as [`retry`] says.
    Outside,
}

impl Storage {
    /// Stores configured by Iceberg's property names: `s3.endpoint`, `s3.region`, `s3.access-key-id`,
    /// `s3.secret-access-key`, `s3.session-token`, `s3.path-style-access`, `s3.force-virtual-addressing`, `s3.anonymous`,
    /// `client.region`, `gcs.*`, `adls.*`. A `warehouse` that is a local folder is where `file:` locations may be.
    ///
    /// # Errors
    /// `Settings` for a `warehouse` that is a local path but not an absolute folder. Other properties are read when the
    /// store that they configure is first used.
    pub fn new(properties: &HashMap<String, String>) -> Result<Arc<Self>> {
        let kept = Kept {
            memory: Arc::new(InMemory::new()),
            memory_id: uuid::Uuid::new_v4(),
            clients: ClientPool::default(),
            healths: Arc::default(),
        };
        let total = Arc::new(RequestMeter::default());
        Self::open(Properties::new(properties.clone()), None, kept, Arc::from(vec![total]))
    }

    /// The same with some properties replaced: a table's vended credentials. Counted by the same meters.
    pub fn with_properties(&self, overrides: &HashMap<String, String>) -> Result<Arc<Self>> {
        let properties = self.opened.properties.with(overrides);
        if properties == self.opened.properties {
            return Ok(Arc::new(Self { opened: Arc::clone(&self.opened), meters: Arc::clone(&self.meters) }));
        }
        Self::open(properties, None, self.opened.kept.clone(), Arc::clone(&self.meters))
    }

    /// The same, with credentials that the source renews while the stores are in use. `overrides` are the first ones.
    pub(crate) fn with_credential_source(
        &self,
        overrides: &HashMap<String, String>,
        source: Arc<dyn CredentialSource>,
    ) -> Result<Arc<Self>> {
        let properties = self.opened.properties.with(overrides);
        Self::open(properties, Some(Renewed(source)), self.opened.kept.clone(), Arc::clone(&self.meters))
    }

    fn open(
        properties: Properties,
        renewed: Option<Renewed>,
        kept: Kept,
        meters: Arc<[Arc<RequestMeter>]>,
    ) -> Result<Arc<Self>> {
        let opened = Opened {
            confinement: Confinement::new(properties.get(&["warehouse"]))?,
            secrets: properties.secrets(),
            properties,
            renewed,
            stores: Mutex::default(),
            kept,
        };
        Ok(Arc::new(Self { opened: Arc::new(opened), meters }))
    }

    /// What the stores are opened with, credentials included as they are now: for a process that reads the same files, and
    /// cannot renew them. [`Storage::renew`] first makes them last.
    pub fn properties(&self) -> HashMap<String, String> {
        match &self.opened.renewed {
            Some(Renewed(source)) => self.opened.properties.with(&source.known()).all(),
            None => self.opened.properties.all(),
        }
    }

    /// Renews the credentials, if they are vended and about to end. Returns how long until those end that there are now;
    /// `None` if they do not, as far as is known.
    ///
    /// # Errors
    /// If the catalog gives no new ones, and the old ones have ended.
    pub async fn renew(&self) -> Result<Option<Duration>> {
        let Some(Renewed(source)) = &self.opened.renewed else { return Ok(None) };
        source.current().await?;
        Ok(source.left())
    }

    /// Whether files are in the memory of this process: those of a warehouse at `memory:`.
    pub fn is_memory(&self) -> bool {
        self.opened.properties.get(&["warehouse"]).is_some_and(|warehouse| warehouse.starts_with("memory:"))
    }

    /// The same stores and connections, counted by this meter as well: one meter per query.
    pub fn metered(self: &Arc<Self>, meter: Arc<RequestMeter>) -> Arc<Self> {
        let meters = self.meters.iter().cloned().chain([meter]).collect();
        Arc::new(Self { opened: Arc::clone(&self.opened), meters })
    }

    /// All requests since [`Storage::new`], through this handle and every handle made from it.
    pub fn total_meter(&self) -> &Arc<RequestMeter> {
        &self.meters[0]
    }

    /// The store, and the key in it, that a full location names: schemes `s3`, `s3a`, `s3n`, `gs`, `az`, `abfs(s)`,
    /// `wasb(s)`, `file`, `memory`, or a bare absolute path.
    ///
    /// # Errors
    /// `Invalid` for a location that cannot be a key byte for byte, for a file outside the warehouse, and for memory if the
    /// warehouse is elsewhere; `Unsupported` for another scheme; `Settings` if the store's properties are wrong.
    pub fn resolve(&self, location: &str) -> Result<(Arc<dyn ObjectStore>, Path)> {
        let parts = Location::parse(location)?;
        let store = self.store(&parts, location, Retries::Inside)?;
        Ok((store, parts.key))
    }

    /// A key for caches of files' contents: equal for equal files, and different for equally named files of different
    /// services (two S3 endpoints, two memory stores).
    pub fn cache_key(&self, location: &str) -> Result<String> {
        let properties = &self.opened.properties;
        let service = match Location::parse(location)? {
            Location { scheme: Scheme::S3, .. } => s3::endpoint(properties).unwrap_or_default().to_string(),
            Location { scheme: Scheme::Gcs, .. } => gcs::endpoint(properties).unwrap_or_default().to_string(),
            Location { scheme: Scheme::Azure, host, .. } => {
                let account = azure::account(properties, host.as_deref()).unwrap_or_default();
                format!("{}#{account}", azure::endpoint(properties).unwrap_or_default())
            }
            Location { scheme: Scheme::File, .. } => String::new(),
            Location { scheme: Scheme::Memory, .. } => self.opened.kept.memory_id.to_string(),
        };
        Ok(format!("{service} {location}"))
    }

    /// Names the service and bucket of a location: what shares a limit of requests.
    ///
    /// # Errors
    /// As [`Storage::resolve`].
    pub fn store_name(&self, location: &str) -> Result<String> {
        let parts = Location::parse(location)?;
        let file = self.cache_key(location)?;
        let service = file.split(' ').next().unwrap_or_default();
        Ok(format!("{service} {} {}", failure::service(&parts), parts.bucket))
    }

    /// What is known of a location's store by the answers to reads of it.
    ///
    /// # Errors
    /// As [`Storage::resolve`].
    pub fn health(&self, location: &str) -> Result<Arc<Health>> {
        let name = self.store_name(location)?;
        Ok(Arc::clone(self.opened.kept.healths.lock().entry(name).or_default()))
    }

    /// Writes an object, whole; replaces it if it exists.
    pub async fn write(&self, location: &str, bytes: Bytes) -> Result<()> {
        let object = self.object(location)?;
        let result = object.store.put_opts(object.key(), PutPayload::from_bytes(bytes), PutOptions::default()).await;
        result.map(|_| ()).map_err(|error| object.write_failed(error))
    }

    /// What a store said about an object that was written through [`Storage::resolve`], as an error of ours.
    pub fn write_failed(&self, location: &str, error: object_store::Error) -> Error {
        self.object(location).map_or_else(|refused| refused, |object| object.write_failed(error))
    }

    /// Deletes an object. One that is not there is fine.
    pub async fn delete(&self, location: &str) -> Result<()> {
        let object = self.object(location)?;
        match object.explain("delete", object.store.delete(object.key()).await) {
            Err(Error::FileNotFound { .. }) => Ok(()),
            result => result,
        }
    }

    /// Deletes objects, several at once; all are tried before the first failure is returned.
    pub async fn delete_all(&self, locations: Vec<String>) -> Result<()> {
        let mut waiting = Vec::with_capacity(locations.len());
        for location in &locations {
            waiting.push(self.delete(location));
        }
        let results: Vec<Result<()>> =
            futures::stream::iter(waiting).buffer_unordered(DELETE_CONCURRENCY).collect().await;
        results.into_iter().collect()
    }

    /// Whether an object is there.
    pub async fn exists(&self, location: &str) -> Result<bool> {
        match self.size(location).await {
            Ok(_) => Ok(true),
            Err(Error::FileNotFound { .. }) => Ok(false),
            Err(other) => Err(other),
        }
    }

    /// An object's size in bytes.
    pub async fn size(&self, location: &str) -> Result<u64> {
        let object = self.object(location)?;
        Ok(object.explain("look at", object.store.head(object.key()).await)?.size)
    }

    /// The locations of all objects below a folder, in no order.
    pub async fn list(&self, folder: &str) -> Result<Vec<String>> {
        let folder = folder.trim_end_matches('/');
        let object = self.object(folder)?;
        let listed = object.store.list(Some(object.key())).map_ok(|found| found.location).try_collect::<Vec<Path>>();
        let keys = object.explain("list", listed.await)?;
        let below = keys.iter().filter_map(|key| key.as_ref().strip_prefix(object.key().as_ref()));
        Ok(below.map(|rest| format!("{folder}/{}", rest.trim_start_matches('/'))).collect())
    }

    /// These stores as `iceberg`'s readers and writers want them.
    pub fn file_io(self: &Arc<Self>) -> iceberg::io::FileIO {
        file_io::file_io(self)
    }

    fn object<'a>(&'a self, location: &'a str) -> Result<Object<'a>> {
        self.object_with(location, Retries::Inside)
    }

    fn object_with<'a>(&'a self, location: &'a str, retries: Retries) -> Result<Object<'a>> {
        let parts = Location::parse(location)?;
        let store = self.store(&parts, location, retries)?;
        Ok(Object { location, parts, store, opened: &self.opened })
    }

    /// The store, opened if this is its first use, and counted by this handle's meters.
    fn store(&self, parts: &Location, location: &str, retries: Retries) -> Result<Arc<dyn ObjectStore>> {
        match parts.scheme {
            Scheme::File => self.opened.confinement.check(location, &parts.key)?,
            Scheme::Memory => self.check_memory(location)?,
            Scheme::S3 | Scheme::Gcs | Scheme::Azure => {}
        }
        let key = StoreKey { scheme: parts.scheme, bucket: parts.bucket.clone(), host: parts.host.clone(), retries };
        let mut stores = self.opened.stores.lock();
        let store = match stores.get(&key) {
            Some(store) => Arc::clone(store),
            None => {
                let store = self.opened.open_store(parts, retries)?;
                stores.insert(key, Arc::clone(&store));
                store
            }
        };
        Ok(Arc::new(Metered::new(store, Arc::clone(&self.meters))))
    }
}

/// A location that a request is about, and the store to ask.
struct Object<'a> {
    location: &'a str,
    parts: Location,
    store: Arc<dyn ObjectStore>,
    opened: &'a Opened,
}

impl Object<'_> {
    fn key(&self) -> &Path {
        &self.parts.key
    }

    fn explain<T>(&self, verb: &'static str, result: object_store::Result<T>) -> Result<T> {
        result.map_err(|error| self.error(verb, error))
    }

    fn error(&self, verb: &'static str, error: object_store::Error) -> Error {
        self.error_in(None, verb, error)
    }

    /// An error of an answer that told the bucket's region.
    fn error_in(&self, region: Option<String>, verb: &'static str, error: object_store::Error) -> Error {
        let secrets = self.opened.secrets();
        Request { location: self.location, parts: &self.parts, verb, secrets: &secrets, region }.error(error)
    }

    fn write_failed(&self, error: object_store::Error) -> Error {
        match self.error("write", error) {
            // A write cannot miss its object; a 404 without a code is the bucket's.
            Error::FileNotFound { .. } => failure::missing_bucket(&self.parts),
            other => other,
        }
    }
}

impl Opened {
    /// What errors must not show, longest first: also of the credentials that came since.
    fn secrets(&self) -> Vec<String> {
        let mut secrets = self.secrets.clone();
        if let Some(Renewed(source)) = &self.renewed {
            secrets.extend(self.properties.with(&source.known()).secrets());
            secrets.sort_by_key(|value| std::cmp::Reverse(value.len()));
        }
        secrets
    }

    fn open_store(&self, parts: &Location, retries: Retries) -> Result<Arc<dyn ObjectStore>> {
        let (properties, renewed, clients) = (&self.properties, self.renewed.as_ref(), &self.kept.clients);
        match parts.scheme {
            Scheme::S3 => s3::open(properties, renewed, clients, retries, &parts.bucket),
            Scheme::Gcs => gcs::open(properties, renewed, clients, retries, &parts.bucket),
            Scheme::Azure => azure::open(properties, renewed, clients, retries, &parts.bucket, parts.host.as_deref()),
            Scheme::File => Ok(Arc::new(LocalFileSystem::new())),
            Scheme::Memory => Ok(Arc::clone(&self.kept.memory) as Arc<dyn ObjectStore>),
        }
    }
}

impl fmt::Debug for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Storage").field("properties", &self.opened.properties).finish_non_exhaustive()
    }
}
