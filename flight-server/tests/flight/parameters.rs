//! Values for the parameters of prepared statements: every type, NULL, many rows, and what is refused.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, FixedSizeBinaryArray, Float32Array,
    Float64Array, Int32Array, Int64Array, NullArray, RecordBatch, StringArray, Time32MillisecondArray,
    TimestampMicrosecondArray, TimestampMillisecondArray,
};
use arrow::datatypes::{DataType, Schema};
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::sql::{
    CommandPreparedStatementQuery, CommandPreparedStatementUpdate, DoPutPreparedStatementResult, DoPutUpdateResult,
    ProstMessageExt,
};
use arrow_flight::{FlightData, FlightDescriptor, IpcMessage, PutResult};
use bytes::Bytes;
use bytesize::ByteSize;
use futures::{TryStreamExt, stream};
use polynya_flight_server::ServerSettings;
use prost::Message;
use tonic::{Code, Status};

use crate::harness::{Harness, assert_refused, info_schema, schema_of, text};
use crate::prepared::{prepare, query_command};

fn rows(columns: Vec<ArrayRef>) -> RecordBatch {
    let named = columns.into_iter().enumerate().map(|(index, column)| (index.to_string(), column, true));
    RecordBatch::try_from_iter_with_nullable(named).unwrap()
}

fn ints(values: impl Into<Int64Array>) -> ArrayRef {
    Arc::new(values.into())
}

fn texts(values: impl Into<StringArray>) -> ArrayRef {
    Arc::new(values.into())
}

/// Puts batches, of which there is at least one.
async fn put(
    harness: &mut Harness,
    command: impl ProstMessageExt,
    batches: Vec<RecordBatch>,
) -> Result<PutResult, Status> {
    let descriptor = FlightDescriptor::new_cmd(command.as_any().encode_to_vec());
    let encoder =
        FlightDataEncoderBuilder::new().with_schema(batches[0].schema()).with_flight_descriptor(Some(descriptor));
    let messages = encoder.build(stream::iter(batches.into_iter().map(Ok)));
    let messages: Vec<FlightData> = messages.try_collect().await.map_err(Status::from)?;
    let mut results = harness.raw.do_put(stream::iter(messages)).await?.into_inner();
    Ok(results.message().await?.unwrap())
}

async fn bind(harness: &mut Harness, handle: &Bytes, values: Vec<RecordBatch>) -> Result<(), Status> {
    let command = CommandPreparedStatementQuery { prepared_statement_handle: handle.clone() };
    let result = put(harness, command, values).await?;
    let result = DoPutPreparedStatementResult::decode(result.app_metadata).unwrap();
    assert_eq!(result.prepared_statement_handle.as_ref(), Some(handle));
    Ok(())
}

async fn execute(harness: &mut Harness, handle: &Bytes) -> Result<Vec<String>, Status> {
    let info = harness.raw.get_flight_info(query_command(handle)).await?.into_inner();
    Ok(text(&harness.fetch(&info).await?.1))
}

/// Prepares a query, binds values and runs it.
async fn ask(harness: &mut Harness, sql: &str, values: Vec<ArrayRef>) -> Result<Vec<String>, Status> {
    let handle = prepare(harness, sql).await?.prepared_statement_handle;
    bind(harness, &handle, vec![rows(values)]).await?;
    execute(harness, &handle).await
}

/// Prepares an update and runs it with rows of values.
async fn update(harness: &mut Harness, sql: &str, values: Vec<RecordBatch>) -> Result<i64, Status> {
    let handle = prepare(harness, sql).await?.prepared_statement_handle;
    let command = CommandPreparedStatementUpdate { prepared_statement_handle: handle };
    let result = put(harness, command, values).await?;
    Ok(DoPutUpdateResult::decode(result.app_metadata).unwrap().record_count)
}

async fn parameter_types(harness: &mut Harness, sql: &str) -> Vec<DataType> {
    let prepared = prepare(harness, sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    let schema = Schema::try_from(IpcMessage(prepared.parameter_schema)).unwrap();
    schema.fields().iter().map(|field| field.data_type().clone()).collect()
}

fn sqlstate(status: &Status) -> &str {
    status.metadata().get("polynya-sqlstate").unwrap().to_str().unwrap()
}

#[tokio::test]
async fn every_type_goes_in_and_is_found_again_in_the_type_that_is_advertised() {
    let mut harness = Harness::start().await;
    let at = 1_709_210_096_789;
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("boolean", Arc::new(BooleanArray::from(vec![true]))),
        ("int", Arc::new(Int32Array::from(vec![-7]))),
        ("bigint", ints(vec![1 << 40])),
        ("float", Arc::new(Float32Array::from(vec![0.5]))),
        ("double", Arc::new(Float64Array::from(vec![0.1]))),
        ("decimal(10, 2)", Arc::new(Decimal128Array::from(vec![1250]).with_precision_and_scale(10, 2).unwrap())),
        ("date", Arc::new(Date32Array::from(vec![19_782]))),
        ("time", Arc::new(Time32MillisecondArray::from(vec![45_296_789]))),
        ("timestamp", Arc::new(TimestampMillisecondArray::from(vec![at]))),
        ("timestamptz", Arc::new(TimestampMillisecondArray::from(vec![at]).with_timezone("UTC"))),
        ("varchar", texts(vec!["it's"])),
        ("uuid", Arc::new(FixedSizeBinaryArray::try_from_iter([[7_u8; 16]].iter()).unwrap())),
        ("fixed(3)", Arc::new(FixedSizeBinaryArray::try_from_iter([b"abc"].iter()).unwrap())),
        ("binary", Arc::new(BinaryArray::from_vec(vec![b"\x00\xff".as_slice()]))),
    ];
    let definitions: Vec<String> =
        columns.iter().enumerate().map(|(index, (ty, _))| format!("c{index} {ty}")).collect();
    harness.update(&format!("CREATE TABLE s.v ({})", definitions.join(", "))).await;
    let marks = vec!["?"; columns.len()].join(", ");
    let insert = format!("INSERT INTO s.v VALUES ({marks})");
    let values: Vec<ArrayRef> = columns.iter().map(|(_, values)| Arc::clone(values)).collect();
    let types: Vec<DataType> = values.iter().map(|values| values.data_type().clone()).collect();
    assert_eq!(parameter_types(&mut harness, &insert).await, types);
    assert_eq!(update(&mut harness, &insert, vec![rows(values)]).await.unwrap(), 1);
    for (index, (ty, value)) in columns.into_iter().enumerate() {
        let sql = format!("SELECT count(*) FROM s.v WHERE c{index} = ?");
        assert_eq!(parameter_types(&mut harness, &sql).await, [value.data_type().clone()], "{ty}");
        assert_eq!(ask(&mut harness, &sql, vec![value]).await.unwrap(), ["1"], "{ty}");
    }
}

#[tokio::test]
async fn null_is_a_value_of_every_type() {
    let mut harness = Harness::start().await;
    let insert = "INSERT INTO s.t VALUES (?, ?)";
    let nulls: Vec<ArrayRef> = vec![ints(vec![9, 10]), Arc::new(NullArray::new(2))];
    assert_eq!(update(&mut harness, insert, vec![rows(nulls)]).await.unwrap(), 2);
    assert_eq!(harness.rows("SELECT count(*) FROM s.t WHERE name IS NULL AND id > 8").await, ["2"]);
    let of_text = vec![texts(vec![None::<&str>])];
    assert!(ask(&mut harness, "SELECT id FROM s.t WHERE id = ?", of_text).await.unwrap().is_empty());
    let required: Vec<ArrayRef> = vec![ints(vec![None]), texts(vec!["x"])];
    assert_refused(update(&mut harness, insert, vec![rows(required)]).await, Code::InvalidArgument, "NOT NULL");
}

#[tokio::test]
async fn a_statement_runs_again_with_other_values() {
    let mut harness = Harness::start().await;
    let handle = prepare(&mut harness, "SELECT name FROM s.t WHERE id = $1 OR id = $1 + 10").await.unwrap();
    let handle = handle.prepared_statement_handle;
    for (id, name) in [(1, "one"), (3, "three"), (2, "")] {
        bind(&mut harness, &handle, vec![rows(vec![ints(vec![id])])]).await.unwrap();
        for _ in 0..2 {
            assert_eq!(execute(&mut harness, &handle).await.unwrap(), [name]);
        }
    }
}

#[tokio::test]
async fn parameters_stand_wherever_values_do() {
    let mut harness = Harness::start().await;
    let yes: ArrayRef = Arc::new(BooleanArray::from(vec![true]));
    for (sql, values, expected) in [
        ("SELECT id FROM s.t WHERE id IN (?, ?) ORDER BY id", vec![ints(vec![3]), ints(vec![1])], vec!["1", "3"]),
        ("SELECT id FROM s.t WHERE id BETWEEN ? AND ? ORDER BY id", vec![ints(vec![2]), ints(vec![9])], vec!["2", "3"]),
        ("SELECT id FROM s.t ORDER BY id LIMIT ? OFFSET ?", vec![ints(vec![1]), ints(vec![1])], vec!["2"]),
        ("SELECT name FROM s.t WHERE name LIKE ?", vec![texts(vec!["thr%"])], vec!["three"]),
        ("SELECT CAST(? AS DATE) + INTERVAL '1' DAY", vec![texts(vec!["2024-02-29"])], vec!["2024-03-01"]),
        ("SELECT max(id + ?) FROM s.t GROUP BY id > ? ORDER BY 1", vec![ints(vec![5]), ints(vec![2])], vec!["7", "8"]),
        ("WITH c AS (SELECT ? AS a) SELECT id FROM s.t, c WHERE id = a", vec![ints(vec![2])], vec!["2"]),
        ("SELECT (SELECT count(*) FROM s.t WHERE id > ?) + ?", vec![ints(vec![1]), ints(vec![40])], vec!["42"]),
        (
            "SELECT upper(?), coalesce(name, ?) FROM s.t WHERE id = 2",
            vec![texts(vec!["a"]), texts(vec!["b"])],
            vec!["A|b"],
        ),
        (
            "SELECT id FROM s.t WHERE CASE WHEN id = ? THEN ? ELSE id > 5 END",
            vec![ints(vec![1]), Arc::clone(&yes)],
            vec!["1"],
        ),
    ] {
        let rows = ask(&mut harness, sql, values).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        assert_eq!(rows, expected, "{sql}");
    }
    let types = parameter_types(&mut harness, "SELECT CAST(? AS DATE) FROM s.t WHERE id < ? LIMIT ?").await;
    assert_eq!(types, [DataType::Date32, DataType::Int64, DataType::Int64]);
    let text = parameter_types(&mut harness, "SELECT upper(?), name LIKE ? FROM s.t").await;
    assert_eq!(text, [DataType::Utf8, DataType::Utf8]);
}

#[tokio::test]
async fn a_parameter_without_a_type_takes_that_of_its_value() {
    let mut harness = Harness::start().await;
    assert_eq!(parameter_types(&mut harness, "SELECT ?").await, [DataType::Utf8]);
    let handle = prepare(&mut harness, "SELECT ?").await.unwrap().prepared_statement_handle;
    let day: ArrayRef = Arc::new(Date32Array::from(vec![0]));
    for (value, ty, shown) in [
        (ints(vec![5]), DataType::Int64, "5"),
        (texts(vec!["x"]), DataType::Utf8, "x"),
        (day, DataType::Date32, "1970-01-01"),
    ] {
        bind(&mut harness, &handle, vec![rows(vec![value])]).await.unwrap();
        let described = schema_of(harness.raw.get_schema(query_command(&handle)).await.unwrap().into_inner());
        let info = harness.raw.get_flight_info(query_command(&handle)).await.unwrap().into_inner();
        assert_eq!(info_schema(&info), described);
        assert_eq!(described.field(0).data_type(), &ty);
        assert_eq!(described.field(0).name(), "$1");
        assert_eq!(text(&harness.fetch(&info).await.unwrap().1), [shown]);
    }
    let interval = "SELECT count(*) FROM s.t WHERE TIMESTAMP '1970-01-01 12:00:00' > ? - INTERVAL '1' DAY";
    let noon: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![0]));
    assert_eq!(ask(&mut harness, interval, vec![noon]).await.unwrap(), ["3"]);
}

#[tokio::test]
async fn values_that_do_not_fit_are_refused_by_number() {
    let mut harness = Harness::start().await;
    harness.update("CREATE TABLE s.n (i INT, d DATE)").await;
    let both = "SELECT * FROM s.n WHERE i = ? AND d = ?";
    let day: ArrayRef = Arc::new(Date32Array::from(vec![0]));
    let fraction: ArrayRef = Arc::new(Float64Array::from(vec![1.5]));
    for (values, part) in [
        (vec![texts(vec!["many"]), Arc::clone(&day)], "parameter 1"),
        (vec![ints(vec![3_000_000_000]), Arc::clone(&day)], "parameter 1"),
        (vec![Arc::clone(&fraction), Arc::clone(&day)], "Float64"),
        (vec![ints(vec![1]), ints(vec![1])], "parameter 2"),
    ] {
        let status = assert_refused(ask(&mut harness, both, values).await, Code::InvalidArgument, part);
        assert_eq!(sqlstate(&status), "22023");
    }
    let insert = "INSERT INTO s.n VALUES (?, ?)";
    let large = vec![rows(vec![ints(vec![1, 3_000_000_000]), texts(vec!["2024-01-01", "2024-01-02"])])];
    assert_refused(update(&mut harness, insert, large).await, Code::InvalidArgument, "parameter 1");
    assert_eq!(harness.rows("SELECT count(*) FROM s.n").await, ["0"]);
}

#[tokio::test]
async fn more_and_fewer_values_than_parameters_are_refused() {
    let mut harness = Harness::start().await;
    let sql = "SELECT * FROM s.t WHERE id = ? AND name = ?";
    let status = assert_refused(ask(&mut harness, sql, vec![ints(vec![1])]).await, Code::InvalidArgument, "takes 2");
    assert_eq!(sqlstate(&status), "07001");
    let handle = prepare(&mut harness, sql).await.unwrap().prepared_statement_handle;
    let status = assert_refused(execute(&mut harness, &handle).await, Code::InvalidArgument, "0 values are bound");
    assert_eq!(sqlstate(&status), "07001");
    assert_refused(harness.info(sql).await, Code::InvalidArgument, "0 values are bound");
    let extra = ask(&mut harness, "SELECT 1", vec![ints(vec![1])]).await;
    assert_refused(extra, Code::InvalidArgument, "takes 0 parameters, and 1 values");
    assert_refused(prepare(&mut harness, "SELECT ?, $1").await, Code::InvalidArgument, "both kinds");
    for name in ["$name", ":name", "@name", "$0", "?1"] {
        let refused = prepare(&mut harness, &format!("SELECT {name}")).await;
        let status = assert_refused(refused, Code::InvalidArgument, &format!("the parameter {name}"));
        assert_eq!(sqlstate(&status), "0A000");
    }
}

#[tokio::test]
async fn many_rows_of_an_insert_are_one_commit() {
    let mut harness = Harness::start().await;
    harness.update("CREATE TABLE s.many (id BIGINT, name VARCHAR, kind VARCHAR)").await;
    let batch = |from: i64| {
        let names: Vec<String> = (from..from + 500).map(|id| format!("n{id}")).collect();
        rows(vec![ints((from..from + 500).collect::<Vec<_>>()), texts(names)])
    };
    let insert = "INSERT INTO s.many (id, name, kind) VALUES (?, upper(?), 'new')";
    assert_eq!(update(&mut harness, insert, vec![batch(0), batch(500)]).await.unwrap(), 1000);
    assert_eq!(harness.rows("SELECT count(*), max(id), min(name), max(kind) FROM s.many").await, ["1000|999|N0|new"]);
    let plan = harness.rows("EXPLAIN SELECT * FROM s.many").await.join("\n");
    assert!(plan.contains("manifests: 1 considered"), "{plan}");
    assert!(plan.contains("files: 1 considered"), "{plan}");

    // A query that feeds an INSERT runs once for each row; it is one commit all the same.
    let copy = "INSERT INTO s.many SELECT id + ?, name, ? FROM s.many WHERE id = ?";
    let values = rows(vec![ints(vec![2000, 3000]), texts(vec!["a", "b"]), ints(vec![1, 2])]);
    assert_eq!(update(&mut harness, copy, vec![values]).await.unwrap(), 2);
    assert_eq!(harness.rows("SELECT id, kind FROM s.many WHERE id > 999 ORDER BY id").await, ["2001|a", "3002|b"]);
    let plan = harness.rows("EXPLAIN SELECT * FROM s.many").await.join("\n");
    assert!(plan.contains("manifests: 2 considered"), "{plan}");
}

#[tokio::test]
async fn an_update_takes_values_from_its_handle_too_and_runs_through_get_flight_info() {
    let mut harness = Harness::start().await;
    let insert = "INSERT INTO s.t (name, id) VALUES (?, ?)";
    let mut prepared = harness.sql.prepare(insert.to_owned(), None).await.unwrap();
    prepared.set_parameters(rows(vec![texts(vec!["a", "b"]), ints(vec![10, 11])])).unwrap();
    assert_eq!(prepared.execute_update().await.unwrap(), 2);

    let handle = prepare(&mut harness, insert).await.unwrap().prepared_statement_handle;
    bind(&mut harness, &handle, vec![rows(vec![texts(vec!["c"]), ints(vec![12])])]).await.unwrap();
    let info = harness.raw.get_flight_info(query_command(&handle)).await.unwrap().into_inner();
    assert_eq!(info.total_records, 1);
    assert_eq!(harness.rows("SELECT name FROM s.t WHERE id > 9 ORDER BY id").await, ["a", "b", "c"]);

    let create = "CREATE TABLE s.made AS SELECT id, CAST(? AS VARCHAR) AS note FROM s.t WHERE id > ?";
    assert_eq!(update(&mut harness, create, vec![rows(vec![texts(vec!["x"]), ints(vec![10])])]).await.unwrap(), 2);
    assert_eq!(harness.rows("SELECT min(note) FROM s.made").await, ["x"]);
    let none = RecordBatch::new_empty(rows(vec![texts(vec!["x"]), ints(vec![1])]).schema());
    assert_eq!(update(&mut harness, insert, vec![none]).await.unwrap(), 0);
}

#[tokio::test]
async fn a_query_gives_the_rows_of_all_rows_of_its_values() {
    let mut harness = Harness::start().await;
    let values = vec![ints(vec![Some(3), Some(1), None, Some(3)])];
    let found = ask(&mut harness, "SELECT id, name FROM s.t WHERE id = ?", values).await.unwrap();
    assert_eq!(found, ["3|three", "1|one", "3|three"]);
    let values = vec![ints(vec![Some(1), None])];
    assert_eq!(ask(&mut harness, "SELECT ?", values).await.unwrap(), ["1", ""]);
    let many = vec![ints((0..2000).collect::<Vec<_>>())];
    let refused = ask(&mut harness, "SELECT ?", many).await;
    assert_refused(refused, Code::InvalidArgument, "1 to 1000 rows");
}

#[tokio::test]
async fn files_are_pruned_by_the_values_of_parameters() {
    let mut harness = Harness::start().await;
    harness.update("INSERT INTO s.t VALUES (100, 'hundred')").await;
    let explain = "EXPLAIN SELECT * FROM s.t WHERE id = ?";
    let plan = ask(&mut harness, explain, vec![ints(vec![100])]).await.unwrap().join("\n");
    assert!(plan.contains("files: 2 considered, 1 pruned"), "{plan}");
    let plan = ask(&mut harness, explain, vec![ints(vec![50])]).await.unwrap().join("\n");
    assert!(plan.contains("files: 2 considered, 2 pruned"), "{plan}");
}

#[tokio::test]
async fn values_that_are_no_arrow_data_are_the_clients_error() {
    let mut harness = Harness::start().await;
    let handle = prepare(&mut harness, "SELECT ?").await.unwrap().prepared_statement_handle;
    let command = CommandPreparedStatementQuery { prepared_statement_handle: handle.clone() };
    let descriptor = FlightDescriptor::new_cmd(command.as_any().encode_to_vec());
    let garbage = FlightData::new().with_descriptor(descriptor.clone()).with_data_header("garbage");
    let refused = harness.raw.do_put(stream::iter([garbage])).await.map(|_| ());
    assert_refused(refused, Code::InvalidArgument, "not a valid");

    let encoder = FlightDataEncoderBuilder::new().with_flight_descriptor(Some(descriptor));
    let batches = stream::iter([Ok(rows(vec![texts(vec!["a text", "another"])]))]);
    let messages: Vec<FlightData> = encoder.build(batches).try_collect().await.unwrap();
    for cut in 0..messages[1].data_body.len() {
        let mut broken = messages.clone();
        broken[1].data_body = broken[1].data_body.slice(..cut);
        if let Err(status) = harness.raw.do_put(stream::iter(broken)).await {
            assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
        }
    }
    let unknown = bind(&mut harness, &Bytes::from_static(b"guess"), vec![rows(vec![ints(vec![1])])]).await;
    assert_refused(unknown, Code::NotFound, "prepare it again");
}

#[tokio::test]
async fn the_bytes_of_values_are_limited() {
    let settings = ServerSettings { max_message_bytes: ByteSize::mib(1), ..ServerSettings::default() };
    let mut harness = Harness::start_with(settings).await;
    let handle = prepare(&mut harness, "INSERT INTO s.t VALUES (1, ?)").await.unwrap().prepared_statement_handle;
    let batch = |kib: usize| rows(vec![texts(vec!["x".repeat(kib * 1024)])]);
    bind(&mut harness, &handle, vec![batch(400)]).await.unwrap();
    let refused = bind(&mut harness, &handle, vec![batch(400), batch(400), batch(400)]).await;
    assert_refused(refused, Code::ResourceExhausted, "server.max_message_bytes");
}

#[tokio::test]
async fn statements_bound_at_once_do_not_see_each_others_values() {
    let harness = Harness::start().await;
    let mut tasks = Vec::new();
    for id in 1..=3_i64 {
        let channel = crate::harness::connect(&harness.server).await;
        tasks.push(async move {
            let mut sql = arrow_flight::sql::client::FlightSqlServiceClient::new(channel);
            let mut prepared = sql.prepare("SELECT id FROM s.t WHERE id = ?".to_owned(), None).await.unwrap();
            for _ in 0..20 {
                prepared.set_parameters(rows(vec![ints(vec![id])])).unwrap();
                let info = prepared.execute().await.unwrap();
                let ticket = info.endpoint[0].ticket.clone().unwrap();
                let batches: Vec<RecordBatch> = sql.do_get(ticket).await.unwrap().try_collect().await.unwrap();
                assert_eq!(text(&batches), [id.to_string()]);
            }
        });
    }
    futures::future::join_all(tasks).await;
}

#[tokio::test]
async fn decimals_of_38_digits_are_right_or_refused() {
    const NINES: i128 = 99_999_999_999_999_999_999_999_999_999_999_999_999;
    let mut harness = Harness::start().await;
    harness.update("CREATE TABLE s.d (wide DECIMAL(38, 0), cents DECIMAL(10, 2))").await;
    let decimal = |value: i128, precision: u8, scale: i8| -> ArrayRef {
        Arc::new(Decimal128Array::from(vec![value]).with_precision_and_scale(precision, scale).unwrap())
    };
    let insert = "INSERT INTO s.d VALUES (?, 1.25)";
    assert_eq!(update(&mut harness, insert, vec![rows(vec![decimal(NINES, 38, 0)])]).await.unwrap(), 1);
    for (sql, value, expected) in [
        ("SELECT count(*) FROM s.d WHERE wide = ?", decimal(NINES, 38, 0), "1"),
        ("SELECT count(*) FROM s.d WHERE wide = ?", decimal(NINES - 1, 38, 0), "0"),
        ("SELECT count(*) FROM s.d WHERE cents = ?", decimal(125 * 10_i128.pow(34), 38, 36), "1"),
        ("SELECT count(*) FROM s.d WHERE cents < ?", decimal(NINES / 1000, 38, 0), "1"),
        ("SELECT ?", decimal(NINES, 38, 38), "0.99999999999999999999999999999999999999"),
        ("SELECT wide - ? FROM s.d", decimal(NINES, 38, 0), "0"),
    ] {
        assert_eq!(ask(&mut harness, sql, vec![value]).await.unwrap(), [expected], "{sql}");
    }
    for (sql, value) in [
        ("SELECT count(*) FROM s.d WHERE cents = ?", decimal(NINES, 38, 0)),
        ("SELECT count(*) FROM s.d WHERE wide = ?", decimal(NINES, 38, 10)),
        ("SELECT CAST(? AS DECIMAL(10, 2))", decimal(NINES, 38, 0)),
        ("SELECT CAST(? AS BIGINT)", decimal(NINES, 38, 0)),
    ] {
        assert_refused(ask(&mut harness, sql, vec![value]).await, Code::InvalidArgument, "");
    }
    // More digits than the value's own type has: no client may send such, and Arrow does not look.
    let select = "SELECT count(*) FROM s.d WHERE wide = ?";
    let refused = ask(&mut harness, select, vec![decimal(NINES, 5, 2)]).await;
    assert_eq!(sqlstate(&assert_refused(refused, Code::InvalidArgument, "parameter 1")), "22023");
    for (columns, value) in
        [("cents", decimal(NINES, 38, 0)), ("cents", decimal(NINES, 10, 2)), ("wide", decimal(NINES, 5, 0))]
    {
        let insert = format!("INSERT INTO s.d ({columns}) VALUES (?)");
        let refused = update(&mut harness, &insert, vec![rows(vec![value])]).await;
        assert_refused(refused, Code::InvalidArgument, "");
    }
    assert_eq!(harness.rows("SELECT count(*) FROM s.d").await, ["1"]);
}
