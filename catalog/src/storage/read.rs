//! Reads: one request, sent once, its head checked, its bytes taken while they come, its checksum verified; and the reads of
//! metadata, which try it again as [`super::retry`] says. Data reads are tried again by whoever sends them.
//!
//! A request has stalled when nothing comes for a while, however long it takes in all.

#[cfg(test)]
mod tests;

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use object_store::{GetOptions, GetResult, GetResultPayload};

use crate::{Error, Result};

use super::failure::{self, stalled};
use super::head::Head;
use super::read_failure::{self, Progress, ReadFailure, ReadFailureKind};
use super::{Object, Retries, Storage, checksum};

/// A request that brings nothing for so long has stalled, unless `s3.request-timeout` (or `gcs.`, `adls.`) says otherwise.
const STALL: Duration = Duration::from_secs(10);

/// Room that is made for an answer before it comes; more is made as it comes.
const RESERVED_BYTES_MAX: usize = 16 << 20;

/// What came so far of an answer, for who watches over it.
#[derive(Debug, Default)]
pub struct Arrived(AtomicU64);

impl Arrived {
    /// Bytes of the body; one more once its head is here.
    pub fn bytes(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

impl Storage {
    /// A whole object.
    ///
    /// # Errors
    /// `FileNotFound`, `BucketNotFound`, `AccessDenied`, `Settings` for a wrong region, or `Unavailable`; each names the
    /// location or bucket. `Malformed` if it has another checksum than the store says.
    pub async fn read(&self, location: &str) -> Result<Bytes> {
        self.read_patiently(location, None).await
    }

    /// Some bytes of an object: exactly those asked for, or an error.
    ///
    /// # Errors
    /// As [`Storage::read`]; `Malformed` if the object ends before the range does.
    pub async fn read_range(&self, location: &str, range: Range<u64>) -> Result<Bytes> {
        if range.end <= range.start {
            return Ok(Bytes::new());
        }
        self.read_patiently(location, Some(&range)).await
    }

    async fn read_patiently(&self, location: &str, range: Option<&Range<u64>>) -> Result<Bytes> {
        let mut tries = self.health(location)?.tries();
        loop {
            tries.ready().await;
            let Some(turn) = tries.turn() else { continue };
            match self.request(location, range, None, &Arrived::default()).await {
                Ok((bytes, _)) => {
                    turn.answered();
                    return Ok(bytes);
                }
                Err(failure) => {
                    tracing::debug!(location, error = %failure.error, "a read of metadata failed");
                    tries.failed(turn, failure)?;
                }
            }
        }
    }

    /// Some bytes of an immutable object of known size, in exactly one request: the answer's status, Content-Range, length,
    /// checksum and the object's size are checked, and nothing is tried again.
    ///
    /// # Errors
    /// Says whether another request may do better.
    pub async fn read_range_once(
        &self,
        location: &str,
        range: Range<u64>,
        size_bytes: u64,
        arrived: &Arrived,
    ) -> std::result::Result<(Bytes, Progress), ReadFailure> {
        self.request(location, Some(&range), Some(size_bytes), arrived).await
    }

    async fn request(
        &self,
        location: &str,
        range: Option<&Range<u64>>,
        size_bytes: Option<u64>,
        arrived: &Arrived,
    ) -> std::result::Result<(Bytes, Progress), ReadFailure> {
        let permanent = |error| ReadFailure::new(ReadFailureKind::Permanent, error);
        let object = self.object_with(location, Retries::Outside).map_err(permanent)?;
        let patience = self.stall_patience(&object).map_err(permanent)?;
        let mut answer = Answer { object, range, arrived, head: Head::default(), patience, clock: Clock::start() };
        let taken = answer.take(size_bytes).await;
        let progress = answer.clock.progress();
        taken.map(|bytes| (bytes, progress)).map_err(|failure| ReadFailure { progress, ..failure })
    }

    fn stall_patience(&self, object: &Object<'_>) -> Result<Duration> {
        let Some(prefix) = object.parts.scheme.property_prefix() else { return Ok(STALL) };
        let seconds = self.opened.properties.seconds(&format!("{prefix}.request-timeout"))?;
        Ok(seconds.map_or(STALL, Duration::from_secs_f64))
    }
}

/// One request, and what comes of it.
struct Answer<'a> {
    object: Object<'a>,
    range: Option<&'a Range<u64>>,
    arrived: &'a Arrived,
    head: Head,
    patience: Duration,
    clock: Clock,
}

impl Answer<'_> {
    async fn take(&mut self, size_bytes: Option<u64>) -> std::result::Result<Bytes, ReadFailure> {
        let mut options = GetOptions { range: self.range.cloned().map(Into::into), ..GetOptions::default() };
        options.extensions.insert(self.head.clone());
        let asked = self.object.store.get_opts(self.object.key(), options);
        let got = match tokio::time::timeout(self.patience, asked).await {
            Ok(Ok(got)) => got,
            Ok(Err(error)) => return Err(self.failed(error)),
            Err(_) => return Err(self.stalled()),
        };
        self.clock.head();
        self.arrived.0.fetch_add(1, Relaxed);
        let location = self.object.location;
        if let Some(size_bytes) = size_bytes.filter(|size| *size != got.meta.size) {
            return Err(doubtful(failure::other_size(location, size_bytes, got.meta.size)));
        }
        if let Some(range) = self.range.filter(|range| range.end > got.meta.size) {
            return Err(doubtful(failure::ends_before(location, range)));
        }
        let wanted = match self.range {
            Some(range) => Some(range.end - range.start),
            // In chunks, the end of them is the object's.
            None => (!self.head.has_no_length()).then_some(got.meta.size),
        };
        let is_whole = self.range.is_none_or(|range| *range == (0..got.meta.size));
        let bytes = self.body(got, wanted).await?;
        if wanted.is_some_and(|wanted| wanted != bytes.len() as u64) {
            let cut = failure::cut_short(location, wanted.unwrap_or_default(), bytes.len() as u64);
            return Err(ReadFailure::new(ReadFailureKind::Transient, cut));
        }
        match is_whole.then(|| checksum::mismatch(&self.head, &bytes)).flatten() {
            Some(name) => Err(doubtful(failure::other_checksum(location, name))),
            None => Ok(bytes),
        }
    }

    /// The bytes as they come, but not more than wanted.
    async fn body(&mut self, got: GetResult, wanted: Option<u64>) -> std::result::Result<Bytes, ReadFailure> {
        let GetResultPayload::Stream(mut pieces) = got.payload else {
            let bytes = got.bytes().await.map_err(|error| self.failed(error))?;
            self.clock.came(bytes.len());
            return Ok(bytes);
        };
        let mut first: Option<Bytes> = None;
        let mut all = BytesMut::new();
        loop {
            let piece = match tokio::time::timeout(self.patience, pieces.next()).await {
                Ok(Some(Ok(piece))) => piece,
                Ok(Some(Err(error))) => return Err(self.failed(error)),
                Ok(None) => break,
                Err(_) => return Err(self.stalled()),
            };
            self.clock.came(piece.len());
            self.arrived.0.fetch_add(piece.len() as u64, Relaxed);
            if let Some(wanted) = wanted.filter(|wanted| *wanted < self.clock.bytes) {
                let more = failure::cut_short(self.object.location, wanted, self.clock.bytes);
                return Err(ReadFailure::new(ReadFailureKind::Transient, more));
            }
            match (&first, all.is_empty()) {
                (None, _) => {
                    first = Some(piece);
                    continue;
                }
                (Some(begun), true) => {
                    // What an answer says of its length is believed as far as it comes.
                    let said = usize::try_from(wanted.unwrap_or_default()).unwrap_or_default();
                    all.reserve(said.min(RESERVED_BYTES_MAX).max(begun.len()));
                    all.extend_from_slice(begun);
                }
                _ => {}
            }
            all.extend_from_slice(&piece);
        }
        // An answer in one piece is not copied.
        Ok(if all.is_empty() { first.unwrap_or_default() } else { all.freeze() })
    }

    fn failed(&self, error: object_store::Error) -> ReadFailure {
        let (object, region) = (&self.object, self.head.header("x-amz-bucket-region"));
        let is_remote = object.parts.scheme.property_prefix().is_some();
        let explain = |error| object.error_in(region, "read", error);
        read_failure::of_store(error, explain, &self.head, is_remote, (object.location, self.range))
    }

    fn stalled(&self) -> ReadFailure {
        let error = stalled(&self.object.parts, self.object.location, self.patience, self.clock.bytes);
        ReadFailure::new(ReadFailureKind::Transient, error)
    }
}

fn doubtful(error: Error) -> ReadFailure {
    ReadFailure::new(ReadFailureKind::Doubtful, error)
}

/// When what came.
struct Clock {
    sent: Instant,
    last: Instant,
    first_byte: Option<Duration>,
    bytes: u64,
}

impl Clock {
    fn start() -> Self {
        let now = Instant::now();
        Self { sent: now, last: now, first_byte: None, bytes: 0 }
    }

    fn head(&mut self) {
        self.last = Instant::now();
        self.first_byte = Some(self.last - self.sent);
    }

    fn came(&mut self, bytes: usize) {
        self.last = Instant::now();
        self.bytes += bytes as u64;
    }

    fn progress(&self) -> Progress {
        let (elapsed, quiet) = (self.sent.elapsed(), self.last.elapsed());
        Progress { first_byte: self.first_byte, bytes: self.bytes, elapsed, quiet }
    }
}
