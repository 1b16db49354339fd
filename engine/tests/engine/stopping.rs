//! A stream that is dropped stops its query, one that is never polled never runs, and what is given up midway is logged.

use std::time::Duration;

use futures::StreamExt;
use polynya_engine::Answer;

use crate::lake::Lake;

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_stream_gives_its_memory_back_at_once() {
    let lake = Lake::new().await;
    let sql = "SELECT a.value FROM range(0, 100000) a, range(0, 100000) b ORDER BY (a.value * b.value) % 1000003";
    let Answer::Rows(mut rows) = lake.engine.query(sql, &lake.session).await.unwrap() else { panic!("rows") };
    let polled = tokio::time::timeout(Duration::from_millis(300), rows.next()).await;
    assert!(polled.is_err(), "this takes long");
    assert!(lake.engine.memory_used_bytes() > 0);
    drop(rows);
    for _ in 0..100 {
        if lake.engine.memory_used_bytes() == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{} bytes are still held", lake.engine.memory_used_bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_is_never_polled_asks_for_no_data() {
    let lake = Lake::new().await;
    lake.run("CREATE TABLE t AS SELECT value AS v FROM range(0, 1000)").await;
    let Answer::Rows(rows) = lake.engine.query("SELECT sum(v) FROM t", &lake.session).await.unwrap() else {
        panic!("rows")
    };
    let planned = rows.stats().requests_get;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(rows.stats().requests_get, planned, "nothing runs before the first poll");
    assert_eq!(rows.collect().await.unwrap()[0].num_rows(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_is_given_up_while_it_writes_stops_and_is_logged() {
    let lake = Lake::new().await;
    lake.run("CREATE TABLE t (v BIGINT)").await;
    let sql =
        "INSERT INTO t SELECT a.value FROM range(0, 100000) a, range(0, 100000) b WHERE (a.value * b.value) % 7 = 8";
    let given_up = tokio::time::timeout(Duration::from_millis(300), lake.engine.query(sql, &lake.session)).await;
    assert!(given_up.is_err(), "this takes long");
    let logged = lake.text("SELECT state FROM system.queries WHERE statement LIKE 'INSERT INTO t SELECT%'").await;
    assert!(logged.contains("CANCELLED"), "{logged}");
    for _ in 0..100 {
        if lake.engine.memory_used_bytes() == 0 {
            assert_eq!(lake.run("SELECT count(*) FROM t").await[0].num_rows(), 1);
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{} bytes are still held", lake.engine.memory_used_bytes());
}
