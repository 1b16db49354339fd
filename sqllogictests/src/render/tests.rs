//! The rules of README.md, by example.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int64Array, ListArray,
    StringArray, StructArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Int64Type};

use super::render_cell;

fn rendered(array: impl arrow::array::Array) -> Vec<String> {
    (0..array.len()).map(|row| render_cell(&array, row).expect("a value renders")).collect()
}

#[test]
fn null_and_empty_differ() {
    assert_eq!(rendered(StringArray::from(vec![None, Some(""), Some("a\nb")])), ["NULL", "(empty)", "a\\nb"]);
}

#[test]
fn floats_are_rounded_like_printf_g() {
    let values = [0.1 + 0.2, 1e300, -1.0, 123_456_789_012.0, 1_234_567_890_123.0, 0.0001, 0.00001, f64::NAN];
    let expected = ["0.3", "1e+300", "-1", "123456789012", "1.23456789012e+12", "0.0001", "1e-05", "NaN"];
    assert_eq!(rendered(Float64Array::from(values.to_vec())), expected);
    assert_eq!(rendered(Float32Array::from(vec![0.1, 16_777_216.0])), ["0.1", "1.67772e+07"]);
}

#[test]
fn dates_and_timestamps_have_no_needless_digits() {
    assert_eq!(rendered(Date32Array::from(vec![0, -719_162, 2_932_896])), ["1970-01-01", "0001-01-01", "9999-12-31"]);
    let times = TimestampMicrosecondArray::from(vec![-1, 1_500_000]);
    assert_eq!(rendered(times.clone()), ["1969-12-31 23:59:59.999999", "1970-01-01 00:00:01.5"]);
    assert_eq!(rendered(times.with_timezone("+00:00"))[1], "1970-01-01 00:00:01.5Z");
}

#[test]
fn decimals_keep_their_scale_and_bytes_are_hex() {
    let decimals = Decimal128Array::from(vec![150, -5]).with_precision_and_scale(10, 2).expect("a valid scale");
    assert_eq!(rendered(decimals), ["1.50", "-0.05"]);
    assert_eq!(rendered(BinaryArray::from(vec![&b"\x00\xff"[..], b""])), ["0x00ff", "0x"]);
}

#[test]
fn nested_values_are_json() {
    let lists = ListArray::from_iter_primitive::<Int64Type, _, _>([Some(vec![Some(1), None])]);
    assert_eq!(rendered(lists), ["[1,null]"]);
    let fields: Vec<(Arc<Field>, ArrayRef)> = vec![
        (Field::new("a", DataType::Int64, true).into(), Arc::new(Int64Array::from(vec![7]))),
        (Field::new("b", DataType::Utf8, true).into(), Arc::new(StringArray::from(vec!["x \"y\""]))),
        (Field::new("c", DataType::Date32, true).into(), Arc::new(Date32Array::from(vec![1]))),
    ];
    assert_eq!(rendered(StructArray::from(fields)), [r#"{"a":7,"b":"x \"y\"","c":"1970-01-02"}"#]);
}
