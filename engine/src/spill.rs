//! The folder that this process spills into, and what processes left that are gone.
//!
//! Each process has a folder of its own in `memory.spill_dir`, and beside it a file that it keeps locked until it ends,
//! however it does. So what is not locked is of use to nobody, and whoever starts next removes it. What has another name is
//! never touched.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

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
    lock_file: PathBuf,
    _lock: File,
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
        let name = format!("{PREFIX}{}", Uuid::new_v4().simple());
        let (folder, new) = (parent.join(&name), parent.join(format!("{name}{NEW}")));
        let lock = File::create_new(&new)?;
        let lock_file = match lock.try_lock() {
            Ok(()) => {
                // Nobody sees it by this name before it is locked.
                let locked = parent.join(format!("{name}{LOCK}"));
                std::fs::rename(&new, &locked)?;
                locked
            }
            // Where nothing can be locked, nothing is known of others either.
            Err(_) => new,
        };
        // What is spilled is nobody else's to read.
        DirBuilder::new().mode(0o700).create(&folder)?;
        Ok(Self { folder, lock_file, _lock: lock })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.folder
    }

    /// Removes the folder and what is in it; what cannot be removed now is left to whoever starts next.
    pub(crate) fn remove(&self) {
        remove(&self.folder, &self.lock_file);
    }
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
