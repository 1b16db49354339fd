//! Murmur3, x86 variant, 32 bits, seed 0: the hash that Iceberg's buckets are made of.

const C1: u32 = 0xcc9e_2d51;
const C2: u32 = 0x1b87_3593;

/// The hash of some bytes.
pub(super) fn hash(bytes: &[u8]) -> u32 {
    let (blocks, tail) = bytes.as_chunks::<4>();
    let mut state = blocks.iter().fold(0, |state, block| absorb(state, u32::from_le_bytes(*block)));
    if !tail.is_empty() {
        let mut last = [0; 4];
        last[..tail.len()].copy_from_slice(tail);
        state ^= scramble(u32::from_le_bytes(last));
    }
    finish(state, bytes.len())
}

/// The hash of an integer's eight little-endian bytes, which is how Iceberg hashes every integer.
pub(super) fn hash_long(value: i64) -> u32 {
    let bits = value as u64;
    finish(absorb(absorb(0, bits as u32), (bits >> 32) as u32), 8)
}

fn scramble(block: u32) -> u32 {
    block.wrapping_mul(C1).rotate_left(15).wrapping_mul(C2)
}

fn absorb(state: u32, block: u32) -> u32 {
    (state ^ scramble(block)).rotate_left(13).wrapping_mul(5).wrapping_add(0xe654_6b64)
}

fn finish(state: u32, length: usize) -> u32 {
    let mut hash = state ^ (length as u32);
    hash = (hash ^ (hash >> 16)).wrapping_mul(0x85eb_ca6b);
    hash = (hash ^ (hash >> 13)).wrapping_mul(0xc2b2_ae35);
    hash ^ (hash >> 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Appendix B of the specification: <https://iceberg.apache.org/spec/#appendix-b-32-bit-hash-requirements>.
    #[test]
    fn published_vectors() {
        assert_eq!(hash_long(34) as i32, 2_017_239_379);
        assert_eq!(hash(b"iceberg") as i32, 1_210_000_089);
        assert_eq!(hash(&[0, 1, 2, 3]) as i32, -188_683_207);
    }

    #[test]
    fn a_long_hashes_as_its_bytes() {
        for value in [0, 1, -1, 34, i64::MIN, i64::MAX, 1_510_871_468_000_000] {
            assert_eq!(hash_long(value), hash(&value.to_le_bytes()));
        }
    }
}
