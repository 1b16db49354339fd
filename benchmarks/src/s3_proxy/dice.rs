//! Decides which fault a request meets, where in its answer, and how long it is held.
//!
//! Every request throws the same number of dice, whatever the settings are, so that a seed gives the same faults to the same requests
//! in the same order. Requests at one time come in an order that no seed decides.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::request::{Class, Kind, Request};
use super::settings::{FaultScope, Faults};

/// What can befall a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    SlowDown,
    Reset,
    Truncate,
    IgnoreRange,
    Stall,
}

/// What becomes of one request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fate {
    /// How long it is held.
    pub(super) delay: Duration,
    pub(super) fault: Option<Fault>,
    /// Where in the answer the fault strikes: 0 is its beginning, 1 its end.
    place: f64,
}

/// A share of the resets comes before the answer's head; in the rest, after it.
const RESETS_BEFORE_HEAD: f64 = 0.25;

impl Fate {
    /// Whether the connection is reset before the client sees any of the answer.
    pub(super) fn resets_before_head(&self) -> bool {
        self.fault == Some(Fault::Reset) && self.place < RESETS_BEFORE_HEAD
    }

    /// Where in the body the fault strikes, as a share of it.
    pub(super) fn place_in_body(&self) -> f64 {
        if self.fault == Some(Fault::Reset) {
            ((self.place - RESETS_BEFORE_HEAD) / (1.0 - RESETS_BEFORE_HEAD)).max(0.0)
        } else {
            self.place
        }
    }
}

/// A source of fates.
#[derive(Debug)]
pub(super) struct Dice(StdRng);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(StdRng::seed_from_u64(seed))
    }

    pub(super) fn throw(&mut self, request: &Request, faults: &Faults) -> Fate {
        let [which, place, jitter]: [f64; 3] = self.0.random();
        let fault = if in_scope(request, faults.faults_only_on) { choose(which, faults) } else { None };
        let jitter_ms = faults.latency_jitter_ms as f64 * (2.0 * jitter - 1.0);
        let delay_ms = (faults.latency_ms as f64 + jitter_ms).max(0.0);
        Fate { delay: Duration::from_secs_f64(delay_ms / 1e3), fault, place }
    }
}

fn in_scope(request: &Request, scope: FaultScope) -> bool {
    match scope {
        FaultScope::Data => request.kind == Kind::Get && request.class == Class::Data,
        FaultScope::All => true,
    }
}

/// The rates lie one after another on the line from 0 to 1.
fn choose(which: f64, faults: &Faults) -> Option<Fault> {
    let rates = [
        (Fault::SlowDown, faults.fault_503),
        (Fault::Reset, faults.fault_reset),
        (Fault::Truncate, faults.fault_truncate),
        (Fault::IgnoreRange, faults.fault_ignore_range),
        (Fault::Stall, faults.fault_stall),
    ];
    let mut end = 0.0;
    for (fault, rate) in rates {
        end += rate;
        if which < end {
            return Some(fault);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fault_gets_its_share() {
        let faults = Faults { fault_503: 0.5, fault_truncate: 0.25, fault_stall: 0.125, ..Faults::default() };
        let chosen = [0.0, 0.49, 0.5, 0.74, 0.75, 0.87, 0.88].map(|which| choose(which, &faults));
        let (slow, cut, stall) = (Some(Fault::SlowDown), Some(Fault::Truncate), Some(Fault::Stall));
        assert_eq!(chosen, [slow, slow, cut, cut, stall, stall, None]);
        assert_eq!(choose(0.999_999, &Faults { fault_reset: 1.0, ..Faults::default() }), Some(Fault::Reset));
        assert_eq!(choose(0.0, &Faults::default()), None);
    }
}
