//! Results that are right, and results that are nearly so.

use std::sync::Arc;

use arrow::array::{ArrayRef, Date32Array, Decimal128Array, Float64Array, Int32Array, Int64Array, StringViewArray};

use super::*;

fn query(number: u8) -> Query {
    Query::new(number).expect("a query")
}

/// An answer; the query that it is checked as decides which columns order it.
fn answer(columns: &[&str], rows: &[&[Value]]) -> Answer {
    Answer {
        columns: columns.iter().map(|name| name.to_string()).collect(),
        rows: rows.iter().map(|row| row.to_vec()).collect(),
    }
}

fn batch(columns: Vec<ArrayRef>) -> [RecordBatch; 1] {
    let named = columns.into_iter().enumerate().map(|(index, column)| (format!("c{index}"), column));
    [RecordBatch::try_from_iter(named).expect("a batch")]
}

fn decimals(values: &[i128], scale: i8) -> ArrayRef {
    Arc::new(Decimal128Array::from(values.to_vec()).with_precision_and_scale(38, scale).expect("a decimal type"))
}

#[test]
fn values_of_all_types_agree() {
    let expected = answer(
        &["l_orderkey", "revenue", "o_orderdate", "o_clerk", "share"],
        &[&[
            Value::Integer(7),
            Value::Decimal(125, 1),
            Value::Text("1994-01-01".into()),
            Value::Text("x".into()),
            Value::Double(0.333_333_333_333),
        ]],
    );
    let got = batch(vec![
        Arc::new(Int32Array::from(vec![7])),
        decimals(&[125_000], 4),
        Arc::new(Date32Array::from(vec![8766])),
        Arc::new(StringViewArray::from(vec!["x"])),
        decimals(&[333_333], 6),
    ]);
    assert_eq!(expected.check(query(6), &got), Ok(()));
}

#[test]
fn a_wrong_cell_is_named() {
    let expected = answer(&["l_shipmode", "high"], &[&[Value::Text("MAIL".into()), Value::Integer(1)]]);
    let got = batch(vec![Arc::new(StringViewArray::from(vec!["MAIL"])), Arc::new(Int64Array::from(vec![2]))]);
    let mismatch = expected.check(query(12), &got).expect_err("the cell is wrong");
    assert_eq!(mismatch.to_string(), "Q12: row 1, column high: expected 1, got 2");
}

#[test]
fn exact_numbers_must_be_exact_and_doubles_nearly() {
    let exact = answer(&["a"], &[&[Value::Decimal(10_000_000_000_001, 2)]]);
    assert!(exact.check(query(6), &batch(vec![decimals(&[10_000_000_000_002], 2)])).is_err());
    assert!(exact.check(query(6), &batch(vec![Arc::new(Float64Array::from(vec![100_000_000_000.01]))])).is_err());

    let double = answer(&["a"], &[&[Value::Double(25.522_005_853)]]);
    assert_eq!(double.check(query(6), &batch(vec![decimals(&[25_522_005], 6)])), Ok(()));
    assert!(double.check(query(6), &batch(vec![decimals(&[25_522_003], 6)])).is_err());
    assert!(double.check(query(6), &batch(vec![Arc::new(Float64Array::from(vec![25.522_007]))])).is_err());
    assert!(double.check(query(6), &batch(vec![decimals(&[26], 0)])).is_err(), "a unit of a rough decimal is too much");
}

#[test]
fn nulls_are_only_nulls() {
    let null = answer(&["a"], &[&[Value::Null]]);
    assert_eq!(null.check(query(6), &batch(vec![Arc::new(Float64Array::from(vec![None]))])), Ok(()));
    assert!(null.check(query(6), &batch(vec![Arc::new(Float64Array::from(vec![0.0]))])).is_err());
    let zero = answer(&["a"], &[&[Value::Double(0.0)]]);
    assert!(zero.check(query(6), &batch(vec![Arc::new(Float64Array::from(vec![None]))])).is_err());
}

#[test]
fn rows_that_tie_may_come_in_any_order_and_others_may_not() {
    let row = |key: i128, revenue: i128| vec![Value::Integer(key), Value::Integer(revenue)];
    let rows = [row(1, 9), row(2, 5), row(3, 5), row(4, 5)];
    let rows: Vec<&[Value]> = rows.iter().map(Vec::as_slice).collect();
    let expected = answer(&["l_orderkey", "revenue"], &rows);
    let got = |keys: [i64; 4], revenue: [i64; 4]| {
        batch(vec![Arc::new(Int64Array::from(keys.to_vec())), Arc::new(Int64Array::from(revenue.to_vec()))])
    };
    assert_eq!(expected.check(query(5), &got([1, 4, 2, 3], [9, 5, 5, 5])), Ok(()));
    assert!(expected.check(query(5), &got([4, 1, 2, 3], [5, 9, 5, 5])).is_err(), "the order of the keys is wrong");
    let twice = expected.check(query(5), &got([1, 2, 2, 3], [9, 5, 5, 5])).expect_err("one row is there twice");
    assert_eq!(twice.to_string(), "Q5: row 4, column l_orderkey: expected 4, got 2");
}

#[test]
fn missing_rows_and_columns_are_told() {
    let expected = answer(&["a", "b"], &[&[Value::Integer(1), Value::Integer(2)]]);
    let rows = expected.check(query(1), &[]).expect_err("no rows");
    assert_eq!(rows.to_string(), "Q1: expected 1 rows, got 0");
    let columns = expected.check(query(1), &batch(vec![Arc::new(Int64Array::from(vec![1]))])).expect_err("one column");
    assert_eq!(columns.to_string(), "Q1: expected 2 columns, got 1");
}

#[test]
fn decimals_are_shown_with_their_point() {
    let shown = |digits, scale| Value::Decimal(digits, scale).to_string();
    assert_eq!([shown(12345, 2), shown(-5, 2), shown(7, 0)], ["123.45", "-0.05", "7"]);
}
