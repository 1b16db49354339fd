//! One client's connection: its requests, one after another, until either side ends it or S3 goes away.

use std::io;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::counters::Tally;
use super::dice::Dice;
use super::exchange::{After, exchange};
use super::head::RequestHead;
use super::request::Request;
use super::settings::Faults;
use super::transfer::Pace;
use super::upstream::Upstream;
use super::wire::Wire;

/// How long a client that was answered before it had sent everything may go on sending.
const LAST_WORDS_TIME_MAX: Duration = Duration::from_secs(5);

/// What all connections of a proxy share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) faults: watch::Sender<Faults>,
    pub(super) dice: Mutex<Dice>,
    pub(super) tally: Tally,
    pub(super) upstream: Upstream,
}

/// The two directions of a connection.
#[derive(Debug)]
pub(super) struct Lanes {
    pub(super) up: Pace,
    pub(super) down: Pace,
}

/// Serves a connection to its end.
pub(super) async fn serve(stream: TcpStream, shared: &Shared) {
    let mut faults = shared.faults.subscribe();
    let away = async {
        let _ = faults.wait_for(|faults| faults.down).await;
        shared.tally.add(|counters| counters.refused += 1);
    };
    tokio::select! {
        biased;
        () = away => {}
        // The client sees how its connection ended; there is nobody else to tell.
        _ = serve_requests(stream, shared) => {}
    }
}

async fn serve_requests(stream: TcpStream, shared: &Shared) -> io::Result<()> {
    let mut client = Wire::new(stream);
    let mut lanes = Lanes { up: Pace::new(), down: Pace::new() };
    loop {
        let request = match next_request(&mut client).await {
            Ok(Some(request)) => request,
            Err(error) if error.kind() == io::ErrorKind::InvalidData => return refuse(client).await,
            Ok(None) | Err(_) => return Ok(()),
        };
        match exchange(&mut client, &mut lanes, &request, shared).await? {
            After::NextRequest => {}
            After::Close => return Ok(()),
            After::CloseAfterReading => return close(client).await,
            After::Reset => return client.reset(),
        }
    }
}

async fn next_request(client: &mut Wire) -> io::Result<Option<Request>> {
    let (mut reader, _) = client.split();
    reader.head(RequestHead::parse).await?.map(Request::new).transpose()
}

/// Answers what is not HTTP/1.
async fn refuse(mut client: Wire) -> io::Result<()> {
    client.stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await?;
    close(client).await
}

async fn close(client: Wire) -> io::Result<()> {
    tokio::time::timeout(LAST_WORDS_TIME_MAX, client.close_after_reading()).await?
}
