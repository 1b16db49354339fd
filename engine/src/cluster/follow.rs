//! Follows an attempt: asks its workers, while it runs, how much they have begun to read.
//!
//! Tasks tell their counts only when they end. A worker that does not answer is one whose last answer holds; whether it
//! was lost is decided elsewhere.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use tokio_util::task::AbortOnDropHandle;

use super::attempt::Attempt;
use super::channels::Channels;
use super::peers::begun_bytes;
use super::placement::Placement;

/// How often workers are asked.
const INTERVAL: Duration = Duration::from_secs(1);

/// Asks until the handle is dropped.
pub(super) fn follow(channels: &Arc<Channels>, placement: &Placement, attempt: &Attempt) -> AbortOnDropHandle<()> {
    let (channels, query, number) = (Arc::clone(channels), Arc::clone(&attempt.query), attempt.number);
    let mut urls = placement.urls();
    // A single worker runs two tasks.
    urls.dedup();
    AbortOnDropHandle::new(tokio::spawn(async move {
        let mut begun = vec![0; urls.len()];
        loop {
            tokio::time::sleep(INTERVAL).await;
            let answers = join_all(urls.iter().map(|url| begun_bytes(&channels, url, query.id(), number))).await;
            for (begun, answer) in begun.iter_mut().zip(answers) {
                // A worker whose tasks have all ended has forgotten them.
                *begun = answer.unwrap_or(0).max(*begun);
            }
            query.begun_on_workers(begun.iter().sum());
        }
    }))
}
