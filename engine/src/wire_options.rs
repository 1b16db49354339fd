//! How a session wants its results sent: `SET polynya.wire_… = …`.
//!
//! The defaults are what every client reads: plain types, no compression, messages that Arrow's drivers accept. The server
//! that sends the results applies them; nothing here knows the wire.

use bytesize::ByteSize;

/// What a session has chosen about the form of its results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WireOptions {
    /// Columns of text and bytes are sent as views where the engine has views.
    pub views: bool,
    /// Dictionary columns are sent as dictionaries.
    pub dictionaries: bool,
    /// Timestamps with a time zone are sent without it, in UTC.
    pub naive_timestamps: bool,
    /// How the buffers of record batches are compressed.
    pub compression: WireCompression,
    /// The largest message that the client accepts, in bytes.
    pub message_bytes_max: u64,
}

/// A compression of Arrow's IPC format.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum WireCompression {
    /// Buffers are sent as they are.
    #[default]
    None,
    /// LZ4 frames.
    Lz4,
    /// Zstandard.
    Zstd,
}

const VIEWS: &str = "wire_views";
const DICTIONARIES: &str = "wire_dictionaries";
const TIMESTAMPTZ: &str = "wire_timestamptz";
const COMPRESSION: &str = "wire_compression";
const MESSAGE_BYTES: &str = "wire_message_bytes";

/// What Arrow's own drivers accept unless they are told otherwise.
const DEFAULT_MESSAGE_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// A schema, or the metadata of a wide batch, has to fit in.
const LEAST_MESSAGE_BYTES_MAX: u64 = 64 * 1024;
/// gRPC gives a message's length in 32 bits, and many clients take them as signed.
const MOST_MESSAGE_BYTES_MAX: u64 = i32::MAX as u64;

impl Default for WireOptions {
    fn default() -> Self {
        Self {
            views: false,
            dictionaries: false,
            naive_timestamps: false,
            compression: WireCompression::None,
            message_bytes_max: DEFAULT_MESSAGE_BYTES_MAX,
        }
    }
}

impl WireOptions {
    /// Sets an option by the end of its name; the error says what is expected.
    pub(crate) fn set(&mut self, key: &str, value: &str) -> Result<(), &'static str> {
        let word = value.trim().to_lowercase();
        match key {
            VIEWS => self.views = either(&word, "plain", "kept").ok_or("expected plain or kept")?,
            DICTIONARIES => {
                self.dictionaries = either(&word, "hydrated", "kept").ok_or("expected hydrated or kept")?;
            }
            TIMESTAMPTZ => {
                self.naive_timestamps = either(&word, "kept", "utc").ok_or("expected kept or utc")?;
            }
            COMPRESSION => {
                self.compression = match word.as_str() {
                    "none" => WireCompression::None,
                    "lz4" => WireCompression::Lz4,
                    "zstd" => WireCompression::Zstd,
                    _ => return Err("expected none, lz4 or zstd"),
                }
            }
            MESSAGE_BYTES => {
                let bytes = value.trim().parse::<ByteSize>().ok().map(|size| size.as_u64());
                let fits = |bytes: &u64| (LEAST_MESSAGE_BYTES_MAX..=MOST_MESSAGE_BYTES_MAX).contains(bytes);
                self.message_bytes_max = bytes.filter(fits).ok_or("expected from 64KiB to 2047MiB, such as 16MiB")?;
            }
            _ => return Err("there is no such setting"),
        }
        Ok(())
    }

    /// Each option's name, value and meaning.
    pub(crate) fn entries(&self) -> Vec<(&'static str, String, &'static str)> {
        let word = |kept: bool, otherwise: &str| if kept { "kept".to_owned() } else { otherwise.to_owned() };
        let compression = match self.compression {
            WireCompression::None => "none",
            WireCompression::Lz4 => "lz4",
            WireCompression::Zstd => "zstd",
        };
        vec![
            (
                VIEWS,
                word(self.views, "plain"),
                "How text and bytes are sent: plain, or kept as views, which fewer clients read and which need no copy",
            ),
            (
                DICTIONARIES,
                word(self.dictionaries, "hydrated"),
                "How dictionary columns are sent: hydrated to plain values, or kept",
            ),
            (
                TIMESTAMPTZ,
                if self.naive_timestamps { "utc" } else { "kept" }.to_owned(),
                "How timestamps with a time zone are sent: kept, or as timestamps without one, in UTC, for clients that \
                 cannot read them",
            ),
            (COMPRESSION, compression.to_owned(), "How record batches are compressed on the wire: none, lz4 or zstd"),
            (
                MESSAGE_BYTES,
                self.message_bytes_max.to_string(),
                "The largest message that the client accepts: a row that needs more is an error",
            ),
        ]
    }
}

/// False for one word, true for the other.
fn either(word: &str, no: &str, yes: &str) -> Option<bool> {
    match word {
        _ if word == no => Some(false),
        _ if word == yes => Some(true),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_and_written_in_the_same_words() {
        let mut options = WireOptions::default();
        let values = [
            (VIEWS, "kept"),
            (DICTIONARIES, "KEPT"),
            (TIMESTAMPTZ, "utc"),
            (COMPRESSION, "zstd"),
            (MESSAGE_BYTES, "64MiB"),
        ];
        for (key, value) in values {
            options.set(key, value).expect(value);
        }
        let (compression, message_bytes_max) = (WireCompression::Zstd, 64 << 20);
        let expected =
            WireOptions { views: true, dictionaries: true, naive_timestamps: true, compression, message_bytes_max };
        assert_eq!(options, expected);
        let mut copy = WireOptions::default();
        for (key, value, _) in options.entries() {
            copy.set(key, &value).expect(key);
        }
        assert_eq!(copy, options);
    }

    #[test]
    fn other_words_are_refused() {
        for (key, value) in [
            (VIEWS, "yes"),
            (DICTIONARIES, "plain"),
            (COMPRESSION, "gzip"),
            (MESSAGE_BYTES, "1"),
            (MESSAGE_BYTES, "4GiB"),
            ("wire_colour", "red"),
        ] {
            assert!(WireOptions::default().set(key, value).is_err(), "{key} = {value}");
        }
    }
}
