//! Measures planning: a table of 100,000 data files in 200 manifests, cold and warm.
//!
//! `cargo run --release -p polynya-engine --example planning`

#![allow(clippy::unwrap_used, unreachable_pub)]

#[path = "../tests/engine/many_files.rs"]
mod many_files;

use std::time::Instant;

use polynya_engine::{Answer, Engine};

#[tokio::main]
async fn main() {
    let folder = tempfile::tempdir().unwrap();
    let start = Instant::now();
    many_files::create(folder.path(), 200, 500).await;
    println!("made 100,000 files in 200 manifests in {:.1} s", start.elapsed().as_secs_f64());
    for filter in ["day = DATE '1970-04-11'", "id = 51234567", "id BETWEEN 1000000 AND 1100000", "note LIKE 'zz%'"] {
        let engine = Engine::start(many_files::settings(folder.path())).await.unwrap();
        let session = engine.session("default", "bench");
        let sql = format!("EXPLAIN SELECT count(note) FROM many WHERE {filter}");
        for run in ["cold", "warm", "warm"] {
            let start = Instant::now();
            let Answer::Rows(rows) = engine.query(&sql, &session).await.unwrap() else { unreachable!() };
            let (elapsed, stats) = (start.elapsed(), rows.stats());
            println!(
                "{filter:<32} {run}: {:>8.1} ms, {:>3} GET, manifests {}/{} pruned, files {} kept",
                elapsed.as_secs_f64() * 1e3,
                stats.requests_get,
                stats.manifests_pruned,
                stats.manifests_considered,
                stats.files_considered - stats.files_pruned,
            );
        }
    }
}
