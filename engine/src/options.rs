//! The settings of a session that are ours: `SET polynya.… = …`.

use std::any::Any;
use std::time::Duration;

use bytesize::ByteSize;
use datafusion::common::DataFusionError;
use datafusion::common::config::{ConfigEntry, ConfigExtension, ConfigOptions, ExtensionOptions};

use crate::Session;
use crate::functions::Zone;
use crate::io::{CacheMode, IoLimits};
use crate::wire_options::WireOptions;

/// See the module. Each is described where it is listed.
#[derive(Debug, Clone, Default)]
pub(crate) struct PolynyaOptions {
    pub(crate) cache: CacheMode,
    pub(crate) limits: IoLimits,
    pub(crate) execution: Execution,
    /// How long a statement may take, rows given included.
    pub(crate) statement_timeout: Option<Duration>,
    pub(crate) wire: WireOptions,
    pub(crate) time_zone: TimeZone,
}

/// A session's time zone: what it is called, and what it is.
#[derive(Debug, Clone)]
pub(crate) struct TimeZone {
    pub(crate) name: String,
    pub(crate) zone: Zone,
}

impl Default for TimeZone {
    fn default() -> Self {
        Self { name: "UTC".to_owned(), zone: Zone::UTC }
    }
}

/// What clients call the time zone. DataFusion's own setting of that name stays UTC, so that no type of a plan has another zone: see
/// `planner::session_zone`.
pub(crate) const TIME_ZONE: &str = "datafusion.execution.time_zone";

/// Sets one of a session's settings.
///
/// # Errors
/// If there is none of that name, or it cannot have this value.
pub(crate) fn set_for_session(options: &mut ConfigOptions, name: &str, value: &str) -> datafusion::common::Result<()> {
    if name != TIME_ZONE {
        return options.set(name, value);
    }
    let time_zone = TimeZone { name: value.trim().to_owned(), zone: Zone::of_session(value)? };
    match options.extensions.get_mut::<PolynyaOptions>() {
        Some(ours) => ours.time_zone = time_zone,
        None => options.extensions.insert(PolynyaOptions { time_zone, ..PolynyaOptions::default() }),
    }
    Ok(())
}

/// The time zone of a session with these options.
pub(crate) fn zone_of(options: &ConfigOptions) -> Zone {
    options.extensions.get::<PolynyaOptions>().map_or(Zone::UTC, |ours| ours.time_zone.zone)
}

/// The time zone that a session has chosen.
pub(crate) fn zone_of_session(session: &Session) -> Zone {
    // What is no zone has been refused when it was set.
    session.settings().get(TIME_ZONE).and_then(|name| Zone::of_session(name).ok()).unwrap_or(Zone::UTC)
}

/// Where a query runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Execution {
    /// On workers, if there are some and the query is large.
    #[default]
    Auto,
    /// In the coordinator.
    Local,
    /// On workers, if its plan can be sent.
    Distributed,
}

const CACHE: &str = "cache";
const EXECUTION: &str = "execution";
const MAX_SCAN_BYTES: &str = "max_scan_bytes";
const MAX_COST_USD: &str = "max_cost_usd";
const STATEMENT_TIMEOUT: &str = "statement_timeout";

impl ConfigExtension for PolynyaOptions {
    const PREFIX: &'static str = "polynya";
}

impl ExtensionOptions for PolynyaOptions {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }

    fn cloned(&self) -> Box<dyn ExtensionOptions> {
        Box::new(self.clone())
    }

    fn set(&mut self, key: &str, value: &str) -> datafusion::common::Result<()> {
        let value = value.trim();
        let wrong = |expected: &str| Err(DataFusionError::Configuration(expected.to_owned()));
        match key {
            CACHE => {
                self.cache = match value.to_lowercase().as_str() {
                    "on" => CacheMode::On,
                    "read" => CacheMode::Read,
                    "off" => CacheMode::Off,
                    _ => return wrong("expected on, read or off"),
                }
            }
            EXECUTION => {
                self.execution = match value.to_lowercase().as_str() {
                    "auto" => Execution::Auto,
                    "local" => Execution::Local,
                    "distributed" => Execution::Distributed,
                    _ => return wrong("expected auto, local or distributed"),
                }
            }
            MAX_SCAN_BYTES if value == "0" => self.limits.max_scan_bytes = None,
            MAX_SCAN_BYTES => match value.parse::<ByteSize>() {
                Ok(bytes) => self.limits.max_scan_bytes = Some(bytes.as_u64()),
                Err(_) => return wrong("expected a number of bytes, such as 10GB; 0 is no limit"),
            },
            MAX_COST_USD => match value.parse::<f64>() {
                Ok(0.0) => self.limits.max_cost_usd = None,
                Ok(usd) if usd > 0.0 && usd.is_finite() => self.limits.max_cost_usd = Some(usd),
                _ => return wrong("expected US dollars, such as 0.05; 0 is no limit"),
            },
            STATEMENT_TIMEOUT if value == "0" => self.statement_timeout = None,
            STATEMENT_TIMEOUT => match crate::duration::parse(value) {
                Some(timeout) => self.statement_timeout = (!timeout.is_zero()).then_some(timeout),
                None => return wrong("expected a duration such as 500ms, 30s, 5m or 1h; 0 is no limit"),
            },
            _ => {
                let outcome = self.wire.set(key, value);
                return outcome.map_err(|expected| DataFusionError::Configuration(expected.to_owned()));
            }
        }
        Ok(())
    }

    fn entries(&self) -> Vec<ConfigEntry> {
        let cache = match self.cache {
            CacheMode::On => "on",
            CacheMode::Read => "read",
            CacheMode::Off => "off",
        };
        let execution = match self.execution {
            Execution::Auto => "auto",
            Execution::Local => "local",
            Execution::Distributed => "distributed",
        };
        let entry = |key: &str, value: Option<String>, description: &'static str| ConfigEntry {
            key: format!("{}.{key}", Self::PREFIX),
            value,
            description,
        };
        let mut entries = vec![
            entry(
                CACHE,
                Some(cache.to_owned()),
                "Whether queries use the page cache: on, read (pages are used, none is added), or off",
            ),
            entry(
                EXECUTION,
                Some(execution.to_owned()),
                "Where queries run: auto (large ones on workers), local (in the coordinator), or distributed (on workers)",
            ),
            entry(
                MAX_SCAN_BYTES,
                Some(self.limits.max_scan_bytes.unwrap_or(0).to_string()),
                "A query that reads more bytes of data files than this, cached or not, is stopped; 0 is no limit",
            ),
            entry(
                MAX_COST_USD,
                Some(self.limits.max_cost_usd.unwrap_or(0.0).to_string()),
                "A query whose requests to the object store would cost more US dollars than this is stopped; 0 is no limit",
            ),
            entry(
                STATEMENT_TIMEOUT,
                Some(self.statement_timeout.map_or("0".to_owned(), |timeout| format!("{}ms", timeout.as_millis()))),
                "A query that takes longer than this, such as 30s or 5m, is stopped; 0 is no limit",
            ),
        ];
        entries.extend(self.wire.entries().into_iter().map(|(key, value, text)| entry(key, Some(value), text)));
        entries
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_people_write_them() {
        let mut options = PolynyaOptions::default();
        options.set("max_scan_bytes", "10 GB").expect("a size");
        options.set("max_cost_usd", "0.05").expect("a price");
        options.set("cache", "OFF").expect("a mode");
        assert_eq!(options.limits, IoLimits { max_scan_bytes: Some(10_000_000_000), max_cost_usd: Some(0.05) });
        assert_eq!(options.cache, CacheMode::Off);
        options.set("statement_timeout", "1500ms").expect("a duration");
        assert_eq!(options.statement_timeout, Some(Duration::from_millis(1500)));
        for (key, value) in [
            ("max_scan_bytes", "much"),
            ("max_cost_usd", "-1"),
            ("cache", "yes"),
            ("colour", "red"),
            ("statement_timeout", "soon"),
        ] {
            assert!(options.set(key, value).is_err(), "{key} = {value}");
        }
    }
}
