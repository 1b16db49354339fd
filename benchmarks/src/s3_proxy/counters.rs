//! Counts what passes. A number is raised before the bytes it counts are sent, so that a client that has its answer finds it counted.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use parking_lot::Mutex;

use super::dice::Fault;
use super::request::{Class, Kind, Request};

/// What passed since the start, or since the counters were last taken.
///
/// A request has one kind: `gets + lists + heads + puts + others` is their number.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct Counters {
    /// GET requests, except lists.
    pub gets: u64,
    /// HEAD requests.
    pub heads: u64,
    /// PUT requests.
    pub puts: u64,
    /// All other requests: POST, DELETE and the rest.
    pub others: u64,
    /// POST requests, which are among `others`.
    pub posts: u64,
    /// DELETE requests, which are among `others`.
    pub deletes: u64,
    /// GET requests that list a bucket.
    pub lists: u64,
    /// GET requests with a `Range`, which are among `gets`.
    pub ranged_gets: u64,
    /// Bytes sent to clients: heads, and bodies with their framing.
    pub bytes_down: u64,
    /// Bytes received from clients: heads, and bodies with their framing.
    pub bytes_up: u64,
    /// Connections accepted from clients.
    pub conns: u64,
    /// Connections opened to the S3 server.
    pub upstream_conns: u64,
    /// Requests under way, the most at one time.
    pub peak: u64,
    /// Answers that the S3 server did not give: it could not be reached, or broke off.
    pub upstream_errors: u64,
    /// Connections closed because the proxy is down.
    pub refused: u64,
    /// Requests answered `503 Slow Down`.
    pub fault_503: u64,
    /// Connections reset.
    pub fault_reset: u64,
    /// Answers ended early.
    pub fault_truncate: u64,
    /// Ranges ignored.
    pub fault_ignore_range: u64,
    /// Answers stalled.
    pub fault_stall: u64,
    /// Requests of keys that end in `.parquet`.
    pub data: ClassCounters,
    /// Requests of keys that end in `.json` or `.avro`.
    pub metadata: ClassCounters,
    /// All other requests.
    pub other: ClassCounters,
}

/// What passed of one class of objects.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct ClassCounters {
    /// Requests of any kind.
    pub requests: u64,
    /// GET requests, except lists.
    pub gets: u64,
    /// GET requests with a `Range`.
    pub ranged_gets: u64,
    /// Bytes of bodies sent to clients.
    pub body_bytes_down: u64,
    /// Bytes of bodies received from clients.
    pub body_bytes_up: u64,
    /// How many GET requests (without lists) got a body of at most so many bytes: the keys are powers of two, the next at or above
    /// the size.
    pub get_sizes: BTreeMap<u64, u64>,
}

impl Counters {
    /// Requests of all kinds.
    pub fn requests(&self) -> u64 {
        self.gets + self.lists + self.heads + self.puts + self.others
    }

    fn class(&mut self, class: Class) -> &mut ClassCounters {
        match class {
            Class::Data => &mut self.data,
            Class::Metadata => &mut self.metadata,
            Class::Other => &mut self.other,
        }
    }

    fn count(&mut self, request: &Request) {
        match request.kind {
            Kind::Get => self.gets += 1,
            Kind::List => self.lists += 1,
            Kind::Head => self.heads += 1,
            Kind::Put => self.puts += 1,
            Kind::Post => (self.posts, self.others) = (self.posts + 1, self.others + 1),
            Kind::Delete => (self.deletes, self.others) = (self.deletes + 1, self.others + 1),
            Kind::Other => self.others += 1,
        }
        let (get, ranged) = (u64::from(request.kind == Kind::Get), u64::from(request.is_ranged_get()));
        self.ranged_gets += ranged;
        self.bytes_up += request.head.fields.bytes.len() as u64;
        let class = self.class(request.class);
        class.requests += 1;
        class.gets += get;
        class.ranged_gets += ranged;
    }
}

/// The counters of a proxy that runs.
#[derive(Debug, Default)]
pub(super) struct Tally {
    now: Mutex<Now>,
}

#[derive(Debug, Default)]
struct Now {
    counters: Counters,
    in_flight: u64,
}

impl Tally {
    pub(super) fn peek(&self) -> Counters {
        self.now.lock().counters.clone()
    }

    /// The counters, which begin anew; requests under way count for the new peak.
    pub(super) fn take(&self) -> Counters {
        let mut now = self.now.lock();
        let peak = now.in_flight;
        std::mem::replace(&mut now.counters, Counters { peak, ..Counters::default() })
    }

    pub(super) fn add(&self, count: impl FnOnce(&mut Counters)) {
        count(&mut self.now.lock().counters);
    }

    pub(super) fn begin(&self, request: &Request) -> Account<'_> {
        let mut now = self.now.lock();
        now.in_flight += 1;
        now.counters.peak = now.counters.peak.max(now.in_flight);
        now.counters.count(request);
        let (kind, class) = (request.kind, request.class);
        Account { tally: self, kind, class, body_bytes_down: AtomicU64::new(0), ended: AtomicBool::new(false) }
    }
}

/// The entries of one request, under way until [`Account::end`] or the drop.
#[derive(Debug)]
pub(super) struct Account<'a> {
    tally: &'a Tally,
    kind: Kind,
    class: Class,
    body_bytes_down: AtomicU64,
    ended: AtomicBool,
}

/// Which way a body goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    Up,
    Down,
}

impl Account<'_> {
    pub(super) fn add(&self, count: impl FnOnce(&mut Counters)) {
        self.tally.add(count);
    }

    pub(super) fn head_down(&self, bytes: usize) {
        self.add(|counters| counters.bytes_down += bytes as u64);
    }

    pub(super) fn body(&self, direction: Direction, bytes: usize) {
        let bytes = bytes as u64;
        self.add(|counters| {
            if direction == Direction::Up {
                counters.bytes_up += bytes;
                counters.class(self.class).body_bytes_up += bytes;
            } else {
                counters.bytes_down += bytes;
                counters.class(self.class).body_bytes_down += bytes;
            }
        });
        if direction == Direction::Down {
            self.body_bytes_down.fetch_add(bytes, Relaxed);
        }
    }

    pub(super) fn fault(&self, fault: Fault) {
        self.add(|counters| {
            *match fault {
                Fault::SlowDown => &mut counters.fault_503,
                Fault::Reset => &mut counters.fault_reset,
                Fault::Truncate => &mut counters.fault_truncate,
                Fault::IgnoreRange => &mut counters.fault_ignore_range,
                Fault::Stall => &mut counters.fault_stall,
            } += 1;
        });
    }

    /// The request is no longer under way: all of its answer that will be sent is counted.
    pub(super) fn end(&self) {
        if self.ended.swap(true, Relaxed) {
            return;
        }
        let mut now = self.tally.now.lock();
        now.in_flight -= 1;
        if self.kind == Kind::Get {
            let bytes_max = self.body_bytes_down.load(Relaxed).next_power_of_two();
            *now.counters.class(self.class).get_sizes.entry(bytes_max).or_default() += 1;
        }
    }
}

impl Drop for Account<'_> {
    fn drop(&mut self) {
        self.end();
    }
}
