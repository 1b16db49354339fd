//! The one order of lists, structs and maps: PostgreSQL's. They are compared value by value; a NULL among the values equals another, and
//! is larger than all others; of two lists of which one begins with the other, the shorter is smaller.
//!
//! DataFusion 55.2 sorts so, but takes a NULL for the smallest in `<`, `greatest()` and `least()`. Here are `<`, `<=`, `>` and `>=` of two
//! nested values, and `greatest()` and `least()` of any. They are called as the operators are (in column names).

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, Datum, DynComparator, make_comparator};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::compute::SortOptions;
use arrow::compute::kernels::{cmp, zip::zip};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use datafusion::common::utils::take_function_args;
use datafusion::common::{Result, ScalarValue, exec_err, internal_err};
use datafusion::functions::core::{greatest, least};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    ColumnarValue, Documentation, Expr, Operator, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::physical_expr_common::datum::{apply, compare_with_eq};

use crate::types::{Form, holds_intervals};

/// Where NULLs are, in nested values and among them.
const NULLS_LAST: SortOptions = SortOptions { descending: false, nulls_first: false };

/// How values of one nested type are ordered.
fn comparator(left: &dyn Array, right: &dyn Array) -> Result<DynComparator> {
    Ok(make_comparator(left, right, NULLS_LAST)?)
}

/// Compares values of one type, row by row, of which either may be a single one. NULL where one of them is NULL.
///
/// # Errors
/// If the operator is no comparison, or values of the type have no order.
pub(super) fn compare(op: Operator, left: &dyn Datum, right: &dyn Datum) -> Result<BooleanArray> {
    let ((left_values, left_is_one), (right_values, right_is_one)) = (left.get(), right.get());
    if !left_values.data_type().is_nested() {
        return Ok(match op {
            Operator::Eq => cmp::eq(left, right)?,
            Operator::NotEq => cmp::neq(left, right)?,
            Operator::Lt => cmp::lt(left, right)?,
            Operator::LtEq => cmp::lt_eq(left, right)?,
            Operator::Gt => cmp::gt(left, right)?,
            Operator::GtEq => cmp::gt_eq(left, right)?,
            other => return internal_err!("{other} is no comparison"),
        });
    }
    if op == Operator::Eq {
        return compare_with_eq(left, right, true);
    }
    let rows = if left_is_one { right_values.len() } else { left_values.len() };
    let order = comparator(left_values, right_values)?;
    let holds = |row: usize| {
        let order = order(if left_is_one { 0 } else { row }, if right_is_one { 0 } else { row });
        match op {
            Operator::NotEq => order.is_ne(),
            Operator::Lt => order.is_lt(),
            Operator::LtEq => order.is_le(),
            Operator::Gt => order.is_gt(),
            _ => order.is_ge(),
        }
    };
    let nulls_of = |values: &dyn Array, is_one: bool| match is_one {
        true if values.is_null(0) => Some(NullBuffer::new_null(rows)),
        true => None,
        false => values.nulls().cloned(),
    };
    let nulls =
        NullBuffer::union(nulls_of(left_values, left_is_one).as_ref(), nulls_of(right_values, right_is_one).as_ref());
    Ok(BooleanArray::new(BooleanBuffer::collect_bool(rows, holds), nulls))
}

/// A value in which the two zeros are one.
pub(super) fn one_zero(value: &ColumnarValue) -> Result<ColumnarValue> {
    Ok(match value {
        ColumnarValue::Array(array) => ColumnarValue::Array(Form::OneZero.of(array)?),
        ColumnarValue::Scalar(value) => ColumnarValue::Scalar(Form::OneZero.of_scalar(value.clone())?),
    })
}

/// A comparison of two nested values of one type.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct NestedComparison {
    op: Operator,
    signature: Signature,
}

impl NestedComparison {
    /// The operators that there are such functions for.
    pub(crate) const OPERATORS: [Operator; 4] = [Operator::Lt, Operator::LtEq, Operator::Gt, Operator::GtEq];

    /// The function of an operator.
    pub(crate) fn function(op: Operator) -> Arc<ScalarUDF> {
        Arc::new(ScalarUDF::new_from_impl(Self { op, signature: Signature::any(2, Volatility::Immutable) }))
    }

    /// The comparison of two expressions.
    pub(crate) fn call(op: Operator, left: Expr, right: Expr) -> Expr {
        Expr::ScalarFunction(ScalarFunction::new_udf(Self::function(op), vec![left, right]))
    }
}

impl ScalarUDFImpl for NestedComparison {
    fn name(&self) -> &str {
        match self.op {
            Operator::Lt => "nested_less",
            Operator::LtEq => "nested_less_or_equal",
            Operator::Gt => "nested_greater",
            _ => "nested_greater_or_equal",
        }
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        let [left, right] = take_function_args(self.name(), args)?;
        Ok(format!("{} {} {}", left.schema_name(), self.op, right.schema_name()))
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [left, right] = take_function_args(self.name(), args.args)?;
        if !left.data_type().is_nested() || !left.data_type().equals_datatype(&right.data_type()) {
            return exec_err!("{} of {} and {}", self.op, left.data_type(), right.data_type());
        }
        apply(&one_zero(&left)?, &one_zero(&right)?, |left, right| {
            let compared = compare(self.op, left, right);
            Ok(Arc::new(compared.map_err(|error| ArrowError::from_external_error(Box::new(error)))?))
        })
    }
}

/// `greatest()` or `least()`. What it takes is DataFusion's to say, and so are values that are neither nested nor intervals, which go by their lengths.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Extreme {
    inner: Arc<ScalarUDF>,
    is_greatest: bool,
}

impl Extreme {
    /// Both.
    pub(super) fn both() -> [Self; 2] {
        [(greatest(), true), (least(), false)].map(|(inner, is_greatest)| Self { inner, is_greatest })
    }

    /// Of two values the one that is looked for; a NULL is not.
    fn of_two(&self, left: &ArrayRef, right: &ArrayRef) -> Result<ArrayRef> {
        let form = if holds_intervals(left.data_type()) { Form::Justified } else { Form::OneZero };
        let order = comparator(&form.of(left)?, &form.of(right)?)?;
        let is_left = |row: usize| match (left.is_null(row), right.is_null(row)) {
            (true, _) => false,
            (_, true) => true,
            _ if self.is_greatest => order(row, row).is_ge(),
            _ => order(row, row).is_le(),
        };
        let is_left = BooleanArray::new(BooleanBuffer::collect_bool(left.len(), is_left), None);
        Ok(zip(&is_left, left, right)?)
    }
}

impl ScalarUDFImpl for Extreme {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        self.inner.inner().return_type(arg_types)
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.inner().coerce_types(arg_types)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let data_type = args.return_field.data_type();
        if !data_type.is_nested() && !holds_intervals(data_type) {
            return self.inner.inner().invoke_with_args(args);
        }
        let ScalarFunctionArgs { args, number_rows, return_field, .. } = args;
        let are_constant = args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if are_constant { 1 } else { number_rows };
        let mut found: Option<ArrayRef> = None;
        for arg in args {
            let arg = arg.cast_to(return_field.data_type(), None)?.into_array(rows)?;
            found = Some(match found {
                Some(found) => self.of_two(&found, &arg)?,
                None => arg,
            });
        }
        match found {
            Some(found) if are_constant => Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&found, 0)?)),
            Some(found) => Ok(ColumnarValue::Array(found)),
            None => exec_err!("{} of nothing", self.name()),
        }
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::ListArray;
    use arrow::datatypes::Int64Type;

    use super::*;

    #[test]
    fn a_null_within_a_list_is_the_largest_and_a_shorter_list_is_smaller() {
        let ascending = [
            Some(vec![]),
            Some(vec![Some(1)]),
            Some(vec![Some(1), Some(2)]),
            Some(vec![Some(1), None]),
            Some(vec![Some(1), None, Some(0)]),
            Some(vec![None]),
        ];
        for (one, left) in ascending.iter().enumerate() {
            for (other, right) in ascending.iter().enumerate() {
                let list = |list: &Option<Vec<Option<i64>>>| {
                    ListArray::from_iter_primitive::<Int64Type, _, _>([list.clone(), None])
                };
                for (op, expected) in [
                    (Operator::Lt, one < other),
                    (Operator::LtEq, one <= other),
                    (Operator::Gt, one > other),
                    (Operator::GtEq, one >= other),
                    (Operator::Eq, one == other),
                    (Operator::NotEq, one != other),
                ] {
                    let compared = compare(op, &list(left), &list(right)).unwrap();
                    assert_eq!(compared.iter().collect::<Vec<_>>(), [Some(expected), None], "{left:?} {op} {right:?}");
                }
            }
        }
    }
}
