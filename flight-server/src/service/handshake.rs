//! Handshake: a user and a password become a bearer token, which is the name of a new session.
//!
//! Credentials come as a header, or from old clients as a `BasicAuth` message. A handshake with a token, as ODBC's driver
//! sends it, gives the same token back. Where nobody is asked, everybody gets one.

use std::time::Duration;

use arrow_flight::{HandshakeRequest, HandshakeResponse};
use bytes::Bytes;
use futures::StreamExt;
use tonic::metadata::MetadataMap;
use tonic::{Code, Extensions, Response, Status, Streaming};

use super::{Inner, ServerStream};
use crate::auth::{Credentials, Identity, Refusal, logged_in, refused};
use crate::door::Peer;
use crate::sessions::set_cookie;
use crate::status::status;

/// How long a caller may take to send what shows who it is.
const PATIENCE: Duration = Duration::from_secs(10);

impl Inner {
    /// See the module.
    pub(super) async fn handshake(
        &self,
        metadata: &MetadataMap,
        extensions: &Extensions,
        mut requests: Streaming<HandshakeRequest>,
    ) -> Result<Response<ServerStream<HandshakeResponse>>, Status> {
        // Old clients send their credentials as a message and wait; new ones send only headers and close.
        let first = tokio::time::timeout(PATIENCE, requests.message()).await.map_err(|_| too_slow())??;
        let peer = extensions.get::<Peer>().cloned().unwrap_or_default();
        let identity = match extensions.get::<Identity>() {
            Some(identity) => identity.clone(),
            None => self.identity_in_message(first.as_ref(), &peer).await?,
        };
        peer.log_in(&identity)
            .map_err(|too_many| turn_away(&Refusal::connections(identity.user(), too_many), &peer))?;
        let (token, cookie) = if identity.is_unchecked() {
            let id = self.sessions.keep(&self.sessions.resolve(metadata, &identity))?;
            (Some(id.clone()), set_cookie(&id))
        } else if let Some(hash) = identity.password_hash() {
            (Some(self.sessions.log_in(identity.user(), hash)?), None)
        } else {
            (identity.token().map(str::to_owned), None)
        };
        logged_in(&identity, &peer);
        let answer = HandshakeResponse {
            protocol_version: first.map_or(0, |request| request.protocol_version),
            payload: token.clone().map(Bytes::from).unwrap_or_default(),
        };
        let mut response = Response::new(futures::stream::iter([Ok(answer)]).boxed());
        if let Some(token) = token {
            let bearer = format!("Bearer {token}").parse().map_err(|_| Status::internal("a token is not a header"))?;
            response.metadata_mut().insert("authorization", bearer);
        }
        if let Some(cookie) = cookie {
            response.metadata_mut().insert("set-cookie", cookie);
        }
        Ok(response)
    }

    /// Who calls, as the message says that old clients send.
    async fn identity_in_message(&self, message: Option<&HandshakeRequest>, peer: &Peer) -> Result<Identity, Status> {
        let credentials = message.map_or(Credentials::Nothing, |message| Credentials::of_message(&message.payload));
        // A message says who somebody is only with a password: the certificate was looked at before.
        let told = match credentials {
            Credentials::Nothing => Err(Refusal::Nothing),
            credentials => self.auth.identify(credentials, peer, &self.sessions).await,
        };
        told.map_err(|refusal| turn_away(&refusal, peer))
    }
}

fn turn_away(refusal: &Refusal, peer: &Peer) -> Status {
    peer.refuse();
    refused(refusal, peer);
    refusal.status()
}

fn too_slow() -> Status {
    status(Code::DeadlineExceeded, "28000", "the handshake's message did not come in time", None)
}
