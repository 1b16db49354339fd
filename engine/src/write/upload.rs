//! Sends one growing file to the store: one PUT if it stays small, a multipart upload otherwise.
//!
//! At most [`PARTS_IN_FLIGHT`] parts of [`PART_BYTES`] are in memory beside the one being filled. Every request runs in a task of its
//! own, so that it comes to its end whoever waits for it. An upload that is dropped before it is finished is aborted once its parts are
//! through: a part that arrived after that would stay in the store.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use object_store::path::Path;
use object_store::{MultipartUpload, ObjectStore, ObjectStoreExt, PutPayload};
use polynya_catalog::Storage;
use tokio::task::{JoinError, JoinSet};

use crate::change::Unfinished;
use crate::{Result, panics};

/// The size of every part but the last. Some stores want all of them equal.
pub(super) const PART_BYTES: usize = 8 << 20;
const PARTS_IN_FLIGHT: usize = 4;

/// A file on its way to the store.
pub(super) struct Upload {
    storage: Arc<Storage>,
    location: String,
    store: Arc<dyn ObjectStore>,
    path: Path,
    unfinished: Unfinished,
    buffer: BytesMut,
    bytes: u64,
    multipart: Option<Multipart>,
}

/// Parts that are sent, and the upload that they are of.
struct Multipart {
    upload: Box<dyn MultipartUpload>,
    parts: JoinSet<object_store::Result<()>>,
}

impl Upload {
    /// Sends nothing yet.
    pub(super) fn new(storage: &Arc<Storage>, location: &str, unfinished: &Unfinished) -> Result<Self> {
        let (store, path) = storage.resolve(location)?;
        unfinished.add(storage, location);
        Ok(Self {
            storage: Arc::clone(storage),
            location: location.to_owned(),
            store,
            path,
            unfinished: unfinished.clone(),
            buffer: BytesMut::new(),
            bytes: 0,
            multipart: None,
        })
    }

    /// Bytes given so far.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Memory held, in bytes.
    pub(super) fn memory_bytes(&self) -> usize {
        let parts = self.multipart.as_ref().map_or(0, |multipart| multipart.parts.len());
        self.buffer.capacity() + parts * PART_BYTES
    }

    /// Appends bytes; waits while too many parts are on their way.
    pub(super) async fn push(&mut self, bytes: Bytes) -> object_store::Result<()> {
        self.bytes += bytes.len() as u64;
        self.buffer.extend_from_slice(&bytes);
        while self.buffer.len() > PART_BYTES {
            let part = self.buffer.split_to(PART_BYTES).freeze();
            self.send(part).await?;
        }
        Ok(())
    }

    async fn send(&mut self, part: Bytes) -> object_store::Result<()> {
        let multipart = match &mut self.multipart {
            Some(multipart) => multipart,
            none => {
                let upload = begin(&self.storage, &self.location, &self.store, &self.path, &self.unfinished).await?;
                none.insert(Multipart { upload, parts: JoinSet::new() })
            }
        };
        while multipart.parts.len() >= PARTS_IN_FLIGHT {
            multipart.wait_for_one().await?;
        }
        multipart.parts.spawn(multipart.upload.put_part(PutPayload::from_bytes(part)));
        Ok(())
    }

    /// Sends what is left; the file exists once this returns.
    pub(super) async fn finish(mut self) -> object_store::Result<u64> {
        let rest = self.buffer.split().freeze();
        if self.multipart.is_none() {
            let (store, path) = (Arc::clone(&self.store), self.path.clone());
            let put = async move { store.put(&path, PutPayload::from_bytes(rest)).await };
            self.unfinished.run(put).await.map_err(stopped)??;
            return Ok(self.bytes);
        }
        self.send(rest).await?;
        if let Some(multipart) = &mut self.multipart {
            while !multipart.parts.is_empty() {
                multipart.wait_for_one().await?;
            }
        }
        if let Some(Multipart { mut upload, .. }) = self.multipart.take() {
            let (storage, location) = (Arc::clone(&self.storage), self.location.clone());
            let complete = async move {
                let completed = upload.complete().await;
                if completed.is_err() {
                    abort(upload, &storage, &location).await;
                }
                completed
            };
            self.unfinished.run(complete).await.map_err(stopped)??;
        }
        Ok(self.bytes)
    }
}

impl Multipart {
    async fn wait_for_one(&mut self) -> object_store::Result<()> {
        self.parts.join_next().await.map_or(Ok(()), |sent| sent.map_err(stopped)?)
    }
}

/// Begins a multipart upload, and aborts it if nobody wants it any more by then.
async fn begin(
    storage: &Arc<Storage>,
    location: &str,
    store: &Arc<dyn ObjectStore>,
    path: &Path,
    unfinished: &Unfinished,
) -> object_store::Result<Box<dyn MultipartUpload>> {
    let (begun, wanted) = tokio::sync::oneshot::channel();
    let (store, path) = (Arc::clone(store), path.clone());
    let (storage, location) = (Arc::clone(storage), location.to_owned());
    let beginning = unfinished.run(async move {
        if let Err(Ok(unwanted)) = begun.send(store.put_multipart(&path).await) {
            abort(unwanted, &storage, &location).await;
        }
    });
    match wanted.await {
        Ok(upload) => upload,
        Err(_) => Err(beginning.await.err().map_or(
            object_store::Error::NotImplemented {
                operation: "beginning an upload".to_owned(),
                implementer: "this server".to_owned(),
            },
            stopped,
        )),
    }
}

async fn abort(mut upload: Box<dyn MultipartUpload>, storage: &Storage, location: &str) {
    if let Err(error) = upload.abort().await {
        // What a store says may have secrets in it.
        let error = storage.write_failed(location, error);
        tracing::warn!(location, %error, "an unfinished upload could not be aborted");
    }
}

/// A request that panicked, or was stopped with the process. What it said is in the log only.
fn stopped(error: JoinError) -> object_store::Error {
    object_store::Error::Generic { store: "upload", source: Box::new(panics::ended("an upload", error)) }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let Some(Multipart { upload, mut parts }) = self.multipart.take() else { return };
        let (storage, location) = (Arc::clone(&self.storage), std::mem::take(&mut self.location));
        if tokio::runtime::Handle::try_current().is_ok() {
            self.unfinished.run(async move {
                while parts.join_next().await.is_some() {}
                abort(upload, &storage, &location).await;
            });
        }
    }
}
