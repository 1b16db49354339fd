//! What the writer leaves in the store, as other readers see it: footers, field ids, statistics, paths.

use std::collections::HashMap;

use iceberg::spec::{DataFile, PrimitiveLiteral};
use parquet::basic::{Compression, LogicalType};
use parquet::file::metadata::ParquetMetaData;
use parquet::file::reader::{FileReader, SerializedFileReader};
use polynya_catalog::{Table, TableIdent, read_manifest};

use crate::lake::Lake;

async fn files(lake: &Lake, table: &str) -> (Table, Vec<DataFile>) {
    let ident = TableIdent::from_strs(["s", table]).unwrap();
    let table = lake.engine.whole_catalog("lake").unwrap().load_table(&ident).await.unwrap();
    let cache = polynya_catalog::MetadataCache::new(1 << 20);
    let mut files = Vec::new();
    if let Some(snapshot) = table.metadata.current_snapshot() {
        let list = cache.manifest_list(&table.storage, &table.metadata, snapshot).await.unwrap();
        for manifest in list.entries() {
            let manifest = read_manifest(&table.storage, manifest).await.unwrap();
            files.extend(manifest.entries().iter().map(|entry| entry.data_file().clone()));
        }
    }
    (table, files)
}

async fn footer(table: &Table, file: &DataFile) -> ParquetMetaData {
    let bytes = table.storage.read(file.file_path()).await.unwrap();
    assert_eq!(bytes.len() as u64, file.file_size_in_bytes());
    SerializedFileReader::new(bytes).unwrap().metadata().clone()
}

fn bounds(bounds: &HashMap<i32, iceberg::spec::Datum>) -> HashMap<i32, PrimitiveLiteral> {
    bounds.iter().map(|(id, bound)| (*id, bound.literal().clone())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn manifests_carry_exact_counts_and_safe_bounds() {
    let lake = Lake::new().await;
    lake.run(
        "CREATE TABLE t (i int, f double, s varchar, d decimal(12, 2), w decimal(30, 2), b boolean, u uuid, \
         st struct<x bigint, y array<int>>, ts timestamp, raw binary)",
    )
    .await;
    lake.run(
        "INSERT INTO t VALUES \
         (1, CAST('NaN' AS DOUBLE), 'abcdefghijklmnopqrstuvwxyz', -1.5, -5, true, '00000000-0000-0000-0000-000000000001', \
          struct(5, [1, 2]), '1970-01-01 00:00:01', 'a'), \
         (NULL, 2.5, 'zzzzzzzzzzzzzzzzzzzz', 2.25, 7, false, NULL, struct(-5, [3]), '1969-12-31 23:59:59', NULL), \
         (-3, -1.5, NULL, NULL, NULL, NULL, 'ffffffff-ffff-ffff-ffff-ffffffffffff', NULL, NULL, 'b')",
    )
    .await;
    let (table, files) = files(&lake, "t").await;
    let [file] = files.as_slice() else { panic!("one file, not {}", files.len()) };
    assert_eq!(file.record_count(), 3);
    let id = |name: &str| table.metadata.current_schema().field_id_by_name(name).unwrap();
    let nulls = file.null_value_counts();
    assert_eq!([nulls[&id("i")], nulls[&id("s")], nulls[&id("u")], nulls[&id("st.x")]], [1, 1, 1, 1]);
    assert_eq!(file.nan_value_counts()[&id("f")], 1);
    assert_eq!(file.value_counts()[&id("st.y.element")], 4);
    let (lower, upper) = (bounds(file.lower_bounds()), bounds(file.upper_bounds()));
    let text = |text: &str| PrimitiveLiteral::String(text.to_string());
    assert_eq!((&lower[&id("i")], &upper[&id("i")]), (&PrimitiveLiteral::Int(-3), &PrimitiveLiteral::Int(1)));
    assert_eq!((&lower[&id("s")], &upper[&id("s")]), (&text("abcdefghijklmnop"), &text("zzzzzzzzzzzzzzz{")));
    assert_eq!(lower[&id("f")], PrimitiveLiteral::Double((-1.5).into()));
    assert_eq!(upper[&id("f")], PrimitiveLiteral::Double(2.5.into()));
    assert_eq!(lower[&id("d")], PrimitiveLiteral::Int128(-150));
    assert_eq!((&lower[&id("w")], &upper[&id("w")]), (&PrimitiveLiteral::Int128(-500), &PrimitiveLiteral::Int128(700)));
    assert_eq!(lower[&id("b")], PrimitiveLiteral::Boolean(false));
    assert_eq!(lower[&id("u")], PrimitiveLiteral::UInt128(1));
    assert_eq!(upper[&id("u")], PrimitiveLiteral::UInt128(u128::MAX));
    assert_eq!((&lower[&id("st.x")], &upper[&id("st.x")]), (&PrimitiveLiteral::Long(-5), &PrimitiveLiteral::Long(5)));
    assert_eq!(lower[&id("ts")], PrimitiveLiteral::Long(-1_000_000));
    assert!(!lower.contains_key(&id("st.y.element")), "no bounds within lists");
    let footer = footer(&table, file).await;
    assert_eq!(file.split_offsets().unwrap(), [4]);
    let columns = footer.file_metadata().schema_descr().columns().to_vec();
    let column = |name: &str| columns.iter().position(|column| column.path().string() == name).unwrap();
    for (path, name) in [("i", "i"), ("st.x", "st.x"), ("st.y.list.element", "st.y.element"), ("u", "u")] {
        assert_eq!(columns[column(path)].self_type().get_basic_info().id(), id(name), "{path}");
    }
    assert_eq!(columns[column("u")].logical_type_ref(), Some(&LogicalType::Uuid));
    let group = footer.row_group(0);
    assert!(matches!(group.column(0).compression(), Compression::ZSTD(_)));
    assert!(group.column(0).column_index_offset().is_some() && group.column(0).offset_index_offset().is_some());
    let keys: Vec<&str> =
        footer.file_metadata().key_value_metadata().unwrap().iter().map(|pair| pair.key.as_str()).collect();
    assert_eq!(keys, ["iceberg.schema"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_have_folders_and_values() {
    let lake = Lake::new().await;
    lake.run("CREATE TABLE t (d date, s varchar) PARTITIONED BY (months(d), s)").await;
    lake.run("INSERT INTO t VALUES (DATE '1994-03-05', 'a b/c'), (DATE '1994-03-06', 'a b/c'), (NULL, NULL)").await;
    let (table, files) = files(&lake, "t").await;
    let mut folders: Vec<&str> = files
        .iter()
        .map(|file| {
            let relative = file.file_path().strip_prefix(table.metadata.location()).unwrap();
            relative.strip_prefix("/data/").unwrap().rsplit_once('/').unwrap().0
        })
        .collect();
    folders.sort_unstable();
    assert_eq!(folders, ["d_month=1994-03/s=a+b%2Fc", "d_month=null/s=null"]);
    let counts: u64 = files.iter().map(DataFile::record_count).sum();
    assert_eq!(counts, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn properties_shape_the_files() {
    let lake = Lake::new().await;
    lake.run(
        "CREATE TABLE t (v bigint, s varchar) WITH (\"write.parquet.row-group-limit\" = 30000, \
         \"write.target-file-size-bytes\" = 400000, \"write.parquet.compression-codec\" = 'uncompressed', \
         \"write.metadata.metrics.default\" = 'counts', \"write.metadata.metrics.column.v\" = 'full')",
    )
    .await;
    lake.run("INSERT INTO t SELECT value, md5(CAST(value AS varchar)) FROM range(0, 100000)").await;
    let (table, files) = files(&lake, "t").await;
    assert!(files.len() >= 2, "{} files", files.len());
    for file in &files {
        let footer = footer(&table, file).await;
        assert!(footer.row_groups().iter().all(|group| group.num_rows() <= 30_000));
        assert_eq!(file.split_offsets().unwrap().len(), footer.num_row_groups());
        assert!(file.lower_bounds().contains_key(&1) && !file.lower_bounds().contains_key(&2));
        assert_eq!(file.value_counts()[&2], file.record_count());
    }
    let total: u64 = files.iter().map(DataFile::record_count).sum();
    assert_eq!(total, 100_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_fails_leaves_no_file() {
    let lake = Lake::new().await;
    lake.run("CREATE TABLE t (v int) WITH (\"write.target-file-size-bytes\" = 100000)").await;
    let sql = "INSERT INTO t SELECT CASE WHEN value = 199999 THEN 3000000000 ELSE value END FROM range(0, 200000)";
    lake.ask(sql).await.expect_err("the last row does not fit");
    let (table, _) = files(&lake, "t").await;
    let folder = format!("{}/data", table.metadata.location());
    for _ in 0..100 {
        if table.storage.list(&folder).await.unwrap().is_empty() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("files of a failed write are still there: {:?}", table.storage.list(&folder).await);
}
