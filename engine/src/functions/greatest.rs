//! `greatest()` and `least()` of intervals, by their lengths ([`Form::Justified`]). All else is DataFusion's.
//!
//! Of equal ones the first is given, as it is; NULLs do not count. DataFusion 55.2 compares intervals field by field.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray};
use arrow::compute::kernels::{cmp, zip::zip};
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::{Result, ScalarValue};
use datafusion::functions::core::{greatest, least};
use datafusion::logical_expr::{
    ColumnarValue, Documentation, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};

use crate::types::{Form, holds_intervals};

/// One of the functions.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Greatest {
    inner: Arc<ScalarUDF>,
    is_least: bool,
}

impl Greatest {
    /// Both.
    pub(super) fn both() -> [Self; 2] {
        [(greatest(), false), (least(), true)].map(|(inner, is_least)| Self { inner, is_least })
    }

    /// For each row the one that is to be given.
    fn of_two(&self, one: &ArrayRef, other: &ArrayRef) -> Result<ArrayRef> {
        let (one_key, other_key) = (Form::Justified.of(one)?, Form::Justified.of(other)?);
        let is_better = if self.is_least { cmp::lt(&other_key, &one_key)? } else { cmp::gt(&other_key, &one_key)? };
        let rows = 0..one.len();
        let takes_other: BooleanArray = rows
            .map(|row| {
                Some(other.is_valid(row) && (one.is_null(row) || (is_better.is_valid(row) && is_better.value(row))))
            })
            .collect();
        Ok(zip(&takes_other, other, one)?)
    }
}

impl ScalarUDFImpl for Greatest {
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

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        if !holds_intervals(args.return_field.data_type()) {
            return self.inner.inner().invoke_with_args(args);
        }
        let is_constant = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if is_constant { 1 } else { args.number_rows };
        let mut best: Option<ArrayRef> = None;
        for arg in args.args {
            let arg = arg.cast_to(args.return_field.data_type(), None)?.into_array(rows)?;
            best = Some(match best {
                Some(best) => self.of_two(&best, &arg)?,
                None => arg,
            });
        }
        match best {
            Some(best) if is_constant => Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&best, 0)?)),
            Some(best) => Ok(ColumnarValue::Array(best)),
            None => Ok(ColumnarValue::Scalar(args.return_field.data_type().try_into()?)),
        }
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }
}
