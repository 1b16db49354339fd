//! One limit on memory: what can spill does, what cannot fails with words that help, and the engine lives on.

use bytesize::ByteSize;
use polynya_engine::{Error, MemorySettings, Settings};

use crate::lake::Lake;

async fn small(limit_mib: u64, spill_dir: &std::path::Path) -> Lake {
    let memory = MemorySettings {
        limit: Some(ByteSize::mib(limit_mib)),
        spill_dir: Some(spill_dir.to_owned()),
        ..MemorySettings::default()
    };
    Lake::with(Settings { memory, ..Settings::default() }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_over_its_limit_names_limit_and_setting_and_the_engine_lives() {
    let folder = tempfile::tempdir().unwrap();
    let lake = small(8, folder.path()).await;
    let error = lake.ask("SELECT length(string_agg(repeat('x', 1000), ',')) FROM range(0, 1000000)").await.unwrap_err();
    assert!(matches!(error, Error::MemoryLimit { limit_bytes, .. } if limit_bytes == 8 << 20), "{error:?}");
    let message = error.to_string();
    assert!(message.contains("8388608") && message.contains("memory.limit"), "{message}");
    assert!(lake.text("SELECT 1 + 1 AS two").await.contains('2'));
}

#[tokio::test(flavor = "multi_thread")]
async fn sorts_aggregates_and_joins_larger_than_memory_spill_and_are_right() {
    let folder = tempfile::tempdir().unwrap();
    let lake = small(24, folder.path()).await;
    let sorted = "SELECT sum(value * n) FROM (SELECT value, row_number() OVER (ORDER BY value DESC) % 7 AS n \
                  FROM (SELECT (value * 7919) % 1000003 AS value FROM range(0, 1000000)))";
    let grouped =
        "SELECT count(*), sum(c) FROM (SELECT value % 500000 AS k, count(*) AS c FROM range(0, 1000000) GROUP BY 1)";
    let summed = "SELECT count(*), sum(s), max(s) \
                  FROM (SELECT value % 500000 AS k, sum(value) AS s FROM range(0, 1000000) GROUP BY 1)";
    let joined = "SELECT count(*), sum(a.value) FROM range(0, 600000) a JOIN range(0, 600000) b ON a.value = b.value";
    let roomy = Lake::new().await;
    for sql in [sorted, grouped, summed, joined] {
        assert_eq!(lake.text(sql).await, roomy.text(sql).await, "{sql}");
    }
    assert_eq!(files(folder.path()), 1, "spill files are gone, and the folder's lock is there");
    lake.engine.close();
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "the folder is gone, too");
}

fn files(folder: &std::path::Path) -> usize {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|entry| if entry.is_dir() { files(&entry) } else { 1 }).sum()
}
