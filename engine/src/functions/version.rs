//! `version()`: this engine's name and version, not those of the library that it plans with.

use arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};

/// What it answers; GetSqlInfo tells the same in two parts.
const VERSION: &str = concat!("Polynya ", env!("CARGO_PKG_VERSION"));

/// The function.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Version {
    signature: Signature,
}

impl Default for Version {
    fn default() -> Self {
        Self { signature: Signature::nullary(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for Version {
    fn name(&self) -> &str {
        "version"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Ok(ColumnarValue::Scalar(ScalarValue::Utf8(Some(VERSION.to_owned()))))
    }
}
