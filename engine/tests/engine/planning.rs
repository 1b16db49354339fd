//! Planning reads manifest lists and manifests, each at most once, and only those that are needed.

use polynya_engine::{Answer, Engine, QueryStats};

use crate::many_files;

const MANIFESTS: i32 = 20;
const FILES: i32 = 100;

/// Plans a query on a new engine, and gives what it counted.
async fn plan(engine: &std::sync::Arc<Engine>, filter: &str) -> QueryStats {
    let session = engine.session("default", "test");
    let sql = format!("EXPLAIN SELECT count(note) FROM many WHERE {filter}");
    match engine.query(&sql, &session).await.unwrap() {
        Answer::Rows(rows) => rows.stats(),
        Answer::Done(_) => panic!("EXPLAIN gives rows"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_selective_query_keeps_one_file_and_asks_for_each_manifest_once() {
    let folder = tempfile::tempdir().unwrap();
    many_files::create(folder.path(), MANIFESTS, FILES).await;
    let engine = Engine::start(many_files::settings(folder.path())).await.unwrap();

    // One day: the manifest list's summaries leave one manifest. metadata.json, the list, one manifest.
    let cold = plan(&engine, "day = DATE '1970-01-06'").await;
    assert_eq!((cold.manifests_considered, cold.manifests_pruned), (20, 19), "{cold:?}");
    assert_eq!((cold.files_considered, cold.files_pruned), (2_000, 1_900), "{cold:?}");
    assert!(cold.requests_get <= 1 + 3, "{cold:?}");

    // One id: no summary knows ids, so all manifests are needed; of their files one is left.
    let cold = plan(&engine, "id = 123456").await;
    assert_eq!((cold.files_considered, cold.files_pruned), (2_000, 1_999), "{cold:?}");
    assert!(cold.requests_get <= u64::try_from(MANIFESTS).unwrap() + 3, "{cold:?}");

    let warm = plan(&engine, "id = 123456").await;
    assert_eq!((warm.requests_get, warm.requests_head, warm.files_pruned), (0, 0, 1_999), "{warm:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_kind_of_filter_prunes_files() {
    let folder = tempfile::tempdir().unwrap();
    many_files::create(folder.path(), MANIFESTS, FILES).await;
    let engine = Engine::start(many_files::settings(folder.path())).await.unwrap();
    let kept = [
        ("id < 1000", 1),
        ("id > 1998999", 1),
        ("id BETWEEN 5000 AND 6999", 2),
        ("id IN (1, 1000001)", 2),
        ("id = 1 OR id = 1500000", 2),
        ("NOT (id >= 3000)", 3),
        ("id = CAST('77777' AS BIGINT)", 1),
        ("day >= DATE '1970-01-20'", 100),
        ("day = DATE '1970-01-02' AND id < 101000", 1),
        ("day IS NULL", 0),
        ("note IS NULL", 2_000),
        ("note LIKE 'b%'", 2_000),
        ("note LIKE 'zz%'", 0),
        ("id % 2 = 0", 2_000),
    ];
    for (filter, files) in kept {
        let stats = plan(&engine, filter).await;
        assert_eq!(stats.files_considered - stats.files_pruned, files, "{filter}: {stats:?}");
    }
}
