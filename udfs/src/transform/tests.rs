//! Against the specification's vectors, and against the iceberg crate's transforms of single values.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryViewArray, Date32Array, Decimal128Array, FixedSizeBinaryArray, Int32Array,
    Int64Array, StringArray, StringViewArray, Time64MicrosecondArray, TimestampMicrosecondArray,
    TimestampNanosecondArray,
};
use arrow::datatypes::{Date32Type, Decimal128Type, Int32Type, Int64Type};
use iceberg::spec::{Datum, PrimitiveLiteral, PrimitiveType, Transform};
use iceberg::transform::create_transform_function;

use super::apply;

const INTS: [i32; 9] = [0, 1, -1, 34, -34, 7919, -7919, i32::MAX, i32::MIN];
const LONGS: [i64; 9] = [0, 1, -1, 34, -34, 1_510_871_468_000_000, -1_510_871_468_000_001, i64::MAX, i64::MIN + 100];
const DAYS: [i32; 10] = [0, 1, -1, 31, -31, 364, 365, -365, 17_486, -719_162];
const MICROS: [i64; 9] = [
    0,
    1,
    -1,
    1_510_871_468_000_000,
    -1_510_871_468_000_000,
    -86_400_000_000,
    -86_400_000_001,
    -2_678_400_000_000,
    -31_536_000_000_001,
];
const TEXTS: [&str; 7] = ["", "a", "iceberg", "Schärenhøj", "北極の氷の海", "🐻‍❄️ bear", "abcd"];

fn fixed(value: &[u8]) -> FixedSizeBinaryArray {
    FixedSizeBinaryArray::try_from_iter([value].into_iter()).expect("one length")
}

fn int_of(transform: Transform, value: Datum) -> i32 {
    let function = create_transform_function(&transform).expect("a transform");
    match function.transform_literal_result(&value).expect("a value").literal() {
        PrimitiveLiteral::Int(result) => *result,
        other => panic!("an int, not {other:?}"),
    }
}

fn check(transform: Transform, input: ArrayRef, values: impl IntoIterator<Item = Datum>) {
    let result = apply(&transform, &input).expect("applies");
    let result = arrow::compute::cast(&result, &arrow::datatypes::DataType::Int32).expect("ints");
    for (row, value) in values.into_iter().enumerate() {
        let expected = int_of(transform, value.clone());
        assert_eq!(result.as_primitive::<Int32Type>().value(row), expected, "{transform} of {value}");
    }
}

/// Appendix B, by way of a number of buckets that keeps the 31 bits that matter.
#[test]
fn buckets_follow_the_published_hashes() {
    let all = Transform::Bucket(i32::MAX as u32);
    let bits = |hash: i32| (hash & i32::MAX) % i32::MAX;
    let uuid = 0xf79c_3e09_677c_4bbd_a479_3f34_9cb7_85e7_u128.to_be_bytes();
    let vectors: [(ArrayRef, i32); 14] = [
        (Arc::new(Int32Array::from(vec![34])), 2_017_239_379),
        (Arc::new(Int64Array::from(vec![34])), 2_017_239_379),
        (Arc::new(Decimal128Array::from(vec![1420])), -500_754_589),
        (Arc::new(Date32Array::from(vec![17_486])), -653_330_422),
        (Arc::new(Time64MicrosecondArray::from(vec![81_068_000_000])), -662_762_989),
        (Arc::new(TimestampMicrosecondArray::from(vec![1_510_871_468_000_000])), -2_047_944_441),
        (Arc::new(TimestampMicrosecondArray::from(vec![1_510_871_468_000_001])), -1_207_196_810),
        (Arc::new(TimestampNanosecondArray::from(vec![1_510_871_468_000_001_001])), -1_207_196_810),
        (Arc::new(TimestampMicrosecondArray::from(vec![1_510_871_468_000_000]).with_timezone("UTC")), -2_047_944_441),
        (Arc::new(StringViewArray::from(vec!["iceberg"])), 1_210_000_089),
        (Arc::new(StringArray::from(vec!["iceberg"])), 1_210_000_089),
        (Arc::new(fixed(&uuid)), 1_488_055_340),
        (Arc::new(fixed(&[0, 1, 2, 3])), -188_683_207),
        (Arc::new(BinaryViewArray::from(vec![[0_u8, 1, 2, 3].as_slice()])), -188_683_207),
    ];
    for (input, hash) in vectors {
        let result = apply(&all, &input).expect("applies");
        assert_eq!(result.as_primitive::<Int32Type>().value(0), bits(hash), "{}", input.data_type());
    }
}

#[test]
fn buckets_agree_with_the_iceberg_crate() {
    for buckets in [1, 2, 16, 1000] {
        let bucket = Transform::Bucket(buckets);
        check(bucket, Arc::new(Int32Array::from(INTS.to_vec())), INTS.map(Datum::int));
        check(bucket, Arc::new(Int64Array::from(LONGS.to_vec())), LONGS.map(Datum::long));
        check(bucket, Arc::new(Date32Array::from(DAYS.to_vec())), DAYS.map(Datum::date));
        check(bucket, Arc::new(TimestampMicrosecondArray::from(MICROS.to_vec())), MICROS.map(Datum::timestamp_micros));
        check(bucket, Arc::new(StringViewArray::from(TEXTS.to_vec())), TEXTS.map(Datum::string));
        check(bucket, Arc::new(StringArray::from(TEXTS.to_vec())), TEXTS.map(Datum::string));
        let bytes = TEXTS.map(str::as_bytes);
        check(
            bucket,
            Arc::new(BinaryViewArray::from(bytes.to_vec())),
            bytes.map(|value| Datum::binary(value.iter().copied())),
        );
        let decimals = [0_i128, 1, -1, 127, 128, -128, -129, 255, 256, 32_767, 32_768, -32_769, 10_i128.pow(30)];
        let decimal_type = PrimitiveType::Decimal { precision: 38, scale: 4 };
        check(
            bucket,
            Arc::new(Decimal128Array::from(decimals.to_vec()).with_precision_and_scale(38, 4).expect("fits")),
            decimals.map(|value| Datum::try_from_bytes(&value.to_be_bytes(), decimal_type.clone()).expect("a decimal")),
        );
    }
}

#[test]
fn times_agree_with_the_iceberg_crate() {
    for unit in [Transform::Year, Transform::Month, Transform::Day] {
        check(unit, Arc::new(Date32Array::from(DAYS.to_vec())), DAYS.map(Datum::date));
    }
    for unit in [Transform::Year, Transform::Month, Transform::Day, Transform::Hour] {
        check(unit, Arc::new(TimestampMicrosecondArray::from(MICROS.to_vec())), MICROS.map(Datum::timestamp_micros));
        check(
            unit,
            Arc::new(TimestampMicrosecondArray::from(MICROS.to_vec()).with_timezone("UTC")),
            MICROS.map(Datum::timestamptz_micros),
        );
    }
}

#[test]
fn every_day_of_eight_centuries_has_the_right_month() {
    let days: Vec<i32> = (-146_097..146_097).step_by(3).collect();
    let input: ArrayRef = Arc::new(Date32Array::from(days.clone()));
    check(Transform::Month, Arc::clone(&input), days.iter().map(|day| Datum::date(*day)));
    check(Transform::Year, input, days.iter().map(|day| Datum::date(*day)));
}

#[test]
fn nanoseconds_before_1970_round_down() {
    let input: ArrayRef = Arc::new(TimestampNanosecondArray::from(vec![-1, -1_000, 999]));
    for (unit, expected) in
        [(Transform::Year, [-1, -1, 0]), (Transform::Month, [-1, -1, 0]), (Transform::Hour, [-1, -1, 0])]
    {
        let result = apply(&unit, &input).expect("applies");
        assert_eq!(result.as_primitive::<Int32Type>().values().to_vec(), expected, "{unit}");
    }
    let days = apply(&Transform::Day, &input).expect("applies");
    assert_eq!(days.as_primitive::<Date32Type>().values().to_vec(), [-1, -1, 0]);
}

#[test]
fn numbers_truncate_towards_negative_infinity() {
    let ints: ArrayRef = Arc::new(Int32Array::from(vec![Some(1), Some(-1), Some(10), Some(-10), None]));
    let result = apply(&Transform::Truncate(10), &ints).expect("applies");
    assert_eq!(result.as_ref(), &Int32Array::from(vec![Some(0), Some(-10), Some(10), Some(-10), None]) as &dyn Array);
    let longs: ArrayRef = Arc::new(Int64Array::from(LONGS.to_vec()));
    let result = apply(&Transform::Truncate(7), &longs).expect("applies");
    for (row, value) in LONGS.into_iter().enumerate() {
        assert_eq!(result.as_primitive::<Int64Type>().value(row), value - value.rem_euclid(7));
    }
    let decimals: ArrayRef =
        Arc::new(Decimal128Array::from(vec![1065, -1065, 50]).with_precision_and_scale(9, 2).expect("fits"));
    let result = apply(&Transform::Truncate(50), &decimals).expect("applies");
    assert_eq!(result.data_type(), decimals.data_type());
    assert_eq!(result.as_primitive::<Decimal128Type>().values().to_vec(), [1050, -1100, 50]);
}

#[test]
fn strings_truncate_by_characters_and_binaries_by_bytes() {
    let texts: ArrayRef = Arc::new(StringViewArray::from(TEXTS.to_vec()));
    let result = apply(&Transform::Truncate(3), &texts).expect("applies");
    for (row, text) in TEXTS.into_iter().enumerate() {
        assert_eq!(result.as_string_view().value(row), text.chars().take(3).collect::<String>());
    }
    let bytes: ArrayRef = Arc::new(BinaryViewArray::from(vec![[1_u8, 2, 3, 4].as_slice(), &[5]]));
    let result = apply(&Transform::Truncate(3), &bytes).expect("applies");
    assert_eq!(result.as_binary_view().value(0), [1, 2, 3]);
    assert_eq!(result.as_binary_view().value(1), [5]);
}

#[test]
fn what_is_not_defined_is_an_error() {
    let floats: ArrayRef = Arc::new(arrow::array::Float64Array::from(vec![1.0]));
    let dates: ArrayRef = Arc::new(Date32Array::from(vec![1]));
    let ints: ArrayRef = Arc::new(Int32Array::from(vec![1]));
    assert!(apply(&Transform::Bucket(4), &floats).is_err());
    assert!(apply(&Transform::Hour, &dates).is_err());
    assert!(apply(&Transform::Bucket(0), &ints).is_err());
    assert!(apply(&Transform::Truncate(0), &ints).is_err());
    assert!(apply(&Transform::Unknown, &ints).is_err());
}

#[test]
fn void_is_null() {
    let ints: ArrayRef = Arc::new(Int32Array::from(vec![1, 2]));
    assert_eq!(apply(&Transform::Void, &ints).expect("applies").null_count(), 2);
}
