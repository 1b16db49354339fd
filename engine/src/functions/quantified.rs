//! Comparisons of a value with any, or all, of the elements of a list: `x < ANY (list)`, `x <> ALL (list)`.
//!
//! In: a value, and a list. Out: for ANY, true if the comparison holds for an element; else NULL if it is NULL for one, since the value or
//! an element is NULL; else false, as for a list without elements. For ALL the other way round. NULL for a list that is NULL.
//! (SQL:2016, 8.9; PostgreSQL, 9.25.) DataFusion 55.2 has no NULL for elements that are NULL.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, ListArray, Scalar, UInt32Array};
use arrow::compute::{and_kleene, cast, or_kleene, take};
use arrow::datatypes::{DataType, Field};
use datafusion::common::utils::take_function_args;
use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::type_coercion::binary::comparison_coercion;
use datafusion::logical_expr::{
    ColumnarValue, Expr, Operator, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

use super::nested_order::{compare, one_zero};
use crate::computing;

/// Elements between two looks whether the query may go on.
const CHECKED_ELEMENTS: usize = 256;

/// How many elements must satisfy the comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Quantifier {
    Any,
    All,
}

/// One comparison with one quantifier.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Quantified {
    op: Operator,
    quantifier: Quantifier,
    signature: Signature,
}

impl Quantified {
    /// All of them.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        let operators = [Operator::Eq, Operator::NotEq, Operator::Lt, Operator::LtEq, Operator::Gt, Operator::GtEq];
        operators.into_iter().flat_map(|op| {
            [Quantifier::Any, Quantifier::All].map(|quantifier| Self {
                op,
                quantifier,
                signature: Signature::user_defined(Volatility::Immutable),
            })
        })
    }

    /// What a call of such a function is, if it is one: the comparison, the value and the list.
    pub(crate) fn parts(expr: &Expr) -> Option<(Operator, Quantifier, &Expr, &Expr)> {
        let Expr::ScalarFunction(ScalarFunction { func, args }) = expr else { return None };
        let Self { op, quantifier, .. } = func.inner().downcast_ref::<Self>()?;
        let [value, list] = args.as_slice() else { return None };
        Some((*op, *quantifier, value, list))
    }

    /// The name under which SQL calls it: `any_lt`.
    pub(crate) fn name_of(op: Operator, quantifier: Quantifier) -> Option<&'static str> {
        use Operator::{Eq, Gt, GtEq, Lt, LtEq, NotEq};
        Some(match (quantifier, op) {
            (Quantifier::Any, Eq) => "any_eq",
            (Quantifier::Any, NotEq) => "any_ne",
            (Quantifier::Any, Lt) => "any_lt",
            (Quantifier::Any, LtEq) => "any_le",
            (Quantifier::Any, Gt) => "any_gt",
            (Quantifier::Any, GtEq) => "any_ge",
            (Quantifier::All, Eq) => "all_eq",
            (Quantifier::All, NotEq) => "all_ne",
            (Quantifier::All, Lt) => "all_lt",
            (Quantifier::All, LtEq) => "all_le",
            (Quantifier::All, Gt) => "all_gt",
            (Quantifier::All, GtEq) => "all_ge",
            _ => return None,
        })
    }

    fn join(&self, left: &BooleanArray, right: &BooleanArray) -> Result<BooleanArray> {
        Ok(match self.quantifier {
            Quantifier::Any => or_kleene(left, right)?,
            Quantifier::All => and_kleene(left, right)?,
        })
    }

    /// What is decided by one element alone: for ANY, that the comparison holds; for ALL, that it does not.
    fn decisive(&self) -> bool {
        self.quantifier == Quantifier::Any
    }

    /// The value of each row with the elements of one list.
    fn with_one_list(&self, value: &ArrayRef, elements: &ArrayRef) -> Result<BooleanArray> {
        let mut found = BooleanArray::from(vec![!self.decisive(); value.len()]);
        for index in 0..elements.len() {
            if index % CHECKED_ELEMENTS == 0 {
                computing::check()?;
            }
            let element = Scalar::new(elements.slice(index, 1));
            found = self.join(&found, &compare(self.op, value, &element)?)?;
        }
        Ok(found)
    }

    /// The value of each row, or one value for all of them, with the row's own list.
    fn with_own_lists(&self, value: &ColumnarValue, lists: &ListArray) -> Result<BooleanArray> {
        let offsets = lists.value_offsets();
        let (first, last) = (offsets[0] as usize, offsets[lists.len()] as usize);
        let elements = lists.values().slice(first, last - first);
        let compared = match value {
            ColumnarValue::Scalar(value) => compare(self.op, &value.to_scalar()?, &elements)?,
            ColumnarValue::Array(values) => {
                let rows = offsets.windows(2).enumerate();
                let rows = rows.flat_map(|(row, ends)| (ends[0]..ends[1]).map(move |_| row as u32));
                let repeated = take(values, &UInt32Array::from_iter_values(rows), None)?;
                compare(self.op, &repeated, &elements)?
            }
        };
        let rows = offsets.windows(2).enumerate().map(|(row, ends)| {
            if lists.is_null(row) {
                return None;
            }
            let mut found = Some(!self.decisive());
            for place in (ends[0] as usize - first)..(ends[1] as usize - first) {
                if compared.is_null(place) {
                    found = None;
                } else if compared.value(place) == self.decisive() {
                    return Some(self.decisive());
                }
            }
            found
        });
        Ok(rows.collect())
    }
}

impl ScalarUDFImpl for Quantified {
    fn name(&self) -> &str {
        Self::name_of(self.op, self.quantifier).unwrap_or("any_eq")
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        let [value, list] = take_function_args(self.name(), args)?;
        let quantifier = if self.quantifier == Quantifier::Any { "ANY" } else { "ALL" };
        Ok(format!("{} {} {quantifier}({})", value.schema_name(), self.op, list.schema_name()))
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    /// The value and the elements become of one type.
    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        let [value, list] = take_function_args(self.name(), arg_types)?;
        let (element, name) = match list {
            DataType::List(field) | DataType::LargeList(field) | DataType::FixedSizeList(field, _) => {
                (field.data_type(), field.name().as_str())
            }
            DataType::Null => (&DataType::Null, Field::LIST_FIELD_DEFAULT_NAME),
            other => {
                return plan_err!("ANY and ALL take a subquery, or a list of values; this is a value of type {other}");
            }
        };
        let one = match (value, element) {
            (DataType::Null, DataType::Null) => Some(DataType::Boolean),
            (DataType::Null, one) | (one, DataType::Null) => Some(one.clone()),
            (value, element) => comparison_coercion(value, element),
        };
        let Some(one) = one else {
            return plan_err!("a value of type {value} cannot be compared with the elements of a list of {element}");
        };
        match list {
            DataType::List(field) if *field.data_type() == one => Ok(vec![one, list.clone()]),
            _ => Ok(vec![one.clone(), DataType::List(Arc::new(Field::new(name, one, true)))]),
        }
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let [value, list] = take_function_args(self.name(), args.args)?;
        let (value, list) = (one_zero(&value)?, one_zero(&list)?);
        // On workers, and of constants, fields of nested values have other notes.
        let element = match list.data_type() {
            DataType::List(field) => field.data_type().clone(),
            _ => value.data_type(),
        };
        let value = if value.data_type() == element { value } else { value.cast_to(&element, None)? };
        match list {
            ColumnarValue::Scalar(list) => {
                let list = list.to_array()?;
                let list = list.as_list_opt::<i32>().filter(|list| list.is_valid(0));
                let Some(list) = list else { return Ok(ColumnarValue::Scalar(ScalarValue::Boolean(None))) };
                let is_constant = matches!(value, ColumnarValue::Scalar(_));
                let value = value.into_array(if is_constant { 1 } else { rows })?;
                let found = self.with_one_list(&value, &list.value(0))?;
                Ok(match is_constant {
                    true => ColumnarValue::Scalar(ScalarValue::try_from_array(&found, 0)?),
                    false => ColumnarValue::Array(Arc::new(found)),
                })
            }
            ColumnarValue::Array(lists) => {
                let lists = match lists.data_type() {
                    DataType::List(_) => lists,
                    _ => cast(&lists, &DataType::List(Arc::new(Field::new_list_field(element, true))))?,
                };
                Ok(ColumnarValue::Array(Arc::new(self.with_own_lists(&value, lists.as_list())?)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::Int64Array;
    use arrow::datatypes::Int64Type;

    use super::*;

    #[test]
    fn null_elements_leave_open_what_no_other_decides() {
        let lists = [
            Some(vec![Some(1), Some(2)]),
            Some(vec![Some(1), None]),
            Some(vec![Some(2), None]),
            Some(vec![]),
            None,
            Some(vec![None]),
        ];
        let expected = |name: &str| match name {
            "any_eq" => [Some(true), None, Some(true), Some(false), None, None],
            "any_ne" => [Some(true), Some(true), None, Some(false), None, None],
            "any_gt" => [Some(true), Some(true), None, Some(false), None, None],
            "any_lt" => [Some(false), None, None, Some(false), None, None],
            "all_ge" => [Some(true), None, None, Some(true), None, None],
            "all_ne" => [Some(false), None, Some(false), Some(true), None, None],
            "all_lt" => [Some(false), Some(false), Some(false), Some(true), None, None],
            _ => unreachable!(),
        };
        let array = ListArray::from_iter_primitive::<Int64Type, _, _>(lists.clone());
        let values: ArrayRef = Arc::new(Int64Array::from(vec![2; lists.len()]));
        for function in Quantified::all() {
            let name = function.name();
            if !["any_eq", "any_ne", "any_gt", "any_lt", "all_ge", "all_ne", "all_lt"].contains(&name) {
                continue;
            }
            let expected = expected(name);
            let by_row = function.with_own_lists(&ColumnarValue::Array(Arc::clone(&values)), &array).unwrap();
            assert_eq!(by_row.iter().collect::<Vec<_>>(), expected, "{name}");
            let of_one = ColumnarValue::Scalar(ScalarValue::Int64(Some(2)));
            assert_eq!(function.with_own_lists(&of_one, &array).unwrap(), by_row, "{name}");
            // A slice has offsets that do not begin at 0.
            let behind = array.slice(2, 4);
            assert_eq!(function.with_own_lists(&of_one, &behind).unwrap(), by_row.slice(2, 4), "{name}");
            for (row, expected) in expected.into_iter().enumerate().filter(|(row, _)| array.is_valid(*row)) {
                let found = function.with_one_list(&values.slice(0, 1), &array.value(row)).unwrap();
                assert_eq!(found.iter().next(), Some(expected), "{name} of {row}");
            }
        }
    }
}
