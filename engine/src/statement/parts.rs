//! Parts of ROLLUP and CUBE that begin with a parenthesis, in parentheses of their own.
//!
//! In: the tokens of a statement. Out: the same with `ROLLUP (((SELECT …)), ((a) + 1), (a, b))` for `ROLLUP ((SELECT …), (a) + 1, (a, b))`: the
//! parser takes the first parenthesis of a part for that of several columns. sqlparser 0.62.

use std::collections::HashSet;

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

/// A bracket that is open.
#[derive(Default)]
struct Open {
    /// Whether it is that of ROLLUP or CUBE. What follows is about the part that was begun last.
    holds_parts: bool,
    is_begun: bool,
    /// Where its first parenthesis is, if it begins with one.
    begin: Option<usize>,
    /// Whether it is more than columns in parentheses.
    is_expression: bool,
}

/// The tokens with these parentheses.
pub(super) fn in_parentheses(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    if !tokens.iter().any(|token| has_parts(&token.token)) {
        return tokens;
    }
    let (begins, ends) = expressions(&tokens);
    let mut changed = Vec::with_capacity(tokens.len() + begins.len() + ends.len());
    for (place, token) in tokens.into_iter().enumerate() {
        let added = match (begins.contains(&place), ends.contains(&place)) {
            (true, _) => Some(Token::LParen),
            (false, true) => Some(Token::RParen),
            (false, false) => None,
        };
        changed.extend(added.map(|added| TokenWithSpan { token: added, span: token.span }));
        changed.push(token);
    }
    changed
}

/// Where parts begin that want parentheses, and what they end before.
fn expressions(tokens: &[TokenWithSpan]) -> (HashSet<usize>, HashSet<usize>) {
    let (mut begins, mut ends) = (HashSet::new(), HashSet::new());
    let mut open: Vec<Open> = Vec::new();
    let mut before: Option<&Token> = None;
    for (place, TokenWithSpan { token, .. }) in tokens.iter().enumerate() {
        if matches!(token, Token::Whitespace(_)) {
            continue;
        }
        let closes = matches!(token, Token::RParen | Token::RBracket | Token::RBrace);
        if let Some(parts) = open.last_mut().filter(|open| open.holds_parts) {
            if closes || *token == Token::Comma {
                if let Some(begin) = parts.begin.filter(|_| parts.is_expression) {
                    begins.insert(begin);
                    ends.insert(place);
                }
                *parts = Open { holds_parts: true, ..Open::default() };
            } else if parts.is_begun {
                parts.is_expression = true;
            } else {
                parts.is_begun = true;
                parts.begin = (*token == Token::LParen).then_some(place);
                parts.is_expression = begins_query(tokens.get(place + 1..).unwrap_or_default());
            }
        }
        if closes {
            open.pop();
        } else if matches!(token, Token::LParen | Token::LBracket | Token::LBrace) {
            let holds_parts = *token == Token::LParen && before.is_some_and(has_parts);
            open.push(Open { holds_parts, ..Open::default() });
        }
        before = Some(token);
    }
    (begins, ends)
}

/// Whether what follows this word in parentheses are parts.
fn has_parts(token: &Token) -> bool {
    is_one_of(token, &[Keyword::ROLLUP, Keyword::CUBE])
}

fn begins_query(tokens: &[TokenWithSpan]) -> bool {
    let first = tokens.iter().find(|token| !matches!(token.token, Token::Whitespace(_)));
    first.is_some_and(|first| is_one_of(&first.token, &[Keyword::SELECT, Keyword::WITH, Keyword::VALUES]))
}

fn is_one_of(token: &Token, keywords: &[Keyword]) -> bool {
    matches!(token, Token::Word(word) if word.quote_style.is_none() && keywords.contains(&word.keyword))
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::dialect::GenericDialect;
    use datafusion::sql::sqlparser::tokenizer::Tokenizer;

    use super::*;
    use crate::statement;

    #[test]
    fn parts_that_are_expressions_get_parentheses() {
        for (sql, expected) in [
            ("ROLLUP((SELECT 1), b)", "ROLLUP(((SELECT 1)), b)"),
            ("cube ( ( SELECT f(1, 2) ) )", "cube ( (( SELECT f(1, 2) ) ))"),
            ("ROLLUP((a) + 1, (a, b), (c), d)", "ROLLUP(((a) + 1), (a, b), (c), d)"),
            ("ROLLUP((a)[1], [(a), (b)])", "ROLLUP(((a)[1]), [(a), (b)])"),
            (
                "CUBE((SELECT 1 FROM t GROUP BY ROLLUP((a) + 1)))",
                "CUBE(((SELECT 1 FROM t GROUP BY ROLLUP(((a) + 1)))))",
            ),
            ("f((SELECT 1), (a) + 1)", "f((SELECT 1), (a) + 1)"),
            ("\"rollup\"((a) + 1)", "\"rollup\"((a) + 1)"),
            ("ROLLUP(a", "ROLLUP(a"),
        ] {
            let tokens = Tokenizer::new(&GenericDialect, sql).tokenize_with_location().unwrap();
            let found: String = in_parentheses(tokens).iter().map(|token| token.token.to_string()).collect();
            assert_eq!(found, expected);
            if sql == "ROLLUP(a" || sql.starts_with('f') || sql.starts_with('"') {
                continue;
            }
            statement::parse(&format!("SELECT 1 FROM t GROUP BY {sql}")).unwrap();
        }
    }
}
