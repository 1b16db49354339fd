//! What a worker must know of a query, beside its plan: who asks, and the session's settings.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use datafusion::common::{DataFusionError, Result, internal_datafusion_err};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::io::QueryIo;

const HEADER: HeaderName = HeaderName::from_static("x-polynya-query");

/// See the module. Holds no secret: a table's credentials travel in its scan.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Travelling {
    pub(crate) query_id: String,
    /// Counts from 1.
    pub(crate) attempt: u64,
    pub(crate) tenant: String,
    pub(crate) settings: BTreeMap<String, String>,
    /// The query's workers: each asks the others for pages before the store.
    pub(crate) peers: Vec<String>,
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
    fn settings_of_any_text_survive() {
        let settings = BTreeMap::from([("datafusion.execution.time_zone".to_owned(), "Zürich\n".to_owned())]);
        let peers = vec!["http://127.0.0.1:50061/".to_owned()];
        let sent = Travelling { query_id: "1".to_owned(), attempt: 2, tenant: "ä".to_owned(), settings, peers };
        let come = Travelling::from_headers(&sent.headers().unwrap()).unwrap();
        assert_eq!(come, sent);
        assert!(Travelling::from_headers(&HeaderMap::new()).is_err());
    }
}
