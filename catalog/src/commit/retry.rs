//! How often and how patiently a commit that lost is tried again.

use std::collections::HashMap;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

use crate::{Error, Result};

/// More than the Java library's 4: an attempt is cheap, and losing a large append is not.
const RETRIES_DEFAULT: u64 = 20;
const MIN_WAIT_MS_DEFAULT: u64 = 100;
const MAX_WAIT_MS_DEFAULT: u64 = 5_000;
const TOTAL_TIMEOUT_MS_DEFAULT: u64 = 30 * 60 * 1000;

/// The waits between attempts: exponential, with jitter so that writers that met once do not meet again.
pub(super) struct Retries {
    waits: ExponentialBackoff,
}

impl Retries {
    /// From the table's `commit.retry.*` properties.
    pub(super) fn new(properties: &HashMap<String, String>) -> Result<Self> {
        let number = |name: &str, default: u64| parse(properties, name, default);
        let min_wait = number("commit.retry.min-wait-ms", MIN_WAIT_MS_DEFAULT)?.max(1);
        let max_wait = number("commit.retry.max-wait-ms", MAX_WAIT_MS_DEFAULT)?.max(min_wait);
        let total = number("commit.retry.total-timeout-ms", TOTAL_TIMEOUT_MS_DEFAULT)?;
        let retries = number("commit.retry.num-retries", RETRIES_DEFAULT)?;
        let waits = ExponentialBuilder::new()
            .with_min_delay(Duration::from_millis(min_wait))
            .with_max_delay(Duration::from_millis(max_wait))
            .with_max_times(usize::try_from(retries).unwrap_or(usize::MAX))
            .with_total_delay(Some(Duration::from_millis(total)))
            .with_jitter()
            .build();
        Ok(Self { waits })
    }

    /// Waits before the next attempt; false if there is to be none.
    pub(super) async fn wait(&mut self) -> bool {
        let Some(wait) = self.waits.next() else { return false };
        tokio::time::sleep(wait).await;
        true
    }
}

/// A whole number from a table's properties.
pub(super) fn parse(properties: &HashMap<String, String>, name: &str, default: u64) -> Result<u64> {
    let Some(value) = properties.get(name) else { return Ok(default) };
    value.trim().parse().map_err(|_| {
        Error::invalid(format!("table property {name} is {value:?}; a whole number that is not negative is expected"))
    })
}
