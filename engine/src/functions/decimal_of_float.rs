//! `CAST` and `TRY_CAST` of floating-point numbers to decimals, by the digits that they are written with ([`cast_by_digits`]).

use std::sync::Arc;

use arrow::compute::CastOptions;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::utils::take_function_args;
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, lit,
};

use crate::types::cast_by_digits;

/// `decimal_of_float(number, NULL of the type, tries)`. What does not fit is an error, or NULL if it tries. Called as its argument is (in
/// column names), as casts are.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct DecimalOfFloat {
    signature: Signature,
}

impl Default for DecimalOfFloat {
    fn default() -> Self {
        Self { signature: Signature::any(3, Volatility::Immutable) }
    }
}

impl DecimalOfFloat {
    /// The call for a cast.
    ///
    /// # Errors
    /// If there is no NULL of the type.
    pub(crate) fn call(number: Expr, to: &DataType, tries: bool) -> Result<Expr> {
        let function = Arc::new(ScalarUDF::new_from_impl(Self::default()));
        let args = vec![number, lit(ScalarValue::try_from(to)?), lit(tries)];
        Ok(Expr::ScalarFunction(ScalarFunction::new_udf(function, args)))
    }
}

impl ScalarUDFImpl for DecimalOfFloat {
    fn name(&self) -> &str {
        "decimal_of_float"
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        let [number, _, _] = take_function_args(self.name(), args)?;
        Ok(number.schema_name().to_string())
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        let [_, to, _] = take_function_args(self.name(), arg_types)?;
        Ok(to.clone())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let [number, to, _] = take_function_args(self.name(), args.arg_fields)?;
        let tries = matches!(args.scalar_arguments.get(2), Some(Some(ScalarValue::Boolean(Some(true)))));
        Ok(Arc::new(Field::new(self.name(), to.data_type().clone(), tries || number.is_nullable())))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let to = args.return_field.data_type().clone();
        let [number, _, tries] = take_function_args(self.name(), args.args)?;
        let safe = matches!(tries, ColumnarValue::Scalar(ScalarValue::Boolean(Some(true))));
        let decimals = cast_by_digits(&number.to_array(1)?, &to, &CastOptions { safe, ..CastOptions::default() })?;
        Ok(match number {
            ColumnarValue::Array(_) => ColumnarValue::Array(decimals),
            ColumnarValue::Scalar(_) => ColumnarValue::Scalar(ScalarValue::try_from_array(&decimals, 0)?),
        })
    }
}
