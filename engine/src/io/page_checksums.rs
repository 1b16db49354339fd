//! Verifies the checksums that writers may leave in the headers of Parquet pages, once, when pages arrive from the store.
//!
//! In: bytes that begin with a page's header. Out: what is wrong with them. Pages without a checksum, pages that are cut off, and
//! headers that cannot be read are left to the decoder. The header is a Thrift structure in the compact protocol
//! (`PageHeader` in parquet.thrift); of it only the page's length and its checksum matter here.

use std::ops::Range;

/// Structures within a page header: statistics within the header of a data page.
const DEPTH_MAX: usize = 8;
/// `compressed_page_size` and `crc`, by their field ids.
const COMPRESSED_SIZE: i64 = 3;
const CRC: i64 = 4;

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
        let mut input = Input { bytes: &pages[at..], at: 0 };
        let header = Header::read(&mut input)?;
        let start = at + input.at;
        let page = pages.get(start..start.checked_add(header.compressed_bytes?)?)?;
        if crc32fast::hash(page) != header.crc? {
            return Some(at);
        }
        at = start + page.len();
    }
    None
}

#[derive(Default)]
struct Header {
    compressed_bytes: Option<usize>,
    crc: Option<u32>,
}

impl Header {
    fn read(input: &mut Input<'_>) -> Option<Self> {
        let mut header = Self::default();
        let mut last = 0;
        while let Some((id, kind)) = input.field(&mut last)? {
            match (id, kind) {
                (COMPRESSED_SIZE, Kind::INTEGER) => {
                    header.compressed_bytes = Some(usize::try_from(input.integer()?).ok()?);
                }
                // It is signed in the file.
                (CRC, Kind::INTEGER) => header.crc = Some(input.integer()? as i32 as u32),
                _ => input.skip(kind, DEPTH_MAX)?,
            }
        }
        Some(header)
    }
}

/// The type of a field, as the compact protocol writes it.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Kind(u8);

impl Kind {
    const TRUE: Self = Self(1);
    const FALSE: Self = Self(2);
    const BYTE: Self = Self(3);
    const SHORT: Self = Self(4);
    const INTEGER: Self = Self(5);
    const LONG: Self = Self(6);
    const DOUBLE: Self = Self(7);
    const BINARY: Self = Self(8);
    const LIST: Self = Self(9);
    const SET: Self = Self(10);
    const STRUCT: Self = Self(12);
}

struct Input<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Input<'_> {
    fn byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    fn advance(&mut self, bytes: u64) -> Option<()> {
        self.at = self.at.checked_add(usize::try_from(bytes).ok()?).filter(|at| *at <= self.bytes.len())?;
        Some(())
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn integer(&mut self) -> Option<i64> {
        let value = self.varint()?;
        Some((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// The next field; the inner `None` is the end of the structure.
    fn field(&mut self, last: &mut i64) -> Option<Option<(i64, Kind)>> {
        let head = self.byte()?;
        if head == 0 {
            return Some(None);
        }
        *last = match head >> 4 {
            0 => self.integer()?,
            delta => last.checked_add(delta.into())?,
        };
        Some(Some((*last, Kind(head & 0xf))))
    }

    fn skip(&mut self, kind: Kind, depth: usize) -> Option<()> {
        let deeper = depth.checked_sub(1)?;
        match kind {
            Kind::TRUE | Kind::FALSE => Some(()),
            Kind::BYTE => self.advance(1),
            Kind::SHORT | Kind::INTEGER | Kind::LONG => self.varint().map(drop),
            Kind::DOUBLE => self.advance(8),
            Kind::BINARY => {
                let length = self.varint()?;
                self.advance(length)
            }
            Kind::LIST | Kind::SET => {
                let head = self.byte()?;
                let length = if head >> 4 == 15 { self.varint()? } else { u64::from(head >> 4) };
                // Each element takes a byte; so does a bool in a list.
                (0..length).try_for_each(|_| match Kind(head & 0xf) {
                    Kind::TRUE | Kind::FALSE => self.advance(1),
                    kind => self.skip(kind, deeper),
                })
            }
            Kind::STRUCT => {
                let mut last = 0;
                while let Some((_, kind)) = self.field(&mut last)? {
                    self.skip(kind, deeper)?;
                }
                Some(())
            }
            _ => None,
        }
    }
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
