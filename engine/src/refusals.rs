//! What the planner cannot plan, in SQL's words.
//!
//! In: an error of planning. Out: ours. DataFusion shows its data structures where it has no plan for a part of a query; here
//! the part is named as SQL names it. Errors that say what is wrong stay as they are.

use arrow::error::ArrowError;
use datafusion::error::DataFusionError;

use crate::Error;

/// An error of planning, as it is told.
pub(crate) fn in_sql_words(error: DataFusionError) -> Error {
    if let DataFusionError::Internal(message) = error.find_root()
        && let Some((_, types)) = message.split_once("Failed to coerce types ")
    {
        let types = types.lines().next().unwrap_or_default().trim_end_matches('.');
        return Error::Invalid(format!("there is no common type of {types}"));
    }
    if let DataFusionError::Internal(message) | DataFusionError::Plan(message) = error.find_root()
        && let Some((name, why)) = unmatched(message)
    {
        return Error::Invalid(format!("{name}() takes no such arguments: {why}"));
    }
    // The one call of a function of ours that is left of constants is one that fails.
    if let DataFusionError::Plan(message) = error.find_root()
        && message.starts_with("Argument #")
        && message.contains("CheckedArithmetic")
    {
        let overflow =
            ArrowError::ArithmeticOverflow("integer overflow in an argument of a function in FROM".to_owned());
        return DataFusionError::from(overflow).into();
    }
    let feature = match error.find_root() {
        DataFusionError::NotImplemented(message) => feature(message).or_else(|| bare(message)),
        DataFusionError::Plan(message) | DataFusionError::Internal(message) => feature(message),
        // Only its own rewriting of subqueries makes such names.
        DataFusionError::SchemaError(schema, _) if schema.to_string().contains("__scalar_sq_") => {
            Some(of_structure("OuterReferenceColumn"))
        }
        _ => None,
    };
    match feature {
        Some(feature) => Error::unsupported("this query", feature),
        None => error.into(),
    }
}

/// The function that was called with arguments which it does not take, and why.
fn unmatched(message: &str) -> Option<(&str, String)> {
    let message = message.strip_prefix("Internal error: ").unwrap_or(message);
    let (name, why) = message.strip_prefix("Function '")?.split_once("' failed to match any signature, errors: ")?;
    let why = why.lines().next().unwrap_or_default().replace("Error during planning: ", "");
    Some((name, why.trim_end_matches(['.', ' ']).to_owned()))
}

/// The feature that a message shows as a data structure.
fn feature(message: &str) -> Option<String> {
    const SHOWN: &[&str] = &[
        "Physical plan does not support logical expression ",
        "Unsupported ast node in sqltorel: ",
        "Unsupported ast node ",
        "Unsupported JOIN operator ",
        "Unsupported Value '",
    ];
    if let Some(shown) = SHOWN.iter().find_map(|words| message.strip_prefix(words)) {
        return Some(of_structure(shown));
    }
    if message.contains("OuterReferenceColumn(") {
        return Some(of_structure("OuterReferenceColumn"));
    }
    if message.starts_with("Correlated scalar subquery must be aggregated") {
        return Some(
            "a subquery as a value that has a condition on an outer column and is not aggregated, so that it might return \
             several rows; use max() or another aggregate in it"
                .to_owned(),
        );
    }
    if message.starts_with("Unnest should be rewritten") {
        return Some(of_structure("Unnest"));
    }
    if message.starts_with("Correlated scalar subquery can only be used in") {
        return Some("a subquery with a condition on an outer column in this clause; join instead".to_owned());
    }
    None
}

/// A message that is the feature's name alone, such as `LATERAL VIEWS`.
fn bare(message: &str) -> Option<String> {
    let says_so = ["support", "implement", "permitted", "allowed"].iter().any(|word| message.contains(word));
    (!says_so).then(|| message.to_owned())
}

/// A structure that begins with its name, as SQL names it.
fn of_structure(shown: &str) -> String {
    let name: String = shown.chars().take_while(|character| character.is_alphanumeric()).collect();
    let words = match name.as_str() {
        "ScalarSubquery" => "this subquery as a value, with a condition on an outer column; join instead",
        "InSubquery" => "IN (SELECT …) outside of a condition; join instead",
        "Exists" => "EXISTS (SELECT …) outside of a condition; join instead",
        "OuterReferenceColumn" => "this use of an outer column in a subquery; join instead",
        "Unnest" => "unnest() in this place; select it in a subquery",
        "Wildcard" => "* in this place; name the columns",
        "WindowFunction" => "a window function in this place; select it in a subquery",
        "AggregateFunction" => "an aggregate in this place; select it in a subquery",
        "Identifier" | "CompoundIdentifier" => "a column in this place; write a literal",
        "SingleQuotedByteStringLiteral" => "B'…'",
        "NationalStringLiteral" => "N'…'",
        _ => return in_words(&name),
    };
    words.to_owned()
}

/// `InUnnest` as IN UNNEST.
fn in_words(name: &str) -> String {
    let mut words = String::with_capacity(name.len() + 4);
    for character in name.chars() {
        if character.is_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.extend(character.to_uppercase());
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structures_become_words() {
        for (message, expected) in [
            (
                "Physical plan does not support logical expression ScalarSubquery(<subquery>)",
                "this subquery as a value",
            ),
            ("Physical plan does not support logical expression Wildcard { qualifier: None }", "* in this place"),
            ("Unsupported ast node in sqltorel: InUnnest { expr: Identifier(Ident) }", "IN UNNEST"),
            ("Unsupported ast node Pivot { table: Table { name: … } } in create_relation", "PIVOT"),
            ("Unnest should be rewritten to LogicalPlan::Unnest before type coercion", "unnest() in this place"),
            ("cannot join on OuterReferenceColumn(Field { name: \"k\" })", "this use of an outer column"),
            ("TOP", "TOP"),
        ] {
            let error = DataFusionError::NotImplemented(message.to_owned()).context("some rule");
            let told = in_sql_words(error).to_string();
            assert!(told.starts_with(&format!("this query is not supported: {expected}")), "{told}");
        }
        let error =
            "Failed to coerce types Boolean and Int64 in BETWEEN expression.\nThis issue was likely caused by a bug";
        let told = in_sql_words(DataFusionError::Internal(error.to_owned()));
        assert!(matches!(told, Error::Invalid(_)), "{told:?}");
        assert_eq!(told.to_string(), "there is no common type of Boolean and Int64 in BETWEEN expression");
        let kept = in_sql_words(DataFusionError::Plan("No such thing".to_owned()).context("some rule"));
        assert!(matches!(kept, Error::Query(_)), "{kept:?}");
        assert_eq!(kept.to_string(), "No such thing");
    }
}
