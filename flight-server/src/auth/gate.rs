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
use super::refusal::Refusal;
use super::{Authenticator, audit};
use crate::door::{Peer, timely};
use crate::service::PolynyaService;
use crate::sessions::Sessions;

const HANDSHAKE: &str = "/Handshake";
/// Calls whose clients send for as long as they like: rows, as they come to have them.
const UPLOADS: [&str; 2] = ["/DoPut", "/DoExchange"];
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
        let path = request.uri().path();
        let may_follow = path.ends_with(HANDSHAKE) && matches!(credentials, Credentials::Nothing);
        if !UPLOADS.iter().any(|upload| path.ends_with(upload)) {
            request = request.map(timely);
        }
        Box::pin(async move {
            let refusal = match auth.identify(credentials, &peer, &sessions).await {
                Ok(identity) => match peer.log_in(&identity) {
                    Ok(()) => {
                        request.extensions_mut().insert(identity);
                        return service.call(request).await;
                    }
                    Err(too_many) => Refusal::connections(identity.user(), too_many),
                },
                Err(_) if may_follow => match peer.unidentified() {
                    Ok(_until_it_is_known) => {
                        service = service.max_decoding_message_size(STRANGERS_BYTES_MAX);
                        return service.call(request).await;
                    }
                    Err(()) => Refusal::Busy,
                },
                Err(refusal) => refusal,
            };
            peer.refuse();
            audit::refused(&refusal, &peer);
            Ok(refusal.status().into_http())
        })
    }
}
