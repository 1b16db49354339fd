//! The control database: what is neither data nor table metadata, such as grants, in SQLite or PostgreSQL.
//!
//! In: statements on rows of text. Out: rows, or how many were changed. What the rows mean is the caller's affair. It has the
//! deadlines and the care about unknown outcomes of the SQL catalog, and connects at its first use.

use std::str::FromStr;

use super::address::Address;
use super::database::{Database, Failure, Statement};
use crate::{Error, Result};

/// The setting with its address.
const SETTING: &str = "control.database";

/// Tables of text in a database of the operator's.
pub struct ControlDatabase {
    service: String,
    database: Database,
}

/// One statement that changes rows, with its `$1`-style parameters.
#[derive(Debug, Clone)]
pub struct ControlChange(Statement);

impl ControlChange {
    /// A statement that is sent as it stands, and its values.
    pub fn new<const N: usize>(sql: &'static str, values: [&str; N]) -> Self {
        Self(Statement::new(sql, values))
    }
}

impl ControlDatabase {
    /// The database at an address, `sqlite:///…` or `postgresql://…`.
    ///
    /// # Errors
    /// `Settings`, if it is no such address.
    pub fn new(uri: &str) -> Result<Self> {
        let wrong = |message: String| Error::Settings { setting: SETTING.to_owned(), message };
        let address = Address::from_str(uri).map_err(wrong)?;
        Ok(Self { service: format!("the control database ({address})"), database: Database::new(&address) })
    }

    /// Creates tables that are not there yet, by `CREATE TABLE IF NOT EXISTS`.
    ///
    /// # Errors
    /// `Unavailable` if the database does not answer, `AccessDenied` or `Settings` if it refuses.
    pub async fn prepare(&self, tables: &[&'static str]) -> Result<()> {
        let create: Vec<Statement> = tables.iter().copied().map(|sql| Statement::new(sql, [])).collect();
        match self.database.execute(&create).await {
            Ok(_) => Ok(()),
            // Two programs may create them at once; PostgreSQL then says so in one of them, whose transaction did nothing.
            Err(Failure::Duplicate) => {
                let again = self.database.execute(&create).await;
                again.map(drop).map_err(|failure| self.explain(failure, "creating its tables"))
            }
            Err(failure) => Err(self.explain(failure, "creating its tables")),
        }
    }

    /// The rows of a query; every column is text. `action` says what it is for, in errors.
    ///
    /// # Errors
    /// `Unavailable` if the database does not answer, `AccessDenied` or `Settings` if it refuses.
    pub async fn fetch(&self, sql: &'static str, action: &str) -> Result<Vec<Vec<Option<String>>>> {
        let rows = self.database.fetch(&Statement::new(sql, [])).await;
        rows.map_err(|failure| self.explain(failure, action))
    }

    /// Runs changes in one transaction; how many rows each changed.
    ///
    /// # Errors
    /// As [`ControlDatabase::fetch`]; the action then says whether it may have taken effect all the same.
    pub async fn execute(&self, changes: Vec<ControlChange>, action: &str) -> Result<Vec<u64>> {
        let statements: Vec<Statement> = changes.into_iter().map(|change| change.0).collect();
        self.database.execute(&statements).await.map_err(|failure| self.explain(failure, action))
    }

    fn explain(&self, failure: Failure, action: &str) -> Error {
        failure.explain(&self.service, action.to_owned(), SETTING)
    }
}

impl std::fmt::Debug for ControlDatabase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ControlDatabase").field("service", &self.service).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTES: &str = "CREATE TABLE IF NOT EXISTS notes (key TEXT NOT NULL, note TEXT, PRIMARY KEY (key))";
    const ADD: &str = "INSERT INTO notes (key, note) VALUES ($1, $2) ON CONFLICT DO NOTHING";

    #[tokio::test]
    async fn rows_come_back_from_a_file_in_a_folder_that_was_not_there() {
        let folder = tempfile::tempdir().unwrap();
        let uri = format!("sqlite://{}/new/control.db", folder.path().display());
        for expected in [1, 0] {
            let database = ControlDatabase::new(&uri).unwrap();
            database.prepare(&[NOTES]).await.unwrap();
            let add = vec![ControlChange::new(ADD, ["a", "x"])];
            assert_eq!(database.execute(add, "adding").await.unwrap(), [expected]);
            let rows = database.fetch("SELECT key, note FROM notes", "reading").await.unwrap();
            assert_eq!(rows, [[Some("a".to_owned()), Some("x".to_owned())]]);
        }
    }

    #[tokio::test]
    async fn a_database_that_is_away_is_said_to_be() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("file"), "").unwrap();
        let uri = format!("sqlite://{}/file/control.db", folder.path().display());
        let error = ControlDatabase::new(&uri).unwrap().fetch("SELECT 1", "reading grants").await.unwrap_err();
        assert!(matches!(&error, Error::Unavailable { .. }), "{error:?}");
        assert!(error.to_string().contains("reading grants"), "{error}");
        let error = ControlDatabase::new("mysql://root:hunter2@db").unwrap_err().to_string();
        assert!(error.contains("control.database") && !error.contains("hunter2"), "{error}");
    }
}
