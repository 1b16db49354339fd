//! Functions whose time or memory grows faster than their arguments. Slow ones are computed on a few rows at a time: between them, a
//! query that was stopped ends. What they make is counted (see `made`).
//!
//! DataFusion calls a function with thousands of rows, whatever they are. Edit distances of long texts, patterns that look at each letter
//! again for every match, and lists that are compared with lists keep a thread for minutes then. Where rows are short, nothing changes.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::compute::concat;
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::{Result, exec_err};
use datafusion::functions::all_default_functions;
use datafusion::functions_nested::all_default_nested_functions;
use datafusion::logical_expr::interval_arithmetic::Interval;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::sort_properties::{ExprProperties, SortProperties};
use datafusion::logical_expr::{
    ColumnarValue, Documentation, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};

use super::made;
use super::substring::Substring;
use super::values::{bytes, list_length, narrow, text, text_length};
use crate::{budget, computing};

/// Functions that may take very long.
const SLOW: &[&str] = &[
    "array_distinct",
    "array_except",
    "array_has",
    "array_has_all",
    "array_has_any",
    "array_intersect",
    "array_position",
    "array_positions",
    "array_remove_all",
    "array_replace_all",
    "array_union",
    "levenshtein",
    "regexp_count",
    "regexp_instr",
    "regexp_like",
    "regexp_match",
    "regexp_replace",
    "replace",
    "split_part",
    "string_to_array",
    "strpos",
];

/// Functions that may make far more than they are given, or copy it.
const MAKING: &[&str] = &[
    "array_append",
    "array_concat",
    "array_prepend",
    "array_repeat",
    "array_replace",
    "array_replace_n",
    "array_resize",
    "array_reverse",
    "array_sort",
    "array_to_string",
    "concat",
    "concat_ws",
    "decode",
    "encode",
    "generate_series",
    "initcap",
    "lower",
    "lpad",
    "make_array",
    "map",
    "overlay",
    "range",
    "repeat",
    "reverse",
    "rpad",
    "translate",
    "upper",
];

/// Bytes of the arguments of one call.
const SLICE_BYTES: usize = 256 << 10;
/// Letters of one text times those of the other, of which the edit distance is computed, or elements of two lists that are compared:
/// about a second.
const PAIRS_MAX: usize = 1_000_000_000;
/// Bytes of the texts that one call may make: what a column of texts can hold.
const TEXT_BYTES_MAX: usize = i32::MAX as usize;

/// One of the functions.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Sliced(Arc<ScalarUDF>);

impl Sliced {
    /// All of them.
    pub(super) fn all() -> Vec<Self> {
        let all = all_default_functions().into_iter().chain(all_default_nested_functions());
        all.filter(|function| SLOW.contains(&function.name()) || MAKING.contains(&function.name())).map(Self).collect()
    }
}

/// `substring()`, as it is registered.
pub(crate) fn substring() -> Arc<ScalarUDF> {
    let inner = Arc::new(ScalarUDF::new_from_impl(Substring::default()));
    Arc::new(ScalarUDF::new_from_impl(Sliced(inner)))
}

/// Whether a query that computes here may go on.
fn check() -> Result<()> {
    computing::check()?;
    Ok(budget::check()?)
}

fn slice(args: &ScalarFunctionArgs, offset: usize, length: usize) -> ScalarFunctionArgs {
    let part = |arg: &ColumnarValue| match arg {
        ColumnarValue::Array(array) => ColumnarValue::Array(narrow(&array.slice(offset, length))),
        scalar => scalar.clone(),
    };
    ScalarFunctionArgs { args: args.args.iter().map(part).collect(), number_rows: length, ..args.clone() }
}

/// Refuses what one value alone would take very long for, or could not be held.
fn check_values(name: &str, args: &ScalarFunctionArgs) -> Result<()> {
    let rows = if args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_))) { 1 } else { args.number_rows };
    match (name, args.args.as_slice()) {
        ("levenshtein", [left, right]) => {
            for row in 0..rows {
                let lengths = text_length(left, row).zip(text_length(right, row));
                let Some((left, right)) = lengths else { continue };
                if left.saturating_mul(right) > PAIRS_MAX {
                    return exec_err!(
                        "levenshtein would compare texts of {left} and {right} bytes: the product of both may be {PAIRS_MAX}"
                    );
                }
            }
        }
        ("array_has_all" | "array_has_any", [left, right]) => {
            for row in 0..rows {
                let lengths = list_length(left, row).zip(list_length(right, row));
                let Some((left, right)) = lengths else { continue };
                if left.saturating_mul(right) > PAIRS_MAX {
                    return exec_err!(
                        "{name} would compare lists of {left} and {right} elements: the product of both may be {PAIRS_MAX}"
                    );
                }
            }
        }
        ("replace", [texts, from, to]) => {
            let mut made = 0_usize;
            for row in 0..rows {
                let values = text(texts, row).zip(text(from, row).zip(text(to, row)));
                let Some((text, (from, to))) = values else { continue };
                let most = text.len() / from.len().max(1) + 1;
                // Counted only where it may matter.
                let times = match most.saturating_mul(to.len()) > SLICE_BYTES && !from.is_empty() {
                    true => text.matches(from).count(),
                    false => most,
                };
                made = made.saturating_add(text.len() + times.saturating_mul(to.len()));
            }
            if made > TEXT_BYTES_MAX {
                return exec_err!(
                    "replace would make texts of {made} bytes, of which a column holds {TEXT_BYTES_MAX} at once"
                );
            }
        }
        _ => {}
    }
    Ok(())
}

impl ScalarUDFImpl for Sliced {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn aliases(&self) -> &[String] {
        self.0.aliases()
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        self.0.inner().schema_name(args)
    }

    fn signature(&self) -> &Signature {
        self.0.signature()
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        self.0.inner().return_type(arg_types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        self.0.inner().return_field_from_args(args)
    }

    fn is_strict(&self) -> bool {
        self.0.inner().is_strict()
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        self.0.inner().coerce_types(arg_types)
    }

    fn simplify(&self, args: Vec<Expr>, info: &SimplifyContext) -> Result<ExprSimplifyResult> {
        self.0.inner().simplify(args, info)
    }

    fn short_circuits(&self) -> bool {
        self.0.inner().short_circuits()
    }

    fn evaluate_bounds(&self, input: &[&Interval]) -> Result<Interval> {
        self.0.inner().evaluate_bounds(input)
    }

    fn output_ordering(&self, inputs: &[ExprProperties]) -> Result<SortProperties> {
        self.0.inner().output_ordering(inputs)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.0.inner().documentation()
    }

    fn invoke_with_args(&self, mut args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        for arg in &mut args.args {
            if let ColumnarValue::Array(array) = arg {
                *array = narrow(array);
            }
        }
        check_values(self.name(), &args)?;
        let reserved = made::reserve(self.name(), &args)?;
        let made =
            if SLOW.contains(&self.name()) { self.in_slices(args) } else { self.0.inner().invoke_with_args(args) };
        reserved.hold(made?)
    }
}

impl Sliced {
    fn in_slices(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = args.args.iter().filter_map(|arg| match arg {
            ColumnarValue::Array(array) => Some(array),
            ColumnarValue::Scalar(_) => None,
        });
        // A constant among the arguments is one of every row.
        let constants = args.args.iter().filter_map(|arg| match arg {
            ColumnarValue::Scalar(value) => value.try_as_str().flatten().map(str::len),
            ColumnarValue::Array(_) => None,
        });
        let rows = args.number_rows;
        let is_constant = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let all = arrays.map(|array| bytes(array)).sum::<usize>() + constants.sum::<usize>().saturating_mul(rows);
        let slices = all.div_ceil(SLICE_BYTES).min(rows);
        if slices < 2 || is_constant {
            check()?;
            return self.0.inner().invoke_with_args(args);
        }
        let length = rows.div_ceil(slices);
        let mut made: Vec<ArrayRef> = Vec::with_capacity(slices);
        for offset in (0..rows).step_by(length) {
            check()?;
            let part = slice(&args, offset, length.min(rows - offset));
            let part_rows = part.number_rows;
            match self.0.inner().invoke_with_args(part)? {
                // The same for these rows, of which all are NULL, say; the next may have others.
                ColumnarValue::Scalar(value) => made.push(value.to_array_of_size(part_rows)?),
                ColumnarValue::Array(array) if array.len() == part_rows => made.push(array),
                ColumnarValue::Array(array) => {
                    return exec_err!("{} gave {} values for {part_rows} rows", self.name(), array.len());
                }
            }
        }
        let made: Vec<&dyn Array> = made.iter().map(AsRef::as_ref).collect();
        Ok(ColumnarValue::Array(concat(&made)?))
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{AsArray, Int64Array, ListArray, StringArray};
    use arrow::datatypes::{Field, Int64Type};
    use datafusion::common::ScalarValue;
    use datafusion::common::config::ConfigOptions;

    use super::*;

    fn call(name: &str, args: Vec<ColumnarValue>, rows: usize) -> Result<ColumnarValue> {
        let function = Sliced::all().into_iter().find(|function| function.name() == name).unwrap();
        let arg_fields: Vec<FieldRef> =
            args.iter().map(|arg| Arc::new(Field::new("a", arg.data_type(), true))).collect();
        let scalar_arguments: Vec<Option<&ScalarValue>> = vec![None; args.len()];
        let known = ReturnFieldArgs { arg_fields: &arg_fields, scalar_arguments: &scalar_arguments };
        let return_field = function.return_field_from_args(known).unwrap();
        let config_options = Arc::new(ConfigOptions::default());
        function.invoke_with_args(ScalarFunctionArgs {
            args,
            arg_fields,
            number_rows: rows,
            return_field,
            config_options,
        })
    }

    #[test]
    fn every_function_is_there() {
        assert_eq!(Sliced::all().len(), SLOW.len() + MAKING.len());
    }

    #[test]
    fn slices_give_what_the_whole_gives() {
        let texts: StringArray = (0..1000).map(|row| (row % 7 > 0).then(|| "ab".repeat(row))).collect();
        let column = ColumnarValue::Array(Arc::new(texts.clone()));
        let constant = ColumnarValue::Scalar(ScalarValue::Utf8(Some("b".to_owned())));
        let found = call("strpos", vec![column, constant], 1000).unwrap().into_array(1000).unwrap();
        let expected: Vec<Option<i64>> =
            texts.iter().map(|text| text.map(|text| text.find('b').map_or(0, |at| at as i64 + 1))).collect();
        let found = arrow::compute::cast(&found, &DataType::Int64).unwrap();
        assert_eq!(found.as_primitive::<Int64Type>(), &Int64Array::from(expected));
    }

    #[test]
    fn a_slice_of_nulls_says_nothing_of_the_next() {
        let texts: StringArray = (0..1000).map(|row| (row >= 500).then(|| "a".repeat(1000))).collect();
        let column = ColumnarValue::Array(Arc::new(texts));
        let pattern = ColumnarValue::Scalar(ScalarValue::Utf8(Some("a".to_owned())));
        for name in ["regexp_count", "strpos", "levenshtein"] {
            let found = call(name, vec![column.clone(), pattern.clone()], 1000).unwrap().into_array(1000).unwrap();
            assert_eq!(found.null_count(), 500, "{name}");
        }
    }

    #[test]
    fn a_slice_of_lists_has_no_values_of_others() {
        let numbers = (0..10_000_i64).map(|row| (row % 5 > 0).then(|| vec![Some(row), None, Some(row + 1)]));
        let all: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(numbers));
        let part = narrow(&all.slice(1000, 7));
        assert_eq!(&part, &all.slice(1000, 7));
        assert_eq!(part.as_list::<i32>().values().len(), 5 * 3);
        // As array_agg gives its groups: parts of one array.
        let column = ColumnarValue::Array(all.slice(1000, 5000));
        let value = ColumnarValue::Scalar(ScalarValue::Int64(Some(1001)));
        let found = call("array_has", vec![column, value], 5000).unwrap().into_array(5000).unwrap();
        assert_eq!(found.as_boolean().true_count(), 1);
        assert_eq!(found.null_count(), 1000);
    }

    #[test]
    fn what_one_value_alone_would_take_too_long_for_is_refused() {
        let text = |count: usize| ColumnarValue::Scalar(ScalarValue::Utf8(Some("a".repeat(count))));
        let error = call("levenshtein", vec![text(1_000_000), text(1_000_000)], 1).unwrap_err();
        assert!(error.to_string().contains("would compare"), "{error}");
        assert!(call("levenshtein", vec![text(1_000), text(1_000)], 1).is_ok());
        let error = call("replace", vec![text(100_000_000), text(1), text(100)], 1).unwrap_err();
        assert!(error.to_string().contains("would make texts of 1010"), "{error}");
        assert!(call("replace", vec![text(100_000), text(2), text(100)], 1).is_ok());
        let list = |count: i64| {
            let list = ListArray::from_iter_primitive::<Int64Type, _, _>([Some((0..count).map(Some))]);
            ColumnarValue::Array(Arc::new(list))
        };
        let error = call("array_has_all", vec![list(50_000), list(50_000)], 1).unwrap_err();
        assert!(error.to_string().contains("would compare lists"), "{error}");
        assert!(call("array_has_any", vec![list(100), list(100)], 1).is_ok());
    }
}
