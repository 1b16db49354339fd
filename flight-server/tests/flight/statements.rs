//! Statements by GetFlightInfo, DoGet, GetSchema and DoPut.

use arrow::datatypes::DataType;
use tonic::Code;

use crate::harness::{Harness, assert_refused, info_schema, schema_of, statement, ticket};

#[tokio::test]
async fn a_query_gives_its_rows() {
    let mut harness = Harness::start().await;
    assert_eq!(harness.rows("SELECT id, name FROM s.t ORDER BY id").await, ["1|one", "2|", "3|three"]);
}

#[tokio::test]
async fn get_schema_flight_info_and_do_get_agree_and_are_plain() {
    let mut harness = Harness::start().await;
    let sql = "SELECT id, name, [name, 'x'] AS list, named_struct('a', name) AS nested, arrow_cast(name, 'Dictionary(Int32, Utf8)') AS d, \
               arrow_cast(name, 'Utf8View') AS v, arrow_cast(name, 'BinaryView') AS b FROM s.t";
    let described = schema_of(harness.raw.get_schema(statement(sql)).await.unwrap().into_inner());
    let info = harness.info(sql).await.unwrap();
    let (schema, batches) = harness.fetch(&info).await.unwrap();
    assert_eq!(described, schema);
    assert_eq!(info_schema(&info), schema);
    for batch in &batches {
        assert_eq!(batch.schema().as_ref(), &schema);
    }
    let kinds: Vec<&DataType> = schema.fields().iter().map(|field| field.data_type()).collect();
    assert_eq!(kinds[1], &DataType::Utf8);
    assert!(matches!(kinds[2], DataType::List(item) if item.data_type() == &DataType::Utf8), "{:?}", kinds[2]);
    assert!(matches!(kinds[3], DataType::Struct(fields) if fields[0].data_type() == &DataType::Utf8), "{:?}", kinds[3]);
    assert_eq!(kinds[4..], [&DataType::Utf8, &DataType::Utf8, &DataType::Binary]);
}

#[tokio::test]
async fn types_that_analysis_chooses_are_described() {
    let mut harness = Harness::start().await;
    for expression in [
        "CASE WHEN id = 1 THEN DATE '2024-01-01' ELSE TIMESTAMP '2024-01-01 12:00:00' END",
        "DATE '2024-01-01' + INTERVAL '12 hours'",
        "CASE WHEN id = 1 THEN 0.5 ELSE 1e3 END",
        "id + 1",
        "sum(id) OVER ()",
    ] {
        let sql = format!("SELECT {expression} AS value FROM s.t");
        let described = schema_of(harness.raw.get_schema(statement(&sql)).await.unwrap().into_inner());
        let info = harness.info(&sql).await.unwrap();
        assert_eq!(described, harness.fetch(&info).await.unwrap().0, "{sql}");
    }
}

#[tokio::test]
async fn ddl_through_get_flight_info_runs_at_once_and_only_once() {
    let mut harness = Harness::start().await;
    let info = harness.info("INSERT INTO s.t VALUES (4, 'four'), (5, 'five')").await.unwrap();
    assert!(info_schema(&info).fields().is_empty());
    assert_eq!(info.total_records, 2, "drivers take the number of changed rows from here");
    assert_eq!(harness.rows("SELECT count(*) FROM s.t").await, ["5"]);
    let (schema, batches) = harness.fetch(&info).await.unwrap();
    assert!(schema.fields().is_empty() && batches.is_empty());
    assert_eq!(harness.rows("SELECT count(*) FROM s.t").await, ["5"]);
}

#[tokio::test]
async fn updates_give_their_counts() {
    let mut harness = Harness::start().await;
    assert_eq!(harness.update("INSERT INTO s.t VALUES (7, 'seven')").await, 1);
    assert_eq!(harness.update("CREATE TABLE s.u (a INT)").await, 0, "JDBC runs a statement twice whose count is -1");
    let error = harness.sql.execute_update("SELECT 1".to_owned(), None).await.unwrap_err();
    assert!(error.to_string().contains("run it as a query"), "{error}");
}

#[tokio::test]
async fn a_ticket_works_once_and_a_foreign_one_never() {
    let mut harness = Harness::start().await;
    let info = harness.info("SELECT 1").await.unwrap();
    harness.fetch(&info).await.unwrap();
    assert_refused(harness.fetch(&info).await, Code::NotFound, "run the statement again");

    let mut other = Harness::start_empty(Default::default()).await;
    let foreign = ticket(&other.info("SELECT 1").await.unwrap());
    assert_refused(harness.fetch_ticket(foreign).await, Code::NotFound, "of another server");
    let garbage = arrow_flight::Ticket::new("garbage");
    assert_refused(harness.fetch_ticket(garbage).await, Code::InvalidArgument, "not a valid Flight SQL message");
}

#[tokio::test]
async fn errors_have_code_sqlstate_and_words() {
    let mut harness = Harness::start().await;
    let status = assert_refused(harness.info("SELEC 1").await, Code::InvalidArgument, "SELEC");
    assert_eq!(status.metadata().get("polynya-sqlstate").unwrap(), "42601");
    let status = assert_refused(harness.info("SELECT * FROM s.nothing").await, Code::NotFound, "nothing");
    assert_eq!(status.metadata().get("polynya-sqlstate").unwrap(), "42P01");
    let status = assert_refused(harness.query("SELECT 1 / (id - id) FROM s.t").await, Code::InvalidArgument, "zero");
    assert_eq!(status.metadata().get("polynya-sqlstate").unwrap(), "22012");
    for sql in ["SELECT id + 9223372036854775807 FROM s.t", "SELECT sum(id * 4611686018427387904) FROM s.t"] {
        let status = assert_refused(harness.query(sql).await, Code::InvalidArgument, "integer overflow");
        assert_eq!(status.metadata().get("polynya-sqlstate").unwrap(), "22003");
    }
    assert!(status.metadata().get("polynya-query-id").is_some(), "{status:?}");
}

#[tokio::test]
async fn the_last_message_carries_the_account() {
    use futures::TryStreamExt;
    let mut harness = Harness::start().await;
    let info = harness.info("SELECT * FROM s.t").await.unwrap();
    let messages: Vec<_> = harness.raw.do_get(ticket(&info)).await.unwrap().into_inner().try_collect().await.unwrap();
    let last = messages.last().unwrap();
    let account: serde_json::Value = serde_json::from_slice(&last.app_metadata).unwrap();
    assert_eq!(account["rows"], 3);
    assert_eq!(account["files_considered"], 1);
    assert!(account["query_id"].as_str().is_some_and(|id| !id.is_empty()));
    let announced: serde_json::Value = serde_json::from_slice(&info.app_metadata).unwrap();
    assert_eq!(account["query_id"], announced["query_id"]);
}

#[tokio::test]
async fn large_results_come_in_messages_below_four_mebibytes() {
    use futures::TryStreamExt;
    let mut harness = Harness::start().await;
    let sql = "SELECT repeat('x', 5000) AS s, value FROM generate_series(1, 5000)";
    let info = harness.info(sql).await.unwrap();
    let messages: Vec<_> = harness.raw.do_get(ticket(&info)).await.unwrap().into_inner().try_collect().await.unwrap();
    assert!(messages.len() > 10);
    assert!(messages.iter().all(|message| message.data_body.len() < 4 << 20));
    assert_eq!(harness.rows(&format!("SELECT count(*), sum(length(s)) FROM ({sql})")).await, ["5000|25000000"]);
}
