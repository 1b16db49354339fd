//! Looks for what processes left that were killed in the middle of a change: when this one starts, and every now and then.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use polynya_catalog::{Catalog, MetadataCache, Swept, sweep};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

/// How long a start waits for the first look. What takes longer goes on beside the first statements.
const FIRST_LOOK: Duration = Duration::from_secs(1);
/// Between two looks, while something waits for its time.
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
            loop {
                let waiting = look(&catalogs, &cache).await;
                looked.send_replace(true);
                tokio::time::sleep(if waiting > 0 { SOON } else { LATER }).await;
            }
        }));
        let first = has_looked.wait_for(|looked| *looked);
        // A catalog that is away keeps no server from starting.
        let _ = tokio::time::timeout(FIRST_LOOK, first).await;
        Self { _looking: looking }
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
