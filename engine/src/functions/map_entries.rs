//! `map_entries`, for maps whose entries have other names, nullability or metadata than DataFusion's own: those that are
//! stored. DataFusion 55.2 panics at them.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ListArray, StructArray};
use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::common::cast::as_map_array;
use datafusion::common::utils::take_function_args;
use datafusion::common::{Result, exec_err};
use datafusion::functions_nested::map_entries::map_entries_udf;
use datafusion::logical_expr::{ColumnarValue, Documentation, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature};

/// See the module. What it takes and gives is DataFusion's to say.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct MapEntries(Arc<ScalarUDF>);

impl Default for MapEntries {
    fn default() -> Self {
        Self(map_entries_udf())
    }
}

impl ScalarUDFImpl for MapEntries {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn signature(&self) -> &Signature {
        self.0.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.0.return_type(types)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.0.documentation()
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let [map] = take_function_args(self.name(), arrays)?;
        match args.return_field.data_type() {
            DataType::List(entry) => Ok(ColumnarValue::Array(Arc::new(entries(map.as_ref(), entry)?))),
            other => exec_err!("map_entries gives a list, not {other}"),
        }
    }
}

/// A list of a map's entries, which are called as `entry` says.
fn entries(map: &dyn Array, entry: &FieldRef) -> Result<ListArray> {
    let map = as_map_array(map)?;
    let DataType::Struct(fields) = entry.data_type() else {
        return exec_err!("an entry of a map is a struct, not {}", entry.data_type());
    };
    let named = StructArray::try_new(fields.clone(), map.entries().columns().to_vec(), None)?;
    Ok(ListArray::try_new(Arc::clone(entry), map.offsets().clone(), Arc::new(named), map.nulls().cloned())?)
}
