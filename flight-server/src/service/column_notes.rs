//! What ODBC and JDBC want to know about a column besides its type: `ARROW:FLIGHT:SQL:*` in the field's metadata.
//!
//! In: schemas as they go over the wire. Out: the same, with notes on each column: of results what follows from the type,
//! of tables also whose column it is. Numbers are decimal digits; switches are `1` and `0`, which is what drivers compare with.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use polynya_engine::WireOptions;

use super::type_info;
use crate::wire::wire_schema_as;

/// The table that a column is of.
pub(super) struct Origin<'a> {
    /// The catalog, as the settings call it.
    pub(super) catalog: &'a str,
    /// The schema, its parts joined by dots.
    pub(super) schema: &'a str,
    /// The table.
    pub(super) table: &'a str,
}

/// The schema of a query's result as its client sees it.
pub(super) fn result_schema(schema: &Schema, options: &WireOptions) -> SchemaRef {
    Arc::new(noted(&wire_schema_as(schema, options), None))
}

/// The schema with notes on its columns.
pub(super) fn noted(schema: &Schema, origin: Option<&Origin<'_>>) -> Schema {
    let fields: Vec<Field> = schema.fields().iter().map(|field| noted_field(field, origin)).collect();
    Schema::new_with_metadata(fields, schema.metadata().clone())
}

fn noted_field(field: &Field, origin: Option<&Origin<'_>>) -> Field {
    let mut metadata = field.metadata().clone();
    let mut note = |key: &str, value: String| {
        metadata.insert(format!("ARROW:FLIGHT:SQL:{key}"), value);
    };
    let switch = |on: bool| if on { "1" } else { "0" }.to_owned();
    if let Some(origin) = origin {
        note("CATALOG_NAME", origin.catalog.to_owned());
        note("SCHEMA_NAME", origin.schema.to_owned());
        note("TABLE_NAME", origin.table.to_owned());
    }
    note("TYPE_NAME", type_info::type_name(field.data_type()));
    note("IS_AUTO_INCREMENT", switch(false));
    note("IS_CASE_SENSITIVE", switch(is_text(field.data_type())));
    // Columns of a result cannot be written to; those of a table can.
    note("IS_READ_ONLY", switch(origin.is_none()));
    note("IS_SEARCHABLE", switch(!is_nested(field.data_type())));
    if let Some((precision, scale)) = type_info::precision_and_scale(field.data_type()) {
        note("PRECISION", precision.to_string());
        note("SCALE", scale.to_string());
    }
    field.clone().with_metadata(metadata)
}

fn is_text(data_type: &DataType) -> bool {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => true,
        DataType::Dictionary(_, values) => is_text(values),
        _ => false,
    }
}

/// Whether WHERE can compare a column with a literal.
fn is_nested(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::List(_)
            | DataType::LargeList(_)
            | DataType::FixedSizeList(..)
            | DataType::Struct(_)
            | DataType::Map(..)
    )
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::TimeUnit;

    use super::*;

    fn note<'a>(schema: &'a Schema, column: usize, key: &str) -> Option<&'a str> {
        schema.field(column).metadata().get(&format!("ARROW:FLIGHT:SQL:{key}")).map(String::as_str)
    }

    #[test]
    fn columns_of_results_tell_their_type_and_those_of_tables_their_table() {
        let schema = Schema::new(vec![
            Field::new("name", DataType::Utf8View, true),
            Field::new("price", DataType::Decimal128(10, 2), true),
            Field::new("at", DataType::Time64(TimeUnit::Microsecond), true),
            Field::new("tags", DataType::new_list(DataType::Utf8, true), true),
        ]);
        let result = result_schema(&schema, &WireOptions::default());
        assert_eq!(note(&result, 0, "TYPE_NAME"), Some("VARCHAR"));
        assert_eq!(note(&result, 0, "IS_CASE_SENSITIVE"), Some("1"));
        assert_eq!(note(&result, 0, "PRECISION"), None);
        assert_eq!((note(&result, 1, "PRECISION"), note(&result, 1, "SCALE")), (Some("10"), Some("2")));
        assert_eq!((note(&result, 2, "PRECISION"), note(&result, 2, "SCALE")), (Some("15"), Some("6")));
        assert_eq!(note(&result, 3, "IS_SEARCHABLE"), Some("0"));
        assert_eq!(note(&result, 0, "TABLE_NAME"), None);

        let origin = Origin { catalog: "lake", schema: "a.b", table: "t" };
        let table = noted(&schema, Some(&origin));
        assert_eq!(note(&table, 1, "SCHEMA_NAME"), Some("a.b"));
        assert_eq!(note(&table, 1, "TABLE_NAME"), Some("t"));
        assert_eq!(note(&table, 1, "IS_READ_ONLY"), Some("0"));
    }
}
