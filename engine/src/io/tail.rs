//! When a request takes longer than it should: the moment to send a second one.
//!
//! Each answer's time is compared with what the cost model expected of its size. A request past the 95th percentile of the
//! last [`SAMPLES`] such ratios is hedged (Dean and Barroso, "The Tail at Scale", 2013), within a budget of one in twenty.

use std::time::Duration;

use parking_lot::Mutex;

/// Ratios that are remembered.
const SAMPLES: usize = 256;
/// Until there are this many, only very late requests are hedged.
const SAMPLES_MIN: usize = 32;
const RATIO_UNTIL_KNOWN: f64 = 10.0;
/// A request that is not twice as late as expected is not late.
const RATIO_MIN: f64 = 2.0;
/// Nothing is hedged sooner than this, however fast the store is.
const HEDGE_AFTER_MIN: Duration = Duration::from_millis(50);
const HEDGE_AFTER_MAX: Duration = Duration::from_secs(2);
/// Hedges for each request, and how many may be saved up.
const HEDGES_PER_REQUEST: f64 = 0.05;
const HEDGES_SAVED_MAX: f64 = 8.0;

/// Watches one store's answers.
#[derive(Debug)]
pub(crate) struct Tail {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    ratios: Vec<f64>,
    next: usize,
    percentile: f64,
    credit: f64,
}

impl Tail {
    pub(crate) fn new() -> Self {
        let state = State {
            ratios: Vec::with_capacity(SAMPLES),
            next: 0,
            percentile: RATIO_UNTIL_KNOWN,
            credit: HEDGES_SAVED_MAX / 2.0,
        };
        Self { state: Mutex::new(state) }
    }

    /// A request was sent that should take `expected`: the time after which a second one is worth it.
    pub(crate) fn hedge_after(&self, expected: Duration) -> Duration {
        let mut state = self.state.lock();
        state.credit = (state.credit + HEDGES_PER_REQUEST).min(HEDGES_SAVED_MAX);
        expected.mul_f64(state.percentile.max(RATIO_MIN)).clamp(HEDGE_AFTER_MIN, HEDGE_AFTER_MAX)
    }

    /// Takes leave to send one second request.
    pub(crate) fn may_hedge(&self) -> bool {
        let mut state = self.state.lock();
        let may = state.credit >= 1.0;
        if may {
            state.credit -= 1.0;
        }
        may
    }

    /// A request took `elapsed` where `expected` was expected.
    pub(crate) fn observe(&self, expected: Duration, elapsed: Duration) {
        let ratio = elapsed.as_secs_f64() / expected.as_secs_f64().max(1e-4);
        let mut state = self.state.lock();
        if state.ratios.len() < SAMPLES {
            state.ratios.push(ratio);
        } else {
            let next = state.next;
            state.ratios[next] = ratio;
        }
        state.next = (state.next + 1) % SAMPLES;
        if state.next.is_multiple_of(16) && state.ratios.len() >= SAMPLES_MIN {
            let mut sorted = state.ratios.clone();
            sorted.sort_by(f64::total_cmp);
            state.percentile = sorted[sorted.len() * 95 / 100];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hedge_follows_the_measured_percentile() {
        let tail = Tail::new();
        let expected = Duration::from_millis(40);
        assert_eq!(tail.hedge_after(expected), expected * 10);
        for number in 0..200 {
            tail.observe(expected, expected.mul_f64(if number % 10 == 0 { 4.0 } else { 1.0 }));
        }
        assert_eq!(tail.hedge_after(expected), expected * 4);
    }

    #[test]
    fn hedges_are_one_in_twenty() {
        let tail = Tail::new();
        let hedged = (0..1000).filter(|_| {
            tail.hedge_after(Duration::from_millis(1));
            tail.may_hedge()
        });
        let hedged = hedged.count();
        assert!((50..=60).contains(&hedged), "{hedged}");
    }
}
