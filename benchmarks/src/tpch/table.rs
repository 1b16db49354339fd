//! The eight tables: names, columns, sizes, and the rows of each part.
//!
//! A part is a contiguous piece of a table, which can be made without the parts before it. The columns are those of the
//! generators (keys are 64-bit integers, money is decimal(15, 2)), with plain strings instead of string views.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use tpchgen::generators::{
    CustomerGenerator, LineItemGenerator, NationGenerator, OrderGenerator, PartGenerator, PartSuppGenerator,
    RegionGenerator, SupplierGenerator,
};
use tpchgen_arrow::{
    CustomerArrow, LineItemArrow, NationArrow, OrderArrow, PartArrow, PartSuppArrow, RegionArrow, SupplierArrow,
};

use crate::scale::Scale;

/// Rows in a part of any table but `lineitem`, whose parts follow those of `orders` and hold four times as many.
const PART_ROWS: u64 = 32_000;
const LINEITEM_PART_ORDERS: u64 = 12_000;
/// Rows of `partsupp` for each row of `part`.
const SUPPLIERS_PER_PART: i64 = 4;

/// A table of TPC-H.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // the names say it
pub enum TpchTable {
    Region,
    Nation,
    Supplier,
    Customer,
    Part,
    PartSupp,
    Orders,
    LineItem,
}

/// There is no such table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "TPC-H has no table {0}; its tables are region, nation, supplier, customer, part, partsupp, orders and lineitem"
)]
pub struct UnknownTable(String);

impl TpchTable {
    /// All tables, small ones first.
    pub const ALL: [TpchTable; 8] = [
        TpchTable::Region,
        TpchTable::Nation,
        TpchTable::Supplier,
        TpchTable::Customer,
        TpchTable::Part,
        TpchTable::PartSupp,
        TpchTable::Orders,
        TpchTable::LineItem,
    ];

    /// The table's name.
    pub fn name(self) -> &'static str {
        match self {
            TpchTable::Region => "region",
            TpchTable::Nation => "nation",
            TpchTable::Supplier => "supplier",
            TpchTable::Customer => "customer",
            TpchTable::Part => "part",
            TpchTable::PartSupp => "partsupp",
            TpchTable::Orders => "orders",
            TpchTable::LineItem => "lineitem",
        }
    }

    /// The columns, with plain strings.
    pub fn schema(self) -> SchemaRef {
        let generated = match self {
            TpchTable::Region => RegionArrow::schema_ref(),
            TpchTable::Nation => NationArrow::schema_ref(),
            TpchTable::Supplier => SupplierArrow::schema_ref(),
            TpchTable::Customer => CustomerArrow::schema_ref(),
            TpchTable::Part => PartArrow::schema_ref(),
            TpchTable::PartSupp => PartSuppArrow::schema_ref(),
            TpchTable::Orders => OrderArrow::schema_ref(),
            TpchTable::LineItem => LineItemArrow::schema_ref(),
        };
        let fields: Vec<Field> = generated.fields().iter().map(|field| plain_strings(field)).collect();
        Arc::new(Schema::new(fields))
    }

    /// How many rows the table has at this scale. Counts the lines of every order, for `lineitem` (10 ms per unit of scale).
    pub fn row_count(self, scale: Scale) -> u64 {
        let factor = scale.factor();
        let count = match self {
            TpchTable::Region => 5,
            TpchTable::Nation => 25,
            TpchTable::Supplier => SupplierGenerator::calculate_row_count(factor, 1, 1),
            TpchTable::Customer => CustomerGenerator::calculate_row_count(factor, 1, 1),
            TpchTable::Part => PartGenerator::calculate_row_count(factor, 1, 1),
            TpchTable::PartSupp => PartGenerator::calculate_row_count(factor, 1, 1) * SUPPLIERS_PER_PART,
            TpchTable::Orders => OrderGenerator::calculate_row_count(factor, 1, 1),
            TpchTable::LineItem => lineitem_count(factor),
        };
        u64::try_from(count).unwrap_or(0)
    }

    /// Into how many parts the table is cut at this scale.
    pub(crate) fn part_count(self, scale: Scale) -> i32 {
        let parts = match self {
            TpchTable::Region | TpchTable::Nation => 1,
            TpchTable::LineItem => TpchTable::Orders.row_count(scale).div_ceil(LINEITEM_PART_ORDERS),
            // Parts of partsupp follow those of part, which has a quarter of the rows.
            TpchTable::PartSupp => TpchTable::Part.row_count(scale).div_ceil(PART_ROWS / 4),
            _ => self.row_count(scale).div_ceil(PART_ROWS),
        };
        i32::try_from(parts.max(1)).unwrap_or(i32::MAX)
    }

    /// Makes one part, counted from 1: some tens of thousands of rows. CPU-bound.
    pub(crate) fn part(self, scale: Scale, part: i32) -> Result<Vec<RecordBatch>, ArrowError> {
        let (factor, parts) = (scale.factor(), self.part_count(scale));
        let schema = self.schema();
        match self {
            TpchTable::Region => collect(RegionArrow::new(RegionGenerator::new(factor, part, parts)), &schema),
            TpchTable::Nation => collect(NationArrow::new(NationGenerator::new(factor, part, parts)), &schema),
            TpchTable::Supplier => collect(SupplierArrow::new(SupplierGenerator::new(factor, part, parts)), &schema),
            TpchTable::Customer => collect(CustomerArrow::new(CustomerGenerator::new(factor, part, parts)), &schema),
            TpchTable::Part => collect(PartArrow::new(PartGenerator::new(factor, part, parts)), &schema),
            TpchTable::PartSupp => collect(PartSuppArrow::new(PartSuppGenerator::new(factor, part, parts)), &schema),
            TpchTable::Orders => collect(OrderArrow::new(OrderGenerator::new(factor, part, parts)), &schema),
            TpchTable::LineItem => collect(LineItemArrow::new(LineItemGenerator::new(factor, part, parts)), &schema),
        }
    }

    /// The column whose month parts the table, for the tables that grow with time.
    pub fn month_partition(self) -> Option<&'static str> {
        match self {
            TpchTable::LineItem => Some("l_shipdate"),
            TpchTable::Orders => Some("o_orderdate"),
            _ => None,
        }
    }

    /// The `CREATE TABLE` statement, under a name that is already quoted.
    pub fn ddl(self, quoted_name: &str, partitioned: bool) -> String {
        let schema = self.schema();
        let columns: Vec<String> = schema
            .fields()
            .iter()
            .map(|field| {
                let null = if field.is_nullable() { "" } else { " NOT NULL" };
                format!("  {} {}{null}", field.name(), sql_type(field.data_type()))
            })
            .collect();
        let mut ddl = format!("CREATE TABLE IF NOT EXISTS {quoted_name} (\n{}\n)", columns.join(",\n"));
        if let Some(column) = self.month_partition().filter(|_| partitioned) {
            ddl.push_str(&format!(" PARTITIONED BY (months({column}))"));
        }
        ddl
    }
}

impl fmt::Display for TpchTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for TpchTable {
    type Err = UnknownTable;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let name = text.trim();
        let table = TpchTable::ALL.into_iter().find(|table| table.name().eq_ignore_ascii_case(name));
        table.ok_or_else(|| UnknownTable(name.to_string()))
    }
}

/// The lines of all orders, drawn as the generator of `lineitem` draws them.
fn lineitem_count(factor: f64) -> i64 {
    let mut lines = OrderGenerator::create_line_count_random();
    let mut count = 0;
    for _ in 0..OrderGenerator::calculate_row_count(factor, 1, 1) {
        count += i64::from(lines.next_value());
        lines.row_finished();
    }
    count
}

fn plain_strings(field: &Field) -> Field {
    match field.data_type() {
        DataType::Utf8View => field.clone().with_data_type(DataType::Utf8),
        _ => field.clone(),
    }
}

fn sql_type(data_type: &DataType) -> String {
    match data_type {
        DataType::Int64 => "BIGINT".to_string(),
        DataType::Int32 => "INT".to_string(),
        DataType::Date32 => "DATE".to_string(),
        DataType::Decimal128(precision, scale) => format!("DECIMAL({precision}, {scale})"),
        _ => "VARCHAR".to_string(),
    }
}

fn collect(
    batches: impl Iterator<Item = Result<RecordBatch, ArrowError>>,
    schema: &SchemaRef,
) -> Result<Vec<RecordBatch>, ArrowError> {
    batches
        .map(|batch| {
            let batch = batch?;
            let columns: Vec<ArrayRef> = batch
                .columns()
                .iter()
                .zip(schema.fields())
                .map(|(column, field)| cast(column, field.data_type()))
                .collect::<Result<_, _>>()?;
            RecordBatch::try_new(schema.clone(), columns)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scale(factor: f64) -> Scale {
        Scale::new(factor).expect("a scale")
    }

    #[test]
    fn row_counts_are_those_of_the_specification() {
        let counts: Vec<u64> = TpchTable::ALL.iter().map(|table| table.row_count(scale(0.01))).collect();
        assert_eq!(counts, [5, 25, 100, 1500, 2000, 8000, 15_000, 60_175]);
        assert_eq!(TpchTable::LineItem.row_count(scale(0.1)), 600_572);
        assert_eq!(TpchTable::LineItem.row_count(scale(1.0)), 6_001_215);
    }

    #[test]
    fn parts_together_are_the_table() {
        for (table, factor) in [(TpchTable::LineItem, 0.03), (TpchTable::PartSupp, 0.13), (TpchTable::Nation, 1.0)] {
            let scale = scale(factor);
            let parts = table.part_count(scale);
            assert!(table == TpchTable::Nation || parts > 1, "{table} has only {parts} part");
            let rows: usize = (1..=parts)
                .flat_map(|part| table.part(scale, part).expect("the part is made"))
                .map(|batch| batch.num_rows())
                .sum();
            assert_eq!(rows as u64, table.row_count(scale), "{table}");
        }
    }

    #[test]
    fn ddl_gives_types_and_partitions() {
        let ddl = TpchTable::Orders.ddl("\"lake\".\"tpch\".\"orders\"", true);
        assert!(
            ddl.starts_with("CREATE TABLE IF NOT EXISTS \"lake\".\"tpch\".\"orders\" (\n  o_orderkey BIGINT NOT NULL,")
        );
        assert!(
            ddl.contains("o_totalprice DECIMAL(15, 2) NOT NULL") && ddl.contains("o_orderdate DATE NOT NULL"),
            "{ddl}"
        );
        assert!(ddl.ends_with("PARTITIONED BY (months(o_orderdate))"), "{ddl}");
        assert!(!TpchTable::Orders.ddl("o", false).contains("PARTITIONED"));
        assert!(!TpchTable::Part.ddl("p", true).contains("PARTITIONED"));
    }

    #[test]
    fn a_table_is_found_by_name_or_the_choices_are_listed() {
        assert_eq!("LineItem".parse(), Ok(TpchTable::LineItem));
        let error = "items".parse::<TpchTable>().expect_err("no such table").to_string();
        assert!(error.contains("items") && error.contains("partsupp"), "{error}");
    }
}
