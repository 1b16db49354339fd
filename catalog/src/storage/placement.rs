//! Where the files of a new table or schema may go, if whoever creates it says so.
//!
//! In: locations in properties. Out: an error that names the property, unless the location is in a store of the kind that the
//! catalog's warehouse is in, and, where that is a local folder, inside it. The server writes with credentials of its own: what
//! went into another kind of store, or into this process's memory, nobody would look for there.

use std::collections::HashMap;

use super::Storage;
use super::location::{Location, Scheme, shown};
use crate::{Error, NewTable, Result};

/// The property of a table, and of a schema, that is the folder for all its files.
const LOCATION: &str = "location";
/// Properties of a table that are folders for some of its files.
const FOLDERS: [&str; 4] =
    ["write.data.path", "write.metadata.path", "write.folder-storage.path", "write.object-storage.path"];

/// Whether a property of a table or a schema says where files go; by its name, so that those of other engines are among them.
pub fn is_placement(property: &str) -> bool {
    let property = property.to_ascii_lowercase();
    let last_word = property.rsplit(['.', '-', '_']).next();
    // What is said about one column ends with the column's name.
    matches!(last_word, Some("path" | "location")) && !property.contains(".column.")
}

/// Refuses a table whose files would go where the catalog has none.
///
/// # Errors
/// `Invalid` names the property.
pub(crate) fn check_table(storage: &Storage, new: &NewTable) -> Result<()> {
    let location = new.location.iter().map(|location| (LOCATION, location));
    let folders = FOLDERS.iter().filter_map(|property| Some((*property, new.properties.get(*property)?)));
    location.chain(folders).try_for_each(|(property, location)| storage.check_placement(property, location))
}

/// The same for a schema, whose tables go below its location.
pub(crate) fn check_namespace(storage: &Storage, properties: &HashMap<String, String>) -> Result<()> {
    properties.get(LOCATION).map_or(Ok(()), |location| storage.check_placement(LOCATION, location))
}

/// Whether two folders are the same, or one of them holds the other.
pub(crate) fn overlap(one: &str, other: &str) -> bool {
    let (Ok(one), Ok(other)) = (parse(one), parse(other)) else { return false };
    let store = |location: &Location| (location.scheme, location.bucket.clone(), location.host.clone());
    store(&one) == store(&other) && (one.key.prefix_matches(&other.key) || other.key.prefix_matches(&one.key))
}

fn parse(folder: &str) -> Result<Location> {
    Location::parse(folder.trim_end_matches('/'))
}

impl Storage {
    fn check_placement(&self, property: &str, location: &str) -> Result<()> {
        let warehouse = self.warehouse();
        let next = match warehouse {
            Some((text, _)) => format!("choose a folder in {}, or leave the property out", shown(text)),
            None => "choose a folder in a bucket of the catalog, or leave the property out".to_owned(),
        };
        let refused = |why: &str, source: Option<Error>| Error::Invalid {
            message: format!("property {property} = '{}' {why}: {next}", shown(location)),
            source: source.map(Into::into),
        };
        let parts = parse(location).map_err(|error| refused("names no place for files", Some(error)))?;
        let expected = warehouse.as_ref().map(|(_, warehouse)| warehouse.scheme);
        match (parts.scheme, expected) {
            (Scheme::Memory, None) => Err(refused("is in memory, where the files would be lost", None)),
            (scheme, Some(expected)) if scheme != expected => {
                Err(refused("is in another kind of store than the catalog's warehouse", None))
            }
            (Scheme::File, _) => {
                let inside = self.opened.confinement.check(location, &parts.key);
                inside.map_err(|error| refused("is not in the catalog's warehouse", Some(error)))
            }
            _ => Ok(()),
        }
    }

    /// Refuses memory to a catalog whose files are elsewhere: a property of a table, whoever wrote it, must not lose rows.
    pub(super) fn check_memory(&self, location: &str) -> Result<()> {
        let elsewhere = self.opened.properties.get(&["warehouse"]).is_some() && !self.is_memory();
        match elsewhere {
            true => Err(Error::invalid(format!(
                "{location} is in memory, and the files of this catalog are not: they would be lost"
            ))),
            false => Ok(()),
        }
    }

    /// The warehouse, if it is a location: that of a REST catalog may be a mere name.
    fn warehouse(&self) -> Option<(&str, Location)> {
        let text = self.opened.properties.get(&["warehouse"])?;
        parse(text).ok().map(|location| (text, location))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(warehouse: Option<&str>, location: &str) -> Option<String> {
        let properties = warehouse.map(|warehouse| ("warehouse".to_owned(), warehouse.to_owned()));
        let storage = Storage::new(&properties.into_iter().collect()).unwrap();
        let refused = storage.check_placement("write.data.path", location).err()?.to_string();
        assert!(
            refused.contains("property write.data.path") && refused.contains("leave the property out"),
            "{refused}"
        );
        Some(refused)
    }

    #[test]
    fn files_go_into_the_kind_of_store_that_the_warehouse_is_in() {
        for (warehouse, location) in [
            (Some("s3://b/lake"), "s3://b/lake/x/"),
            (Some("s3://b/lake"), "s3a://other/x"),
            (Some("memory://warehouse"), "memory:///x"),
            (Some("a_name_of_the_service"), "s3://b/x"),
            (None, "gs://b/x"),
        ] {
            assert_eq!(refusal(warehouse, location), None, "{location}");
        }
        for (warehouse, location) in [
            (Some("s3://b/lake"), "gs://b/x"),
            (Some("s3://b/lake"), "memory://x"),
            (Some("s3://b/lake"), "/etc"),
            (Some("s3://b/lake"), "file:///etc"),
            (Some("s3://b/lake"), "s3://b/lake/../x"),
            (Some("s3://b/lake"), "hdfs://b/x"),
            (Some("s3://b/lake"), "x"),
            (Some("s3://b/lake"), ""),
            (Some("memory://warehouse"), "s3://b/x"),
            (Some("a_name_of_the_service"), "memory://x"),
            (Some("a_name_of_the_service"), "/etc"),
            (None, "memory:/x"),
        ] {
            assert!(refusal(warehouse, location).is_some(), "{location}");
        }
    }

    #[test]
    fn local_files_stay_in_the_warehouse_also_through_links() {
        let folder = tempfile::tempdir().unwrap();
        let lake = folder.path().join("lake");
        std::fs::create_dir(&lake).unwrap();
        std::os::unix::fs::symlink(folder.path(), lake.join("link")).unwrap();
        let warehouse = lake.to_str().unwrap();
        for inside in ["/x", "/x/y/", ""] {
            assert_eq!(refusal(Some(warehouse), &format!("{warehouse}{inside}")), None, "{inside}");
            assert_eq!(refusal(Some(warehouse), &format!("file://{warehouse}{inside}")), None, "{inside}");
        }
        for outside in ["/../other", "/link/x", "house/x", "/./x"] {
            assert!(refusal(Some(warehouse), &format!("{warehouse}{outside}")).is_some(), "{outside}");
        }
        assert!(refusal(Some(warehouse), "memory://x").is_some());
        assert!(refusal(Some(warehouse), "s3://b/x").is_some());
    }

    #[test]
    fn folders_overlap_by_whole_names() {
        for (one, other) in [
            ("s3://b/s/t", "s3a://b/s/t/"),
            ("s3://b/s", "s3://b/s/t"),
            ("s3://b/s/t", "s3://b"),
            ("/w/t", "file:///w/t/data"),
        ] {
            assert!(overlap(one, other) && overlap(other, one), "{one} {other}");
        }
        for (one, other) in [("s3://b/s/t", "s3://b/s/t2"), ("s3://b/t", "s3://c/t"), ("s3://b/t", "gs://b/t")] {
            assert!(!overlap(one, other) && !overlap(other, one), "{one} {other}");
        }
    }

    #[test]
    fn properties_that_place_files_are_known_by_their_names() {
        for property in [
            "location",
            "LOCATION",
            "write.data.path",
            "write.metadata.path",
            "write.object-storage.path",
            "default-base-location",
        ] {
            assert!(is_placement(property), "{property}");
        }
        for property in [
            "comment",
            "write.metadata.metrics.column.path",
            "write.parquet.bloom-filter-enabled.column.location",
            "write.location-provider.impl",
        ] {
            assert!(!is_placement(property), "{property}");
        }
    }
}
