//! The functions that give values the form that compares as SQL's values do ([`Form`]), which [`crate::planner`] puts into plans.
//!
//! Where values come from they are called as their arguments are (in column names), so that a plan with them has the names that it would
//! have without. Only [`Form::OneZero`] and [`Form::Justified`], which stand beside their argument as keys, have names of their own.

use std::sync::Arc;

use arrow::compute::cast;
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::{Result, internal_err};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use crate::types::Form;

/// The function of a form.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Canonical {
    form: Form,
    signature: Signature,
}

impl Canonical {
    /// The function that gives this form.
    pub(crate) fn function(form: Form) -> Arc<ScalarUDF> {
        Arc::new(ScalarUDF::new_from_impl(Self { form, signature: Signature::any(1, Volatility::Immutable) }))
    }

    /// The call that gives this form to an expression.
    pub(crate) fn call(form: Form, expr: Expr) -> Expr {
        Expr::ScalarFunction(ScalarFunction::new_udf(Self::function(form), vec![expr]))
    }

    /// Whether an expression is such a call.
    pub(crate) fn is_call(form: Form, expr: &Expr) -> bool {
        let Expr::ScalarFunction(call) = expr else { return false };
        call.func.inner().downcast_ref::<Self>().is_some_and(|canonical| canonical.form == form)
    }
}

/// A value in the type that was promised: on workers, values come without the notes (field ids) that the fields of a struct had when the
/// query was planned.
pub(super) fn as_promised(value: ColumnarValue, promised: &DataType) -> Result<ColumnarValue> {
    Ok(match value {
        ColumnarValue::Array(array) if array.data_type() != promised => ColumnarValue::Array(cast(&array, promised)?),
        ColumnarValue::Scalar(value) if value.data_type() != *promised => {
            ColumnarValue::Scalar(value.cast_to(promised)?)
        }
        value => value,
    })
}

impl ScalarUDFImpl for Canonical {
    fn name(&self) -> &str {
        match self.form {
            Form::OneNan => "one_nan",
            Form::OneZero => "one_zero",
            Form::NullsBelow => "nulls_below",
            Form::Justified => "justified",
        }
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        match args {
            [value] if matches!(self.form, Form::OneZero | Form::Justified) => {
                Ok(format!("{}({})", self.name(), value.schema_name()))
            }
            [value] => Ok(value.schema_name().to_string()),
            _ => internal_err!("{} of {} values", self.name(), args.len()),
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        match arg_types {
            [ty] => Ok(ty.clone()),
            _ => internal_err!("{} of {} values", self.name(), arg_types.len()),
        }
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        match args.arg_fields {
            [field] => Ok(Arc::clone(field)),
            other => internal_err!("{} of {} values", self.name(), other.len()),
        }
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match args.args.as_slice() {
            [ColumnarValue::Array(array)] => {
                as_promised(ColumnarValue::Array(self.form.of(array)?), args.return_field.data_type())
            }
            [ColumnarValue::Scalar(value)] => {
                as_promised(ColumnarValue::Scalar(self.form.of_scalar(value.clone())?), args.return_field.data_type())
            }
            other => internal_err!("{} of {} values", self.name(), other.len()),
        }
    }
}
