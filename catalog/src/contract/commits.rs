//! Checks of commits.

use std::collections::HashMap;

use futures::future;
use iceberg::spec::{
    MAIN_BRANCH, NestedField, Operation, PrimitiveType, Schema, Snapshot, SnapshotReference, SnapshotRetention,
    Summary, Type,
};
use iceberg::{TableRequirement, TableUpdate};
use uuid::Uuid;

use super::{Context, OrFail, Outcome, ensure, expect_error};
use crate::{ChangeSet, CommitOptions, Error, Table, Target, commit};

pub(super) async fn properties_are_set_and_removed(context: &Context) -> Outcome {
    let table = context.table().await?;
    let changed = context.writer.commit_table(&table.ident, vec![], vec![set("a", "1"), set("b", "2")]).await;
    let changed = changed.or_fail("setting")?;
    ensure(changed.metadata.properties().get("a").is_some_and(|value| value == "1"), "the answer lacks a")?;
    let remove = TableUpdate::RemoveProperties { removals: vec!["a".to_owned()] };
    context.writer.commit_table(&table.ident, vec![uuid_of(&table)], vec![remove]).await.or_fail("removing")?;
    let loaded = context.load(&table.ident).await?;
    let properties = loaded.metadata.properties();
    ensure(
        !properties.contains_key("a") && properties.get("b").is_some_and(|value| value == "2"),
        format!("{properties:?}"),
    )
}

pub(super) async fn snapshots_are_added(context: &Context) -> Outcome {
    let table = context.table().await?;
    let first = context.writer.commit_table(&table.ident, main_is(&table), append(&table)).await.or_fail("adding")?;
    let second =
        context.writer.commit_table(&table.ident, main_is(&first), append(&first)).await.or_fail("adding more")?;
    let loaded = context.load(&table.ident).await?;
    ensure(loaded.metadata.snapshots().len() == 2, format!("{} snapshots", loaded.metadata.snapshots().len()))?;
    ensure(loaded.metadata.current_snapshot_id() == second.metadata.current_snapshot_id(), "another one is current")?;
    let parent = loaded.metadata.current_snapshot().and_then(|snapshot| snapshot.parent_snapshot_id());
    ensure(parent == first.metadata.current_snapshot_id(), "its parent is not the first")?;
    ensure(loaded.metadata.last_sequence_number() == 2, "the last sequence number is not 2")?;
    ensure(loaded.metadata.history().len() == 2, "the snapshot log has other entries")
}

pub(super) async fn content_and_columns_are_replaced_at_once(context: &Context) -> Outcome {
    let table = context.table().await?;
    let first = context.writer.commit_table(&table.ident, main_is(&table), append(&table)).await.or_fail("adding")?;
    let text = NestedField::optional(1, "text", Type::Primitive(PrimitiveType::String));
    let columns = Schema::builder().with_fields([text.into()]).build().or_fail("making a schema")?;
    let changes = ChangeSet::default().to(Target::Replaced(columns.into()));
    let replaced = commit(context.writer.as_ref(), &first, changes, &CommitOptions::default()).await;
    let replaced = replaced.or_fail("replacing")?;
    let loaded = context.load(&table.ident).await?;
    let (was, is) = (&first.metadata, &loaded.metadata);
    ensure(was.uuid() == is.uuid(), "it is another table")?;
    ensure(is.current_snapshot_id() == replaced.metadata.current_snapshot_id(), "another snapshot is current")?;
    let fields = is.current_schema().as_struct().fields();
    ensure(fields.len() == 1 && fields[0].name == "text", format!("its columns are {fields:?}"))?;
    ensure(fields[0].id > was.last_column_id(), format!("its column has the id {} of another", fields[0].id))?;
    ensure(
        was.current_snapshot_id().is_some_and(|old| is.snapshot_by_id(old).is_some()),
        "its older snapshot is gone",
    )?;
    let parent = is.current_snapshot().and_then(|snapshot| snapshot.parent_snapshot_id());
    ensure(parent.is_none(), "the new snapshot has a parent, of which it has nothing")
}

pub(super) async fn schemas_evolve(context: &Context) -> Outcome {
    let table = context.table().await?;
    let mut fields = table.metadata.current_schema().as_struct().fields().to_vec();
    let id = table.metadata.last_column_id() + 1;
    fields.push(
        NestedField::optional(id, "price", Type::Primitive(PrimitiveType::Decimal { precision: 12, scale: 2 })).into(),
    );
    let schema = Schema::builder().with_schema_id(1).with_fields(fields).build().or_fail("making a schema")?;
    let updates = vec![TableUpdate::AddSchema { schema }, TableUpdate::SetCurrentSchema { schema_id: -1 }];
    let current = TableRequirement::CurrentSchemaIdMatch { current_schema_id: table.metadata.current_schema_id() };
    context.writer.commit_table(&table.ident, vec![uuid_of(&table), current], updates).await.or_fail("evolving")?;
    let loaded = context.load(&table.ident).await?;
    ensure(loaded.metadata.current_schema().field_by_name("price").is_some(), "the new column is missing")?;
    ensure(loaded.metadata.schemas_iter().len() == 2, "the old schema is gone")?;
    ensure(loaded.metadata.last_column_id() == id, "the last column id is wrong")
}

pub(super) async fn each_writes_a_new_metadata_file_and_logs_the_old(context: &Context) -> Outcome {
    let table = context.table().await?;
    let changed = context.writer.commit_table(&table.ident, vec![], vec![set("a", "1")]).await.or_fail("setting")?;
    ensure(changed.metadata_location != table.metadata_location, "the metadata file was overwritten")?;
    let logged = changed.metadata.metadata_log().iter().any(|entry| entry.metadata_file == table.metadata_location);
    ensure(logged, "the old file is not in the log")?;
    let exists = table.storage.exists(&table.metadata_location).await.or_fail("looking for the old file")?;
    ensure(exists, "the old file is gone")?;
    let loaded = context.load(&table.ident).await?;
    ensure(loaded.metadata_location == changed.metadata_location, "another file is current")
}

pub(super) async fn stale_ones_conflict_and_change_nothing(context: &Context) -> Outcome {
    let table = context.table().await?;
    let first = context.writer.commit_table(&table.ident, main_is(&table), append(&table)).await.or_fail("adding")?;
    let stale = context.writer.commit_table(&table.ident, main_is(&table), append(&table)).await;
    expect_error("committing to the old state", stale, |error| matches!(error, Error::CommitConflict { .. }))?;
    let loaded = context.load(&table.ident).await?;
    ensure(loaded.metadata_location == first.metadata_location, "it was changed")
}

pub(super) async fn another_tables_uuid_conflicts(context: &Context) -> Outcome {
    let table = context.table().await?;
    let other = TableRequirement::UuidMatch { uuid: Uuid::new_v4() };
    let refused = context.writer.commit_table(&table.ident, vec![other], vec![set("a", "1")]).await;
    expect_error("committing", refused, |error| matches!(error, Error::CommitConflict { .. }))?;
    let loaded = context.load(&table.ident).await?;
    ensure(!loaded.metadata.properties().contains_key("a"), "it was changed")
}

pub(super) async fn of_concurrent_ones_exactly_one_wins(context: &Context) -> Outcome {
    let table = context.table().await?;
    let commits = (0..8).map(|n| {
        let catalog = if n % 2 == 0 { &context.writer } else { &context.reader };
        catalog.commit_table(&table.ident, main_is(&table), append(&table))
    });
    let mut winners = Vec::new();
    for result in future::join_all(commits).await {
        match result {
            Ok(table) => winners.push(table),
            Err(Error::CommitConflict { .. }) => {}
            Err(error) => return Err(format!("one failed with another error: {error:?}")),
        }
    }
    ensure(winners.len() == 1, format!("{} won", winners.len()))?;
    let loaded = context.load(&table.ident).await?;
    ensure(loaded.metadata.snapshots().len() == 1, "there are more snapshots than winners")?;
    ensure(loaded.metadata.current_snapshot_id() == winners[0].metadata.current_snapshot_id(), "a loser's is current")
}

pub(super) async fn impossible_updates_are_refused_and_change_nothing(context: &Context) -> Outcome {
    let table = context.table().await?;
    let nowhere = TableUpdate::SetCurrentSchema { schema_id: 77 };
    let refused = context.writer.commit_table(&table.ident, vec![], vec![set("a", "1"), nowhere]).await;
    // A service may call it a bad request or fail; it must not do half of it.
    expect_error("setting a missing schema", refused, |_| true)?;
    let loaded = context.load(&table.ident).await?;
    ensure(!loaded.metadata.properties().contains_key("a"), "half of it was done")
}

pub(super) async fn a_loaded_table_never_changes(context: &Context) -> Outcome {
    let table = context.table().await?;
    let loaded = context.load(&table.ident).await?;
    context.writer.commit_table(&table.ident, vec![], vec![set("a", "1")]).await.or_fail("setting")?;
    ensure(!loaded.metadata.properties().contains_key("a"), "it changed under its reader")?;
    loaded.storage.read(&loaded.metadata_location).await.or_fail("reading its metadata file").map(drop)
}

pub(super) async fn the_new_table_can_reach_its_files(context: &Context) -> Outcome {
    let table = context.table().await?;
    let changed = context.writer.commit_table(&table.ident, vec![], vec![set("a", "1")]).await.or_fail("setting")?;
    changed.storage.read(&changed.metadata_location).await.or_fail("reading its metadata file")?;
    let file = format!("{}/data/probe", changed.metadata.location());
    changed.storage.write(&file, "probe".into()).await.or_fail("writing below its location")?;
    changed.storage.delete(&file).await.or_fail("deleting there")
}

pub(super) async fn metadata_may_be_compressed(context: &Context) -> Outcome {
    let table = context.table().await?;
    let gzip = set("write.metadata.compression-codec", "gzip");
    let changed = context.writer.commit_table(&table.ident, vec![], vec![gzip]).await.or_fail("asking for gzip")?;
    let bytes = changed.storage.read(&changed.metadata_location).await.or_fail("reading its metadata file")?;
    let compressed = bytes.starts_with(&[0x1f, 0x8b]);
    ensure(compressed == context.can.compressed_metadata, format!("compressed: {compressed}"))?;
    let named = changed.metadata_location.ends_with(".gz.metadata.json");
    ensure(named == compressed, format!("it is called {}", changed.metadata_location))?;
    context.writer.commit_table(&table.ident, vec![], vec![set("a", "1")]).await.or_fail("committing on it")?;
    let loaded = context.load(&table.ident).await?;
    ensure(loaded.metadata.properties().contains_key("a"), "the next commit is lost")
}

fn set(key: &str, value: &str) -> TableUpdate {
    TableUpdate::SetProperties { updates: HashMap::from([(key.to_owned(), value.to_owned())]) }
}

fn uuid_of(table: &Table) -> TableRequirement {
    TableRequirement::UuidMatch { uuid: table.metadata.uuid() }
}

/// The requirements of a commit that adds to this state of the main branch.
fn main_is(table: &Table) -> Vec<TableRequirement> {
    let snapshot_id = table.metadata.current_snapshot_id();
    vec![uuid_of(table), TableRequirement::RefSnapshotIdMatch { r#ref: MAIN_BRANCH.to_owned(), snapshot_id }]
}

/// A snapshot without files on top of the main branch. Its manifest list is never read.
pub(super) fn append(table: &Table) -> Vec<TableUpdate> {
    let id = i64::from_be_bytes(Uuid::new_v4().as_u64_pair().0.to_be_bytes()) & i64::MAX;
    let summary = Summary { operation: Operation::Append, additional_properties: HashMap::new() };
    let snapshot = Snapshot::builder()
        .with_snapshot_id(id)
        .with_parent_snapshot_id(table.metadata.current_snapshot_id())
        .with_sequence_number(table.metadata.next_sequence_number())
        .with_timestamp_ms(table.metadata.last_updated_ms().max(chrono::Utc::now().timestamp_millis()))
        .with_manifest_list(format!("{}/metadata/snap-{id}.avro", table.metadata.location()))
        .with_summary(summary)
        .with_schema_id(table.metadata.current_schema_id())
        .build();
    let retention =
        SnapshotRetention::Branch { min_snapshots_to_keep: None, max_snapshot_age_ms: None, max_ref_age_ms: None };
    let reference = SnapshotReference::new(id, retention);
    vec![
        TableUpdate::AddSnapshot { snapshot },
        TableUpdate::SetSnapshotRef { ref_name: MAIN_BRANCH.to_owned(), reference },
    ]
}
