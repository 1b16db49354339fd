//! Checks of tables' names and lives.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, future, stream};
use iceberg::spec::{FormatVersion, NullOrder, SortDirection, SortField, SortOrder, Transform, UnboundPartitionSpec};
use iceberg::{TableIdent, TableRequirement};

use super::commits::append;
use super::{Context, OrFail, Outcome, ensure, expect_error, fresh_namespace, two_columns};
use crate::Error;

/// More than the pages of most services.
const MANY: usize = 105;

pub(super) async fn created_ones_are_listed_and_loaded(context: &Context) -> Outcome {
    let created = context.table().await?;
    let tables = context.reader.list_tables(&created.ident.namespace).await.or_fail("listing")?;
    ensure(tables == [created.ident.clone()], format!("listed are {tables:?}"))?;
    let loaded = context.load(&created.ident).await?;
    ensure(loaded.metadata.uuid() == created.metadata.uuid(), "another table was loaded")?;
    ensure(loaded.metadata_location == created.metadata_location, "another metadata file was loaded")?;
    ensure(loaded.catalog == context.reader.name(), "it names another catalog")?;
    let fields = loaded.metadata.current_schema().as_struct().fields();
    let columns: Vec<_> = fields.iter().map(|field| (field.name.as_str(), field.required)).collect();
    ensure(columns == [("id", true), ("note", false)], format!("its columns are {columns:?}"))?;
    ensure(loaded.metadata.format_version() == FormatVersion::V2, "it is not of version 2")?;
    ensure(loaded.metadata.properties().get("owner").is_some_and(|owner| owner == "contract"), "its property is lost")?;
    ensure(loaded.metadata.current_snapshot().is_none(), "a new table has a snapshot")?;
    ensure(
        !loaded.metadata.location().is_empty() && !loaded.metadata.location().ends_with('/'),
        "its location is odd",
    )?;
    let file = loaded.storage.read(&loaded.metadata_location).await.or_fail("reading its metadata file")?;
    ensure(!file.is_empty(), "its metadata file is empty")
}

pub(super) async fn creating_one_twice_fails(context: &Context) -> Outcome {
    let table = context.table().await?;
    let again = context.writer.create_table(&table.ident, two_columns()).await;
    expect_error("creating it again", again, |error| matches!(error, Error::TableExists { .. }))?;
    let loaded = context.load(&table.ident).await?;
    ensure(loaded.metadata.uuid() == table.metadata.uuid(), "it was replaced")
}

pub(super) async fn creating_one_in_a_missing_namespace_fails(context: &Context) -> Outcome {
    let ident = TableIdent::new(fresh_namespace(), "orders".to_owned());
    let created = context.writer.create_table(&ident, two_columns()).await;
    expect_error("creating it", created, |error| matches!(error, Error::NamespaceNotFound { .. }))
}

pub(super) async fn of_concurrent_creations_exactly_one_wins(context: &Context) -> Outcome {
    let ident = TableIdent::new(context.namespace().await?, "orders".to_owned());
    let results = future::join_all((0..6).map(|_| context.writer.create_table(&ident, two_columns()))).await;
    let mut winners = Vec::new();
    for result in results {
        match result {
            Ok(table) => winners.push(table),
            Err(Error::TableExists { .. }) => {}
            Err(error) => return Err(format!("one failed with another error: {error:?}")),
        }
    }
    if context.can.exclusive_creation {
        ensure(winners.len() == 1, format!("{} won", winners.len()))?;
    }
    let loaded = context.load(&ident).await?;
    let (last, replaced): (Vec<_>, Vec<_>) =
        winners.iter().partition(|winner| winner.metadata.uuid() == loaded.metadata.uuid());
    ensure(!last.is_empty(), "another one is there")?;
    // Where several are told that they won, those that were replaced must at least not be able to commit.
    for table in replaced {
        let uuid = TableRequirement::UuidMatch { uuid: table.metadata.uuid() };
        let committed = context.writer.commit_table(&ident, vec![uuid], vec![]).await;
        expect_error("committing to a replaced table", committed, |error| {
            matches!(error, Error::CommitConflict { .. })
        })?;
    }
    Ok(())
}

pub(super) async fn partitions_and_order_are_kept(context: &Context) -> Outcome {
    let ident = TableIdent::new(context.namespace().await?, "orders".to_owned());
    let mut new = two_columns();
    let spec = UnboundPartitionSpec::builder()
        .add_partition_field(1, "id_bucket", Transform::Bucket(16))
        .and_then(|spec| spec.add_partition_field(2, "note_truncate", Transform::Truncate(4)));
    new.partition_spec = Some(spec.or_fail("making a spec")?.build());
    let field = SortField {
        source_id: 1,
        transform: Transform::Identity,
        direction: SortDirection::Descending,
        null_order: NullOrder::Last,
    };
    let order = SortOrder::builder().with_order_id(1).with_fields(vec![field]).build(&new.schema);
    new.sort_order = Some(order.or_fail("making an order")?);
    context.writer.create_table(&ident, new).await.or_fail("creating it")?;
    let loaded = context.load(&ident).await?;
    let spec = loaded.metadata.default_partition_spec();
    let fields: Vec<_> = spec.fields().iter().map(|field| (field.name.as_str(), field.transform)).collect();
    let wanted = [("id_bucket", Transform::Bucket(16)), ("note_truncate", Transform::Truncate(4))];
    ensure(fields == wanted, format!("its partition fields are {fields:?}"))?;
    let order = loaded.metadata.default_sort_order();
    ensure(order.fields.len() == 1 && order.fields[0].direction == SortDirection::Descending, "its order is lost")
}

pub(super) async fn format_versions_are_honoured(context: &Context) -> Outcome {
    let namespace = context.namespace().await?;
    for version in [FormatVersion::V1, FormatVersion::V2, FormatVersion::V3] {
        let ident = TableIdent::new(namespace.clone(), format!("orders_{version}"));
        let mut new = two_columns();
        new.format_version = version;
        context.writer.create_table(&ident, new).await.or_fail(&format!("creating one of version {version}"))?;
        let found = context.load(&ident).await?.metadata.format_version();
        ensure(found == version, format!("asked for {version}, found {found}"))?;
    }
    Ok(())
}

pub(super) async fn names_may_be_in_any_script(context: &Context) -> Outcome {
    let namespace = context.namespace().await?;
    let names = ["größe", "表", "with space", "50%", "a'b\"c", "UPPER", "upper", "a/b?c=d&e#f", "_", "a+b"];
    for name in names {
        let ident = TableIdent::new(namespace.clone(), name.to_owned());
        let created = context.writer.create_table(&ident, two_columns()).await;
        if !context.can.any_names {
            let plain = name.chars().all(|c| c.is_ascii_lowercase() || c == '_');
            if !plain {
                expect_error(&format!("creating {name}"), created, |error| matches!(error, Error::Invalid { .. }))?;
            }
            continue;
        }
        let created = created.or_fail(&format!("creating {name}"))?;
        let loaded = context.load(&ident).await?;
        ensure(loaded.metadata.uuid() == created.metadata.uuid(), format!("{name} is another table"))?;
        loaded
            .storage
            .read(&loaded.metadata_location)
            .await
            .or_fail(&format!("reading the metadata file of {name}"))?;
    }
    if context.can.any_names {
        let tables = context.reader.list_tables(&namespace).await.or_fail("listing")?;
        let mut wanted: Vec<_> = names.map(|name| TableIdent::new(namespace.clone(), name.to_owned())).to_vec();
        wanted.sort();
        ensure(tables == wanted, format!("listed are {tables:?}"))?;
    }
    Ok(())
}

pub(super) async fn equal_names_in_two_namespaces_are_two_tables(context: &Context) -> Outcome {
    let (one, two) = (context.table().await?, context.table().await?);
    ensure(one.metadata.uuid() != two.metadata.uuid(), "they are the same table")?;
    ensure(one.metadata.location() != two.metadata.location(), "they share a folder")?;
    context.writer.drop_table(&one.ident, false).await.or_fail("dropping one")?;
    context.load(&two.ident).await.map(drop)
}

pub(super) async fn missing_ones_are_named(context: &Context) -> Outcome {
    let ident = TableIdent::new(context.namespace().await?, "missing".to_owned());
    let named =
        |error: &Error| matches!(error, Error::TableNotFound { .. }) && error.to_string().contains(&ident.to_string());
    expect_error("loading", context.reader.load_table(&ident).await, named)?;
    expect_error("dropping", context.writer.drop_table(&ident, false).await, named)?;
    expect_error("committing", context.writer.commit_table(&ident, vec![], vec![]).await, named)?;
    if context.can.rename {
        let to = TableIdent::new(ident.namespace.clone(), "other".to_owned());
        expect_error("renaming", context.writer.rename_table(&ident, &to).await, named)?;
    }
    let nowhere = TableIdent::new(fresh_namespace(), "missing".to_owned());
    expect_error("loading from a missing namespace", context.reader.load_table(&nowhere).await, |error| {
        matches!(error, Error::TableNotFound { .. } | Error::NamespaceNotFound { .. })
    })
}

pub(super) async fn dropped_ones_are_gone_and_their_names_free(context: &Context) -> Outcome {
    let table = context.table().await?;
    context.load(&table.ident).await?;
    context.writer.drop_table(&table.ident, false).await.or_fail("dropping")?;
    let loaded = context.reader.load_table(&table.ident).await;
    expect_error("loading it", loaded, |error| matches!(error, Error::TableNotFound { .. }))?;
    let tables = context.reader.list_tables(&table.ident.namespace).await.or_fail("listing")?;
    ensure(tables.is_empty(), "it is still listed")?;
    let anew = context.create(&table.ident).await?;
    ensure(anew.metadata.uuid() != table.metadata.uuid(), "the new table is the old one")?;
    let loaded = context.load(&table.ident).await?;
    ensure(loaded.metadata.uuid() == anew.metadata.uuid(), "the old table was loaded")
}

pub(super) async fn purged_ones_leave_no_metadata(context: &Context) -> Outcome {
    let table = context.table().await?;
    context.writer.drop_table(&table.ident, true).await.or_fail("dropping with purge")?;
    let loaded = context.reader.load_table(&table.ident).await;
    expect_error("loading it", loaded, |error| matches!(error, Error::TableNotFound { .. }))?;
    if context.can.purge_at_once {
        let exists = table.storage.exists(&table.metadata_location).await.or_fail("looking for its metadata file")?;
        ensure(!exists, "its metadata file is still there")?;
    }
    Ok(())
}

pub(super) async fn renamed_ones_stay_the_same_table(context: &Context) -> Outcome {
    let table = context.table().await?;
    let to = TableIdent::new(table.ident.namespace.clone(), "renamed".to_owned());
    let renamed = context.writer.rename_table(&table.ident, &to).await;
    if !context.can.rename {
        expect_error("renaming", renamed, |error| matches!(error, Error::Unsupported { .. }))?;
        return context.load(&table.ident).await.map(drop);
    }
    renamed.or_fail("renaming")?;
    let loaded = context.load(&to).await?;
    ensure(loaded.metadata.uuid() == table.metadata.uuid(), "it is another table")?;
    let old = context.reader.load_table(&table.ident).await;
    expect_error("loading the old name", old, |error| matches!(error, Error::TableNotFound { .. }))?;
    let tables = context.reader.list_tables(&to.namespace).await.or_fail("listing")?;
    ensure(tables == [to], format!("listed are {tables:?}"))
}

pub(super) async fn renaming_moves_between_namespaces(context: &Context) -> Outcome {
    if !context.can.rename {
        return Ok(());
    }
    let table = context.table().await?;
    let to = TableIdent::new(context.namespace().await?, "moved".to_owned());
    let moved = context.writer.rename_table(&table.ident, &to).await;
    if !context.can.rename_across_namespaces {
        return expect_error("moving", moved, |error| {
            matches!(error, Error::Unsupported { .. } | Error::Invalid { .. })
        });
    }
    moved.or_fail("moving")?;
    let loaded = context.load(&to).await?;
    ensure(loaded.metadata.uuid() == table.metadata.uuid(), "it is another table")?;
    let nowhere = TableIdent::new(fresh_namespace(), "moved".to_owned());
    let lost = context.writer.rename_table(&to, &nowhere).await;
    expect_error("moving to a missing namespace", lost, |error| matches!(error, Error::NamespaceNotFound { .. }))?;
    context.load(&to).await.map(drop)
}

pub(super) async fn renaming_never_replaces_another(context: &Context) -> Outcome {
    if !context.can.rename {
        return Ok(());
    }
    let (one, two) = (context.table().await?, context.table().await?);
    let taken = TableIdent::new(one.ident.namespace.clone(), "taken".to_owned());
    let third = context.create(&taken).await?;
    let renamed = context.writer.rename_table(&one.ident, &taken).await;
    expect_error("renaming to a taken name", renamed, |error| matches!(error, Error::TableExists { .. }))?;
    for table in [one, two, third] {
        let loaded = context.load(&table.ident).await?;
        ensure(loaded.metadata.uuid() == table.metadata.uuid(), format!("{} was replaced", table.ident))?;
    }
    Ok(())
}

pub(super) async fn registered_ones_are_loaded_as_they_were(context: &Context) -> Outcome {
    let table = context.table().await?;
    let to = TableIdent::new(table.ident.namespace.clone(), "registered".to_owned());
    if !context.can.register {
        let registered = context.writer.register_table(&to, &table.metadata_location).await;
        return expect_error("registering", registered, |error| matches!(error, Error::Unsupported { .. }));
    }
    let taken = context.writer.register_table(&table.ident, &table.metadata_location).await;
    expect_error("registering a taken name", taken, |error| matches!(error, Error::TableExists { .. }))?;
    if context.can.drop_keeps_files {
        context.writer.drop_table(&table.ident, false).await.or_fail("forgetting it")?;
    }
    context.writer.register_table(&to, &table.metadata_location).await.or_fail("registering")?;
    let loaded = context.load(&to).await?;
    ensure(loaded.metadata.uuid() == table.metadata.uuid(), "it is another table")?;
    ensure(loaded.metadata.current_schema() == table.metadata.current_schema(), "its schema differs")?;
    let nowhere = TableIdent::new(fresh_namespace(), "registered".to_owned());
    let lost = context.writer.register_table(&nowhere, &table.metadata_location).await;
    expect_error("registering in a missing namespace", lost, |error| matches!(error, Error::NamespaceNotFound { .. }))
}

pub(super) async fn many_are_each_listed_once(context: &Context) -> Outcome {
    let namespace = context.namespace().await?;
    let mut wanted: Vec<_> = (0..MANY).map(|n| TableIdent::new(namespace.clone(), format!("t{n}"))).collect();
    stream::iter(wanted.clone())
        .map(|ident| {
            let writer = Arc::clone(&context.writer);
            async move { writer.create_table(&ident, two_columns()).await.or_fail("creating").map(drop) }
        })
        .buffer_unordered(4)
        .try_collect::<Vec<_>>()
        .await?;
    wanted.sort();
    let tables = context.reader.list_tables(&namespace).await.or_fail("listing")?;
    ensure(tables == wanted, format!("{} of {MANY} are listed", tables.len()))
}

pub(super) async fn staged_ones_appear_with_their_first_snapshot(context: &Context) -> Outcome {
    let ident = TableIdent::new(context.namespace().await?, "orders".to_owned());
    let staged = context.writer.stage_table(&ident, &two_columns()).await.or_fail("staging")?;
    let Some(staged) = staged.filter(|_| context.can.staged_creation) else {
        return ensure(!context.can.staged_creation, "it cannot stage tables");
    };
    let absent = context.reader.load_table(&ident).await;
    expect_error("loading a staged table", absent, |error| matches!(error, Error::TableNotFound { .. }))?;
    let created = context.writer.create_staged(&staged, append(&staged)).await.or_fail("creating it")?;
    let loaded = context.load(&ident).await?;
    ensure(loaded.metadata.uuid() == created.metadata.uuid(), "another table was loaded")?;
    ensure(loaded.metadata.snapshots().len() == 1, format!("{} snapshots", loaded.metadata.snapshots().len()))?;
    ensure(loaded.metadata.current_snapshot().is_some(), "none of them is current")?;
    let columns = |table: &crate::Table| {
        let fields = table.metadata.current_schema().as_struct().fields();
        fields.iter().map(|field| (field.id, field.name.clone())).collect::<Vec<_>>()
    };
    ensure(columns(&loaded) == columns(&staged), format!("its columns are {:?}", columns(&loaded)))?;
    ensure(loaded.metadata.properties().get("owner").is_some_and(|owner| owner == "contract"), "its property is lost")?;
    let again = context.writer.create_staged(&staged, Vec::new()).await;
    expect_error("creating it again", again, |error| {
        matches!(error, Error::TableExists { .. } | Error::CommitConflict { .. })
    })
}
