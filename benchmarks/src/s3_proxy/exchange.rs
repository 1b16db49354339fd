//! One request: holds it, finds it a connection to the S3 server, sends it on while `answer.rs` brings back what comes, and says what
//! becomes of both connections.
//!
//! Both bodies pass at one time, so that `100 Continue` and answers that come before the upload's end work. A pooled connection that
//! proves dead is replaced without the client's notice if the request may be repeated.

use std::io;

use tokio::io::AsyncWriteExt;
use tokio::net::tcp::WriteHalf;

use super::connection::{Lanes, Shared};
use super::counters::{Account, Direction};
use super::dice::{Fate, Fault};
use super::request::Request;
use super::settings::Faults;
use super::transfer::{Broken, End, Flow, Pace};
use super::wire::{Reader, Wire};

/// What becomes of the client's connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum After {
    NextRequest,
    Close,
    CloseAfterReading,
    Reset,
}

/// Why an answer did not pass.
pub(super) enum Failure {
    Client(io::Error),
    /// The server has not begun to answer.
    NoAnswer,
    /// The server ended within its answer.
    BrokenOff,
}

/// How a `Range` that is to be ignored is kept from the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ignore {
    /// The server does not learn of it.
    Unasked,
    /// It is signed, so the server must see it; what was not asked for comes as zeros.
    Padded,
}

/// One request under way.
pub(super) struct Exchange<'a> {
    pub(super) request: &'a Request,
    pub(super) faults: Faults,
    pub(super) fate: Fate,
    pub(super) account: Account<'a>,
    pub(super) ignore: Option<Ignore>,
}

/// Serves a request whose head was read from the client.
pub(super) async fn exchange(
    client: &mut Wire,
    lanes: &mut Lanes,
    request: &Request,
    shared: &Shared,
) -> io::Result<After> {
    let faults = *shared.faults.borrow();
    let fate = shared.dice.lock().throw(request, &faults);
    let ranged = fate.fault == Some(Fault::IgnoreRange) && request.is_ranged_get();
    let ignore = ranged.then(|| if request.signs_range() { Ignore::Padded } else { Ignore::Unasked });
    let exchange = Exchange { request, faults, fate, account: shared.tally.begin(request), ignore };
    (lanes.up.bytes_per_s, lanes.down.bytes_per_s) = (faults.bandwidth_bytes_per_s, faults.bandwidth_bytes_per_s);
    if !fate.delay.is_zero() {
        tokio::time::sleep(fate.delay).await;
    }
    if fate.fault == Some(Fault::SlowDown) {
        return exchange.slow_down(client, lanes).await;
    }
    loop {
        let waiting = shared.upstream.waiting();
        let may_be_dead = waiting.is_some();
        let connected = match waiting {
            Some(wire) => Ok(wire),
            None => shared.upstream.connect().await,
        };
        let Ok(mut server) = connected else { return exchange.bad_gateway(client).await };
        if !may_be_dead {
            exchange.account.add(|counters| counters.upstream_conns += 1);
        }
        let after = match exchange.carry(client, &mut server, lanes).await {
            Ok(after) => after,
            Err(Failure::Client(error)) => return Err(error),
            Err(Failure::NoAnswer) if may_be_dead && request.may_be_repeated() => continue,
            Err(Failure::NoAnswer) => return exchange.bad_gateway(client).await,
            Err(Failure::BrokenOff) => {
                exchange.account.add(|counters| counters.upstream_errors += 1);
                return Ok(After::Close);
            }
        };
        if after == After::NextRequest {
            shared.upstream.keep(server);
        }
        return Ok(after);
    }
}

impl Exchange<'_> {
    /// Sends request and answer, each as it comes.
    async fn carry(&self, client: &mut Wire, server: &mut Wire, lanes: &mut Lanes) -> Result<After, Failure> {
        let (mut client_reader, mut client_writer) = client.split();
        let (mut server_reader, mut server_writer) = server.split();
        let asking = self.ask(&mut client_reader, &mut server_writer, &mut lanes.up);
        let answering = self.answer(&mut server_reader, &mut client_writer, &mut lanes.down);
        tokio::pin!(asking, answering);
        let (asked, answered) = tokio::select! {
            biased;
            asked = &mut asking => match asked {
                Ok(()) => (true, answering.await?),
                Err(Broken::Read(error)) => return Err(Failure::Client(error)),
                // The server may have answered before it stopped to listen.
                Err(Broken::Write(_)) => (false, answering.await?),
            },
            answered = &mut answering => (false, answered?),
        };
        Ok(match answered.end {
            End::Cut(Fault::Reset) => After::Reset,
            End::Cut(_) => After::Close,
            End::Whole if !asked => After::CloseAfterReading,
            End::Whole if !answered.goes_on || self.request.head.fields.closes() => After::Close,
            End::Whole => After::NextRequest,
        })
    }

    async fn ask(&self, from: &mut Reader<'_>, to: &mut WriteHalf<'_>, pace: &mut Pace) -> Result<(), Broken> {
        let fields = &self.request.head.fields;
        if self.ignore == Some(Ignore::Unasked) {
            to.write_all(&fields.rewritten(None, &["range"], "")).await.map_err(Broken::Write)?;
        } else {
            to.write_all(&fields.bytes).await.map_err(Broken::Write)?;
        }
        self.flow(Direction::Up, pace).copy(from, to, &mut self.request.framing.clone()).await?;
        Ok(())
    }

    pub(super) async fn send_head(&self, to: &mut WriteHalf<'_>, bytes: &[u8]) -> io::Result<()> {
        self.account.head_down(bytes.len());
        to.write_all(bytes).await
    }

    pub(super) fn flow<'a>(&'a self, direction: Direction, pace: &'a mut Pace) -> Flow<'a> {
        Flow { account: &self.account, direction, pace, strike: None, ends_request: direction == Direction::Down }
    }
}
