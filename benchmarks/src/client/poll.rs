//! What a server tells of a query while it runs (PollFlightInfo): what can be fetched by now, and how far the query is.

use std::sync::Arc;
use std::time::Duration;

use arrow_flight::{FlightEndpoint, FlightInfo, PollInfo};
use bytes::Bytes;
use tokio::sync::Mutex;

use super::{Client, Result};

/// Between two questions for more to fetch: servers should wait before they answer that there is nothing new, but may not.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// See the module. Clones share what was told.
#[derive(Debug, Clone)]
pub struct QueryPoll {
    client: Client,
    told: Arc<Mutex<PollInfo>>,
}

impl QueryPoll {
    /// A query of which the server has told this.
    pub(crate) fn new(client: Client, told: PollInfo) -> Self {
        Self { client, told: Arc::new(Mutex::new(told)) }
    }

    /// A query of which the server has told all that it will.
    pub(crate) fn complete(client: Client, info: FlightInfo) -> Self {
        Self::new(client, PollInfo { info: Some(info), ..PollInfo::default() })
    }

    /// Asks the server how far the query is, from 0 to 1. None if it does not say so. Servers answer when there is something
    /// new, so that this may take a while.
    pub async fn progress(&self) -> Option<f64> {
        let mut told = self.told.lock().await;
        self.ask(&mut told).await.ok()?;
        told.progress
    }

    /// The result's schema as it was announced; no bytes: it was not.
    pub(crate) async fn schema(&self) -> Bytes {
        self.told.lock().await.info.as_ref().map(|info| info.schema.clone()).unwrap_or_default()
    }

    /// The endpoint of this number, once the server has told it; none after the last.
    pub(crate) async fn endpoint(&self, number: usize) -> Result<Option<FlightEndpoint>> {
        loop {
            let mut told = self.told.lock().await;
            if let Some(endpoint) = told.info.as_ref().and_then(|info| info.endpoint.get(number)) {
                return Ok(Some(endpoint.clone()));
            }
            if told.flight_descriptor.is_none() {
                return Ok(None);
            }
            self.ask(&mut told).await?;
            let is_new = told.info.as_ref().is_some_and(|info| info.endpoint.len() > number);
            if !is_new && told.flight_descriptor.is_some() {
                drop(told);
                tokio::time::sleep(POLL_INTERVAL).await;
            }
        }
    }

    /// Asks once more, if the server has something left to tell.
    async fn ask(&self, told: &mut PollInfo) -> Result<()> {
        let Some(descriptor) = told.flight_descriptor.clone() else { return Ok(()) };
        let answer = self.client.service.clone().poll_flight_info(descriptor).await?.into_inner();
        let info = answer.info.or_else(|| told.info.take());
        *told = PollInfo { info, ..answer };
        Ok(())
    }
}
