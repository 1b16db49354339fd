//! `arrow_cast()` and `arrow_try_cast()`, whose second argument is a type in Arrow's words: `'List(Int32)'`.
//!
//! The text is parsed by Arrow, which recurses as deep as it nests. It need not stand in the statement: it may be a parameter's
//! value. So it is checked here, by the same rule as statements.

use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::{Result, ScalarValue};
use datafusion::functions::core::{arrow_cast, arrow_try_cast};
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Documentation, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};

use crate::statement::check_type_text;

/// One of the functions.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct ArrowTypes {
    inner: Arc<ScalarUDF>,
}

impl ArrowTypes {
    /// All of them.
    pub(super) fn all() -> [Self; 2] {
        [arrow_cast(), arrow_try_cast()].map(|inner| Self { inner })
    }
}

fn check(value: Option<&ScalarValue>) -> Result<()> {
    match value.and_then(|value| value.try_as_str().flatten()) {
        Some(text) => Ok(check_type_text(text)?),
        None => Ok(()),
    }
}

impl ScalarUDFImpl for ArrowTypes {
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
        check(args.scalar_arguments.get(1).copied().flatten())?;
        self.inner.inner().return_field_from_args(args)
    }

    fn simplify(&self, args: Vec<Expr>, info: &SimplifyContext) -> Result<ExprSimplifyResult> {
        if let Some(Expr::Literal(value, _)) = args.get(1) {
            check(Some(value))?;
        }
        self.inner.inner().simplify(args, info)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        self.inner.inner().invoke_with_args(args)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }
}
