//! One session on a server, as the sqllogictest crate wants it.
//!
//! In: SQL. Out: rendered rows, or the count of an update. The file's schema is created with the session and dropped at its end.

use async_trait::async_trait;
use polynya_bench::client::{Auth, Client, Error as ClientError, Outcome};
use sqllogictest::{AsyncDB, DBOutput};

use crate::columns::Column;
use crate::render::render_cell;

/// A session in a schema of its own.
#[derive(Debug)]
pub struct Database {
    client: Client,
    schema: String,
}

/// Why a statement failed: the server's message, or ours about its answer.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// The server refused the statement, failed in it, or could not be reached.
    #[error("{}", .0.full_message())]
    Client(#[from] ClientError),
    /// The answer has a value that cannot be written as text.
    #[error("the answer cannot be written as text")]
    Render(#[from] arrow::error::ArrowError),
}

impl Database {
    /// Opens a session and makes a fresh schema its current one.
    ///
    /// # Errors
    /// When the server cannot be reached, or refuses to create the schema.
    pub async fn open(url: &str, schema: &str) -> Result<Self, DatabaseError> {
        let client = Client::connect(url, &Auth::default()).await?;
        let database = Self { client, schema: schema.to_string() };
        database.client.execute_update(&format!("CREATE SCHEMA IF NOT EXISTS {schema}")).await?;
        database.client.execute_update(&format!("USE {schema}")).await?;
        Ok(database)
    }

    /// Drops the schema with the tables left in it. For servers that outlive the test.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn drop_schema(&self) -> Result<(), DatabaseError> {
        self.client.execute_update(&format!("DROP SCHEMA IF EXISTS {} CASCADE", self.schema)).await?;
        Ok(())
    }
}

#[async_trait]
impl AsyncDB for Database {
    type Error = DatabaseError;
    type ColumnType = Column;

    async fn run(&mut self, sql: &str) -> Result<DBOutput<Column>, DatabaseError> {
        let stream = match self.client.execute(sql).await? {
            Outcome::Updated(count) => return Ok(DBOutput::StatementComplete(count.unwrap_or_default())),
            Outcome::Rows(stream) => stream,
        };
        let result = stream.read_all().await?;
        let types = result.schema.fields().iter().map(|field| Column::of(field.data_type())).collect();
        let mut rows = Vec::with_capacity(result.rows());
        for batch in &result.batches {
            for row in 0..batch.num_rows() {
                rows.push(batch.columns().iter().map(|column| render_cell(column, row)).collect::<Result<_, _>>()?);
            }
        }
        Ok(DBOutput::Rows { types, rows })
    }

    async fn shutdown(&mut self) {}

    fn engine_name(&self) -> &str {
        "polynya"
    }

    async fn sleep(duration: std::time::Duration) {
        tokio::time::sleep(duration).await;
    }

    fn error_sql_state(error: &DatabaseError) -> Option<String> {
        match error {
            DatabaseError::Client(ClientError::Statement { sqlstate, .. }) => sqlstate.clone(),
            _ => None,
        }
    }
}
