//! The lengths of texts that a page has encoded as differences: how many there are, and their sum.
//!
//! Each costs next to nothing in the page: one of some bytes may stand for billions of texts, or for texts that repeat the one before at
//! a megabyte each. The decoder makes room for all lengths of a page at once, and for all texts of a batch.
//! Format: <https://parquet.apache.org/docs/file-format/data-pages/encodings/#DELTAENC>

/// More values than any writer puts into a page: whoever says so does not get to have them counted.
pub(super) const VALUES_MAX: usize = 1 << 24;

/// Lengths, as one run of differences has them.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Lengths {
    pub(super) count: usize,
    pub(super) sum: u64,
    /// Where they end.
    pub(super) end: usize,
}

/// The lengths that a page's values begin with. None if they cannot be read: the decoder says what is wrong.
pub(super) fn read(bytes: &[u8]) -> Option<Lengths> {
    let mut input = Input { bytes, at: 0 };
    let (block, miniblocks) = (input.size()?, input.size()?);
    let (count, first) = (input.size()?, input.number()?);
    if count > VALUES_MAX {
        return Some(Lengths { count, sum: u64::MAX, end: bytes.len() });
    }
    let per_miniblock = block.checked_div(miniblocks).filter(|values| *values > 0 && values.is_multiple_of(8))?;
    let (mut value, mut sum, mut left) = (first, as_length(first, count > 0)?, count.saturating_sub(1));
    while left > 0 {
        let least = input.number()?;
        let widths = input.take(miniblocks)?;
        for width in widths {
            if left == 0 {
                break;
            }
            let packed = input.take_at_most(per_miniblock.checked_mul(usize::from(*width))? / 8)?;
            for position in 0..per_miniblock.min(left) {
                let difference = least.wrapping_add(bits(packed, position * usize::from(*width), *width)? as i64);
                // Differences of 32 bits wrap around.
                value = i64::from(value.wrapping_add(difference) as i32);
                sum = sum.checked_add(as_length(value, true)?)?;
            }
            left -= per_miniblock.min(left);
        }
    }
    Some(Lengths { count, sum, end: input.at })
}

fn as_length(value: i64, counts: bool) -> Option<u64> {
    if counts { u64::try_from(value).ok() } else { Some(0) }
}

/// Some bits, the lowest first.
fn bits(bytes: &[u8], from: usize, width: u8) -> Option<u64> {
    if width > 64 {
        return None;
    }
    let mut value = 0_u64;
    for bit in 0..usize::from(width) {
        let byte = bytes.get((from + bit) / 8)?;
        value |= u64::from(byte >> ((from + bit) % 8) & 1) << bit;
    }
    Some(value)
}

struct Input<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Input<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..self.at.checked_add(count)?)?;
        self.at += count;
        Some(taken)
    }

    /// The last bits may be left out.
    fn take_at_most(&mut self, count: usize) -> Option<&'a [u8]> {
        self.take(count.min(self.bytes.len() - self.at))
    }

    fn unsigned(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn size(&mut self) -> Option<usize> {
        usize::try_from(self.unsigned()?).ok()
    }

    fn number(&mut self) -> Option<i64> {
        let value = self.unsigned()?;
        Some((value >> 1) as i64 ^ -((value & 1) as i64))
    }
}
