//! Bulk ingest, as `adbc_ingest` and `polynya-bench` do it.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use polynya_bench::client::{Auth, Client, IngestMode, IngestTarget};

use crate::harness::Harness;

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
