//! What a request costs against what bytes cost: decides which gap is read through, how far a request reaches into its
//! neighbours, and from which size it is divided.
//!
//! A request costs its latency, and its price turned into time by what the machine that waits costs per second. Bytes cost
//! the time that they take on one connection. So a gap of `(latency + price) × bandwidth` bytes costs as much as the
//! request that it saves. Latency and bandwidth are measured, starting from what Amazon S3 shows within a region.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use polynya_catalog::Progress;

/// Time to the first byte until one was measured: S3 within a region.
const LATENCY_DEFAULT: Duration = Duration::from_millis(30);
/// Bytes per second of one connection until measured: S3 within a region.
const BANDWIDTH_DEFAULT: f64 = 90e6;
/// US dollars per second of the machine that waits: 0.20 an hour, about what 4 cores cost.
const MACHINE_USD_PER_SECOND: f64 = 0.20 / 3600.0;
/// How likely a column next to those asked for is asked for soon.
const NEIGHBOUR_PROBABILITY: f64 = 0.5;
/// Weight of a new measurement against those before.
const WEIGHT: f64 = 0.1;
/// Answers this long tell the bandwidth.
const BANDWIDTH_SAMPLE_BYTES: u64 = 1 << 20;
/// So do shorter ones that take long.
const SLOW_SAMPLE_BYTES: u64 = 64 << 10;
const SLOW_SAMPLE_TIME: Duration = Duration::from_millis(250);
const GAP_BYTES_MIN: u64 = 256 << 10;
const GAP_BYTES_MAX: u64 = 8 << 20;

/// Measures one store, and turns requests into bytes.
#[derive(Debug)]
pub(crate) struct CostModel {
    latency_micros: AtomicU64,
    bandwidth: AtomicU64,
    request_usd: f64,
    gap_bytes: Option<u64>,
}

impl CostModel {
    /// A model that knows a GET's price in US dollars; `gap_bytes` fixes the gap instead of measuring.
    pub(crate) fn new(request_usd: f64, gap_bytes: Option<u64>) -> Self {
        Self {
            latency_micros: AtomicU64::new(LATENCY_DEFAULT.as_micros() as u64),
            bandwidth: AtomicU64::new(BANDWIDTH_DEFAULT as u64),
            request_usd,
            gap_bytes,
        }
    }

    /// Learns from what came of a request, whether or not it was all.
    pub(crate) fn observe(&self, progress: &Progress) {
        let latency = self.latency();
        let Some(first_byte) = progress.first_byte else {
            // Nothing came, so it takes at least as long; how much longer, one request does not tell.
            if progress.elapsed > latency {
                self.learn_latency(progress.elapsed.min(latency * 2));
            }
            return;
        };
        self.learn_latency(first_byte);
        let coming = progress.elapsed.saturating_sub(progress.quiet);
        // The first bytes come with the head: never more than a part of the time is theirs.
        let transfer = coming.saturating_sub(first_byte).max(coming / 4);
        if progress.bytes >= BANDWIDTH_SAMPLE_BYTES
            || (progress.bytes >= SLOW_SAMPLE_BYTES && transfer >= SLOW_SAMPLE_TIME)
        {
            let measured = progress.bytes as f64 / transfer.as_secs_f64().max(1e-6);
            let mixed = (1.0 - WEIGHT) * self.bandwidth() + WEIGHT * measured;
            self.bandwidth.store(mixed as u64, Relaxed);
        }
    }

    fn learn_latency(&self, measured: Duration) {
        let mixed = (1.0 - WEIGHT) * self.latency().as_secs_f64() + WEIGHT * measured.as_secs_f64();
        self.latency_micros.store((mixed * 1e6) as u64, Relaxed);
    }

    /// Time to the first byte.
    pub(crate) fn latency(&self) -> Duration {
        Duration::from_micros(self.latency_micros.load(Relaxed))
    }

    /// Bytes per second of one connection.
    pub(crate) fn bandwidth(&self) -> f64 {
        (self.bandwidth.load(Relaxed) as f64).max(1e5)
    }

    /// What a request of this size should take.
    pub(crate) fn expected(&self, bytes: u64) -> Duration {
        self.latency() + Duration::from_secs_f64(bytes as f64 / self.bandwidth())
    }

    /// Bytes between two ranges that are cheaper to read than a second request.
    pub(crate) fn gap_bytes(&self) -> u64 {
        if let Some(fixed) = self.gap_bytes {
            return fixed;
        }
        let request = self.latency().as_secs_f64() + self.request_usd / MACHINE_USD_PER_SECOND;
        ((request * self.bandwidth()) as u64).clamp(GAP_BYTES_MIN, GAP_BYTES_MAX)
    }

    /// Bytes of columns nobody asked for yet that a request may bring on each side, because it is on its way anyhow.
    pub(crate) fn neighbour_bytes(&self) -> u64 {
        (self.gap_bytes() as f64 * NEIGHBOUR_PROBABILITY) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(bytes: u64, first_byte: Duration, elapsed: Duration) -> Progress {
        Progress { first_byte: Some(first_byte), bytes, elapsed, quiet: Duration::ZERO }
    }

    #[test]
    fn the_gap_grows_with_latency_and_price() {
        let near = CostModel::new(4e-7, None);
        let far = CostModel::new(4e-7, None);
        for _ in 0..100 {
            near.observe(&answer(1000, Duration::from_micros(300), Duration::from_micros(310)));
            far.observe(&answer(1000, Duration::from_millis(60), Duration::from_millis(61)));
        }
        assert!(near.gap_bytes() < far.gap_bytes(), "{} {}", near.gap_bytes(), far.gap_bytes());
        let dear = CostModel::new(4e-5, None);
        assert!(dear.gap_bytes() > CostModel::new(4e-7, None).gap_bytes());
        assert_eq!(CostModel::new(4e-7, Some(7)).gap_bytes(), 7);
    }

    #[test]
    fn parts_of_answers_and_requests_without_one_are_learned_from() {
        let cost = CostModel::new(4e-7, None);
        let (before, fast) = (cost.latency(), cost.bandwidth());
        let refused = Progress { elapsed: Duration::from_micros(200), ..Progress::default() };
        cost.observe(&refused);
        assert_eq!(cost.latency(), before);
        let stalled = Progress { elapsed: Duration::from_secs(10), quiet: Duration::from_secs(10), ..refused };
        cost.observe(&stalled);
        assert!(cost.latency() > before && cost.latency() <= before * 2, "{:?}", cost.latency());
        // 400 kB in a second, then nothing for ten.
        let second = Duration::from_secs(1);
        let broken = Progress { quiet: second * 10, ..answer(400_000, second / 20, second * 11) };
        for _ in 0..100 {
            cost.observe(&broken);
        }
        assert!(cost.bandwidth() < fast / 100.0, "{}", cost.bandwidth());
    }
}
