//! Pruning by the `bucket` transform: a value can only be in the bucket that it hashes to.

use std::collections::HashSet;

use datafusion::arrow::array::BooleanArray;
use datafusion::common::ScalarValue;
use iceberg::spec::{Datum, PrimitiveLiteral, Transform};
use iceberg::transform::create_transform_function;

/// For each container, the range of buckets that its rows of one column lie in.
#[derive(Debug)]
pub(crate) struct BucketRanges {
    /// The column that is hashed, by field id.
    pub(crate) source_id: i32,
    /// The number of buckets.
    pub(crate) buckets: u32,
    /// First and last bucket, inclusive; `None` where unknown.
    pub(crate) ranges: Vec<Option<(i32, i32)>>,
}

impl BucketRanges {
    pub(crate) fn memory_bytes(&self) -> usize {
        self.ranges.len() * size_of::<Option<(i32, i32)>>()
    }

    /// `false` where no row can equal any of `values`, null where that is not known; never `true`.
    pub(crate) fn contained(&self, values: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        let hashed: Option<Vec<i32>> = values.iter().map(|value| bucket_of(value, self.buckets)).collect();
        let hashed = hashed?;
        let answers = self.ranges.iter().map(|range| {
            let (first, last) = (*range)?;
            let possible = hashed.iter().any(|bucket| (first..=last).contains(bucket));
            (!possible).then_some(false)
        });
        Some(answers.collect())
    }
}

/// The bucket of a value, or `None` if the value has no Iceberg hash here.
fn bucket_of(value: &ScalarValue, buckets: u32) -> Option<i32> {
    let function = create_transform_function(&Transform::Bucket(buckets)).ok()?;
    match function.transform_literal(&datum(value)?).ok()??.literal() {
        PrimitiveLiteral::Int(bucket) => Some(*bucket),
        _ => None,
    }
}

/// The Iceberg value that hashes as this Arrow value does.
fn datum(value: &ScalarValue) -> Option<Datum> {
    Some(match value {
        ScalarValue::Int32(Some(value)) => Datum::int(*value),
        ScalarValue::Int64(Some(value)) => Datum::long(*value),
        ScalarValue::Date32(Some(days)) => Datum::date(*days),
        ScalarValue::Time64Microsecond(Some(micros)) => Datum::time_micros(*micros).ok()?,
        ScalarValue::TimestampMicrosecond(Some(micros), None) => Datum::timestamp_micros(*micros),
        ScalarValue::TimestampMicrosecond(Some(micros), Some(_)) => Datum::timestamptz_micros(*micros),
        ScalarValue::Utf8(Some(text)) | ScalarValue::LargeUtf8(Some(text)) | ScalarValue::Utf8View(Some(text)) => {
            Datum::string(text)
        }
        ScalarValue::Binary(Some(bytes))
        | ScalarValue::LargeBinary(Some(bytes))
        | ScalarValue::BinaryView(Some(bytes)) => Datum::binary(bytes.iter().copied()),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(ranges: Vec<Option<(i32, i32)>>) -> BucketRanges {
        BucketRanges { source_id: 1, buckets: 16, ranges }
    }

    #[test]
    fn a_bucket_that_no_value_hashes_to_is_ruled_out_and_the_rest_is_unknown() {
        // The specification's vector: hash(34) = 2017239379, so bucket 3 of 16.
        let values = HashSet::from([ScalarValue::Int32(Some(34))]);
        let answers = ranges(vec![Some((3, 3)), Some((4, 15)), None, Some((0, 15))]).contained(&values);
        assert_eq!(answers, Some(BooleanArray::from(vec![None, Some(false), None, None])));
    }

    #[test]
    fn a_null_or_an_unhashable_value_keeps_everything() {
        assert_eq!(ranges(vec![Some((1, 1))]).contained(&HashSet::from([ScalarValue::Int32(None)])), None);
        assert_eq!(ranges(vec![Some((1, 1))]).contained(&HashSet::from([ScalarValue::Float64(Some(1.0))])), None);
    }
}
