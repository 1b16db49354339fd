//! A stream that is dropped stops its query, one that is never polled never runs, and what is given up midway is logged.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use polynya_engine::{Answer, Error};

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

/// Two threads serve here, and each of these would keep one for minutes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn functions_that_take_long_keep_neither_deadlines_nor_others_waiting() {
    let lake = Lake::new().await;
    let slow = "SELECT max(levenshtein(repeat(md5(value::varchar), 60), repeat(md5((value + 1)::varchar), 60))) FROM range(0, 100000)";
    let begun = Instant::now();
    let slow = (0..3).map(|_| {
        let session = lake.engine.session("default", "slow");
        let engine = Arc::clone(&lake.engine);
        tokio::spawn(async move {
            engine.query("SET polynya.statement_timeout = '5s'", &session).await.unwrap();
            let Answer::Rows(rows) = engine.query(slow, &session).await.unwrap() else { panic!("rows") };
            rows.collect().await.unwrap_err()
        })
    });
    let slow: Vec<_> = slow.collect();
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(lake.text("SELECT 20 + 22 AS n").await.contains("42"));
    assert!(slow.iter().all(|slow| !slow.is_finished()), "another query waited for {:?}", begun.elapsed());
    for slow in slow {
        let error = slow.await.unwrap();
        assert!(matches!(error, Error::Timeout(_)), "{error:?}");
    }
    // Each takes minutes.
    assert!(begun.elapsed() < Duration::from_secs(40), "the deadline was heard after {:?}", begun.elapsed());
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

/// Everything that changes something: what is given up at its first await has not happened.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_given_up_before_it_asks_the_catalog_has_never_happened() {
    let lake = Lake::new().await;
    lake.run("CREATE TABLE kept AS SELECT 1 AS v").await;
    for sql in [
        "CREATE SCHEMA given_up",
        "CREATE TABLE given_up (v BIGINT)",
        "CREATE TABLE given_up AS SELECT 1 AS v",
        "DROP TABLE kept",
        "ALTER TABLE kept RENAME TO given_up",
        "INSERT INTO kept SELECT a.value FROM range(0, 100000) a, range(0, 100000) b WHERE (a.value * b.value) % 7 = 8",
    ] {
        // Polled once: it has begun, and that was all.
        drop(tokio::time::timeout(Duration::ZERO, lake.engine.query(sql, &lake.session)).await);
        for _ in 0..500 {
            if lake.engine.changes_under_way() == 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(lake.engine.changes_under_way(), 0, "{sql}");
        let escaped = sql.replace('\'', "''");
        let state = lake.text(&format!("SELECT state FROM system.queries WHERE statement = '{escaped}'")).await;
        // It is quick: it may have been done before it was given up, and is said to be then.
        let has_happened = lake.ask("SELECT v FROM given_up").await.is_ok()
            || lake.ask("SELECT v FROM kept").await.is_err()
            || lake.text("SHOW SCHEMAS").await.contains("given_up");
        assert_eq!(state.contains("FINISHED"), has_happened, "{sql}: {state}");
        assert_eq!(state.contains("CANCELLED"), !has_happened, "{sql}: {state}");
        for undo in ["DROP TABLE IF EXISTS given_up", "DROP SCHEMA IF EXISTS given_up", "DROP TABLE IF EXISTS kept"] {
            lake.run(undo).await;
        }
        lake.run("CREATE TABLE kept AS SELECT 1 AS v").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_stops_a_statement_that_writes() {
    let lake = Lake::new().await;
    lake.run("CREATE TABLE t (v BIGINT)").await;
    lake.run("SET polynya.statement_timeout = '300ms'").await;
    let sql =
        "INSERT INTO t SELECT a.value FROM range(0, 100000) a, range(0, 100000) b WHERE (a.value * b.value) % 7 = 8";
    let error = lake.ask(sql).await.unwrap_err();
    assert!(matches!(error.root(), polynya_engine::Error::Timeout(_)), "{error:?}");
    lake.run("RESET polynya.statement_timeout").await;
    assert_eq!(lake.engine.changes_under_way(), 0);
    assert!(lake.text("SELECT count(*) FROM t").await.contains("| 0 "));
}
