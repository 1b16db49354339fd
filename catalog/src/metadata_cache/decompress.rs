//! Unpacks metadata files, within bounds.
//!
//! A small file can unpack to terabytes; such a file is malformed. How much it unpacks to is measured first, without keeping any of it:
//! one that is refused costs no memory, and for one that is not, as much as it takes can be reserved.

use std::io::Read;

use bytes::Bytes;

use super::avro;

/// No metadata file, manifest list or manifest decompresses to more than this.
pub(super) const LIMIT_BYTES: u64 = 512 << 20;
/// A file may always decompress to this much, however small it is.
const ALWAYS_ALLOWED_BYTES: u64 = 32 << 20;
/// Beyond that, by how much a file may grow. JSON and Avro metadata shrink by 5 to 50 times.
const RATIO_MAX: u64 = 250;
/// What is kept for each byte of JSON: the text, and what is parsed from it.
const JSON_FACTOR: u64 = 4;
/// What is kept for each byte of Avro: all blocks, one of them once more, and what is parsed from them.
const AVRO_FACTOR: u64 = 6;

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// What a file of this size may decompress to, in bytes.
pub(super) fn bound(compressed_bytes: u64) -> u64 {
    compressed_bytes.saturating_mul(RATIO_MAX).clamp(ALWAYS_ALLOWED_BYTES, LIMIT_BYTES)
}

/// A file as it is in the store.
pub(super) enum Packed {
    /// JSON, plain or packed: how is seen from its first bytes, as its name does not always say.
    Json(Bytes),
    /// An Avro container.
    Avro(Bytes),
}

impl Packed {
    /// The bytes that it unpacks to.
    pub(super) fn measure(&self) -> std::io::Result<u64> {
        match self {
            Self::Avro(bytes) => avro::measure(bytes),
            Self::Json(bytes) => {
                let limit = bound(bytes.len() as u64);
                if bytes.starts_with(&GZIP_MAGIC) {
                    return measure(flate2::read::MultiGzDecoder::new(bytes.as_ref()), limit);
                }
                if bytes.starts_with(&ZSTD_MAGIC) {
                    return measure(zstd::Decoder::with_buffer(bytes.as_ref())?, limit);
                }
                let plain = bytes.len() as u64;
                if plain > LIMIT_BYTES { Err(too_large(LIMIT_BYTES)) } else { Ok(plain) }
            }
        }
    }

    /// The memory that decoding takes of a file that unpacks to so much.
    pub(super) fn memory_bytes(&self, unpacked: u64) -> u64 {
        match self {
            Self::Json(_) => unpacked.saturating_mul(JSON_FACTOR),
            Self::Avro(_) => unpacked.saturating_mul(AVRO_FACTOR),
        }
    }

    /// What it unpacks to, as was measured.
    pub(super) fn unpack(self, unpacked: u64) -> std::io::Result<Bytes> {
        match self {
            Self::Avro(bytes) => avro::uncompressed(bytes, unpacked),
            Self::Json(bytes) => {
                let unpack = |reader: &mut dyn Read| read_bounded(reader, unpacked, unpacked).map(Bytes::from);
                if bytes.starts_with(&GZIP_MAGIC) {
                    return unpack(&mut flate2::read::MultiGzDecoder::new(bytes.as_ref()));
                }
                if bytes.starts_with(&ZSTD_MAGIC) {
                    return unpack(&mut zstd::Decoder::with_buffer(bytes.as_ref())?);
                }
                Ok(bytes)
            }
        }
    }
}

/// How many bytes come, or an error once there are more than `limit`. None is kept.
pub(super) fn measure(reader: impl Read, limit: u64) -> std::io::Result<u64> {
    let bytes = std::io::copy(&mut reader.take(limit + 1), &mut std::io::sink())?;
    if bytes > limit { Err(too_large(limit)) } else { Ok(bytes) }
}

/// Reads to the end, or fails once there is more than `limit` bytes. There is room for `first` of them from the beginning.
pub(super) fn read_bounded(reader: impl Read, limit: u64, first: u64) -> std::io::Result<Vec<u8>> {
    let mut decoded = Vec::with_capacity(usize::try_from(first.min(limit)).unwrap_or(0));
    reader.take(limit + 1).read_to_end(&mut decoded)?;
    match decoded.len() as u64 > limit {
        true => Err(too_large(limit)),
        false => Ok(decoded),
    }
}

pub(super) fn too_large(limit: u64) -> std::io::Error {
    std::io::Error::other(format!("it decompresses to more than {limit} bytes"))
}
