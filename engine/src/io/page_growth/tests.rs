//! Ordinary files reserve nothing; what a small file can become is known before it does.

use std::io::Write;

use arrow::array::{ArrayRef, Int64Array, Int64Builder, ListBuilder, RecordBatch, StringArray};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding};
use parquet::file::metadata::ParquetMetaDataReader;
use parquet::file::properties::{WriterProperties, WriterPropertiesBuilder, WriterVersion};

use super::super::decoded::BATCH_ROWS;
use super::*;

struct File {
    bytes: Bytes,
    metadata: ParquetMetaData,
}

fn written(column: ArrayRef, properties: WriterPropertiesBuilder) -> File {
    let batch = RecordBatch::try_from_iter_with_nullable([("c", column, true)]).unwrap();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties.build())).unwrap();
    writer.write(&batch).unwrap();
    let bytes = Bytes::from(writer.into_inner().unwrap());
    let metadata = ParquetMetaDataReader::new().parse_and_finish(&bytes).unwrap();
    File { bytes, metadata }
}

impl File {
    fn range(&self) -> Range<u64> {
        let (start, length) = self.metadata.row_group(0).column(0).byte_range();
        start..start + length
    }

    fn growth(&self) -> Result<u64, Damage> {
        let range = self.range();
        let read = self.bytes.slice(range.start as usize..range.end as usize);
        Chunks::new(&self.metadata).growth(&self.metadata, &[range], &[read], BATCH_ROWS)
    }

    /// The same, had the chunk these bytes.
    fn growth_of(&self, bytes: Vec<u8>) -> Result<u64, Damage> {
        Chunks::new(&self.metadata).growth(&self.metadata, &[self.range()], &[bytes.into()], BATCH_ROWS)
    }
}

fn longs(compression: Compression) -> File {
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..100_000));
    written(numbers, WriterProperties::builder().set_compression(compression).set_dictionary_enabled(false))
}

fn texts(texts: impl Iterator<Item = String>, encoding: Encoding) -> File {
    let texts: ArrayRef = Arc::new(StringArray::from_iter_values(texts));
    let properties = WriterProperties::builder().set_compression(Compression::ZSTD(Default::default()));
    written(texts, properties.set_dictionary_enabled(false).set_encoding(encoding))
}

/// A page of the first kind, whose header says so many bytes and values.
fn page(unpacked: i64, values: i64, encoding: i64, body: &[u8]) -> Vec<u8> {
    let zigzag = |value: i64| {
        let (mut left, mut bytes) = (((value << 1) ^ (value >> 63)) as u64, Vec::new());
        while left >= 0x80 {
            bytes.push(left as u8 | 0x80);
            left >>= 7;
        }
        bytes.push(left as u8);
        bytes
    };
    let field = |value: i64| [vec![0x15], zigzag(value)].concat();
    let sizes = [field(0), field(unpacked), field(body.len() as i64)].concat();
    let about = [field(values), field(encoding), field(3), field(3), vec![0]].concat();
    [sizes, vec![0x2c], about, vec![0], body.to_vec()].concat()
}

#[test]
fn ordinary_pages_are_free_and_a_page_that_says_two_gibibytes_is_damaged_or_counted() {
    for compression in [Compression::UNCOMPRESSED, Compression::SNAPPY, Compression::LZ4_RAW, Compression::LZ4] {
        assert_eq!(longs(compression).growth(), Ok(0), "{compression:?}");
    }
    for compression in [
        Compression::GZIP(Default::default()),
        Compression::BROTLI(Default::default()),
        Compression::ZSTD(Default::default()),
    ] {
        let file = longs(compression);
        assert_eq!(file.growth(), Ok(0), "{compression:?}");
        let lying = file.growth_of(page(i64::from(i32::MAX), 3, 0, &[7; 100]));
        match compression {
            Compression::BROTLI(_) => assert!(lying.unwrap() > 2_000_000_000),
            _ => assert!(lying.unwrap_err().contains("2147483647")),
        }
    }
    for compression in [Compression::SNAPPY, Compression::LZ4_RAW] {
        let lying = longs(compression).growth_of(page(i64::from(i32::MAX), 3, 0, &[7; 100]));
        assert!(lying.unwrap_err().contains("cannot make"), "{compression:?}");
        // What the codec can give of so many bytes is counted.
        let large = longs(compression).growth_of(page(20 << 20, 3, 0, &[7; 1 << 20]));
        assert!(large.unwrap() > 15 << 20, "{compression:?}");
    }
}

#[test]
fn a_page_that_unpacks_to_more_than_it_says_is_damaged() {
    let zeros = vec![0; 10 << 20];
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&zeros).unwrap();
    let mut brotli = brotli::CompressorWriter::new(Vec::new(), 4096, 1, 20);
    brotli.write_all(&zeros).unwrap();
    for (compression, packed) in [
        (Compression::GZIP(Default::default()), gzip.finish().unwrap()),
        (Compression::BROTLI(Default::default()), brotli.into_inner()),
    ] {
        let file = longs(compression);
        let refused = file.growth_of(page(1000, 100, 0, &packed));
        assert!(refused.unwrap_err().contains("has more"), "{compression:?}");
        assert!(file.growth_of(page(10 << 20, 100, 0, &packed)).unwrap() > 5 << 20, "{compression:?}");
    }
}

#[test]
fn texts_that_repeat_the_one_before_are_counted_as_they_become() {
    let repeated = || (0..2000).map(|row| format!("{}{row}", "x".repeat(10_000)));
    let file = texts(repeated(), Encoding::DELTA_BYTE_ARRAY);
    assert!(file.range().end - file.range().start < 100_000);
    assert!(file.growth().unwrap() > 15_000_000);
    for encoding in [Encoding::DELTA_BYTE_ARRAY, Encoding::DELTA_LENGTH_BYTE_ARRAY, Encoding::PLAIN] {
        let ordinary = texts((0..50_000).map(|row| format!("the text of row {}", row * 7919 % 50_000)), encoding);
        assert_eq!(ordinary.growth(), Ok(0), "{encoding}");
    }
}

#[test]
fn lengths_without_end_are_refused() {
    let file = texts(["a".to_owned(), "b".to_owned()].into_iter(), Encoding::DELTA_LENGTH_BYTE_ARRAY);
    // 128 values in a block of 4 parts, so many values, all lengths 0.
    let lengths = |count: &[u8]| [&[0x80, 1, 4][..], count, &[0], &[0; 40]].concat();
    let body = |lengths: &[u8]| [&[2, 0, 0, 0, 3, 1][..], lengths].concat();
    let packed = |body: &[u8]| zstd::encode_all(body, 1).unwrap();
    let many = body(&lengths(&[0xff, 0xff, 0xff, 0xff, 7]));
    let more = file.growth_of(page(many.len() as i64, 2, 6, &packed(&many)));
    assert!(more.unwrap_err().contains("lengths for 2147483647"));
    assert!(file.growth_of(page(many.len() as i64, i64::from(i32::MAX), 6, &packed(&many))).unwrap() > 1 << 50);
    let two = body(&lengths(&[2]));
    assert_eq!(file.growth_of(page(two.len() as i64, 2, 6, &packed(&two))), Ok(0));
}

#[test]
fn lists_of_many_elements_in_few_bytes_are_counted() {
    let mut lists = ListBuilder::new(Int64Builder::new());
    for row in 0..20_000 {
        lists.values().append_slice(&[row, row + 1, row + 2]);
        lists.append(true);
    }
    let file = written(Arc::new(lists.finish()), WriterProperties::builder());
    assert_eq!(file.growth(), Ok(0));
    assert!(file.growth_of(page(100, 1 << 30, 8, &[0; 100])).unwrap() > 10 << 30);
}

#[test]
fn a_batch_of_texts_keeps_the_pages_that_it_spans() {
    let page = |values, bytes| Page {
        header: PageHeader { values, unpacked_bytes: bytes, ..PageHeader::default() },
        grown: 0,
    };
    let pages = [page(10_000, 5), page(10_000, 7), page(1, 100), page(1, 100), page(10_000, 1)];
    let pages: Vec<&Page> = pages.iter().collect();
    assert_eq!(largest_batch(&pages, BATCH_ROWS), 7 + 100 + 100 + 1);
    assert_eq!(largest_batch(&pages, 1), 100);
    assert_eq!(largest_batch(&[], 1), 0);
}

#[test]
fn smaller_batches_take_less() {
    let texts: ArrayRef =
        Arc::new(StringArray::from_iter_values((0..200).map(|row| format!("{row}{}", "x".repeat(100_000)))));
    let properties = WriterProperties::builder().set_dictionary_enabled(false).set_write_batch_size(5);
    let file = written(texts, properties.set_compression(Compression::SNAPPY));
    let range = file.range();
    let read = [file.bytes.slice(range.start as usize..range.end as usize)];
    let growth = |rows| Chunks::new(&file.metadata).growth(&file.metadata, std::slice::from_ref(&range), &read, rows);
    assert!(growth(BATCH_ROWS).unwrap() > 15_000_000);
    assert_eq!(growth(10), Ok(0));
}

/// A run of differences (parquet-format, Encodings.md) of so many lengths, each in a byte.
fn lengths(lengths: &[u8]) -> Vec<u8> {
    let mut run = vec![0x80, 0x01, 0x01, lengths.len() as u8, lengths[0] << 1];
    if lengths.len() > 1 {
        // Differences of at least -64, in one miniblock of 8 bits each.
        let differences = lengths.windows(2).map(|pair| pair[1].wrapping_sub(pair[0]).wrapping_add(64));
        let mut packed: Vec<u8> = differences.collect();
        packed.resize(128, 0);
        run.extend([0x7f, 8]);
        run.extend(packed);
    }
    run
}

/// A page of the first kind of texts that all are there, by what they repeat and what is theirs.
fn repeating(prefixes: &[u8], suffixes: &[u8]) -> Vec<u8> {
    let theirs = vec![b'x'; suffixes.iter().map(|length| usize::from(*length)).sum()];
    let values = prefixes.len() as u8;
    let body = [vec![2, 0, 0, 0, values << 1, 1], lengths(prefixes), lengths(suffixes), theirs].concat();
    page(body.len() as i64, values.into(), DELTA_BYTE_ARRAY, &body)
}

#[test]
fn texts_that_repeat_more_than_there_is_are_damaged() {
    let properties = WriterProperties::builder().set_dictionary_enabled(false).set_encoding(Encoding::DELTA_BYTE_ARRAY);
    let file = written(Arc::new(StringArray::from(vec!["Hello"; 3])), properties);
    assert!(file.growth_of(repeating(&[0, 2, 4], &[3, 2, 1])).is_ok());
    assert!(file.growth_of(repeating(&[0, 3, 3], &[3, 0, 9])).is_ok());
    let error = file.growth_of(repeating(&[0, 4, 0], &[3, 2, 1])).unwrap_err();
    assert!(error.contains("value 1 of a page repeats 4 bytes of the one before, which has 3"), "{error}");
    assert!(file.growth_of(repeating(&[1, 2, 3], &[3, 2, 1])).is_err());
    assert!(file.growth_of(repeating(&[0, 2, 5], &[3, 2, 1])).is_err());
}

#[test]
fn numbers_in_streams_that_are_not_of_one_length_are_damaged() {
    let numbers: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, Some(3)]));
    for (version, compression) in [
        (WriterVersion::PARQUET_1_0, Compression::UNCOMPRESSED),
        (WriterVersion::PARQUET_2_0, Compression::UNCOMPRESSED),
        (WriterVersion::PARQUET_1_0, Compression::ZSTD(Default::default())),
        (WriterVersion::PARQUET_2_0, Compression::SNAPPY),
    ] {
        let properties = WriterProperties::builder().set_writer_version(version).set_compression(compression);
        let properties = properties.set_dictionary_enabled(false).set_encoding(Encoding::BYTE_STREAM_SPLIT);
        let file = written(Arc::clone(&numbers), properties);
        assert!(
            file.metadata.row_group(0).column(0).encodings().any(|used| matches!(used, Encoding::BYTE_STREAM_SPLIT))
        );
        assert!(file.growth().is_ok(), "{version:?} {compression:?} {:?}", file.growth());
    }
    let properties =
        WriterProperties::builder().set_dictionary_enabled(false).set_encoding(Encoding::BYTE_STREAM_SPLIT);
    let file = written(numbers, properties);
    // Levels 1, 0, 1, and the bytes of two numbers.
    let with = |bytes: usize| {
        let body = [&[2, 0, 0, 0, 3, 0b101][..], &vec![7; bytes][..]].concat();
        page(body.len() as i64, 3, BYTE_STREAM_SPLIT, &body)
    };
    assert!(file.growth_of(with(16)).is_ok());
    for bytes in [0, 8, 15, 17, 24] {
        let error = file.growth_of(with(bytes)).unwrap_err();
        assert!(error.contains("2 values of 8 bytes in streams"), "{error}");
    }
}

#[test]
fn a_page_that_has_another_size_than_its_header_or_the_index_says_is_damaged() {
    let file = longs(Compression::UNCOMPRESSED);
    let body = [&[2, 0, 0, 0, 2, 1][..], &[7; 8]].concat();
    assert!(file.growth_of(page(14, 1, 0, &body)).is_ok());
    for says in [0, 13, 15] {
        let error = file.growth_of(page(says, 1, 0, &body)).unwrap_err();
        assert!(error.contains("is not compressed says that it has"), "{error}");
    }
    let range = file.range();
    let read = file.bytes.slice(range.start as usize..range.end as usize);
    let chunk = file.metadata.row_group(0).column(0);
    let header = PageHeader::read(&read).unwrap();
    let location = |compressed_page_size: usize| PageLocation {
        offset: range.start as i64,
        compressed_page_size: compressed_page_size as i32,
        first_row_index: 0,
    };
    let size = header.header_bytes + header.packed_bytes;
    let chunks = Chunks::new(&file.metadata);
    assert!(chunks.pages(chunk, &[location(size)], range.start, &read).is_ok());
    for wrong in [size - 1, size + 1] {
        let error = chunks.pages(chunk, &[location(wrong)], range.start, &read).err().unwrap();
        assert!(error.contains("by the page index"), "{error}");
    }
}
