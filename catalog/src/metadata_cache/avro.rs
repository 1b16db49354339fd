//! Takes Avro container files apart before they are decoded, so that nothing in them is unbounded.
//!
//! The Avro reader below `iceberg` decompresses each block whole, however large it becomes. Here the blocks are
//! decompressed first, within a bound for the file, and put together again without compression.
//! Format: <https://avro.apache.org/docs/1.12.0/specification/#object-container-files>

use bytes::Bytes;

use super::decompress::{self, bound, read_bounded, too_large};

const MAGIC: [u8; 4] = *b"Obj\x01";
const SYNC_BYTES: usize = 16;
const CODEC: &[u8] = b"avro.codec";

/// The bytes that a file's blocks have without compression, if they stay within the file's bound. Keeps none of them.
pub(super) fn measure(bytes: &Bytes) -> std::io::Result<u64> {
    let limit = bound(bytes.len() as u64);
    let mut input = Input(bytes);
    let header = Header::read(&mut input)?;
    let mut unpacked = 0;
    while !input.0.is_empty() {
        let (count, block) = input.block(&header.sync)?;
        let block_bytes = header.codec.measure(block, limit - unpacked)?;
        check_count(count, block_bytes)?;
        unpacked += block_bytes;
    }
    Ok(unpacked)
}

/// The same file without compression; its blocks were measured.
pub(super) fn uncompressed(bytes: Bytes, unpacked: u64) -> std::io::Result<Bytes> {
    rewrite(bytes, Codec::Null, unpacked)
}

/// The same file with its blocks compressed with deflate, as the Java library writes them.
pub(crate) fn deflated(bytes: Bytes) -> std::io::Result<Bytes> {
    let unpacked = measure(&bytes)?;
    rewrite(bytes, Codec::Deflate, unpacked)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Codec {
    Null,
    Deflate,
    Snappy,
    Zstandard,
}

impl Codec {
    fn parse(name: &[u8]) -> std::io::Result<Self> {
        match name {
            b"null" | b"" => Ok(Self::Null),
            b"deflate" => Ok(Self::Deflate),
            b"snappy" => Ok(Self::Snappy),
            b"zstandard" => Ok(Self::Zstandard),
            other => Err(bad(&format!("its Avro codec {:?} is unknown", String::from_utf8_lossy(other)))),
        }
    }

    /// The bytes that a block has without compression; of Snappy, those that it says, and so makes room for.
    fn measure(self, block: &[u8], limit: u64) -> std::io::Result<u64> {
        let said = match self {
            Self::Deflate => return decompress::measure(flate2::read::DeflateDecoder::new(block), limit),
            Self::Zstandard => return decompress::measure(zstd::Decoder::with_buffer(block)?, limit),
            Self::Null => block.len(),
            Self::Snappy => snap::raw::decompress_len(block).map_err(std::io::Error::other)?,
        };
        if said as u64 > limit { Err(too_large(limit)) } else { Ok(said as u64) }
    }

    fn decompress(self, block: &[u8], limit: u64) -> std::io::Result<Vec<u8>> {
        match self {
            Self::Null => Ok(block.to_vec()),
            Self::Deflate => read_bounded(flate2::read::DeflateDecoder::new(block), limit, begin_with(block)),
            Self::Zstandard => read_bounded(zstd::Decoder::with_buffer(block)?, limit, begin_with(block)),
            Self::Snappy => snappy(block, limit),
        }
    }

    fn compress(self, block: Vec<u8>) -> std::io::Result<Vec<u8>> {
        match self {
            Self::Deflate => {
                use std::io::Write;
                let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
                encoder.write_all(&block)?;
                encoder.finish()
            }
            _ => Ok(block),
        }
    }

    fn name(self) -> &'static [u8] {
        match self {
            Self::Null => b"null",
            Self::Deflate => b"deflate",
            Self::Snappy => b"snappy",
            Self::Zstandard => b"zstandard",
        }
    }
}

fn rewrite(bytes: Bytes, target: Codec, unpacked: u64) -> std::io::Result<Bytes> {
    let mut input = Input(&bytes);
    let header = Header::read(&mut input)?;
    if header.codec == Codec::Null && target == Codec::Null {
        return Ok(bytes);
    }
    let mut output = header.with_codec_name(target.name());
    if target == Codec::Null {
        // And a few bytes more for each block.
        output.reserve(usize::try_from(unpacked).unwrap_or(0) + bytes.len());
    }
    while !input.0.is_empty() {
        let (count, block) = input.block(&header.sync)?;
        let block = target.compress(header.codec.decompress(block, unpacked)?)?;
        put_long(&mut output, count);
        put_bytes(&mut output, &block);
        output.extend_from_slice(&header.sync);
    }
    Ok(Bytes::from(output))
}

/// The room that an unpacked block begins with.
fn begin_with(block: &[u8]) -> u64 {
    block.len() as u64 * 4
}

/// An entry takes a byte at the least: a block that claims more entries than bytes would be decoded for ever.
fn check_count(count: i64, block_bytes: u64) -> std::io::Result<()> {
    match u64::try_from(count) {
        Ok(count) if count <= block_bytes => Ok(()),
        _ => Err(bad("a block claims more entries than it has bytes")),
    }
}

struct Header<'a> {
    metadata: Vec<(&'a [u8], &'a [u8])>,
    codec: Codec,
    sync: Vec<u8>,
}

impl<'a> Header<'a> {
    fn read(input: &mut Input<'a>) -> std::io::Result<Self> {
        if input.take(MAGIC.len())? != MAGIC {
            return Err(bad("it does not start as an Avro file"));
        }
        let mut metadata = Vec::new();
        let mut codec = Codec::Null;
        loop {
            let mut count = input.long()?;
            if count == 0 {
                break;
            }
            if count < 0 {
                // A negative count is followed by the size of what it counts.
                count = count.checked_neg().ok_or_else(|| bad("a count in it is too large"))?;
                input.long()?;
            }
            for _ in 0..count {
                let (key, value) = (input.bytes()?, input.bytes()?);
                match key == CODEC {
                    true => codec = Codec::parse(value)?,
                    false => metadata.push((key, value)),
                }
            }
        }
        Ok(Self { metadata, codec, sync: input.take(SYNC_BYTES)?.to_vec() })
    }

    /// The same header, with another codec.
    fn with_codec_name(&self, codec: &[u8]) -> Vec<u8> {
        let mut output = MAGIC.to_vec();
        put_long(&mut output, self.metadata.len() as i64 + 1);
        for (key, value) in self.metadata.iter().copied().chain([(CODEC, codec)]) {
            put_bytes(&mut output, key);
            put_bytes(&mut output, value);
        }
        put_long(&mut output, 0);
        output.extend_from_slice(&self.sync);
        output
    }
}

/// What is left to read.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, count: usize) -> std::io::Result<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or_else(|| bad("it ends too early"))?;
        self.0 = rest;
        Ok(taken)
    }

    /// A zig-zag variable-length integer.
    fn long(&mut self) -> std::io::Result<i64> {
        let mut value: u64 = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok((value >> 1) as i64 ^ -((value & 1) as i64));
            }
        }
        Err(bad("a number in it has too many bytes"))
    }

    fn bytes(&mut self) -> std::io::Result<&'a [u8]> {
        let length = self.long()?;
        self.take(usize::try_from(length).map_err(|_| bad("a length in it is negative"))?)
    }

    fn block(&mut self, sync: &[u8]) -> std::io::Result<(i64, &'a [u8])> {
        let count = self.long()?;
        let block = self.bytes()?;
        match self.take(SYNC_BYTES)? == sync {
            true => Ok((count, block)),
            false => Err(bad("a block in it does not end where it should")),
        }
    }
}

fn put_long(output: &mut Vec<u8>, value: i64) {
    let mut left = ((value << 1) ^ (value >> 63)) as u64;
    while left >= 0x80 {
        output.push(left as u8 | 0x80);
        left >>= 7;
    }
    output.push(left as u8);
}

fn put_bytes(output: &mut Vec<u8>, bytes: &[u8]) {
    put_long(output, bytes.len() as i64);
    output.extend_from_slice(bytes);
}

/// Snappy states the length it decompresses to, and ends with a checksum of that.
fn snappy(block: &[u8], limit: u64) -> std::io::Result<Vec<u8>> {
    let (body, checksum) = block.split_last_chunk::<4>().ok_or_else(|| bad("a block in it is too short"))?;
    let length = snap::raw::decompress_len(body).map_err(std::io::Error::other)?;
    if length as u64 > limit {
        return Err(too_large(limit));
    }
    let decoded = snap::raw::Decoder::new().decompress_vec(body).map_err(std::io::Error::other)?;
    let mut crc = flate2::Crc::new();
    crc.update(&decoded);
    match crc.sum() == u32::from_be_bytes(*checksum) {
        true => Ok(decoded),
        false => Err(bad("the checksum of a block in it is wrong")),
    }
}

fn bad(found: &str) -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::InvalidData, found.to_string())
}

#[cfg(test)]
pub(super) mod testing {
    use super::*;

    /// The blocks of an uncompressed container, each changed, under another codec's name.
    pub(in crate::metadata_cache) fn rewritten(
        bytes: &[u8],
        codec: &str,
        compress: impl Fn(&[u8]) -> Vec<u8>,
    ) -> Vec<u8> {
        let mut input = Input(bytes);
        let header = Header::read(&mut input).expect("a header");
        let mut output = header.with_codec_name(codec.as_bytes());
        while !input.0.is_empty() {
            let (count, block) = input.block(&header.sync).expect("a block");
            put_long(&mut output, count);
            put_bytes(&mut output, &compress(block));
            output.extend_from_slice(&header.sync);
        }
        output
    }
}
