//! Two users with different grants never see each other's tables, by any call: what is hidden is as good as missing, and no
//! answer, list, log or hint has a word of it. What the engine decides is tested in engine/tests/engine/access.rs.

mod revoking;

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::sql::{
    ActionCreatePreparedStatementRequest, ActionCreatePreparedStatementResult, Any, CommandGetCatalogs,
    CommandGetDbSchemas, CommandGetExportedKeys, CommandGetImportedKeys, CommandGetPrimaryKeys, CommandGetSqlInfo,
    CommandGetTableTypes, CommandGetTables, CommandGetXdbcTypeInfo, CommandPreparedStatementQuery,
    CommandStatementIngest, CommandStatementUpdate, ProstMessageExt, TableDefinitionOptions, TableExistsOption,
    TableNotExistOption,
};
use arrow_flight::{Action, FlightData, FlightDescriptor, FlightInfo, Ticket};
use bytes::Bytes;
use futures::{TryStreamExt, stream};
use polynya_engine::{AccessSettings, CacheSettings, ControlSettings, RoleSettings, Settings, UserSettings};
use polynya_flight_server::ServerSettings;
use polynya_flight_server::settings::{AuthSettings, TokenSettings};
use prost::Message;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use crate::harness::{Harness, statement, text, ticket};

const USERS: [&str; 4] = ["root", "ann", "bob", "eve"];

/// A server on which ann has a schema, bob another, and both have something in a third.
struct Lake {
    harness: Harness,
    _folder: tempfile::TempDir,
}

/// One user of it.
struct User {
    raw: FlightServiceClient<Channel>,
    authorization: String,
}

/// How a statement reaches the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Run,
    Describe,
    Poll,
    Prepare,
    Update,
}

const WAYS: [Way; 5] = [Way::Run, Way::Describe, Way::Poll, Way::Prepare, Way::Update];

fn access() -> AccessSettings {
    let role = |grants: &[&str]| RoleSettings { grants: grants.iter().map(|grant| (*grant).to_owned()).collect() };
    let user = |role: &str| UserSettings { roles: vec![role.to_owned()] };
    let seller = ["ALL ON lake.storefront.*", "SELECT ON lake.shared.open_books", "ALL ON lake.shared.anns_diary"];
    let payer = ["ALL ON lake.payroll.*", "SELECT ON lake.shared.open_books", "ALL ON lake.shared.bobs_ledger"];
    AccessSettings {
        admins: vec!["root".to_owned()],
        roles: [("seller".to_owned(), role(&seller)), ("payer".to_owned(), role(&payer))].into(),
        users: [("ann".to_owned(), user("seller")), ("bob".to_owned(), user("payer"))].into(),
        ..AccessSettings::default()
    }
}

impl Lake {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut auth = AuthSettings::default();
        for user in USERS {
            let file = folder.path().join(user);
            std::fs::write(&file, format!("the-fixed-token-of-{user}")).unwrap();
            auth.token.insert(user.to_owned(), TokenSettings { file: Some(file), ..TokenSettings::default() });
        }
        // Tables that were loaded for one user are kept, and would be there for the next.
        let cache = CacheSettings { metadata_max_age_ms: 600_000, ..CacheSettings::default() };
        let control = ControlSettings { database: Some(format!("sqlite://{}/control.db", folder.path().display())) };
        let engine = Settings { access: Some(access()), cache, control, ..Settings::default() };
        let harness = Harness::start_engine(engine, ServerSettings { auth, ..ServerSettings::default() }).await;
        let lake = Self { harness, _folder: folder };
        for (schema, table, column, value) in [
            ("storefront", "purchases", "article", "umbrella stand"),
            ("payroll", "salaries", "remuneration", "forty two thousand"),
            ("shared", "open_books", "title", "for all"),
            ("shared", "anns_diary", "article", "umbrella stand"),
            ("shared", "bobs_ledger", "remuneration", "forty two thousand"),
        ] {
            lake.done("root", &format!("CREATE SCHEMA IF NOT EXISTS lake.{schema}")).await;
            lake.done("root", &format!("CREATE TABLE lake.{schema}.{table} (id BIGINT, {column} VARCHAR)")).await;
            lake.done("root", &format!("INSERT INTO lake.{schema}.{table} VALUES (1, '{value}')")).await;
        }
        // From now on what can be cached of every table is cached, and the log has statements of all.
        for (user, table, column) in [
            ("ann", "storefront.purchases", "article"),
            ("ann", "shared.anns_diary", "article"),
            ("bob", "payroll.salaries", "remuneration"),
            ("bob", "shared.bobs_ledger", "remuneration"),
        ] {
            for reader in [user, "root"] {
                lake.done(reader, &format!("SELECT * FROM lake.{table}")).await;
                lake.done(reader, &format!("SELECT count(*), max({column}) FROM lake.{table}")).await;
                lake.done(reader, &format!("EXPLAIN ANALYZE SELECT {column} FROM lake.{table}")).await;
                let failing = format!("SELECT no_{column} FROM lake.{table}");
                lake.user(reader).query(&failing).await.expect_err(&failing);
            }
        }
        lake
    }

    fn user(&self, name: &str) -> User {
        User { raw: self.harness.raw.clone(), authorization: format!("Bearer the-fixed-token-of-{name}") }
    }

    /// Runs a statement that must succeed.
    async fn done(&self, user: &str, sql: &str) -> Vec<FlightData> {
        self.user(user).query(sql).await.unwrap_or_else(|error| panic!("{user}: {sql}: {error}"))
    }

    /// How many rows a table has, in words.
    async fn rows_of(&self, table: &str) -> String {
        let sql = format!("SELECT 'rows: ' || CAST(count(*) AS VARCHAR) AS told FROM lake.{table}");
        let messages = self.done("root", &sql).await;
        let rows = FlightRecordBatchStream::new_from_flight_data(stream::iter(messages.into_iter().map(Ok)));
        text(&rows.try_collect::<Vec<_>>().await.unwrap()).concat()
    }
}

impl User {
    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("authorization", self.authorization.parse().unwrap());
        request
    }

    async fn fetch(&mut self, ticket: Ticket) -> Result<Vec<FlightData>, Status> {
        let request = self.request(ticket);
        self.raw.do_get(request).await?.into_inner().try_collect().await
    }

    async fn info(&mut self, descriptor: FlightDescriptor) -> Result<FlightInfo, Status> {
        let request = self.request(descriptor);
        Ok(self.raw.get_flight_info(request).await?.into_inner())
    }

    async fn query(&mut self, sql: &str) -> Result<Vec<FlightData>, Status> {
        let info = self.info(statement(sql)).await?;
        self.fetch(ticket(&info)).await
    }

    /// The rows of a metadata command, which is its own ticket. Nothing of the request is in them.
    async fn command(&mut self, command: impl ProstMessageExt) -> Result<Vec<FlightData>, Status> {
        self.fetch(Ticket::new(command.as_any().encode_to_vec())).await
    }

    async fn action(&mut self, name: &str, body: Vec<u8>) -> Result<Vec<Bytes>, Status> {
        let request = self.request(Action::new(name, body));
        self.raw.do_action(request).await?.into_inner().map_ok(|result| result.body).try_collect().await
    }

    async fn put(&mut self, messages: Vec<FlightData>) -> Result<(), Status> {
        let request = self.request(stream::iter(messages));
        let mut results = self.raw.do_put(request).await?.into_inner();
        while results.message().await?.is_some() {}
        Ok(())
    }

    /// Prepares a statement; the descriptor that runs it.
    async fn prepare(&mut self, sql: &str) -> Result<FlightDescriptor, Status> {
        let request = ActionCreatePreparedStatementRequest { query: sql.to_owned(), transaction_id: None };
        let results = self.action("CreatePreparedStatement", request.as_any().encode_to_vec()).await?;
        let any = Any::decode(results[0].clone()).unwrap();
        let prepared: ActionCreatePreparedStatementResult = any.unpack().unwrap().unwrap();
        let command = CommandPreparedStatementQuery { prepared_statement_handle: prepared.prepared_statement_handle };
        Ok(FlightDescriptor::new_cmd(command.as_any().encode_to_vec()))
    }

    /// Sends a statement in some way, and takes all that comes of it.
    async fn ask(&mut self, way: Way, sql: &str) -> Result<Vec<FlightData>, Status> {
        match way {
            Way::Run => self.query(sql).await,
            Way::Describe => {
                let request = self.request(statement(sql));
                self.raw.get_schema(request).await.map(|_| Vec::new())
            }
            Way::Poll => {
                let request = self.request(statement(sql));
                let info = self.raw.poll_flight_info(request).await?.into_inner().info.unwrap();
                self.fetch(ticket(&info)).await
            }
            Way::Prepare => {
                let descriptor = self.prepare(sql).await?;
                let info = self.info(descriptor).await?;
                self.fetch(ticket(&info)).await
            }
            Way::Update => {
                let command = CommandStatementUpdate { query: sql.to_owned(), transaction_id: None };
                let flight_descriptor = Some(FlightDescriptor::new_cmd(command.as_any().encode_to_vec()));
                self.put(vec![FlightData { flight_descriptor, ..FlightData::default() }]).await.map(|()| Vec::new())
            }
        }
    }

    /// Ingests one row.
    async fn ingest(&mut self, schema: &str, table: &str, options: TableDefinitionOptions) -> Result<(), Status> {
        let command = CommandStatementIngest {
            table_definition_options: Some(options),
            table: table.to_owned(),
            schema: Some(schema.to_owned()),
            ..CommandStatementIngest::default()
        };
        let ids: ArrayRef = Arc::new(Int64Array::from(vec![7]));
        let row = RecordBatch::try_from_iter([("id", ids)]).unwrap();
        let descriptor = FlightDescriptor::new_cmd(command.as_any().encode_to_vec());
        let encoder = FlightDataEncoderBuilder::new().with_flight_descriptor(Some(descriptor));
        self.put(encoder.build(stream::iter([Ok(row)])).try_collect().await.unwrap()).await
    }
}

/// All the text in an answer: Arrow has it as it is.
fn words(said: &Result<Vec<FlightData>, Status>) -> String {
    match said {
        Err(status) => status.message().to_owned(),
        Ok(messages) => {
            let parts = messages.iter().flat_map(|data| [&data.data_header, &data.data_body, &data.app_metadata]);
            parts.map(|part| String::from_utf8_lossy(part)).collect()
        }
    }
}

/// What became of a statement, as far as it could tell a hidden name from one that is not there.
fn outcome(said: &Result<Vec<FlightData>, Status>) -> String {
    let Err(status) = said else { return "done".to_owned() };
    let sqlstate = status.metadata().get("polynya-sqlstate").map(|state| state.to_str().unwrap().to_owned());
    format!("{:?} {sqlstate:?} {}", status.code(), status.message())
}

/// Words that only rows and columns have, and whose they are.
const SECRETS: [(&str, &str); 4] =
    [("bob", "remuneration"), ("bob", "forty two thousand"), ("ann", "article"), ("ann", "umbrella stand")];

/// Statements on a table; `{}` stands for its name.
const ON_TABLES: [&str; 35] = [
    "SELECT * FROM {}",
    "SELECT count(*) FROM {}",
    "SELECT 1 WHERE EXISTS (SELECT * FROM {})",
    "WITH x AS (SELECT * FROM {}) SELECT * FROM x",
    "SELECT id FROM lake.shared.open_books UNION ALL SELECT id FROM {}",
    "SELECT * FROM lake.shared.open_books JOIN {} USING (id)",
    "SELECT (SELECT max(id) FROM {})",
    "SELECT * FROM generate_series(1, 3) g, {}",
    "SELECT * FROM {} FOR VERSION AS OF 1",
    "SELECT * FROM {} FOR TIMESTAMP AS OF TIMESTAMP '2024-01-01 00:00:00'",
    "EXPLAIN SELECT * FROM {}",
    "EXPLAIN VERBOSE SELECT * FROM {}",
    "EXPLAIN ANALYZE SELECT count(*) FROM {}",
    "DESCRIBE {}",
    "DESCRIBE SELECT * FROM {}",
    "SHOW COLUMNS FROM {}",
    "SHOW CREATE TABLE {}",
    "INSERT INTO {} VALUES (1, 'x')",
    "INSERT INTO {} SELECT * FROM {}",
    "INSERT INTO lake.storefront.purchases SELECT * FROM {}",
    "CREATE TABLE lake.storefront.copied AS SELECT * FROM {}",
    "CREATE VIEW lake.storefront.seen AS SELECT * FROM {}",
    "ALTER TABLE {} RENAME TO lake.storefront.mine",
    "ALTER TABLE IF EXISTS {} RENAME TO lake.storefront.mine",
    "DROP TABLE {}",
    "DROP TABLE IF EXISTS {} PURGE",
    "CALL system.warm('{}')",
    "CALL system.evict('{}')",
    "COMMENT ON TABLE {} IS 'mine'",
    "TRUNCATE TABLE {}",
    "DELETE FROM {}",
    "UPDATE {} SET id = 7",
    "GRANT SELECT ON {} TO ROLE seller",
    "REVOKE SELECT ON {} FROM ROLE payer",
    "ANALYZE TABLE {}",
];

/// Statements on a schema.
const ON_SCHEMAS: [&str; 9] = [
    "SHOW TABLES FROM {}",
    "USE {}",
    "CREATE SCHEMA {}",
    "CREATE SCHEMA IF NOT EXISTS {}",
    "CREATE TABLE {}.made (id BIGINT)",
    "ALTER TABLE lake.storefront.purchases RENAME TO {}.moved",
    "DROP SCHEMA {}",
    "DROP SCHEMA IF EXISTS {} CASCADE",
    "GRANT SELECT ON {}.* TO ROLE seller",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_hidden_name_is_as_good_as_one_that_is_not_there() {
    let lake = Lake::start().await;
    // The hidden name, and one that is not there, which differs in two letters. All ways lead through the same doors, so
    // they are gone for two names only.
    for (number, (name, hidden, missing, (other, real))) in [
        ("ann", "lake.payroll.salaries", "lake.payroxx.salaries", ("xx", "ll")),
        ("ann", "lake.shared.bobs_ledger", "lake.shared.bobs_ledgxx", ("xx", "er")),
        ("ann", "lake.\"Payroll\".\"Salaries\"", "lake.\"Payroxx\".\"Salaries\"", ("xx", "ll")),
        ("ann", "lake.payroll.\"salaries$files\"", "lake.payroxx.\"salaries$files\"", ("xx", "ll")),
        ("ann", "lake.shared.\"bobs_ledger$snapshots\"", "lake.shared.\"bobs_ledgxx$snapshots\"", ("xx", "er")),
        ("ann", "lake.payroll.salaries.files", "lake.payroxx.salaries.files", ("xx", "ll")),
        ("bob", "lake.storefront.purchases", "lake.storefroxx.purchases", ("xx", "nt")),
        ("bob", "lake.shared.anns_diary", "lake.shared.anns_diaxx", ("xx", "ry")),
        ("eve", "lake.storefront.purchases", "lake.storefroxx.purchases", ("xx", "nt")),
        ("eve", "lake.shared.open_books", "lake.shared.open_booxx", ("xx", "ks")),
    ]
    .into_iter()
    .enumerate()
    {
        let mut user = lake.user(name);
        let ways = if number < 2 { &WAYS[..] } else { &WAYS[..1] };
        let (schema, no_schema) = (hidden.rsplit_once('.').unwrap().0, missing.rsplit_once('.').unwrap().0);
        let on_table = ON_TABLES.iter().map(|sql| (sql.replace("{}", hidden), sql.replace("{}", missing)));
        let on_schema = ON_SCHEMAS.iter().map(|sql| (sql.replace("{}", schema), sql.replace("{}", no_schema)));
        let on_schema = on_schema.filter(|_| schema != no_schema);
        for (sql, on_nothing) in on_table.chain(on_schema) {
            for way in ways {
                let found = user.ask(*way, &sql).await;
                let expected = user.ask(*way, &on_nothing).await;
                let (told, nothing) = (outcome(&found), outcome(&expected));
                assert!(!nothing.contains(hidden), "{name}, {way:?}: {on_nothing}: {nothing}");
                assert_eq!(told, nothing.replace(other, real), "{name}, {way:?}: {sql}");
                let all = words(&found) + &words(&expected);
                for (owner, secret) in SECRETS {
                    assert!(name == owner || !all.contains(secret), "{name}, {way:?}: {sql}: {all}");
                }
            }
        }
    }
    // And nothing was done.
    for (table, value) in [("payroll.salaries", "forty two thousand"), ("storefront.purchases", "umbrella stand")] {
        let rows = lake.done("root", &format!("SELECT * FROM lake.{table}")).await;
        assert!(words(&Ok(rows)).contains(value), "{table}");
        assert_eq!(lake.rows_of(table).await, "rows: 1");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_not_ingested_into_what_is_hidden() {
    let lake = Lake::start().await;
    let mut ann = lake.user("ann");
    for (missing, exists) in [
        (TableNotExistOption::Fail, TableExistsOption::Append),
        (TableNotExistOption::Create, TableExistsOption::Append),
        (TableNotExistOption::Create, TableExistsOption::Replace),
        (TableNotExistOption::Create, TableExistsOption::Fail),
    ] {
        let options = || TableDefinitionOptions { if_not_exist: missing.into(), if_exists: exists.into() };
        let found = ann.ingest("payroll", "salaries", options()).await.unwrap_err();
        let expected = ann.ingest("payroxx", "salaries", options()).await.unwrap_err();
        assert_eq!(found.code(), Code::NotFound, "{found:?}");
        assert_eq!(found.message().to_owned(), expected.message().replace("payroxx", "payroll"));
        // She sees the schema, and may not create tables in it.
        let found = ann.ingest("shared", "bobs_ledger", options()).await.unwrap_err();
        let expected = ann.ingest("shared", "bobs_ledgxx", options()).await.unwrap_err();
        assert!(matches!(found.code(), Code::NotFound | Code::PermissionDenied), "{found:?}");
        assert_eq!(found.message().to_owned(), expected.message().replace("ledgxx", "ledger"));
    }
    for table in ["payroll.salaries", "shared.bobs_ledger"] {
        assert_eq!(lake.rows_of(table).await, "rows: 1");
    }
}

/// Statements that list, count, log or guess.
const LISTS: [&str; 28] = [
    "SHOW CATALOGS",
    "SHOW SCHEMAS",
    "SHOW SCHEMAS FROM lake LIKE '%'",
    "SHOW TABLES FROM lake.shared",
    "SHOW TABLES FROM lake.shared LIKE '%'",
    "SHOW GRANTS",
    "SHOW ROLES",
    "SHOW ALL",
    "SHOW FUNCTIONS",
    "SELECT * FROM lake.information_schema.schemata",
    "SELECT * FROM lake.information_schema.tables",
    "SELECT * FROM lake.information_schema.tables WHERE table_schema = 'shared'",
    "SELECT * FROM lake.information_schema.tables WHERE table_name LIKE '%a%'",
    "SELECT * FROM lake.information_schema.views",
    "SELECT * FROM lake.information_schema.columns",
    "SELECT * FROM lake.information_schema.columns WHERE table_schema = 'shared'",
    "SELECT table_schema, count(*) FROM information_schema.tables GROUP BY 1",
    "EXPLAIN ANALYZE SELECT * FROM lake.information_schema.columns",
    "SELECT * FROM system.queries",
    "SELECT * FROM lake.system.queries WHERE state = 'FAILED'",
    "SELECT statement, error FROM system.queries ORDER BY started_at",
    "SELECT * FROM system.tasks",
    "SELECT * FROM system.cache",
    "SELECT * FROM system.tenants",
    "SELECT * FROM system.workers",
    "SELECT * FROM system.grants",
    "SELECT * FROM information_schema.role_table_grants",
    "CALL system.evict()",
];

#[tokio::test(flavor = "multi_thread")]
async fn no_list_log_or_hint_has_a_word_of_what_is_hidden() {
    let lake = Lake::start().await;
    let anns = ["storefront", "purchases", "article", "anns_diary"];
    let bobs = ["payroll", "salaries", "remuneration", "bobs_ledger"];
    let eves_hidden = ["open_books", "seller", "payer", "forty two", "umbrella"];
    for (name, own, hidden, typos) in [
        ("ann", anns.to_vec(), [&bobs[..], &["payer", "forty two"][..]].concat(), ["payrol", "bobs_ledge"]),
        ("bob", bobs.to_vec(), [&anns[..], &["seller", "umbrella"][..]].concat(), ["storefron", "anns_diar"]),
        ("eve", Vec::new(), [&anns[..], &bobs[..], &eves_hidden[..]].concat(), ["payrol", "open_book"]),
    ] {
        let mut user = lake.user(name);
        let said = said_to(&mut user, typos).await;
        for word in own {
            assert!(said.iter().any(|(_, words)| words.contains(word)), "{name} sees {word}");
        }
        for (call, words) in &said {
            for word in &hidden {
                assert!(!words.contains(word), "{name}: {call} tells of {word}: {words}");
            }
        }
    }
    // An admin sees everything.
    let all = words(&lake.user("root").query("SELECT * FROM lake.information_schema.columns").await);
    assert!(all.contains("article") && all.contains("remuneration"));
}

/// Calls that name nothing that is hidden, and what is said to each.
async fn said_to(user: &mut User, [schema, table]: [&str; 2]) -> Vec<(String, String)> {
    let mut said = Vec::new();
    for sql in LISTS {
        said.push((sql.to_owned(), words(&user.query(sql).await)));
    }
    // What is nearly right would be suggested if it were there.
    for sql in [
        format!("SELECT * FROM lake.{schema}.x"),
        format!("SELECT * FROM lake.shared.{table}"),
        format!("USE lake.{schema}"),
        format!("SHOW TABLES FROM lake.{schema}"),
        format!("DROP SCHEMA lake.{schema}"),
        format!("DESCRIBE lake.shared.{table}"),
        format!("INSERT INTO lake.shared.{table} VALUES (1)"),
        format!("CALL system.warm('lake.shared.{table}')"),
        format!("CREATE TABLE lake.{schema}.made (id BIGINT)"),
    ] {
        let refused = user.query(&sql).await;
        assert!(refused.is_err(), "{sql}");
        said.push((sql, words(&refused)));
    }
    let mut listed = vec![
        ("GetCatalogs", user.command(CommandGetCatalogs {}).await),
        ("GetDbSchemas", user.command(CommandGetDbSchemas::default()).await),
        ("GetTableTypes", user.command(CommandGetTableTypes {}).await),
        ("GetSqlInfo", user.command(CommandGetSqlInfo { info: vec![] }).await),
        ("GetXdbcTypeInfo", user.command(CommandGetXdbcTypeInfo { data_type: None }).await),
    ];
    for (schema, table) in [(None, None), (Some("%"), Some("%")), (Some("shared"), Some("%s%"))] {
        let command = CommandGetTables {
            db_schema_filter_pattern: schema.map(str::to_owned),
            table_name_filter_pattern: table.map(str::to_owned),
            include_schema: true,
            ..CommandGetTables::default()
        };
        listed.push(("GetTables", user.command(command).await));
    }
    let table = || "salaries".to_owned();
    let primary = CommandGetPrimaryKeys { table: table(), ..CommandGetPrimaryKeys::default() };
    listed.push(("GetPrimaryKeys", user.command(primary).await));
    let exported = CommandGetExportedKeys { table: table(), ..CommandGetExportedKeys::default() };
    listed.push(("GetExportedKeys", user.command(exported).await));
    let imported = CommandGetImportedKeys { table: table(), ..CommandGetImportedKeys::default() };
    listed.push(("GetImportedKeys", user.command(imported).await));
    said.extend(listed.into_iter().map(|(call, messages)| (call.to_owned(), words(&messages))));
    for options in user.action("GetSessionOptions", vec![]).await.unwrap() {
        said.push(("GetSessionOptions".to_owned(), String::from_utf8_lossy(&options).into_owned()));
    }
    said
}
