//! Stores that refuse, stall, and answer with wrong bytes: queries wait, ask again, and keep nothing that is wrong.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytesize::ByteSize;
use polynya_engine::{CacheSettings, Engine, MemorySettings, Session, Settings};

use crate::stub_store::{Asked, Fault, StubStore, ask};

const SQL: &str = "SELECT count(*), sum(id), sum(length(note)) FROM t";

/// A table of so many files.
async fn table(engine: &Arc<Engine>, session: &Session, files: usize) {
    ask(engine, session, "CREATE SCHEMA s").await.unwrap();
    ask(engine, session, "CREATE TABLE t (id bigint, note varchar)").await.unwrap();
    for file in 0..files {
        let rows = format!("SELECT {file} * 1000 + value, md5(value::varchar) FROM range(0, 1000)");
        ask(engine, session, &format!("INSERT INTO t {rows}")).await.unwrap();
    }
}

/// Settings under which nothing that is written is kept, so that all of it is read.
fn settings(disk: Option<&Path>) -> Settings {
    let cache =
        CacheSettings { disk_dir: disk.map(Path::to_owned), disk_bytes: ByteSize::mib(64), ..CacheSettings::default() };
    Settings { cache, ..Settings::default() }
}

async fn evict(engine: &Arc<Engine>, session: &Session) {
    ask(engine, session, "CALL system.evict()").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_refuses_everything_for_a_second_is_waited_for() {
    let (store, folder) = (StubStore::start().await, tempfile::tempdir().unwrap());
    let (engine, session) = store.engine(folder.path(), settings(None)).await;
    table(&engine, &session, 12).await;
    let right = ask(&engine, &session, SQL).await.unwrap();
    let refusals =
        [("503 Slow Down", ""), ("429 Too Many Requests", "Retry-After: 1\r\n"), ("500 Internal Server Error", "")];
    for (status, headers) in refusals {
        evict(&engine, &session).await;
        store.take_asked();
        let mut begun: Option<Instant> = None;
        store.set_faults(move |asked: &Asked| {
            let refused = asked.is_data() && begun.get_or_insert_with(Instant::now).elapsed() < Duration::from_secs(1);
            refused.then_some(Fault::Status(status, headers))
        });
        assert_eq!(ask(&engine, &session, SQL).await.unwrap(), right, "{status}");
        // All of them wait together, and few find out whether it is over.
        let asked = store.take_asked().iter().filter(|asked| asked.is_data()).count();
        assert!(asked < 12 * 4, "{status}: {asked} requests");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_answer_for_each_file_may_stall_and_metadata_too() {
    let (store, folder) = (StubStore::start().await, tempfile::tempdir().unwrap());
    let (engine, session) = store.engine(folder.path(), settings(None)).await;
    table(&engine, &session, 6).await;
    let right = ask(&engine, &session, SQL).await.unwrap();
    evict(&engine, &session).await;
    let mut seen = std::collections::HashSet::new();
    store.set_faults(move |asked: &Asked| {
        (asked.method == "GET" && seen.insert(asked.key.clone())).then_some(Fault::Stall)
    });
    assert_eq!(ask(&engine, &session, SQL).await.unwrap(), right);
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_that_came_damaged_is_read_again() {
    let (store, folder) = (StubStore::start().await, tempfile::tempdir().unwrap());
    let (engine, session) = store.engine(folder.path(), settings(Some(&folder.path().join("cache")))).await;
    table(&engine, &session, 2).await;
    let right = ask(&engine, &session, SQL).await.unwrap();
    let manifests = store.keys(".avro");
    for key in &manifests {
        // Wrong once, for one file after the other.
        evict(&engine, &session).await;
        let whole = {
            let mut kept = Vec::new();
            store.change(key, |bytes| kept.clone_from(bytes));
            kept
        };
        store.change(key, |bytes| bytes.iter_mut().skip(40).step_by(7).for_each(|byte| *byte ^= 0x55));
        let failed = ask(&engine, &session, SQL).await;
        store.change(key, |bytes| *bytes = whole);
        assert!(failed.as_ref().is_err() || failed.as_ref().is_ok_and(|rows| *rows == right), "{key}: {failed:?}");
        assert_eq!(ask(&engine, &session, SQL).await.unwrap(), right, "{key}");
    }
    assert!(manifests.len() > 2);
}

/// The bytes of a data file's pages, damaged so that they cannot be decoded; the footer is as it was.
fn damage(bytes: &mut [u8]) {
    let end = bytes.len() / 2;
    bytes[4..end].iter_mut().for_each(|byte| *byte ^= 0xff);
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_that_came_damaged_are_forgotten_in_every_tier_and_read_again() {
    let (store, folder) = (StubStore::start().await, tempfile::tempdir().unwrap());
    let cache = folder.path().join("cache");
    let (mut engine, mut session) = store.engine(folder.path(), settings(Some(&cache))).await;
    table(&engine, &session, 2).await;
    let right = ask(&engine, &session, SQL).await.unwrap();
    let keys = store.keys(".parquet");
    for reads_whole_columns in [true, false] {
        // Under a LIMIT, a scan goes past the tier of decoded columns.
        let sql = if reads_whole_columns {
            SQL.to_owned()
        } else {
            "SELECT count(*), sum(id), sum(length(note)) FROM (SELECT * FROM t LIMIT 100000)".to_owned()
        };
        evict(&engine, &session).await;
        keys.iter().for_each(|key| store.change(key, |bytes| damage(bytes)));
        // What is wrong is kept: nothing decodes it yet.
        ask(&engine, &session, "CALL system.warm('t')").await.unwrap();
        keys.iter().for_each(|key| store.change(key, |bytes| damage(bytes)));
        store.take_asked();
        assert_eq!(ask(&engine, &session, &sql).await.unwrap(), right, "{sql}");
        assert!(store.take_asked().iter().any(Asked::is_data));
        assert_eq!(ask(&engine, &session, &sql).await.unwrap(), right);
        assert!(!store.take_asked().iter().any(Asked::is_data), "what was read again is kept");
    }
    // What is damaged in the store is an error that names the file, and is not kept either, over a restart.
    evict(&engine, &session).await;
    keys.iter().for_each(|key| store.change(key, |bytes| damage(bytes)));
    let error = ask(&engine, &session, SQL).await.unwrap_err();
    let said = error.to_string();
    assert!(said.contains("is damaged") && keys.iter().any(|key| said.contains(key.as_str())), "{said}");
    keys.iter().for_each(|key| store.change(key, |bytes| damage(bytes)));
    engine.close();
    drop((engine, session));
    (engine, session) = store.engine(folder.path(), settings(Some(&folder.path().join("another")))).await;
    assert_eq!(ask(&engine, &session, SQL).await.unwrap(), right);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_metadata_file_that_cannot_be_written_leaves_nothing() {
    let (store, folder) = (StubStore::start().await, tempfile::tempdir().unwrap());
    let (engine, session) = store.engine(folder.path(), settings(None)).await;
    table(&engine, &session, 1).await;
    let (data, metadata) = (store.keys(".parquet"), store.keys(".metadata.json"));
    for status in ["403 Forbidden", "500 Internal Server Error"] {
        store.set_faults(move |asked: &Asked| {
            (asked.method == "PUT" && asked.key.ends_with(".metadata.json")).then_some(Fault::Status(status, ""))
        });
        let error = ask(&engine, &session, "INSERT INTO t VALUES (1, 'a')").await.unwrap_err();
        let said = error.to_string();
        assert!(!said.contains("unknown"), "{said}");
        store.end_faults();
        assert_eq!(
            (store.keys(".parquet"), store.keys(".metadata.json")),
            (data.clone(), metadata.clone()),
            "{status}"
        );
    }
    ask(&engine, &session, "INSERT INTO t VALUES (1, 'a')").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_goes_on_with_its_note_or_with_none_but_not_with_one_that_may_be_there() {
    let (store, folder) = (StubStore::start().await, tempfile::tempdir().unwrap());
    let (engine, session) = store.engine(folder.path(), settings(None)).await;
    table(&engine, &session, 1).await;
    let is_note = |asked: &Asked| asked.method == "PUT" && asked.key.contains("_polynya/changes/");
    let notes = || store.keys(".json").into_iter().filter(|key| key.contains("_polynya")).collect::<Vec<_>>();
    let insert = "INSERT INTO t VALUES (-1, 'more')";
    let rows = async || ask(&engine, &session, "SELECT count(*) AS n FROM t").await.unwrap();

    store.set_faults(move |asked: &Asked| is_note(asked).then_some(Fault::AnswerLost));
    let error = ask(&engine, &session, insert).await.unwrap_err();
    assert!(error.to_string().contains("unavailable"), "{error}");
    assert!(rows().await.contains(" 1000 "), "nothing was inserted");
    assert_eq!(store.keys(".parquet").len(), 1);
    assert_eq!(notes(), Vec::<String>::new(), "no note is left");

    // One answer that is lost is asked for again.
    let mut lost = 0;
    store.set_faults(move |asked: &Asked| {
        lost += usize::from(is_note(asked));
        (is_note(asked) && lost == 1).then_some(Fault::AnswerLost)
    });
    ask(&engine, &session, insert).await.unwrap();
    assert!(rows().await.contains(" 1001 "));
    assert_eq!(notes(), Vec::<String>::new(), "no note is left");

    store.set_faults(move |asked: &Asked| is_note(asked).then_some(Fault::Status("405 Method Not Allowed", "")));
    ask(&engine, &session, insert).await.unwrap();
    assert!(rows().await.contains(" 1002 "), "a store that takes no notes is written to without");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_footer_that_says_it_is_as_long_as_its_file_has_to_fit_into_memory_first() {
    let (store, folder) = (StubStore::start().await, tempfile::tempdir().unwrap());
    let (engine, session) = store.engine(folder.path(), settings(None)).await;
    ask(&engine, &session, "CREATE SCHEMA s").await.unwrap();
    ask(&engine, &session, "CREATE TABLE t AS SELECT md5(value::varchar) AS note FROM range(0, 400000)").await.unwrap();
    for key in store.keys(".parquet") {
        store.change(&key, |bytes| {
            let length = u32::try_from(bytes.len() - 20).unwrap();
            assert!(length > 4 << 20, "the file is too small for this test: {length} bytes");
            let at = bytes.len() - 8;
            bytes[at..at + 4].copy_from_slice(&length.to_le_bytes());
        });
    }
    engine.close();
    let memory = MemorySettings { limit: Some(ByteSize::mib(6)), ..MemorySettings::default() };
    let (engine, session) = store.engine(folder.path(), Settings { memory, ..settings(None) }).await;
    store.take_asked();
    let error = ask(&engine, &session, "SELECT count(DISTINCT note) FROM t").await.unwrap_err();
    let said = error.to_string();
    assert!(said.contains("the footer of") && said.contains("memory.limit"), "{said}");
    let asked = store.take_asked().iter().filter(|asked| asked.is_data()).count();
    assert!(asked <= 2, "{asked} requests: what does not fit is not asked for");
}
