//! Iceberg's partition transforms on Arrow arrays, bit-exact with the specification.
//!
//! In: a transform and an array of source values. Out: an array of the same length, NULL where the source is NULL.
//! Specification: <https://iceberg.apache.org/spec/#partition-transforms> and, for `bucket`, appendix B.

mod bucket;
mod murmur3;
mod temporal;
mod truncate;

use std::sync::Arc;

use arrow::array::{ArrayRef, new_null_array};
use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::{exec_err, plan_err};
use datafusion::error::Result;
use iceberg::spec::Transform;

/// The partition values that `transform` gives to `input`.
///
/// The result's type is that of [`result_type`].
///
/// # Errors
/// When the transform is not defined for the type, or is one that is not known.
pub fn apply(transform: &Transform, input: &ArrayRef) -> Result<ArrayRef> {
    match transform {
        Transform::Identity => Ok(Arc::clone(input)),
        Transform::Void => Ok(new_null_array(input.data_type(), input.len())),
        Transform::Bucket(buckets) => bucket::apply(*buckets, input),
        Transform::Truncate(width) => truncate::apply(*width, input),
        Transform::Year => temporal::apply(temporal::Unit::Year, input),
        Transform::Month => temporal::apply(temporal::Unit::Month, input),
        Transform::Day => temporal::apply(temporal::Unit::Day, input),
        Transform::Hour => temporal::apply(temporal::Unit::Hour, input),
        Transform::Unknown => exec_err!("the partition transform of this table is not known to this version"),
    }
}

/// The Arrow type of a transform's results.
///
/// # Errors
/// When the transform is not defined for the type.
pub fn result_type(transform: &Transform, input: &DataType) -> Result<DataType> {
    use DataType::{
        Binary, BinaryView, Date32, Decimal128, FixedSizeBinary, Int32, Int64, LargeBinary, LargeUtf8, Time64,
        Timestamp, Utf8, Utf8View,
    };
    let subsecond = |unit: &TimeUnit| matches!(unit, TimeUnit::Microsecond | TimeUnit::Nanosecond);
    let defined = match (transform, input) {
        (Transform::Identity | Transform::Void, _) => return Ok(input.clone()),
        (Transform::Bucket(_), Timestamp(unit, _) | Time64(unit)) => subsecond(unit),
        (Transform::Bucket(_), FixedSizeBinary(_) | Date32) => true,
        (
            Transform::Bucket(_) | Transform::Truncate(_),
            Int32 | Int64 | Decimal128(..) | Utf8 | LargeUtf8 | Utf8View | Binary | LargeBinary | BinaryView,
        ) => true,
        (Transform::Year | Transform::Month | Transform::Day, Date32) => true,
        (Transform::Year | Transform::Month | Transform::Day | Transform::Hour, Timestamp(unit, _)) => subsecond(unit),
        _ => false,
    };
    if !defined {
        return plan_err!("the transform {transform} is not defined for {input}");
    }
    Ok(match transform {
        Transform::Truncate(_) => input.clone(),
        Transform::Day => Date32,
        _ => Int32,
    })
}

#[cfg(test)]
mod tests;
