//! The folder that this process spills into, and what processes left that are gone.
//!
//! Each process has a folder of its own in `memory.spill_dir`, and beside it a file that it keeps locked until it ends,
//! however it does. So what is not locked is of use to nobody, and whoever starts next removes it. What has another name is
//! never touched. If somebody removes the folder of a process that runs (what cleans temporary folders does), it is made again.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use uuid::Uuid;

use crate::settings::MemorySettings;
use crate::{Error, Result};

const PREFIX: &str = "polynya-spill-";
const LOCK: &str = ".lock";
/// A file that is not locked yet.
const NEW: &str = ".new";

/// See the module. Dropping it removes the folder.
#[derive(Debug)]
pub(crate) struct SpillFolder {
    folder: PathBuf,
    /// `None` once the folder is removed for good.
    lock: Mutex<Option<Lock>>,
}

/// What stands for a folder that is in use.
#[derive(Debug)]
struct Lock {
    path: PathBuf,
    _file: File,
}

impl SpillFolder {
    /// A folder where the settings say. `None` if they say nothing and the system has no temporary folder that can be
    /// written to: not every process spills.
    ///
    /// # Errors
    /// `Settings`, if it cannot be made.
    pub(crate) fn of(settings: &MemorySettings) -> Result<Option<Self>> {
        let Some(chosen) = &settings.spill_dir else {
            let made = Self::create(&std::env::temp_dir());
            return Ok(made.inspect_err(|error| tracing::warn!(%error, "queries have no folder to spill into")).ok());
        };
        let made = Self::create(chosen).map_err(|error| Error::Settings {
            setting: "memory.spill_dir".to_owned(),
            message: format!("{} cannot be created, or written to: {error}", chosen.display()),
        });
        made.map(Some)
    }

    fn create(parent: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(parent)?;
        remove_left(parent);
        let folder = parent.join(format!("{PREFIX}{}", Uuid::new_v4().simple()));
        let lock = Lock::of(&folder)?;
        make(&folder)?;
        Ok(Self { folder, lock: Mutex::new(Some(lock)) })
    }

    /// A file without a name in the folder, which is made again if it is gone.
    pub(crate) fn file(&self) -> io::Result<File> {
        match tempfile::tempfile_in(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.make_again()?;
                tempfile::tempfile_in(&self.folder)
            }
            made => made,
        }
    }

    fn make_again(&self) -> io::Result<()> {
        let mut lock = self.lock.lock();
        let Some(locked) = lock.as_ref() else { return Err(io::Error::other("the engine is closed")) };
        tracing::warn!(folder = %self.folder.display(), "somebody removed the folder that queries spill into; it is made again");
        if let Some(parent) = self.folder.parent() {
            std::fs::create_dir_all(parent)?;
        }
        if !locked.path.exists() {
            *lock = Some(Lock::of(&self.folder)?);
        }
        match make(&self.folder) {
            // Another query was first.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            made => made,
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.folder
    }

    /// Removes the folder and what is in it; what cannot be removed now is left to whoever starts next.
    pub(crate) fn remove(&self) {
        if let Some(lock) = self.lock.lock().take() {
            remove(&self.folder, &lock.path);
        }
    }
}

impl Lock {
    fn of(folder: &Path) -> io::Result<Self> {
        let (new, locked) = (beside(folder, NEW), beside(folder, LOCK));
        let file = File::create_new(&new)?;
        let path = match file.try_lock() {
            Ok(()) => {
                // Nobody sees it by this name before it is locked.
                std::fs::rename(&new, &locked)?;
                locked
            }
            // Where nothing can be locked, nothing is known of others either.
            Err(_) => new,
        };
        Ok(Self { path, _file: file })
    }
}

fn beside(folder: &Path, suffix: &str) -> PathBuf {
    let mut path = folder.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}

/// What is spilled is nobody else's to read.
fn make(folder: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(folder)
}

impl Drop for SpillFolder {
    fn drop(&mut self) {
        self.remove();
    }
}

/// Removes the folders whose processes are gone.
fn remove_left(parent: &Path) {
    for entry in std::fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(folder) = name.to_str().and_then(|name| name.strip_suffix(LOCK)) else { continue };
        let is_ours = folder.starts_with(PREFIX) && entry.file_type().is_ok_and(|kind| kind.is_file());
        let Some(lock) = is_ours.then(|| OpenOptions::new().write(true).open(entry.path()).ok()).flatten() else {
            continue;
        };
        match lock.try_lock() {
            // Held until the folder is gone, so that no two remove the same.
            Ok(()) => {
                tracing::info!(folder, "what a process spilled that is gone is removed");
                remove(&parent.join(folder), &entry.path());
            }
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => tracing::debug!(folder, %error, "nobody knows whose folder it is"),
        }
    }
}

/// The file goes last: it stands for a folder that may be there.
fn remove(folder: &Path, lock_file: &Path) {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(folder = %folder.display(), %error, "what was spilled could not be removed");
        }
        _ => drop(std::fs::remove_file(lock_file)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<String> = entries.map(|name| name.into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// What a process leaves that is killed.
    fn left(parent: &Path, name: &str) {
        std::fs::create_dir_all(parent.join(name).join("datafusion-1")).unwrap();
        std::fs::write(parent.join(name).join("datafusion-1/spilled"), "rows").unwrap();
        std::fs::write(parent.join(format!("{name}{LOCK}")), "").unwrap();
    }

    #[test]
    fn who_starts_removes_what_is_left_and_nothing_else() {
        let parent = tempfile::tempdir().unwrap();
        let first = SpillFolder::create(parent.path()).unwrap();
        std::fs::write(first.path().join("spilled"), "rows").unwrap();
        left(parent.path(), "polynya-spill-1");
        for other in ["somebody-elses", "polynya-spill-without-a-lock"] {
            std::fs::create_dir(parent.path().join(other)).unwrap();
        }
        let second = SpillFolder::create(parent.path()).unwrap();
        assert!(
            !parent.path().join("polynya-spill-1").exists() && !parent.path().join("polynya-spill-1.lock").exists()
        );
        assert!(first.path().join("spilled").exists() && second.path().exists());
        drop(first);
        second.remove();
        second.remove();
        assert_eq!(names(parent.path()), ["polynya-spill-without-a-lock", "somebody-elses"]);
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named_if_it_was_chosen() {
        let parent = tempfile::tempdir().unwrap();
        let file = parent.path().join("file");
        std::fs::write(&file, "").unwrap();
        let chosen = MemorySettings { spill_dir: Some(file.join("below")), ..MemorySettings::default() };
        let error = SpillFolder::of(&chosen).unwrap_err().to_string();
        assert!(error.contains("memory.spill_dir"), "{error}");
    }
}
