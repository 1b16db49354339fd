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

#[tokio::test]
async fn a_bad_regular_expression_is_the_statements_fault() {
    let mut harness = Harness::start().await;
    for sql in [
        "SELECT 'a' ~ '('",
        "SELECT name !~* '(' FROM s.t",
        "SELECT name ~ name || '(' FROM s.t",
        "SELECT * FROM s.t WHERE name SIMILAR TO '('",
        "SELECT name ~ '(a{1000}){1000}' FROM s.t",
        "SELECT regexp_replace('a', '(', 'b')",
        "SELECT regexp_replace(name, name || '(', 'b') FROM s.t",
        "SELECT regexp_replace('a', 'a', 'b', 'q')",
        "SELECT regexp_like(name, '(') FROM s.t",
        "SELECT regexp_match(name, '(') FROM s.t",
        "SELECT regexp_count(name, '(') FROM s.t",
        "SELECT regexp_instr('a', '(')",
    ] {
        let status = assert_refused(harness.query(sql).await, Code::InvalidArgument, "");
        assert_eq!(trailer(&status, "polynya-sqlstate"), "2201B", "{sql}: {status:?}");
        assert!(!status.message().contains("bug"), "{sql}: {status:?}");
    }
}

#[tokio::test]
async fn values_that_cannot_be_have_the_class_of_what_is_wrong_with_them() {
    let mut harness = Harness::start().await;
    for (sql, sqlstate) in [
        ("SELECT CAST('escape' AS INT)", "22018"),
        ("SELECT CAST(name AS DOUBLE) FROM s.t", "22018"),
        ("SELECT CAST(id + 3000000000 AS INT) FROM s.t", "22003"),
        ("SELECT CAST(100000 AS DECIMAL(5, 2))", "22003"),
        ("SELECT abs(-9223372036854775808)", "22003"),
        ("SELECT id + 9223372036854775807 FROM s.t", "22003"),
        ("SELECT factorial(100)", "22003"),
        ("SELECT gcd(-9223372036854775808, -9223372036854775808)", "22003"),
        ("SELECT 1 / (id - 1) FROM s.t", "22012"),
        ("SELECT id % 0 FROM s.t", "22012"),
        ("SELECT DATE '2024-02-30'", "22007"),
        ("SELECT CAST('25:00' AS TIME)", "22007"),
        ("SELECT INTERVAL '1 fortnightly'", "22007"),
        ("SELECT to_timestamp(name) FROM s.t", "22007"),
        ("SELECT to_timestamp('x', '%Y')", "22007"),
        ("SELECT to_date('x')", "22007"),
        ("SELECT to_time('x')", "22007"),
        ("SELECT make_date(2024, 2, 30)", "22008"),
        ("SELECT make_date(2024, 13, 1)", "22008"),
        ("SELECT to_timestamp(9223372036854775807)", "22008"),
        ("SELECT DATE '2024-01-01' + INTERVAL '100000000 days'", "22008"),
        ("SELECT TIMESTAMP '2024-01-01 00:00:00' + INTERVAL '300000 years'", "22008"),
        ("SELECT date_trunc('fortnight', TIMESTAMP '2024-01-01 00:00:00')", "22023"),
        ("SELECT date_part('fortnight', DATE '2024-01-01')", "22023"),
        ("SELECT TIMESTAMP '2024-01-01 00:00:00' AT TIME ZONE 'Nowhere/Town'", "22023"),
        ("SELECT encode(name, 'nonsense') FROM s.t", "22023"),
        ("SELECT decode('x', 'nonsense')", "22023"),
        ("SELECT digest('x', 'nonsense')", "22023"),
        ("SELECT array_resize(ARRAY[1, 2], -1)", "22023"),
        ("SELECT substr(name, 1, -1) FROM s.t", "22011"),
        ("SELECT decode('zz', 'hex')", "22000"),
        ("SELECT map(ARRAY['a', 'a'], ARRAY[1, 2])", "22000"),
    ] {
        let status = assert_refused(harness.query(sql).await, Code::InvalidArgument, "");
        assert_eq!(trailer(&status, "polynya-sqlstate"), sqlstate, "{sql}: {status:?}");
    }
}
