//! Which local files a catalog may touch: those in its warehouse folder, and no others.
//!
//! A metadata file is data that others wrote: a `file:` location in it must not name any file of this host.

use std::path::{Path, PathBuf};

use object_store::path::Path as Key;

use crate::{Error, Result};

/// The folder that local files are confined to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Confinement {
    root: Option<PathBuf>,
}

impl Confinement {
    /// From the `warehouse` property, if that is a local folder.
    pub(super) fn new(warehouse: Option<&str>) -> Result<Self> {
        let Some(warehouse) = warehouse else { return Ok(Self { root: None }) };
        let path = match warehouse.strip_prefix("file:") {
            Some(rest) => rest.strip_prefix("//localhost/").map_or_else(|| without_slashes(rest), |p| format!("/{p}")),
            None if warehouse.starts_with('/') => warehouse.to_string(),
            None => return Ok(Self { root: None }),
        };
        let path = PathBuf::from(path);
        let plain = path.components().all(|part| !matches!(part, std::path::Component::ParentDir));
        if !path.is_absolute() || !plain || path.parent().is_none() {
            return Err(Error::Settings {
                setting: "warehouse".to_string(),
                message: format!("{warehouse:?} is not an absolute folder below the root, such as file:///srv/lake"),
            });
        }
        Ok(Self { root: Some(path) })
    }

    /// Fails unless the file is in the warehouse folder, by its name and after following links.
    pub(super) fn check(&self, location: &str, key: &Key) -> Result<()> {
        let Some(root) = &self.root else {
            return Err(Error::Settings {
                setting: "warehouse".to_string(),
                message: format!(
                    "{location} is a local file, and local files are only read in a warehouse that is a folder"
                ),
            });
        };
        let path = Path::new("/").join(key.as_ref());
        let real_root = std::fs::canonicalize(root).ok();
        let inside = path.starts_with(root) || real_root.as_ref().is_some_and(|real| path.starts_with(real));
        let real_inside = match (&real_root, deepest_existing(&path)) {
            (Some(real_root), Some(real)) => real.starts_with(real_root),
            // Without the folder there is nothing in it to follow.
            _ => true,
        };
        if inside && real_inside {
            return Ok(());
        }
        Err(Error::invalid(format!(
            "file {location} is outside the warehouse folder {}, and is not touched",
            root.display()
        )))
    }
}

fn without_slashes(rest: &str) -> String {
    match rest.strip_prefix("//") {
        Some(path) => path.to_string(),
        None => rest.to_string(),
    }
}

/// What the longest existing part of a path really is, links followed.
fn deepest_existing(path: &Path) -> Option<PathBuf> {
    path.ancestors().find_map(|part| std::fs::canonicalize(part).ok())
}
