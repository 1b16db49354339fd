//! The one door to the Flight service: every call passes it, whichever it is, and gets its caller's [`Identity`].
//!
//! It stands before the service's own dispatch, so that no call can be forgotten, and before a call's body is read.
//! Only a handshake may pass without an identity: old clients say who they are in its message.

use std::convert::Infallible;
use std::sync::Arc;

use arrow_flight::flight_service_server::FlightServiceServer;
use tonic::body::Body;
use tonic::codegen::http::{Request, Response};
use tonic::codegen::{BoxFuture, Context, Poll, Service};
use tonic::server::NamedService;

use super::credentials::Credentials;
use super::{Authenticator, audit};
use crate::service::PolynyaService;
use crate::sessions::Sessions;
use crate::tls::Peer;

const HANDSHAKE: &str = "/Handshake";
/// The largest message of a caller of whom nothing is known yet, in bytes: a name and a password.
const STRANGERS_BYTES_MAX: usize = 16 * 1024;

/// The service behind its door.
#[derive(Clone)]
pub(crate) struct Gate {
    service: FlightServiceServer<PolynyaService>,
    auth: Arc<Authenticator>,
    sessions: Arc<Sessions>,
}

impl Gate {
    /// Puts the door before the service.
    pub(crate) fn new(
        service: FlightServiceServer<PolynyaService>,
        auth: Arc<Authenticator>,
        sessions: Arc<Sessions>,
    ) -> Self {
        Self { service, auth, sessions }
    }
}

impl NamedService for Gate {
    const NAME: &'static str = <FlightServiceServer<PolynyaService> as NamedService>::NAME;
}

impl Service<Request<Body>> for Gate {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Response<Body>, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // The service behind is always ready.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let Self { mut service, auth, sessions } = self.clone();
        let credentials = Credentials::of(request.headers());
        let peer = request.extensions().get::<Peer>().cloned().unwrap_or_default();
        let may_follow = request.uri().path().ends_with(HANDSHAKE) && matches!(credentials, Credentials::Nothing);
        Box::pin(async move {
            match auth.identify(credentials, &peer, &sessions).await {
                Ok(identity) => drop(request.extensions_mut().insert(identity)),
                Err(_) if may_follow => service = service.max_decoding_message_size(STRANGERS_BYTES_MAX),
                Err(refusal) => {
                    audit::refused(&refusal, &peer);
                    return Ok(refusal.status().into_http());
                }
            }
            service.call(request).await
        })
    }
}
