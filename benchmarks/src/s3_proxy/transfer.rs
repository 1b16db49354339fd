//! Moves a body from one connection to another: a buffer at a time, no faster than allowed, counted, and struck by a fault where
//! one is due. Nothing more is read before what was read is written, so that a slow reader slows the sender.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::time::Instant;

use super::counters::{Account, Direction};
use super::dice::Fault;
use super::framing::Framing;
use super::wire::{BUFFER_BYTES, Reader};

/// Bytes may be this early: timers have milliseconds.
const EARLY_MAX: Duration = Duration::from_millis(2);

/// When a connection may send again in one direction.
#[derive(Debug)]
pub(super) struct Pace {
    free_at: Instant,
    /// 0: at any time.
    pub(super) bytes_per_s: u64,
}

impl Pace {
    pub(super) fn new() -> Self {
        Self { free_at: Instant::now(), bytes_per_s: 0 }
    }

    /// Pieces are small where the way is narrow, so that bytes come steadily.
    fn piece_bytes_max(&self) -> usize {
        if self.bytes_per_s == 0 {
            BUFFER_BYTES
        } else {
            (self.bytes_per_s / 50).clamp(1024, BUFFER_BYTES as u64) as usize
        }
    }

    /// Waits until so many bytes would have arrived.
    async fn wait(&mut self, bytes: usize) {
        if self.bytes_per_s == 0 {
            return;
        }
        let now = Instant::now();
        self.free_at = self.free_at.max(now) + Duration::from_secs_f64(bytes as f64 / self.bytes_per_s as f64);
        if self.free_at > now + EARLY_MAX {
            tokio::time::sleep_until(self.free_at).await;
        }
    }
}

/// A fault that is due within a body.
#[derive(Debug, Clone, Copy)]
pub(super) struct Strike {
    pub(super) fault: Fault,
    /// How many bytes of the body pass before it. A body that turns out to be shorter is struck within its last piece.
    pub(super) after_bytes: u64,
    pub(super) stall: Duration,
}

/// How a body passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Whole,
    Cut(Fault),
}

/// The side that failed.
#[derive(Debug)]
pub(super) enum Broken {
    Read(io::Error),
    Write(io::Error),
}

/// One body's way through the proxy.
#[derive(Debug)]
pub(super) struct Flow<'a> {
    pub(super) account: &'a Account<'a>,
    pub(super) direction: Direction,
    pub(super) pace: &'a mut Pace,
    pub(super) strike: Option<Strike>,
    /// Whether the request is done when the body is.
    pub(super) ends_request: bool,
}

impl Flow<'_> {
    /// Moves the whole body, unless a fault cuts it.
    pub(super) async fn copy<W>(&mut self, from: &mut Reader<'_>, to: &mut W, body: &mut Framing) -> Result<End, Broken>
    where
        W: AsyncWrite + Unpin,
    {
        let mut sent = 0;
        while !body.is_done() {
            if from.unread.is_empty() && from.fill().await.map_err(Broken::Read)? == 0 {
                let ends_here = *body == Framing::UntilClose;
                return if ends_here { Ok(End::Whole) } else { Err(Broken::Read(io::ErrorKind::UnexpectedEof.into())) };
            }
            let there = from.unread.len().min(self.pace.piece_bytes_max());
            let taken = body.take(&from.unread[..there]).map_err(Broken::Read)?;
            let piece = from.unread.split_to(taken);
            let begin = self.strike_within(sent, taken, body.is_done());
            if let Some((strike, before)) = begin {
                self.send(to, &piece[..before], false).await?;
                self.account.fault(strike.fault);
                if strike.fault != Fault::Stall {
                    return Ok(End::Cut(strike.fault));
                }
                tokio::time::sleep(strike.stall).await;
            }
            self.send(to, &piece[begin.map_or(0, |(_, before)| before)..], body.is_done()).await?;
            sent += taken as u64;
        }
        Ok(End::Whole)
    }

    /// Sends bytes that nobody asked for.
    pub(super) async fn zeros<W: AsyncWrite + Unpin>(&mut self, to: &mut W, mut count: u64) -> Result<(), Broken> {
        let zeros = vec![0; self.pace.piece_bytes_max()];
        while count > 0 {
            let piece = count.min(zeros.len() as u64);
            self.send(to, &zeros[..piece as usize], false).await?;
            count -= piece;
        }
        Ok(())
    }

    /// The fault that strikes among the next bytes, and before how many of them; only once.
    fn strike_within(&mut self, sent: u64, taken: usize, last: bool) -> Option<(Strike, usize)> {
        let within = |strike: &mut Strike| last || strike.after_bytes < sent + taken as u64;
        let strike = self.strike.take_if(within)?;
        let before = strike.after_bytes.saturating_sub(sent) as usize;
        Some((strike, if before < taken { before } else { taken / 2 }))
    }

    async fn send<W: AsyncWrite + Unpin>(&mut self, to: &mut W, piece: &[u8], last: bool) -> Result<(), Broken> {
        self.pace.wait(piece.len()).await;
        self.account.body(self.direction, piece.len());
        if last && self.ends_request {
            self.account.end();
        }
        to.write_all(piece).await.map_err(Broken::Write)
    }
}
