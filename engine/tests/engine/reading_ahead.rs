//! Reads go on whatever waits for them: few requests at once and little memory to read ahead make a query slow, never endless.

use std::num::NonZeroUsize;
use std::path::Path;
use std::time::Duration;

use bytesize::ByteSize;
use polynya_engine::{CacheSettings, Engine, ExecutionSettings, Settings};

use crate::lake::Lake;
use crate::many_files;

/// Rows of each file: with random text, some 100 KB.
const ROWS: usize = 2_000;
const FILES: usize = 40;

async fn lake(folder: &Path, cache: CacheSettings) -> Lake {
    let execution = ExecutionSettings { target_partitions: Some(2), ..ExecutionSettings::default() };
    let settings = Settings { cache, execution, ..many_files::settings(folder) };
    let engine = Engine::start(settings).await.unwrap();
    let session = engine.session("default", "test");
    Lake { engine, session }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_join_ends_however_few_requests_and_however_little_memory_reading_ahead_has() {
    let folder = tempfile::tempdir().unwrap();
    let writer = lake(folder.path(), CacheSettings::default()).await;
    writer.run("CREATE SCHEMA s").await;
    for table in ["build", "probe"] {
        writer.run(&format!("CREATE TABLE {table} (part int, id bigint, note varchar) PARTITIONED BY (part)")).await;
        let rows = format!(
            "SELECT value % {FILES}, value, md5(value::varchar) || md5((-value)::varchar) FROM range(0, {})",
            ROWS * FILES
        );
        writer.run(&format!("INSERT INTO {table} {rows}")).await;
    }
    let bytes: u64 = {
        let engine = &writer.engine;
        let access = engine.access(&writer.session).await.unwrap();
        let ident = polynya_catalog::TableIdent::from_strs(["s", "probe"]).unwrap();
        let table = engine.catalog("lake", &access).unwrap().load_table(&ident).await.unwrap();
        let snapshot = table.metadata.current_snapshot().unwrap();
        snapshot.summary().additional_properties["added-files-size"].parse().unwrap()
    };
    let file = bytes / FILES as u64;
    for concurrent in [1, 2, 8] {
        // Room for none of the files, for one of them, for a few.
        for ahead in [file / 2, file * 3 / 2, file * 5] {
            let cache = CacheSettings {
                memory_bytes: ByteSize(0),
                decoded_bytes: Some(ByteSize(0)),
                prefetch_bytes: ByteSize(ahead),
                concurrent_requests: NonZeroUsize::new(concurrent).unwrap(),
                ..CacheSettings::default()
            };
            let lake = lake(folder.path(), cache).await;
            let sql =
                "SELECT count(*), count(DISTINCT b.note) FROM build b JOIN probe p ON b.id = p.id AND b.note = p.note";
            let answer = tokio::time::timeout(Duration::from_secs(60), lake.text(sql)).await;
            let answer = answer.unwrap_or_else(|_| panic!("{concurrent} requests, {ahead} bytes ahead: no answer"));
            assert_eq!(answer.matches(&(ROWS * FILES).to_string()).count(), 2, "{answer}");
        }
    }
}
