//! CREATE, DROP, ALTER, SHOW, DESCRIBE, USE, SET: through SQL, on the memory catalog.

use crate::lake::Lake;

async fn rows(lake: &Lake, sql: &str) -> Vec<String> {
    let batches = lake.run(sql).await;
    let mut rows = Vec::new();
    for batch in batches {
        for row in 0..batch.num_rows() {
            let cells =
                batch.columns().iter().map(|column| arrow::util::display::array_value_to_string(column, row).unwrap());
            rows.push(cells.collect::<Vec<_>>().join("|"));
        }
    }
    rows
}

async fn refused(lake: &Lake, sql: &str, words: &str) {
    let error = lake.ask(sql).await.expect_err(sql).to_string();
    assert!(error.contains(words), "{sql}: {error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_from_its_creation_to_its_end() {
    let lake = Lake::new().await;
    let sql = "CREATE TABLE T (Id bigint NOT NULL COMMENT 'the key', \"At\" timestamptz, \
               tags map<varchar, array<int>>, \"order\" struct<\"From\" varchar not null>) \
               PARTITIONED BY (days(\"At\"), bucket(16, id)) WITH (\"write.target-file-size-bytes\" = 1048576)";
    lake.run(sql).await;
    refused(&lake, sql, "table lake.s.t already exists").await;
    lake.run("CREATE TABLE IF NOT EXISTS t (a int)").await;
    assert_eq!(
        rows(&lake, "DESCRIBE t").await,
        [
            "id|bigint|NO|bucket(16, id)|the key",
            "At|timestamptz|YES|days(\"At\")|",
            "tags|map<varchar, array<int>>|YES||",
            "order|struct<\"From\" varchar not null>|YES||",
        ]
    );
    assert_eq!(rows(&lake, "SHOW COLUMNS FROM lake.s.t").await, rows(&lake, "DESC t").await);
    let create = rows(&lake, "SHOW CREATE TABLE t").await.remove(0);
    lake.run("ALTER TABLE t RENAME TO u").await;
    refused(&lake, "DESCRIBE t", "table lake.s.t does not exist").await;
    lake.run(&create).await;
    assert_eq!(rows(&lake, "SHOW CREATE TABLE t").await, [create]);
    assert_eq!(rows(&lake, "SHOW TABLES LIKE '%'").await, ["lake|s|t|BASE TABLE", "lake|s|u|BASE TABLE"]);
    refused(&lake, "ALTER TABLE t RENAME TO u", "already exists").await;
    lake.run("DROP TABLE t").await;
    lake.run("DROP TABLE IF EXISTS t").await;
    refused(&lake, "DROP TABLE t", "table lake.s.t does not exist").await;
    lake.run("DROP TABLE u PURGE").await;
    assert!(rows(&lake, "SHOW TABLES").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn schemas_nest_and_cascade() {
    let lake = Lake::new().await;
    lake.run("CREATE SCHEMA IF NOT EXISTS s").await;
    refused(&lake, "CREATE SCHEMA s", "schema lake.s already exists").await;
    lake.run("CREATE SCHEMA lake.a").await;
    lake.run("CREATE SCHEMA lake.\"a.b\"").await;
    assert_eq!(rows(&lake, "SHOW SCHEMAS").await, ["lake|a", "lake|a.b", "lake|s"]);
    assert_eq!(rows(&lake, "SHOW SCHEMAS FROM lake LIKE 'a.%'").await, ["lake|a.b"]);
    lake.run("CREATE TABLE \"a.b\".t AS SELECT 1 AS x").await;
    assert_eq!(rows(&lake, "SELECT x FROM lake.\"a.b\".t").await, ["1"]);
    assert_eq!(rows(&lake, "SHOW TABLES FROM \"a.b\"").await, ["lake|a.b|t|BASE TABLE"]);
    refused(&lake, "DROP SCHEMA a", "not empty").await;
    lake.run("DROP SCHEMA a CASCADE").await;
    assert_eq!(rows(&lake, "SHOW SCHEMAS").await, ["lake|s"]);
    lake.run("DROP SCHEMA IF EXISTS a").await;
    refused(&lake, "DROP SCHEMA a", "schema lake.a does not exist").await;
    refused(&lake, "CREATE TABLE nowhere.t (a int)", "schema lake.nowhere does not exist").await;
    assert_eq!(rows(&lake, "SHOW CATALOGS").await, ["lake"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn definitions_that_cannot_be_are_refused_by_name() {
    let lake = Lake::new().await;
    refused(&lake, "CREATE TABLE t (a varchar) PARTITIONED BY (months(a))", "column a").await;
    refused(&lake, "CREATE TABLE t (a int) PARTITIONED BY (b)", "column b of table lake.s.t").await;
    refused(&lake, "CREATE TABLE t (a double) PARTITIONED BY (bucket(4, a))", "column a").await;
    refused(&lake, "CREATE TABLE t (a timestamp_ns)", "format version 3").await;
    refused(&lake, "CREATE TABLE t (a int) WITH (format_version = 9)", "expected 1, 2 or 3").await;
    refused(&lake, "CREATE TABLE t (a int) WITH (format = 'orc')", "only parquet").await;
    refused(&lake, "CREATE TABLE a.b.c.d (a int)", "too many parts").await;
    refused(&lake, "CREATE TABLE nope.s.t (a int)", "catalog nope does not exist").await;
    lake.run("CREATE TABLE z (a int) WITH (\"write.parquet.compression-codec\" = 'rot13')").await;
    refused(&lake, "INSERT INTO z VALUES (1)", "write.parquet.compression-codec").await;
    lake.run("CREATE TABLE v3 (a timestamp_ns) WITH (format_version = 3)").await;
    lake.run("INSERT INTO v3 VALUES ('2024-01-01 00:00:00.123456789')").await;
    assert_eq!(rows(&lake, "SELECT a FROM v3").await, ["2024-01-01T00:00:00.123456789"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_go_where_the_catalog_has_its_own() {
    let lake = Lake::new().await;
    for (clauses, property) in [
        ("(a int) LOCATION 's3://bucket/t'", "property location"),
        ("(a int) WITH (location = '/etc')", "property location"),
        ("(a int) WITH (location = 'memory://warehouse/../x')", "property location"),
        ("(a int) WITH (write.data.path = 'file:///tmp/x')", "property write.data.path"),
        ("(a int) WITH (write.metadata.path = 'hdfs://x/y')", "property write.metadata.path"),
        ("LOCATION 's3://bucket/t' AS SELECT 1 AS a", "property location"),
    ] {
        refused(&lake, &format!("CREATE TABLE t {clauses}"), property).await;
    }
    refused(&lake, "CREATE SCHEMA x LOCATION 's3://bucket/x'", "property location").await;
    lake.run("CREATE TABLE t (a int) LOCATION 'memory://elsewhere/t/'").await;
    for location in ["memory://elsewhere/t", "memory:///elsewhere", "memory://elsewhere/t/data"] {
        let sql = format!("CREATE TABLE u (a int) LOCATION '{location}'");
        refused(&lake, &sql, "in the folder of table s.t").await;
    }
    lake.run("CREATE TABLE u (a int) WITH (location = 'memory://elsewhere/tu')").await;
    lake.run("INSERT INTO u VALUES (7)").await;
    assert_eq!(rows(&lake, "SELECT a FROM u").await, ["7"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_chooses_for_itself() {
    let lake = Lake::new().await;
    lake.run("CREATE SCHEMA other").await;
    lake.run("CREATE TABLE other.t AS SELECT 7 AS x").await;
    lake.run("USE other").await;
    assert_eq!(rows(&lake, "SELECT x FROM t").await, ["7"]);
    lake.run("USE lake.S").await;
    assert_eq!(lake.session.schema().as_deref(), Some("s"));
    lake.run("USE CATALOG lake").await;
    refused(&lake, "USE nowhere", "schema lake.nowhere does not exist").await;
    lake.run("SET batch_size = 100").await;
    assert!(rows(&lake, "SHOW batch_size").await[0].starts_with("datafusion.execution.batch_size|100|"));
    lake.run("RESET batch_size").await;
    assert!(rows(&lake, "SHOW datafusion.execution.batch_size").await[0].contains("|8192|"));
    lake.run("SET TIME ZONE 'UTC'").await;
    lake.run("RESET ALL").await;
    assert!(rows(&lake, "SHOW ALL").await.len() > 50);
    refused(&lake, "SET batch_siz = 1", "did you mean batch_size?").await;
    refused(&lake, "SET batch_size = many", "datafusion.execution.batch_size").await;
    refused(&lake, "SET datafusion.catalog.location = 'x'", "belongs to the server").await;
}
