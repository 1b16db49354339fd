//! Verifies the checksums that writers may leave in the headers of Parquet pages, once, when pages arrive from the store.
//!
//! In: bytes that begin with a page's header. Out: what is wrong with them. Pages without a checksum, pages that are cut off, and
//! headers that cannot be read are left to the decoder.

use std::ops::Range;

use super::page_header::PageHeader;

/// What is wrong with the pages in these parts of a file, of which `bytes` begin at `offset`.
pub(super) fn damage(parts: &[Range<u64>], bytes: &[u8], offset: u64) -> Option<String> {
    parts.iter().find_map(|part| {
        let start = usize::try_from(part.start.checked_sub(offset)?).ok()?;
        let end = usize::try_from(part.end.checked_sub(offset)?).ok()?;
        let wrong = first_wrong_page(bytes.get(start..end)?)?;
        Some(format!("the page at byte {} does not have the checksum that its header says", part.start + wrong as u64))
    })
}

/// Where the first page begins whose checksum is another than its header says.
fn first_wrong_page(pages: &[u8]) -> Option<usize> {
    let mut at = 0;
    while at < pages.len() {
        let header = PageHeader::read(&pages[at..])?;
        let start = at + header.header_bytes;
        let page = pages.get(start..start.checked_add(header.packed_bytes)?)?;
        if crc32fast::hash(page) != header.checksum? {
            return Some(at);
        }
        at = start + page.len();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A page with a header as parquet-mr writes it: type, sizes, checksum, and the header of a data page with statistics.
    fn page(body: &[u8], crc: Option<u32>) -> Vec<u8> {
        let integer = |value: i64| {
            let mut left = ((value << 1) ^ (value >> 63)) as u64;
            let mut bytes = Vec::new();
            while left >= 0x80 {
                bytes.push(left as u8 | 0x80);
                left >>= 7;
            }
            bytes.push(left as u8);
            bytes
        };
        let mut bytes = vec![0x15, 0x00, 0x15, 0x80, 0x01, 0x15];
        bytes.extend(integer(body.len() as i64));
        if let Some(crc) = crc {
            bytes.push(0x15);
            bytes.extend(integer(i64::from(crc as i32)));
        }
        bytes.push(if crc.is_some() { 0x1c } else { 0x2c });
        // Values, encodings, and statistics of two texts.
        bytes.extend([
            0x15, 0x04, 0x15, 0x00, 0x15, 0x06, 0x15, 0x06, 0x1c, 0x18, 0x01, b'a', 0x18, 0x02, b'b', b'c', 0x00, 0x00,
        ]);
        bytes.push(0x00);
        bytes.extend_from_slice(body);
        bytes
    }

    fn checked(body: &[u8]) -> Vec<u8> {
        page(body, Some(crc32fast::hash(body)))
    }

    #[test]
    fn a_page_that_is_not_what_was_written_is_found() {
        let (first, second) = (checked(b"some values"), checked(&[7; 300]));
        let mut file = vec![0; 4];
        file.extend_from_slice(&first);
        file.extend_from_slice(&second);
        let part = 4..file.len() as u64;
        assert_eq!(damage(std::slice::from_ref(&part), &file, 0), None);
        assert_eq!(damage(std::slice::from_ref(&part), &file[4..], 4), None);
        let last = file.len() - 1;
        file[last] ^= 1;
        let said = damage(std::slice::from_ref(&part), &file, 0).unwrap();
        assert!(said.contains(&format!("byte {} ", 4 + first.len())), "{said}");
        // A page that is cut off is the decoder's.
        assert_eq!(damage(std::slice::from_ref(&(4..last as u64)), &file, 0), None);
    }

    #[test]
    fn pages_without_a_checksum_and_bytes_that_are_no_pages_are_let_pass() {
        let unchecked = page(b"some values", None);
        assert_eq!(first_wrong_page(&unchecked), None);
        for length in 0..unchecked.len() {
            assert_eq!(first_wrong_page(&unchecked[..length]), None);
        }
        assert_eq!(first_wrong_page(&[0xff; 100]), None);
        // Structures without end.
        assert_eq!(first_wrong_page(&[0x1c; 10_000]), None);
    }
}
