//! Looks for what processes left that were killed in the middle of a change: when this one starts, and every now and then.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use polynya_catalog::{Catalog, MetadataCache, Swept, sweep};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

/// How long a start waits for the first look. What takes longer goes on beside the first statements.
const FIRST_LOOK: Duration = Duration::from_secs(1);
/// Between two looks, while something waits for its time; longer from look to look, as long as the same waits.
const SOON: Duration = Duration::from_secs(5);
/// Between two looks otherwise: another coordinator may have died.
const LATER: Duration = Duration::from_secs(900);

/// See the module. Dropping it ends the looking.
#[derive(Debug)]
pub(crate) struct Sweeper {
    _looking: AbortOnDropHandle<()>,
}

impl Sweeper {
    /// Looks for the first time, and goes on.
    pub(crate) async fn start(catalogs: &BTreeMap<String, Arc<dyn Catalog>>, cache: &Arc<MetadataCache>) -> Self {
        let (catalogs, cache): (Vec<_>, _) = (catalogs.values().cloned().collect(), Arc::clone(cache));
        let (looked, mut has_looked) = watch::channel(false);
        let looking = AbortOnDropHandle::new(tokio::spawn(async move {
            let mut waited = (0, LATER);
            loop {
                let waiting = look(&catalogs, &cache).await;
                looked.send_replace(true);
                waited = (waiting, pause(waiting, waited));
                tokio::time::sleep(waited.1).await;
            }
        }));
        let first = has_looked.wait_for(|looked| *looked);
        // A catalog that is away keeps no server from starting.
        let _ = tokio::time::timeout(FIRST_LOOK, first).await;
        Self { _looking: looking }
    }
}

/// The time until the next look: how many changes wait now, and how many waited at the last look, before which pause.
fn pause(waiting: usize, (before, paused): (usize, Duration)) -> Duration {
    match waiting {
        0 => LATER,
        _ if waiting == before => LATER.min(paused * 2),
        _ => SOON,
    }
}

/// Looks once; how many changes are worth another look soon.
async fn look(catalogs: &[Arc<dyn Catalog>], cache: &Arc<MetadataCache>) -> usize {
    let looks = catalogs.iter().map(|catalog| look_at(catalog, cache));
    futures::future::join_all(looks).await.into_iter().sum()
}

async fn look_at(catalog: &Arc<dyn Catalog>, cache: &Arc<MetadataCache>) -> usize {
    match sweep(catalog.as_ref(), cache).await {
        Ok(Swept { finished, waiting }) => {
            if finished > 0 {
                let catalog = catalog.name();
                tracing::info!(catalog, finished, waiting, "changes that were left in the middle are cleared up");
            }
            waiting
        }
        Err(error) => {
            let catalog = catalog.name();
            tracing::debug!(catalog, %error, "it was not looked for changes that were left in the middle");
            0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_for_long_is_looked_at_less_and_less() {
        let (mut waited, mut seconds) = ((0, LATER), Vec::new());
        for waiting in [1, 1, 1, 2, 2, 0, 1] {
            waited = (waiting, pause(waiting, waited));
            seconds.push(waited.1.as_secs());
        }
        assert_eq!(seconds, [5, 10, 20, 5, 10, 900, 5]);
        assert_eq!(pause(1, (1, Duration::from_secs(640))), LATER);
    }
}
