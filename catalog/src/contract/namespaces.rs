//! Checks of namespaces.

use std::collections::HashMap;

use iceberg::{NamespaceIdent, TableIdent};

use super::{Context, OrFail, Outcome, ensure, expect_error, fresh_namespace};
use crate::Error;

pub(super) async fn created_ones_are_listed(context: &Context) -> Outcome {
    let namespace = context.namespace().await?;
    let all = context.reader.list_namespaces(None).await.or_fail("listing")?;
    ensure(all.contains(&namespace), format!("{namespace} is not among {all:?}"))?;
    ensure(all.is_sorted(), "the list is not sorted")?;
    let tables = context.reader.list_tables(&namespace).await.or_fail("listing its tables")?;
    ensure(tables.is_empty(), "a new namespace has tables")
}

pub(super) async fn creating_one_twice_fails(context: &Context) -> Outcome {
    let namespace = context.namespace().await?;
    let again = context.writer.create_namespace(&namespace, HashMap::new()).await;
    expect_error("creating it again", again, |error| matches!(error, Error::NamespaceExists { .. }))
}

pub(super) async fn properties_are_kept(context: &Context) -> Outcome {
    let namespace = fresh_namespace();
    let properties = HashMap::from([("comment".to_owned(), "größer, \"schöner\" & 100%".to_owned())]);
    context.writer.create_namespace(&namespace, properties.clone()).await.or_fail("creating")?;
    let found = context.reader.namespace_properties(&namespace).await.or_fail("reading properties")?;
    let kept = properties.iter().all(|(key, value)| found.get(key) == Some(value));
    if context.can.namespace_properties {
        ensure(kept, format!("{found:?} is not {properties:?}"))
    } else {
        ensure(!kept, "properties are kept after all: declare it")
    }
}

pub(super) async fn nested_ones_are_listed_below_their_parent(context: &Context) -> Outcome {
    let parent = context.namespace().await?;
    let nested = child(&parent, "inner");
    let created = context.writer.create_namespace(&nested, HashMap::new()).await;
    if !context.can.nested_namespaces {
        return expect_error("creating a nested namespace", created, |error| {
            matches!(error, Error::Invalid { .. } | Error::Unsupported { .. })
        });
    }
    created.or_fail("creating a nested namespace")?;
    let below = context.reader.list_namespaces(Some(&parent)).await.or_fail("listing below the parent")?;
    ensure(below == [nested.clone()], format!("below {parent} are {below:?}"))?;
    let top = context.reader.list_namespaces(None).await.or_fail("listing the top")?;
    ensure(!top.contains(&nested) && top.contains(&parent), "the nested namespace is at the top")?;
    let table = TableIdent::new(nested.clone(), "t".to_owned());
    context.create(&table).await?;
    let tables = context.reader.list_tables(&nested).await.or_fail("listing its tables")?;
    ensure(tables == [table.clone()], format!("{nested} holds {tables:?}"))?;
    let above = context.reader.list_tables(&parent).await.or_fail("listing the parent's tables")?;
    ensure(above.is_empty(), format!("{parent} holds {above:?}"))?;
    context.load(&table).await.map(drop)
}

pub(super) async fn missing_ones_are_named(context: &Context) -> Outcome {
    let missing = fresh_namespace();
    let named = |error: &Error| {
        matches!(error, Error::NamespaceNotFound { .. }) && error.to_string().contains(&missing.to_string())
    };
    expect_error("reading properties", context.reader.namespace_properties(&missing).await, named)?;
    expect_error("listing tables", context.reader.list_tables(&missing).await, named)?;
    expect_error("dropping", context.writer.drop_namespace(&missing).await, named)?;
    if context.can.nested_namespaces {
        expect_error("listing below", context.reader.list_namespaces(Some(&missing)).await, named)?;
    }
    Ok(())
}

pub(super) async fn ones_with_tables_are_not_dropped(context: &Context) -> Outcome {
    let table = context.table().await?;
    let namespace = table.ident.namespace;
    let dropped = context.writer.drop_namespace(&namespace).await;
    expect_error("dropping it", dropped, |error| matches!(error, Error::NamespaceNotEmpty { .. }))?;
    let tables = context.reader.list_tables(&namespace).await.or_fail("listing its tables")?;
    ensure(tables.len() == 1, "its table is gone")
}

pub(super) async fn ones_with_children_are_not_dropped(context: &Context) -> Outcome {
    if !context.can.nested_namespaces {
        return Ok(());
    }
    let parent = context.namespace().await?;
    let nested = child(&parent, "inner");
    context.writer.create_namespace(&nested, HashMap::new()).await.or_fail("creating a nested namespace")?;
    let dropped = context.writer.drop_namespace(&parent).await;
    expect_error("dropping it", dropped, |error| matches!(error, Error::NamespaceNotEmpty { .. }))?;
    context.writer.drop_namespace(&nested).await.or_fail("dropping the nested one first")?;
    context.writer.drop_namespace(&parent).await.or_fail("dropping it then")
}

pub(super) async fn dropped_ones_are_gone(context: &Context) -> Outcome {
    let namespace = context.namespace().await?;
    context.writer.drop_namespace(&namespace).await.or_fail("dropping")?;
    let all = context.reader.list_namespaces(None).await.or_fail("listing")?;
    ensure(!all.contains(&namespace), "it is still listed")?;
    let again = context.writer.drop_namespace(&namespace).await;
    expect_error("dropping it again", again, |error| matches!(error, Error::NamespaceNotFound { .. }))?;
    context.writer.create_namespace(&namespace, HashMap::new()).await.or_fail("creating it anew")
}

pub(super) async fn names_may_be_in_any_script(context: &Context) -> Outcome {
    let plain = fresh_namespace();
    for suffix in ["_größe", "_表", " with space", "_50%", "_a'b\"c"] {
        let namespace = NamespaceIdent::new(format!("{plain}{suffix}"));
        let created = context.writer.create_namespace(&namespace, HashMap::new()).await;
        if !context.can.any_names {
            expect_error("creating it", created, |error| matches!(error, Error::Invalid { .. }))?;
            continue;
        }
        created.or_fail(&format!("creating {namespace}"))?;
        let all = context.reader.list_namespaces(None).await.or_fail("listing")?;
        ensure(all.contains(&namespace), format!("{namespace} is not listed"))?;
        context.reader.namespace_properties(&namespace).await.or_fail("reading its properties")?;
        context.writer.drop_namespace(&namespace).await.or_fail("dropping it")?;
    }
    Ok(())
}

fn child(parent: &NamespaceIdent, name: &str) -> NamespaceIdent {
    let mut levels = parent.as_ref().clone();
    levels.push(name.to_owned());
    // Never empty: it has its parent's levels.
    NamespaceIdent::from_vec(levels).unwrap_or_else(|_| parent.clone())
}
