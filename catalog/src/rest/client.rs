//! Sends requests to a REST catalog: with a token, a deadline, and for reads a few more attempts.
//!
//! Changes are sent once. The one exception is a refused token (401, 419): the service has then done nothing, and the
//! request is sent again with a new one. Redirects are not followed, since they would turn a commit into a GET.

use std::collections::HashMap;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use bytes::{Bytes, BytesMut};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::auth::Auth;
use super::failure::{Purpose, Service};
use crate::settings::HIDDEN;
use crate::{Error, Result};

/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a read may take, its body included.
const READ_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a change may take: a commit given up too early is an unknown one.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(30);
/// The largest answer that is read.
const BODY_BYTES_MAX: usize = 512 << 20;
/// From this size on, answers are parsed away from the async threads.
const BLOCKING_PARSE_BYTES: usize = 256 << 10;

/// A connection to one service.
#[derive(Debug)]
pub(super) struct Client {
    http: reqwest::Client,
    auth: Auth,
    service: Service,
    headers: HeaderMap,
    read_timeout: Duration,
    change_timeout: Duration,
}

/// One request; the body, if any, is encoded already, so that it can be sent again.
struct Request<'a> {
    purpose: Purpose<'a>,
    method: Method,
    url: String,
    query: Vec<(&'static str, String)>,
    body: Option<Bytes>,
    /// The tag of the answer that is known already.
    known_etag: Option<String>,
}

/// An answer with its status.
struct Reply {
    status: StatusCode,
    etag: Option<String>,
    body: Bytes,
}

impl Client {
    /// `properties` are the settings by the names users type, `uri` among them.
    pub(super) fn new(service: Service, uri: &str, properties: &HashMap<String, String>) -> Result<Self> {
        let millis = |key: &str, default: Duration| match properties.get(key) {
            None => Ok(default),
            Some(value) => value.parse().map(Duration::from_millis).map_err(|_| Error::Settings {
                setting: format!("catalog.{}.\"{key}\"", service.catalog),
                message: format!("\"{value}\" is not a number of milliseconds"),
            }),
        };
        let connect_timeout = millis("rest.client.connection-timeout-ms", CONNECT_TIMEOUT)?;
        let read_timeout = millis("rest.client.socket-timeout-ms", READ_TIMEOUT)?;
        let change_timeout = millis("rest.client.socket-timeout-ms", CHANGE_TIMEOUT)?;
        let http = reqwest::Client::builder()
            .user_agent(concat!("polynya/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(connect_timeout)
            .timeout(read_timeout)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| Error::Internal(format!("no HTTP client: {error}")))?;
        let auth = Auth::new(properties, uri, &http);
        let headers = headers(&service.catalog, properties)?;
        Ok(Self { http, auth, service, headers, read_timeout, change_timeout })
    }

    pub(super) fn service(&self) -> &Service {
        &self.service
    }

    /// The same connections, authorised by other properties.
    pub(super) fn with_properties(&self, uri: &str, properties: &HashMap<String, String>) -> Result<Self> {
        Ok(Self {
            http: self.http.clone(),
            auth: Auth::new(properties, uri, &self.http),
            service: self.service.clone(),
            headers: headers(&self.service.catalog, properties)?,
            read_timeout: self.read_timeout,
            change_timeout: self.change_timeout,
        })
    }

    pub(super) async fn get<T: DeserializeOwned + Send + 'static>(
        &self,
        purpose: Purpose<'_>,
        url: String,
        query: Vec<(&'static str, String)>,
    ) -> Result<T> {
        let body =
            self.send(&Request { purpose, method: Method::GET, url, query, body: None, known_etag: None }).await?.body;
        self.parse(purpose, body).await
    }

    /// Asks for something that may be known already, by the tag that its answer had; none if it has not changed.
    pub(super) async fn get_if_changed<T: DeserializeOwned + Send + 'static>(
        &self,
        purpose: Purpose<'_>,
        url: String,
        known_etag: Option<String>,
    ) -> Result<Option<(T, Option<String>)>> {
        let request = Request { purpose, method: Method::GET, url, query: Vec::new(), body: None, known_etag };
        let reply = self.send(&request).await?;
        if reply.status == StatusCode::NOT_MODIFIED {
            return Ok(None);
        }
        Ok(Some((self.parse(purpose, reply.body).await?, reply.etag)))
    }

    /// Sends a change whose answer has no meaning beyond its status.
    pub(super) async fn post(
        &self,
        purpose: Purpose<'_>,
        url: String,
        body: &(impl Serialize + Sync),
    ) -> Result<Bytes> {
        let body = serde_json::to_vec(body).map_err(|error| Error::Internal(format!("{purpose}: {error}")))?;
        let body = Some(body.into());
        let request = Request { purpose, method: Method::POST, url, query: Vec::new(), body, known_etag: None };
        Ok(self.send(&request).await?.body)
    }

    pub(super) async fn delete(
        &self,
        purpose: Purpose<'_>,
        url: String,
        query: Vec<(&'static str, String)>,
    ) -> Result<()> {
        let request = Request { purpose, method: Method::DELETE, url, query, body: None, known_etag: None };
        self.send(&request).await.map(drop)
    }

    /// Reads an answer's JSON.
    pub(super) async fn parse<T: DeserializeOwned + Send + 'static>(
        &self,
        purpose: Purpose<'_>,
        body: Bytes,
    ) -> Result<T> {
        let parsed = if body.len() < BLOCKING_PARSE_BYTES {
            serde_json::from_slice(&body)
        } else {
            tokio::task::spawn_blocking(move || serde_json::from_slice(&body))
                .await
                .map_err(|error| self.service.malformed(purpose, error))?
        };
        parsed.map_err(|error| self.service.malformed(purpose, error))
    }

    async fn send(&self, request: &Request<'_>) -> Result<Reply> {
        if !request.purpose.is_read() {
            return self.send_authorised(request).await.map_err(|failed| failed.error);
        }
        let backoff = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(100))
            .with_max_delay(Duration::from_secs(1))
            .with_max_times(4)
            .with_jitter();
        let result = (|| self.send_authorised(request)).retry(backoff).when(|failed| failed.may_pass).await;
        result.map_err(|failed| failed.error)
    }

    async fn send_authorised(&self, request: &Request<'_>) -> Result<Reply, Failed> {
        let mut token = self.auth.bearer().await.map_err(Failed::for_good)?;
        let mut reply = self.exchange(request, token.as_deref()).await?;
        if matches!(reply.status.as_u16(), 401 | 419) && self.auth.refused(token.as_deref()).await {
            token = self.auth.bearer().await.map_err(Failed::for_good)?;
            reply = self.exchange(request, token.as_deref()).await?;
        }
        let unchanged = reply.status == StatusCode::NOT_MODIFIED && request.known_etag.is_some();
        if reply.status.is_success() || unchanged {
            return Ok(reply);
        }
        let body = without_secrets(reply.body, token.as_deref(), &self.headers);
        let error = self.service.refused(request.purpose, reply.status, &body);
        Err(Failed { error, may_pass: matches!(reply.status.as_u16(), 429 | 503) })
    }

    /// One request and its whole answer, whatever its status.
    async fn exchange(&self, request: &Request<'_>, token: Option<&str>) -> Result<Reply, Failed> {
        let purpose = request.purpose;
        let timeout = if purpose.is_read() { self.read_timeout } else { self.change_timeout };
        let mut builder =
            self.http.request(request.method.clone(), &request.url).headers(self.headers.clone()).timeout(timeout);
        if !request.query.is_empty() {
            builder = builder.query(&request.query);
        }
        if let Some(token) = token {
            builder = builder.bearer_auth(token);
        }
        if let Some(etag) = &request.known_etag {
            builder = builder.header(reqwest::header::IF_NONE_MATCH, etag);
        }
        if let Some(body) = &request.body {
            builder = builder.header(reqwest::header::CONTENT_TYPE, "application/json").body(body.clone());
        }
        let lost = |error: reqwest::Error| {
            let may_pass = !error.is_timeout() && !error.is_builder();
            Failed { error: self.service.no_answer(purpose, error), may_pass }
        };
        let mut response = builder.send().await.map_err(lost)?;
        let status = response.status();
        let etag = response.headers().get(reqwest::header::ETAG).and_then(|etag| etag.to_str().ok()).map(str::to_owned);
        let reply = |body: Bytes| Reply { status, etag, body };
        let mut body = BytesMut::new();
        loop {
            match response.chunk().await {
                Ok(None) => return Ok(reply(body.freeze())),
                Ok(Some(chunk)) if body.len() + chunk.len() <= BODY_BYTES_MAX => body.extend_from_slice(&chunk),
                Ok(Some(_)) => {
                    let message = format!("the answer is larger than {} MiB", BODY_BYTES_MAX >> 20);
                    return Err(Failed::for_good(self.service.malformed(purpose, message)));
                }
                // The status of a refusal says enough without its body.
                Err(_) if !status.is_success() => return Ok(reply(Bytes::new())),
                Err(error) => return Err(lost(error)),
            }
        }
    }
}

/// An error, and whether the same request may succeed in a moment.
struct Failed {
    error: Error,
    may_pass: bool,
}

impl Failed {
    fn for_good(error: Error) -> Self {
        Self { error, may_pass: false }
    }
}

/// A refusal, should it repeat the token or a header of the settings without those: its words become an error's.
fn without_secrets(body: Bytes, token: Option<&str>, headers: &HeaderMap) -> Bytes {
    let headers = headers.values().filter(|value| value.is_sensitive()).filter_map(|value| value.to_str().ok());
    // The secret of `Bearer abc` is `abc`.
    let headers = headers.filter_map(|value| value.rsplit(' ').next());
    let secrets: Vec<&str> = token.into_iter().chain(headers).filter(|secret| secret.len() >= 4).collect();
    let mut text = String::from_utf8_lossy(&body).into_owned();
    if !secrets.iter().any(|secret| text.contains(*secret)) {
        return body;
    }
    for secret in secrets {
        text = text.replace(secret, HIDDEN);
    }
    text.into()
}

/// `header.NAME` properties, and the wish for vended credentials, which such a property may replace.
fn headers(catalog: &str, properties: &HashMap<String, String>) -> Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    headers.insert("x-iceberg-access-delegation", HeaderValue::from_static("vended-credentials"));
    for (key, value) in properties {
        let Some(name) = key.strip_prefix("header.") else { continue };
        let setting = || format!("catalog.{catalog}.\"{key}\"");
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| Error::Settings {
            setting: setting(),
            message: "is not the name of an HTTP header".to_owned(),
        })?;
        let mut value = HeaderValue::from_str(value).map_err(|_| Error::Settings {
            setting: setting(),
            message: "has a value that no header can have".to_owned(),
        })?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_that_repeats_a_secret_is_told_without_it() {
        let properties = HashMap::from([
            ("header.authorization".to_owned(), "Bearer abc.def".to_owned()),
            ("header.x-short".to_owned(), "is".to_owned()),
        ]);
        let (none, headers) = (HeaderMap::new(), headers("lake", &properties).unwrap());
        let said = Bytes::from_static(br#"{"error":{"message":"token abc.def is not known"}}"#);
        let told = Bytes::from_static(br#"{"error":{"message":"token *** is not known"}}"#);
        assert_eq!(without_secrets(said.clone(), Some("abc.def"), &none), told);
        assert_eq!(without_secrets(said.clone(), None, &headers), told);
        for token in [Some("other"), Some(""), None] {
            assert_eq!(without_secrets(said.clone(), token, &none), said);
        }
    }
}
