//! The creation of a staged table, as the updates that a service applies to nothing.
//!
//! They are those that the Java library sends, in its order; the first snapshot follows them.

use iceberg::TableUpdate;
use iceberg::spec::TableMetadata;

use crate::{Error, Result};

/// Stands for what was added last.
const LAST_ADDED: i32 = -1;

/// What makes the table.
///
/// # Errors
/// `Internal`, if the service has given it no place.
pub(super) fn creation(metadata: &TableMetadata) -> Result<Vec<TableUpdate>> {
    let sort_order = metadata.default_sort_order();
    let spec = metadata.default_partition_spec();
    let mut updates = vec![
        TableUpdate::AssignUuid { uuid: metadata.uuid() },
        TableUpdate::UpgradeFormatVersion { format_version: metadata.format_version() },
        TableUpdate::AddSchema { schema: metadata.current_schema().as_ref().clone() },
        TableUpdate::SetCurrentSchema { schema_id: LAST_ADDED },
        TableUpdate::AddSpec { spec: spec.as_ref().clone().into_unbound() },
        TableUpdate::SetDefaultSpec { spec_id: LAST_ADDED },
        TableUpdate::AddSortOrder { sort_order: sort_order.as_ref().clone() },
        TableUpdate::SetDefaultSortOrder { sort_order_id: i64::from(LAST_ADDED) },
        TableUpdate::SetLocation { location: metadata.location().to_owned() },
    ];
    if !metadata.properties().is_empty() {
        updates.push(TableUpdate::SetProperties { updates: metadata.properties().clone() });
    }
    match metadata.location().is_empty() {
        true => Err(Error::Internal("a table was staged without a location".to_owned())),
        false => Ok(updates),
    }
}
