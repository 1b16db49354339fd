//! Pages that are damaged and decode all the same, to values that nobody wrote: found before the decoder sees them.
//!
//! In: the values of a page, without compression and levels. Out: what is wrong with them. Of texts that name what they have in common
//! with the one before, the decoder takes less if that one is shorter. Numbers whose bytes are in streams, it puts together of bytes
//! that belong to others if there are more or fewer than its header says. What cannot be read at all is left to the decoder.
//! Format: <https://parquet.apache.org/docs/file-format/data-pages/encodings/>

use parquet::basic::Type as PhysicalType;
use parquet::file::metadata::ColumnChunkMetaData;

use super::delta_lengths;

/// Checks texts of DELTA_BYTE_ARRAY: how much of the one before is repeated, then what comes behind that.
///
/// # Errors
/// If more is repeated than there is.
pub(super) fn check_prefixes(values: &[u8]) -> Result<(), String> {
    let mut prefixes = Vec::new();
    let Some(end) = delta_lengths::each(values, |prefix| prefixes.push(prefix)) else { return Ok(()) };
    let (mut at, mut before) = (0, 0);
    let mut wrong = None;
    delta_lengths::each(&values[end..], |suffix| {
        let Some(prefix) = prefixes.get(at) else { return };
        if *prefix > before && wrong.is_none() {
            wrong = Some(format!("value {at} of a page repeats {prefix} bytes of the one before, which has {before}"));
        }
        before = prefix.saturating_add(suffix);
        at += 1;
    });
    wrong.map_or(Ok(()), Err)
}

/// Checks numbers of BYTE_STREAM_SPLIT, of which there are so many, if that is known.
///
/// # Errors
/// If their bytes are not so many.
pub(super) fn check_streams(values: &[u8], count: Option<usize>, chunk: &ColumnChunkMetaData) -> Result<(), String> {
    let width = match chunk.column_type() {
        PhysicalType::INT32 | PhysicalType::FLOAT => 4,
        PhysicalType::INT64 | PhysicalType::DOUBLE => 8,
        PhysicalType::FIXED_LEN_BYTE_ARRAY => usize::try_from(chunk.column_descr().type_length()).unwrap_or(0),
        _ => return Ok(()),
    };
    let expected = count.map(|count| count.saturating_mul(width));
    if width > 0 && (values.len() % width != 0 || expected.is_some_and(|expected| expected != values.len())) {
        let of = count.map_or(String::new(), |count| format!("{count} "));
        return Err(format!("a page of {of}values of {width} bytes in streams has {} bytes of them", values.len()));
    }
    Ok(())
}

/// How many of a page's values are there: those whose level is the highest. The levels are runs of one level, and of packed ones.
pub(super) fn count_present(levels: &[u8], highest: i16, values: usize) -> Option<usize> {
    let width = (16 - highest.cast_unsigned().leading_zeros()) as usize;
    let (mut at, mut left, mut present) = (0, values, 0);
    while left > 0 {
        let (mut head, mut shift) = (0_u64, 0);
        loop {
            let byte = *levels.get(at)?;
            at += 1;
            head |= u64::from(byte & 0x7f).checked_shl(shift)?;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let length = usize::try_from(head >> 1).ok()?;
        if head & 1 == 0 {
            let run = length.min(left);
            let bytes = levels.get(at..at + width.div_ceil(8))?;
            let level = bytes.iter().rev().fold(0, |level, byte| level << 8 | u16::from(*byte));
            present += if level == highest.cast_unsigned() { run } else { 0 };
            at += bytes.len();
            left -= run;
            // A run of nothing goes nowhere.
            if run == 0 {
                return None;
            }
        } else {
            let run = length.checked_mul(8)?.min(left);
            let packed = levels.get(at..at.checked_add(length.checked_mul(width)?)?.min(levels.len()))?;
            for position in 0..run {
                present += usize::from(delta_lengths::bits(packed, position * width, width as u8)? == highest as u64);
            }
            at += packed.len();
            left -= run;
            if run == 0 {
                return None;
            }
        }
    }
    Some(present)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_counted_in_runs_of_both_kinds() {
        // Twenty of level 1; then eight that are packed: 1 0 1 1 0 0 0 1.
        let levels = [40, 1, 3, 0b1000_1101];
        assert_eq!(count_present(&levels, 1, 28), Some(24));
        assert_eq!(count_present(&levels, 1, 22), Some(21));
        assert_eq!(count_present(&levels, 1, 29), None);
        // Levels up to 2, of two bits: 2 1 2 0 2 2 2 2.
        assert_eq!(count_present(&[3, 0b0010_0110, 0b1010_1010], 2, 8), Some(6));
        assert_eq!(count_present(&[0, 1], 1, 8), None);
        assert_eq!(count_present(&[], 1, 0), Some(0));
    }
}
