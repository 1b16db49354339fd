//! Decompresses metadata files, within bounds.
//!
//! A small file can decompress to terabytes; such a file is malformed, and costs no more memory than its bound.

use std::io::Read;

use bytes::Bytes;

use crate::Result;

use super::malformed;

/// No metadata file, manifest list or manifest decompresses to more than this.
pub(super) const LIMIT_BYTES: u64 = 512 << 20;
/// A file may always decompress to this much, however small it is.
const ALWAYS_ALLOWED_BYTES: u64 = 32 << 20;
/// Beyond that, by how much a file may grow. JSON and Avro metadata shrink by 5 to 50 times.
const RATIO_MAX: u64 = 250;

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// What a file of this size may decompress to, in bytes.
pub(super) fn bound(compressed_bytes: u64) -> u64 {
    compressed_bytes.saturating_mul(RATIO_MAX).clamp(ALWAYS_ALLOWED_BYTES, LIMIT_BYTES)
}

/// A metadata file's JSON. How it is compressed is seen from its first bytes, as its name does not always say.
pub(super) fn metadata_json(location: &str, bytes: Bytes) -> Result<Bytes> {
    let limit = bound(bytes.len() as u64);
    if bytes.starts_with(&GZIP_MAGIC) {
        let decoder = flate2::read::MultiGzDecoder::new(bytes.as_ref());
        return read_bounded(decoder, limit)
            .map(Bytes::from)
            .map_err(|error| malformed(location, "metadata file", error));
    }
    if bytes.starts_with(&ZSTD_MAGIC) {
        let decoder = zstd::Decoder::with_buffer(bytes.as_ref());
        let decoded = decoder.and_then(|decoder| read_bounded(decoder, limit));
        return decoded.map(Bytes::from).map_err(|error| malformed(location, "metadata file", error));
    }
    match bytes.len() as u64 > LIMIT_BYTES {
        true => Err(malformed(location, "metadata file", too_large(LIMIT_BYTES))),
        false => Ok(bytes),
    }
}

/// Reads to the end, or fails once there is more than `limit` bytes.
pub(super) fn read_bounded(reader: impl Read, limit: u64) -> std::io::Result<Vec<u8>> {
    let mut decoded = Vec::new();
    reader.take(limit + 1).read_to_end(&mut decoded)?;
    match decoded.len() as u64 > limit {
        true => Err(too_large(limit)),
        false => Ok(decoded),
    }
}

pub(super) fn too_large(limit: u64) -> std::io::Error {
    std::io::Error::other(format!("it decompresses to more than {limit} bytes"))
}
