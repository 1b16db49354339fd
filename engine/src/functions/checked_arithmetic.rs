//! `+`, `-`, `*` and unary minus of integers that fail where DataFusion's wrap around.
//!
//! In: one or two integers of one type. Out: an integer of that type, or an overflow that names the operation. They are called
//! as operators are (in column names), so that a plan with them has the names that it would have without.

use std::sync::Arc;

use arrow::array::{ArrayRef, Datum};
use arrow::compute::kernels::numeric;
use arrow::datatypes::{DataType, Field, FieldRef};
use arrow::error::ArrowError;
use datafusion::common::{Result, ScalarValue, internal_err};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::physical_expr_common::datum::apply;

/// What is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Operation {
    Add,
    Subtract,
    Multiply,
    Negate,
}

impl Operation {
    pub(super) const ALL: [Self; 4] = [Self::Add, Self::Subtract, Self::Multiply, Self::Negate];
}

/// One operation on integers.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct CheckedArithmetic {
    operation: Operation,
    signature: Signature,
}

impl CheckedArithmetic {
    /// The function of an operation.
    pub(crate) fn function(operation: Operation) -> Arc<ScalarUDF> {
        use DataType::{Int8, Int16, Int32, Int64, UInt8, UInt16, UInt32, UInt64};
        let (arguments, types) = match operation {
            Operation::Negate => (1, vec![Int8, Int16, Int32, Int64]),
            _ => (2, vec![Int8, Int16, Int32, Int64, UInt8, UInt16, UInt32, UInt64]),
        };
        let signature = Signature::uniform(arguments, types, Volatility::Immutable);
        Arc::new(ScalarUDF::new_from_impl(Self { operation, signature }))
    }
}

impl ScalarUDFImpl for CheckedArithmetic {
    fn name(&self) -> &str {
        match self.operation {
            Operation::Add => "checked_add",
            Operation::Subtract => "checked_subtract",
            Operation::Multiply => "checked_multiply",
            Operation::Negate => "checked_negate",
        }
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        let symbol = match self.operation {
            Operation::Add => '+',
            Operation::Subtract | Operation::Negate => '-',
            Operation::Multiply => '*',
        };
        match args {
            [value] => Ok(format!("({symbol} {})", value.schema_name())),
            [left, right] => Ok(format!("{} {symbol} {}", left.schema_name(), right.schema_name())),
            _ => internal_err!("{} of {} values", self.name(), args.len()),
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        match arg_types.first() {
            Some(ty) => Ok(ty.clone()),
            None => internal_err!("{} of nothing", self.name()),
        }
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let types: Vec<DataType> = args.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        let nullable = args.arg_fields.iter().any(|field| field.is_nullable());
        Ok(Arc::new(Field::new(self.name(), self.return_type(&types)?, nullable)))
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let kernel = match self.operation {
            Operation::Add => numeric::add,
            Operation::Subtract => numeric::sub,
            Operation::Multiply => numeric::mul,
            Operation::Negate => return negate(&args.args),
        };
        let [left, right] = args.args.as_slice() else {
            return internal_err!("{} of {} values", self.name(), args.args.len());
        };
        apply(left, right, |left: &dyn Datum, right: &dyn Datum| kernel(left, right).map_err(integer_overflow))
    }
}

fn negate(args: &[ColumnarValue]) -> Result<ColumnarValue> {
    let negative = |array: &ArrayRef| numeric::neg(array).map_err(integer_overflow);
    match args {
        [ColumnarValue::Array(array)] => Ok(ColumnarValue::Array(negative(array)?)),
        [ColumnarValue::Scalar(value)] => {
            let array = negative(&value.to_array_of_size(1)?)?;
            Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?))
        }
        _ => internal_err!("the negative of {} values", args.len()),
    }
}

/// Arrow's error, with the kind of number before the operation.
fn integer_overflow(error: ArrowError) -> ArrowError {
    match error {
        ArrowError::ArithmeticOverflow(message) => {
            let operation = message.strip_prefix("Overflow happened on: ").unwrap_or(&message);
            ArrowError::ArithmeticOverflow(format!("integer overflow: {operation}"))
        }
        other => other,
    }
}
