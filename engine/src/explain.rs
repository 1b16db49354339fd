//! What `EXPLAIN` adds to DataFusion's plans: what planning left out, and, with `ANALYZE`, what the query asked of the store.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytesize::ByteSize;
use datafusion::arrow::array::{ArrayRef, RecordBatch, StringArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::DataFusionError;
use datafusion::physical_plan::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::sql::parser::Statement as DFStatement;
use datafusion::sql::sqlparser::ast::Statement as SqlStatement;
use futures::StreamExt;

use crate::io::IoCounts;
use crate::query::QueryContext;

/// Which rows of ours an answer ends with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Report {
    /// An ordinary query: none.
    None,
    /// `EXPLAIN`: what planning considered and pruned.
    Planning,
    /// `EXPLAIN ANALYZE`: that, and requests and bytes.
    Execution,
}

impl Report {
    /// The report that a statement asks for.
    pub(crate) fn wanted(statement: &DFStatement) -> Self {
        let analyze = match statement {
            DFStatement::Explain(explain) => explain.options.analyze,
            DFStatement::Statement(statement) => match statement.as_ref() {
                SqlStatement::Explain { analyze, .. } => *analyze,
                _ => return Self::None,
            },
            _ => return Self::None,
        };
        if analyze { Self::Execution } else { Self::Planning }
    }
}

/// Ends an `EXPLAIN` with our rows. They are made last, when the counts are complete.
pub(crate) fn append_report(
    stream: SendableRecordBatchStream,
    report: Report,
    query: &Arc<QueryContext>,
) -> SendableRecordBatchStream {
    if report == Report::None {
        return stream;
    }
    let schema = stream.schema();
    let (query, rows_schema) = (Arc::clone(query), Arc::clone(&schema));
    let ours = futures::stream::once(async move { rows(&rows_schema, &lines(&query, report)) });
    Box::pin(RecordBatchStreamAdapter::new(schema, stream.chain(ours)))
}

fn lines(query: &QueryContext, report: Report) -> Vec<(&'static str, String)> {
    let stats = query.stats();
    let to_read = ByteSize::b(query.planning().bytes_to_read.load(Ordering::Relaxed));
    let mut lines = vec![(
        "pruning",
        format!(
            "manifests: {} considered, {} pruned\nfiles: {} considered, {} pruned, {} to read\nbytes in these files: {to_read}",
            stats.manifests_considered,
            stats.manifests_pruned,
            stats.files_considered,
            stats.files_pruned,
            stats.files_considered - stats.files_pruned,
        ),
    )];
    if report == Report::Execution {
        let read = ByteSize::b(stats.bytes_read);
        lines.push((
            "requests",
            format!(
                "requests: {} GET, {} HEAD\nbytes read: {read}\nestimated cost: {:.7} USD",
                stats.requests_get, stats.requests_head, stats.cost_usd
            ),
        ));
        lines.push(("reads", reads(&stats.io)));
    }
    lines
}

/// Where the bytes of data files came from, and how long decoding waited for them.
fn reads(io: &IoCounts) -> String {
    let hits = io.hit_ratio().map_or_else(
        || "no page was asked for".to_owned(),
        |ratio| format!("{} of {} pages ({:.0}%)", io.page_hits, io.page_hits + io.page_misses, ratio * 100.0),
    );
    format!(
        "from memory: {}\nfrom disk: {}\nfrom the store: {}\ncache hits: {hits}\nretries: {}, hedges: {}\nwaited for reads: {} ms",
        ByteSize::b(io.bytes_from_memory),
        ByteSize::b(io.bytes_from_disk),
        ByteSize::b(io.bytes_from_store),
        io.retries,
        io.hedges,
        io.wait_ms,
    )
}

/// Rows in the two columns that `EXPLAIN` has, `plan_type` and `plan`.
fn rows(schema: &SchemaRef, lines: &[(&str, String)]) -> Result<RecordBatch, DataFusionError> {
    let kinds: ArrayRef = Arc::new(StringArray::from_iter_values(lines.iter().map(|(kind, _)| *kind)));
    let texts: ArrayRef = Arc::new(StringArray::from_iter_values(lines.iter().map(|(_, text)| text.as_str())));
    let ours = [kinds, texts];
    let columns = ours.iter().zip(schema.fields()).map(|(column, field)| cast(column, field.data_type()));
    Ok(RecordBatch::try_new(Arc::clone(schema), columns.collect::<Result<_, _>>()?)?)
}
