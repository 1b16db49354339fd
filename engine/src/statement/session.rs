//! USE, SET and RESET: what a client chooses for its own session.

use datafusion::sql::sqlparser::ast::ObjectNamePart;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::Token;

use super::{Statement, Use, consume_word, syntax};
use crate::Result;

/// USE [CATALOG | SCHEMA | DATABASE] name.
pub(super) fn parse_use(parser: &mut Parser<'_>) -> Result<Statement> {
    parser.expect_keyword(Keyword::USE).map_err(syntax)?;
    let next_is_name = matches!(&parser.peek_nth_token_ref(1).token, Token::Word(_));
    if next_is_name && consume_word(parser, "CATALOG") {
        return Ok(Statement::Use(Use::Catalog(parser.parse_identifier().map_err(syntax)?)));
    }
    let schema = next_is_name
        && (consume_word(parser, "SCHEMA") || consume_word(parser, "DATABASE") || consume_word(parser, "NAMESPACE"));
    let name = parser.parse_object_name(false).map_err(syntax)?;
    Ok(Statement::Use(match name.0.as_slice() {
        [ObjectNamePart::Identifier(ident)] if !schema => Use::Either(ident.clone()),
        _ => Use::Schema(name),
    }))
}

/// SET [SESSION] name = value, SET name TO value, SET TIME ZONE value.
pub(super) fn parse_set(parser: &mut Parser<'_>) -> Result<Statement> {
    parser.expect_keyword(Keyword::SET).map_err(syntax)?;
    if parser.parse_keywords(&[Keyword::TIME, Keyword::ZONE]) {
        return Ok(Statement::Set { name: "time_zone".to_string(), value: value(parser)? });
    }
    if matches!(&parser.peek_nth_token_ref(1).token, Token::Word(_)) {
        let _ = consume_word(parser, "SESSION");
    }
    let name = dotted_name(parser)?;
    if !parser.consume_token(&Token::Eq) {
        parser.expect_keyword(Keyword::TO).map_err(syntax)?;
    }
    Ok(Statement::Set { name, value: value(parser)? })
}

/// RESET name, RESET ALL.
pub(super) fn parse_reset(parser: &mut Parser<'_>) -> Result<Statement> {
    parser.expect_keyword(Keyword::RESET).map_err(syntax)?;
    let name = match parser.parse_keyword(Keyword::ALL) {
        true => None,
        false => Some(dotted_name(parser)?),
    };
    Ok(Statement::Reset { name })
}

/// A setting's or property's name: words with dots and dashes between them, each part maybe quoted.
pub(super) fn dotted_name(parser: &mut Parser<'_>) -> Result<String> {
    let mut name = String::new();
    loop {
        let next = parser.next_token();
        match next.token {
            Token::Word(word) => name.push_str(&word.value),
            Token::SingleQuotedString(text) | Token::DoubleQuotedString(text) => name.push_str(&text),
            _ => return parser.expected("a name", next).map_err(syntax),
        }
        if parser.consume_token(&Token::Period) {
            name.push('.');
        } else if parser.consume_token(&Token::Minus) {
            name.push('-');
        } else {
            return Ok(name);
        }
    }
}

/// A value as it was written, without quotes: `'30s'`, `30`, `1GiB`, `true`, `-1`.
fn value(parser: &mut Parser<'_>) -> Result<String> {
    let mut value = String::new();
    loop {
        let next = parser.peek_token();
        match next.token {
            Token::SingleQuotedString(text) | Token::DoubleQuotedString(text) => value.push_str(&text),
            Token::Word(word) => value.push_str(&word.value),
            token @ (Token::Number(..)
            | Token::Minus
            | Token::Period
            | Token::Comma
            | Token::Colon
            | Token::Plus
            | Token::Div) => {
                value.push_str(&token.to_string());
            }
            Token::EOF | Token::SemiColon if !value.is_empty() => return Ok(value),
            _ => return parser.expected("a value", next).map_err(syntax),
        }
        parser.advance_token();
    }
}
