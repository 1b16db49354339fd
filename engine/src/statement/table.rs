//! DROP and ALTER.

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::Parser;

use super::{Statement, consume_word, syntax, unsupported_statement};
use crate::{Error, Result};

/// DROP TABLE [IF EXISTS] name [PURGE], DROP SCHEMA [IF EXISTS] name [CASCADE | RESTRICT].
pub(super) fn parse_drop(parser: &mut Parser<'_>) -> Result<Statement> {
    parser.expect_keyword(Keyword::DROP).map_err(syntax)?;
    let is_table = parser.parse_keyword(Keyword::TABLE);
    if !is_table
        && !parser.parse_keyword(Keyword::SCHEMA)
        && !parser.parse_keyword(Keyword::DATABASE)
        && !consume_word(parser, "NAMESPACE")
    {
        let what = parser.next_token();
        return Err(unsupported_statement(&format!("DROP {}", what.to_string().to_uppercase())));
    }
    let if_exists = parser.parse_keywords(&[Keyword::IF, Keyword::EXISTS]);
    let name = parser.parse_object_name(false).map_err(syntax)?;
    if is_table {
        let purge = consume_word(parser, "PURGE");
        return Ok(Statement::DropTable { table: name, if_exists, purge });
    }
    let cascade = parser.parse_keyword(Keyword::CASCADE);
    if !cascade {
        let _ = parser.parse_keyword(Keyword::RESTRICT);
    }
    Ok(Statement::DropSchema { schema: name, if_exists, cascade })
}

/// ALTER TABLE [IF EXISTS] name RENAME TO name.
pub(super) fn parse_alter(parser: &mut Parser<'_>) -> Result<Statement> {
    parser.expect_keyword(Keyword::ALTER).map_err(syntax)?;
    if !parser.parse_keyword(Keyword::TABLE) {
        let what = parser.next_token();
        return Err(unsupported_statement(&format!("ALTER {}", what.to_string().to_uppercase())));
    }
    let if_exists = parser.parse_keywords(&[Keyword::IF, Keyword::EXISTS]);
    let from = parser.parse_object_name(false).map_err(syntax)?;
    if !parser.parse_keywords(&[Keyword::RENAME, Keyword::TO]) {
        return Err(Error::unsupported("ALTER TABLE", "only RENAME TO is there yet"));
    }
    let to = parser.parse_object_name(false).map_err(syntax)?;
    Ok(Statement::RenameTable { from, to, if_exists })
}
