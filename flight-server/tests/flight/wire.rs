//! The form in which results travel, and that a slow client is waited for.

use std::time::Duration;

use arrow::datatypes::{DataType, Schema};
use arrow::util::display::array_value_to_string;
use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::sql::{CommandStatementQuery, ProstMessageExt};
use arrow_flight::{FlightData, FlightDescriptor, FlightInfo};
use futures::TryStreamExt;
use prost::Message;
use tonic::{Code, Request, Response};

use crate::harness::{Harness, assert_refused, connect, info_schema, text, ticket};

/// A server, and a client with a session that `SET` lasts in.
async fn with_session() -> Harness {
    let mut harness = Harness::start().await;
    harness.sql.handshake("anyone", "anything").await.unwrap();
    harness
}

async fn ask(harness: &mut Harness, sql: &str) -> FlightInfo {
    harness.sql.execute(sql.to_owned(), None).await.unwrap_or_else(|error| panic!("{sql}: {error}"))
}

async fn messages(harness: &mut Harness, info: &FlightInfo) -> Vec<FlightData> {
    harness.raw.do_get(ticket(info)).await.unwrap().into_inner().try_collect().await.unwrap()
}

#[tokio::test]
async fn record_batches_are_compressed_on_request() {
    let mut harness = with_session().await;
    let sql = "SELECT repeat('x', 100) AS s FROM generate_series(1, 20000)";
    for (compression, bytes_max) in [("none", usize::MAX), ("lz4", 200_000), ("zstd", 200_000)] {
        harness.update(&format!("SET polynya.wire_compression = '{compression}'")).await;
        let info = ask(&mut harness, sql).await;
        let bytes: usize = messages(&mut harness, &info).await.iter().map(|message| message.data_body.len()).sum();
        assert!(bytes <= bytes_max, "{compression}: {bytes}");
        let info = ask(&mut harness, sql).await;
        let (_, batches) = harness.fetch(&info).await.unwrap();
        assert_eq!(batches.iter().map(|batch| batch.num_rows()).sum::<usize>(), 20_000, "{compression}");
        assert_eq!(text(&batches)[19_999], "x".repeat(100));
    }
}

#[tokio::test]
async fn views_and_dictionaries_are_kept_on_request_and_announced() {
    let mut harness = with_session().await;
    let sql = "SELECT name, arrow_cast(name, 'Dictionary(Int32, Utf8)') AS d FROM s.t ORDER BY id";
    let info = ask(&mut harness, sql).await;
    let plain = info_schema(&info);
    assert_eq!([plain.field(0).data_type(), plain.field(1).data_type()], [&DataType::Utf8, &DataType::Utf8]);
    harness.update("SET polynya.wire_views = 'kept'").await;
    harness.update("SET polynya.wire_dictionaries = 'kept'").await;
    // What was announced before is given as it was announced.
    assert_eq!(harness.fetch(&info).await.unwrap().0, plain);

    let info = ask(&mut harness, sql).await;
    let (schema, batches) = harness.fetch(&info).await.unwrap();
    assert_eq!(info_schema(&info), schema);
    assert_eq!(schema.field(0).data_type(), &DataType::Utf8View);
    assert!(matches!(schema.field(1).data_type(), DataType::Dictionary(..)), "{schema:?}");
    assert_eq!(text(&batches), ["one|one", "|", "three|three"]);
    let info = ask(&mut harness, &sql.replace("ORDER", "WHERE id > 9 ORDER")).await;
    assert!(text(&harness.fetch(&info).await.unwrap().1).is_empty(), "a result without rows is whole too");
}

#[tokio::test]
async fn timestamps_with_a_time_zone_are_sent_without_it_on_request() {
    let mut harness = with_session().await;
    let sql = "SELECT CAST(TIMESTAMP '2024-02-29 13:45:10.25' AS timestamptz) AS tz, [now()] AS kept";
    let zoned = |schema: &Schema| matches!(schema.field(0).data_type(), DataType::Timestamp(_, Some(_)));
    let info = ask(&mut harness, sql).await;
    assert!(zoned(&info_schema(&info)));
    harness.update("SET polynya.wire_timestamptz = 'utc'").await;
    let info = ask(&mut harness, sql).await;
    let (schema, batches) = harness.fetch(&info).await.unwrap();
    assert_eq!(info_schema(&info), schema);
    assert!(matches!(schema.field(0).data_type(), DataType::Timestamp(_, None)), "{schema:?}");
    assert_eq!(array_value_to_string(batches[0].column(0), 0).unwrap(), "2024-02-29T13:45:10.250");
}

#[tokio::test]
async fn headers_named_like_settings_set_them_for_a_client_without_a_session() {
    let harness = Harness::start().await;
    let call = |sql: &str, header: (&'static str, &'static str)| {
        let command = CommandStatementQuery { query: sql.to_owned(), transaction_id: None };
        let mut request = Request::new(FlightDescriptor::new_cmd(command.as_any().encode_to_vec()));
        request.metadata_mut().insert(header.0, header.1.parse().unwrap());
        let mut raw = harness.raw.clone();
        async move { raw.get_flight_info(request).await }
    };
    let zone = |answer: Response<FlightInfo>| info_schema(&answer.into_inner()).field(0).data_type().clone();
    let answer = call("SELECT now()", ("polynya.wire_timestamptz", "utc")).await.unwrap();
    assert!(answer.metadata().get("set-cookie").is_none(), "a session that only headers changed is not kept");
    assert!(matches!(zone(answer), DataType::Timestamp(_, None)));
    let answer = call("SELECT now()", ("polynya.wire_timestamptz", "kept")).await.unwrap();
    assert!(matches!(zone(answer), DataType::Timestamp(_, Some(_))));
    for (name, value, told) in
        [("polynya.wire_timestamptz", "mars", "expected kept or utc"), ("polynya.wire_colour", "red", "wire_colour")]
    {
        assert_refused(call("SELECT 1", (name, value)).await, Code::InvalidArgument, told);
    }
    // What SET says in the session counts more.
    let answer = call("SET polynya.wire_timestamptz = 'kept'", ("polynya.wire_timestamptz", "utc")).await.unwrap();
    assert!(answer.metadata().get("set-cookie").is_some());
}

#[tokio::test]
async fn a_row_larger_than_a_message_is_an_error_that_names_the_setting() {
    let mut harness = with_session().await;
    let sql = "SELECT repeat('x', 20000000) AS large, id FROM s.t";
    let info = ask(&mut harness, sql).await;
    let status = assert_refused(harness.fetch(&info).await, Code::ResourceExhausted, "polynya.wire_message_bytes");
    assert_eq!(status.metadata().get("polynya-sqlstate").unwrap(), "54000");
    assert!(status.metadata().get("polynya-query-id").is_some());

    harness.update("SET polynya.wire_message_bytes = '64MiB'").await;
    let info = ask(&mut harness, sql).await;
    let channel = connect(&harness.server).await;
    harness.raw = FlightServiceClient::new(channel).max_decoding_message_size(64 << 20);
    let messages = messages(&mut harness, &info).await;
    assert_eq!(messages.iter().filter(|message| message.data_body.len() > 20_000_000).count(), 3);
}

#[tokio::test]
async fn lists_are_not_sent_row_by_row() {
    let mut harness = Harness::start().await;
    let info = harness.info("SELECT range(0, 100) AS numbers FROM generate_series(1, 20000)").await.unwrap();
    let messages = messages(&mut harness, &info).await;
    assert!(messages.len() < 40, "{} messages for 16 MB", messages.len());
    assert!(messages.iter().all(|message| message.data_body.len() < 4 << 20));
}

#[tokio::test]
async fn columns_of_results_tell_their_types() {
    let mut harness = Harness::start().await;
    let info = harness.info("SELECT name, CAST(1.5 AS DECIMAL(9, 3)) AS price FROM s.t").await.unwrap();
    let schema = info_schema(&info);
    assert_eq!(schema.field(0).metadata()["ARROW:FLIGHT:SQL:TYPE_NAME"], "VARCHAR");
    assert_eq!(schema.field(1).metadata()["ARROW:FLIGHT:SQL:PRECISION"], "9");
    assert_eq!(schema.field(1).metadata()["ARROW:FLIGHT:SQL:SCALE"], "3");
    assert_eq!(harness.fetch(&info).await.unwrap().0, schema);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_client_is_waited_for() {
    let mut harness = Harness::start().await;
    let info =
        harness.info("SELECT value, repeat('x', 1000) AS slowly FROM generate_series(1, 5000000)").await.unwrap();
    let mut stream = harness.raw.do_get(ticket(&info)).await.unwrap().into_inner();
    for _ in 0..3 {
        stream.message().await.unwrap().unwrap();
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let made = harness
        .rows(
            "SELECT rows FROM system.queries WHERE state = 'RUNNING' AND statement LIKE '%AS slowly%' \
             AND statement NOT LIKE '%system.queries%'",
        )
        .await;
    assert_eq!(made.len(), 1);
    let rows: u64 = made[0].parse().unwrap();
    assert!(rows < 500_000, "{rows} of 5,000,000 rows were made for a client that reads none");
}
