//! What an error tells: code, SQLSTATE, the query, the place, and what may have been meant.

use arrow_flight::sql::{ActionCreatePreparedStatementRequest, ProstMessageExt};
use prost::Message;
use tonic::{Code, Status};

use crate::harness::{Harness, assert_refused};

fn trailer(status: &Status, name: &str) -> String {
    status.metadata().get(name).unwrap_or_else(|| panic!("{name}: {status:?}")).to_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_failed_statement_tells_the_query_that_the_log_knows() {
    let mut harness = Harness::start().await;
    let status = assert_refused(harness.info("SELECT * FROM s.nothing").await, Code::NotFound, "nothing");
    let id = trailer(&status, "polynya-query-id");
    let log = harness.rows(&format!("SELECT state, error FROM system.queries WHERE query_id = '{id}'")).await;
    assert_eq!(log.len(), 1, "{log:?}");
    assert!(log[0].starts_with("FAILED|") && log[0].contains("nothing"), "{log:?}");
}

#[tokio::test]
async fn a_statement_that_cannot_be_prepared_tells_its_query_too() {
    let mut harness = Harness::start().await;
    let request = ActionCreatePreparedStatementRequest { query: "SELEC 1".to_owned(), transaction_id: None };
    let refused = harness.action("CreatePreparedStatement", request.as_any().encode_to_vec()).await;
    let status = assert_refused(refused, Code::InvalidArgument, "Line: 1");
    assert_eq!(trailer(&status, "polynya-sqlstate"), "42601");
    assert!(!trailer(&status, "polynya-query-id").is_empty());
}

#[tokio::test]
async fn a_syntax_error_shows_the_line_with_a_caret() {
    let mut harness = Harness::start().await;
    let status = assert_refused(harness.info("SELECT id\nFORM s.t x").await, Code::InvalidArgument, "Line: 2");
    let lines: Vec<&str> = status.message().lines().collect();
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert_eq!(lines[1], "  FORM s.t x");
    assert_eq!(lines[2].trim(), "^");
}

#[tokio::test]
async fn names_that_are_nearly_right_are_suggested_and_have_a_state_of_their_own() {
    let mut harness = Harness::start().await;
    for (sql, code, sqlstate, part) in [
        ("SELECT nme FROM s.t", Code::InvalidArgument, "42703", "name"),
        ("SELECT uppr('x')", Code::InvalidArgument, "42883", "upper"),
        ("SELECT id FROM s.t a, s.t b", Code::InvalidArgument, "42702", "mbiguous"),
        ("SELECT * FROM s.tt", Code::NotFound, "42P01", "did you mean t?"),
        ("SELECT * FROM lak.s.t", Code::NotFound, "3D000", "did you mean lake?"),
        ("SELECT * FROM ss.t", Code::NotFound, "3F000", "did you mean s?"),
        ("SET polynya.cach = 'off'", Code::InvalidArgument, "42704", "did you mean cache?"),
    ] {
        let status = assert_refused(harness.info(sql).await, code, part);
        assert_eq!(trailer(&status, "polynya-sqlstate"), sqlstate, "{sql}: {status:?}");
        assert!(!trailer(&status, "polynya-query-id").is_empty(), "{sql}");
    }
}
