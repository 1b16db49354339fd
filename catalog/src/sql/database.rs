//! One interface over the two databases: read rows of text, or change rows in one transaction.
//!
//! The point of this file is [`Failure`]: whether a change that failed can have happened all the same.

use std::time::Duration;

use super::address::Address;
use super::postgres::Postgres;
use super::sqlite::Sqlite;
use crate::error::Source;
use crate::{Error, Result};

/// How long getting a connection may take, a new one included.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long one read or one transaction may take.
pub(super) const WORK_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a server may take to carry out what a client that is gone has sent.
const POSTGRES_SETTLES_AFTER: Duration = Duration::from_secs(60);

/// A statement with `$1`-style parameters, all text; both databases read them so.
#[derive(Debug, Clone)]
pub(super) struct Statement {
    pub(super) sql: &'static str,
    pub(super) values: Vec<String>,
}

impl Statement {
    pub(super) fn new<const N: usize>(sql: &'static str, values: [&str; N]) -> Self {
        Self { sql, values: values.map(str::to_owned).to_vec() }
    }
}

/// A row; every column that we read is text or null.
pub(super) type Row = Vec<Option<String>>;

/// Why reading or changing rows failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// Nothing was changed: COMMIT was not sent, or the database said that it rolled back.
    NotDone(sqlx::Error),
    /// No answer in time, before COMMIT was sent: nothing was changed.
    TimedOut,
    /// COMMIT was sent, and no answer came that says how it ended.
    Unknown(Source),
    /// A row of this key is there already. Nothing was changed.
    Duplicate,
}

/// A pool of connections to one of the two.
#[derive(Debug)]
pub(super) enum Database {
    Sqlite(Sqlite),
    Postgres(Postgres),
}

impl Database {
    pub(super) fn new(address: &Address) -> Self {
        match address {
            Address::SqliteFile(path) => Self::Sqlite(Sqlite::file(path)),
            Address::SqliteMemory => Self::Sqlite(Sqlite::memory()),
            Address::Postgres(options) => Self::Postgres(Postgres::new(options)),
        }
    }

    /// The rows of a query.
    pub(super) async fn fetch(&self, statement: &Statement) -> Result<Vec<Row>, Failure> {
        match self {
            Self::Sqlite(sqlite) => sqlite.fetch(statement).await,
            Self::Postgres(postgres) => postgres.fetch(statement).await,
        }
    }

    /// Runs the statements in one transaction; how many rows each changed.
    pub(super) async fn execute(&self, statements: &[Statement]) -> Result<Vec<u64>, Failure> {
        match self {
            Self::Sqlite(sqlite) => sqlite.execute(statements).await,
            Self::Postgres(postgres) => postgres.execute(statements).await,
        }
    }

    /// How long after its process has died a transaction may still be committed: SQLite's locks go with the process, a server may
    /// have a request that it has not read yet.
    pub(super) fn settles_after(&self) -> Duration {
        match self {
            Self::Sqlite(_) => Duration::ZERO,
            Self::Postgres(_) => POSTGRES_SETTLES_AFTER,
        }
    }

    /// A query for the columns of `iceberg_tables`, none if there is no such table.
    pub(super) fn columns(&self) -> Statement {
        match self {
            Self::Sqlite(_) => Statement::new("SELECT name FROM pragma_table_info('iceberg_tables')", []),
            Self::Postgres(_) => Statement::new(
                "SELECT column_name::text FROM information_schema.columns \
                 WHERE table_name = 'iceberg_tables' AND table_schema = ANY (current_schemas(false)::text[])",
                [],
            ),
        }
    }
}

impl Failure {
    /// A statement's error, before COMMIT was sent.
    pub(super) fn of_statement(error: sqlx::Error) -> Self {
        match error.as_database_error() {
            Some(database) if database.is_unique_violation() => Self::Duplicate,
            _ => Self::NotDone(error),
        }
    }

    /// This failure as an error: of reads, and of changes that are the same when done twice.
    pub(super) fn explain(self, service: &str, action: String, uri_setting: &str) -> Error {
        let service = service.to_owned();
        match self {
            Self::TimedOut => Error::Unavailable { service, action, source: "no answer in time".into() },
            Self::Unknown(source) => {
                Error::Unavailable { service, action: format!("{action}; it may have taken effect"), source }
            }
            Self::Duplicate => Error::Internal(format!("{service}: {action}: a row is there already")),
            Self::NotDone(error) => {
                let setting = |message: String| Error::Settings { setting: uri_setting.to_owned(), message };
                match error.as_database_error().and_then(|database| database.code()).as_deref() {
                    // PostgreSQL: https://www.postgresql.org/docs/current/errcodes-appendix.html
                    Some("28000" | "28P01" | "42501") => {
                        Error::AccessDenied { service, action, source: Some(cause(error)) }
                    }
                    Some("3D000") => setting(format!("{service} has no such database: create it, or name another")),
                    // SQLite's result codes; extended ones have the primary code in their low byte.
                    Some(code) if sqlite_code(code, 14) => {
                        setting(format!("{service} cannot be opened: {}", cause(error)))
                    }
                    Some(code) if sqlite_code(code, 26) => setting(format!("{service} is not a SQLite database")),
                    Some(code) if sqlite_code(code, 8) => {
                        Error::AccessDenied { service, action, source: Some(cause(error)) }
                    }
                    _ => Error::Unavailable { service, action, source: cause(error) },
                }
            }
        }
    }
}

/// What is below sqlx's error, whose own text repeats it.
pub(super) fn cause(error: sqlx::Error) -> Source {
    match error {
        sqlx::Error::Io(error) => Box::new(error),
        sqlx::Error::Database(error) => error.into_error(),
        other => Box::new(other),
    }
}

/// Whether a code is SQLite's primary result code `primary`, possibly extended. PostgreSQL's have five characters.
pub(super) fn sqlite_code(code: &str, primary: u32) -> bool {
    code.len() < 5 && code.parse::<u32>().is_ok_and(|code| code & 0xff == primary)
}
