//! Which statistics of a column go into manifests: the `write.metadata.metrics.*` properties.

use std::collections::HashMap;

use iceberg::spec::TableMetadata;

use crate::{Error, Result};

const DEFAULT_KEY: &str = "write.metadata.metrics.default";
const COLUMN_PREFIX: &str = "write.metadata.metrics.column.";
const MAX_INFERRED_KEY: &str = "write.metadata.metrics.max-inferred-column-defaults";

/// What is kept of one column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MetricsMode {
    /// Its size only.
    None,
    /// Counts of values, NULLs and NaNs.
    Counts,
    /// Counts, and bounds cut to so many characters or bytes.
    Truncate(usize),
    /// Counts, and whole bounds.
    Full,
}

/// What is kept of each column.
#[derive(Debug, Clone)]
pub(super) struct MetricsConfig {
    default: MetricsMode,
    columns: HashMap<i32, MetricsMode>,
}

impl MetricsConfig {
    pub(super) fn of(table: &str, metadata: &TableMetadata) -> Result<Self> {
        let properties = metadata.properties();
        let mode = |key: &str, text: &str| {
            MetricsMode::parse(text).ok_or_else(|| {
                let expected = "none, counts, truncate(length) or full";
                Error::Invalid(format!("property {key} of table {table} is '{text}'; expected {expected}"))
            })
        };
        let default =
            properties.get(DEFAULT_KEY).map_or(Ok(MetricsMode::Truncate(16)), |text| mode(DEFAULT_KEY, text))?;
        let schema = metadata.current_schema();
        let mut columns = HashMap::new();
        // A very wide table would have huge manifests: unless asked otherwise, only its first columns are counted.
        if !properties.contains_key(DEFAULT_KEY) {
            let limit = properties.get(MAX_INFERRED_KEY).and_then(|text| text.parse().ok()).unwrap_or(100);
            let beyond = schema.as_struct().fields().iter().skip(limit);
            columns.extend(beyond.map(|field| (field.id, MetricsMode::None)));
        }
        for (key, text) in properties {
            let Some(name) = key.strip_prefix(COLUMN_PREFIX) else { continue };
            if let Some(field) = schema.field_by_name(name) {
                columns.insert(field.id, mode(key, text)?);
            }
        }
        Ok(Self { default, columns })
    }

    /// The mode of a column, by field id.
    pub(super) fn mode(&self, field_id: i32) -> MetricsMode {
        self.columns.get(&field_id).copied().unwrap_or(self.default)
    }

    /// How long the Parquet writer must keep bounds for these modes: none is whole.
    ///
    /// A character has at most four bytes.
    pub(super) fn longest_bound_bytes(&self) -> Option<usize> {
        let mut modes = self.columns.values().chain([&self.default]);
        modes.try_fold(64_usize, |longest, mode| match mode {
            MetricsMode::None | MetricsMode::Counts => Some(longest),
            MetricsMode::Truncate(length) => Some(longest.max(length.saturating_mul(4))),
            MetricsMode::Full => None,
        })
    }
}

impl MetricsMode {
    fn parse(text: &str) -> Option<Self> {
        let text = text.trim().to_ascii_lowercase();
        match text.as_str() {
            "none" => Some(Self::None),
            "counts" => Some(Self::Counts),
            "full" => Some(Self::Full),
            _ => {
                let length = text.strip_prefix("truncate(")?.strip_suffix(')')?.trim().parse().ok()?;
                (length > 0).then_some(Self::Truncate(length))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_as_the_documentation_writes_them() {
        assert_eq!(MetricsMode::parse("truncate(16)"), Some(MetricsMode::Truncate(16)));
        assert_eq!(MetricsMode::parse("Full"), Some(MetricsMode::Full));
        assert_eq!(MetricsMode::parse("counts"), Some(MetricsMode::Counts));
        assert_eq!(MetricsMode::parse("truncate(0)"), None);
        assert_eq!(MetricsMode::parse("all"), None);
    }
}
