//! What becomes of the files of changes whose process is gone.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use iceberg::TableIdent;
use iceberg::spec::{FormatVersion, NestedField, PrimitiveType, Schema, Type};

use super::note::place;
use super::record::{Phase, Record};
use super::sweep::sweep_log;
use super::{Change, ChangeLog, Creates, Note, Swept, sweep};
use crate::commit::file_at;
use crate::memory::MemoryPointers;
use crate::metadata_cache::MetadataCache;
use crate::pointer::PointerCatalog;
use crate::storage::Storage;
use crate::{Catalog, ChangeSet, CommitIdentity, CommitOptions, NewTable, Table, Target, commit, metadata_folder};

/// A catalog of tables in a local folder.
struct Lake {
    folder: tempfile::TempDir,
    cache: Arc<MetadataCache>,
    catalog: Arc<dyn Catalog>,
    log: Arc<ChangeLog>,
}

impl Lake {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let warehouse = folder.path().to_str().unwrap().to_owned();
        let storage = Storage::new(&HashMap::from([("warehouse".to_owned(), warehouse.clone())])).unwrap();
        let cache = MetadataCache::new(1 << 20);
        let pointers = MemoryPointers::default();
        let catalog: Arc<dyn Catalog> =
            Arc::new(PointerCatalog::new("lake", Some(warehouse), storage, Arc::clone(&cache), pointers));
        catalog.create_namespace(&ident("t").namespace, HashMap::new()).await.unwrap();
        let log = catalog.change_log().await.unwrap().unwrap();
        Self { folder, cache, catalog, log }
    }

    async fn sweep(&self) -> Swept {
        sweep(self.catalog.as_ref(), &self.cache).await.unwrap()
    }

    /// All files, by their names.
    fn files(&self) -> Vec<String> {
        let mut names = Vec::new();
        let mut folders = vec![self.folder.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap().flatten() {
                match entry.path().is_dir() {
                    true => folders.push(entry.path()),
                    false => names.push(entry.file_name().into_string().unwrap()),
                }
            }
        }
        names.sort();
        names
    }

    async fn write(&self, location: &str) {
        self.log.storage.write(location, Bytes::from_static(b"rows")).await.unwrap();
    }

    /// A note of a process that is gone.
    async fn note_of_a_dead_process(&self, change: Change, phase: Phase) {
        let stem = format!("{}/{}", self.log.folder, uuid::Uuid::new_v4());
        self.note_at(&stem, uuid::Uuid::new_v4(), change, phase).await;
    }

    async fn note_at(&self, stem: &str, log_id: uuid::Uuid, change: Change, phase: Phase) {
        let mut record = Record::new(&self.log.catalog, log_id, "q", change);
        record.process = super::process::Process::dead();
        record.phase = phase;
        self.log.storage.write(&place(stem, phase), record.encode().unwrap()).await.unwrap();
    }

    /// The notes that there are, by their names.
    fn notes(&self) -> Vec<String> {
        let folder = std::fs::read_dir(&self.log.folder).into_iter().flatten().flatten();
        folder.map(|entry| entry.file_name().into_string().unwrap()).collect()
    }

    /// The table becomes one that only others can read.
    fn alter(&self, table: &Table) {
        let metadata = std::fs::read_to_string(&table.metadata_location).unwrap();
        std::fs::write(&table.metadata_location, metadata.replace("\"long\"", "\"of-another\"")).unwrap();
        self.cache.clear();
    }

    async fn note(&self, change: Change) -> Note {
        self.log.note("q", change).await.unwrap().expect("a note")
    }

    async fn table(&self) -> Table {
        self.catalog.create_table(&ident("t"), new_table()).await.unwrap()
    }
}

fn ident(name: &str) -> TableIdent {
    TableIdent::from_strs(["s", name]).unwrap()
}

fn new_table() -> NewTable {
    let id = NestedField::optional(1, "id", Type::Primitive(PrimitiveType::Long));
    NewTable {
        schema: Schema::builder().with_fields([id.into()]).build().unwrap(),
        partition_spec: None,
        sort_order: None,
        location: None,
        properties: HashMap::new(),
        format_version: FormatVersion::V2,
    }
}

fn write_to(table: &Table, identity: CommitIdentity, creates: Creates) -> Change {
    Change::Write {
        table: table.ident.clone(),
        uuid: table.metadata.uuid(),
        folders: vec![metadata_folder(&table.metadata), format!("{}/data", table.metadata.location())],
        change_id: identity.change_id,
        snapshot_id: identity.snapshot_id,
        creates,
    }
}

fn data_file(table: &Table, identity: CommitIdentity) -> String {
    format!("{}/data/00000-0-{}.parquet", table.metadata.location(), identity.change_id)
}

async fn append(lake: &Lake, table: &Table, identity: CommitIdentity, target: Target) -> Table {
    let location = data_file(table, identity);
    lake.write(&location).await;
    let options = CommitOptions { identity: Some(identity), ..CommitOptions::default() };
    let changes = ChangeSet::append(vec![file_at(&location, 1)]).to(target);
    commit(lake.catalog.as_ref(), table, changes, &options).await.unwrap()
}

#[tokio::test]
async fn files_that_were_never_committed_are_deleted_and_no_others() {
    let lake = Lake::new().await;
    let table = append(&lake, &lake.table().await, CommitIdentity::random(), Target::Existing).await;
    let before = lake.files();
    for phase in [Phase::Writing, Phase::Committing] {
        let identity = CommitIdentity::random();
        lake.note_of_a_dead_process(write_to(&table, identity, Creates::Nothing), phase).await;
        lake.write(&data_file(&table, identity)).await;
        lake.write(&format!("{}/{}-m0.avro", metadata_folder(&table.metadata), identity.change_id)).await;
        std::fs::write(format!("{}#1", data_file(&table, identity)), b"half").unwrap();
        assert_eq!(lake.files().len(), before.len() + 4);
        assert_eq!(lake.sweep().await, Swept { finished: 1, waiting: 0 }, "{phase:?}");
        assert_eq!(lake.files(), before, "{phase:?}");
    }
}

#[tokio::test]
async fn what_was_committed_stays_also_under_another_name() {
    let lake = Lake::new().await;
    let table = lake.table().await;
    let identity = CommitIdentity::random();
    lake.note_of_a_dead_process(write_to(&table, identity, Creates::Nothing), Phase::Committing).await;
    append(&lake, &table, identity, Target::Existing).await;
    // A later commit of another, and a new name.
    let current = lake.catalog.load_table(&ident("t")).await.unwrap();
    append(&lake, &current, CommitIdentity::random(), Target::Existing).await;
    lake.catalog.rename_table(&ident("t"), &ident("renamed")).await.unwrap();
    let lists = format!("snap-{}-7-{}.avro", identity.snapshot_id, identity.change_id);
    let before = lake.files();
    lake.write(&format!("{}/{lists}", metadata_folder(&table.metadata))).await;
    assert_eq!(lake.sweep().await, Swept { finished: 1, waiting: 0 });
    let notes_gone: Vec<String> =
        before.into_iter().filter(|name| !name.ends_with(".json") || name.contains("metadata")).collect();
    assert_eq!(lake.files(), notes_gone, "only the list of a lost attempt is gone");
}

#[tokio::test]
async fn a_table_that_was_not_created_leaves_nothing_and_one_that_was_is_whole() {
    let lake = Lake::new().await;
    for is_created in [false, true] {
        let name = ident(if is_created { "made" } else { "unmade" });
        let staged = lake.catalog.stage_table(&name, &new_table()).await.unwrap().unwrap();
        let identity = CommitIdentity::random();
        lake.note_of_a_dead_process(write_to(&staged, identity, Creates::WithCommit), Phase::Committing).await;
        append(&lake, &staged, identity, Target::Staged).await;
        let whole = lake.files().len();
        if !is_created {
            // As if its name had never been added.
            lake.catalog.drop_table(&name, false).await.unwrap();
        }
        assert_eq!(lake.sweep().await, Swept { finished: 1, waiting: 0 });
        assert_eq!(lake.files().len(), if is_created { whole - 1 } else { 0 }, "{:?}", lake.files());
    }
}

#[tokio::test]
async fn a_table_that_was_created_to_be_filled_and_was_not_is_dropped() {
    let lake = Lake::new().await;
    let identity = CommitIdentity::random();
    let (property, value) = super::created_for(&identity);
    let new = NewTable { properties: HashMap::from([(property.to_owned(), value)]), ..new_table() };
    let created = lake.catalog.create_table(&ident("t"), new).await.unwrap();
    lake.write(&data_file(&created, identity)).await;
    let change = Change::Write {
        table: ident("t"),
        uuid: uuid::Uuid::nil(),
        folders: Vec::new(),
        change_id: identity.change_id,
        snapshot_id: identity.snapshot_id,
        creates: Creates::Before,
    };
    lake.note_of_a_dead_process(change, Phase::Writing).await;
    assert_eq!(lake.sweep().await, Swept { finished: 1, waiting: 0 });
    assert_eq!(lake.files(), Vec::<String>::new());
    assert!(lake.catalog.load_table(&ident("t")).await.is_err());
}

#[tokio::test]
async fn a_purge_that_was_begun_is_finished_and_one_that_was_not_is_forgotten() {
    let lake = Lake::new().await;
    let table = append(&lake, &lake.table().await, CommitIdentity::random(), Target::Existing).await;
    let purge = Change::Purge {
        table: table.ident.clone(),
        uuid: table.metadata.uuid(),
        metadata_location: table.metadata_location.clone(),
    };
    let before = lake.files();
    lake.note_of_a_dead_process(purge.clone(), Phase::Writing).await;
    assert_eq!(lake.sweep().await, Swept { finished: 1, waiting: 0 });
    assert_eq!(lake.files(), before, "the table is there");

    lake.note_of_a_dead_process(purge, Phase::Writing).await;
    lake.catalog.drop_table(&ident("t"), false).await.unwrap();
    assert_eq!(lake.sweep().await, Swept { finished: 1, waiting: 0 });
    assert_eq!(lake.files(), Vec::<String>::new());
}

#[tokio::test]
async fn the_work_of_those_who_live_is_left_alone() {
    let lake = Lake::new().await;
    let table = lake.table().await;
    let identity = CommitIdentity::random();
    lake.write(&data_file(&table, identity)).await;
    let mut ours = lake.note(write_to(&table, identity, Creates::Nothing)).await;
    // Another coordinator on this machine, and one on another.
    let mut record =
        Record::new(&lake.log.catalog, uuid::Uuid::new_v4(), "q", write_to(&table, identity, Creates::Nothing));
    for (number, process) in [record.process.clone(), super::process::Process::elsewhere()].into_iter().enumerate() {
        record.process = process;
        let location = format!("{}/{number}.json", lake.log.folder);
        lake.log.storage.write(&location, record.encode().unwrap()).await.unwrap();
    }
    // And the work of another catalog in the same warehouse, whose process is gone.
    (record.catalog, record.process) = ("another".to_owned(), super::process::Process::dead());
    lake.log.storage.write(&format!("{}/3.json", lake.log.folder), record.encode().unwrap()).await.unwrap();
    assert_eq!(lake.sweep().await, Swept { finished: 0, waiting: 3 });
    assert!(lake.files().iter().any(|name| name.contains(&identity.change_id.to_string())));
    ours.committing().await.unwrap();
    ours.remove().await;
    assert_eq!(lake.sweep().await, Swept { finished: 0, waiting: 2 });
}

#[tokio::test]
async fn a_note_that_its_own_process_let_go_of_is_looked_at() {
    let lake = Lake::new().await;
    let table = lake.table().await;
    let identity = CommitIdentity::random();
    let note = lake.note(write_to(&table, identity, Creates::Nothing)).await;
    lake.write(&data_file(&table, identity)).await;
    drop(note);
    assert_eq!(lake.sweep().await, Swept { finished: 1, waiting: 0 });
    assert!(!lake.files().iter().any(|name| name.contains(&identity.change_id.to_string())));
}

#[tokio::test]
async fn what_was_committed_stays_whatever_the_note_says() {
    for new_name in [None, Some("renamed")] {
        let lake = Lake::new().await;
        let table = lake.table().await;
        let identity = CommitIdentity::random();
        append(&lake, &table, identity, Target::Existing).await;
        if let Some(new_name) = new_name {
            lake.catalog.rename_table(&ident("t"), &ident(new_name)).await.unwrap();
        }
        let before = lake.files();
        // As if a request had brought it back that was late.
        lake.note_of_a_dead_process(write_to(&table, identity, Creates::Nothing), Phase::Writing).await;
        assert_eq!(lake.sweep().await, Swept { finished: 1, waiting: 0 }, "{new_name:?}");
        assert_eq!(lake.files(), before, "{new_name:?}");
    }
}

#[tokio::test]
async fn a_late_renewal_does_not_take_back_that_the_catalog_may_be_asked() {
    let lake = Lake::new().await;
    let table = lake.table().await;
    let identity = CommitIdentity::random();
    lake.write(&data_file(&table, identity)).await;
    let change = write_to(&table, identity, Creates::Nothing);
    let mut note = lake.note(change.clone()).await;
    note.committing().await.unwrap();
    note.write(None).await.unwrap();
    note.remove().await;
    assert_eq!(lake.notes(), Vec::<String>::new());

    // Killed while the catalog is asked, and then the first object is there again.
    let (stem, log_id) = (format!("{}/{}", lake.log.folder, uuid::Uuid::new_v4()), uuid::Uuid::new_v4());
    lake.note_at(&stem, log_id, change.clone(), Phase::Committing).await;
    lake.note_at(&stem, log_id, change, Phase::Writing).await;
    let slow = Some(lake.folder.path().to_str().unwrap());
    let slow = ChangeLog::of(lake.log.catalog.clone(), slow, &lake.log.storage, Duration::from_secs(60)).unwrap();
    let swept = sweep_log(lake.catalog.as_ref(), &lake.cache, &slow).await.unwrap();
    assert_eq!(swept, Swept { finished: 0, waiting: 2 });
    assert!(lake.files().iter().any(|name| name.contains(&identity.change_id.to_string())));
    // Once nothing can be under way any more, both go with the file.
    lake.sweep().await;
    lake.sweep().await;
    assert_eq!(lake.notes(), Vec::<String>::new());
    assert!(!lake.files().iter().any(|name| name.contains(&identity.change_id.to_string())));
}

#[tokio::test]
async fn a_note_that_comes_back_after_its_change_has_ended_is_only_removed() {
    let lake = Lake::new().await;
    let table = lake.table().await;
    let identity = CommitIdentity::random();
    let change = write_to(&table, identity, Creates::Nothing);
    lake.note(change.clone()).await.remove().await;
    append(&lake, &table, identity, Target::Existing).await;
    // Its files stay, for whoever registers it again.
    lake.catalog.drop_table(&ident("t"), false).await.unwrap();
    let before = lake.files();
    let stem = format!("{}/{}", lake.log.folder, uuid::Uuid::new_v4());
    lake.note_at(&stem, lake.log.id, change, Phase::Writing).await;
    assert_eq!(lake.sweep().await, Swept { finished: 0, waiting: 0 });
    assert_eq!(lake.files(), before);
}

#[tokio::test]
async fn a_note_that_lapsed_stays_so() {
    let lake = Lake::new().await;
    let table = lake.table().await;
    let change = write_to(&table, CommitIdentity::random(), Creates::Nothing);
    for has_announced in [false, true] {
        let mut note = lake.note(change.clone()).await;
        if has_announced {
            note.committing().await.unwrap();
        }
        note.check_held().await.unwrap();
        note.slept(Duration::from_secs(299)).await;
        note.check_held().await.unwrap();
        note.slept(Duration::from_secs(2)).await;
        // Whoever renews it now may come after those who have cleared up.
        note.write(None).await.unwrap_err();
        note.check_held().await.unwrap_err();
        note.committing().await.unwrap_err();
        note.remove().await;
        assert_eq!(lake.notes(), Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_table_that_cannot_be_read_is_not_taken_for_none() {
    let lake = Lake::new().await;
    let staged = lake.catalog.stage_table(&ident("t"), &new_table()).await.unwrap().unwrap();
    let identity = CommitIdentity::random();
    let created = append(&lake, &staged, identity, Target::Staged).await;
    let purge = Change::Purge {
        table: created.ident.clone(),
        uuid: created.metadata.uuid(),
        metadata_location: created.metadata_location.clone(),
    };
    // The next metadata file is of another engine, and the one that the note of the purge names can still be read.
    let altered = append(&lake, &created, CommitIdentity::random(), Target::Existing).await;
    lake.alter(&altered);
    let changes = [
        (write_to(&staged, identity, Creates::WithCommit), Phase::Committing),
        (write_to(&staged, identity, Creates::WithCommit), Phase::Writing),
        (write_to(&staged, identity, Creates::Nothing), Phase::Committing),
        (purge, Phase::Writing),
    ];
    for (change, phase) in changes {
        lake.note_of_a_dead_process(change, phase).await;
    }
    let before = lake.files();
    assert_eq!(lake.sweep().await, Swept { finished: 0, waiting: 4 });
    assert_eq!(lake.files(), before);
}
