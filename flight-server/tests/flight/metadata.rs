//! The calls that DBeaver, Power BI, Tableau and drivers make before they show anything.

use arrow::array::{Array, BinaryArray, StringArray};
use arrow::datatypes::{DataType, Schema};
use arrow_flight::IpcMessage;
use arrow_flight::sql::{
    CommandGetCatalogs, CommandGetCrossReference, CommandGetDbSchemas, CommandGetExportedKeys, CommandGetImportedKeys,
    CommandGetPrimaryKeys, CommandGetSqlInfo, CommandGetTableTypes, CommandGetTables, CommandGetXdbcTypeInfo, SqlInfo,
};

use crate::harness::{Harness, text};

fn tables(schema: Option<&str>, table: Option<&str>) -> CommandGetTables {
    CommandGetTables {
        db_schema_filter_pattern: schema.map(str::to_owned),
        table_name_filter_pattern: table.map(str::to_owned),
        ..CommandGetTables::default()
    }
}

#[tokio::test]
async fn catalogs_schemas_and_table_types_are_listed() {
    let mut harness = Harness::start().await;
    harness.update("CREATE SCHEMA other").await;
    let (_, batches) = harness.command(CommandGetCatalogs {}).await.unwrap();
    assert_eq!(text(&batches), ["lake"]);
    let (_, batches) = harness.command(CommandGetDbSchemas::default()).await.unwrap();
    assert_eq!(text(&batches), ["lake|other", "lake|s"]);
    let narrow = CommandGetDbSchemas { catalog: None, db_schema_filter_pattern: Some("o%".into()) };
    let (_, batches) = harness.command(narrow).await.unwrap();
    assert_eq!(text(&batches), ["lake|other"]);
    let elsewhere = CommandGetDbSchemas { catalog: Some("nope".into()), db_schema_filter_pattern: None };
    assert!(text(&harness.command(elsewhere).await.unwrap().1).is_empty());
    let (_, batches) = harness.command(CommandGetTableTypes {}).await.unwrap();
    assert_eq!(text(&batches), ["TABLE"]);
}

#[tokio::test]
async fn tables_are_filtered_by_patterns_and_types() {
    let mut harness = Harness::start().await;
    harness.update("CREATE TABLE s.line_item (a INT)").await;
    harness.update("CREATE TABLE s.lineXitem (a INT)").await;
    let listed = |batches: &[arrow::array::RecordBatch]| -> Vec<String> {
        text(batches).iter().map(|row| row.split('|').nth(2).unwrap_or_default().to_owned()).collect()
    };
    assert_eq!(listed(&harness.command(tables(None, None)).await.unwrap().1).len(), 3);
    assert_eq!(listed(&harness.command(tables(Some("s"), Some("line\\_%"))).await.unwrap().1), ["line_item"]);
    assert_eq!(listed(&harness.command(tables(Some("x%"), None)).await.unwrap().1).len(), 0);
    let views = CommandGetTables { table_types: vec!["VIEW".into()], ..tables(None, None) };
    assert_eq!(listed(&harness.command(views).await.unwrap().1).len(), 0);
    let both = CommandGetTables { table_types: vec!["VIEW".into(), "TABLE".into()], ..tables(None, Some("t")) };
    assert_eq!(listed(&harness.command(both).await.unwrap().1), ["t"]);
}

#[tokio::test]
async fn table_schemas_are_ipc_messages_with_type_names() {
    let mut harness = Harness::start().await;
    let command = CommandGetTables { include_schema: true, ..tables(None, None) };
    let (_, batches) = harness.command(command).await.unwrap();
    assert_eq!(batches[0].num_rows(), 1);
    let names = batches[0].column(2).as_any().downcast_ref::<StringArray>().unwrap();
    assert_eq!(names.value(0), "t");
    let schemas = batches[0].column(4).as_any().downcast_ref::<BinaryArray>().unwrap();
    let schema = Schema::try_from(IpcMessage(schemas.value(0).to_vec().into())).unwrap();
    assert_eq!(schema.field(0).data_type(), &DataType::Int64);
    assert_eq!(schema.field(1).data_type(), &DataType::Utf8);
    assert_eq!(schema.field(0).metadata()["ARROW:FLIGHT:SQL:TYPE_NAME"], "BIGINT");
    assert_eq!(schema.field(1).metadata()["ARROW:FLIGHT:SQL:TABLE_NAME"], "t");
}

#[tokio::test]
async fn keys_are_empty_with_the_schemas_of_the_protocol() {
    let mut harness = Harness::start().await;
    let table = || "t".to_owned();
    let (schema, batches) =
        harness.command(CommandGetPrimaryKeys { table: table(), ..Default::default() }).await.unwrap();
    assert_eq!(schema.fields().len(), 6);
    assert!(text(&batches).is_empty());
    let exported = harness.command(CommandGetExportedKeys { table: table(), ..Default::default() }).await.unwrap();
    let imported = harness.command(CommandGetImportedKeys { table: table(), ..Default::default() }).await.unwrap();
    let cross = CommandGetCrossReference { pk_table: table(), fk_table: table(), ..Default::default() };
    let cross = harness.command(cross).await.unwrap();
    for (schema, batches) in [exported, imported, cross] {
        assert_eq!(schema.fields().len(), 13);
        assert!(text(&batches).is_empty());
    }
}

#[tokio::test]
async fn what_would_keep_a_thread_is_refused_and_ids_count_once() {
    let mut harness = Harness::start().await;
    let (_, batches) = harness.command(CommandGetSqlInfo { info: vec![0; 10_000] }).await.unwrap();
    assert_eq!(batches.iter().map(|batch| batch.num_rows()).sum::<usize>(), 1);
    let refused = harness.command(CommandGetSqlInfo { info: (0..1_000_000).collect() }).await.unwrap_err();
    assert!(refused.to_string().contains("infos"), "{refused}");
    let pattern = Some("%".repeat(1 << 20));
    let command = CommandGetDbSchemas { catalog: None, db_schema_filter_pattern: pattern };
    let refused = harness.command(command).await.unwrap_err();
    assert!(refused.to_string().contains("pattern"), "{refused}");
}

#[tokio::test]
async fn sql_info_and_type_info_can_be_asked_whole_and_in_part() {
    let mut harness = Harness::start().await;
    let (_, batches) = harness.command(CommandGetSqlInfo { info: vec![] }).await.unwrap();
    assert_eq!(text(&batches).len(), 91);
    let (_, batches) = harness.command(CommandGetSqlInfo { info: vec![0, 8] }).await.unwrap();
    assert_eq!(batches.iter().map(|batch| batch.num_rows()).sum::<usize>(), 2);
    let (_, batches) = harness.command(CommandGetXdbcTypeInfo { data_type: None }).await.unwrap();
    assert!(text(&batches).len() >= 13);
    let (_, batches) = harness.command(CommandGetXdbcTypeInfo { data_type: Some(-5) }).await.unwrap();
    assert!(text(&batches)[0].starts_with("BIGINT|"));
}

#[tokio::test]
async fn version_is_what_the_server_tells_of_itself() {
    let mut harness = Harness::start().await;
    let version = harness.rows("SELECT version()").await.concat();
    assert_eq!(version, concat!("Polynya ", env!("CARGO_PKG_VERSION")));
    let info = vec![SqlInfo::FlightSqlServerName as u32, SqlInfo::FlightSqlServerVersion as u32];
    let told = text(&harness.command(CommandGetSqlInfo { info }).await.unwrap().1).concat();
    assert!(version.split(' ').all(|part| told.contains(part)), "{told}");
}
