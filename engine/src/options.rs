//! The settings of a session that are ours: `SET polynya.… = …`.

use std::any::Any;

use bytesize::ByteSize;
use datafusion::common::DataFusionError;
use datafusion::common::config::{ConfigEntry, ConfigExtension, ExtensionOptions};

use crate::io::{CacheMode, IoLimits};

/// See the module. Each is described where it is listed.
#[derive(Debug, Clone, Default)]
pub(crate) struct PolynyaOptions {
    pub(crate) cache: CacheMode,
    pub(crate) limits: IoLimits,
}

const CACHE: &str = "cache";
const MAX_SCAN_BYTES: &str = "max_scan_bytes";
const MAX_COST_USD: &str = "max_cost_usd";

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
            _ => return wrong("there is no such setting"),
        }
        Ok(())
    }

    fn entries(&self) -> Vec<ConfigEntry> {
        let cache = match self.cache {
            CacheMode::On => "on",
            CacheMode::Read => "read",
            CacheMode::Off => "off",
        };
        let entry = |key: &str, value: Option<String>, description: &'static str| ConfigEntry {
            key: format!("{}.{key}", Self::PREFIX),
            value,
            description,
        };
        vec![
            entry(
                CACHE,
                Some(cache.to_owned()),
                "Whether queries use the page cache: on, read (pages are used, none is added), or off",
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
        ]
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
        for (key, value) in [("max_scan_bytes", "much"), ("max_cost_usd", "-1"), ("cache", "yes"), ("colour", "red")] {
            assert!(options.set(key, value).is_err(), "{key} = {value}");
        }
    }
}
