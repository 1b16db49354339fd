//! What is noted of one change: enough to find all that it may have left.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use iceberg::TableIdent;

use super::process::Process;
use crate::commit::CommitIdentity;
use crate::{Error, Result};

/// The form of notes that this program writes, and the only one that it reads.
const VERSION: u32 = 1;

/// A note, as it is stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Record {
    version: u32,
    /// The catalog that the change is made in: several may share a warehouse.
    pub(super) catalog: String,
    /// Which log of which process made it.
    pub(super) log_id: Uuid,
    pub(super) process: Process,
    /// The statement's, for those who look.
    pub(super) query_id: String,
    /// Milliseconds since 1970.
    pub(super) began_ms: i64,
    pub(super) phase: Phase,
    pub(super) change: Change,
}

/// How far a change is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Phase {
    /// The catalog was not asked for anything.
    Writing,
    /// The catalog may have been asked.
    Committing,
}

/// A change that takes several steps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Change {
    /// Files of one snapshot, and the commit.
    Write {
        /// The table's name.
        table: TableIdent,
        /// The table's UUID.
        uuid: Uuid,
        /// Folders that the files go to.
        folders: Vec<String>,
        /// In the names of all files.
        change_id: Uuid,
        /// The snapshot to be.
        snapshot_id: i64,
        /// Whether the table is there only because of this change.
        creates: Creates,
    },
    /// A table's files are deleted once it is dropped.
    Purge {
        /// The table's name.
        table: TableIdent,
        /// The table's UUID.
        uuid: Uuid,
        /// Its last metadata file, which is deleted last.
        metadata_location: String,
    },
}

/// What a change does for there to be a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Creates {
    /// Nothing: it was there before.
    Nothing,
    /// The table appears with the commit.
    WithCommit,
    /// The table was created for this change, and is nothing without it.
    Before,
}

/// The property of a table that is created empty to be filled by a change: it says by which.
pub(super) const CREATED_FOR: &str = "polynya.created-for";

/// The property that tells a table that is created empty for a change from others of its name.
pub fn created_for(identity: &CommitIdentity) -> (&'static str, String) {
    (CREATED_FOR, identity.change_id.to_string())
}

impl Record {
    pub(super) fn new(catalog: &str, log_id: Uuid, query_id: &str, change: Change) -> Self {
        Self {
            version: VERSION,
            catalog: catalog.to_owned(),
            log_id,
            process: Process::this(),
            query_id: query_id.to_owned(),
            began_ms: chrono::Utc::now().timestamp_millis(),
            phase: Phase::Writing,
            change,
        }
    }

    pub(super) fn encode(&self) -> Result<bytes::Bytes> {
        let json = serde_json::to_vec(self).map_err(|error| Error::Internal(format!("a note of a change: {error}")))?;
        Ok(json.into())
    }

    /// Reads a note; none if another version of this program wrote it in another form: that program will find it.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice::<Self>(bytes).ok().filter(|record| record.version == VERSION)
    }
}
