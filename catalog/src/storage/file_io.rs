//! `iceberg`'s storage traits over [`Storage`].
//!
//! `iceberg` wants its storages to be serialisable. Ours holds connections and secrets, which are not: what is
//! serialised is an empty shell, and a shell that was deserialised answers every call with an error.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use futures::stream::BoxStream;
use iceberg::io::{
    FileIO, FileIOBuilder, FileMetadata, FileRead, FileWrite, InputFile, OutputFile, Storage as IcebergStorage,
    StorageConfig, StorageFactory,
};
use iceberg::{ErrorKind, Result};

use super::Storage;
use crate::Error;

/// `iceberg`'s handle on these stores.
pub(super) fn file_io(storage: &Arc<Storage>) -> FileIO {
    FileIOBuilder::new(Arc::new(Handle { storage: Some(Arc::clone(storage)) })).build()
}

/// Factory and storage in one, as the connections exist already.
#[derive(Debug, Clone, Default, serde::Serialize, serde::Deserialize)]
struct Handle {
    #[serde(skip)]
    storage: Option<Arc<Storage>>,
}

impl Handle {
    fn get(&self) -> Result<&Arc<Storage>> {
        self.storage.as_ref().ok_or_else(|| {
            iceberg::Error::new(ErrorKind::FeatureUnsupported, "a storage cannot be used after it was serialised")
        })
    }
}

#[typetag::serde(name = "PolynyaStorageFactory")]
impl StorageFactory for Handle {
    fn build(&self, _config: &StorageConfig) -> Result<Arc<dyn IcebergStorage>> {
        self.get()?;
        Ok(Arc::new(self.clone()))
    }
}

#[async_trait]
#[typetag::serde(name = "PolynyaStorage")]
impl IcebergStorage for Handle {
    async fn exists(&self, path: &str) -> Result<bool> {
        self.get()?.exists(path).await.map_err(failed)
    }

    async fn metadata(&self, path: &str) -> Result<FileMetadata> {
        let size = self.get()?.size(path).await.map_err(failed)?;
        Ok(FileMetadata { size })
    }

    async fn read(&self, path: &str) -> Result<Bytes> {
        self.get()?.read(path).await.map_err(failed)
    }

    async fn reader(&self, path: &str) -> Result<Box<dyn FileRead>> {
        Ok(Box::new(Reader { storage: Arc::clone(self.get()?), location: path.to_string() }))
    }

    async fn write(&self, path: &str, bytes: Bytes) -> Result<()> {
        self.get()?.write(path, bytes).await.map_err(failed)
    }

    async fn writer(&self, path: &str) -> Result<Box<dyn FileWrite>> {
        let storage = Arc::clone(self.get()?);
        Ok(Box::new(Writer { storage, location: path.to_string(), collected: Some(BytesMut::new()) }))
    }

    async fn delete(&self, path: &str) -> Result<()> {
        self.get()?.delete(path).await.map_err(failed)
    }

    async fn delete_prefix(&self, path: &str) -> Result<()> {
        let storage = self.get()?;
        let locations = storage.list(path).await.map_err(failed)?;
        storage.delete_all(locations).await.map_err(failed)
    }

    async fn delete_stream(&self, paths: BoxStream<'static, String>) -> Result<()> {
        let paths: Vec<String> = paths.collect().await;
        self.get()?.delete_all(paths).await.map_err(failed)
    }

    fn new_input(&self, path: &str) -> Result<InputFile> {
        Ok(InputFile::new(Arc::new(self.clone()), path.to_string()))
    }

    fn new_output(&self, path: &str) -> Result<OutputFile> {
        Ok(OutputFile::new(Arc::new(self.clone()), path.to_string()))
    }
}

#[derive(Debug)]
struct Reader {
    storage: Arc<Storage>,
    location: String,
}

#[async_trait]
impl FileRead for Reader {
    async fn read(&self, range: Range<u64>) -> Result<Bytes> {
        self.storage.read_range(&self.location, range).await.map_err(failed)
    }
}

/// Collects a file and writes it when it is closed: metadata files are small.
struct Writer {
    storage: Arc<Storage>,
    location: String,
    /// `None` once closed.
    collected: Option<BytesMut>,
}

#[async_trait]
impl FileWrite for Writer {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.collected.as_mut().ok_or_else(closed)?.extend_from_slice(&bytes);
        Ok(())
    }

    async fn close(&mut self) -> Result<()> {
        let collected = self.collected.take().ok_or_else(closed)?;
        self.storage.write(&self.location, collected.freeze()).await.map_err(failed)
    }
}

fn closed() -> iceberg::Error {
    iceberg::Error::new(ErrorKind::PreconditionFailed, "a file was written to after it was closed")
}

fn failed(error: Error) -> iceberg::Error {
    let kind = match &error {
        Error::FileNotFound { .. } | Error::BucketNotFound { .. } | Error::Malformed { .. } => ErrorKind::DataInvalid,
        Error::Unsupported { .. } => ErrorKind::FeatureUnsupported,
        _ => ErrorKind::Unexpected,
    };
    let retryable = matches!(error, Error::Unavailable { .. });
    iceberg::Error::new(kind, error.to_string()).with_retryable(retryable).with_source(error)
}
