//! SHOW and DESCRIBE.

use datafusion::sql::sqlparser::ast::ObjectName;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::Token;

use super::session::dotted_name;
use super::{Show, Statement, consume_word, peek_word, syntax};
use crate::Result;

/// A SHOW statement, or none (with nothing consumed) for the forms that DataFusion answers itself.
pub(super) fn parse(parser: &mut Parser<'_>) -> Result<Option<Statement>> {
    if matches!(&parser.peek_nth_token_ref(1).token, Token::Word(word) if word.keyword == Keyword::FUNCTIONS) {
        return Ok(None);
    }
    parser.expect_keyword(Keyword::SHOW).map_err(syntax)?;
    let show = if consume_word(parser, "CATALOGS") {
        Show::Catalogs { like: like(parser)? }
    } else if consume_word(parser, "SCHEMAS") || consume_word(parser, "DATABASES") || consume_word(parser, "NAMESPACES")
    {
        Show::Schemas { catalog: from(parser)?, like: like(parser)? }
    } else if consume_word(parser, "TABLES") {
        Show::Tables { schema: from(parser)?, like: like(parser)? }
    } else if consume_word(parser, "COLUMNS") {
        match from(parser)? {
            Some(table) => Show::Columns { table },
            None => {
                let next = parser.peek_token();
                return parser.expected("FROM and a table", next).map_err(syntax);
            }
        }
    } else if parser.parse_keywords(&[Keyword::CREATE, Keyword::TABLE]) {
        Show::CreateTable { table: parser.parse_object_name(false).map_err(syntax)? }
    } else if consume_word(parser, "ALL") || consume_word(parser, "SETTINGS") {
        Show::Settings { name: None }
    } else {
        Show::Settings { name: Some(dotted_name(parser)?) }
    };
    Ok(Some(Statement::Show(show)))
}

/// DESCRIBE [TABLE] name, or none (with nothing consumed) for DESCRIBE of a query.
pub(super) fn parse_describe(parser: &mut Parser<'_>) -> Result<Option<Statement>> {
    if let Token::Word(word) = &parser.peek_nth_token_ref(1).token
        && matches!(word.keyword, Keyword::SELECT | Keyword::WITH | Keyword::VALUES)
    {
        return Ok(None);
    }
    parser.advance_token();
    let second_is_name = matches!(&parser.peek_nth_token_ref(1).token, Token::Word(_));
    if peek_word(parser, "TABLE") && second_is_name {
        parser.advance_token();
    }
    let table = parser.parse_object_name(false).map_err(syntax)?;
    Ok(Some(Statement::Describe { table }))
}

fn from(parser: &mut Parser<'_>) -> Result<Option<ObjectName>> {
    match parser.parse_one_of_keywords(&[Keyword::FROM, Keyword::IN]) {
        Some(_) => Ok(Some(parser.parse_object_name(false).map_err(syntax)?)),
        None => Ok(None),
    }
}

fn like(parser: &mut Parser<'_>) -> Result<Option<String>> {
    match parser.parse_keyword(Keyword::LIKE) {
        true => Ok(Some(parser.parse_literal_string().map_err(syntax)?)),
        false => Ok(None),
    }
}
