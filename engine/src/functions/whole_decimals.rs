//! `ceil()` and `floor()` of decimals give decimals without digits behind the point, which have room for all of them.
//!
//! DataFusion gives the argument's type, in which `ceil(99.9)` of `decimal(3, 1)` is an error. All else is DataFusion's. DataFusion 55.2.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Decimal128Array};
use arrow::datatypes::{DataType, Decimal128Type};
use datafusion::common::{Result, ScalarValue};
use datafusion::functions::math::{ceil, floor};
use datafusion::logical_expr::interval_arithmetic::Interval;
use datafusion::logical_expr::preimage::PreimageResult;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::sort_properties::{ExprProperties, SortProperties};
use datafusion::logical_expr::{
    ColumnarValue, Documentation, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};

/// One of the functions.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct WholeDecimals {
    inner: Arc<ScalarUDF>,
    rounds_up: bool,
}

impl WholeDecimals {
    /// Both.
    pub(super) fn both() -> [Self; 2] {
        [(ceil(), true), (floor(), false)].map(|(inner, rounds_up)| Self { inner, rounds_up })
    }
}

/// The type of the whole numbers next to decimals that have digits behind the point. A carry takes one digit more.
fn whole(data_type: &DataType) -> Option<DataType> {
    match data_type {
        DataType::Decimal128(precision, scale) if *scale > 0 => {
            let digits = precision.saturating_sub(scale.unsigned_abs()).saturating_add(1);
            Some(DataType::Decimal128(digits, 0))
        }
        _ => None,
    }
}

impl ScalarUDFImpl for WholeDecimals {
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
        match arg_types.first().and_then(whole) {
            Some(whole) => Ok(whole),
            None => self.inner.inner().return_type(arg_types),
        }
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let Some((value, DataType::Decimal128(_, scale))) = args.args.first().map(|value| (value, value.data_type()))
        else {
            return self.inner.inner().invoke_with_args(args);
        };
        let Some(DataType::Decimal128(digits, _)) = whole(&value.data_type()) else {
            return self.inner.inner().invoke_with_args(args);
        };
        let unit = 10_i128.pow(scale.unsigned_abs().into());
        let values = value.to_array(1)?;
        let values = values.as_primitive::<Decimal128Type>();
        let whole: Decimal128Array = match self.rounds_up {
            true => values.unary(|value| -(-value).div_euclid(unit)),
            false => values.unary(|value| value.div_euclid(unit)),
        };
        let whole: ArrayRef = Arc::new(whole.with_precision_and_scale(digits, 0)?);
        Ok(match value {
            ColumnarValue::Scalar(_) => ColumnarValue::Scalar(ScalarValue::try_from_array(&whole, 0)?),
            ColumnarValue::Array(_) => ColumnarValue::Array(whole),
        })
    }

    fn output_ordering(&self, input: &[ExprProperties]) -> Result<SortProperties> {
        self.inner.inner().output_ordering(input)
    }

    fn evaluate_bounds(&self, inputs: &[&Interval]) -> Result<Interval> {
        let types: Vec<DataType> = inputs.iter().map(|input| input.data_type()).collect();
        Interval::make_unbounded(&self.return_type(&types)?)
    }

    fn preimage(&self, args: &[Expr], literal: &Expr, info: &SimplifyContext) -> Result<PreimageResult> {
        match args.first().map(|value| info.get_data_type(value)).transpose()?.as_ref().and_then(whole) {
            Some(_) => Ok(PreimageResult::None),
            None => self.inner.inner().preimage(args, literal, info),
        }
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::Field;
    use datafusion::common::config::ConfigOptions;

    use super::*;

    fn call(function: &WholeDecimals, value: i128, precision: u8, scale: i8) -> (i128, DataType) {
        let value = ScalarValue::Decimal128(Some(value), precision, scale);
        let data_type = function.return_type(&[value.data_type()]).unwrap();
        let args = ScalarFunctionArgs {
            arg_fields: vec![Arc::new(Field::new("a", value.data_type(), true))],
            args: vec![ColumnarValue::Scalar(value)],
            number_rows: 1,
            return_field: Arc::new(Field::new("f", data_type, true)),
            config_options: Arc::new(ConfigOptions::default()),
        };
        match function.invoke_with_args(args).unwrap() {
            ColumnarValue::Scalar(ScalarValue::Decimal128(Some(whole), precision, scale)) => {
                (whole, DataType::Decimal128(precision, scale))
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn there_is_room_at_the_limit_of_a_type() {
        let [ceil, floor] = WholeDecimals::both();
        assert_eq!(call(&ceil, 999, 3, 1), (100, DataType::Decimal128(3, 0)));
        assert_eq!(call(&floor, -999, 3, 1), (-100, DataType::Decimal128(3, 0)));
        assert_eq!(call(&ceil, -999, 3, 1), (-99, DataType::Decimal128(3, 0)));
        assert_eq!(call(&ceil, 1, 38, 38), (1, DataType::Decimal128(1, 0)));
        assert_eq!(call(&floor, 10_i128.pow(38) - 1, 38, 1), (10_i128.pow(37) - 1, DataType::Decimal128(38, 0)));
        assert_eq!(call(&ceil, 10_i128.pow(38) - 1, 38, 1), (10_i128.pow(37), DataType::Decimal128(38, 0)));
        assert_eq!(call(&ceil, 42, 4, 0), (42, DataType::Decimal128(4, 0)));
    }
}
