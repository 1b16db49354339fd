//! Refuses statements whose expressions are longer than planning can hold.
//!
//! A chain such as `a OR b OR c` is a tree as deep as it has operators, and planning recurses into it. The parser's own
//! limit counts parentheses only, so the operators are counted here, before there is a tree.

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use crate::{Error, Result};

/// Operators that one statement may have. Planning a chain takes time that grows with its square: this many take seconds.
const OPERATORS_MAX: usize = 1_000;

/// # Errors
/// If the statement has more than [`OPERATORS_MAX`] operators.
pub(super) fn check(tokens: &[TokenWithSpan]) -> Result<()> {
    let operators = tokens.iter().filter(|token| chains(&token.token)).count();
    if operators <= OPERATORS_MAX {
        return Ok(());
    }
    Err(Error::Invalid(format!(
        "the statement has {operators} operators, and at most {OPERATORS_MAX} can be planned: \
         use IN (…) for many values, or join with a table of them"
    )))
}

/// Whether a token makes the tree of an expression or of a set operation one level deeper.
fn chains(token: &Token) -> bool {
    match token {
        Token::Word(word) => matches!(
            word.keyword,
            Keyword::AND | Keyword::OR | Keyword::NOT | Keyword::UNION | Keyword::INTERSECT | Keyword::EXCEPT
        ),
        Token::Plus | Token::Minus | Token::Mul | Token::Div | Token::Mod | Token::StringConcat => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use crate::statement;

    #[test]
    fn a_chain_that_is_too_long_is_refused_before_it_is_a_tree() {
        let sql = format!("SELECT 1 WHERE {}", vec!["1 = 2"; 20_000].join(" OR "));
        let message = statement::parse(&sql).expect_err("too long").to_string();
        assert!(message.contains("19999 operators"), "{message}");
        let many = format!("SELECT 1 WHERE 1 IN ({})", vec!["2"; 20_000].join(", "));
        assert!(statement::parse(&many).is_ok());
    }
}
