//! SQLite: one file, shared with other processes, or a database in memory.
//!
//! Its journal mode is left as it is found, since the file may be another program's. Writers begin with the write lock
//! (`BEGIN IMMEDIATE`), so that waiting for it happens under the busy timeout and never ends in a deadlock.

use std::path::Path;

use sqlx::sqlite::{SqliteConnectOptions, SqlitePool, SqlitePoolOptions};
use sqlx::{ConnectOptions, Row as _};
use tokio::sync::OnceCell;

use super::database::{CONNECT_TIMEOUT, Failure, Row, Statement, WORK_TIMEOUT, cause, sqlite_code};

/// Connections to one file.
const CONNECTIONS: u32 = 4;

#[derive(Debug)]
pub(super) struct Sqlite {
    pool: SqlitePool,
    /// A folder that must be there before the file is opened for the first time.
    folder: Option<std::path::PathBuf>,
    ready: OnceCell<()>,
}

impl Sqlite {
    pub(super) fn file(path: &Path) -> Self {
        let options = SqliteConnectOptions::new().filename(path).create_if_missing(true).busy_timeout(WORK_TIMEOUT);
        let pool = SqlitePoolOptions::new()
            .max_connections(CONNECTIONS)
            .acquire_timeout(CONNECT_TIMEOUT)
            .connect_lazy_with(options.disable_statement_logging());
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).map(Path::to_owned);
        Self { pool, folder, ready: OnceCell::new() }
    }

    pub(super) fn memory() -> Self {
        // The database lives as long as its one connection: it must never be closed for being idle or old.
        let pool = SqlitePoolOptions::new()
            .max_connections(1)
            .acquire_timeout(CONNECT_TIMEOUT)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_lazy_with(SqliteConnectOptions::new().in_memory(true).disable_statement_logging());
        Self { pool, folder: None, ready: OnceCell::new() }
    }

    async fn pool(&self) -> Result<&SqlitePool, Failure> {
        self.ready
            .get_or_try_init(async || match &self.folder {
                Some(folder) => tokio::fs::create_dir_all(folder).await,
                None => Ok(()),
            })
            .await
            .map_err(|error| Failure::NotDone(sqlx::Error::Io(error)))?;
        Ok(&self.pool)
    }

    pub(super) async fn fetch(&self, statement: &Statement) -> Result<Vec<Row>, Failure> {
        let rows = bind(statement).fetch_all(self.pool().await?).await.map_err(Failure::NotDone)?;
        let read = |row: &sqlx::sqlite::SqliteRow| (0..row.len()).map(|column| row.try_get(column)).collect();
        rows.iter().map(read).collect::<Result<_, _>>().map_err(Failure::NotDone)
    }

    pub(super) async fn execute(&self, statements: &[Statement]) -> Result<Vec<u64>, Failure> {
        let mut transaction = self.pool().await?.begin_with("BEGIN IMMEDIATE").await.map_err(Failure::NotDone)?;
        let mut counts = Vec::with_capacity(statements.len());
        for statement in statements {
            let done = bind(statement).execute(&mut *transaction).await.map_err(Failure::of_statement)?;
            counts.push(done.rows_affected());
        }
        transaction.commit().await.map_err(|error| match error.as_database_error().and_then(|error| error.code()) {
            // Busy (a reader kept its lock for too long): the transaction is still open, and dropping it rolls back.
            Some(code) if sqlite_code(&code, 5) => Failure::NotDone(error),
            _ => Failure::Unknown(cause(error)),
        })?;
        Ok(counts)
    }
}

fn bind(statement: &Statement) -> sqlx::query::Query<'static, sqlx::Sqlite, sqlx::sqlite::SqliteArguments> {
    let query = sqlx::query(statement.sql);
    statement.values.iter().fold(query, |query, value| query.bind(value.clone()))
}
