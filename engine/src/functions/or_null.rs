//! A value of which the planner would believe that it is never NULL, although it may be.

use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::Result;
use datafusion::common::utils::take_function_args;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::canonical::as_promised;

/// `or_null(x)`: `x`, which may be NULL. Called as its argument is (in column names), so that a plan with it has the names that it would
/// have without.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct OrNull {
    signature: Signature,
}

impl Default for OrNull {
    fn default() -> Self {
        Self { signature: Signature::any(1, Volatility::Immutable) }
    }
}

impl OrNull {
    /// The call around an expression.
    pub(crate) fn call(expr: Expr) -> Expr {
        let function = Arc::new(ScalarUDF::new_from_impl(Self::default()));
        Expr::ScalarFunction(ScalarFunction::new_udf(function, vec![expr]))
    }
}

impl ScalarUDFImpl for OrNull {
    fn name(&self) -> &str {
        "or_null"
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        let [value] = take_function_args(self.name(), args)?;
        Ok(value.schema_name().to_string())
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        let [data_type] = take_function_args(self.name(), arg_types)?;
        Ok(data_type.clone())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let [field] = take_function_args(self.name(), args.arg_fields)?;
        Ok(Arc::new(field.as_ref().clone().with_nullable(true)))
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [value] = take_function_args(self.name(), args.args)?;
        as_promised(value, args.return_field.data_type())
    }
}
