//! Names and writes metadata files: `metadata/00000-<uuid>.metadata.json`, or `.gz.metadata.json`.

use std::io::Write;
use std::sync::Arc;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use iceberg::compression::CompressionCodec;
use iceberg::spec::{TableMetadata, TableMetadataRef};
use uuid::Uuid;

use super::update::invalid;
use crate::storage::Storage;
use crate::{Error, Result};

/// Where a new table's first metadata file goes.
pub(super) fn first_location(metadata: &TableMetadata) -> Result<String> {
    location(metadata, 0)
}

/// Where the metadata file after `current` goes. Files not named by version count from zero, as in Java.
pub(super) fn next_location(current: &str, metadata: &TableMetadata) -> Result<String> {
    let file = current.rsplit('/').next().unwrap_or(current);
    let version = file.split_once('-').and_then(|(version, _)| version.parse::<u32>().ok());
    location(metadata, version.map_or(0, |version| version.saturating_add(1)))
}

/// The folder of the table whose metadata file this is, unless its properties say that it is another.
pub(super) fn table_folder(metadata_file: &str) -> &str {
    let folder = metadata_file.rsplit_once('/').map_or(metadata_file, |(folder, _)| folder);
    folder.strip_suffix("/metadata").unwrap_or(folder)
}

fn location(metadata: &TableMetadata, version: u32) -> Result<String> {
    let folder = match metadata.properties().get("write.metadata.path") {
        Some(path) => path.trim_end_matches('/').to_owned(),
        None => format!("{}/metadata", metadata.location()),
    };
    let suffix = match metadata.metadata_compression_codec().map_err(invalid)? {
        CompressionCodec::Gzip(_) => ".gz",
        _ => "",
    };
    Ok(format!("{folder}/{version:05}-{}{suffix}.metadata.json", Uuid::new_v4()))
}

/// Writes a metadata file, compressed if its table says so.
pub(super) async fn write(storage: &Arc<Storage>, location: &str, metadata: &TableMetadataRef) -> Result<()> {
    let gzip = matches!(metadata.metadata_compression_codec().map_err(invalid)?, CompressionCodec::Gzip(_));
    let metadata = Arc::clone(metadata);
    // Tables with thousands of snapshots have metadata of many megabytes: off the async threads.
    let bytes = tokio::task::spawn_blocking(move || encode(&metadata, gzip))
        .await
        .map_err(|error| Error::Internal(format!("writing metadata stopped: {error}")))??;
    storage.write(location, bytes).await
}

fn encode(metadata: &TableMetadata, gzip: bool) -> Result<Bytes> {
    let failed = |error: String| Error::Internal(format!("table metadata could not be encoded: {error}"));
    let json = serde_json::to_vec(metadata).map_err(|error| failed(error.to_string()))?;
    if !gzip {
        return Ok(json.into());
    }
    let mut encoder = GzEncoder::new(Vec::with_capacity(json.len() / 4), Compression::default());
    encoder.write_all(&json).map_err(|error| failed(error.to_string()))?;
    Ok(encoder.finish().map_err(|error| failed(error.to_string()))?.into())
}

/// A table or namespace name as a folder of the warehouse. Characters that some store or reader would treat specially
/// become `_`, and a checksum then keeps different names apart.
pub(super) fn folder_name(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if !name.is_empty() && name.chars().all(plain) && !name.starts_with('.') {
        return name.to_owned();
    }
    let safe: String = name.chars().map(|c| if plain(c) && c != '.' { c } else { '_' }).collect();
    // FNV-1a: short, stable over time, and enough to tell the names of one catalog apart.
    let sum =
        name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| (sum ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    format!("{safe}-{sum:016x}")
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use iceberg::spec::{
        FormatVersion, NestedField, PrimitiveType, Schema, SortOrder, TableMetadataBuilder, Type, UnboundPartitionSpec,
    };

    use super::*;

    fn metadata(properties: &[(&str, &str)]) -> TableMetadata {
        let id = NestedField::required(1, "id", Type::Primitive(PrimitiveType::Long));
        let schema = Schema::builder().with_fields([id.into()]).build().unwrap();
        let properties: HashMap<_, _> = properties.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let spec = UnboundPartitionSpec::builder().build();
        TableMetadataBuilder::new(
            schema,
            spec,
            SortOrder::unsorted_order(),
            "s3://b/t".into(),
            FormatVersion::V2,
            properties,
        )
        .unwrap()
        .build()
        .unwrap()
        .metadata
    }

    #[test]
    fn versions_count_up_from_the_current_file() {
        let plain = metadata(&[]);
        assert!(first_location(&plain).unwrap().starts_with("s3://b/t/metadata/00000-"));
        let from = |current: &str| next_location(current, &plain).unwrap();
        assert!(from("s3://b/t/metadata/00041-9c12d441-03fe-4693-9a96-a0705ddf69c1.metadata.json").contains("/00042-"));
        assert!(from("s3://b/t/metadata/v3.metadata.json").contains("/00000-"));
    }

    #[test]
    fn folder_and_compression_are_the_tables_own() {
        let special =
            metadata(&[("write.metadata.path", "s3://b/meta/"), ("write.metadata.compression-codec", "gzip")]);
        let location = first_location(&special).unwrap();
        assert!(location.starts_with("s3://b/meta/00000-") && location.ends_with(".gz.metadata.json"), "{location}");
        let bytes = encode(&special, true).unwrap();
        let mut json = String::new();
        std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&bytes[..]), &mut json).unwrap();
        assert_eq!(serde_json::from_str::<TableMetadata>(&json).unwrap(), special);
    }

    #[test]
    fn folders_are_plain_and_distinct() {
        assert_eq!(folder_name("orders_2024"), "orders_2024");
        let odd = ["größe", "groesse", "a b", "a_b", "..", ".", "a/b", "a%b", "表"];
        let folders: std::collections::HashSet<_> = odd.iter().map(|name| folder_name(name)).collect();
        assert_eq!(folders.len(), odd.len());
        assert!(folders.iter().all(|f| f.is_ascii() && !f.contains(['/', '%', ' ']) && !f.starts_with('.')));
    }
}
