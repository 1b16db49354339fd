//! PostgreSQL: a server that may stop answering at any moment.
//!
//! Every wait has a deadline. A connection whose work did not end well, or was abandoned half-way, is closed and never
//! goes back to the pool, so that a hanging server cannot use the pool up and no open transaction is ever reused.

use std::future::Future;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{Connection, Row as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::database::{CONNECT_TIMEOUT, Failure, Row, Statement, WORK_TIMEOUT, cause};

/// Connections to the server, at most; commits and look-ups are short.
const CONNECTIONS: u32 = 8;
/// How often a read is tried when its connection turns out to be dead.
const READ_ATTEMPTS: usize = 2;
/// How long to look for the reason when there was no connection.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Postgres {
    pool: PgPool,
    host: String,
    port: u16,
}

/// A connection that is closed when dropped, unless its work ended well.
struct Lease(Option<PoolConnection<sqlx::Postgres>>);

impl Lease {
    /// Gives the connection back.
    fn release(mut self) {
        self.0.take();
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(connection) = self.0.take() {
            drop(connection.detach());
        }
    }
}

impl Deref for Lease {
    type Target = sqlx::PgConnection;
    #[allow(clippy::expect_used)]
    fn deref(&self) -> &Self::Target {
        self.0.as_ref().expect("a lease holds its connection until it is released, which consumes it")
    }
}

impl DerefMut for Lease {
    #[allow(clippy::expect_used)]
    fn deref_mut(&mut self) -> &mut Self::Target {
        self.0.as_mut().expect("a lease holds its connection until it is released, which consumes it")
    }
}

impl Postgres {
    pub(super) fn new(options: &PgConnectOptions) -> Self {
        let pool = PgPoolOptions::new()
            .max_connections(CONNECTIONS)
            .acquire_timeout(CONNECT_TIMEOUT)
            .connect_lazy_with(options.clone());
        Self { pool, host: options.get_host().to_owned(), port: options.get_port() }
    }

    async fn lease(&self) -> Result<Lease, Failure> {
        match self.pool.acquire().await {
            Ok(connection) => Ok(Lease(Some(connection))),
            Err(sqlx::Error::PoolTimedOut) => Err(self.why_not().await),
            Err(error) => Err(Failure::NotDone(error)),
        }
    }

    /// The pool only says that it waited for too long. Whether anyone listens there says more.
    async fn why_not(&self) -> Failure {
        match timeout(PROBE_TIMEOUT, TcpStream::connect((self.host.as_str(), self.port))).await {
            Ok(Err(error)) if !self.host.starts_with('/') => Failure::NotDone(sqlx::Error::Io(error)),
            _ => Failure::TimedOut,
        }
    }

    pub(super) async fn fetch(&self, statement: &Statement) -> Result<Vec<Row>, Failure> {
        for _ in 1..READ_ATTEMPTS {
            match Self::fetch_by(self.lease().await?, statement).await {
                Err(Failure::NotDone(sqlx::Error::Io(_) | sqlx::Error::Protocol(_))) => {}
                result => return result,
            }
        }
        Self::fetch_by(self.lease().await?, statement).await
    }

    async fn fetch_by(mut lease: Lease, statement: &Statement) -> Result<Vec<Row>, Failure> {
        let rows = in_time(bind(statement).fetch_all(&mut *lease)).await?;
        lease.release();
        let read = |row: &sqlx::postgres::PgRow| (0..row.len()).map(|column| row.try_get(column)).collect();
        rows.iter().map(read).collect::<Result<_, _>>().map_err(Failure::NotDone)
    }

    pub(super) async fn execute(&self, statements: &[Statement]) -> Result<Vec<u64>, Failure> {
        let mut lease = self.lease().await?;
        let mut transaction = in_time(lease.begin()).await?;
        let mut counts = Vec::with_capacity(statements.len());
        for statement in statements {
            counts.push(in_time(bind(statement).execute(&mut *transaction)).await?.rows_affected());
        }
        // From here on, only the server's word that it committed or rolled back is to be believed.
        match timeout(WORK_TIMEOUT, transaction.commit()).await {
            Ok(Ok(())) => lease.release(),
            Ok(Err(error)) if rolled_back(&error) => return Err(Failure::of_statement(error)),
            Ok(Err(error)) => return Err(Failure::Unknown(cause(error))),
            Err(_) => return Err(Failure::Unknown("no answer to COMMIT in time".into())),
        }
        Ok(counts)
    }
}

/// Work before COMMIT: whatever stops it, nothing was done.
async fn in_time<T>(work: impl Future<Output = sqlx::Result<T>>) -> Result<T, Failure> {
    match timeout(WORK_TIMEOUT, work).await {
        Ok(result) => result.map_err(Failure::of_statement),
        Err(_) => Err(Failure::TimedOut),
    }
}

/// Whether the server's answer to COMMIT says that the transaction was rolled back: integrity violations (class 23) and
/// transaction rollbacks (class 40, but for 40003 `statement_completion_unknown`). A shutdown (class 57) does not.
fn rolled_back(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| code != "40003" && (code.starts_with("23") || code.starts_with("40")))
}

fn bind(statement: &Statement) -> sqlx::query::Query<'static, sqlx::Postgres, sqlx::postgres::PgArguments> {
    let query = sqlx::query(statement.sql);
    statement.values.iter().fold(query, |query, value| query.bind(value.clone()))
}
