//! `bucket[N]`: which of N buckets a value's hash falls into.
//!
//! Integers, dates, times and timestamps hash as longs, nanoseconds as the microseconds below them, decimals as the
//! shortest two's complement bytes of their unscaled value, everything else as its bytes.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int32Array, PrimitiveArray};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Decimal128Type, Int32Type, Int64Type, Time64MicrosecondType,
    Time64NanosecondType, TimeUnit, TimestampMicrosecondType, TimestampNanosecondType,
};
use datafusion::common::exec_err;
use datafusion::error::Result;

use super::murmur3::{hash, hash_long};

/// The bucket of each value, from 0 to `buckets` - 1.
pub(super) fn apply(buckets: u32, input: &ArrayRef) -> Result<ArrayRef> {
    let Ok(count @ 1..) = i32::try_from(buckets) else {
        return exec_err!("the number of buckets is {buckets}; it must be from 1 to 2147483647");
    };
    let bucket = |hash: u32| (hash & 0x7fff_ffff) as i32 % count;
    let long = |value: i64| bucket(hash_long(value));
    let nanos = |value: i64| bucket(hash_long(value.div_euclid(1000)));
    let result: Int32Array = match input.data_type() {
        DataType::Int32 => map::<Int32Type>(input, |value| long(value.into())),
        DataType::Date32 => map::<Date32Type>(input, |value| long(value.into())),
        DataType::Int64 => map::<Int64Type>(input, long),
        DataType::Time64(TimeUnit::Microsecond) => map::<Time64MicrosecondType>(input, long),
        DataType::Time64(TimeUnit::Nanosecond) => map::<Time64NanosecondType>(input, nanos),
        DataType::Timestamp(TimeUnit::Microsecond, _) => map::<TimestampMicrosecondType>(input, long),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => map::<TimestampNanosecondType>(input, nanos),
        DataType::Decimal128(..) => map::<Decimal128Type>(input, |value| bucket(hash_decimal(value))),
        DataType::Utf8 => bytes(input.as_string::<i32>().iter(), bucket),
        DataType::LargeUtf8 => bytes(input.as_string::<i64>().iter(), bucket),
        DataType::Utf8View => bytes(input.as_string_view().iter(), bucket),
        DataType::Binary => bytes(input.as_binary::<i32>().iter(), bucket),
        DataType::LargeBinary => bytes(input.as_binary::<i64>().iter(), bucket),
        DataType::BinaryView => bytes(input.as_binary_view().iter(), bucket),
        DataType::FixedSizeBinary(_) => bytes(input.as_fixed_size_binary().iter(), bucket),
        other => return exec_err!("bucket is not defined for {other}"),
    };
    Ok(Arc::new(result))
}

fn map<T: ArrowPrimitiveType>(input: &ArrayRef, bucket: impl Fn(T::Native) -> i32) -> Int32Array {
    let input: &PrimitiveArray<T> = input.as_primitive();
    input.unary(bucket)
}

fn bytes<V: AsRef<[u8]>>(values: impl Iterator<Item = Option<V>>, bucket: impl Fn(u32) -> i32) -> Int32Array {
    values.map(|value| value.map(|value| bucket(hash(value.as_ref())))).collect()
}

/// Hashes the fewest big-endian bytes that hold the unscaled value in two's complement.
fn hash_decimal(unscaled: i128) -> u32 {
    let bits = if unscaled < 0 { !unscaled } else { unscaled };
    let needed = (128 - bits.leading_zeros() as usize) / 8 + 1;
    hash(&unscaled.to_be_bytes()[16 - needed..])
}
