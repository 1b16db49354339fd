//! Sends one growing file to the store: one PUT if it stays small, a multipart upload otherwise.
//!
//! At most [`PARTS_IN_FLIGHT`] parts of [`PART_BYTES`] are in memory beside the one being filled. An upload that is
//! dropped before it is finished is aborted, so that no part of it stays in the store.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use object_store::path::Path;
use object_store::{MultipartUpload, ObjectStore, ObjectStoreExt, PutPayload};
use polynya_catalog::Storage;
use tokio::task::JoinSet;

use crate::Result;

/// The size of every part but the last. Some stores want all of them equal.
pub(super) const PART_BYTES: usize = 8 << 20;
const PARTS_IN_FLIGHT: usize = 4;

/// A file on its way to the store.
pub(super) struct Upload {
    storage: Arc<Storage>,
    location: String,
    store: Arc<dyn ObjectStore>,
    path: Path,
    buffer: BytesMut,
    bytes: u64,
    multipart: Option<Box<dyn MultipartUpload>>,
    parts: JoinSet<object_store::Result<()>>,
}

impl Upload {
    /// Sends nothing yet.
    pub(super) fn new(storage: &Arc<Storage>, location: &str) -> Result<Self> {
        let (store, path) = storage.resolve(location)?;
        Ok(Self {
            storage: Arc::clone(storage),
            location: location.to_owned(),
            store,
            path,
            buffer: BytesMut::new(),
            bytes: 0,
            multipart: None,
            parts: JoinSet::new(),
        })
    }

    /// Bytes given so far.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Memory held, in bytes.
    pub(super) fn memory_bytes(&self) -> usize {
        self.buffer.capacity() + self.parts.len() * PART_BYTES
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
        while self.parts.len() >= PARTS_IN_FLIGHT {
            self.wait_for_one().await?;
        }
        let multipart = match &mut self.multipart {
            Some(multipart) => multipart,
            none => none.insert(self.store.put_multipart(&self.path).await?),
        };
        let sent = multipart.put_part(PutPayload::from_bytes(part));
        self.parts.spawn(sent);
        Ok(())
    }

    async fn wait_for_one(&mut self) -> object_store::Result<()> {
        match self.parts.join_next().await {
            None => Ok(()),
            Some(Ok(sent)) => sent,
            Some(Err(source)) => Err(object_store::Error::JoinError { source }),
        }
    }

    /// Sends what is left; the file exists once this returns.
    pub(super) async fn finish(mut self) -> object_store::Result<u64> {
        let rest = self.buffer.split().freeze();
        if self.multipart.is_none() {
            self.store.put(&self.path, PutPayload::from_bytes(rest)).await?;
            return Ok(self.bytes);
        }
        self.send(rest).await?;
        while !self.parts.is_empty() {
            self.wait_for_one().await?;
        }
        if let Some(multipart) = &mut self.multipart {
            multipart.complete().await?;
        }
        self.multipart = None;
        Ok(self.bytes)
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let Some(mut multipart) = self.multipart.take() else { return };
        let (storage, location) = (Arc::clone(&self.storage), std::mem::take(&mut self.location));
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                if let Err(error) = multipart.abort().await {
                    // What a store says may have secrets in it.
                    let error = storage.write_failed(&location, error);
                    tracing::warn!(location, %error, "an unfinished upload could not be aborted");
                }
            });
        }
    }
}
