//! Checksums that a store sends with an object, verified once, when its bytes arrive.
//!
//! They are of whole objects: an answer that is a part of one cannot be checked by them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use crc::{CRC_32_ISCSI, CRC_32_ISO_HDLC, CRC_64_NVME, Crc, Table};
use md5::{Digest, Md5};
use sha2::Sha256;

use super::head::Head;

static CRC32: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_ISO_HDLC);
static CRC32C: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_ISCSI);
static CRC64: Crc<u64, Table<16>> = Crc::<u64, Table<16>>::new(&CRC_64_NVME);

/// How a checksum is made of bytes.
type Sum = fn(&[u8]) -> Vec<u8>;

/// The headers that carry one, in base64; the first that is there is enough.
const HEADERS: [(&str, Sum); 5] = [
    ("x-amz-checksum-crc64nvme", crc64),
    ("x-amz-checksum-crc32c", crc32c),
    ("x-amz-checksum-crc32", crc32),
    ("x-amz-checksum-sha256", sha256),
    ("content-md5", md5),
];
/// Google's header, with several of them: `crc32c=…,md5=…`.
const GOOGLE: &str = "x-goog-hash";

/// The name of the checksum that the whole object does not have, although its answer says so.
pub(super) fn mismatch(head: &Head, object: &[u8]) -> Option<&'static str> {
    // A multipart upload's may be a checksum of checksums.
    if head.header("x-amz-checksum-type").is_some_and(|kind| kind.eq_ignore_ascii_case("COMPOSITE")) {
        return None;
    }
    let google = head.header(GOOGLE).and_then(|sums| {
        let sum = sums.split(',').find_map(|sum| sum.trim().strip_prefix("crc32c="))?;
        Some((GOOGLE, crc32c as Sum, sum.to_owned()))
    });
    let sent = HEADERS.into_iter().find_map(|(name, sum)| Some((name, sum, head.header(name)?)));
    let (name, sum, told) = sent.or(google)?;
    // What is no such checksum ("…-3": of three parts) proves nothing.
    let told = STANDARD.decode(told).ok()?;
    let found = sum(object);
    (told.len() == found.len() && told != found).then_some(name)
}

/// What a header of this name would have to say of these bytes.
#[cfg(test)]
pub(super) fn sum_of(name: &str, bytes: &[u8]) -> Option<Vec<u8>> {
    HEADERS.into_iter().find(|(known, _)| *known == name).map(|(_, sum)| sum(bytes))
}

fn crc32(bytes: &[u8]) -> Vec<u8> {
    CRC32.checksum(bytes).to_be_bytes().to_vec()
}

fn crc32c(bytes: &[u8]) -> Vec<u8> {
    CRC32C.checksum(bytes).to_be_bytes().to_vec()
}

fn crc64(bytes: &[u8]) -> Vec<u8> {
    CRC64.checksum(bytes).to_be_bytes().to_vec()
}

fn sha256(bytes: &[u8]) -> Vec<u8> {
    Sha256::digest(bytes).to_vec()
}

fn md5(bytes: &[u8]) -> Vec<u8> {
    Md5::digest(bytes).to_vec()
}
