//! The calls that ODBC drivers and Power BI make, replayed: a token in an empty handshake, DDL as a query, catalogs.

use arrow::array::{Array, BinaryArray, Int32Array, StringArray, UInt32Array, UnionArray};
use arrow::datatypes::Schema;
use arrow_flight::sql::{CommandGetSqlInfo, CommandGetTables, CommandGetXdbcTypeInfo, SqlInfo};
use arrow_flight::{FlightInfo, HandshakeRequest, IpcMessage};
use tonic::Request;

use crate::harness::{Harness, info_schema, statement, text};

/// Sends an empty handshake with a token and gives the token of the answer.
async fn shake_hands(harness: &mut Harness) -> String {
    let mut request = Request::new(futures::stream::empty::<HandshakeRequest>());
    request.metadata_mut().insert("authorization", "Bearer a-token-of-theirs".parse().unwrap());
    let response = harness.raw.handshake(request).await.unwrap();
    let token = response.metadata().get("authorization").unwrap().to_str().unwrap().to_owned();
    let mut answers = response.into_inner();
    while answers.message().await.unwrap().is_some() {}
    token
}

/// Runs a statement as ODBC's SQLExecDirect does: GetFlightInfo and DoGet, whatever the statement is.
async fn execute_direct(harness: &mut Harness, token: &str, sql: &str) -> (FlightInfo, Vec<String>) {
    let mut request = Request::new(statement(sql));
    request.metadata_mut().insert("authorization", token.parse().unwrap());
    let info = harness.raw.get_flight_info(request).await.unwrap_or_else(|error| panic!("{sql}: {error}")).into_inner();
    let (_, batches) = harness.fetch(&info).await.unwrap();
    (info, text(&batches))
}

#[tokio::test]
async fn statements_of_every_kind_run_as_queries_in_the_session_of_the_handshake() {
    let mut harness = Harness::start().await;
    let token = shake_hands(&mut harness).await;
    for sql in ["USE lake.s", "CREATE TABLE made (a INT, b VARCHAR)", "INSERT INTO made VALUES (1, 'x'), (2, 'y')"] {
        let (info, rows) = execute_direct(&mut harness, &token, sql).await;
        assert!(info_schema(&info).fields().is_empty() && rows.is_empty(), "{sql}");
    }
    let (_, rows) = execute_direct(&mut harness, &token, "SELECT a, b FROM made ORDER BY a").await;
    assert_eq!(rows, ["1|x", "2|y"]);
    let (_, rows) = execute_direct(&mut harness, &token, "DROP TABLE made").await;
    assert!(rows.is_empty());
    assert!(harness.info("SELECT * FROM s.made").await.is_err());
}

#[tokio::test]
async fn type_info_is_filtered_by_the_type() {
    let mut harness = Harness::start().await;
    // SQL_BIGINT, SQL_VARCHAR, SQL_DECIMAL, SQL_DOUBLE, SQL_TYPE_DATE, SQL_BIT.
    for (code, name) in [(-5, "BIGINT"), (12, "VARCHAR"), (3, "DECIMAL"), (8, "DOUBLE"), (91, "DATE"), (-7, "BOOLEAN")]
    {
        let (_, batches) = harness.command(CommandGetXdbcTypeInfo { data_type: Some(code) }).await.unwrap();
        let rows: usize = batches.iter().map(|batch| batch.num_rows()).sum();
        assert!(rows >= 1, "{name}");
        let names = batches[0].column(0).as_any().downcast_ref::<StringArray>().unwrap();
        let codes = batches[0].column(1).as_any().downcast_ref::<Int32Array>().unwrap();
        assert_eq!((names.value(0), codes.value(0)), (name, code));
    }
    // SQL_TYPE_TIMESTAMP has a row for each of our two.
    let (_, batches) = harness.command(CommandGetXdbcTypeInfo { data_type: Some(93) }).await.unwrap();
    assert_eq!(batches.iter().map(|batch| batch.num_rows()).sum::<usize>(), 2);
    // SQL_GUID is a type that nothing here has.
    let (_, batches) = harness.command(CommandGetXdbcTypeInfo { data_type: Some(-11) }).await.unwrap();
    assert!(text(&batches).is_empty());
}

#[tokio::test]
async fn columns_carry_what_power_bi_reads() {
    let mut harness = Harness::start().await;
    harness
        .update("CREATE TABLE s.priced (price DECIMAL(12, 3) NOT NULL, at_time TIMESTAMP, tags ARRAY<VARCHAR>)")
        .await;
    let command = CommandGetTables {
        catalog: Some("lake".into()),
        db_schema_filter_pattern: Some("s".into()),
        table_name_filter_pattern: Some("priced".into()),
        table_types: vec!["TABLE".into()],
        include_schema: true,
    };
    let (_, batches) = harness.command(command).await.unwrap();
    let schemas = batches[0].column(4).as_any().downcast_ref::<BinaryArray>().unwrap();
    let schema = Schema::try_from(IpcMessage(schemas.value(0).to_vec().into())).unwrap();
    let note = |column: usize, key: &str| schema.field(column).metadata()[&format!("ARROW:FLIGHT:SQL:{key}")].clone();
    assert_eq!([note(0, "TYPE_NAME"), note(0, "PRECISION"), note(0, "SCALE")], ["DECIMAL", "12", "3"]);
    assert_eq!([note(0, "CATALOG_NAME"), note(0, "SCHEMA_NAME"), note(0, "TABLE_NAME")], ["lake", "s", "priced"]);
    assert_eq!([note(1, "TYPE_NAME"), note(1, "SCALE"), note(2, "TYPE_NAME")], ["TIMESTAMP", "6", "ARRAY"]);
    assert_eq!([note(0, "IS_READ_ONLY"), note(0, "IS_AUTO_INCREMENT")], ["0", "0"]);
    assert!(!schema.field(0).is_nullable() && schema.field(1).is_nullable());
}

#[tokio::test]
async fn information_comes_in_the_order_and_the_types_that_drivers_read() {
    let mut harness = Harness::start().await;
    let wanted = [
        (SqlInfo::FlightSqlServerName, 0),
        (SqlInfo::FlightSqlServerReadOnly, 1),
        (SqlInfo::SqlMaxColumnsInSelect, 2),
        (SqlInfo::SqlSupportedGroupBy, 3),
        (SqlInfo::SqlKeywords, 4),
        (SqlInfo::SqlSupportsConvert, 5),
    ];
    let info = wanted.iter().map(|(code, _)| *code as u32).collect();
    let (_, batches) = harness.command(CommandGetSqlInfo { info }).await.unwrap();
    let mut found = Vec::new();
    for batch in &batches {
        let codes = batch.column(0).as_any().downcast_ref::<UInt32Array>().unwrap();
        let values = batch.column(1).as_any().downcast_ref::<UnionArray>().unwrap();
        found.extend((0..batch.num_rows()).map(|row| (codes.value(row), values.type_id(row))));
    }
    for (code, kind) in wanted {
        assert!(found.contains(&(code as u32, kind)), "{code:?}: {found:?}");
    }
    assert_eq!(found.len(), wanted.len());
}
