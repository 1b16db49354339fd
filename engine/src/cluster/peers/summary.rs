//! Which pages a worker has, compactly: a Bloom filter (Bloom, CACM 1970) of 12 bits a page and 8 probes, which is wrong
//! about one page in 300 that is not there, and about none that is. Probes are two hashes combined (Kirsch and
//! Mitzenmacher, 2008).

use bytes::Bytes;
use twox_hash::XxHash64;

use crate::io::PageKey;

const BITS_PER_PAGE: usize = 12;
const PROBES: u64 = 8;
/// Filters of any page count are at least this long, in bytes.
const BYTES_MIN: usize = 8;

/// See the module. All processes hash alike.
#[derive(Debug, Clone, Default)]
pub(super) struct Summary(Bytes);

impl Summary {
    /// The summary of these pages.
    pub(super) fn of(pages: &[PageKey]) -> Self {
        if pages.is_empty() {
            return Self::default();
        }
        let mut bits = vec![0_u8; (pages.len() * BITS_PER_PAGE / 8).max(BYTES_MIN)];
        for page in pages {
            for bit in probes(page, bits.len()) {
                bits[bit / 8] |= 1 << (bit % 8);
            }
        }
        Self(Bytes::from(bits))
    }

    /// As it was sent.
    pub(super) fn from_bits(bits: Bytes) -> Self {
        Self(bits)
    }

    pub(super) fn bits(&self) -> Bytes {
        self.0.clone()
    }

    /// Whether the page may be there.
    pub(super) fn may_have(&self, page: &PageKey) -> bool {
        !self.0.is_empty() && probes(page, self.0.len()).all(|bit| self.0[bit / 8] & (1 << (bit % 8)) != 0)
    }
}

fn probes(page: &PageKey, bytes: usize) -> impl Iterator<Item = usize> {
    let name = page.encode();
    let (first, step) = (XxHash64::oneshot(1, &name), XxHash64::oneshot(2, &name) | 1);
    let bits = bytes as u64 * 8;
    (0..PROBES).map(move |probe| (first.wrapping_add(probe.wrapping_mul(step)) % bits) as usize)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::io::FileKey;

    fn pages(name: &str) -> Vec<PageKey> {
        let file = FileKey { name: Arc::from(name), size_bytes: 1 << 40 };
        (0..10_000).map(|page| PageKey::new(&file, &(page * 1000..page * 1000 + 1000))).collect()
    }

    #[test]
    fn what_is_there_is_found_and_little_else() {
        let (here, elsewhere) = (pages("here"), pages("elsewhere"));
        let summary = Summary::from_bits(Summary::of(&here).bits());
        assert!(here.iter().all(|page| summary.may_have(page)));
        let wrong = elsewhere.iter().filter(|page| summary.may_have(page)).count();
        assert!(wrong < 100, "wrong about {wrong} of 10,000 pages");
        assert!(summary.bits().len() <= 15_000);
        assert!(!Summary::of(&[]).may_have(&here[0]));
    }
}
