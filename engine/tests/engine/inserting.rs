//! INSERT, CREATE TABLE AS and ingest: what goes in comes out, and what does not fit is refused by name.

use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::physical_plan::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use polynya_engine::{Error, IngestMode, TableName};

use crate::lake::Lake;

async fn check(lake: &Lake, sql: &str, expected: &[&str]) {
    let text = lake.text(sql).await;
    let rows: Vec<String> = text
        .lines()
        .skip(3)
        .filter(|line| !line.starts_with('+'))
        .map(|line| {
            let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
            cells.join(" ")
        })
        .collect();
    assert_eq!(rows, expected, "{sql}");
}

async fn refused(lake: &Lake, sql: &str, words: &str) -> Error {
    let error = lake.ask(sql).await.expect_err(sql);
    assert!(error.to_string().contains(words), "{sql}: {error}");
    error
}

#[tokio::test(flavor = "multi_thread")]
async fn values_and_selects_by_position_and_by_name() {
    let lake = Lake::new().await;
    lake.run("CREATE TABLE t (id bigint NOT NULL, name varchar, price decimal(20, 2), at timestamp)").await;
    lake.run("INSERT INTO t VALUES (1, 'a', 1.5, TIMESTAMP '2024-01-02 03:04:05'), (2, NULL, NULL, NULL)").await;
    lake.run("INSERT INTO t (PRICE, id) SELECT 2, 3").await;
    lake.run("INSERT INTO t (id, at) VALUES (4, '2024-05-06 07:08:09')").await;
    lake.run("INSERT INTO s.T SELECT id + 10, name, price, at FROM t WHERE id < 3").await;
    check(
        &lake,
        "SELECT * FROM t ORDER BY id",
        &[
            "1 a 1.50 2024-01-02T03:04:05",
            "2   ",
            "3  2.00 ",
            "4   2024-05-06T07:08:09",
            "11 a 1.50 2024-01-02T03:04:05",
            "12   ",
        ],
    )
    .await;
    check(&lake, "SELECT count(*) FROM t", &["6"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn decimals_keep_every_digit() {
    let lake = Lake::new().await;
    lake.run("CREATE TABLE t (d decimal(38, 10), i int)").await;
    lake.run("INSERT INTO t VALUES (1234567890123456789.0123456789, 1), (-0.1, 2), (7, 3)").await;
    check(&lake, "SELECT d FROM t ORDER BY i", &["1234567890123456789.0123456789", "-0.1000000000", "7.0000000000"])
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn literals_are_meant_in_their_columns_type() {
    let lake = Lake::new().await;
    lake.run("CREATE TABLE n (f double, i int)").await;
    lake.run("INSERT INTO n VALUES (CAST('NaN' AS double), 1), (-1.5, 1 + 1), (NULL, '3')").await;
    check(&lake, "SELECT * FROM n ORDER BY i", &["NaN 1", "-1.5 2", " 3"]).await;
    lake.run("CREATE TABLE t (f double, i int, s varchar, d decimal(10, 2), day date)").await;
    lake.run(
        "INSERT INTO t VALUES ('NaN', 1, 7, '1.50', '2024-01-01'), (-2.5, '2', 'x', -1.25, NULL), \
         (1e3, NULL, NULL, 3, DATE '2024-01-02')",
    )
    .await;
    check(
        &lake,
        "SELECT * FROM t ORDER BY i",
        &["NaN 1 7 1.50 2024-01-01", "-2.5 2 x -1.25 ", "1000.0   3.00 2024-01-02"],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn values_that_do_not_fit_are_refused_and_nothing_stays() {
    let lake = Lake::new().await;
    lake.run("CREATE TABLE t (i int, d decimal(5, 2), f float, u uuid, b fixed(2), n bigint NOT NULL, day date)").await;
    refused(&lake, "INSERT INTO t (n, i) VALUES (1, 3000000000)", "column i of table s.t").await;
    refused(&lake, "INSERT INTO t (n, i) VALUES (1, 1.5)", "1.5 does not fit type int").await;
    refused(&lake, "INSERT INTO t (n, i) VALUES (1, 'x')", "column i of table s.t").await;
    refused(&lake, "INSERT INTO t (n, d) SELECT 1, 12345", "column d of table s.t").await;
    refused(&lake, "INSERT INTO t (n, f) VALUES (1, 1e300)", "column f of table s.t").await;
    refused(&lake, "INSERT INTO t (n, u) VALUES (1, 'no')", "'no' is not a UUID").await;
    refused(&lake, "INSERT INTO t (n, b) VALUES (1, 'abc')", "has 3 bytes; it must have 2").await;
    refused(&lake, "INSERT INTO t (n, day) VALUES (1, 5)", "use CAST").await;
    refused(&lake, "INSERT INTO t (i) VALUES (1)", "column n of table s.t is NOT NULL").await;
    refused(&lake, "INSERT INTO t (i, n) VALUES (1, 1), (2, NULL)", "column n of table s.t is NOT NULL").await;
    refused(&lake, "INSERT INTO t (n, nn) VALUES (1, 1)", "column nn of table s.t").await;
    refused(&lake, "INSERT INTO t (n, N) VALUES (1, 1)", "twice").await;
    refused(&lake, "INSERT INTO t VALUES (1, 2)", "names 7 columns, and the query gives 2").await;
    refused(&lake, "INSERT INTO nowhere VALUES (1)", "nowhere does not exist").await;
    check(&lake, "SELECT count(*) FROM t", &["0"]).await;
    lake.run(
        "INSERT INTO t VALUES ('7', '1.25', '2.5', '550e8400-e29b-41d4-a716-446655440000', 'ab', 1, '2024-01-01')",
    )
    .await;
    check(&lake, "SELECT i, d, f, day, n FROM t", &["7 1.25 2.5 2024-01-01 1"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nested_values() {
    let lake = Lake::new().await;
    lake.run("CREATE TABLE t (id int, s struct<a int, b varchar>, l array<bigint>, m map<varchar, int>)").await;
    lake.run("INSERT INTO t VALUES (1, named_struct('a', 1, 'b', 'x'), [1, 2, NULL], MAP {'k': 1})").await;
    lake.run("INSERT INTO t VALUES (2, struct(2, 'y'), [], NULL), (3, NULL, NULL, MAP {'p': NULL, 'q': 2})").await;
    check(
        &lake,
        "SELECT * FROM t ORDER BY id",
        &["1 {a: 1, b: x} [1, 2, ] {k: 1}", "2 {a: 2, b: y} [] ", "3   {p: , q: 2}"],
    )
    .await;
    check(&lake, "SELECT s['b'], l[2] FROM t WHERE id = 1", &["x 2"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_transform_partitions_and_prunes() {
    let lake = Lake::new().await;
    lake.run(
        "CREATE TABLE t (id bigint, name varchar, day date, at timestamp) \
         PARTITIONED BY (bucket(4, id), truncate(1, name), months(day), hours(at), day)",
    )
    .await;
    lake.run(
        "INSERT INTO t SELECT value, chr(97 + CAST(value % 3 AS int)) || 'x', DATE '1969-12-01' + CAST(value AS int), \
         to_timestamp(-7200 + value * 60) FROM range(0, 90)",
    )
    .await;
    lake.run("INSERT INTO t VALUES (NULL, NULL, NULL, NULL)").await;
    check(&lake, "SELECT count(*), count(id), min(day), max(day) FROM t", &["91 90 1969-12-01 1970-02-28"]).await;
    check(&lake, "SELECT count(*) FROM t WHERE day >= DATE '1970-01-01' AND day < DATE '1970-02-01'", &["31"]).await;
    check(&lake, "SELECT id FROM t WHERE id = 42", &["42"]).await;
    check(&lake, "SELECT count(*) FROM t WHERE name LIKE 'bx%'", &["30"]).await;
    check(&lake, "SELECT count(*) FROM t WHERE at >= TIMESTAMP '1970-01-01' - INTERVAL '1 hour'", &["30"]).await;
    check(&lake, "SELECT count(*) FROM t WHERE id IS NULL", &["1"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_partitions_than_open_files() {
    let lake = Lake::new().await;
    lake.run("CREATE TABLE t (p int, v bigint) PARTITIONED BY (p)").await;
    lake.run("INSERT INTO t SELECT CAST(value % 250 AS int), value FROM range(0, 20000)").await;
    check(&lake, "SELECT count(*), count(DISTINCT p), sum(v) FROM t", &["20000 250 199990000"]).await;
    check(&lake, "SELECT count(*) FROM t WHERE p = 249", &["80"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partitioned_load_stays_within_memory() {
    let mut settings = polynya_engine::Settings::default();
    settings.memory.limit = Some(bytesize::ByteSize::mib(24));
    let lake = Lake::with(settings).await;
    lake.run("CREATE TABLE t (p int, v bigint, s varchar) PARTITIONED BY (p)").await;
    let sql = "INSERT INTO t SELECT CAST(value % 60 AS int), value, md5(CAST(value AS varchar)) FROM range(0, 600000)";
    lake.run(sql).await;
    check(&lake, "SELECT count(*), count(DISTINCT p), sum(v) FROM t", &["600000 60 179999700000"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn create_table_as_takes_the_querys_columns() {
    let lake = Lake::new().await;
    lake.run(
        "CREATE TABLE t PARTITIONED BY (months(d)) WITH (\"write.parquet.compression-codec\" = 'snappy') AS \
         SELECT 1 AS id, 'x' AS name, DATE '2024-03-01' AS d, now() AS at, CAST(1.5 AS decimal(9, 2)) AS price",
    )
    .await;
    check(
        &lake,
        "DESCRIBE t",
        &[
            "id bigint YES  ",
            "name varchar YES  ",
            "d date YES months(d) ",
            "at timestamptz YES  ",
            "price decimal(9, 2) YES  ",
        ],
    )
    .await;
    check(&lake, "SELECT id, name, d, price FROM t", &["1 x 2024-03-01 1.50"]).await;
    refused(&lake, "CREATE TABLE t AS SELECT 1 AS a", "already exists").await;
    lake.run("CREATE TABLE IF NOT EXISTS t AS SELECT 2 AS id").await;
    check(&lake, "SELECT count(*) FROM t", &["1"]).await;
    refused(&lake, "CREATE TABLE n AS SELECT NULL AS a", "column a").await;
    refused(&lake, "CREATE TABLE n AS SELECT 1 AS a, 2 AS \"A\", CAST('x' AS int) AS c", "").await;
    refused(&lake, "SELECT * FROM n", "does not exist").await;
    lake.run("CREATE TABLE e AS SELECT 1 AS a WHERE false").await;
    check(&lake, "SELECT count(*) FROM e", &["0"]).await;
}

fn rows(ids: &[i64], names: &[Option<&str>]) -> SendableRecordBatchStream {
    let schema =
        Arc::new(Schema::new(vec![Field::new("name", DataType::Utf8, true), Field::new("id", DataType::Int64, false)]));
    let columns: Vec<arrow::array::ArrayRef> =
        vec![Arc::new(StringArray::from(names.to_vec())), Arc::new(Int64Array::from(ids.to_vec()))];
    let batch = RecordBatch::try_new(Arc::clone(&schema), columns).unwrap();
    Box::pin(RecordBatchStreamAdapter::new(schema, futures::stream::iter([Ok(batch)])))
}

#[tokio::test(flavor = "multi_thread")]
async fn ingest_matches_columns_by_name() {
    let lake = Lake::new().await;
    let name = TableName { catalog: "lake".into(), schema: "s".into(), table: "t".into() };
    let ingest = |mode, ids: &[i64]| {
        let names: Vec<Option<&str>> = ids.iter().map(|_| Some("n")).collect();
        let rows = rows(ids, &names);
        let (engine, session, name) = (Arc::clone(&lake.engine), &lake.session, &name);
        async move { engine.ingest(name, mode, rows, session).await }
    };
    assert!(ingest(IngestMode::Append, &[1]).await.is_err(), "there is no table yet");
    assert_eq!(ingest(IngestMode::Create, &[1, 2]).await.unwrap(), 2);
    let error = ingest(IngestMode::Create, &[1]).await.unwrap_err();
    assert!(matches!(error.root(), Error::AlreadyExists { .. }), "{error:?}");
    assert_eq!(ingest(IngestMode::Append, &[3]).await.unwrap(), 1);
    assert_eq!(ingest(IngestMode::CreateAppend, &[4]).await.unwrap(), 1);
    check(&lake, "SELECT id, name FROM t ORDER BY id", &["1 n", "2 n", "3 n", "4 n"]).await;
    assert_eq!(ingest(IngestMode::Replace, &[9]).await.unwrap(), 1);
    check(&lake, "SELECT id FROM t", &["9"]).await;
    check(&lake, "SHOW TABLES", &["lake s t BASE TABLE"]).await;
    lake.run("CREATE TABLE narrow (id bigint)").await;
    let narrow = TableName { table: "narrow".into(), ..name.clone() };
    let error = lake.engine.ingest(&narrow, IngestMode::Append, rows(&[1], &[None]), &lake.session).await.unwrap_err();
    assert!(error.to_string().contains("column name"), "{error}");
}

/// A table that is replaced stays the same table, with its properties and its older snapshots, and is never half replaced.
#[tokio::test(flavor = "multi_thread")]
async fn a_replaced_table_has_the_new_columns_and_rows_and_no_partitions() {
    let lake = Lake::new().await;
    lake.run(
        "CREATE TABLE t (id bigint NOT NULL, day date, gone varchar) PARTITIONED BY (day) WITH (\"write.parquet.compression-codec\" = 'snappy')",
    )
    .await;
    lake.run("INSERT INTO t VALUES (1, DATE '2024-02-29', 'old')").await;
    let name = TableName { catalog: "lake".into(), schema: "s".into(), table: "t".into() };
    let replace = |ids: &'static [i64]| {
        let names: Vec<Option<&str>> = ids.iter().map(|_| None).collect();
        lake.engine.ingest(&name, IngestMode::Replace, rows(ids, &names), &lake.session)
    };
    for ids in [[7, 8].as_slice(), &[9]] {
        assert_eq!(replace(ids).await.unwrap(), ids.len() as u64);
        let expected: Vec<String> = ids.iter().map(|id| format!(" {id}")).collect();
        let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
        check(&lake, "SELECT * FROM t ORDER BY id", &expected).await;
    }
    lake.run("INSERT INTO t VALUES ('more', 10)").await;
    check(&lake, "SELECT name, id FROM t WHERE id > 8 ORDER BY id", &[" 9", "more 10"]).await;
    let shown = lake.text("SHOW CREATE TABLE t").await;
    assert!(shown.contains("snappy") && !shown.contains("PARTITIONED"), "{shown}");

    // Rows that cannot be had leave the table as it is.
    let schema = rows(&[1], &[None]).schema();
    let broken = futures::stream::iter([Err(datafusion::error::DataFusionError::Execution("broken".to_owned()))]);
    let broken = Box::pin(RecordBatchStreamAdapter::new(schema, broken));
    assert!(lake.engine.ingest(&name, IngestMode::Replace, broken, &lake.session).await.is_err());
    check(&lake, "SELECT count(*) FROM t", &["2"]).await;

    assert_eq!(replace(&[]).await.unwrap(), 0);
    check(&lake, "SELECT count(*) FROM t", &["0"]).await;
    check(&lake, "SHOW TABLES", &["lake s t BASE TABLE"]).await;
}

/// Whatever fails on the way to a new table, there is no table then.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_cannot_be_filled_was_never_there() {
    let lake = Lake::new().await;
    let error = lake.ask("CREATE TABLE t AS SELECT 1 / (value - 5000) AS v FROM range(0, 10000)").await.unwrap_err();
    assert!(error.to_string().to_lowercase().contains("zero"), "{error}");
    check(&lake, "SHOW TABLES", &[]).await;
    lake.run("CREATE TABLE t AS SELECT value AS v FROM range(0, 10) WHERE value < 0").await;
    check(&lake, "SELECT count(*) FROM t", &["0"]).await;
}
