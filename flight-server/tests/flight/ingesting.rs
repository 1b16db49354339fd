//! Bulk ingest, as `adbc_ingest` and `polynya-bench` do it.

use std::sync::Arc;

use arrow::array::{ArrayRef, Decimal128Array, Int64Array, NullArray, RecordBatch, StringArray, StringViewBuilder};
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::sql::{CommandStatementIngest, ProstMessageExt};
use arrow_flight::{FlightData, FlightDescriptor};
use arrow_ipc::CompressionType;
use arrow_ipc::writer::IpcWriteOptions;
use bytesize::ByteSize;
use futures::TryStreamExt;
use polynya_bench::client::{Auth, Client, IngestMode, IngestTarget};
use polynya_engine::MemorySettings;
use polynya_flight_server::ServerSettings;
use prost::Message;
use tonic::Code;

use crate::harness::{Harness, assert_refused};

fn rows(from: i64, count: i64) -> RecordBatch {
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(from..from + count));
    let names: ArrayRef = Arc::new(StringArray::from_iter_values((from..from + count).map(|id| format!("n{id}"))));
    RecordBatch::try_from_iter([("id", ids), ("name", names)]).unwrap()
}

async fn ingest(client: &Client, table: &str, mode: IngestMode, batches: Vec<RecordBatch>) -> Result<u64, String> {
    let target = IngestTarget { catalog: None, schema: Some("s".into()), table: table.into() };
    let schema = batches[0].schema();
    let stream = futures::stream::iter(batches.into_iter().map(Ok));
    client.ingest(&target, mode, schema, stream).await.map_err(|error| error.full_message())
}

#[tokio::test]
async fn rows_are_appended_and_tables_made_as_the_mode_says() {
    let mut harness = Harness::start().await;
    let client = Client::connect(&harness.server.url(), &Auth::default()).await.unwrap();
    let batches = vec![rows(10, 5000), rows(6000, 5000)];
    assert_eq!(ingest(&client, "t", IngestMode::Append, batches).await, Ok(10_000));
    assert_eq!(harness.rows("SELECT count(*), max(name) FROM s.t").await, ["10003|three"]);

    assert_eq!(ingest(&client, "made", IngestMode::Create, vec![rows(0, 10)]).await, Ok(10));
    let again = ingest(&client, "made", IngestMode::Create, vec![rows(0, 10)]).await.unwrap_err();
    assert!(again.contains("already exists"), "{again}");
    assert_eq!(ingest(&client, "made", IngestMode::CreateAppend, vec![rows(10, 10)]).await, Ok(10));
    assert_eq!(harness.rows("SELECT count(*) FROM s.made").await, ["20"]);
    assert_eq!(ingest(&client, "made", IngestMode::Replace, vec![rows(0, 3)]).await, Ok(3));
    assert_eq!(harness.rows("SELECT count(*) FROM s.made").await, ["3"]);
    let missing = ingest(&client, "missing", IngestMode::Append, vec![rows(0, 1)]).await.unwrap_err();
    assert!(missing.contains("missing"), "{missing}");
}

/// The messages of an ingest of one column into `s.n`, compressed.
async fn messages(column: ArrayRef) -> Vec<FlightData> {
    messages_of("id", column).await
}

async fn messages_of(name: &str, column: ArrayRef) -> Vec<FlightData> {
    let command =
        CommandStatementIngest { table: "n".into(), schema: Some("s".into()), ..CommandStatementIngest::default() };
    let rows = RecordBatch::try_from_iter_with_nullable([(name, column, true)]).unwrap();
    let encoder = FlightDataEncoderBuilder::new()
        .with_flight_descriptor(Some(FlightDescriptor::new_cmd(command.as_any().encode_to_vec())))
        .with_options(IpcWriteOptions::default().try_with_compression(Some(CompressionType::LZ4_FRAME)).unwrap())
        .with_max_flight_data_size(usize::MAX);
    encoder.build(futures::stream::iter([Ok(rows)])).try_collect().await.unwrap()
}

async fn put(harness: &mut Harness, messages: Vec<FlightData>) -> Result<(), tonic::Status> {
    let mut results = harness.raw.do_put(futures::stream::iter(messages)).await?.into_inner();
    while results.message().await?.is_some() {}
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_message_unpacks_to_is_reserved_in_the_limit_of_memory_first() {
    let memory = MemorySettings { limit: Some(ByteSize::mib(64)), ..MemorySettings::default() };
    let settings = polynya_engine::Settings { memory, ..polynya_engine::Settings::default() };
    let mut harness = Harness::start_engine(settings, ServerSettings::default()).await;
    harness.update("CREATE SCHEMA s").await;
    harness.update("CREATE TABLE s.n (id BIGINT, name VARCHAR)").await;
    let large = messages(Arc::new(Int64Array::from(vec![7; 12 << 20]))).await;
    assert!(large.iter().map(|message| message.data_body.len()).sum::<usize>() < 1 << 20);
    let refused = assert_refused(put(&mut harness, large).await, Code::ResourceExhausted, "memory.limit");
    assert_eq!(refused.metadata().get("polynya-sqlstate").map(|state| state.to_str().unwrap()), Some("53200"));
    assert!(refused.message().contains("an upload for table"), "{refused:?}");
    put(&mut harness, messages(Arc::new(Int64Array::from(vec![7; 1 << 20]))).await).await.unwrap();
    assert_eq!(harness.rows("SELECT count(*), min(id) FROM s.n").await, ["1048576|7"]);
}

/// Written out at once, a few thousand of them would be more than a column of texts can hold.
#[tokio::test(flavor = "multi_thread")]
async fn texts_that_rows_share_are_written_and_read_in_pieces() {
    let mut harness = Harness::start().await;
    let text = "x".repeat(1 << 20);
    let mut views = StringViewBuilder::new().with_deduplicate_strings();
    (0..150).for_each(|_| views.append_value(&text));
    harness.update("CREATE TABLE s.n (id BIGINT, name VARCHAR)").await;
    put(&mut harness, messages_of("name", Arc::new(views.finish())).await).await.unwrap();
    assert_eq!(
        harness.rows("SELECT count(*), min(length(name)), max(length(name)) FROM s.n").await,
        ["150|1048576|1048576"]
    );
    let batches = harness.query("SELECT name FROM s.n").await.unwrap();
    assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 150);
    assert!(batches.iter().all(|batch| batch.get_array_memory_size() < 5 << 20), "one message after the other");
}

/// A decoder that believed them would ask for memory that no machine has, and its process would end.
#[tokio::test]
async fn lengths_that_cannot_be_true_are_refused_and_the_server_lives_on() {
    let mut harness = Harness::start().await;
    harness.update("CREATE TABLE s.n (id BIGINT, name VARCHAR)").await;
    let zeros: ArrayRef = Arc::new(Int64Array::from(vec![0; 200_000]));
    let honest = messages(zeros).await;
    put(&mut harness, honest.clone()).await.unwrap();
    assert_eq!(harness.rows("SELECT count(*), count(id), count(name) FROM s.n").await, ["200000|200000|0"]);

    let mut grown = honest;
    let last = grown.last_mut().unwrap();
    let (said, lie) = ((200_000u64 * 8).to_le_bytes(), (1u64 << 46).to_le_bytes());
    let mut body = last.data_body.to_vec();
    let at = body.windows(8).position(|bytes| bytes == said).unwrap();
    body[at..at + 8].copy_from_slice(&lie);
    last.data_body = body.into();
    assert_refused(put(&mut harness, grown).await, Code::InvalidArgument, "server.max_message_bytes");

    for rows in [1 << 30, 1 << 45] {
        let nothing = messages(Arc::new(NullArray::new(rows))).await;
        assert_refused(put(&mut harness, nothing).await, Code::InvalidArgument, "rows");
    }
    assert_eq!(harness.rows("SELECT count(*) FROM s.n").await, ["200000"]);
}

#[tokio::test]
async fn decimals_with_more_digits_than_their_type_are_refused() {
    let mut harness = Harness::start().await;
    let client = Client::connect(&harness.server.url(), &Auth::default()).await.unwrap();
    let prices = |value: i128| {
        let prices = Decimal128Array::from(vec![value]).with_precision_and_scale(5, 2).unwrap();
        RecordBatch::try_from_iter([("price", Arc::new(prices) as ArrayRef)]).unwrap()
    };
    assert_eq!(ingest(&client, "prices", IngestMode::Create, vec![prices(99_999)]).await, Ok(1));
    let refused = ingest(&client, "prices", IngestMode::Append, vec![prices(1 << 40)]).await.unwrap_err();
    assert!(refused.contains("column price of table s.prices"), "{refused}");
    assert_eq!(harness.rows("SELECT price FROM s.prices").await, ["999.99"]);
}
