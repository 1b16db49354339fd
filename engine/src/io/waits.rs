//! Where the parts of one query wait now, told to whoever asks why the query does not go on.
//!
//! Whatever waits for something that others must do (the store, a budget, a client) takes note of it here for as long as it waits.
//! Costs a short lock a request, nothing a row.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Of many parts that wait, so many are told of.
const TOLD_MAX: usize = 12;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Waits {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    waiting: BTreeMap<u64, Wait>,
}

#[derive(Debug)]
struct Wait {
    what: &'static str,
    file: Option<(Arc<str>, Option<Range<u64>>)>,
    since: Instant,
    /// Whether the query can go on without it.
    is_aside: bool,
}

/// One part that waits, until dropped.
#[derive(Debug)]
pub(crate) struct Waiting<'a> {
    waits: &'a Waits,
    number: u64,
}

/// All parts that wait, at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WaitReport {
    /// A line for a person: what is waited for, of which file, for how long; those that wait longest first.
    pub(crate) text: String,
    /// How long the one that waits longest has waited, of those without which the query cannot go on; zero if there are none.
    pub(crate) longest: Duration,
}

impl Waits {
    /// Begins to wait for `what`, such as `the client to take rows`.
    pub(crate) fn enter(&self, what: &'static str) -> Waiting<'_> {
        self.add(Wait { what, file: None, since: Instant::now(), is_aside: false })
    }

    /// Begins to wait for something of a file, such as `the store's answer`, and of it these bytes.
    pub(crate) fn enter_file(&self, what: &'static str, file: &Arc<str>, bytes: Option<Range<u64>>) -> Waiting<'_> {
        self.add(Wait { what, file: Some((Arc::clone(file), bytes)), since: Instant::now(), is_aside: false })
    }

    /// Begins to wait for something without which the query goes on, such as memory to read ahead.
    pub(crate) fn enter_aside(&self, what: &'static str, file: &Arc<str>) -> Waiting<'_> {
        self.add(Wait { what, file: Some((Arc::clone(file), None)), since: Instant::now(), is_aside: true })
    }

    fn add(&self, wait: Wait) -> Waiting<'_> {
        let mut state = self.state.lock();
        let number = state.next;
        state.next += 1;
        state.waiting.insert(number, wait);
        Waiting { waits: self, number }
    }

    /// What is waited for now; none if nothing is.
    pub(crate) fn report(&self) -> Option<WaitReport> {
        let state = self.state.lock();
        if state.waiting.is_empty() {
            return None;
        }
        // Numbers are in the order of time.
        let longest =
            state.waiting.values().find(|wait| !wait.is_aside).map_or(Duration::ZERO, |wait| wait.since.elapsed());
        let mut lines: Vec<String> = state.waiting.values().take(TOLD_MAX).map(Wait::to_string).collect();
        if state.waiting.len() > TOLD_MAX {
            lines.push(format!("and {} more", state.waiting.len() - TOLD_MAX));
        }
        Some(WaitReport { text: lines.join("; "), longest })
    }
}

impl std::fmt::Display for Wait {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "for {}", self.what)?;
        if let Some((file, bytes)) = &self.file {
            if let Some(bytes) = bytes {
                write!(f, ", bytes {} to {}", bytes.start, bytes.end)?;
            }
            write!(f, " of {file}")?;
        }
        write!(f, " for {:.1} s", self.since.elapsed().as_secs_f64())
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.waits.state.lock().waiting.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_waited_for_is_told_longest_first_until_it_is_over() {
        let waits = Waits::default();
        assert_eq!(waits.report(), None);
        let file: Arc<str> = Arc::from("s3://lake/a.parquet");
        let first = waits.enter_file("the footer", &file, None);
        let second = waits.enter_file("the store's answer", &file, Some(4..9));
        let text = waits.report().unwrap().text;
        assert!(text.starts_with("for the footer of s3://lake/a.parquet for "), "{text}");
        assert!(text.contains("; for the store's answer, bytes 4 to 9 of s3://lake/a.parquet for "), "{text}");
        drop(first);
        assert!(waits.report().unwrap().text.starts_with("for the store's answer"));
        drop(second);
        let many: Vec<Waiting<'_>> = (0..20).map(|_| waits.enter_file("pages", &file, None)).collect();
        assert!(waits.report().unwrap().text.ends_with("; and 8 more"));
        drop(many);
        assert_eq!(waits.report(), None);
        let aside = waits.enter_aside("memory to read ahead", &file);
        std::thread::sleep(Duration::from_millis(2));
        assert_eq!(waits.report().unwrap().longest, Duration::ZERO);
        let client = waits.enter("the client to take rows");
        assert!(waits.report().unwrap().text.contains("; for the client to take rows for 0.0 s"));
        drop((aside, client));
    }
}
