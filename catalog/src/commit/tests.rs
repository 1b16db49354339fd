//! The commit protocol against catalogs and stores that fail on purpose: conflicts, unknown outcomes, cleaning up.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use iceberg::TableUpdate;
use iceberg::spec::{
    DataContentType, DataFile, DataFileBuilder, DataFileFormat, FormatVersion, Literal, Manifest, ManifestFile,
    SnapshotReference, SnapshotRetention, Struct,
};

use super::faulty_catalog::{Fault, FaultyCatalog, file};
use super::*;
use crate::metadata_cache::{Room, read_manifest_list};
use crate::{Error, Result, Table, read_manifest};

async fn append(catalog: &FaultyCatalog, files: Vec<DataFile>) -> Result<Table> {
    commit(catalog, &catalog.table(), ChangeSet::append(files), &CommitOptions::default()).await
}

/// The manifests of the current snapshot, each with its entries.
async fn contents(table: &Table) -> Vec<(ManifestFile, Manifest)> {
    let snapshot = table.metadata.current_snapshot().expect("a snapshot");
    let list = read_manifest_list(&table.storage, &table.metadata, snapshot, &Room::default()).await.expect("a list");
    let mut contents = Vec::new();
    for file in list.entries() {
        contents.push((file.clone(), read_manifest(&table.storage, file).await.expect("a manifest")));
    }
    contents
}

/// Each live file: its name, data sequence number, and snapshot id.
async fn live_files(table: &Table) -> BTreeMap<String, (i64, i64)> {
    let mut files = BTreeMap::new();
    for (_, manifest) in contents(table).await {
        for entry in manifest.entries().iter().filter(|entry| entry.is_alive()) {
            let name = entry.file_path().rsplit('/').next().expect("a name").trim_end_matches(".parquet").to_string();
            let state = (entry.sequence_number.expect("a number"), entry.snapshot_id.expect("an id"));
            assert!(files.insert(name, state).is_none(), "{} is listed twice", entry.file_path());
        }
    }
    files
}

async fn metadata_files(table: &Table) -> HashSet<String> {
    table.storage.list("memory://w/t/metadata").await.expect("a list").into_iter().collect()
}

fn summary<'a>(table: &'a Table, name: &str) -> Option<&'a str> {
    let snapshot = table.metadata.current_snapshot().expect("a snapshot");
    snapshot.summary().additional_properties.get(name).map(String::as_str)
}

#[tokio::test]
async fn appends_add_up_in_every_format_version() {
    for version in [FormatVersion::V1, FormatVersion::V2, FormatVersion::V3] {
        let catalog = FaultyCatalog::new(version, &[], false);
        append(&catalog, vec![file("a", 10, None), file("b", 20, None)]).await.expect("committed");
        let table = append(&catalog, vec![file("c", 5, None)]).await.expect("committed");

        let sequence_numbers: Vec<i64> = live_files(&table).await.values().map(|(number, _)| *number).collect();
        let expected = if version == FormatVersion::V1 { vec![0, 0, 0] } else { vec![1, 1, 2] };
        assert_eq!(sequence_numbers, expected, "{version:?}");
        for (name, value) in [
            ("added-data-files", "1"),
            ("added-records", "5"),
            ("added-files-size", "50"),
            ("total-data-files", "3"),
            ("total-records", "35"),
            ("total-files-size", "350"),
            ("total-delete-files", "0"),
            ("changed-partition-count", "1"),
            ("engine-name", "polynya"),
        ] {
            assert_eq!(summary(&table, name), Some(value), "{version:?} {name}");
        }
        let snapshot = table.metadata.current_snapshot().expect("a snapshot");
        assert_eq!(snapshot.parent_snapshot_id(), table.metadata.history().first().map(|log| log.snapshot_id));
        assert_eq!(snapshot.schema_id(), Some(table.metadata.current_schema_id()));
        if version == FormatVersion::V3 {
            assert_eq!(snapshot.row_range(), Some((30, 5)));
            assert_eq!(table.metadata.next_row_id(), 35);
            let ids: Vec<_> = contents(&table).await.iter().map(|(file, _)| file.first_row_id).collect();
            assert_eq!(ids, [Some(30), Some(0)]);
        }
    }
}

#[tokio::test]
async fn lost_attempts_are_made_again_on_the_winners_snapshot() {
    for version in [FormatVersion::V1, FormatVersion::V2, FormatVersion::V3] {
        let catalog = FaultyCatalog::new(version, &[], false).with(&[Fault::OtherWriterFirst; 3]);
        let table = append(&catalog, vec![file("mine", 10, None)]).await.expect("committed");
        assert_eq!(live_files(&table).await.len(), 4, "{version:?}");
        assert_eq!(summary(&table, "total-records"), Some("25"));
        if version != FormatVersion::V1 {
            assert_eq!(live_files(&table).await["mine"].0, 4, "the winners' sequence numbers come first");
        }
        if version == FormatVersion::V3 {
            let ids: HashSet<_> = contents(&table).await.iter().map(|(file, _)| file.first_row_id).collect();
            assert_eq!(ids, HashSet::from([Some(0), Some(5), Some(10), Some(15)]));
        }
        // Four manifests and four lists: the lists of our three lost attempts are gone.
        assert_eq!(metadata_files(&table).await.len(), 8, "{version:?}");
    }
}

#[tokio::test]
async fn a_commit_whose_answer_was_lost_is_found() {
    for fault in [Fault::AnswerLost, Fault::ConflictsWithItself] {
        let catalog = FaultyCatalog::new(FormatVersion::V2, &[], false).with(&[Fault::OtherWriterFirst, fault]);
        let table = append(&catalog, vec![file("mine", 10, None)]).await.expect("committed");
        assert_eq!(live_files(&table).await.len(), 2, "{fault:?}");
        assert_eq!(*catalog.commits.lock(), 2, "{fault:?}: committed once");
        assert_eq!(metadata_files(&table).await.len(), 4, "{fault:?}");
    }
}

#[tokio::test]
async fn an_outcome_that_stays_unknown_deletes_nothing() {
    for fault in [Fault::RequestLost, Fault::Gone, Fault::ConflictsAndGone] {
        let catalog = FaultyCatalog::new(FormatVersion::V2, &[], false).with(&[fault]);
        let table = catalog.table();
        let mine = file("mine", 10, None);
        table.storage.write(mine.file_path(), Bytes::from_static(b"rows")).await.expect("written");
        let options = CommitOptions { cleanup_data_files: true, ..CommitOptions::default() };
        let error =
            commit(&catalog, &table, ChangeSet::append(vec![mine.clone()]), &options).await.expect_err("unknown");
        assert!(matches!(error, Error::CommitUnknown { .. }), "{fault:?}: {error}");
        assert_eq!(metadata_files(&table).await.len(), 2, "{fault:?}");
        assert!(table.storage.exists(mine.file_path()).await.expect("an answer"), "{fault:?}");
    }
}

#[tokio::test]
async fn a_commit_that_certainly_failed_leaves_no_files() {
    for cleanup_data_files in [false, true] {
        let catalog =
            FaultyCatalog::new(FormatVersion::V2, &[], false).with(&[Fault::OtherWriterFirst, Fault::Refused]);
        let table = catalog.table();
        let mine = file("mine", 10, None);
        table.storage.write(mine.file_path(), Bytes::from_static(b"rows")).await.expect("written");
        let options = CommitOptions { cleanup_data_files, ..CommitOptions::default() };
        let error =
            commit(&catalog, &table, ChangeSet::append(vec![mine.clone()]), &options).await.expect_err("refused");
        assert!(matches!(error, Error::AccessDenied { .. }), "{error}");
        assert_eq!(metadata_files(&table).await.len(), 2, "only the other writer's");
        assert_eq!(table.storage.exists(mine.file_path()).await.expect("an answer"), !cleanup_data_files);
    }
}

#[tokio::test]
async fn retries_end_where_the_table_says() {
    let catalog = FaultyCatalog::new(FormatVersion::V2, &[("commit.retry.num-retries", "2")], false)
        .with(&[Fault::OtherWriterFirst; 9]);
    let error = append(&catalog, vec![file("mine", 10, None)]).await.expect_err("lost");
    assert!(matches!(error, Error::CommitConflict { .. }), "{error}");
    assert_eq!(catalog.faults.lock().len(), 6, "one attempt and two retries");
    assert_eq!(metadata_files(&catalog.table()).await.len(), 6, "only the other writers'");

    let catalog = FaultyCatalog::new(FormatVersion::V2, &[("commit.retry.num-retries", "many")], false);
    let error = append(&catalog, vec![file("mine", 10, None)]).await.expect_err("not a number");
    assert!(error.to_string().contains("commit.retry.num-retries"), "{error}");
    assert_eq!(metadata_files(&catalog.table()).await.len(), 0);
}

#[tokio::test]
async fn small_manifests_are_merged_and_nothing_about_their_files_changes() {
    for version in [FormatVersion::V1, FormatVersion::V2, FormatVersion::V3] {
        let catalog = FaultyCatalog::new(version, &[("commit.manifest-merge.min-count", "5")], false);
        let mut rows_at = 0;
        let mut before = BTreeMap::new();
        for number in 0..5 {
            let table =
                append(&catalog, vec![file(&format!("f{number}"), 10 + number, None)]).await.expect("committed");
            before = live_files(&table).await;
            rows_at += 10 + number;
        }
        assert_eq!(contents(&catalog.table()).await.len(), 5);
        catalog.faults.lock().extend([Fault::OtherWriterFirst; 2]);
        let table = append(&catalog, vec![file("last", 100, None)]).await.expect("committed");

        let manifests = contents(&table).await;
        // The other writers merged: the first of them five into one.
        assert!(manifests.len() <= 4, "{version:?}: {}", manifests.len());
        let after = live_files(&table).await;
        assert_eq!(after.len(), 8, "{version:?}");
        for (name, state) in &before {
            assert_eq!(after.get(name), Some(state), "{version:?} {name}");
        }
        if version == FormatVersion::V3 {
            let mut ids = HashSet::new();
            for (manifest_file, manifest) in &manifests {
                let mut next = manifest_file.first_row_id.expect("assigned") as i64;
                for entry in manifest.entries() {
                    let first = entry.data_file.first_row_id().unwrap_or_else(|| {
                        let first = next;
                        next += entry.record_count() as i64;
                        first
                    });
                    for id in first..first + entry.record_count() as i64 {
                        assert!(ids.insert(id), "row id {id} is given twice");
                    }
                    if entry.file_path().contains("/f0.") {
                        assert_eq!(first, 0);
                    }
                    if entry.file_path().contains("/f1.") {
                        assert_eq!(first, 10);
                    }
                }
            }
            assert!(table.metadata.next_row_id() >= rows_at + 100);
        }
    }
}

#[tokio::test]
async fn merging_serves_retries_and_can_be_turned_off() {
    let catalog = FaultyCatalog::new(FormatVersion::V2, &[("commit.manifest-merge.enabled", "false")], false);
    for number in 0..120 {
        append(&catalog, vec![file(&format!("f{number}"), 1, None)]).await.expect("committed");
    }
    assert_eq!(contents(&catalog.table()).await.len(), 120);

    let catalog = FaultyCatalog::new(FormatVersion::V2, &[], false);
    for number in 0..250 {
        append(&catalog, vec![file(&format!("f{number}"), 1, None)]).await.expect("committed");
    }
    let table = catalog.table();
    assert_eq!(live_files(&table).await.len(), 250);
    assert_eq!(summary(&table, "total-data-files"), Some("250"));
    assert!(contents(&table).await.len() <= 102, "{}", contents(&table).await.len());
}

#[tokio::test]
async fn many_files_make_several_manifests() {
    let catalog = FaultyCatalog::new(FormatVersion::V2, &[("commit.manifest.target-size-bytes", "10000")], true);
    let files = (0..2000).map(|number| file(&format!("f{number}"), 1, Some(number % 7))).collect();
    let table = append(&catalog, files).await.expect("committed");
    let manifests = contents(&table).await;
    assert!((4..40).contains(&manifests.len()), "{}", manifests.len());
    for (file, _) in &manifests {
        assert!(file.manifest_length < 20_000, "{}", file.manifest_length);
        assert_eq!(file.partitions.as_ref().map(Vec::len), Some(1));
    }
    assert_eq!(live_files(&table).await.len(), 2000);
    assert_eq!(summary(&table, "changed-partition-count"), Some("7"));
}

#[tokio::test]
async fn two_writers_at_once_lose_nothing() {
    let catalog = Arc::new(FaultyCatalog::new(FormatVersion::V2, &[("commit.retry.num-retries", "1000")], false));
    let writers = (0..4).map(|writer| {
        let catalog = Arc::clone(&catalog);
        async move {
            for number in 0..25 {
                let files = vec![file(&format!("{writer}-{number}"), 1, None)];
                append(&catalog, files).await.expect("committed");
                tokio::task::yield_now().await;
            }
        }
    });
    futures::future::join_all(writers).await;
    let table = catalog.table();
    assert_eq!(live_files(&table).await.len(), 100);
    assert_eq!(table.metadata.snapshots().len(), 100);
    assert_eq!(summary(&table, "total-records"), Some("100"));
}

#[tokio::test]
async fn files_that_do_not_fit_the_table_are_refused_before_anything_is_written() {
    let catalog = FaultyCatalog::new(FormatVersion::V2, &[], true);
    let twice = vec![file("a", 1, Some(1)), file("a", 1, Some(1))];
    let wrong_type = DataFileBuilder::default()
        .content(DataContentType::Data)
        .file_path("memory://w/t/data/x.parquet".to_string())
        .file_format(DataFileFormat::Parquet)
        .partition(Struct::from_iter([Some(Literal::string("monday"))]))
        .record_count(1)
        .file_size_in_bytes(1)
        .build()
        .expect("a file");
    for files in [twice, vec![file("a", 1, None)], vec![wrong_type]] {
        let error = append(&catalog, files).await.expect_err("refused");
        assert!(matches!(error, Error::Invalid { .. }), "{error}");
    }
    let table = catalog.table();
    let mut delete = ChangeSet::append(vec![file("a", 1, Some(1))]);
    delete.removed_files.push("memory://w/t/data/b.parquet".to_string());
    let overwrite = ChangeSet { operation: iceberg::spec::Operation::Overwrite, ..ChangeSet::append(vec![]) };
    for changes in [delete, overwrite] {
        let error = commit(&catalog, &table, changes, &CommitOptions::default()).await.expect_err("not supported");
        assert!(matches!(error, Error::Unsupported { .. }), "{error}");
    }
    let table = append(&catalog, vec![]).await.expect("nothing to do");
    assert!(table.metadata.current_snapshot().is_none());
    assert_eq!(metadata_files(&table).await.len(), 0);
}

#[tokio::test]
async fn what_other_writers_change_about_the_table_is_seen() {
    // A table of the same name that is another table.
    let catalog = FaultyCatalog::new(FormatVersion::V2, &[], false);
    let stale = FaultyCatalog::new(FormatVersion::V2, &[], false).table();
    let stale = Table { storage: Arc::clone(&catalog.table().storage), ..stale };
    let changes = ChangeSet::append(vec![file("a", 1, None)]);
    let error = commit(&catalog, &stale, changes, &CommitOptions::default()).await.expect_err("another table");
    assert!(matches!(&error, Error::CommitConflict { message, .. } if message.contains("dropped")), "{error}");
    assert_eq!(metadata_files(&stale).await.len(), 0);

    // How long the branch keeps snapshots is not forgotten by the next append.
    let catalog = FaultyCatalog::new(FormatVersion::V2, &[], false);
    let table = append(&catalog, vec![file("a", 1, None)]).await.expect("committed");
    let snapshot_id = table.metadata.current_snapshot_id().expect("a snapshot");
    let retention = SnapshotRetention::branch(Some(7), Some(1000), None);
    let reference = SnapshotReference::new(snapshot_id, retention.clone());
    let update = TableUpdate::SetSnapshotRef { ref_name: "main".to_string(), reference };
    catalog.apply(&[], vec![update]).expect("set");
    let table = append(&catalog, vec![file("b", 1, None)]).await.expect("committed");
    let json = serde_json::to_value(table.metadata.as_ref()).expect("json");
    assert_eq!(json["refs"]["main"]["min-snapshots-to-keep"], 7);
}

#[tokio::test]
async fn timestamps_never_go_back() {
    let catalog = FaultyCatalog::new(FormatVersion::V2, &[], false);
    for number in 0..5 {
        append(&catalog, vec![file(&format!("f{number}"), 1, None)]).await.expect("committed");
    }
    let table = catalog.table();
    let times: Vec<i64> = table.metadata.history().iter().map(|log| log.timestamp_ms).collect();
    assert!(times.is_sorted(), "{times:?}");
}

/// Lets so many commits begin, and knows how many were lost.
#[derive(Debug, Default)]
struct Gate {
    begins: parking_lot::Mutex<u32>,
    lost: parking_lot::Mutex<u32>,
}

#[async_trait::async_trait]
impl CommitGate for Gate {
    async fn begin(&self) -> Result<()> {
        let mut left = self.begins.lock();
        *left = left.checked_sub(1).ok_or(Error::GivenUp)?;
        Ok(())
    }

    fn lost(&self) {
        *self.lost.lock() += 1;
    }
}

#[tokio::test]
async fn a_commit_that_is_given_up_leaves_nothing() {
    for (faults, begins, lost) in [(vec![], 0, 0), (vec![Fault::OtherWriterFirst], 1, 1)] {
        let catalog = FaultyCatalog::new(FormatVersion::V2, &[], false).with(&faults);
        let gate = Arc::new(Gate { begins: parking_lot::Mutex::new(begins), ..Gate::default() });
        let options = CommitOptions { gate: Some(Arc::clone(&gate) as _), ..CommitOptions::default() };
        let ours = ChangeSet::append(vec![file("ours", 1, None)]);
        let error = commit(&catalog, &catalog.table(), ours, &options).await.expect_err("given up");
        assert!(matches!(error, Error::GivenUp), "{error}");
        assert_eq!(*gate.lost.lock(), lost);
        let others = metadata_files(&catalog.table()).await.len();
        assert_eq!(others, if faults.is_empty() { 0 } else { 2 }, "only the other writer's manifest and list");
    }
}

#[tokio::test]
async fn a_replacement_replaces_what_another_writer_adds_meanwhile() {
    for version in [FormatVersion::V1, FormatVersion::V2, FormatVersion::V3] {
        let catalog = FaultyCatalog::new(version, &[], false);
        let first = append(&catalog, vec![file("old", 10, None)]).await.expect("committed");
        let columns = first.metadata.current_schema().as_struct().fields()[..1].to_vec();
        let columns = iceberg::spec::Schema::builder().with_fields(columns).build().expect("a schema");
        let base = with_columns(&first, &columns).expect("a table");
        let catalog = FaultyCatalog { faults: parking_lot::Mutex::new([Fault::OtherWriterFirst].into()), ..catalog };
        let changes = ChangeSet::append(vec![file("new", 3, None)]).to(Target::Replaced(Arc::new(columns)));
        let table = commit(&catalog, &first, changes, &CommitOptions::default()).await.expect("committed");
        assert_eq!(live_files(&table).await.keys().collect::<Vec<_>>(), ["new"], "{version:?}");
        assert_eq!(table.metadata.current_schema(), base.metadata.current_schema());
        assert_eq!(summary(&table, "total-records"), Some("3"));
        assert_eq!(table.metadata.snapshots().len(), 3, "older ones stay");
        assert_eq!(table.metadata.current_snapshot().and_then(|snapshot| snapshot.parent_snapshot_id()), None);
    }
}
