//! What a proxy is told: where it stands, and how bad the way to S3 is. Says which values make sense.

use std::net::{Ipv4Addr, SocketAddr};

use super::error::{Error, Result};

/// Where a proxy listens and forwards, and how it begins.
#[derive(Debug, Clone)]
pub struct ProxyOptions {
    /// The S3 server, as `http://host:port`.
    pub upstream: String,
    /// Where clients connect. Default: a free port of the loopback.
    pub listen: SocketAddr,
    /// Where the control endpoint listens. Default: there is none.
    pub control: Option<SocketAddr>,
    /// What the way to S3 is like at first. Default: nothing is added.
    pub faults: Faults,
    /// Seed of the dice that choose requests for faults. Default: a new one each time.
    pub seed: Option<u64>,
}

impl ProxyOptions {
    /// A proxy that only counts.
    pub fn new(upstream: impl Into<String>) -> Self {
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self { upstream: upstream.into(), listen, control: None, faults: Faults::default(), seed: None }
    }

    /// The same with these latencies, limits and faults.
    pub fn with_faults(self, faults: Faults) -> Self {
        Self { faults, ..self }
    }

    /// The same with dice that always fall the same way.
    pub fn with_seed(self, seed: u64) -> Self {
        Self { seed: Some(seed), ..self }
    }
}

/// Which requests may meet a fault. Latency and bandwidth concern all of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FaultScope {
    /// GET requests of keys that end in `.parquet`.
    #[default]
    Data,
    /// Every request.
    All,
}

/// What the way to S3 is like. The default adds nothing.
///
/// Each rate is the share of the requests in scope that meet the fault; a request meets one at most.
#[derive(Debug, Clone, Copy, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Faults {
    /// How long every request is held before it is sent on.
    pub latency_ms: u64,
    /// The latency of each request is up to this much more or less, evenly spread.
    pub latency_jitter_ms: u64,
    /// Bytes of bodies per second, for each client connection and direction; 0: no limit.
    pub bandwidth_bytes_per_s: u64,
    /// Share of requests answered `503 Slow Down` without asking S3.
    pub fault_503: f64,
    /// Share of requests whose answer ends in a TCP reset: before its head, or within its body.
    pub fault_reset: f64,
    /// Share of requests whose answer promises its length, and ends early.
    pub fault_truncate: f64,
    /// Share of requests whose `Range` is ignored: the answer is `200` with the whole object.
    pub fault_ignore_range: f64,
    /// Share of requests whose answer pauses for `stall_ms`.
    pub fault_stall: f64,
    /// How long a stalled answer pauses.
    pub stall_ms: u64,
    /// Which requests may meet a fault.
    pub faults_only_on: FaultScope,
    /// S3 is away: connections are closed as soon as they are accepted, and open ones at once.
    pub down: bool,
}

impl Faults {
    /// An error names the first setting that makes no sense.
    pub fn validate(&self) -> Result<()> {
        let rates = [
            ("fault_503", self.fault_503),
            ("fault_reset", self.fault_reset),
            ("fault_truncate", self.fault_truncate),
            ("fault_ignore_range", self.fault_ignore_range),
            ("fault_stall", self.fault_stall),
        ];
        if let Some(&(name, rate)) = rates.iter().find(|(_, rate)| !(0.0..=1.0).contains(rate)) {
            return Err(Error::Rate { name, rate });
        }
        let sum: f64 = rates.iter().map(|(_, rate)| rate).sum();
        // Sums such as 0.1 + 0.2 + 0.7 are a little above 1.
        if sum > 1.0 + 1e-9 {
            return Err(Error::RateSum { sum });
        }
        let (jitter_ms, latency_ms) = (self.latency_jitter_ms, self.latency_ms);
        if jitter_ms > latency_ms { Err(Error::Jitter { jitter_ms, latency_ms }) } else { Ok(()) }
    }

    /// These settings with the fields of a JSON object in place of their own.
    pub(super) fn changed_by(&self, json: &[u8]) -> Result<Self> {
        let changes: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(json).map_err(Error::Json)?;
        let mut all = serde_json::to_value(self).map_err(Error::Json)?;
        if let Some(all) = all.as_object_mut() {
            all.extend(changes);
        }
        let changed: Self = serde_json::from_value(all).map_err(Error::Json)?;
        changed.validate()?;
        Ok(changed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_probabilities_that_share_one() {
        let refused = |faults: Faults| faults.validate().unwrap_err().to_string();
        assert!(refused(Faults { fault_503: 1.5, ..Faults::default() }).starts_with("fault_503 is 1.5"));
        assert!(refused(Faults { fault_stall: f64::NAN, ..Faults::default() }).starts_with("fault_stall is NaN"));
        assert!(refused(Faults { fault_503: 0.6, fault_reset: 0.6, ..Faults::default() }).contains("sum up to 1.2"));
        assert!(refused(Faults { latency_jitter_ms: 5, ..Faults::default() }).contains("more than latency_ms"));
        Faults { fault_503: 0.1, fault_reset: 0.2, fault_stall: 0.7, ..Faults::default() }.validate().unwrap();
    }

    #[test]
    fn a_change_keeps_what_it_does_not_name() {
        let faults = Faults { latency_ms: 30, fault_503: 0.5, ..Faults::default() };
        let changed = faults.changed_by(br#"{"fault_503": 0, "down": true, "faults_only_on": "all"}"#).unwrap();
        assert_eq!(
            changed,
            Faults { latency_ms: 30, down: true, faults_only_on: FaultScope::All, ..Faults::default() }
        );
        assert!(faults.changed_by(br#"{"latency": 3}"#).is_err());
        assert!(faults.changed_by(br#"{"fault_503": 2}"#).is_err());
        assert!(faults.changed_by(b"[]").is_err());
    }
}
