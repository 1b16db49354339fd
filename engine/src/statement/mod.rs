//! Turns the text of one statement into what it asks for.
//!
//! In: SQL text. Out: a [`Statement`]: queries as DataFusion's syntax tree, everything that Iceberg needs its own
//! syntax for (partition transforms, table properties) as types of our own. Names are not resolved here and nothing
//! is looked up. Text that is not SQL is [`Error::Syntax`] with line and column; SQL that this engine does not run
//! is [`Error::Unsupported`] with the statement's name.

mod bounds;
mod column;
mod create;
mod grammar;
mod grant;
mod insert;
mod parts;
mod place;
mod placeholders;
mod relations;
mod session;
mod show;
mod table;

pub(crate) use bounds::{TYPE_DEPTH_MAX, check_fields, check_name, check_type_text};
pub use grant::{AccessStatement, GivenPrivileges, GrantsOf};
pub(crate) use grant::{GrantObject, parse_grant};

use datafusion::sql::parser::{DFParser, DFParserBuilder, Statement as DFStatement};
use datafusion::sql::sqlparser::ast::{Function, Ident, ObjectName, Query, SetExpr, Statement as SqlStatement};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};
use iceberg::spec::{NestedFieldRef, Transform};

use self::grammar::Grammar;
use crate::own_thread::with_stack;
use crate::{Error, Result, budget};

/// What a token takes while a text is cut into them, and what it adds to the tree that is made of them, in bytes.
const BYTES_PER_TOKEN: usize = 160;
const TREE_BYTES_PER_TOKEN: usize = 200;

/// How deep the parser may recurse: two or three steps for each query in a query, one for each parenthesis. Its stack grows with it.
const RECURSION_MAX: usize = 1_000;

/// What one statement asks for.
#[derive(Debug, Clone)]
#[allow(clippy::large_enum_variant)] // One value a statement: not worth an allocation.
pub enum Statement {
    /// Rows: SELECT, VALUES, WITH, EXPLAIN, SHOW FUNCTIONS.
    Query(DFStatement),
    /// INSERT INTO.
    Insert(Insert),
    /// CREATE SCHEMA.
    CreateSchema(CreateSchema),
    /// CREATE TABLE, with columns or AS a query.
    CreateTable(CreateTable),
    /// DROP TABLE.
    DropTable {
        /// The table.
        table: ObjectName,
        /// Not an error if there is no such table.
        if_exists: bool,
        /// Its files are deleted too.
        purge: bool,
    },
    /// DROP SCHEMA.
    DropSchema {
        /// The schema.
        schema: ObjectName,
        /// Not an error if there is no such schema.
        if_exists: bool,
        /// Its tables are dropped too.
        cascade: bool,
    },
    /// ALTER TABLE … RENAME TO.
    RenameTable {
        /// The table.
        from: ObjectName,
        /// Its new name; without a schema it stays where it is.
        to: ObjectName,
        /// Not an error if there is no such table.
        if_exists: bool,
    },
    /// SHOW.
    Show(Show),
    /// DESCRIBE.
    Describe {
        /// The table.
        table: ObjectName,
    },
    /// USE.
    Use(Use),
    /// SET.
    Set {
        /// The setting's dotted name.
        name: String,
        /// Its value, without quotes.
        value: String,
    },
    /// CALL of a procedure.
    Call(Function),
    /// RESET one setting, or all if none is named.
    Reset {
        /// The setting's dotted name.
        name: Option<String>,
    },
    /// GRANT, REVOKE, CREATE ROLE, DROP ROLE, SHOW GRANTS, SHOW ROLES.
    Access(AccessStatement),
}

impl Statement {
    /// What it is, in the words that it begins with; nothing of its text.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Query(DFStatement::Explain(_)) => "EXPLAIN",
            Self::Query(_) => "QUERY",
            Self::Insert(_) => "INSERT",
            Self::CreateSchema(_) => "CREATE SCHEMA",
            Self::CreateTable(_) => "CREATE TABLE",
            Self::DropTable { .. } => "DROP TABLE",
            Self::DropSchema { .. } => "DROP SCHEMA",
            Self::RenameTable { .. } => "ALTER TABLE",
            Self::Show(_) => "SHOW",
            Self::Describe { .. } => "DESCRIBE",
            Self::Use(_) => "USE",
            Self::Set { .. } => "SET",
            Self::Call(_) => "CALL",
            Self::Reset { .. } => "RESET",
            Self::Access(statement) => statement.kind(),
        }
    }

    /// Whether it changes tables, schemas, roles or grants, and not only the session.
    pub(crate) fn changes_something(&self) -> bool {
        match self {
            Self::Insert(_)
            | Self::CreateSchema(_)
            | Self::CreateTable(_)
            | Self::DropTable { .. }
            | Self::DropSchema { .. }
            | Self::RenameTable { .. } => true,
            Self::Access(statement) => {
                !matches!(statement, AccessStatement::ShowGrants(_) | AccessStatement::ShowRoles)
            }
            Self::Query(_)
            | Self::Show(_)
            | Self::Describe { .. }
            | Self::Use(_)
            | Self::Set { .. }
            | Self::Call(_)
            | Self::Reset { .. } => false,
        }
    }

    /// Whether values may be bound to it: a query is in it.
    fn takes_parameters(&self) -> bool {
        match self {
            Self::Query(_) | Self::Insert(_) => true,
            Self::CreateTable(create) => create.query.is_some(),
            _ => false,
        }
    }
}

/// INSERT INTO table [(columns)] query.
#[derive(Debug, Clone)]
pub struct Insert {
    /// Where the rows go.
    pub table: ObjectName,
    /// The columns that the query gives, in its order; all of the table's if empty.
    pub columns: Vec<Ident>,
    /// What gives the rows; none for DEFAULT VALUES.
    pub source: Option<Box<Query>>,
}

/// CREATE SCHEMA.
#[derive(Debug, Clone)]
pub struct CreateSchema {
    /// The schema.
    pub schema: ObjectName,
    /// Not an error if it is there already.
    pub if_not_exists: bool,
    /// Properties, among them `location`.
    pub properties: Vec<(String, String)>,
}

/// CREATE TABLE.
#[derive(Debug, Clone)]
pub struct CreateTable {
    /// The table.
    pub table: ObjectName,
    /// Not an error if it is there already.
    pub if_not_exists: bool,
    /// The columns; empty if the query gives them.
    pub columns: Vec<NestedFieldRef>,
    /// How rows are divided into partitions, in order.
    pub partitions: Vec<PartitionBy>,
    /// Table properties, among them `format_version` and `location`, which are not stored as such.
    pub properties: Vec<(String, String)>,
    /// The query whose rows the table starts with.
    pub query: Option<Box<Query>>,
}

/// One element of PARTITIONED BY.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionBy {
    /// What is done to the column's values.
    pub transform: Transform,
    /// The column; a field of a struct has several parts.
    pub column: Vec<Ident>,
}

/// What SHOW shows.
#[derive(Debug, Clone)]
pub enum Show {
    /// SHOW CATALOGS.
    Catalogs {
        /// LIKE pattern.
        like: Option<String>,
    },
    /// SHOW SCHEMAS.
    Schemas {
        /// The catalog; the current one if none.
        catalog: Option<ObjectName>,
        /// LIKE pattern.
        like: Option<String>,
    },
    /// SHOW TABLES.
    Tables {
        /// The schema; the current one if none.
        schema: Option<ObjectName>,
        /// LIKE pattern.
        like: Option<String>,
    },
    /// SHOW COLUMNS.
    Columns {
        /// The table.
        table: ObjectName,
    },
    /// SHOW CREATE TABLE.
    CreateTable {
        /// The table.
        table: ObjectName,
    },
    /// SHOW ALL, or SHOW and a setting's name.
    Settings {
        /// The setting; all if none.
        name: Option<String>,
    },
}

/// What USE chooses.
#[derive(Debug, Clone)]
pub enum Use {
    /// USE CATALOG name.
    Catalog(Ident),
    /// USE SCHEMA name, USE catalog.schema.
    Schema(ObjectName),
    /// USE name: a schema of the current catalog or, if it has none of that name, a catalog.
    Either(Ident),
}

/// Parses exactly one statement; a semicolon after it is fine.
///
/// # Errors
/// [`Error::Syntax`] with the place, [`Error::Unsupported`] with the statement's name, [`Error::Invalid`] if there is
/// no statement or more than one.
pub fn parse(sql: &str) -> Result<Statement> {
    parse_with_parameters(sql).map(|(statement, _)| statement)
}

/// The same, with the number of values that the statement takes: its parameters are `$1`, `$2` and so on afterwards, also
/// where they were written as `?`.
///
/// # Errors
/// As [`parse`], and [`Error::Unsupported`] for parameters in statements that take none.
pub fn parse_with_parameters(sql: &str) -> Result<(Statement, usize)> {
    with_stack(|| parse_text(sql)).map_err(|error| match error {
        Error::Syntax { message } => Error::Syntax { message: place::shown(sql, message) },
        other => other,
    })
}

fn parse_text(sql: &str) -> Result<(Statement, usize)> {
    let grammar = Grammar::default();
    let mut tokens = tokenize(&grammar, sql)?;
    bounds::check(&tokens)?;
    let parameters = placeholders::number(&mut tokens)?;
    let tokens = parts::in_parentheses(tokens);
    let builder = DFParserBuilder::new(tokens).with_dialect(&grammar).with_recursion_limit(RECURSION_MAX);
    let mut parser = builder.build()?;
    while parser.parser.consume_token(&Token::SemiColon) {}
    if parser.parser.peek_token_ref().token == Token::EOF {
        return Err(Error::Invalid("there is no statement: the text is empty".to_string()));
    }
    let statement = statement(&mut parser)?;
    expect_end(&mut parser.parser)?;
    relations::check(&statement)?;
    placeholders::refuse_names(&statement)?;
    if parameters > 0 && !statement.takes_parameters() {
        let what = format!("a parameter in {}", statement.kind());
        return Err(Error::unsupported(what, "write the value into the statement"));
    }
    Ok((statement, parameters))
}

/// The tokens of a text that is to be parsed.
fn tokenize(grammar: &Grammar, text: &str) -> Result<Vec<TokenWithSpan>> {
    if text.len() > bounds::TEXT_BYTES_MAX {
        let (length, max) = (text.len(), bounds::TEXT_BYTES_MAX);
        return Err(Error::TooComplex(format!("the statement has {length} bytes, and may have {max}")));
    }
    budget::reserve(bounds::tokens_at_most(text).saturating_mul(BYTES_PER_TOKEN))?;
    let tokens = Tokenizer::new(grammar, text).tokenize_with_location();
    let tokens = tokens.map_err(|error| syntax(ParserError::from(error)))?;
    budget::reserve(tokens.len().saturating_mul(TREE_BYTES_PER_TOKEN))?;
    grammar.allow(tokens.len());
    Ok(tokens)
}

/// Parses a text that is no statement, such as the filter in an argument, to its end.
///
/// # Errors
/// If it is not what is expected, or has more behind it.
pub(crate) fn parse_part<T>(text: &str, part: impl FnOnce(&mut Parser<'_>) -> Result<T>) -> Result<T> {
    let grammar = Grammar::default();
    let tokens = tokenize(&grammar, text)?;
    bounds::check(&tokens)?;
    let parser = Parser::new(&grammar).with_recursion_limit(RECURSION_MAX);
    let mut parser = parser.with_tokens_with_locations(tokens);
    let part = with_stack(|| part(&mut parser))?;
    expect_end(&mut parser)?;
    Ok(part)
}

/// One statement, told apart by its first words.
fn statement(parser: &mut DFParser<'_>) -> Result<Statement> {
    let Token::Word(first) = parser.parser.peek_token().token else {
        return query(parser);
    };
    let sql = &mut parser.parser;
    match first.keyword {
        Keyword::GRANT | Keyword::REVOKE => grant::parse(sql),
        Keyword::CREATE | Keyword::DROP if second_is(sql, "ROLE") => grant::parse_role(sql),
        Keyword::SHOW if second_is(sql, "GRANTS") || second_is(sql, "ROLES") => grant::parse_show(sql),
        Keyword::INSERT => insert::parse(sql),
        Keyword::CREATE => create::parse(sql),
        Keyword::DROP => table::parse_drop(sql),
        Keyword::ALTER => table::parse_alter(sql),
        Keyword::SHOW => match show::parse(sql)? {
            Some(show) => Ok(show),
            None => query(parser),
        },
        Keyword::DESCRIBE | Keyword::DESC => match show::parse_describe(sql)? {
            Some(describe) => Ok(describe),
            None => query(parser),
        },
        Keyword::USE => session::parse_use(sql),
        Keyword::CALL => parse_call(sql),
        Keyword::SET => session::parse_set(sql),
        Keyword::RESET => session::parse_reset(sql),
        _ => query(parser),
    }
}

fn parse_call(parser: &mut Parser<'_>) -> Result<Statement> {
    match parser.parse_statement().map_err(syntax)? {
        SqlStatement::Call(function) => Ok(Statement::Call(function)),
        _ => Err(unsupported_statement("CALL")),
    }
}

/// A statement that DataFusion plans, and which changes nothing.
fn query(parser: &mut DFParser<'_>) -> Result<Statement> {
    let text = parser.parser.peek_token_ref().to_string().to_uppercase();
    let statement = parser.parse_statement().map_err(datafusion_syntax)?;
    check_reads_only(&statement, &text)?;
    Ok(Statement::Query(statement))
}

fn check_reads_only(statement: &DFStatement, name: &str) -> Result<()> {
    match statement {
        DFStatement::Statement(statement) => match statement.as_ref() {
            SqlStatement::Query(query) => check_body_reads_only(&query.body),
            SqlStatement::Explain { statement, .. } => {
                check_reads_only(&DFStatement::Statement(statement.clone()), "EXPLAIN of this statement")
            }
            SqlStatement::ShowFunctions { .. } | SqlStatement::ExplainTable { .. } => Ok(()),
            _ => Err(unsupported_statement(name)),
        },
        DFStatement::Explain(explain) => check_reads_only(&explain.statement, "EXPLAIN of this statement"),
        _ => Err(unsupported_statement(name)),
    }
}

/// Refuses WITH … INSERT, UPDATE, DELETE and SELECT INTO, which the grammar allows inside a query.
fn check_body_reads_only(body: &SetExpr) -> Result<()> {
    match body {
        SetExpr::Insert(_) => {
            Err(Error::unsupported("WITH before INSERT", "write INSERT INTO the_table WITH … SELECT instead"))
        }
        SetExpr::Update(_) => Err(unsupported_statement("UPDATE")),
        SetExpr::Delete(_) => Err(unsupported_statement("DELETE")),
        SetExpr::Merge(_) => Err(unsupported_statement("MERGE")),
        SetExpr::Query(query) => check_body_reads_only(&query.body),
        SetExpr::SetOperation { left, right, .. } => {
            check_body_reads_only(left)?;
            check_body_reads_only(right)
        }
        SetExpr::Select(select) if select.into.is_some() => {
            Err(Error::unsupported("SELECT INTO", "write CREATE TABLE … AS SELECT instead"))
        }
        SetExpr::Select(_) | SetExpr::Values(_) | SetExpr::Table(_) => Ok(()),
    }
}

fn unsupported_statement(name: &str) -> Error {
    Error::unsupported(name.to_string(), "this engine has no such statement yet")
}

/// Nothing may follow a statement but semicolons.
fn expect_end(parser: &mut Parser<'_>) -> Result<()> {
    let mut ended = false;
    while parser.consume_token(&Token::SemiColon) {
        ended = true;
    }
    let next = parser.peek_token();
    match next.token {
        Token::EOF => Ok(()),
        _ if ended => Err(Error::Invalid(format!(
            "there is more than one statement: send them one at a time (the next begins{})",
            next.span.start
        ))),
        _ => parser.expected("end of statement", next).map_err(syntax),
    }
}

/// A parser's complaint, with its line and column.
pub(crate) fn syntax(error: ParserError) -> Error {
    let message = match error {
        ParserError::TokenizerError(message) | ParserError::ParserError(message) => message,
        ParserError::RecursionLimitExceeded => return bounds::recursion(),
    };
    Error::Syntax { message }
}

fn datafusion_syntax(error: datafusion::error::DataFusionError) -> Error {
    use datafusion::error::DataFusionError;
    match error {
        DataFusionError::SQL(error, _) => syntax(*error),
        DataFusionError::Diagnostic(_, error) => datafusion_syntax(*error),
        other => other.into(),
    }
}

/// Consumes a word that the parser's keyword list may lack.
fn consume_word(parser: &mut Parser<'_>, word: &str) -> bool {
    let found = peek_word(parser, word);
    if found {
        parser.advance_token();
    }
    found
}

/// Whether the word after the next is this one.
fn second_is(parser: &Parser<'_>, word: &str) -> bool {
    is_word(&parser.peek_nth_token_ref(1).token, word)
}

fn peek_word(parser: &Parser<'_>, word: &str) -> bool {
    is_word(&parser.peek_token_ref().token, word)
}

fn is_word(token: &Token, word: &str) -> bool {
    matches!(token, Token::Word(found) if found.quote_style.is_none() && found.value.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests;
