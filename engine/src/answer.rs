//! What a statement gives back: rows as they come, or word that it is done.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::physical_plan::SendableRecordBatchStream;
use futures::{Stream, StreamExt};

use crate::query::{QueryContext, QueryStats};
use crate::{Error, Result};

/// What a statement gives back.
#[derive(Debug)]
pub enum Answer {
    /// Rows of a query, `SHOW`, `DESCRIBE` or `EXPLAIN`.
    Rows(RowStream),
    /// DDL, DML, `SET` or `USE` ran to its end.
    Done(Completion),
}

/// Word that an update is done.
#[derive(Debug, Clone)]
pub struct Completion {
    /// The query's id.
    pub query_id: String,
    /// Rows written, where the statement writes rows.
    pub rows: Option<u64>,
    /// What was done, in a few words, such as `CREATE TABLE`.
    pub tag: String,
}

/// What a statement is, learned without running it.
#[derive(Debug, Clone)]
pub struct Description {
    /// Whether it gives rows.
    pub kind: StatementKind,
    /// The columns it gives; empty for an update.
    pub schema: SchemaRef,
    /// The parameters it takes, in order; empty if none.
    pub parameters: SchemaRef,
}

impl Description {
    /// An update: no columns, no parameters.
    pub fn update() -> Self {
        let empty = Arc::new(Schema::empty());
        Self { kind: StatementKind::Update, schema: Arc::clone(&empty), parameters: empty }
    }
}

/// Whether a statement gives rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatementKind {
    /// Gives rows; runs when they are asked for.
    Query,
    /// Gives no rows; runs at once, to its end.
    Update,
}

/// The rows of one query. Nothing runs before the first poll; dropping it stops the query.
pub struct RowStream {
    schema: SchemaRef,
    context: Arc<QueryContext>,
    batches: SendableRecordBatchStream,
    begun: bool,
    done: bool,
}

impl RowStream {
    pub(crate) fn new(context: Arc<QueryContext>, batches: SendableRecordBatchStream) -> Self {
        Self { schema: batches.schema(), context, batches, begun: false, done: false }
    }

    /// Rows that are in memory already.
    pub(crate) fn from_batches(context: Arc<QueryContext>, schema: SchemaRef, batches: Vec<RecordBatch>) -> Self {
        let stream = futures::stream::iter(batches.into_iter().map(Ok));
        let adapter = datafusion::physical_plan::stream::RecordBatchStreamAdapter::new(schema, stream);
        Self::new(context, Box::pin(adapter))
    }

    /// The columns.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// The query's id, as logs and errors name it.
    pub fn query_id(&self) -> &str {
        self.context.id()
    }

    /// What the query has used so far.
    pub fn stats(&self) -> QueryStats {
        self.context.stats()
    }

    /// A handle on the statistics that outlives the stream.
    pub fn context(&self) -> Arc<QueryContext> {
        Arc::clone(&self.context)
    }

    /// All rows, in memory. For small results.
    pub async fn collect(mut self) -> Result<Vec<RecordBatch>> {
        let mut batches = Vec::new();
        while let Some(batch) = self.next().await {
            batches.push(batch?);
        }
        Ok(batches)
    }
}

impl std::fmt::Debug for RowStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RowStream").field("query_id", &self.query_id()).field("schema", &self.schema).finish()
    }
}

impl Stream for RowStream {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.done {
            return Poll::Ready(None);
        }
        if !self.begun {
            self.begun = true;
            self.context.becomes("RUNNING");
        }
        let polled = self.batches.poll_next_unpin(cx);
        let polled =
            polled.map(|item| item.map(|result| result.map_err(|error| self.context.explain(Error::from(error)))));
        match &polled {
            Poll::Ready(Some(Ok(batch))) => self.context.count_rows(batch.num_rows()),
            Poll::Ready(Some(Err(error))) => self.end("FAILED", Some(error.to_string())),
            Poll::Ready(None) => self.end("FINISHED", None),
            Poll::Pending => {}
        }
        polled
    }
}

impl RowStream {
    fn end(&mut self, state: &'static str, error: Option<String>) {
        self.done = true;
        self.context.end(state, error);
    }
}

impl Drop for RowStream {
    fn drop(&mut self) {
        self.context.end("CANCELLED", None);
    }
}
