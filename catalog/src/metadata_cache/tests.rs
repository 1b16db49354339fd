//! What the cache keeps and forgets, and metadata that is malformed or too large.

use std::collections::HashMap;
use std::io::Write;
use std::sync::Arc;

use bytes::Bytes;
use iceberg::io::FileIO;
use iceberg::spec::{
    DataContentType, DataFileBuilder, DataFileFormat, FormatVersion, ManifestFile, ManifestWriterBuilder, NestedField,
    PartitionSpec, PrimitiveType, Schema, SchemaRef, SortOrder, Struct, TableMetadata, TableMetadataBuilder, Type,
};

use super::*;

fn storage() -> Arc<Storage> {
    Storage::new(&HashMap::new()).expect("a storage")
}

fn schema() -> Schema {
    let id = NestedField::optional(1, "id", Type::Primitive(PrimitiveType::Long));
    Schema::builder().with_fields([Arc::new(id)]).build().expect("a schema")
}

fn metadata() -> TableMetadata {
    TableMetadataBuilder::new(
        schema(),
        PartitionSpec::unpartition_spec(),
        SortOrder::unsorted_order(),
        "memory://t".to_string(),
        FormatVersion::V2,
        HashMap::new(),
    )
    .and_then(|builder| builder.build())
    .expect("metadata")
    .metadata
}

fn json() -> Vec<u8> {
    serde_json::to_vec(&metadata()).expect("json")
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).expect("written");
    encoder.finish().expect("finished")
}

async fn load(bytes: Vec<u8>) -> Result<TableMetadataRef> {
    let storage = storage();
    storage.write("memory://m.json", Bytes::from(bytes)).await.expect("written");
    MetadataCache::new(1 << 20).table_metadata(&storage, "memory://m.json").await
}

fn assert_malformed<T: std::fmt::Debug>(result: Result<T>, file: &str) {
    let error = result.expect_err("malformed");
    assert!(matches!(&error, Error::Malformed { location, .. } if location == file), "{error:?}");
}

#[tokio::test]
async fn metadata_is_read_plain_gzip_and_zstd() {
    for bytes in [json(), gzip(&json()), zstd::encode_all(json().as_slice(), 3).expect("zstd")] {
        let read = load(bytes).await.expect("metadata");
        assert_eq!(read.location(), "memory://t");
    }
}

#[tokio::test]
async fn what_is_not_metadata_is_an_error_that_names_the_file() {
    for bytes in [b"not json".to_vec(), b"{}".to_vec(), vec![], gzip(b"[1]"), gzip(&json())[..40].to_vec()] {
        assert_malformed(load(bytes).await, "memory://m.json");
    }
    let error = load(br#"{"format-version": 4}"#.to_vec()).await.expect_err("from the future");
    assert!(error.to_string().contains("format version 4"), "{error}");
}

#[tokio::test]
async fn a_bomb_is_malformed_and_costs_its_bound() {
    let zeros = vec![b' '; 300 << 20];
    let bomb = gzip(&zeros);
    let zstd_bomb = zstd::encode_all(zeros.as_slice(), 3).expect("zstd");
    drop(zeros);
    assert!(bomb.len() < 1 << 20);
    assert_malformed(load(bomb).await, "memory://m.json");
    assert_malformed(load(zstd_bomb).await, "memory://m.json");
}

#[tokio::test]
async fn callers_that_wait_together_share_one_read() {
    let storage = storage();
    storage.write("memory://m.json", Bytes::from(json())).await.expect("written");
    let cache = MetadataCache::new(1 << 20);
    let before = storage.total_meter().snapshot();
    let reads = (0..20).map(|_| cache.table_metadata(&storage, "memory://m.json"));
    for read in futures::future::join_all(reads).await {
        read.expect("metadata");
    }
    assert_eq!((storage.total_meter().snapshot() - before).get, 1);

    let reads = (0..5).map(|_| cache.table_metadata(&storage, "memory://absent"));
    for read in futures::future::join_all(reads).await {
        assert!(matches!(read, Err(Error::FileNotFound { .. })), "{read:?}");
    }
    storage.write("memory://absent", Bytes::from(json())).await.expect("written");
    cache.table_metadata(&storage, "memory://absent").await.expect("a failure is not kept");
}

#[tokio::test]
async fn the_cache_is_bounded_by_bytes() {
    let storage = storage();
    let one = json().len() as u64 * 2;
    let cache = MetadataCache::new(one * 10);
    for number in 0..50 {
        let location = format!("memory://m{number}.json");
        cache.insert_table_metadata(&storage, &location, Arc::new(metadata())).await;
    }
    cache.entries.run_pending_tasks().await;
    assert!(cache.entries.weighted_size() <= one * 10);
    assert!(cache.entries.entry_count() >= 5, "{cache:?}");
}

/// A manifest of a few files, as `iceberg` writes it (without compression).
async fn manifest(files: usize) -> (ManifestFile, Bytes) {
    let io = FileIO::new_with_memory();
    let schema: SchemaRef = Arc::new(schema());
    let spec = PartitionSpec::unpartition_spec();
    let output = io.new_output("memory://m.avro").expect("output");
    let mut writer = ManifestWriterBuilder::new(output, Some(7), schema, spec).build_v2_data();
    for number in 0..files {
        let file = DataFileBuilder::default()
            .content(DataContentType::Data)
            .file_path(format!("memory://t/{number}.parquet"))
            .file_format(DataFileFormat::Parquet)
            .partition(Struct::empty())
            .record_count(10)
            .file_size_in_bytes(100)
            .build()
            .expect("a file");
        writer.add_file(file, -1).expect("added");
    }
    let mut file = writer.write_manifest_file().await.expect("written");
    file.sequence_number = 3;
    (file, io.new_input("memory://m.avro").expect("input").read().await.expect("read"))
}

async fn read(file: &ManifestFile, bytes: Bytes) -> Result<iceberg::spec::Manifest> {
    let storage = storage();
    storage.write(&file.manifest_path, bytes).await.expect("written");
    read_manifest(&storage, file).await
}

#[tokio::test]
async fn manifest_entries_inherit_from_the_list() {
    let (mut file, bytes) = manifest(500).await;
    for bytes in [bytes.clone(), avro::deflated(bytes).expect("deflated")] {
        file.manifest_length = bytes.len() as i64;
        let manifest = read(&file, bytes).await.expect("a manifest");
        assert_eq!(manifest.entries().len(), 500);
        let entry = &manifest.entries()[499];
        assert_eq!((entry.snapshot_id, entry.sequence_number, entry.file_sequence_number), (Some(7), Some(3), Some(3)));
    }
}

#[tokio::test]
async fn a_manifest_cut_anywhere_is_malformed() {
    let (file, bytes) = manifest(500).await;
    for length in [0, 3, 100, bytes.len() / 2, bytes.len() - 17, bytes.len() - 1] {
        assert_malformed(read(&file, bytes.slice(..length)).await, "memory://m.avro");
    }
    let mut encrypted = file.clone();
    encrypted.key_metadata = Some(vec![1]);
    assert!(matches!(read(&encrypted, bytes).await, Err(Error::Unsupported { .. })));
}

/// The blocks of an uncompressed container under another codec.
fn with_codec(bytes: &Bytes, codec: &str, compress: impl Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    avro::testing::rewritten(bytes, codec, compress)
}

#[tokio::test]
async fn every_codec_is_read_and_every_bomb_refused() {
    let (mut file, bytes) = manifest(300).await;
    let snappy = |block: &[u8]| {
        let mut compressed = snap::raw::Encoder::new().compress_vec(block).expect("snappy");
        let mut crc = flate2::Crc::new();
        crc.update(block);
        compressed.extend_from_slice(&crc.sum().to_be_bytes());
        compressed
    };
    let zstandard = |block: &[u8]| zstd::encode_all(block, 1).expect("zstd");
    for container in [with_codec(&bytes, "snappy", snappy), with_codec(&bytes, "zstandard", zstandard)] {
        file.manifest_length = container.len() as i64;
        let manifest = read(&file, Bytes::from(container)).await.expect("a manifest");
        assert_eq!(manifest.entries().len(), 300);
    }
    let deflate_bomb = |_: &[u8]| {
        let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(&vec![0; 100 << 20]).expect("written");
        encoder.finish().expect("finished")
    };
    let zstd_bomb = |_: &[u8]| zstd::encode_all(vec![0; 100 << 20].as_slice(), 1).expect("zstd");
    let snappy_bomb = |_: &[u8]| vec![0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0, 0, 0, 0];
    for container in [
        with_codec(&bytes, "deflate", deflate_bomb),
        with_codec(&bytes, "zstandard", zstd_bomb),
        with_codec(&bytes, "snappy", snappy_bomb),
        with_codec(&bytes, "bzip2", |block| block.to_vec()),
    ] {
        file.manifest_length = container.len() as i64;
        assert_malformed(read(&file, Bytes::from(container)).await, "memory://m.avro");
    }
}
