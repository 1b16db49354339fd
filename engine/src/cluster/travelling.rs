//! What a worker must know of a query, beside its plan: who asks, the session's settings, and what its spans belong to.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use datafusion::common::{DataFusionError, Result, internal_datafusion_err};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::marks::Mark;
use crate::io::QueryIo;

/// Names a task's stage. What is the same for all tasks of a query is in [`Travelling`].
pub(super) const STAGE: HeaderName = HeaderName::from_static("x-polynya-stage");
const HEADER: HeaderName = HeaderName::from_static("x-polynya-query");

/// See the module. No credentials: those of a table travel in its scan. Only workers are told the mark.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Travelling {
    pub(crate) query_id: String,
    /// Counts from 1.
    pub(crate) attempt: u64,
    /// How losses of workers are told.
    pub(crate) mark: Mark,
    pub(crate) tenant: String,
    pub(crate) settings: BTreeMap<String, String>,
    /// The query's workers: each asks the others for pages before the store.
    pub(crate) peers: Vec<String>,
    /// The coordinator's span, as a W3C `traceparent`, if it is exported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) trace: Option<String>,
}

impl Travelling {
    /// As a header: text of any kind survives.
    pub(super) fn headers(&self) -> Result<HeaderMap> {
        let json = serde_json::to_vec(self).map_err(|error| DataFusionError::External(Box::new(error)))?;
        let value = HeaderValue::from_str(&BASE64_STANDARD.encode(json))
            .map_err(|error| DataFusionError::External(Box::new(error)))?;
        Ok(HeaderMap::from_iter([(HEADER, value)]))
    }

    /// # Errors
    /// If the header is not there or is not ours.
    pub(super) fn from_headers(headers: &HeaderMap) -> Result<Self> {
        let wrong = || internal_datafusion_err!("a task came without its query");
        let value = headers.get(&HEADER).ok_or_else(wrong)?;
        let json = BASE64_STANDARD.decode(value.as_bytes()).map_err(|_| wrong())?;
        serde_json::from_slice(&json).map_err(|_| wrong())
    }
}

/// What the scans of one task share, on a worker.
#[derive(Debug)]
pub(crate) struct TaskIo(pub(crate) Arc<QueryIo>);

/// The session's settings, with the plan that was made by them.
#[derive(Debug)]
pub(crate) struct SessionSettings(pub(crate) BTreeMap<String, String>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_travels_arrives_and_settings_may_be_any_text() {
        let settings = BTreeMap::from([("datafusion.execution.time_zone".to_owned(), "Zürich\n".to_owned())]);
        let peers = vec!["http://127.0.0.1:50061/".to_owned()];
        let (query_id, tenant) = ("1".to_owned(), "ä".to_owned());
        let trace = Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned());
        for trace in [trace, None] {
            let (settings, peers) = (settings.clone(), peers.clone());
            let (query_id, tenant) = (query_id.clone(), tenant.clone());
            let sent = Travelling { query_id, attempt: 2, mark: Mark::random(), tenant, settings, peers, trace };
            assert_eq!(Travelling::from_headers(&sent.headers().unwrap()).unwrap(), sent);
        }
        assert!(Travelling::from_headers(&HeaderMap::new()).is_err());
    }
}
