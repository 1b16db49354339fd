//! A key of grouping sets, behind them.

use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::Result;
use datafusion::common::utils::take_function_args;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, lit,
};

use super::canonical::as_promised;

/// `grouped_key(key, set, n)`: the key, which is the `n`th, of a row of the grouping set that `set` tells. It has the set as an argument
/// and its own number, so that a planner takes it neither for constant nor for equal to another key (`planner/grouped_keys.rs`).
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct GroupedKey {
    signature: Signature,
}

impl Default for GroupedKey {
    fn default() -> Self {
        Self { signature: Signature::any(3, Volatility::Immutable) }
    }
}

impl GroupedKey {
    /// The call for a key.
    pub(crate) fn call(key: Expr, set: Expr, number: usize) -> Expr {
        let function = Arc::new(ScalarUDF::new_from_impl(Self::default()));
        Expr::ScalarFunction(ScalarFunction::new_udf(function, vec![key, set, lit(number as u64)]))
    }
}

impl ScalarUDFImpl for GroupedKey {
    fn name(&self) -> &str {
        "grouped_key"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        let [key, _, _] = take_function_args(self.name(), arg_types)?;
        Ok(key.clone())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let [key, _, _] = take_function_args(self.name(), args.arg_fields)?;
        Ok(Arc::clone(key))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [key, _, _] = take_function_args(self.name(), args.args)?;
        as_promised(key, args.return_field.data_type())
    }
}
