//! What each form of each statement becomes.

use iceberg::spec::{PrimitiveType, Type};

use super::*;
use crate::types::sql_type_name;

fn create(sql: &str) -> CreateTable {
    match parse(sql).expect(sql) {
        Statement::CreateTable(create) => create,
        other => panic!("{sql} is {other:?}"),
    }
}

fn message(sql: &str) -> String {
    parse(sql).expect_err(sql).to_string()
}

#[test]
fn queries_are_left_to_datafusion() {
    for sql in [
        "SELECT 1",
        "select 1;",
        ";;select 1;;",
        "WITH a AS (SELECT 1) SELECT * FROM a",
        "VALUES (1), (2)",
        "(SELECT 1) UNION ALL (SELECT 2)",
        "EXPLAIN SELECT 1",
        "EXPLAIN ANALYZE VERBOSE SELECT 1",
        "SHOW FUNCTIONS",
        "DESCRIBE SELECT 1",
        "-- a comment\nSELECT 1 -- another",
    ] {
        assert!(matches!(parse(sql).expect(sql), Statement::Query(_)), "{sql}");
    }
}

#[test]
fn exactly_one_statement() {
    assert!(message("").contains("empty"));
    assert!(message(" ; ").contains("empty"));
    assert!(message("-- nothing").contains("empty"));
    assert!(message("SELECT 1; SELECT 2").contains("more than one statement"));
    assert!(message("SELECT 1; SELECT 2").contains("Line: 1, Column: 11"));
    assert!(message("DROP TABLE a b").contains("Expected: end of statement, found: b at Line: 1, Column: 14"));
}

#[test]
fn syntax_errors_say_where() {
    assert!(message("SELEC 1").contains("Line: 1, Column: 1"));
    assert!(message("SELECT 1\nFROM )").contains("Line: 2"));
    assert!(message("CREATE TABLE t (a int,)").contains("Column: 23"));
    assert!(message("SELECT 'open").contains("Unterminated"));
    for sql in ["SELEC 1", "SELECT 'open", "CREATE TABLE t (a)", "USE", "SHOW COLUMNS", "SET a"] {
        assert!(matches!(parse(sql), Err(Error::Syntax { .. })), "{sql}: {:?}", parse(sql));
    }
}

#[test]
fn statements_that_are_not_there_are_named() {
    for (sql, name) in [
        ("UPDATE t SET a = 1", "UPDATE"),
        ("DELETE FROM t", "DELETE"),
        ("MERGE INTO t USING s ON t.a = s.a WHEN MATCHED THEN DELETE", "MERGE"),
        ("TRUNCATE TABLE t", "TRUNCATE"),
        ("CREATE VIEW v AS SELECT 1", "CREATE VIEW"),
        ("CREATE OR REPLACE TABLE t (a int)", "CREATE OR REPLACE TABLE"),
        ("CREATE EXTERNAL TABLE t STORED AS CSV LOCATION 'x'", "CREATE EXTERNAL"),
        ("DROP VIEW v", "DROP VIEW"),
        ("ALTER TABLE t ADD COLUMN a int", "ALTER TABLE"),
        ("COPY t TO 'x'", "COPY"),
        ("INSERT OVERWRITE t SELECT 1", "INSERT OVERWRITE"),
        ("INSERT INTO t VALUES (1) RETURNING a", "RETURNING"),
        ("INSERT INTO t VALUES (DEFAULT)", "DEFAULT"),
        ("WITH a AS (SELECT 1) INSERT INTO t SELECT * FROM a", "INSERT"),
        ("SELECT 1 INTO t", "SELECT INTO"),
        ("CREATE TABLE t (a int PRIMARY KEY)", "PRIMARY"),
        ("CREATE TABLE t (a int, PRIMARY KEY (a))", "PRIMARY KEY"),
        ("CREATE TABLE t (a int DEFAULT 1)", "DEFAULT"),
        ("CREATE TABLE t (a int unsigned)", "column a"),
        ("CREATE TABLE t (a interval)", "column a"),
        ("EXPLAIN INSERT INTO t SELECT 1", "EXPLAIN"),
        ("BEGIN", "BEGIN"),
        ("GRANT SELECT ON t TO u", "GRANT"),
    ] {
        assert!(matches!(parse(sql), Err(Error::Unsupported { .. })), "{sql}: {:?}", parse(sql));
        assert!(message(sql).contains(name), "{sql}: {}", message(sql));
    }
}

#[test]
fn create_table_has_columns_partitions_and_properties() {
    let create = create(
        "CREATE TABLE IF NOT EXISTS lake.\"a.b\".Events (Id BIGINT NOT NULL COMMENT 'the key', \"At\" timestamptz) \
         PARTITIONED BY (months(\"At\"), bucket(16, id), truncate(4, s), region) \
         WITH (format_version = 2, \"write.format.default\" = 'parquet', write.target-file-size-bytes = 1024, \
         location = 's3://b/t')",
    );
    assert!(create.if_not_exists);
    assert_eq!(create.table.to_string(), "lake.\"a.b\".Events");
    let [id, at] = create.columns.as_slice() else { panic!("two columns") };
    assert_eq!((id.name.as_str(), id.required, id.doc.as_deref()), ("id", true, Some("the key")));
    assert_eq!((at.name.as_str(), at.required), ("At", false));
    assert_eq!(*at.field_type, Type::Primitive(PrimitiveType::Timestamptz));
    let transforms: Vec<Transform> = create.partitions.iter().map(|partition| partition.transform).collect();
    assert_eq!(transforms, [Transform::Month, Transform::Bucket(16), Transform::Truncate(4), Transform::Identity]);
    let keys: Vec<&str> = create.properties.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(keys, ["format_version", "write.format.default", "write.target-file-size-bytes", "location"]);
    assert_eq!(create.properties[2].1, "1024");
}

#[test]
fn create_table_as_keeps_its_query() {
    let create = create("CREATE TABLE t PARTITIONED BY (a) AS SELECT 1 AS a");
    assert!(create.columns.is_empty());
    assert_eq!(create.query.expect("a query").to_string(), "SELECT 1 AS a");
    assert!(message("CREATE TABLE t").contains("a list of columns"));
    assert!(message("CREATE TABLE t (a int) AS SELECT 1").contains("leave out the columns"));
    assert!(message("CREATE TABLE t (a int, A bigint)").contains("defined twice"));
    assert!(message("CREATE TABLE t (a int) PARTITIONED BY (bucket(0, a))").contains("from 1 to"));
    assert!(message("CREATE TABLE t (a int) PARTITIONED BY (weeks(a))").contains("one of years(c)"));
    assert!(message("CREATE TABLE t (a int) WITH (x = 1, x = 2)").contains("twice"));
}

#[test]
fn types_are_written_as_they_are_read() {
    for (sql, written) in [
        ("boolean", "boolean"),
        ("integer", "int"),
        ("smallint", "int"),
        ("int8", "bigint"),
        ("real", "float"),
        ("double precision", "double"),
        ("float(53)", "double"),
        ("numeric(12, 2)", "decimal(12, 2)"),
        ("decimal", "decimal(38, 10)"),
        ("varchar(25)", "varchar"),
        ("char(1)", "varchar"),
        ("text", "varchar"),
        ("string", "varchar"),
        ("timestamp", "timestamp"),
        ("timestamp(3)", "timestamp"),
        ("timestamp(9)", "timestamp_ns"),
        ("timestamp with time zone", "timestamptz"),
        ("timestamptz_ns", "timestamptz_ns"),
        ("time", "time"),
        ("date", "date"),
        ("uuid", "uuid"),
        ("bytea", "binary"),
        ("varbinary", "binary"),
        ("binary(4)", "fixed(4)"),
        ("fixed(4)", "fixed(4)"),
        ("int[]", "array<int>"),
        ("int[][]", "array<array<int>>"),
        ("array<array<int not null>>", "array<array<int not null>>"),
        ("array(varchar)", "array<varchar>"),
        ("struct<a int, \"B b\" varchar not null>", "struct<a int, \"B b\" varchar not null>"),
        ("struct<a: int, b: struct<c: string>>", "struct<a int, b struct<c varchar>>"),
        (
            "row(a int, b array<struct<c map<varchar, array<int>>>>)",
            "struct<a int, b array<struct<c map<varchar, array<int>>>>>",
        ),
        ("map<varchar, struct<x double>> not null", "map<varchar, struct<x double>>"),
        ("struct<a int>[]", "array<struct<a int>>"),
    ] {
        let create = create(&format!("CREATE TABLE t (c {sql}, d int)"));
        assert_eq!(create.columns.len(), 2, "{sql}");
        let name = sql_type_name(&create.columns[0].field_type);
        assert_eq!(name, written, "{sql}");
        let again = self::create(&format!("CREATE TABLE t (c {name})"));
        assert_eq!(again.columns[0].field_type.to_string(), create.columns[0].field_type.to_string());
    }
}

#[test]
fn insert_has_a_table_columns_and_a_source() {
    let Statement::Insert(insert) = parse("INSERT INTO s.t (a, \"B\") SELECT 1, 2").expect("parses") else {
        panic!("an insert")
    };
    assert_eq!(insert.table.to_string(), "s.t");
    assert_eq!(insert.columns.iter().map(|column| column.value.as_str()).collect::<Vec<_>>(), ["a", "B"]);
    let Statement::Insert(insert) = parse("INSERT INTO t VALUES (1, 'a'), (2, NULL)").expect("parses") else {
        panic!("an insert")
    };
    assert!(insert.columns.is_empty() && insert.source.is_some());
    let Statement::Insert(insert) = parse("INSERT INTO t DEFAULT VALUES").expect("parses") else { panic!("an insert") };
    assert!(insert.source.is_none());
}

#[test]
fn names_of_settings_and_their_values() {
    for (sql, name, value) in [
        ("SET a.b = 'c d'", "a.b", "c d"),
        ("SET a TO 1", "a", "1"),
        ("SET SESSION a = 1GiB", "a", "1GiB"),
        ("SET a = -1.5", "a", "-1.5"),
        ("SET \"a-b\" = true", "a-b", "true"),
        ("SET TIME ZONE 'UTC'", "time_zone", "UTC"),
    ] {
        match parse(sql).expect(sql) {
            Statement::Set { name: n, value: v } => assert_eq!((n.as_str(), v.as_str()), (name, value), "{sql}"),
            other => panic!("{sql} is {other:?}"),
        }
    }
    assert!(matches!(parse("RESET ALL"), Ok(Statement::Reset { name: None })));
    assert!(matches!(parse("RESET a.b"), Ok(Statement::Reset { name: Some(name) }) if name == "a.b"));
}

#[test]
fn every_form_of_show_use_and_drop() {
    use Statement as S;
    assert!(matches!(parse("SHOW TABLES"), Ok(S::Show(Show::Tables { schema: None, like: None }))));
    assert!(matches!(parse("SHOW TABLES FROM a.b LIKE 'x%'"),
        Ok(S::Show(Show::Tables { schema: Some(schema), like: Some(like) })) if schema.to_string() == "a.b" && like == "x%"));
    assert!(matches!(parse("SHOW SCHEMAS IN lake"), Ok(S::Show(Show::Schemas { catalog: Some(_), .. }))));
    assert!(matches!(parse("SHOW CATALOGS"), Ok(S::Show(Show::Catalogs { like: None }))));
    assert!(matches!(parse("SHOW COLUMNS FROM t"), Ok(S::Show(Show::Columns { .. }))));
    assert!(matches!(parse("SHOW CREATE TABLE t"), Ok(S::Show(Show::CreateTable { .. }))));
    assert!(matches!(parse("SHOW ALL"), Ok(S::Show(Show::Settings { name: None }))));
    assert!(matches!(parse("SHOW a.b"), Ok(S::Show(Show::Settings { name: Some(name) })) if name == "a.b"));
    assert!(matches!(parse("DESC t"), Ok(S::Describe { .. })));
    assert!(matches!(parse("DESCRIBE TABLE t"), Ok(S::Describe { table }) if table.to_string() == "t"));
    assert!(matches!(parse("USE lake"), Ok(S::Use(Use::Either(_)))));
    assert!(matches!(parse("USE CATALOG lake"), Ok(S::Use(Use::Catalog(_)))));
    assert!(matches!(parse("USE SCHEMA s"), Ok(S::Use(Use::Schema(_)))));
    assert!(matches!(parse("USE lake.s"), Ok(S::Use(Use::Schema(_)))));
    assert!(matches!(parse("DROP TABLE IF EXISTS t PURGE"), Ok(S::DropTable { if_exists: true, purge: true, .. })));
    assert!(matches!(parse("DROP SCHEMA s CASCADE"), Ok(S::DropSchema { cascade: true, if_exists: false, .. })));
    assert!(matches!(parse("ALTER TABLE a RENAME TO b"), Ok(S::RenameTable { if_exists: false, .. })));
    assert!(matches!(parse("CREATE SCHEMA IF NOT EXISTS s WITH (location = 's3://b')"),
        Ok(S::CreateSchema(create)) if create.if_not_exists && create.properties.len() == 1));
}
