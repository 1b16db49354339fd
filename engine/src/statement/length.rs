//! Refuses statements whose expressions are longer than planning can hold.
//!
//! A chain such as `a OR b OR c` is a tree as deep as it has operators, and planning recurses into it. The parser's own
//! limit counts parentheses only, so the operators are counted here, before there is a tree.

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use crate::{Error, Result};

/// Operators that one statement may have. Planning a chain takes time that grows with its square: this many take seconds.
const OPERATORS_MAX: usize = 1_000;

/// Types in types, such as `int[][]` or `array<array<int>>`. The parser does not count them.
const TYPE_DEPTH_MAX: usize = 50;

/// # Errors
/// If the statement has more than [`OPERATORS_MAX`] operators, or a type of more than [`TYPE_DEPTH_MAX`] levels.
pub(super) fn check(tokens: &[TokenWithSpan]) -> Result<()> {
    if type_depth(tokens) > TYPE_DEPTH_MAX {
        return Err(Error::Invalid(format!("a type has more than {TYPE_DEPTH_MAX} levels")));
    }
    let operators = tokens.iter().filter(|token| chains(&token.token)).count();
    if operators <= OPERATORS_MAX {
        return Ok(());
    }
    Err(Error::Invalid(format!(
        "the statement has {operators} operators, and at most {OPERATORS_MAX} can be planned: \
         use IN (…) for many values, or join with a table of them"
    )))
}

/// The longest row of `[]`, or of `array<` and the like.
fn type_depth(tokens: &[TokenWithSpan]) -> usize {
    let (mut longest, mut levels): (usize, usize) = (0, 0);
    let mut before: Option<&Token> = None;
    for token in tokens.iter().map(|token| &token.token).filter(|token| !matches!(token, Token::Whitespace(_))) {
        let goes_on = match (before, token) {
            (Some(Token::LBracket), Token::RBracket) | (Some(Token::Word(_)), Token::Lt) => {
                levels += 1;
                true
            }
            (_, Token::LBracket | Token::Word(_)) => matches!(before, Some(Token::RBracket | Token::Lt)),
            _ => false,
        };
        longest = longest.max(levels);
        if !goes_on {
            levels = 0;
        }
        before = Some(token);
    }
    longest
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
        for deep in ["int".to_owned() + &"[] ".repeat(20_000), "array<".repeat(20_000) + "int" + &">".repeat(20_000)] {
            let message = statement::parse(&format!("SELECT CAST(NULL AS {deep})")).expect_err("too deep").to_string();
            assert!(message.contains("more than 50 levels"), "{message}");
        }
        assert!(statement::parse("SELECT CAST(NULL AS int[][]), a < b, c < d, [[1]]").is_ok());
        let many = format!("SELECT 1 WHERE 1 IN ({})", vec!["2"; 20_000].join(", "));
        assert!(statement::parse(&many).is_ok());
    }
}
