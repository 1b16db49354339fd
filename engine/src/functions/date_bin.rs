//! `date_bin()` of strides that are longer than nothing, as PostgreSQL's. DataFusion's rounds up for negative ones. DataFusion 55.2.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::functions::datetime::date_bin;
use datafusion::logical_expr::sort_properties::{ExprProperties, SortProperties};
use datafusion::logical_expr::{ColumnarValue, Documentation, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature};

use crate::types::Form;

/// The function.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct DateBin {
    inner: Arc<ScalarUDF>,
}

impl Default for DateBin {
    fn default() -> Self {
        Self { inner: date_bin() }
    }
}

/// Whether an interval is longer than nothing, or NULL.
fn is_positive(stride: &ScalarValue) -> Result<bool> {
    Ok(match Form::Justified.of_scalar(stride.clone())? {
        ScalarValue::IntervalMonthDayNano(Some(stride)) => (stride.months, stride.days, stride.nanoseconds) > (0, 0, 0),
        ScalarValue::IntervalDayTime(Some(stride)) => (stride.days, stride.milliseconds) > (0, 0),
        _ => true,
    })
}

impl ScalarUDFImpl for DateBin {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        self.inner.inner().return_type(arg_types)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        // DataFusion refuses strides that are no constants.
        if let Some(ColumnarValue::Scalar(stride)) = args.args.first()
            && !is_positive(stride)?
        {
            return exec_err!("date_bin() of a stride that is not greater than zero");
        }
        self.inner.inner().invoke_with_args(args)
    }

    fn output_ordering(&self, input: &[ExprProperties]) -> Result<SortProperties> {
        self.inner.inner().output_ordering(input)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::IntervalMonthDayNano;

    use super::*;

    #[test]
    fn strides_are_positive_by_their_length() {
        for (months, days, nanoseconds, expected) in [
            (0, 0, 1, true),
            (0, 0, 0, false),
            (0, 0, -1, false),
            (0, 1, -1, true),
            (1, -30, 0, false),
            (-1, 31, 0, true),
        ] {
            let stride = IntervalMonthDayNano { months, days, nanoseconds };
            let stride = ScalarValue::IntervalMonthDayNano(Some(stride));
            assert_eq!(is_positive(&stride).unwrap(), expected, "{stride}");
        }
    }
}
