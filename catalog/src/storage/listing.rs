//! What lies below a folder, what was never finished included.
//!
//! A store shows whole objects only. A local folder also has files that their writer did not come to rename (`name#1`, as
//! `object_store` calls them): whoever cleans up after a process that died must see these, too. Unfinished multipart uploads are
//! not listed: a bucket's lifecycle rule removes them.

use std::path::Path;
use std::time::SystemTime;

use futures::TryStreamExt;

use super::Storage;
use super::location::{Location, Scheme};
use crate::{Error, Result};

/// An object, or a file that was not finished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) location: String,
    pub(crate) modified: SystemTime,
}

impl Storage {
    /// All objects and unfinished files below a folder, in no order; none if there is no such folder.
    pub(crate) async fn list_all(&self, folder: &str) -> Result<Vec<Listed>> {
        let folder = folder.trim_end_matches('/');
        let object = self.object(folder)?;
        if object.parts.scheme == Scheme::File {
            let (root, folder) = (Path::new("/").join(object.key().as_ref()), folder.to_owned());
            return tokio::task::spawn_blocking(move || Ok(local(&root, &folder)))
                .await
                .map_err(|error| Error::Internal(format!("listing a folder stopped: {error}")))?;
        }
        let found = object.explain("list", object.store.list(Some(object.key())).try_collect::<Vec<_>>().await)?;
        let key = object.key().as_ref();
        let listed = found.iter().filter_map(|found| {
            let below = found.location.as_ref().strip_prefix(key)?.trim_start_matches('/');
            Some(Listed { location: format!("{folder}/{below}"), modified: found.last_modified.into() })
        });
        Ok(listed.collect())
    }

    /// Deletes what was listed.
    pub(crate) async fn delete_listed(&self, location: &str) -> Result<()> {
        let parts = Location::parse(location)?;
        let is_unfinished = location.rsplit('/').next().is_some_and(|name| name.contains('#'));
        if parts.scheme != Scheme::File || !is_unfinished {
            return self.delete(location).await;
        }
        self.opened.confinement.check(location, &parts.key)?;
        match tokio::fs::remove_file(Path::new("/").join(parts.key.as_ref())).await {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::Unavailable {
                service: "the local file system".to_owned(),
                action: format!("delete {location}"),
                source: error.into(),
            }),
            _ => Ok(()),
        }
    }
}

/// The files below a local folder, links not followed.
fn local(root: &Path, folder: &str) -> Vec<Listed> {
    let mut listed = Vec::new();
    let mut waiting = vec![(root.to_path_buf(), folder.to_owned())];
    while let Some((path, location)) = waiting.pop() {
        // What is gone by now, or may not be read, is not ours to remove.
        for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
            let (Ok(metadata), Ok(name)) = (entry.metadata(), entry.file_name().into_string()) else { continue };
            let location = format!("{location}/{name}");
            match metadata.is_dir() {
                true => waiting.push((entry.path(), location)),
                false => {
                    listed.push(Listed { location, modified: metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH) })
                }
            }
        }
    }
    listed
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use bytes::Bytes;

    use super::*;

    #[tokio::test]
    async fn unfinished_files_are_listed_and_deleted() {
        let folder = tempfile::tempdir().unwrap();
        let warehouse = folder.path().to_str().unwrap().to_owned();
        let storage = Storage::new(&HashMap::from([("warehouse".to_owned(), warehouse.clone())])).unwrap();
        storage.write(&format!("{warehouse}/t/data/a.parquet"), Bytes::from_static(b"whole")).await.unwrap();
        std::fs::write(folder.path().join("t/data/b.parquet#1"), b"half").unwrap();
        let mut names: Vec<String> =
            storage.list_all(&warehouse).await.unwrap().into_iter().map(|listed| listed.location).collect();
        names.sort();
        assert_eq!(names, ["a.parquet", "b.parquet#1"].map(|name| format!("{warehouse}/t/data/{name}")));
        for name in &names {
            storage.delete_listed(name).await.unwrap();
            storage.delete_listed(name).await.unwrap();
        }
        assert_eq!(storage.list_all(&warehouse).await.unwrap(), []);
        assert_eq!(storage.list_all(&format!("{warehouse}/none")).await.unwrap(), []);
    }
}
