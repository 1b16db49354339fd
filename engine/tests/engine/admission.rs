//! Queries beyond the limit wait, are seen waiting, and run when others end or go away.

use std::num::NonZeroUsize;
use std::time::Duration;

use futures::StreamExt;
use polynya_engine::{AdmissionSettings, Answer, Error, RowStream, Settings};

use crate::lake::Lake;

/// One query at a time.
async fn narrow(max_queued: usize) -> Lake {
    let admission = AdmissionSettings {
        max_running: NonZeroUsize::MIN,
        max_queued,
        queue_timeout_s: 60,
        ..AdmissionSettings::default()
    };
    let lake = Lake::with(Settings { admission, ..Settings::default() }).await;
    lake.run("CREATE TABLE t AS SELECT value AS v FROM range(0, 100000)").await;
    lake
}

async fn rows(lake: &Lake, sql: &str) -> RowStream {
    let Answer::Rows(rows) = lake.engine.query(sql, &lake.session).await.unwrap() else { panic!("rows") };
    rows
}

/// Whether the stream waits.
async fn waits(rows: &mut RowStream) -> bool {
    tokio::time::timeout(Duration::from_millis(200), rows.next()).await.is_err()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_waits_for_its_slot_and_is_seen_to() {
    let lake = narrow(10).await;
    let mut first = rows(&lake, "SELECT v FROM t").await;
    first.next().await.unwrap().unwrap();
    let mut second = rows(&lake, "SELECT v + 1 FROM t").await;
    let mut third = rows(&lake, "SELECT v + 2 FROM t").await;
    assert!(waits(&mut second).await && waits(&mut third).await);
    let states =
        lake.text("SELECT state, statement FROM system.queries WHERE statement LIKE 'SELECT v%' ORDER BY 2").await;
    assert_eq!((states.matches("RUNNING").count(), states.matches("QUEUED").count()), (1, 2), "{states}");
    assert!(lake.text("SELECT 1 AS one").await.contains('1'), "what reads no table does not wait");
    drop(third);
    drop(first);
    assert!(!waits(&mut second).await);
    let left: usize = second.collect().await.unwrap().iter().map(|batch| batch.num_rows()).sum();
    assert!(left > 0);
    assert_eq!(lake.run("SELECT sum(v) FROM t").await[0].num_rows(), 1, "its slot is free again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_is_an_error_that_says_so() {
    let lake = narrow(0).await;
    let mut first = rows(&lake, "SELECT v FROM t").await;
    first.next().await.unwrap().unwrap();
    let error = lake.ask("SELECT sum(v) FROM t").await.unwrap_err();
    assert!(matches!(error, Error::Overloaded { setting: "admission.max_queued", .. }), "{error:?}");
    drop(first);
    // Nothing waits for the slot, and it is free once the task of the dropped stream has ended.
    let answered = async {
        while let Err(error) = lake.ask("SELECT sum(v) FROM t").await {
            assert!(matches!(error, Error::Overloaded { .. }), "{error:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), answered).await.expect("the slot is free again");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_at_once_are_all_answered() {
    let lake = narrow(1000).await;
    let asked = (0..50).map(|number| {
        let (engine, session) = (lake.engine.clone(), lake.engine.session("default", "test"));
        session.set_schema("s");
        tokio::spawn(async move {
            let sql = format!("SELECT sum(v) + {number} FROM t");
            let Answer::Rows(rows) = engine.query(&sql, &session).await.unwrap() else { panic!("rows") };
            rows.collect().await.unwrap()[0].num_rows()
        })
    });
    for task in asked.collect::<Vec<_>>() {
        assert_eq!(tokio::time::timeout(Duration::from_secs(60), task).await.unwrap().unwrap(), 1);
    }
}
