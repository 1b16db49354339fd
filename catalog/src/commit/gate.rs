//! Who may still stop a commit, and until when.

use async_trait::async_trait;
use iceberg::spec::TableMetadata;
use uuid::Uuid;

use crate::Result;

/// Asked before the catalog is. Until then a commit can be given up, and nothing has happened; from then on it is carried to its end.
#[async_trait]
pub trait CommitGate: std::fmt::Debug + Send + Sync {
    /// The catalog is about to be asked.
    ///
    /// # Errors
    /// If nobody wants the commit any more: it has then certainly failed.
    async fn begin(&self) -> Result<()>;

    /// Another writer was first: nothing has happened, and the commit can be given up again until the next attempt.
    fn lost(&self);
}

/// What the files of one commit are called by, chosen before the first of them is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommitIdentity {
    /// In the names of all files.
    pub change_id: Uuid,
    /// Of the new snapshot.
    pub snapshot_id: i64,
}

impl CommitIdentity {
    /// An identity that no other commit has: random, with 63 bits for the snapshot.
    pub fn random() -> Self {
        Self { change_id: Uuid::now_v7(), snapshot_id: random_snapshot_id() }
    }

    /// One that no commit to this table has had.
    pub(super) fn new_to(metadata: &TableMetadata) -> Self {
        loop {
            let identity = Self::random();
            if metadata.snapshot_by_id(identity.snapshot_id).is_none() {
                return identity;
            }
        }
    }
}

/// A random positive id.
fn random_snapshot_id() -> i64 {
    let (high, low) = Uuid::new_v4().as_u64_pair();
    (((high ^ low) & i64::MAX as u64) as i64).max(1)
}
