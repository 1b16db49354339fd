//! `coalesce()`, `nvl()` and `ifnull()` of long expressions.
//!
//! DataFusion plans `coalesce(a, b)` as `CASE WHEN a IS NOT NULL THEN a ELSE b END`, which writes `a` twice: 24 of them in each
//! other would be 16 million. So only short expressions are written twice. A long one is computed once, by the function itself,
//! together with all that follows it: where this cannot fail, nobody sees that it was not needed.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::compute::is_not_null;
use arrow::compute::kernels::zip::zip;
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::Result;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::functions::core::{coalesce, nvl};
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Documentation, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};

use crate::Error;

/// Parts of expressions that are written twice if what follows them could fail, and if it could not. A short CASE is simplified
/// further.
const REPEATED_MAX: usize = 2_000;
const REPEATED_FOR_SPEED_MAX: usize = 50;

/// One of the functions.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct FirstNonNull {
    inner: Arc<ScalarUDF>,
}

impl FirstNonNull {
    /// All of them.
    pub(super) fn all() -> [Self; 2] {
        [coalesce(), nvl()].map(|inner| Self { inner })
    }
}

impl ScalarUDFImpl for FirstNonNull {
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

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        self.inner.inner().return_field_from_args(args)
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.inner().coerce_types(arg_types)
    }

    fn simplify(&self, args: Vec<Expr>, info: &SimplifyContext) -> Result<ExprSimplifyResult> {
        let (Some((_, repeated)), Some(later)) = (args.split_last(), args.get(1..)) else {
            return self.inner.inner().simplify(args, info);
        };
        let parts = repeated.iter().map(|expr| parts(expr, REPEATED_MAX)).sum::<Result<usize>>()?;
        if parts <= REPEATED_FOR_SPEED_MAX {
            return self.inner.inner().simplify(args, info);
        }
        if later.iter().all(cannot_fail) {
            return Ok(ExprSimplifyResult::Original(args));
        }
        if parts <= REPEATED_MAX {
            return self.inner.inner().simplify(args, info);
        }
        Err(Error::TooComplex(format!(
            "{} of an expression of more than {REPEATED_MAX} parts, before one that may fail: compute it in a subquery",
            self.name()
        ))
        .into())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let ScalarFunctionArgs { args, number_rows, return_field, .. } = args;
        if args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_))) {
            let is_value = |arg: &ColumnarValue| matches!(arg, ColumnarValue::Scalar(value) if !value.is_null());
            let first = args.iter().find(|arg| is_value(arg)).or(args.last());
            return match first {
                Some(value) => value.cast_to(return_field.data_type(), None),
                None => Ok(ColumnarValue::Scalar(return_field.data_type().try_into()?)),
            };
        }
        let mut found: Option<ArrayRef> = None;
        for arg in args.into_iter().rev() {
            let arg = arg.cast_to(return_field.data_type(), None)?.into_array(number_rows)?;
            found = Some(match found {
                Some(_) if arg.null_count() == 0 && arg.logical_nulls().is_none() => arg,
                Some(later) => zip(&is_not_null(&arg)?, &arg, &later)?,
                None => arg,
            });
        }
        match found {
            Some(found) => Ok(ColumnarValue::Array(found)),
            None => Ok(ColumnarValue::Scalar(return_field.data_type().try_into()?)),
        }
    }

    fn conditional_arguments<'a>(&self, args: &'a [Expr]) -> Option<(Vec<&'a Expr>, Vec<&'a Expr>)> {
        self.inner.inner().conditional_arguments(args)
    }

    fn short_circuits(&self) -> bool {
        self.inner.inner().short_circuits()
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }
}

/// How many parts an expression has, counted no further than to one more than this.
fn parts(expr: &Expr, most: usize) -> Result<usize> {
    let mut parts = 0;
    expr.apply(|_| {
        parts += 1;
        Ok(if parts > most { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(parts)
}

/// Whether computing it, though it is not needed, is at worst in vain.
fn cannot_fail(expr: &Expr) -> bool {
    match expr {
        Expr::Literal(..) | Expr::Column(_) | Expr::OuterReferenceColumn(..) => true,
        Expr::Alias(alias) => cannot_fail(&alias.expr),
        Expr::ScalarFunction(call) => call.func.inner().is::<FirstNonNull>() && call.args.iter().all(cannot_fail),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, NullArray};
    use arrow::datatypes::Field;
    use datafusion::common::ScalarValue;
    use datafusion::common::config::ConfigOptions;

    use super::*;

    fn first(args: Vec<ColumnarValue>) -> Vec<Option<i64>> {
        let fields = args.iter().map(|arg| Arc::new(Field::new("a", arg.data_type(), true))).collect();
        let args = ScalarFunctionArgs {
            args,
            arg_fields: fields,
            number_rows: 3,
            return_field: Arc::new(Field::new("c", DataType::Int64, true)),
            config_options: Arc::new(ConfigOptions::default()),
        };
        let [coalesce, _] = FirstNonNull::all();
        let found = coalesce.invoke_with_args(args).unwrap().into_array(3).unwrap();
        found.as_any().downcast_ref::<Int64Array>().unwrap().iter().collect()
    }

    #[test]
    fn the_first_that_is_not_null_is_found_by_row() {
        let array = |values: [Option<i64>; 3]| ColumnarValue::Array(Arc::new(Int64Array::from(values.to_vec())));
        let scalar = |value: Option<i64>| ColumnarValue::Scalar(ScalarValue::Int64(value));
        let nulls = || ColumnarValue::Array(Arc::new(NullArray::new(3)));
        let (a, b) = ([Some(1), None, None], [Some(4), Some(5), None]);
        assert_eq!(first(vec![array(a), array(b), scalar(Some(9))]), [Some(1), Some(5), Some(9)]);
        assert_eq!(first(vec![scalar(None), array(a)]), a);
        assert_eq!(first(vec![scalar(Some(7)), array(a)]), [Some(7); 3]);
        assert_eq!(first(vec![nulls(), array(a), nulls()]), a);
        assert_eq!(first(vec![scalar(None), scalar(Some(3))]), [Some(3); 3]);
        assert_eq!(first(vec![scalar(None)]), [None; 3]);
    }
}
