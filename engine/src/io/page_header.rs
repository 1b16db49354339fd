//! The header of a Parquet page, as far as it says how large the page is and what its checksum. The decoder's own reader of headers is private to it.
//!
//! Format: `PageHeader` of <https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift>, in
//! Thrift's compact protocol. What cannot be read is left to the decoder, which says what is wrong with it.

/// Structs within structs, at most: headers have three levels.
const DEPTH_MAX: usize = 8;

/// An encoding of levels (parquet.thrift).
const BIT_PACKED: i64 = 4;

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
    /// The header that bytes begin with.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let mut input = Compact { bytes, at: 0 };
        let (mut header, mut last) = (Self::default(), 0);
        while let Some((id, kind)) = input.field(&mut last)? {
            match (id, kind) {
                (2, I32) => header.unpacked_bytes = input.size()?,
                (3, I32) => header.packed_bytes = input.size()?,
                // It is signed in the file.
                (4, I32) => header.checksum = Some(input.number()? as i32 as u32),
                (5 | 7 | 8, STRUCT) => {
                    (header.is_dictionary, header.is_second_kind) = (id == 7, id == 8);
                    header.read_page(&mut input)?;
                }
                (_, other) => input.skip(other, DEPTH_MAX)?,
            }
        }
        header.header_bytes = input.at;
        Some(header)
    }

    /// What the three kinds of pages have in common comes first in all of them.
    fn read_page(&mut self, input: &mut Compact<'_>) -> Option<()> {
        let encoding = if self.is_second_kind { 4 } else { 2 };
        let mut last = 0;
        while let Some((id, kind)) = input.field(&mut last)? {
            match (id, kind) {
                (1, I32) => self.values = input.size()?,
                (id, I32) if id == encoding => self.encoding = input.number()?,
                (2, I32) if self.is_second_kind => self.nulls = input.size()?,
                (3, I32) if !self.is_second_kind => self.has_old_definitions = input.number()? == BIT_PACKED,
                (4, I32) if !self.is_second_kind => self.has_old_repetitions = input.number()? == BIT_PACKED,
                (5 | 6, I32) if self.is_second_kind => {
                    self.levels_bytes = self.levels_bytes.checked_add(input.size()?)?
                }
                (7, FALSE) if self.is_second_kind => self.is_plain = true,
                (_, other) => input.skip(other, DEPTH_MAX)?,
            }
        }
        Some(())
    }
}

/// Types of fields. A truth is in its field's type.
const TRUE: u8 = 1;
const FALSE: u8 = 2;
const BYTE: u8 = 3;
const I32: u8 = 5;
const I64: u8 = 6;
const DOUBLE: u8 = 7;
const BINARY: u8 = 8;
const LIST: u8 = 9;
const SET: u8 = 10;
const STRUCT: u8 = 12;

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

    fn number(&mut self) -> Option<i64> {
        let value = self.unsigned()?;
        Some((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    fn size(&mut self) -> Option<usize> {
        usize::try_from(self.number()?).ok()
    }

    /// The next field's id and type; none at the end of the struct.
    fn field(&mut self, last: &mut i64) -> Option<Option<(i64, u8)>> {
        let head = self.byte()?;
        if head == 0 {
            return Some(None);
        }
        *last = match head >> 4 {
            0 => self.number()?,
            delta => last.checked_add(i64::from(delta))?,
        };
        Some(Some((*last, head & 0xf)))
    }

    fn pass(&mut self, count: u64) -> Option<()> {
        self.at = self.at.checked_add(usize::try_from(count).ok()?).filter(|at| *at <= self.bytes.len())?;
        Some(())
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
                for _ in 0..count {
                    match head & 0xf {
                        TRUE | FALSE => self.pass(1)?,
                        item => self.skip(item, depth)?,
                    }
                }
                Some(())
            }
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
}
