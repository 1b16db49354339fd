//! PollFlightInfo: a query's FlightInfo, and how far the query is.
//!
//! The first call plans the query, as GetFlightInfo does. All that can be fetched is known then, and the query runs once it
//! is fetched; what is left to poll for is its progress. Later calls name the query by a descriptor whose command is the
//! result's ticket. As Flight asks for, they are answered when something has changed, or after a second.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use arrow_flight::sql::{Command, TicketStatementQuery};
use arrow_flight::{FlightDescriptor, FlightInfo, PollInfo};
use tonic::Status;

use super::{Inner, decode_command};
use crate::polls::Polled;
use crate::results::Stage;
use crate::sessions::Caller;
use crate::status::malformed;

/// How long an answer waits for something to tell.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often it is looked whether there is something.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

impl Inner {
    /// PollFlightInfo: begins a query, or tells how far one is.
    pub(super) async fn poll(
        &self,
        command: Command,
        descriptor: FlightDescriptor,
        caller: &mut Caller,
    ) -> Result<PollInfo, Status> {
        if let Command::TicketStatementQuery(ticket) = command {
            return self.poll_again(&ticket, descriptor, caller).await;
        }
        let info = self.flight_info(command, descriptor, caller).await?;
        let ticket = ticket_of(&info)?;
        let query = ticket.as_ref().and_then(|(ticket, _)| self.results.waiting_query(ticket));
        let (Some((ticket, again)), Some(query)) = (ticket, query) else {
            // A statement that is done, or metadata.
            return Ok(PollInfo { info: Some(info), progress: Some(1.0), ..PollInfo::default() });
        };
        let polled = Polled { info: info.clone(), query, owner: caller.user().into() };
        let can_be_polled = self.polls.begin(&ticket, polled);
        let answer = PollInfo { info: Some(info), progress: Some(0.0), ..PollInfo::default() };
        Ok(if can_be_polled { self.to_be_continued(answer, again) } else { answer })
    }

    async fn poll_again(
        &self,
        ticket: &TicketStatementQuery,
        again: FlightDescriptor,
        caller: &Caller,
    ) -> Result<PollInfo, Status> {
        let ticket = handle(ticket)?;
        let Polled { info, query, .. } = self.polls.get(ticket, caller.user())?;
        let (asked, known) = (Instant::now(), query.progress());
        while self.results.stage(ticket) == Stage::Fetching && query.progress() == known && asked.elapsed() < PATIENCE {
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
        let stage = self.results.stage(ticket);
        let answer = PollInfo { info: Some(info), progress: query.progress().fraction(), ..PollInfo::default() };
        Ok(match stage {
            Stage::Fetching => self.to_be_continued(answer, again),
            // Nothing changes before the result is fetched: a client that polls to the end first must not wait for itself.
            Stage::Waiting | Stage::Ended => answer,
        })
    }

    /// An answer after which another can be asked for.
    fn to_be_continued(&self, mut answer: PollInfo, again: FlightDescriptor) -> PollInfo {
        answer.flight_descriptor = Some(again);
        let expires = SystemTime::now() + self.polls.lifetime();
        if let Ok(since_1970) = expires.duration_since(UNIX_EPOCH) {
            let expiration = answer.expiration_time.get_or_insert_default();
            expiration.seconds = i64::try_from(since_1970.as_secs()).unwrap_or(i64::MAX);
            expiration.nanos = since_1970.subsec_nanos().cast_signed();
        }
        answer
    }
}

/// The ticket of a statement's only endpoint, and the descriptor that names it; none for metadata.
fn ticket_of(info: &FlightInfo) -> Result<Option<(String, FlightDescriptor)>, Status> {
    let Some(ticket) = info.endpoint.first().and_then(|endpoint| endpoint.ticket.as_ref()) else { return Ok(None) };
    let again = FlightDescriptor::new_cmd(ticket.ticket.clone());
    match decode_command("the ticket", &ticket.ticket)? {
        Command::TicketStatementQuery(ticket) => Ok(Some((handle(&ticket)?.to_owned(), again))),
        _ => Ok(None),
    }
}

fn handle(ticket: &TicketStatementQuery) -> Result<&str, Status> {
    std::str::from_utf8(&ticket.statement_handle).map_err(|error| malformed("the ticket", &error))
}
