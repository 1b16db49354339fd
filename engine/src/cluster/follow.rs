//! Follows an attempt: asks its workers, while it runs, how far they are and where they wait.
//!
//! Tasks tell their counts only when they end. A worker that does not answer is one whose last answer holds; whether it
//! was lost is decided elsewhere. These questions are answered by the threads that compute: of a worker that has answered
//! none for long, the log says so, since its pings tell only that its connections live.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use tokio_util::task::AbortOnDropHandle;

use super::attempt::Attempt;
use super::channels::Channels;
use super::peers::progress_of;
use super::placement::Placement;

/// How often workers are asked.
const INTERVAL: Duration = Duration::from_secs(1);

/// After so many questions in a row that a worker has not answered, the log says so.
const SILENT_MAX: u32 = 60;

/// Asks until the handle is dropped.
pub(super) fn follow(channels: &Arc<Channels>, placement: &Placement, attempt: &Attempt) -> AbortOnDropHandle<()> {
    let (channels, query, number) = (Arc::clone(channels), Arc::clone(&attempt.query), attempt.number);
    let mut urls = placement.urls();
    // A single worker runs two tasks.
    urls.dedup();
    AbortOnDropHandle::new(tokio::spawn(async move {
        let (mut begun, mut silent) = (vec![0; urls.len()], vec![0; urls.len()]);
        loop {
            tokio::time::sleep(INTERVAL).await;
            let answers = join_all(urls.iter().map(|url| progress_of(&channels, url, query.id(), number))).await;
            for (at, answer) in answers.into_iter().enumerate() {
                silent[at] = if answer.is_some() { 0 } else { silent[at] + 1 };
                if silent[at] == SILENT_MAX {
                    let worker = urls[at].as_str();
                    tracing::warn!(
                        query_id = query.id(),
                        worker,
                        "a worker answers pings, and nothing else, for a minute"
                    );
                }
                // A worker whose tasks have all ended has forgotten them.
                let Some((begun_bytes, pulse)) = answer else { continue };
                begun[at] = begun_bytes.max(begun[at]);
                query.hears_of(urls[at].as_str(), pulse);
            }
            query.begun_on_workers(begun.iter().sum());
        }
    }))
}
