//! The way of an answer back to the client, and what faults make of it.

use std::time::Duration;

use tokio::net::tcp::WriteHalf;

use super::counters::Direction;
use super::dice::Fault;
use super::exchange::{Exchange, Failure, Ignore};
use super::framing::Framing;
use super::head::ResponseHead;
use super::padding::Padding;
use super::transfer::{Broken, End, Pace, Strike};
use super::wire::{BUFFER_BYTES, Reader};

/// An answer that passed, or was cut.
pub(super) struct Answered {
    pub(super) end: End,
    /// Whether both connections take another message.
    pub(super) goes_on: bool,
}

impl Exchange<'_> {
    /// Brings the answer back, interim ones first.
    pub(super) async fn answer(
        &self,
        from: &mut Reader<'_>,
        to: &mut WriteHalf<'_>,
        pace: &mut Pace,
    ) -> Result<Answered, Failure> {
        let head = loop {
            let Ok(Some(head)) = from.head(ResponseHead::parse).await else { return Err(Failure::NoAnswer) };
            if !head.is_interim() {
                break head;
            }
            self.send_head(to, &head.fields.bytes).await.map_err(Failure::Client)?;
        };
        let Ok(mut body) = Framing::of_response(&head, &self.request.head.method) else {
            return Err(Failure::NoAnswer);
        };
        let goes_on = !head.fields.closes() && body != Framing::UntilClose;
        if self.fate.resets_before_head() || (self.fate.fault == Some(Fault::Reset) && body.is_done()) {
            self.account.fault(Fault::Reset);
            return Ok(Answered { end: End::Cut(Fault::Reset), goes_on });
        }
        let passed = if let Some(padding) = self.padding(&head) {
            padding.send(self, &head, &mut body, from, to, pace).await
        } else {
            self.pass(&head, &mut body, from, to, pace).await
        };
        match passed {
            Ok(end) => Ok(Answered { end, goes_on }),
            Err(Broken::Read(_)) => Err(Failure::BrokenOff),
            Err(Broken::Write(error)) => Err(Failure::Client(error)),
        }
    }

    async fn pass(
        &self,
        head: &ResponseHead,
        body: &mut Framing,
        from: &mut Reader<'_>,
        to: &mut WriteHalf<'_>,
        pace: &mut Pace,
    ) -> Result<End, Broken> {
        if self.ignore == Some(Ignore::Unasked) && head.status == 200 {
            self.account.fault(Fault::IgnoreRange);
        }
        if body.is_done() {
            if self.fate.fault == Some(Fault::Stall) {
                self.account.fault(Fault::Stall);
                tokio::time::sleep(self.stall()).await;
            }
            self.account.end();
        }
        self.send_head(to, &head.fields.bytes).await.map_err(Broken::Write)?;
        let mut flow = self.flow(Direction::Down, pace);
        flow.strike = self.strike(body);
        flow.copy(from, to, body).await
    }

    fn stall(&self) -> Duration {
        Duration::from_millis(self.faults.stall_ms)
    }

    /// The fault that is due within the answer's body.
    fn strike(&self, body: &Framing) -> Option<Strike> {
        let fault = self.fate.fault.filter(|fault| matches!(fault, Fault::Reset | Fault::Truncate | Fault::Stall))?;
        let bytes = body.remaining().unwrap_or(BUFFER_BYTES as u64);
        let after_bytes = (self.fate.place_in_body() * bytes as f64) as u64;
        Some(Strike { fault, after_bytes, stall: self.stall() })
    }

    /// What surrounds the answer to a signed `Range` that is to be ignored.
    fn padding(&self, head: &ResponseHead) -> Option<Padding> {
        let applies = self.ignore == Some(Ignore::Padded) && head.status == 206;
        applies.then(|| head.fields.get("content-range").and_then(Padding::around)).flatten()
    }
}
