//! USE, SET, RESET and SHOW of settings: they change or show one session and nothing else.

use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::prelude::SessionConfig;

use super::name::{existing_schema, normalized, require_schema, schema_name};
use super::show::text_rows;
use crate::access::Access;
use crate::information_schema::INFORMATION_SCHEMA;
use crate::names::did_you_mean;
use crate::options::{PolynyaOptions, TIME_ZONE, set_for_session};
use crate::statement::Use;
use crate::{Engine, Error, Result, Session};

pub(super) const COLUMNS: [&str; 3] = ["name", "value", "description"];

/// Settings that a session may change, by the start of their name. The others concern the server.
const SESSION_PREFIXES: [&str; 6] = [
    "polynya.",
    "datafusion.execution.",
    "datafusion.optimizer.",
    "datafusion.explain.",
    "datafusion.sql_parser.",
    "datafusion.format.",
];
/// Settings under those names that a session may not change: the parser runs before a session's settings apply; the filter of
/// aggregates gives wrong answers (DataFusion 55.2), and the setting above it would turn it on.
const SERVER_ONLY: [&str; 3] = [
    "datafusion.sql_parser.dialect",
    "datafusion.optimizer.enable_aggregate_dynamic_filter_pushdown",
    "datafusion.optimizer.enable_dynamic_filter_pushdown",
];

pub(super) async fn use_(engine: &Engine, chosen: Use, session: &Session) -> Result<&'static str> {
    let access = &engine.access(session).await?;
    match chosen {
        Use::Catalog(name) => use_catalog(engine, &normalized(&name), session, access)?,
        Use::Schema(name) => {
            let (catalog, schema) = schema_name(engine, &name, session, access)?;
            use_schema(engine, &catalog, &schema, session, access).await?;
        }
        Use::Either(name) => use_either(engine, &normalized(&name), session, access).await?,
    }
    Ok("USE")
}

fn use_catalog(engine: &Engine, catalog: &str, session: &Session, access: &Arc<Access>) -> Result<()> {
    engine.catalog(catalog, access)?;
    session.set_catalog(catalog);
    Ok(())
}

async fn use_schema(
    engine: &Engine,
    catalog_name: &str,
    schema: &str,
    session: &Session,
    access: &Arc<Access>,
) -> Result<()> {
    let schema = match schema {
        INFORMATION_SCHEMA => schema.to_string(),
        _ => require_schema(engine.catalog(catalog_name, access)?.as_ref(), schema).await?,
    };
    session.set_catalog(catalog_name);
    session.set_schema(schema);
    Ok(())
}

/// A schema of the current catalog comes first, as in other engines.
async fn use_either(engine: &Engine, name: &str, session: &Session, access: &Arc<Access>) -> Result<()> {
    let is_catalog = engine.catalog(name, access).is_ok();
    let Ok(current) = engine.current_catalog(session) else { return use_catalog(engine, name, session, access) };
    let found = match name {
        INFORMATION_SCHEMA => true,
        _ => match engine.catalog(&current, access) {
            Ok(current) => existing_schema(current.as_ref(), name).await?.is_some(),
            // Hidden from the caller, who may mean another catalog.
            Err(error) if !is_catalog => return Err(error),
            Err(_) => false,
        },
    };
    match (found, is_catalog) {
        (false, true) => use_catalog(engine, name, session, access),
        _ => use_schema(engine, &current, name, session, access).await,
    }
}

pub(super) fn set(engine: &Engine, name: &str, value: &str, session: &Session) -> Result<&'static str> {
    let config = engine.session_config(session)?;
    let full_name = full_name(&config, name)?;
    if !may_change(&full_name) {
        let why = "it belongs to the server and cannot be set by a session";
        return Err(Error::Invalid(format!("setting {full_name}: {why}")));
    }
    check(config, &full_name, value)?;
    session.set(full_name, value);
    Ok("SET")
}

impl Engine {
    /// Sets a setting of a session, as `SET` does, unless the session has chosen it already.
    ///
    /// # Errors
    /// `NotFound` if there is no such setting, `Invalid` if it cannot have this value or is the server's.
    pub fn set_if_unset(&self, name: &str, value: &str, session: &Session) -> Result<()> {
        match session.settings().contains_key(name) {
            true => Ok(()),
            false => set(self, name, value, session).map(drop),
        }
    }
}

pub(super) fn reset(engine: &Engine, name: Option<&str>, session: &Session) -> Result<&'static str> {
    let full_name = name.map(|name| full_name(&engine.session_config(session)?, name)).transpose()?;
    session.reset(full_name.as_deref());
    Ok("RESET")
}

pub(super) fn show(engine: &Engine, name: Option<&str>, session: &Session) -> Result<RecordBatch> {
    let config = engine.session_config(session)?;
    let wanted = name.map(|name| full_name(&config, name)).transpose()?;
    let mut entries = config.options().entries();
    entries.sort_by(|left, right| left.key.cmp(&right.key));
    let ours = config.options().extensions.get::<PolynyaOptions>();
    if let (Some(ours), Some(entry)) = (ours, entries.iter_mut().find(|entry| entry.key == TIME_ZONE)) {
        entry.value = Some(ours.time_zone.name.clone());
    }
    let shown = entries.into_iter().filter(|entry| match &wanted {
        Some(wanted) => entry.key == *wanted,
        None => may_change(&entry.key),
    });
    text_rows(&COLUMNS, shown.map(|entry| vec![Some(entry.key), entry.value, Some(entry.description.into())]).collect())
}

fn may_change(full_name: &str) -> bool {
    SESSION_PREFIXES.iter().any(|prefix| full_name.starts_with(prefix)) && !SERVER_ONLY.contains(&full_name)
}

/// A setting's full name: as it is, or the one setting that ends in it, such as `time_zone`.
fn full_name(config: &SessionConfig, name: &str) -> Result<String> {
    let name = match name.to_lowercase().as_str() {
        "timezone" => "time_zone".to_string(),
        other => other.to_string(),
    };
    let keys: Vec<String> = config.options().entries().into_iter().map(|entry| entry.key).collect();
    if keys.contains(&name) {
        return Ok(name);
    }
    let full_names = SESSION_PREFIXES.map(|prefix| format!("{prefix}{name}"));
    if let Some(found) = full_names.into_iter().find(|full_name| keys.contains(full_name)) {
        return Ok(found);
    }
    let short = |key: String| match SESSION_PREFIXES.iter().find_map(|prefix| key.strip_prefix(prefix)) {
        Some(short) => short.to_string(),
        None => key,
    };
    let hint = did_you_mean(&short(name.clone()), keys.into_iter().map(short));
    let hint = if hint.is_empty() { ": SHOW ALL lists the settings".to_string() } else { hint };
    Err(Error::NotFound { kind: "setting", name, hint })
}

/// Settings with which DataFusion panics, makes room for rows that nobody has, or computes for minutes without a pause, beyond
/// these bounds.
const BOUNDS: [(&str, std::ops::RangeInclusive<usize>); 3] = [
    ("datafusion.execution.batch_size", 64..=1 << 20),
    // 0: the number of cores. Each partition of a join or an aggregate has a channel to each.
    ("datafusion.execution.target_partitions", 0..=256),
    ("datafusion.optimizer.max_passes", 1..=100),
];

fn check(mut config: SessionConfig, full_name: &str, value: &str) -> Result<()> {
    let bounds = BOUNDS.iter().find(|(name, _)| *name == full_name).map(|(_, bounds)| bounds);
    let bounds = bounds.filter(|bounds| !value.trim().parse().is_ok_and(|value: usize| bounds.contains(&value)));
    let result = match bounds {
        Some(bounds) => Err(format!("it must be from {} to {}", bounds.start(), bounds.end())),
        None if full_name == TIME_ZONE => set_for_session(config.options_mut(), full_name, value).map_err(|_| {
            "it must be a time zone's name, such as Europe/Berlin, or an offset, such as +02:00".to_owned()
        }),
        None => config.options_mut().set(full_name, value).map_err(|error| error.find_root().message().into_owned()),
    };
    result.map_err(|message| Error::Invalid(format!("setting {full_name}: '{value}': {message}")))
}
