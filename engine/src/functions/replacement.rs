//! `regexp_replacement(text)`: a replacement as PostgreSQL writes it, in the words of the crate that replaces.
//!
//! In: a text where `\1` to `\9` are groups, `\&` is the match, `\\` a backslash, and all else itself. Out: the same with `${1}`, `${0}` and
//! `$$`. DataFusion takes `$` for a group, `\12` for the twelfth, and knows no `\&`.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, StringArray};
use arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};

/// A group that there is not stands for nothing. It keeps a backslash from a digit, which DataFusion would take for a group.
const NOTHING: &str = "${_}";

/// The function.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Replacement {
    signature: Signature,
}

impl Default for Replacement {
    fn default() -> Self {
        Self { signature: Signature::exact(vec![DataType::Utf8], Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for Replacement {
    fn name(&self) -> &str {
        "regexp_replacement"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match args.args.as_slice() {
            [ColumnarValue::Scalar(ScalarValue::Utf8(text))] => {
                Ok(ColumnarValue::Scalar(ScalarValue::Utf8(text.as_deref().map(translated))))
            }
            [ColumnarValue::Array(texts)] => {
                let texts: StringArray = texts.as_string::<i32>().iter().map(|text| text.map(translated)).collect();
                Ok(ColumnarValue::Array(Arc::new(texts) as ArrayRef))
            }
            _ => exec_err!("regexp_replacement takes one text"),
        }
    }
}

fn translated(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match (letter, letters.peek().copied()) {
            ('$', _) => out.push_str("$$"),
            ('\\', Some(group @ '1'..='9')) => {
                letters.next();
                out.push_str(&format!("${{{group}}}"));
            }
            ('\\', Some('&')) => {
                letters.next();
                out.push_str("${0}");
            }
            ('\\', next) => {
                if next == Some('\\') {
                    letters.next();
                }
                out.push('\\');
                out.push_str(NOTHING);
            }
            _ => out.push(letter),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::translated;

    #[test]
    fn replacements_are_said_in_other_words() {
        for (postgres, ours) in [
            ("abc", "abc"),
            ("$1", "$$1"),
            (r"$\1", "$$${1}"),
            (r"\12", "${1}2"),
            (r"[\&]", "[${0}]"),
            (r"a\\1", r"a\${_}1"),
            (r"\0", r"\${_}0"),
            (r"\", r"\${_}"),
            (r"\\\2", r"\${_}${2}"),
        ] {
            assert_eq!(translated(postgres), ours, "{postgres}");
        }
    }
}
