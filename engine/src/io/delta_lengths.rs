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

/// Gives each of the lengths that bytes begin with, and where they end. None if they cannot be read to their end, or are too many.
pub(super) fn each(bytes: &[u8], mut take: impl FnMut(u64)) -> Option<usize> {
    let lengths = walk(bytes, |length| {
        take(length);
        Some(())
    })?;
    (lengths.count <= VALUES_MAX).then_some(lengths.end)
}

/// The lengths that a page's values begin with. None if they cannot be read: the decoder says what is wrong.
pub(super) fn read(bytes: &[u8]) -> Option<Lengths> {
    let mut sum = 0_u64;
    let lengths = walk(bytes, |length| {
        sum = sum.checked_add(length)?;
        Some(())
    })?;
    Some(Lengths { sum: sum.max(lengths.sum), ..lengths })
}

/// Gives each length; their sum is left out, but if they are too many to be counted.
fn walk(bytes: &[u8], mut take: impl FnMut(u64) -> Option<()>) -> Option<Lengths> {
    let mut input = Input { bytes, at: 0 };
    let (block, miniblocks) = (input.size()?, input.size()?);
    let (count, first) = (input.size()?, input.number()?);
    if count > VALUES_MAX {
        return Some(Lengths { count, sum: u64::MAX, end: bytes.len() });
    }
    let per_miniblock = block.checked_div(miniblocks).filter(|values| *values > 0 && values.is_multiple_of(8))?;
    let (mut value, mut left) = (first, count.saturating_sub(1));
    if count > 0 {
        take(u64::try_from(first).ok()?)?;
    }
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
                take(u64::try_from(value).ok()?)?;
            }
            left -= per_miniblock.min(left);
        }
    }
    Some(Lengths { count, sum: 0, end: input.at })
}

/// Some bits, the lowest first.
pub(super) fn bits(bytes: &[u8], from: usize, width: u8) -> Option<u64> {
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
