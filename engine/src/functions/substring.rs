//! `substring(text FROM pattern)`, beside DataFusion's `substr()` of positions.
//!
//! In: a text and a regular expression. Out: what the first group of the first match is, or all of the match if the expression has no
//! group; NULL if nothing matches, or the group is no part of the match. PostgreSQL's rule. `substr()` takes positions only.
//! DataFusion 55.2 has no such form.

use arrow::array::{ArrayRef, AsArray, StringViewArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion::common::types::logical_string;
use datafusion::common::{Result, ScalarValue, exec_datafusion_err};
use datafusion::functions::unicode::substr::SubstrFunc;
use datafusion::logical_expr::{
    Coercion, ColumnarValue, Documentation, Expr, ScalarFunctionArgs, ScalarUDFImpl, Signature, TypeSignature,
    TypeSignatureClass,
};
use regex::Regex;

/// The function. [`super::substring`] gives it as it is called.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Substring {
    inner: SubstrFunc,
    signature: Signature,
}

impl Default for Substring {
    fn default() -> Self {
        let inner = SubstrFunc::new();
        let text = || Coercion::new_exact(TypeSignatureClass::Native(logical_string()));
        let pattern = TypeSignature::Coercible(vec![text(), text()]);
        let volatility = inner.signature().volatility;
        let forms = match inner.signature().type_signature.clone() {
            TypeSignature::OneOf(forms) => forms.into_iter().chain([pattern]).collect(),
            form => vec![form, pattern],
        };
        Self { inner, signature: Signature::one_of(forms, volatility) }
    }
}

/// What of texts fits patterns.
fn matches(texts: &ArrayRef, patterns: &ArrayRef) -> Result<ArrayRef> {
    let data_type = texts.data_type();
    let (texts, patterns) = (cast(texts, &DataType::Utf8View)?, cast(patterns, &DataType::Utf8View)?);
    let mut compiled: Option<(&str, Regex)> = None;
    let mut found = Vec::with_capacity(texts.len());
    for (text, pattern) in texts.as_string_view().iter().zip(patterns.as_string_view()) {
        let (Some(text), Some(pattern)) = (text, pattern) else {
            found.push(None);
            continue;
        };
        let regex = match compiled.take() {
            Some((known, regex)) if known == pattern => regex,
            _ => Regex::new(pattern)
                .map_err(|error| exec_datafusion_err!("substring(): the pattern {pattern} is not valid: {error}"))?,
        };
        let group = usize::from(regex.captures_len() > 1);
        found.push(regex.captures(text).and_then(|captures| captures.get(group)).map(|part| part.as_str()));
        compiled = Some((pattern, regex));
    }
    Ok(cast(&found.into_iter().collect::<StringViewArray>(), data_type)?)
}

impl ScalarUDFImpl for Substring {
    // Not an alias of `substr()`: workers find functions by their names.
    fn name(&self) -> &str {
        "substring_from"
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        let args: Vec<String> = args.iter().map(|arg| arg.schema_name().to_string()).collect();
        Ok(format!("substring({})", args.join(",")))
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(arg_types)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match args.args.as_slice() {
            [text, pattern] if pattern.data_type().is_string() => {
                let rows = args.number_rows;
                if let (ColumnarValue::Scalar(text), ColumnarValue::Scalar(pattern)) = (text, pattern) {
                    let found = matches(&text.to_array()?, &pattern.to_array()?)?;
                    return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&found, 0)?));
                }
                Ok(ColumnarValue::Array(matches(&text.to_array(rows)?, &pattern.to_array(rows)?)?))
            }
            _ => self.inner.invoke_with_args(args),
        }
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::StringArray;

    use super::*;

    #[test]
    fn the_first_group_or_all_of_the_match_is_given() {
        for (text, pattern, expected) in [
            ("abcdef", "[b-d]+", Some("bcd")),
            ("foobar", "o(.)b", Some("o")),
            ("abc", "x", None),
            ("abc", "", Some("")),
            // The first group is no part of the match.
            ("b", "(a)?(b)", None),
            ("b", "(?:a)?b", Some("b")),
        ] {
            let of = |text: &str| -> ArrayRef { Arc::new(StringArray::from(vec![text])) };
            let found = matches(&of(text), &of(pattern)).unwrap();
            assert_eq!(found.as_string::<i32>().iter().next(), Some(expected), "{text} {pattern}");
        }
        let pair =
            |one: Option<&str>, other: Option<&str>| -> ArrayRef { Arc::new(StringArray::from(vec![one, other])) };
        let found = matches(&pair(Some("ab"), None), &pair(Some("b"), Some("b"))).unwrap();
        assert_eq!(found.as_string::<i32>().iter().collect::<Vec<_>>(), [Some("b"), None]);
        let error = matches(&pair(Some("a"), Some("a")), &pair(Some("("), Some("("))).unwrap_err();
        assert!(error.to_string().contains("the pattern ( is not valid"), "{error}");
    }
}
