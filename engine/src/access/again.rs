//! What a query may read, looked at again when it begins to run: its ticket may be older than a REVOKE.
//!
//! A query is planned when its result is announced, and runs when the result is fetched, which may be minutes later. Where grants
//! cannot change without a restart, nothing is looked at. A query that has begun is left alone.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::error::DataFusionError;
use datafusion::physical_plan::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::TryStreamExt;

use super::{Access, AccessControl, Object, Privilege};
use crate::{Engine, Error, Result, Session, TableName};

/// What a planned query reads, and what its caller might do when it was planned.
#[derive(Debug)]
pub(crate) struct ReadRights {
    before: Arc<Access>,
    /// Roles that the caller has besides those that are granted.
    roles: Vec<String>,
    tables: BTreeSet<TableName>,
    /// Whether it reads lists of what its caller saw then, such as `information_schema`.
    reads_lists: bool,
}

impl ReadRights {
    /// Of a query that is planned now. What it reads is a table by the catalog's own name, or none for a list.
    pub(crate) fn new(access: &Arc<Access>, session: &Session, read: Vec<Option<TableName>>) -> Self {
        let reads_lists = read.contains(&None);
        let tables = read.into_iter().flatten().collect();
        Self { before: Arc::clone(access), roles: session.roles().to_vec(), tables, reads_lists }
    }

    /// Refuses what the caller may not read any more.
    async fn check(&self, control: &AccessControl) -> Result<()> {
        let now = control.of_user(self.before.user(), &self.roles).await?;
        if now.is_the_same(&self.before) {
            return Ok(());
        }
        for table in &self.tables {
            if !now.sees_table(table) {
                return Err(Error::not_found("table", table.to_string()));
            }
            now.require(Privilege::Select, Object::Table(table))?;
        }
        match self.reads_lists && !now.includes(&self.before) {
            true => Err(Error::PermissionDenied(format!(
                "a grant of user {} was taken back after the statement was planned, which lists what the user saw then: \
                 run it again",
                now.user()
            ))),
            false => Ok(()),
        }
    }
}

impl Engine {
    /// The same rows, if their reader may still have them when the first is asked for.
    pub(crate) fn if_still_allowed(
        self: &Arc<Self>,
        rights: Option<Arc<ReadRights>>,
        rows: SendableRecordBatchStream,
    ) -> SendableRecordBatchStream {
        let Some(rights) = rights.filter(|_| self.access_control().can_change()) else { return rows };
        let (engine, schema) = (Arc::clone(self), rows.schema());
        let checked = futures::stream::once(async move {
            rights.check(engine.access_control()).await?;
            Ok::<_, DataFusionError>(rows)
        });
        Box::pin(RecordBatchStreamAdapter::new(schema, checked.try_flatten()))
    }
}
