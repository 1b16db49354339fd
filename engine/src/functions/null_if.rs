//! `nullif()`, to which the two zeros are one value, and intervals of one length are, and below whose NULLs nothing lies.
//!
//! DataFusion's compares by bits, and gives a struct that is NULL with all that its fields were. DataFusion 55.2.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::nullif;
use arrow::datatypes::{DataType, FieldRef};
use arrow::error::ArrowError;
use datafusion::common::utils::take_function_args;
use datafusion::common::{Result, ScalarValue};
use datafusion::functions::core::nullif as nullif_udf;
use datafusion::logical_expr::{
    ColumnarValue, Documentation, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};
use datafusion::physical_expr_common::datum::{apply, compare_with_eq};

use crate::types::Form;

/// See the module. What it takes is DataFusion's to say.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct NullIf(Arc<ScalarUDF>);

impl Default for NullIf {
    fn default() -> Self {
        Self(nullif_udf())
    }
}

fn equal(value: &ColumnarValue, other: &ColumnarValue) -> Result<ColumnarValue> {
    let is_nested = value.data_type().is_nested();
    apply(value, other, |value, other| match compare_with_eq(value, other, is_nested) {
        Ok(equal) => Ok(Arc::new(equal)),
        Err(error) => Err(ArrowError::from_external_error(Box::new(error))),
    })
}

/// The value as it is compared.
fn key(value: &ColumnarValue) -> Result<ColumnarValue> {
    Ok(match value {
        ColumnarValue::Array(array) => ColumnarValue::Array(Form::Justified.of(&Form::OneZero.of(array)?)?),
        ColumnarValue::Scalar(value) => {
            ColumnarValue::Scalar(Form::Justified.of_scalar(Form::OneZero.of_scalar(value.clone())?)?)
        }
    })
}

impl ScalarUDFImpl for NullIf {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn signature(&self) -> &Signature {
        self.0.signature()
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        self.0.return_type(arg_types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        self.0.return_field_from_args(args)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [value, other] = take_function_args(self.name(), args.args)?;
        if value.data_type().is_null() || other.data_type().is_null() {
            return Ok(value);
        }
        match equal(&key(&value)?, &key(&other)?)? {
            ColumnarValue::Scalar(ScalarValue::Boolean(Some(true))) => {
                Ok(ColumnarValue::Scalar(ScalarValue::try_from(&value.data_type())?))
            }
            ColumnarValue::Scalar(_) => Ok(value),
            ColumnarValue::Array(equal) => {
                let values: ArrayRef = value.into_array(equal.len())?;
                let kept = nullif(&values, equal.as_boolean())?;
                Ok(ColumnarValue::Array(Form::NullsBelow.of(&kept)?))
            }
        }
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.0.documentation()
    }
}
