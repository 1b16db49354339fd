//! Whether files have changed since they were looked at last, told by their time, size and number on disk.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use parking_lot::Mutex;

/// Files that are read again when they change. Links are followed: secrets of Kubernetes change that way.
#[derive(Debug)]
pub(crate) struct Watched {
    files: Vec<PathBuf>,
    seen: Mutex<Vec<Option<Look>>>,
    failed: AtomicBool,
}

/// Seconds, nanoseconds, bytes, inode.
type Look = (i64, i64, u64, u64);

impl Watched {
    /// Files as they are now.
    pub(crate) fn new(files: impl IntoIterator<Item = PathBuf>) -> Self {
        let files: Vec<PathBuf> = files.into_iter().collect();
        let seen = Mutex::new(files.iter().map(|file| look(file)).collect());
        Self { files, seen, failed: AtomicBool::new(false) }
    }

    /// Reads the files if one has changed since this was called last, or if reading them failed then: a user who was taken out
    /// must not stay because the process had no file left to open. None if there is nothing to tell; a failure is told once.
    pub(crate) fn read_again<T, E>(&self, read: impl FnOnce() -> Result<T, E>) -> Option<Result<T, E>> {
        let changed = self.have_changed();
        if !changed && !self.failed.load(Relaxed) {
            return None;
        }
        let result = read();
        self.failed.store(result.is_err(), Relaxed);
        (changed || result.is_ok()).then_some(result)
    }

    /// Whether one is not what it was when this was asked last.
    fn have_changed(&self) -> bool {
        let now: Vec<Option<Look>> = self.files.iter().map(|file| look(file)).collect();
        let mut seen = self.seen.lock();
        let changed = *seen != now;
        *seen = now;
        changed
    }
}

fn look(file: &Path) -> Option<Look> {
    let metadata = std::fs::metadata(file).ok()?;
    Some((metadata.mtime(), metadata.mtime_nsec(), metadata.size(), metadata.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_changes_when_it_is_written_replaced_or_deleted() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        let watched = Watched::new([file.clone()]);
        assert!(!watched.have_changed());
        std::fs::write(&file, "one").unwrap();
        assert!(watched.have_changed() && !watched.have_changed());
        std::fs::write(folder.path().join("new"), "two").unwrap();
        std::fs::rename(folder.path().join("new"), &file).unwrap();
        assert!(watched.have_changed());
        std::fs::remove_file(&file).unwrap();
        assert!(watched.have_changed() && !watched.have_changed());
    }

    #[test]
    fn what_could_not_be_read_is_tried_again_and_told_once() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        let watched = Watched::new([file.clone()]);
        let read = |result: Result<u8, u8>| watched.read_again(|| result);
        assert_eq!(read(Ok(1)), None, "nothing has changed");
        std::fs::write(&file, "one").unwrap();
        assert_eq!(read(Err(2)), Some(Err(2)));
        assert_eq!(read(Err(3)), None, "told already");
        assert_eq!(read(Ok(4)), Some(Ok(4)));
        assert_eq!(read(Ok(5)), None);
    }
}
