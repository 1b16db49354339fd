//! The header of a Parquet page, as far as it says how large the page is and what its checksum. The decoder's own reader of headers is private to it.
//!
//! Format: `PageHeader` of <https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift>, in
//! Thrift's compact protocol. What is read is what the decoder reads: it looks at the ids of fields, not at their types, and takes
//! integers of any width as 32 bits. Otherwise a damaged header could say one size here and another there.

/// Structs within structs, at most, as in the decoder.
const DEPTH_MAX: usize = 64;

/// An encoding of levels (parquet.thrift).
const BIT_PACKED: i32 = 4;

/// What a page says of itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct PageHeader {
    /// Bytes of the header itself.
    pub(super) header_bytes: usize,
    /// Bytes of the page without compression, levels included.
    pub(super) unpacked_bytes: usize,
    /// Bytes of the page as it is in the file.
    pub(super) packed_bytes: usize,
    /// Values, NULLs included.
    pub(super) values: usize,
    /// How many of them are NULL; only pages of the second kind say so.
    pub(super) nulls: usize,
    pub(super) encoding: i64,
    pub(super) is_dictionary: bool,
    /// Bytes of levels before what is compressed; only pages of the second kind have them there.
    pub(super) levels_bytes: usize,
    /// Whether the page is of the second kind, and what it is compressed with counts not.
    pub(super) is_second_kind: bool,
    pub(super) is_plain: bool,
    /// Whether definition levels, if there are any, have no length before them: an encoding that nobody writes any more.
    pub(super) has_old_definitions: bool,
    /// The same of repetition levels.
    pub(super) has_old_repetitions: bool,
    /// The checksum of the page as it is in the file, where its writer left one.
    pub(super) checksum: Option<u32>,
}

impl PageHeader {
    /// The header that bytes begin with. None if there is none, or if the decoder could read another out of it.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let mut input = Compact { bytes, at: 0 };
        let (mut header, mut kind, mut last) = (Self::default(), None, 0);
        let mut about = None;
        while let Some((id, of_type)) = input.field(&mut last)? {
            match id {
                1 => kind = Some(input.number()?),
                2 => header.unpacked_bytes = input.size()?,
                3 => header.packed_bytes = input.size()?,
                // It is signed in the file.
                4 => header.checksum = Some(input.number()? as u32),
                5..=8 if about.is_none() => {
                    about = Some(i32::from(id) - 5);
                    (header.is_dictionary, header.is_second_kind) = (id == 7, id == 8);
                    match id {
                        6 => input.skip(STRUCT, DEPTH_MAX)?,
                        _ => header.read_page(&mut input)?,
                    }
                }
                5..=8 => return None,
                _ => input.skip(of_type, DEPTH_MAX)?,
            }
        }
        header.header_bytes = input.at;
        // Kinds are counted as their fields are.
        (about == kind).then_some(header)
    }

    /// What the three kinds of pages have in common comes first in all of them.
    fn read_page(&mut self, input: &mut Compact<'_>) -> Option<()> {
        let encoding = if self.is_second_kind { 4 } else { 2 };
        let is_first_kind = !self.is_second_kind && !self.is_dictionary;
        let mut last = 0;
        while let Some((id, of_type)) = input.field(&mut last)? {
            match id {
                1 => self.values = input.size()?,
                id if id == encoding => self.encoding = input.number()?.into(),
                2 if self.is_second_kind => self.nulls = input.size()?,
                3 if is_first_kind => self.has_old_definitions = input.number()? == BIT_PACKED,
                4 if is_first_kind => self.has_old_repetitions = input.number()? == BIT_PACKED,
                5 | 6 if self.is_second_kind => self.levels_bytes = self.levels_bytes.checked_add(input.size()?)?,
                7 if self.is_second_kind => match of_type {
                    TRUE => self.is_plain = false,
                    FALSE => self.is_plain = true,
                    _ => return None,
                },
                _ => input.skip(of_type, DEPTH_MAX)?,
            }
        }
        Some(())
    }
}

/// Types of fields. A truth is in its field's type.
const TRUE: u8 = 1;
const FALSE: u8 = 2;
const BYTE: u8 = 3;
const I64: u8 = 6;
const DOUBLE: u8 = 7;
const BINARY: u8 = 8;
const LIST: u8 = 9;
const SET: u8 = 10;
const MAP: u8 = 11;
const STRUCT: u8 = 12;
const UUID: u8 = 13;

/// What is left to read.
struct Compact<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Compact<'_> {
    fn byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    fn unsigned(&mut self) -> Option<u64> {
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

    fn signed(&mut self) -> Option<i64> {
        let value = self.unsigned()?;
        Some((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    fn number(&mut self) -> Option<i32> {
        self.signed().map(|number| number as i32)
    }

    fn size(&mut self) -> Option<usize> {
        usize::try_from(self.number()?).ok()
    }

    /// The next field's id and type; none at the end of the struct.
    fn field(&mut self, last: &mut i16) -> Option<Option<(i16, u8)>> {
        let head = self.byte()?;
        if head == 0 {
            return Some(None);
        }
        *last = match head >> 4 {
            0 => self.signed()? as i16,
            delta => last.checked_add(i16::from(delta))?,
        };
        Some(Some((*last, head & 0xf)))
    }

    fn pass(&mut self, count: u64) -> Option<()> {
        self.at = self.at.checked_add(usize::try_from(count).ok()?).filter(|at| *at <= self.bytes.len())?;
        Some(())
    }

    /// Of a list, set or map. A truth in one takes a byte by the specification, and none in the decoder: no page header has them.
    fn element(&mut self, kind: u8, depth: usize) -> Option<()> {
        if matches!(kind, TRUE | FALSE) { None } else { self.skip(kind, depth) }
    }

    fn skip(&mut self, kind: u8, depth: usize) -> Option<()> {
        let depth = depth.checked_sub(1)?;
        match kind {
            TRUE | FALSE => Some(()),
            BYTE => self.pass(1),
            4..=I64 => self.unsigned().map(drop),
            DOUBLE => self.pass(8),
            BINARY => {
                let length = self.unsigned()?;
                self.pass(length)
            }
            LIST | SET => {
                let head = self.byte()?;
                let count = if head >> 4 == 15 { self.unsigned()? } else { u64::from(head >> 4) };
                (0..count).try_for_each(|_| self.element(head & 0xf, depth))
            }
            MAP => {
                let count = self.unsigned()?;
                let kinds = if count > 0 { self.byte()? } else { 0 };
                (0..count).try_for_each(|_| {
                    self.element(kinds >> 4, depth)?;
                    self.element(kinds & 0xf, depth)
                })
            }
            UUID => self.pass(16),
            STRUCT => {
                let mut last = 0;
                while let Some((_, kind)) = self.field(&mut last)? {
                    self.skip(kind, depth)?;
                }
                Some(())
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, RecordBatch, StringArray};
    use parquet::arrow::ArrowWriter;
    use parquet::basic::{Compression, Encoding};
    use parquet::file::properties::{WriterProperties, WriterVersion};
    use parquet::file::reader::{FileReader, SerializedFileReader};

    use super::*;

    #[test]
    fn headers_of_every_kind_are_read_and_damaged_ones_left_alone() {
        for (version, dictionary) in [
            (WriterVersion::PARQUET_1_0, true),
            (WriterVersion::PARQUET_1_0, false),
            (WriterVersion::PARQUET_2_0, true),
            (WriterVersion::PARQUET_2_0, false),
        ] {
            let texts: ArrayRef =
                Arc::new(StringArray::from_iter((0..1000).map(|row| (row % 3 > 0).then(|| format!("text {row}")))));
            let batch = RecordBatch::try_from_iter_with_nullable([("t", texts, true)]).unwrap();
            let properties = WriterProperties::builder()
                .set_writer_version(version)
                .set_compression(Compression::SNAPPY)
                .set_dictionary_enabled(dictionary)
                .set_data_page_row_count_limit(300)
                .set_write_batch_size(100)
                .build();
            let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).unwrap();
            writer.write(&batch).unwrap();
            let file = bytes::Bytes::from(writer.into_inner().unwrap());
            let reader = SerializedFileReader::new(file.clone()).unwrap();
            let (start, length) = reader.metadata().row_group(0).column(0).byte_range();
            let chunk = &file[start as usize..(start + length) as usize];
            let (mut at, mut values, mut dictionaries) = (0, 0, 0);
            while at < chunk.len() {
                let header = PageHeader::read(&chunk[at..]).unwrap();
                at += header.header_bytes + header.packed_bytes;
                assert!(header.unpacked_bytes > 0 && header.packed_bytes > 0);
                assert_eq!(header.is_second_kind, version == WriterVersion::PARQUET_2_0 && !header.is_dictionary);
                match header.is_dictionary {
                    true => dictionaries += 1,
                    false => values += header.values,
                }
                let delta = header.encoding == Encoding::DELTA_BYTE_ARRAY as i64;
                assert_eq!(delta, header.is_second_kind && !dictionary, "{header:?}");
            }
            assert_eq!((at, values, dictionaries), (chunk.len(), 1000, usize::from(dictionary)));
            for length in 0..30 {
                let _ = PageHeader::read(&chunk[..length]);
            }
            for position in 0..30 {
                for bit in 0..8 {
                    let mut damaged = chunk.to_vec();
                    damaged[position] ^= 1 << bit;
                    let _ = PageHeader::read(&damaged);
                }
            }
        }
        assert_eq!(PageHeader::read(&[0x1c; 100]), None, "structs in structs without end");
    }

    #[test]
    fn what_the_decoder_reads_by_its_id_is_read_whatever_type_it_says() {
        // Kind 0; 2 GiB less one as 64 bits; 7 bytes packed; a data page of one value.
        let header = |of_size: u8| {
            let sizes = [0x15, 0x00, of_size, 0xfe, 0xff, 0xff, 0xff, 0x0f, 0x15, 0x0e];
            let page = [0x2c, 0x15, 0x02, 0x15, 0x00, 0x15, 0x00, 0x15, 0x00, 0x00, 0x00];
            [sizes.as_slice(), page.as_slice()].concat()
        };
        let (as_32_bits, as_64_bits) = (header(0x15), header(0x16));
        let read = PageHeader::read(&as_64_bits).unwrap();
        assert_eq!((read.unpacked_bytes, read.packed_bytes, read.values), (i32::MAX as usize, 7, 1));
        assert_eq!(PageHeader::read(&as_32_bits), Some(read));
        // A map from integers to integers before it, in a field that nobody knows.
        let mut with_map = as_32_bits.clone();
        with_map.pop();
        with_map.extend([0x5b, 0x01, 0x55, 0x02, 0x04, 0x00]);
        assert_eq!(PageHeader::read(&with_map).map(|read| read.unpacked_bytes), Some(i32::MAX as usize));
        // A dictionary by its kind, a data page by its field.
        let mut two_kinds = as_32_bits;
        two_kinds[1] = 0x04;
        assert_eq!(PageHeader::read(&two_kinds), None);
    }
}
