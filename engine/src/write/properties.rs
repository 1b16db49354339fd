//! What a table's properties say about writing it.
//!
//! Names and defaults are those of <https://iceberg.apache.org/docs/latest/configuration/#write-properties>. A value
//! that cannot be understood is an error that names the property: a table must not be written otherwise than it asks.

use std::collections::HashMap;
use std::str::FromStr;

use iceberg::spec::TableMetadata;
use parquet::basic::{BrotliLevel, Compression, GzipLevel, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};

use super::metrics_mode::MetricsConfig;
use crate::{Error, Result};

/// How a table's data files are written.
#[derive(Debug, Clone)]
pub(super) struct WriteProperties {
    /// The folder of data files, without a slash at its end.
    pub(super) data_location: String,
    /// A file that has reached this many bytes is closed.
    pub(super) target_file_size_bytes: u64,
    /// A row group that has reached this many encoded bytes is closed.
    pub(super) row_group_bytes: u64,
    /// A row group has at most this many rows.
    pub(super) row_group_rows: usize,
    /// Which statistics go into manifests.
    pub(super) metrics: MetricsConfig,
    compression: Compression,
    page_bytes: usize,
    page_rows: usize,
    dictionary_bytes: usize,
}

impl WriteProperties {
    /// Reads a table's properties.
    ///
    /// # Errors
    /// Names the property that is wrong, or that asks for what is not there.
    pub(super) fn of(table: &str, metadata: &TableMetadata) -> Result<Self> {
        let properties = Properties { table, values: metadata.properties() };
        properties.refuse_unsupported()?;
        Ok(Self {
            data_location: properties.data_location(metadata.location()),
            target_file_size_bytes: properties.positive("write.target-file-size-bytes", 512 << 20)?,
            row_group_bytes: properties.positive("write.parquet.row-group-size-bytes", 128 << 20)?,
            row_group_rows: properties.positive("write.parquet.row-group-limit", 1 << 20)?,
            metrics: MetricsConfig::of(table, metadata)?,
            compression: properties.compression()?,
            page_bytes: properties.positive("write.parquet.page-size-bytes", 1 << 20)?,
            page_rows: properties.positive("write.parquet.page-row-limit", 20_000)?,
            dictionary_bytes: properties.positive("write.parquet.dict-size-bytes", 2 << 20)?,
        })
    }

    /// The same for the Parquet writer.
    pub(super) fn parquet(&self) -> WriterProperties {
        WriterProperties::builder()
            .set_writer_version(WriterVersion::PARQUET_1_0)
            .set_created_by(concat!("polynya version ", env!("CARGO_PKG_VERSION")).to_string())
            .set_compression(self.compression)
            .set_statistics_enabled(EnabledStatistics::Page)
            .set_statistics_truncate_length(self.metrics.longest_bound_bytes())
            .set_data_page_size_limit(self.page_bytes)
            .set_data_page_row_count_limit(self.page_rows)
            .set_dictionary_page_size_limit(self.dictionary_bytes)
            .build()
    }
}

struct Properties<'a> {
    table: &'a str,
    values: &'a HashMap<String, String>,
}

impl Properties<'_> {
    fn refuse_unsupported(&self) -> Result<()> {
        if let Some(format) = self.values.get("write.format.default")
            && !format.eq_ignore_ascii_case("parquet")
        {
            return Err(self.unsupported("write.format.default", format, "only parquet can be written"));
        }
        if let Some(key) = self.values.get("encryption.key-id") {
            return Err(self.unsupported("encryption.key-id", key, "encrypted tables cannot be written"));
        }
        Ok(())
    }

    fn data_location(&self, table_location: &str) -> String {
        let configured = ["write.data.path", "write.folder-storage.path"].iter().find_map(|key| self.values.get(*key));
        match configured {
            Some(path) => path.trim_end_matches('/').to_string(),
            None => format!("{}/data", table_location.trim_end_matches('/')),
        }
    }

    fn positive<T: FromStr + PartialOrd + From<u8>>(&self, key: &str, default: T) -> Result<T> {
        let Some(text) = self.values.get(key) else {
            return Ok(default);
        };
        match text.trim().parse::<T>() {
            Ok(number) if number > T::from(0) => Ok(number),
            _ => Err(self.invalid(key, text, "a positive whole number")),
        }
    }

    fn compression(&self) -> Result<Compression> {
        const CODEC: &str = "write.parquet.compression-codec";
        const LEVEL: &str = "write.parquet.compression-level";
        let codec = self.values.get(CODEC).map_or("zstd", |codec| codec.trim());
        let level: Option<i32> = match self.values.get(LEVEL).map(|level| level.trim()) {
            None | Some("null") => None,
            Some(text) => Some(text.parse().map_err(|_| self.invalid(LEVEL, text, "a whole number"))?),
        };
        let bad_level = |_| self.invalid(LEVEL, &level.unwrap_or_default().to_string(), "a level of that codec");
        let unsigned = || level.map(|level| u32::try_from(level).unwrap_or(u32::MAX));
        Ok(match codec.to_ascii_lowercase().as_str() {
            "zstd" => Compression::ZSTD(ZstdLevel::try_new(level.unwrap_or(3)).map_err(bad_level)?),
            "snappy" => Compression::SNAPPY,
            "lz4" | "lz4_raw" => Compression::LZ4_RAW,
            "gzip" => Compression::GZIP(GzipLevel::try_new(unsigned().unwrap_or(6)).map_err(bad_level)?),
            "brotli" => Compression::BROTLI(BrotliLevel::try_new(unsigned().unwrap_or(1)).map_err(bad_level)?),
            "uncompressed" | "none" => Compression::UNCOMPRESSED,
            _ => return Err(self.invalid(CODEC, codec, "zstd, snappy, lz4, gzip, brotli or uncompressed")),
        })
    }

    fn invalid(&self, key: &str, value: &str, expected: &str) -> Error {
        Error::Invalid(format!("property {key} of table {} is '{value}'; expected {expected}", self.table))
    }

    fn unsupported(&self, key: &str, value: &str, reason: &str) -> Error {
        Error::unsupported(format!("table {}", self.table), format!("property {key} = '{value}' ({reason})"))
    }
}
