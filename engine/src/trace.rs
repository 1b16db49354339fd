//! What a query does, and when, as spans of `tracing`: `query` > `pin`, `plan`, `attempt`, and on workers `task`.
//!
//! Spans are of level DEBUG: where nobody listens at that level they cost one comparison. None holds the text of a
//! statement. Numbers are `i64`, since exporters know no other integers. How a span is named to other processes is for
//! whoever exports it to say: [`TraceContext`].
//!
//! `query`, `attempt` and `task` are never entered: exporters take the last leaving for a span's end, and these last for
//! as long as what they stand for.

use tracing::field::Empty;
use tracing::{Span, debug_span};

use crate::query::{QueryContext, QueryStats};

/// Carries spans between processes, for whoever exports them.
pub trait TraceContext: std::fmt::Debug + Send + Sync {
    /// How another process names this span, as a W3C `traceparent`. `None` if it is not exported.
    fn traceparent(&self, span: &Span) -> Option<String>;

    /// Makes a new span the child of another process's. A text that is none changes nothing.
    fn adopt(&self, span: &Span, traceparent: &str);
}

/// One statement, from its coming until its rows are given.
pub(crate) fn query(id: &str, tenant: &str) -> Span {
    debug_span!(
        parent: None,
        "query",
        otel.kind = "server",
        otel.status_code = Empty,
        query_id = id,
        tenant,
        statement = Empty,
        state = Empty,
        rows = Empty,
        bytes_read = Empty,
        workers_lost = Empty,
    )
}

/// Says what kind of statement it is.
pub(crate) fn is(query: &QueryContext, kind: &'static str) {
    query.span().record("statement", kind);
    query.audit().is_a(kind);
}

/// Says how it ended.
pub(crate) fn ended(span: &Span, state: &'static str, stats: &QueryStats) {
    span.record("state", state);
    for (field, count) in [("rows", stats.rows), ("bytes_read", stats.bytes_read), ("workers_lost", stats.workers_lost)]
    {
        span.record(field, count as i64);
    }
    if state == "FAILED" {
        failed(span);
    }
}

/// Marks a span as one that failed.
pub(crate) fn failed(span: &Span) {
    span.record("otel.status_code", "ERROR");
}

/// Names to snapshots.
pub(crate) fn pin(query: &QueryContext) -> Span {
    debug_span!(parent: query.span(), "pin", query_id = query.id())
}

/// Pinned tables to a plan.
pub(crate) fn plan(query: &QueryContext) -> Span {
    debug_span!(parent: query.span(), "plan", query_id = query.id())
}

/// One run on so many workers; attempts count from 1.
pub(crate) fn attempt(query: &QueryContext, number: u64, workers: usize) -> Span {
    debug_span!(
        parent: query.span(),
        "attempt",
        otel.kind = "client",
        otel.status_code = Empty,
        query_id = query.id(),
        number = number as i64,
        workers = workers as i64,
    )
}

/// One task of a stage, on its worker.
pub(crate) fn task(query_id: &str, stage: Option<i64>, number: Option<usize>) -> Span {
    let number = number.map(|number| number as i64);
    debug_span!(parent: None, "task", otel.kind = "server", query_id, stage, number)
}
