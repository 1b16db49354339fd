//! Prepared statements, as JDBC and ADBC use them for everything.

use arrow_flight::sql::{
    ActionCreatePreparedStatementRequest, ActionCreatePreparedStatementResult, Any, CommandPreparedStatementQuery,
    ProstMessageExt,
};
use arrow_flight::{FlightDescriptor, IpcMessage};
use bytes::Bytes;
use prost::Message;
use tonic::{Code, Status};

use crate::harness::{Harness, assert_refused, info_schema, schema_of, text};

/// Prepares a statement.
pub(crate) async fn prepare(harness: &mut Harness, sql: &str) -> Result<ActionCreatePreparedStatementResult, Status> {
    let request = ActionCreatePreparedStatementRequest { query: sql.to_owned(), transaction_id: None };
    let results = harness.action("CreatePreparedStatement", request.as_any().encode_to_vec()).await?;
    let any = Any::decode(results[0].clone()).unwrap();
    Ok(any.unpack().unwrap().unwrap())
}

/// The descriptor that runs a prepared statement.
pub(crate) fn query_command(handle: &Bytes) -> FlightDescriptor {
    let command = CommandPreparedStatementQuery { prepared_statement_handle: handle.clone() };
    FlightDescriptor::new_cmd(command.as_any().encode_to_vec())
}

#[tokio::test]
async fn a_prepared_query_runs_again_and_again_until_it_is_closed() {
    let mut harness = Harness::start().await;
    let mut prepared = harness.sql.prepare("SELECT id FROM s.t ORDER BY id".to_owned(), None).await.unwrap();
    assert_eq!(prepared.dataset_schema().unwrap().fields().len(), 1);
    for _ in 0..2 {
        let info = prepared.execute().await.unwrap();
        let (schema, batches) = harness.fetch(&info).await.unwrap();
        assert_eq!(&schema, prepared.dataset_schema().unwrap());
        assert_eq!(text(&batches), ["1", "2", "3"]);
    }
    prepared.close().await.unwrap();
}

#[tokio::test]
async fn schemas_of_prepared_statements_agree() {
    let mut harness = Harness::start().await;
    let prepared = prepare(&mut harness, "SELECT * FROM s.t").await.unwrap();
    let descriptor = query_command(&prepared.prepared_statement_handle);
    let announced = arrow::datatypes::Schema::try_from(IpcMessage(prepared.dataset_schema)).unwrap();
    let described = schema_of(harness.raw.get_schema(descriptor.clone()).await.unwrap().into_inner());
    let info = harness.raw.get_flight_info(descriptor).await.unwrap().into_inner();
    assert_eq!(announced, described);
    assert_eq!(announced, info_schema(&info));
    assert!(prepared.parameter_schema.is_empty());
}

#[tokio::test]
async fn an_update_has_an_empty_dataset_schema_and_runs_only_when_executed() {
    let mut harness = Harness::start().await;
    let prepared = prepare(&mut harness, "INSERT INTO s.t VALUES (9, 'nine')").await.unwrap();
    assert!(prepared.dataset_schema.is_empty());
    assert_eq!(harness.rows("SELECT count(*) FROM s.t").await, ["3"]);
    let mut prepared = harness.sql.prepare("INSERT INTO s.t VALUES (9, 'nine')".to_owned(), None).await.unwrap();
    assert_eq!(prepared.execute_update().await.unwrap(), 1);
    assert_eq!(harness.rows("SELECT count(*) FROM s.t").await, ["4"]);
}

#[tokio::test]
async fn dbapi_runs_prepared_ddl_through_get_flight_info() {
    let mut harness = Harness::start().await;
    let prepared = prepare(&mut harness, "CREATE TABLE s.made (a INT)").await.unwrap();
    let descriptor = query_command(&prepared.prepared_statement_handle);
    let info = harness.raw.get_flight_info(descriptor).await.unwrap().into_inner();
    harness.fetch(&info).await.unwrap();
    assert_eq!(harness.rows("SELECT count(*) FROM s.made").await, ["0"]);
}

#[tokio::test]
async fn what_is_not_supported_is_no_reason_to_do_without_preparing() {
    let mut harness = Harness::start().await;
    for sql in ["DELETE FROM s.t WHERE id = ?", "UPDATE s.t SET id = 1", "SELECT $0", "CALL system.warm(?)"] {
        let status = assert_refused(prepare(&mut harness, sql).await, Code::InvalidArgument, "not supported");
        assert_eq!(status.metadata().get("polynya-sqlstate").unwrap(), "0A000", "{sql}");
        assert!(status.metadata().contains_key("polynya-query-id"), "{sql}");
    }
    assert_refused(harness.info("DELETE FROM s.t").await, Code::Unimplemented, "DELETE is not supported");
}

#[tokio::test]
async fn a_query_without_columns_is_not_mistaken_for_an_update() {
    let mut harness = Harness::start().await;
    assert_refused(prepare(&mut harness, "SELECT FROM s.t").await, Code::InvalidArgument, "without columns");
    let info = harness.info("SELECT FROM s.t").await.unwrap();
    let (schema, batches) = harness.fetch(&info).await.unwrap();
    let rows: usize = batches.iter().map(arrow::array::RecordBatch::num_rows).sum();
    assert_eq!((schema.fields().len(), rows), (0, 3));
}

#[tokio::test]
async fn the_command_itself_serves_as_a_ticket() {
    let mut harness = Harness::start().await;
    let prepared = prepare(&mut harness, "SELECT max(id) FROM s.t").await.unwrap();
    let ticket = arrow_flight::Ticket::new(query_command(&prepared.prepared_statement_handle).cmd);
    let (_, batches) = harness.fetch_ticket(ticket).await.unwrap();
    assert_eq!(text(&batches), ["3"]);
}

#[tokio::test]
async fn unknown_and_closed_handles_are_not_found() {
    let mut harness = Harness::start().await;
    let guessed = query_command(&Bytes::from_static(b"guess"));
    assert_refused(harness.raw.get_flight_info(guessed).await, Code::NotFound, "prepare it again");
    let prepared = prepare(&mut harness, "SELECT 1").await.unwrap();
    let request = arrow_flight::sql::ActionClosePreparedStatementRequest {
        prepared_statement_handle: prepared.prepared_statement_handle.clone(),
    };
    harness.action("ClosePreparedStatement", request.as_any().encode_to_vec()).await.unwrap();
    let closed = query_command(&prepared.prepared_statement_handle);
    assert_refused(harness.raw.get_flight_info(closed).await, Code::NotFound, "was closed");
}
