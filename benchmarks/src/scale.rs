//! The scale factor of a benchmark: how it is written, and what the schema of its tables is called.

use std::fmt;
use std::str::FromStr;

/// How many gigabytes of raw data the tables stand for; 1 is the unit of the TPC-H specification.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Scale(f64);

/// Why a text is not a scale factor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not a scale factor: give a number from 0.001 to 100000, such as 0.1, 1 or 100")]
pub struct ParseScaleError(String);

impl Scale {
    /// A scale factor; `None` outside of 0.001 to 100000, where the generators' key ranges end.
    pub fn new(factor: f64) -> Option<Self> {
        (0.001..=100_000.0).contains(&factor).then_some(Self(factor))
    }

    /// The number.
    pub fn factor(self) -> f64 {
        self.0
    }

    /// The schema that holds the tables of this scale unless told otherwise: `tpch_sf1`, and `tpch_sf0_1`, since a dot would
    /// part the levels of a nested namespace.
    pub fn tpch_schema(self) -> String {
        format!("tpch_sf{self}").replace('.', "_")
    }

    /// The scale that a schema's name tells, if it is called as [`Scale::tpch_schema`] does.
    pub fn of_tpch_schema(schema: &str) -> Option<Self> {
        let text = schema.to_ascii_lowercase();
        text.strip_prefix("tpch_sf")?.replacen('_', ".", 1).parse().ok()
    }
}

impl fmt::Display for Scale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl FromStr for Scale {
    type Err = ParseScaleError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.trim().parse().ok().and_then(Self::new).ok_or_else(|| ParseScaleError(text.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schemas_are_named_without_dots_and_read_back() {
        for (text, schema) in [("1", "tpch_sf1"), ("0.1", "tpch_sf0_1"), ("0.01", "tpch_sf0_01"), ("100", "tpch_sf100")]
        {
            let scale: Scale = text.parse().expect("a scale");
            assert_eq!(scale.tpch_schema(), schema);
            assert_eq!(Scale::of_tpch_schema(schema), Some(scale));
            assert_eq!(scale.to_string(), text);
        }
        assert_eq!(Scale::of_tpch_schema("sales"), None);
    }

    #[test]
    fn what_cannot_be_generated_is_refused() {
        for text in ["0", "-1", "nan", "inf", "1e9", "one"] {
            assert!(text.parse::<Scale>().is_err(), "{text}");
        }
    }
}
