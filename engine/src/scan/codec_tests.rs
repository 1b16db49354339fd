//! A scan that went through the codec gives the same rows, constants and mapping included.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use datafusion::arrow::util::pretty::pretty_format_batches;
use datafusion::physical_plan::{ExecutionPlan, collect};
use datafusion_proto::bytes::{
    physical_plan_from_bytes_with_extension_codec, physical_plan_to_bytes_with_extension_codec,
};
use polynya_catalog::{CatalogSettings, CatalogType};
use tempfile::TempDir;

use crate::statement::{self, Statement};
use crate::{Answer, Engine, Session, Settings};

async fn lake(folder: &TempDir) -> (Arc<Engine>, Session) {
    let mut settings = Settings { default_schema: Some("s".to_owned()), ..Settings::default() };
    let catalog =
        CatalogSettings::new(CatalogType::Memory).with_warehouse(format!("file://{}", folder.path().display()));
    settings.catalog.insert("lake".to_owned(), catalog);
    let engine = Engine::start(settings).await.unwrap();
    let session = engine.session("default", "test");
    for sql in [
        "CREATE SCHEMA s",
        "CREATE TABLE t (id BIGINT, region VARCHAR, price DECIMAL(10, 2)) PARTITIONED BY (region)",
        "INSERT INTO t SELECT value, CASE WHEN value % 2 = 0 THEN 'even' ELSE 'odd' END, value / 4.0 FROM range(0, 1000)",
    ] {
        assert!(matches!(engine.query(sql, &session).await.unwrap(), Answer::Done(_)), "{sql}");
    }
    (engine, session)
}

#[tokio::test]
async fn a_scan_that_travelled_gives_the_same_rows() {
    let folder = TempDir::new().unwrap();
    let (engine, session) = lake(&folder).await;
    let query = engine.begin(&session);
    let sql = "SELECT region, count(*), sum(price), min(id) FROM t WHERE id > 10 AND region = 'odd' GROUP BY region";
    let Statement::Query(statement) = statement::parse(sql).unwrap() else { panic!("a query") };
    let pinned = engine.pin(&statement, &session, &query).await.unwrap();
    let planned = engine.plan(statement, pinned, &session).await.unwrap();

    let codec = engine.scan_codec();
    let bytes = physical_plan_to_bytes_with_extension_codec(Arc::clone(&planned.physical), codec.as_ref()).unwrap();
    let task = planned.state.task_ctx();
    let arrived: Arc<dyn ExecutionPlan> =
        physical_plan_from_bytes_with_extension_codec(&bytes, &task, codec.as_ref()).unwrap();

    let here = collect(planned.physical, Arc::clone(&task)).await.unwrap();
    let there = collect(arrived, task).await.unwrap();
    let here = pretty_format_batches(&here).unwrap().to_string();
    assert_eq!(here, pretty_format_batches(&there).unwrap().to_string());
    assert!(here.contains("| odd    | 495"), "{here}");
}
