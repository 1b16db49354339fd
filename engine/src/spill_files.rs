//! The files that queries spill into: without names, so that nobody can remove them while they are read, and nothing is left of
//! them whenever and however the process ends.
//!
//! All queries together may fill so much of the disk as `memory.spill_limit` says. What goes wrong is told with the folder and
//! the setting.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use bytes::Bytes;
use datafusion::common::{DataFusionError, Result};
use datafusion::execution::spill_file::{SpillFile, SpillWriter, TempFileFactory};
use futures::{Stream, StreamExt};

use crate::Error;
use crate::spill::SpillFolder;

/// Bytes that are read at once.
const READ_BYTES: usize = 128 << 10;

/// Makes the files.
#[derive(Debug)]
pub(crate) struct SpillFiles {
    folder: Arc<SpillFolder>,
    limit_bytes: u64,
    used_bytes: AtomicU64,
}

impl SpillFiles {
    /// Files that together have at most so many bytes.
    pub(crate) fn new(folder: Arc<SpillFolder>, limit_bytes: u64) -> Arc<Self> {
        Arc::new(Self { folder, limit_bytes, used_bytes: AtomicU64::new(0) })
    }

    fn failed(&self, source: io::Error) -> Error {
        Error::SpillFailed { folder: self.folder.path().display().to_string(), source }
    }

    /// Takes room on the disk.
    fn take(&self, bytes: u64) -> Result<(), Error> {
        if self.used_bytes.fetch_add(bytes, Relaxed) + bytes <= self.limit_bytes {
            return Ok(());
        }
        self.used_bytes.fetch_sub(bytes, Relaxed);
        Err(Error::SpillLimit { folder: self.folder.path().display().to_string(), limit_bytes: self.limit_bytes })
    }
}

/// For DataFusion, which wants the factory by itself.
#[derive(Debug)]
pub(crate) struct Factory(pub(crate) Arc<SpillFiles>);

impl TempFileFactory for Factory {
    fn create_temp_file(&self, _description: &str) -> Result<Arc<dyn SpillFile>> {
        let Self(files) = self;
        let file = files.folder.file().map_err(|error| files.failed(error))?;
        Ok(Arc::new(Spilled(Arc::new(Contents { files: Arc::clone(files), file, bytes: AtomicU64::new(0) }))))
    }
}

/// One file.
struct Spilled(Arc<Contents>);

struct Contents {
    files: Arc<SpillFiles>,
    file: File,
    bytes: AtomicU64,
}

impl Contents {
    fn append(&self, piece: &[u8]) -> Result<(), Error> {
        let bytes = piece.len() as u64;
        self.files.take(bytes)?;
        // There is one writer at a time.
        let end = self.bytes.load(Relaxed);
        self.file.write_all_at(piece, end).map_err(|error| {
            self.files.used_bytes.fetch_sub(bytes, Relaxed);
            self.files.failed(error)
        })?;
        self.bytes.store(end + bytes, Relaxed);
        Ok(())
    }

    fn read(&self, at: u64) -> Result<Bytes, Error> {
        let mut piece = vec![0; READ_BYTES];
        let read = self.file.read_at(&mut piece, at).map_err(|error| self.files.failed(error))?;
        piece.truncate(read);
        Ok(piece.into())
    }
}

impl Drop for Contents {
    fn drop(&mut self) {
        self.files.used_bytes.fetch_sub(self.bytes.load(Relaxed), Relaxed);
    }
}

impl SpillFile for Spilled {
    fn size(&self) -> Option<u64> {
        Some(self.0.bytes.load(Relaxed))
    }

    fn read_stream(&self) -> Result<Pin<Box<dyn Stream<Item = Result<Bytes>> + Send>>> {
        let begun = (Arc::clone(&self.0), 0);
        let pieces = futures::stream::try_unfold(begun, |(contents, at)| async move {
            let reading = Arc::clone(&contents);
            let read = tokio::task::spawn_blocking(move || reading.read(at)).await;
            let piece = read.map_err(|error| DataFusionError::External(Box::new(error)))??;
            let next = at + piece.len() as u64;
            Ok::<_, DataFusionError>((!piece.is_empty()).then_some((piece, (contents, next))))
        });
        Ok(pieces.boxed())
    }

    fn open_writer(&self) -> Result<Box<dyn SpillWriter>> {
        Ok(Box::new(Writer(Arc::clone(&self.0))))
    }
}

struct Writer(Arc<Contents>);

impl io::Write for Writer {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        // Taken back by `Error::from`.
        self.0.append(piece).map_err(io::Error::other)?;
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl SpillWriter for Writer {
    fn finish(&mut self) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use futures::TryStreamExt;

    use super::*;
    use crate::settings::MemorySettings;

    fn factory(parent: &std::path::Path, limit_bytes: u64) -> (Factory, Arc<SpillFolder>) {
        let settings = MemorySettings { spill_dir: Some(parent.to_owned()), ..MemorySettings::default() };
        let folder = Arc::new(SpillFolder::of(&settings).unwrap().unwrap());
        (Factory(SpillFiles::new(Arc::clone(&folder), limit_bytes)), folder)
    }

    async fn read(file: &Arc<dyn SpillFile>) -> Vec<u8> {
        file.read_stream().unwrap().try_collect::<Vec<_>>().await.unwrap().concat()
    }

    #[tokio::test]
    async fn files_outlive_their_folder_and_it_is_made_again() {
        let parent = tempfile::tempdir().unwrap();
        let (factory, folder) = factory(parent.path(), 1 << 30);
        let spilled = vec![7; 3 * READ_BYTES + 1];
        let first = factory.create_temp_file("a sort").unwrap();
        first.open_writer().unwrap().write_all(&spilled).unwrap();
        std::fs::remove_dir_all(parent.path()).unwrap();
        assert_eq!(read(&first).await, spilled);
        let second = factory.create_temp_file("a sort").unwrap();
        second.open_writer().unwrap().write_all(b"again").unwrap();
        assert_eq!((read(&second).await, second.size()), (b"again".to_vec(), Some(5)));
        assert!(folder.path().is_dir());
        folder.remove();
        assert!(factory.create_temp_file("a sort").is_err(), "nothing is spilled after the end");
        assert_eq!(std::fs::read_dir(parent.path()).unwrap().count(), 0);
    }

    #[test]
    fn the_limit_is_of_all_files_and_what_is_dropped_makes_room() {
        let parent = tempfile::tempdir().unwrap();
        let (factory, _folder) = factory(parent.path(), 100);
        let first = factory.create_temp_file("a sort").unwrap();
        first.open_writer().unwrap().write_all(&[0; 80]).unwrap();
        let second = factory.create_temp_file("a join").unwrap();
        let error = second.open_writer().unwrap().write_all(&[0; 30]).unwrap_err();
        let error = Error::from(DataFusionError::IoError(error));
        assert!(matches!(error, Error::SpillLimit { limit_bytes: 100, .. }), "{error:?}");
        assert!(error.to_string().contains("memory.spill_limit"), "{error}");
        drop(first);
        second.open_writer().unwrap().write_all(&[0; 30]).unwrap();
    }
}
