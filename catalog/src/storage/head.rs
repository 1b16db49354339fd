//! What the head of an answer says that `object_store` keeps to itself: its status, how long to wait, checksums.
//!
//! A read puts an empty [`Head`] among the extensions of its request, and the HTTP client fills it in when an answer begins.
//! Answers in chunks get the length that `object_store` wants to see.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, StatusCode};
use object_store::client::{HttpClient, HttpError, HttpRequest, HttpResponse, HttpService};
use parking_lot::Mutex;

/// The head of the answer to one request, once there is one.
#[derive(Debug, Clone, Default)]
pub(super) struct Head(Arc<Mutex<Option<(StatusCode, HeaderMap)>>>);

impl Head {
    /// `None` if nothing that is HTTP came; also for stores that do not speak HTTP.
    pub(super) fn status(&self) -> Option<StatusCode> {
        self.0.lock().as_ref().map(|(status, _)| *status)
    }

    /// A header's value, if it is text.
    pub(super) fn header(&self, name: &str) -> Option<String> {
        let head = self.0.lock();
        let (_, headers) = head.as_ref()?;
        headers.get(name)?.to_str().ok().map(|value| value.trim().to_owned())
    }

    /// Whether the answer came without saying how long it is.
    pub(super) fn has_no_length(&self) -> bool {
        self.0.lock().as_ref().is_some_and(|(_, headers)| !headers.contains_key(CONTENT_LENGTH))
    }

    /// How long the store asks to be left alone: seconds, or a date (RFC 9110, 10.2.3).
    pub(super) fn retry_after(&self) -> Option<Duration> {
        let value = self.header(RETRY_AFTER.as_str())?;
        if let Ok(seconds) = value.parse::<u32>() {
            return Some(Duration::from_secs(seconds.into()));
        }
        let at = chrono::DateTime::parse_from_rfc2822(&value).ok()?;
        (at.to_utc() - chrono::Utc::now()).to_std().ok()
    }
}

/// A client that fills in the heads of the requests that have one.
#[derive(Debug)]
pub(super) struct TellsHeads(pub(super) HttpClient);

#[async_trait]
impl HttpService for TellsHeads {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let head = request.extensions().get::<Head>().cloned();
        let mut response = self.0.execute(request).await?;
        if let Some(Head(told)) = head {
            *told.lock() = Some((response.status(), response.headers().clone()));
            if !response.headers().contains_key(CONTENT_LENGTH) {
                let length = response.headers().get(CONTENT_RANGE).and_then(length_of_range).unwrap_or(0);
                response.headers_mut().insert(CONTENT_LENGTH, length.into());
            }
        }
        Ok(response)
    }
}

/// The bytes of `bytes <first>-<last>/<size>`.
fn length_of_range(value: &HeaderValue) -> Option<u64> {
    let (first, last) = value.to_str().ok()?.trim().strip_prefix("bytes ")?.split_once('/')?.0.split_once('-')?;
    last.parse::<u64>().ok()?.checked_sub(first.parse().ok()?)?.checked_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(name: &'static str, value: &str) -> Head {
        let headers = HeaderMap::from_iter([(
            http::HeaderName::from_static(name),
            HeaderValue::from_str(value).expect("a value"),
        )]);
        Head(Arc::new(Mutex::new(Some((StatusCode::SERVICE_UNAVAILABLE, headers)))))
    }

    #[test]
    fn a_store_says_how_long_to_wait_in_seconds_or_by_a_date() {
        let after = |value: &str| head("retry-after", value).retry_after();
        assert_eq!(after("2"), Some(Duration::from_secs(2)));
        let date = chrono::Utc::now() + chrono::TimeDelta::seconds(90);
        let wait = after(&date.format("%a, %d %b %Y %H:%M:%S GMT").to_string()).expect("a date");
        assert!((80..=90).contains(&wait.as_secs()), "{wait:?}");
        assert_eq!(after("Wed, 21 Oct 2015 07:28:00 GMT"), None);
        assert_eq!(after("soon"), None);
        assert_eq!(Head::default().retry_after(), None);
    }

    #[test]
    fn the_length_of_a_part_is_that_of_its_range() {
        let length = |value: &str| length_of_range(&HeaderValue::from_str(value).expect("a value"));
        assert_eq!(length("bytes 5-9/100"), Some(5));
        assert_eq!(length("bytes 9-5/100"), None);
        assert_eq!(length("bytes */100"), None);
    }
}
