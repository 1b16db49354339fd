//! Lines about logins for those who must tell later who came in (docs/security.md). What statements did is logged by
//! the engine, under the same target.

use super::identity::Identity;
use super::refusal::Refusal;
use crate::door::Peer;

/// A caller was turned away.
pub(crate) fn refused(refusal: &Refusal, peer: &Peer) {
    // Drivers ask without credentials first, to see what the server says.
    if *refusal == Refusal::Nothing {
        tracing::debug!(target: "polynya::audit", peer = peer.shown(), "audit: a call without credentials was refused");
        return;
    }
    tracing::info!(
        target: "polynya::audit",
        user = refusal.user(),
        peer = peer.shown(),
        reason = refusal.reason(),
        outcome = "REFUSED",
        "audit: a login failed"
    );
}

/// A caller has logged in.
pub(crate) fn logged_in(identity: &Identity, peer: &Peer) {
    tracing::info!(
        target: "polynya::audit",
        user = identity.user(),
        peer = peer.shown(),
        method = identity.method(),
        outcome = "ADMITTED",
        "audit: a login succeeded"
    );
}
