//! How far a query is, as its context and `system.queries` tell.

use futures::StreamExt;
use polynya_engine::{Answer, ExecutionSettings, Settings};

use crate::lake::Lake;

#[tokio::test(flavor = "multi_thread")]
async fn a_query_is_as_far_as_the_files_that_it_has_opened() {
    let execution = ExecutionSettings { target_partitions: Some(1), ..ExecutionSettings::default() };
    let lake = Lake::with(Settings { execution, ..Settings::default() }).await;
    lake.run("CREATE TABLE t (id BIGINT) PARTITIONED BY (id)").await;
    lake.run("INSERT INTO t SELECT value FROM range(0, 20)").await;
    let Answer::Rows(mut rows) = lake.engine.query("SELECT id + 1 FROM t", &lake.session).await.unwrap() else {
        panic!("rows")
    };
    let query = rows.context();
    assert_eq!(query.progress().fraction(), Some(0.0), "nothing runs before the first poll");
    rows.next().await.unwrap().unwrap();
    let fraction = query.progress().fraction().unwrap();
    assert!(fraction > 0.0 && fraction < 1.0, "{fraction}");
    let midway = "SELECT progress > 0 AND progress < 1 FROM system.queries WHERE statement LIKE 'SELECT id + 1%'";
    assert!(lake.text(midway).await.contains("true"));
    rows.collect().await.unwrap();
    let progress = query.progress();
    assert_eq!((progress.done_bytes, progress.fraction()), (progress.total_bytes, Some(1.0)));
    let ended = "SELECT progress FROM system.queries WHERE statement LIKE 'SELECT id + 1%'";
    assert!(lake.text(ended).await.contains("1.0"));
}

#[tokio::test]
async fn the_progress_of_a_statement_without_files_is_unknown_until_its_end() {
    let lake = Lake::new().await;
    let Answer::Rows(rows) = lake.engine.query("SELECT 1", &lake.session).await.unwrap() else { panic!("rows") };
    let query = rows.context();
    assert_eq!(query.progress().fraction(), None);
    rows.collect().await.unwrap();
    assert_eq!(query.progress().fraction(), Some(1.0));
}
