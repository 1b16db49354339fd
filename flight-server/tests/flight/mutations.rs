//! Ten thousand damaged messages: each is answered, with an error of the client's or an answer; none panics, hangs or
//! ends the server.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::sql::{
    ActionClosePreparedStatementRequest, ActionCreatePreparedStatementRequest, CommandGetDbSchemas, CommandGetSqlInfo,
    CommandGetTables, CommandGetXdbcTypeInfo, CommandPreparedStatementQuery, CommandPreparedStatementUpdate,
    CommandStatementIngest, CommandStatementQuery, ProstMessageExt,
};
use arrow_flight::{Action, FlightData, FlightDescriptor, Ticket};
use arrow_ipc::CompressionType;
use arrow_ipc::writer::IpcWriteOptions;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use polynya_flight_server::ServerSettings;
use prost::Message;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::harness::Harness;
use crate::prepared::prepare;

const MESSAGES: u64 = 10_000;
const AT_ONCE: usize = 4;
const PATIENCE: Duration = Duration::from_secs(20);

/// A call, before its bytes are damaged.
#[derive(Debug, Clone)]
enum Call {
    Info(Bytes),
    Schema(Bytes),
    Poll(Bytes),
    Get(Bytes),
    Action(&'static str, Bytes),
    Put(Vec<FlightData>),
}

impl Call {
    /// The same call with some of its bytes changed, lost, or made up.
    fn damaged(mut self, random: &mut StdRng) -> Self {
        match &mut self {
            Self::Info(bytes) | Self::Schema(bytes) | Self::Poll(bytes) | Self::Get(bytes) | Self::Action(_, bytes) => {
                *bytes = damaged(bytes, random);
            }
            Self::Put(messages) => {
                let index = random.random_range(0..messages.len());
                let message = &mut messages[index];
                match (random.random_range(0..5), &mut message.flight_descriptor) {
                    (0, Some(descriptor)) => descriptor.cmd = damaged(&descriptor.cmd, random),
                    (1 | 2, _) => message.data_body = damaged(&message.data_body, random),
                    _ => message.data_header = damaged(&message.data_header, random),
                }
            }
        }
        self
    }

    /// Makes the call, and reads all of its answer.
    async fn make(self, mut client: FlightServiceClient<Channel>) -> Result<(), Status> {
        match self {
            Self::Info(command) => client.get_flight_info(FlightDescriptor::new_cmd(command)).await.map(drop),
            Self::Schema(command) => client.get_schema(FlightDescriptor::new_cmd(command)).await.map(drop),
            Self::Poll(command) => client.poll_flight_info(FlightDescriptor::new_cmd(command)).await.map(drop),
            Self::Get(ticket) => read(client.do_get(Ticket { ticket }).await?.into_inner()).await,
            Self::Action(name, body) => read(client.do_action(Action::new(name, body)).await?.into_inner()).await,
            Self::Put(messages) => read(client.do_put(stream::iter(messages)).await?.into_inner()).await,
        }
    }
}

async fn read<T>(mut answers: tonic::Streaming<T>) -> Result<(), Status> {
    while answers.message().await?.is_some() {}
    Ok(())
}

fn damaged(bytes: &[u8], random: &mut StdRng) -> Bytes {
    let mut bytes = bytes.to_vec();
    for _ in 0..random.random_range(1..4) {
        if bytes.is_empty() {
            bytes = (0..random.random_range(0..32)).map(|_| random.random()).collect();
            continue;
        }
        let at = random.random_range(0..bytes.len());
        match random.random_range(0..6) {
            0 => bytes[at] ^= 1 << random.random_range(0..8),
            1 => bytes[at] = random.random(),
            2 => bytes.truncate(at),
            3 => bytes.insert(at, random.random()),
            4 => drop(bytes.remove(at)),
            _ => {
                let end = (at + random.random_range(1..9)).min(bytes.len());
                bytes[at..end].fill(if random.random() { 0xff } else { 0 });
            }
        }
    }
    bytes.into()
}

async fn with_rows(command: impl ProstMessageExt, compression: Option<CompressionType>) -> Call {
    // What is short is not compressed.
    let repeats = if compression.is_some() { 100 } else { 1 };
    let ids: ArrayRef = Arc::new(Int64Array::from([Some(7_i64), None, Some(9)].repeat(repeats)));
    let names: ArrayRef = Arc::new(StringArray::from([Some("seven"), Some("eight"), None].repeat(repeats)));
    let rows = RecordBatch::try_from_iter_with_nullable([("id", ids, true), ("name", names, true)]).unwrap();
    let descriptor = FlightDescriptor::new_cmd(command.as_any().encode_to_vec());
    let options = IpcWriteOptions::default().try_with_compression(compression).unwrap();
    let encoder = FlightDataEncoderBuilder::new().with_flight_descriptor(Some(descriptor)).with_options(options);
    Call::Put(encoder.build(stream::iter([Ok(rows)])).try_collect().await.unwrap())
}

/// Valid calls of all kinds.
async fn calls(harness: &mut Harness) -> Vec<Call> {
    let bytes = |command: &dyn Fn() -> Vec<u8>| Bytes::from(command());
    let statement = |sql: &str| CommandStatementQuery { query: sql.to_owned(), transaction_id: None }.as_any();
    let query = prepare(harness, "SELECT id, name FROM s.t WHERE id > ? OR name = ?").await.unwrap();
    let query = query.prepared_statement_handle;
    let update = prepare(harness, "INSERT INTO s.u VALUES (?, ?)").await.unwrap().prepared_statement_handle;
    let update = CommandPreparedStatementUpdate { prepared_statement_handle: update };
    let tables = CommandGetTables {
        catalog: Some("lake".to_owned()),
        db_schema_filter_pattern: Some("%".to_owned()),
        table_name_filter_pattern: Some("t%".to_owned()),
        table_types: vec!["BASE TABLE".to_owned()],
        include_schema: true,
    };
    let select = Bytes::from(statement("SELECT id, upper(name) FROM s.t ORDER BY id LIMIT 2").encode_to_vec());
    let run = CommandPreparedStatementQuery { prepared_statement_handle: query.clone() };
    let to_prepare =
        ActionCreatePreparedStatementRequest { query: "SELECT ? + id FROM s.t".to_owned(), transaction_id: None };
    let to_close = ActionClosePreparedStatementRequest { prepared_statement_handle: Bytes::from_static(b"nobody's") };
    let ingest = CommandStatementIngest {
        table: "u".to_owned(),
        schema: Some("s".to_owned()),
        ..CommandStatementIngest::default()
    };
    vec![
        Call::Info(select.clone()),
        Call::Schema(select.clone()),
        Call::Poll(select),
        Call::Info(bytes(&|| run.as_any().encode_to_vec())),
        Call::Get(bytes(&|| run.as_any().encode_to_vec())),
        Call::Get(bytes(&|| tables.as_any().encode_to_vec())),
        Call::Get(bytes(&|| CommandGetSqlInfo { info: vec![0, 8, 500] }.as_any().encode_to_vec())),
        Call::Get(bytes(&|| CommandGetXdbcTypeInfo { data_type: Some(4) }.as_any().encode_to_vec())),
        Call::Get(bytes(&|| CommandGetDbSchemas::default().as_any().encode_to_vec())),
        Call::Action("CreatePreparedStatement", bytes(&|| to_prepare.as_any().encode_to_vec())),
        Call::Action("ClosePreparedStatement", bytes(&|| to_close.as_any().encode_to_vec())),
        Call::Action("SetSessionOptions", Bytes::from_static(b"\x0a\x0d\x0a\x06schema\x12\x03\x0a\x01s")),
        Call::Action("CancelFlightInfo", Bytes::from_static(b"\x0a\x04\x0a\x02\x08\x01")),
        with_rows(run, None).await,
        with_rows(update.clone(), None).await,
        with_rows(update, Some(CompressionType::LZ4_FRAME)).await,
        with_rows(ingest.clone(), None).await,
        with_rows(ingest.clone(), Some(CompressionType::LZ4_FRAME)).await,
        with_rows(ingest, Some(CompressionType::ZSTD)).await,
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_messages_are_answered_and_harm_nobody() {
    let settings = ServerSettings {
        pending_results_max: usize::MAX,
        prepared_statements_max: usize::MAX,
        sessions_max: usize::MAX,
        ..ServerSettings::default()
    };
    let mut harness = Harness::start_with(settings).await;
    harness.update("CREATE TABLE s.u (id BIGINT, name VARCHAR)").await;
    let calls = calls(&mut harness).await;
    let client = harness.raw.clone();
    let made = stream::iter(0..MESSAGES).map(|seed| {
        let mut random = StdRng::seed_from_u64(seed);
        let call = calls[random.random_range(0..calls.len())].clone().damaged(&mut random);
        let shown = format!("{seed}: {call:?}");
        let making = tokio::time::timeout(PATIENCE, call.make(client.clone()));
        async move {
            let answer = making.await.unwrap_or_else(|_| panic!("no answer to {shown}"));
            if let Err(status) = answer {
                // A panic in the server is answered as an internal error.
                let ours = matches!(status.code(), Code::Internal | Code::Unknown | Code::Unavailable);
                assert!(!ours, "{shown}\n{status:?}");
            }
        }
    });
    made.buffer_unordered(AT_ONCE).collect::<Vec<()>>().await;
    assert_eq!(harness.rows("SELECT id FROM s.t ORDER BY id").await, ["1", "2", "3"]);
}
