//! Answers that the proxy gives by itself, in the form of S3's errors.

use std::io;

use tokio::net::tcp::WriteHalf;

use super::connection::Lanes;
use super::counters::Direction;
use super::dice::Fault;
use super::exchange::{After, Exchange};
use super::transfer::Broken;
use super::wire::Wire;

impl Exchange<'_> {
    /// Answers as S3 does when it gets too many requests; S3 is not asked.
    pub(super) async fn slow_down(&self, client: &mut Wire, lanes: &mut Lanes) -> io::Result<After> {
        let (mut reader, mut writer) = client.split();
        let closes = self.request.waits_to_send() || self.request.head.fields.closes();
        if !self.request.waits_to_send() {
            let mut flow = self.flow(Direction::Up, &mut lanes.up);
            let read = flow.copy(&mut reader, &mut tokio::io::sink(), &mut self.request.framing.clone()).await;
            let (Ok(_) | Err(Broken::Write(_))) = read else { return Ok(After::Close) };
        }
        self.account.fault(Fault::SlowDown);
        self.refuse(&mut writer, "503 Slow Down", "SlowDown", "Please reduce your request rate.", closes).await?;
        Ok(if closes { After::CloseAfterReading } else { After::NextRequest })
    }

    /// Says that the S3 server did not answer.
    pub(super) async fn bad_gateway(&self, client: &mut Wire) -> io::Result<After> {
        self.account.add(|counters| counters.upstream_errors += 1);
        let (_, mut writer) = client.split();
        self.refuse(
            &mut writer,
            "502 Bad Gateway",
            "BadGateway",
            "The S3 server behind the proxy did not answer.",
            true,
        )
        .await?;
        Ok(After::CloseAfterReading)
    }

    /// Answers with an error in the form of S3's.
    async fn refuse(
        &self,
        to: &mut WriteHalf<'_>,
        status: &str,
        code: &str,
        message: &str,
        closes: bool,
    ) -> io::Result<()> {
        let body = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>{message}</Message>\
             <RequestId>polynya-s3-proxy</RequestId></Error>"
        );
        let connection = if closes { "Connection: close\r\n" } else { "" };
        let length = body.len();
        let mut answer = format!(
            "HTTP/1.1 {status}\r\nContent-Type: application/xml\r\nContent-Length: {length}\r\n{connection}\r\n"
        );
        if self.request.head.method != "HEAD" {
            answer.push_str(&body);
        }
        self.account.end();
        self.send_head(to, answer.as_bytes()).await
    }
}
