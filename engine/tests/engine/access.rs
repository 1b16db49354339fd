//! Two users with different grants never see each other's tables, by any path; what they see and may not do is refused by name.

use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::physical_plan::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use polynya_engine::{
    AccessSettings, CacheSettings, ControlSettings, Error, IngestMode, RoleSettings, Settings, TableName, UserSettings,
};

use crate::lake::Lake;

fn settings() -> Settings {
    let role = |grants: &[&str]| RoleSettings { grants: grants.iter().map(|grant| (*grant).to_owned()).collect() };
    let user = |role: &str| UserSettings { roles: vec![role.to_owned()] };
    let access = AccessSettings {
        admins: vec!["test".to_owned()],
        roles: [
            (
                "seller".to_owned(),
                role(&["SELECT ON lake.sales.*", "SELECT ON lake.shared.open", "CREATE ON lake.shared.*"]),
            ),
            ("payer".to_owned(), role(&["ALL ON lake.pay.*", "INSERT ON lake.shared.open"])),
            ("builder".to_owned(), role(&["CREATE ON lake.*"])),
        ]
        .into(),
        users: [
            ("ann".to_owned(), user("seller")),
            ("bob".to_owned(), user("payer")),
            ("cid".to_owned(), user("builder")),
        ]
        .into(),
        ..AccessSettings::default()
    };
    // Pointers to tables are shared by all: long enough to be used here.
    let cache = CacheSettings { metadata_max_age_ms: 60_000, ..CacheSettings::default() };
    Settings { access: Some(access), cache, ..Settings::default() }
}

async fn lake(settings: Settings) -> Lake {
    let lake = Lake::with(settings).await;
    for sql in [
        "CREATE SCHEMA sales",
        "CREATE SCHEMA pay",
        "CREATE SCHEMA shared",
        "CREATE TABLE sales.orders (id BIGINT)",
        "INSERT INTO sales.orders VALUES (1)",
        "CREATE TABLE pay.salaries (id BIGINT)",
        "CREATE TABLE shared.open (id BIGINT)",
        "CREATE TABLE shared.secret (id BIGINT)",
        "SELECT * FROM pay.salaries, sales.orders, shared.secret, shared.open",
    ] {
        lake.run(sql).await;
    }
    lake
}

/// The same engine, asked by another user.
fn as_user(lake: &Lake, user: &str) -> Lake {
    let session = lake.engine.session("default", user);
    Lake { engine: Arc::clone(&lake.engine), session }
}

async fn message(lake: &Lake, sql: &str) -> String {
    match lake.ask(sql).await {
        Ok(_) => panic!("{sql} was not refused"),
        Err(Error::PermissionDenied(text)) => panic!("{sql}: that it may not be seen tells that it is there: {text}"),
        Err(error) => error.to_string(),
    }
}

/// Statements on a table; `{}` stands for its name.
const PATHS: [&str; 22] = [
    "SELECT * FROM {}",
    "SELECT count(*) FROM {} AS x",
    "SELECT 1 WHERE EXISTS (SELECT * FROM {})",
    "WITH x AS (SELECT * FROM {}) SELECT * FROM x",
    "SELECT 1 AS id UNION ALL SELECT id FROM {}",
    "SELECT * FROM lake.shared.open JOIN {} USING (id)",
    "SELECT * FROM {} FOR VERSION AS OF 1",
    "EXPLAIN SELECT * FROM {}",
    "EXPLAIN ANALYZE SELECT * FROM {}",
    "DESCRIBE {}",
    "SHOW COLUMNS FROM {}",
    "SHOW CREATE TABLE {}",
    "INSERT INTO {} VALUES (1)",
    "INSERT INTO lake.shared.open SELECT * FROM {}",
    "CREATE TABLE lake.shared.copied AS SELECT * FROM {}",
    "CREATE TABLE lake.pay.copied AS SELECT * FROM {}",
    "DROP TABLE {}",
    "ALTER TABLE {} RENAME TO lake.shared.mine",
    "CALL system.warm('{}')",
    "CALL system.evict('{}')",
    "SELECT * FROM (VALUES (1)) v, {}",
    "SELECT (SELECT max(id) FROM {})",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_hidden_table_is_missing_by_every_path() {
    let lake = lake(settings()).await;
    for (user, hidden, missing) in [
        ("ann", "lake.pay.salaries", "lake.pax.salaries"),
        ("ann", "lake.shared.secret", "lake.shared.secreu"),
        ("bob", "lake.sales.orders", "lake.salez.orders"),
        ("bob", "lake.shared.SECRET", "lake.shared.SECREU"),
        ("eve", "lake.sales.orders", "lake.salez.orders"),
    ] {
        let lake = as_user(&lake, user);
        for path in PATHS {
            // CREATE TABLE AS and INSERT meet the right to write first, which ann and bob have in part.
            // An error of syntax shows the name as it was written, others as it is stored.
            let ask = async |name: &str| {
                lake.ask(&path.replace("{}", name)).await.expect_err(path).to_string().to_lowercase()
            };
            let (found, expected) = (ask(hidden).await, ask(missing).await);
            let (there, not_there) = (hidden.to_lowercase(), missing.to_lowercase());
            let schema = |name: &str| name.rsplit_once('.').map(|(schema, _)| schema.to_owned()).unwrap_or_default();
            let same = expected.replace(&not_there, &there).replace(&schema(&not_there), &schema(&there));
            assert_eq!(found, same, "{user}: {path}");
            assert!(!found.contains("did you mean"), "{user}: {path}: {found}");
        }
        let describe = lake.engine.describe(&format!("SELECT * FROM {hidden}"), &lake.session).await;
        assert!(
            describe.as_ref().is_err_and(|error| matches!(error.root(), Error::NotFound { .. })),
            "{user}: {describe:?}"
        );
        let table = |name: &str| match name.to_lowercase().split('.').collect::<Vec<_>>().as_slice() {
            [catalog, schema, table] => {
                TableName { catalog: (*catalog).to_owned(), schema: (*schema).to_owned(), table: (*table).to_owned() }
            }
            _ => panic!("a full name"),
        };
        let stored = lake.engine.ingest(&table(hidden), IngestMode::Append, rows(), &lake.session).await;
        let is_missing = stored.as_ref().is_err_and(|error| matches!(error.root(), Error::NotFound { .. }));
        assert!(is_missing, "{user}: {stored:?}");
    }
}

fn rows() -> SendableRecordBatchStream {
    let schema = Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, true)]));
    let batch = RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(Int64Array::from(vec![1]))]).unwrap();
    Box::pin(RecordBatchStreamAdapter::new(schema, futures::stream::iter([Ok(batch)])))
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_leave_out_what_is_hidden() {
    let lake = lake(settings()).await;
    for (user, there, hidden) in [
        ("ann", ["sales", "orders", "open"], ["pay", "salaries", "secret"]),
        ("bob", ["pay", "salaries", "open"], ["sales", "orders", "secret"]),
    ] {
        let lake = as_user(&lake, user);
        let mut all = String::new();
        for sql in [
            "SHOW CATALOGS",
            "SHOW SCHEMAS",
            "SHOW TABLES FROM lake.shared",
            "SELECT * FROM lake.information_schema.schemata",
            "SELECT * FROM lake.information_schema.tables",
            "SELECT * FROM lake.information_schema.tables WHERE table_schema = 'shared'",
            "SELECT * FROM lake.information_schema.columns",
        ] {
            all += &lake.text(sql).await;
        }
        for name in there {
            assert!(all.contains(&format!(" {name} ")), "{user} sees {name}: {all}");
        }
        for name in hidden {
            assert!(!all.contains(&format!(" {name} ")), "{user} does not see {name}: {all}");
        }
        for sql in [format!("SHOW TABLES FROM lake.{}", hidden[0]), format!("USE lake.{}", hidden[0])] {
            assert!(message(&lake, &sql).await.contains("does not exist"), "{sql}");
        }
        let sql = format!("SELECT * FROM information_schema.tables WHERE table_schema = '{}'", hidden[0]);
        assert!(lake.run(&sql).await.iter().all(|batch| batch.num_rows() == 0), "{sql}");
    }
    let nobody = as_user(&lake, "eve");
    assert!(nobody.run("SHOW CATALOGS").await.iter().all(|batch| batch.num_rows() == 0));
    assert!(message(&nobody, "SHOW SCHEMAS FROM lake").await.contains("catalog lake does not exist"));
    assert!(message(&nobody, "SELECT * FROM lakes.s.t").await.ends_with("catalog lakes does not exist"));
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_of_others_are_not_shown() {
    let lake = lake(settings()).await;
    let (ann, bob) = (as_user(&lake, "ann"), as_user(&lake, "bob"));
    bob.run("SELECT 'bobs words', * FROM lake.pay.salaries").await;
    let seen = ann.text("SELECT statement FROM system.queries").await;
    assert!(!seen.contains("bobs words") && !seen.contains("salaries"), "{seen}");
    assert!(bob.text("SELECT statement FROM system.queries").await.contains("bobs words"));
    assert!(lake.text("SELECT statement FROM system.queries").await.contains("bobs words"));
    let refused = ann.ask("CALL system.evict()").await.unwrap_err();
    assert!(matches!(refused.root(), Error::PermissionDenied(_)), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_seen_and_not_allowed_is_refused_by_name() {
    let lake = lake(settings()).await;
    let (ann, bob) = (as_user(&lake, "ann"), as_user(&lake, "bob"));
    for (user, sql, words) in [
        (&ann, "INSERT INTO lake.sales.orders VALUES (2)", "lacks INSERT on table lake.sales.orders"),
        (&ann, "DROP TABLE lake.sales.orders", "GRANT DROP ON lake.sales.orders TO ROLE"),
        (&ann, "ALTER TABLE lake.sales.orders RENAME TO o", "lacks ALTER"),
        (&ann, "DROP SCHEMA lake.sales CASCADE", "lacks DROP on schema lake.sales"),
        (&ann, "CREATE TABLE lake.sales.t (a INT)", "lacks CREATE on schema lake.sales"),
        (&ann, "CREATE TABLE lake.sales.t AS SELECT 1 AS a", "lacks CREATE on schema lake.sales"),
        (&ann, "CREATE SCHEMA lake.mine", "lacks CREATE on catalog lake"),
        (&ann, "GRANT ALL ON * TO ROLE seller", "no admin"),
        (&ann, "SHOW GRANTS FOR ROLE payer", "no admin"),
        (&bob, "SELECT * FROM lake.shared.open", "lacks SELECT on table lake.shared.open"),
        (&bob, "EXPLAIN SELECT * FROM lake.shared.open", "lacks SELECT"),
        (&bob, "INSERT INTO lake.shared.open SELECT * FROM lake.shared.open", "lacks SELECT"),
    ] {
        match user.ask(sql).await {
            Err(error) if matches!(error.root(), Error::PermissionDenied(_)) => {
                assert!(error.to_string().contains(words), "{sql}: {error}")
            }
            other => panic!("{sql}: {other:?}"),
        }
    }
    ann.run("SELECT * FROM lake.sales.orders").await;
    ann.run("CREATE TABLE lake.shared.made AS SELECT * FROM lake.sales.orders").await;
    bob.run("INSERT INTO lake.shared.open SELECT 7").await;
    bob.run("CREATE TABLE lake.pay.t AS SELECT 1 AS id").await;
    bob.run("ALTER TABLE lake.pay.t RENAME TO u").await;
    bob.run("DROP TABLE lake.pay.u").await;
    assert!(ann.text("SHOW GRANTS").await.contains("lake.sales.*"));
    // Whoever may create tables, or schemas, does not choose where the server writes.
    for sql in [
        "CREATE TABLE lake.pay.p (a INT) LOCATION 'memory://warehouse/sales/orders'",
        "CREATE TABLE lake.pay.p (a INT) WITH (location = 'memory://warehouse/x')",
        "CREATE TABLE lake.pay.p (a INT) WITH (\"write.data.path\" = 'memory://warehouse/sales/orders/data')",
        "CREATE TABLE lake.pay.p (a INT) WITH (write.metadata.path = 'memory://warehouse/x')",
        "CREATE TABLE lake.pay.p (a INT) WITH (\"Write.Object-Storage.Path\" = 'memory://warehouse/x')",
        "CREATE TABLE lake.pay.p LOCATION 'memory://warehouse/x' AS SELECT 1 AS a",
        "CREATE TABLE IF NOT EXISTS lake.pay.salaries (a INT) LOCATION 'memory://warehouse/x'",
    ] {
        let error = bob.ask(sql).await.expect_err(sql);
        assert!(matches!(error.root(), Error::PermissionDenied(_)), "{sql}: {error}");
        assert!(error.to_string().contains("choose where files go (property"), "{sql}: {error}");
    }
    let cid = as_user(&lake, "cid");
    let error = cid.ask("CREATE SCHEMA lake.built LOCATION 'memory://warehouse/sales'").await.unwrap_err();
    assert!(matches!(error.root(), Error::PermissionDenied(_)), "{error}");
    cid.run("CREATE SCHEMA lake.built").await;
    lake.run("CREATE TABLE lake.pay.p (a INT) LOCATION 'memory://elsewhere/p'").await;
    lake.run("CREATE SCHEMA lake.placed LOCATION 'memory://elsewhere/placed'").await;
    // SQL gives nothing without a control database, and says which setting is missing.
    let error = lake.ask("CREATE ROLE x").await.unwrap_err().to_string();
    assert!(error.contains("control.database"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn grants_of_sql_hold_from_the_next_statement_on() {
    let folder = tempfile::tempdir().unwrap();
    let address = format!("sqlite://{}/control.db", folder.path().display());
    let settings = Settings { control: ControlSettings { database: Some(address) }, ..settings() };
    let lake = lake(settings).await;
    let eve = as_user(&lake, "eve");
    let read = "SELECT * FROM lake.pay.salaries";
    assert!(message(&eve, read).await.contains("does not exist"));
    for sql in
        ["CREATE ROLE auditor", "GRANT ROLE auditor TO USER eve", "GRANT SELECT ON lake.pay.SALARIES TO ROLE auditor"]
    {
        lake.run(sql).await;
    }
    eve.run(read).await;
    assert!(eve.text("SHOW GRANTS").await.contains("lake.pay.salaries"));
    assert!(lake.text("SHOW ROLES").await.contains("auditor"));
    for (sql, words) in [
        ("GRANT SELECT ON lake.pay.nothing TO ROLE auditor", "does not exist"),
        ("GRANT SELECT ON lake.pay.* TO ROLE auditors", "role auditors does not exist"),
        ("REVOKE SELECT ON lake.pay.* FROM ROLE auditor", "SHOW GRANTS"),
        ("REVOKE SELECT ON lake.sales.* FROM ROLE seller", "settings"),
        ("CREATE ROLE auditor", "already exists"),
        ("CREATE ROLE seller", "already exists"),
        ("DROP ROLE admin", "built in"),
    ] {
        let error = lake.ask(sql).await.expect_err(sql).to_string();
        assert!(error.contains(words), "{sql}: {error}");
    }
    lake.run("REVOKE SELECT ON lake.pay.salaries FROM ROLE auditor").await;
    assert!(message(&eve, read).await.contains("does not exist"));
    lake.run("GRANT ALL ON lake.pay.* TO ROLE auditor").await;
    lake.run("CREATE TABLE lake.pay.later (id BIGINT)").await;
    eve.run("INSERT INTO lake.pay.later VALUES (1)").await;
    lake.run("DROP ROLE auditor").await;
    assert!(message(&eve, "SELECT * FROM lake.pay.later").await.contains("does not exist"));
    lake.run("GRANT ROLE admin TO USER eve").await;
    eve.run("CREATE ROLE another").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_control_database_admins_of_the_settings_still_work_and_others_are_told_to_try_again() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "").unwrap();
    let address = format!("sqlite://{}/file/control.db", folder.path().display());
    let settings = Settings { control: ControlSettings { database: Some(address) }, ..settings() };
    let lake = lake(settings).await;
    let error = as_user(&lake, "ann").ask("SELECT * FROM lake.sales.orders").await.unwrap_err();
    assert!(matches!(error.root(), Error::Catalog(polynya_catalog::Error::Unavailable { .. })), "{error:?}");
    assert!(error.to_string().contains("control database") && error.to_string().contains("try again"), "{error}");
}
