//! The transforms as SQL functions: `bucket(16, c)`, `truncate(4, c)`, `years(c)`, `months(c)`, `days(c)`, `hours(c)`.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::compute::cast;
use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::{ScalarValue, exec_err, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::sort_properties::{ExprProperties, SortProperties};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use iceberg::spec::Transform;

use crate::transform;

/// Every function of this crate, ready to be registered.
pub fn all_scalar_functions() -> Vec<Arc<ScalarUDF>> {
    [Kind::Bucket, Kind::Truncate, Kind::Years, Kind::Months, Kind::Days, Kind::Hours]
        .into_iter()
        .map(|kind| Arc::new(ScalarUDF::from(TransformFunction::new(kind))))
        .collect()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Bucket,
    Truncate,
    Years,
    Months,
    Days,
    Hours,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Bucket => "bucket",
            Self::Truncate => "truncate",
            Self::Years => "years",
            Self::Months => "months",
            Self::Days => "days",
            Self::Hours => "hours",
        }
    }

    /// Whether the first argument is a number: of buckets, or a width.
    fn has_parameter(self) -> bool {
        matches!(self, Self::Bucket | Self::Truncate)
    }

    fn transform(self, parameter: u32) -> Transform {
        match self {
            Self::Bucket => Transform::Bucket(parameter),
            Self::Truncate => Transform::Truncate(parameter),
            Self::Years => Transform::Year,
            Self::Months => Transform::Month,
            Self::Days => Transform::Day,
            Self::Hours => Transform::Hour,
        }
    }
}

/// One transform as a scalar function.
#[derive(Debug, PartialEq, Eq, Hash)]
struct TransformFunction {
    kind: Kind,
    signature: Signature,
}

impl TransformFunction {
    fn new(kind: Kind) -> Self {
        Self { kind, signature: Signature::user_defined(Volatility::Immutable) }
    }

    /// The type that the source value is cast to first: the nearest one that Iceberg has.
    fn source_type(given: &DataType) -> DataType {
        match given {
            DataType::Int8 | DataType::Int16 | DataType::UInt8 | DataType::UInt16 => DataType::Int32,
            DataType::UInt32 => DataType::Int64,
            DataType::UInt64 => DataType::Decimal128(20, 0),
            DataType::Date64 => DataType::Date32,
            DataType::Time32(_) => DataType::Time64(TimeUnit::Microsecond),
            DataType::Timestamp(TimeUnit::Second | TimeUnit::Millisecond, zone) => {
                DataType::Timestamp(TimeUnit::Microsecond, zone.clone())
            }
            DataType::Dictionary(_, value) => Self::source_type(value),
            other => other.clone(),
        }
    }
}

impl ScalarUDFImpl for TransformFunction {
    fn name(&self) -> &str {
        self.kind.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        let Some(source) = arguments.last() else {
            return plan_err!("{} needs a column", self.name());
        };
        if *source == DataType::Null {
            return Ok(DataType::Int32);
        }
        transform::result_type(&self.kind.transform(1), source)
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        match (self.kind.has_parameter(), arguments) {
            (true, [parameter, source]) if parameter.is_integer() => {
                Ok(vec![DataType::Int64, Self::source_type(source)])
            }
            (true, _) => plan_err!("{0} takes a number and a value, as in {0}(16, id)", self.name()),
            (false, [source]) => Ok(vec![Self::source_type(source)]),
            (false, _) => plan_err!("{0} takes one value, as in {0}(ts)", self.name()),
        }
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let name = self.name();
        let parameter = match arguments.args.first() {
            Some(ColumnarValue::Scalar(ScalarValue::Int64(Some(number)))) if self.kind.has_parameter() => {
                match u32::try_from(*number) {
                    Ok(number @ 1..) => number,
                    _ => return exec_err!("the first argument of {name} is {number}; it must be positive"),
                }
            }
            _ if self.kind.has_parameter() => return exec_err!("the first argument of {name} must be a constant"),
            _ => 0,
        };
        let transform = self.kind.transform(parameter);
        let apply = |source: &ArrayRef| match source.data_type() {
            DataType::Null => Ok(cast(source, &DataType::Int32)?),
            _ => transform::apply(&transform, source),
        };
        match arguments.args.last() {
            Some(ColumnarValue::Array(source)) => Ok(ColumnarValue::Array(apply(source)?)),
            Some(ColumnarValue::Scalar(source)) => {
                let result = apply(&source.to_array()?)?;
                Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?))
            }
            None => exec_err!("{name} needs a value"),
        }
    }

    fn output_ordering(&self, inputs: &[ExprProperties]) -> Result<SortProperties> {
        // All transforms but the hash keep the order of their source.
        Ok(match inputs.last() {
            Some(source) if self.kind != Kind::Bucket => source.sort_properties,
            _ => SortProperties::Unordered,
        })
    }
}
