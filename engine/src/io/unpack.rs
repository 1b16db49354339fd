//! What a compressed page unpacks to: how much that can be at most, how much it is, and the bytes themselves.

use std::io::Read;

use parquet::basic::CompressionCodec as Codec;

/// How often its own size a codec gives at most; none where there is no such bound. Snappy's and LZ4's longest copies take three bytes
/// for 64, and one for 255; deflate's longest takes two bits for 258; a block of Zstandard that repeats one byte takes four for 128 KiB.
pub(super) fn growth_max(codec: Codec) -> Option<usize> {
    match codec {
        Codec::UNCOMPRESSED => Some(1),
        Codec::SNAPPY => Some(22),
        Codec::LZ4 | Codec::LZ4_RAW => Some(256),
        Codec::GZIP => Some(1040),
        Codec::ZSTD => Some(33_000),
        Codec::BROTLI | Codec::LZO => None,
    }
}

/// Whether the decoder unpacks all that there is, whatever the page's header says.
pub(super) fn ignores_size(codec: Codec) -> bool {
    matches!(codec, Codec::GZIP | Codec::BROTLI | Codec::LZ4)
}

/// Whether there are more than so many bytes in what a codec of those packed. None of them is kept.
pub(super) fn is_more_than(codec: Codec, packed: &[u8], bytes: usize) -> bool {
    let count = |reader: &mut dyn Read| {
        // What is damaged is the decoder's to say: it meets the damage where this does.
        let counted = std::io::copy(&mut reader.take(bytes as u64 + 1), &mut std::io::sink());
        counted.is_ok_and(|counted| counted > bytes as u64)
    };
    match codec {
        Codec::GZIP => count(&mut flate2::read::MultiGzDecoder::new(packed)),
        Codec::BROTLI => count(&mut brotli::Decompressor::new(packed, 4096)),
        Codec::LZ4 => count(&mut lz4_flex::frame::FrameDecoder::new(packed)),
        _ => false,
    }
}

/// The bytes, which are so many; none if they are not.
pub(super) fn unpacked(codec: Codec, packed: &[u8], bytes: usize) -> Option<Vec<u8>> {
    let read = |reader: &mut dyn Read| {
        let mut unpacked = Vec::with_capacity(bytes);
        reader.take(bytes as u64 + 1).read_to_end(&mut unpacked).ok()?;
        Some(unpacked)
    };
    let unpacked = match codec {
        Codec::UNCOMPRESSED => Some(packed.to_vec()),
        Codec::SNAPPY if snap::raw::decompress_len(packed).ok()? != bytes => None,
        Codec::SNAPPY => snap::raw::Decoder::new().decompress_vec(packed).ok(),
        Codec::LZ4_RAW => lz4_flex::block::decompress(packed, bytes).ok(),
        Codec::GZIP => read(&mut flate2::read::MultiGzDecoder::new(packed)),
        Codec::BROTLI => read(&mut brotli::Decompressor::new(packed, 4096)),
        Codec::ZSTD => read(&mut zstd::Decoder::with_buffer(packed).ok()?),
        Codec::LZ4 | Codec::LZO => None,
    };
    unpacked.filter(|unpacked| unpacked.len() == bytes)
}
