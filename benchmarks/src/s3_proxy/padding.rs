//! Makes the answer to a signed `Range` look as if the range had been ignored: the range at its place within the whole object, and
//! zeros around it. The object itself cannot be had, as a request without the `Range` would not match its signature.

use tokio::net::tcp::WriteHalf;

use super::counters::Direction;
use super::dice::Fault;
use super::exchange::Exchange;
use super::framing::Framing;
use super::head::ResponseHead;
use super::transfer::{Broken, End, Pace};
use super::wire::Reader;

/// The bytes of an object before and behind a range of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Padding {
    before: u64,
    after: u64,
    total: u64,
}

impl Padding {
    /// Reads a `Content-Range` such as `bytes 5-9/100`.
    pub(super) fn around(content_range: &str) -> Option<Self> {
        let (range, total) = content_range.strip_prefix("bytes ")?.split_once('/')?;
        let (first, last) = range.split_once('-')?;
        let (first, last, total): (u64, u64, u64) = (first.parse().ok()?, last.parse().ok()?, total.parse().ok()?);
        Some(Self { before: first, after: total.checked_sub(last.checked_add(1)?)?, total })
    }

    /// Sends the range as if it were the whole object.
    pub(super) async fn send(
        &self,
        exchange: &Exchange<'_>,
        head: &ResponseHead,
        body: &mut Framing,
        from: &mut Reader<'_>,
        to: &mut WriteHalf<'_>,
        pace: &mut Pace,
    ) -> Result<End, Broken> {
        exchange.account.fault(Fault::IgnoreRange);
        let length = format!("Content-Length: {}\r\n", self.total);
        let whole = head.fields.rewritten(Some("HTTP/1.1 200 OK\r\n"), &["content-range", "content-length"], &length);
        exchange.send_head(to, &whole).await.map_err(Broken::Write)?;
        let mut flow = exchange.flow(Direction::Down, pace);
        flow.ends_request = false;
        flow.zeros(to, self.before).await?;
        let end = flow.copy(from, to, body).await?;
        flow.zeros(to, self.after).await?;
        Ok(end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_fills_the_object_up() {
        assert_eq!(Padding::around("bytes 5-9/100"), Some(Padding { before: 5, after: 90, total: 100 }));
        assert_eq!(Padding::around("bytes 0-99/100"), Some(Padding { before: 0, after: 0, total: 100 }));
        for wrong in ["bytes */100", "bytes 5-9/*", "bytes 5-9/7", "items 1-2/3"] {
            assert_eq!(Padding::around(wrong), None, "{wrong}");
        }
    }
}
