//! CREATE SCHEMA and CREATE TABLE, with what Iceberg adds: partition transforms and properties.
//!
//! `CREATE TABLE t (id bigint NOT NULL, at timestamp) PARTITIONED BY (months(at), bucket(16, id))
//! WITH (format_version = 2, "write.target-file-size-bytes" = 134217728) [AS SELECT …]`

use datafusion::sql::sqlparser::ast::{Ident, Value};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};
use iceberg::spec::Transform;

use super::column::parse_columns;
use super::{CreateSchema, CreateTable, PartitionBy, Statement, consume_word, syntax};
use crate::{Error, Result};

pub(super) fn parse(parser: &mut Parser<'_>) -> Result<Statement> {
    parser.expect_keyword(Keyword::CREATE).map_err(syntax)?;
    if parser.parse_keyword(Keyword::SCHEMA)
        || parser.parse_keyword(Keyword::DATABASE)
        || consume_word(parser, "NAMESPACE")
    {
        return schema(parser);
    }
    if parser.parse_keywords(&[Keyword::OR, Keyword::REPLACE]) {
        let what = parser.next_token();
        return Err(Error::unsupported(
            format!("CREATE OR REPLACE {}", what.to_string().to_uppercase()),
            "drop the old one first",
        ));
    }
    if parser.parse_keyword(Keyword::TABLE) {
        return table(parser);
    }
    let what = parser.next_token();
    match what.token {
        Token::Word(word) => Err(super::unsupported_statement(&format!("CREATE {}", word.value.to_uppercase()))),
        _ => parser.expected("TABLE or SCHEMA", what).map_err(syntax),
    }
}

fn schema(parser: &mut Parser<'_>) -> Result<Statement> {
    let if_not_exists = parser.parse_keywords(&[Keyword::IF, Keyword::NOT, Keyword::EXISTS]);
    let schema = parser.parse_object_name(false).map_err(syntax)?;
    let clauses = clauses(parser, &["PROPERTIES", "WITH", "LOCATION", "COMMENT"])?;
    Ok(Statement::CreateSchema(CreateSchema { schema, if_not_exists, properties: clauses.properties }))
}

fn table(parser: &mut Parser<'_>) -> Result<Statement> {
    let if_not_exists = parser.parse_keywords(&[Keyword::IF, Keyword::NOT, Keyword::EXISTS]);
    let table = parser.parse_object_name(false).map_err(syntax)?;
    let columns = match parser.peek_token_ref().token {
        Token::LParen => parse_columns(parser)?,
        _ => Vec::new(),
    };
    let clauses =
        clauses(parser, &["PARTITIONED", "PARTITION", "WITH", "TBLPROPERTIES", "LOCATION", "COMMENT", "USING"])?;
    let query = match parser.parse_keyword(Keyword::AS) {
        true => Some(parser.parse_query().map_err(syntax)?),
        false => None,
    };
    match (&query, columns.is_empty()) {
        (None, true) => {
            let next = parser.peek_token();
            return parser.expected("a list of columns, or AS and a query", next).map_err(syntax);
        }
        (Some(_), false) => {
            return Err(Error::unsupported(
                "CREATE TABLE with columns AS a query",
                "leave out the columns, and cast and name them in the query",
            ));
        }
        _ => {}
    }
    let Clauses { partitions, properties } = clauses;
    Ok(Statement::CreateTable(CreateTable { table, if_not_exists, columns, partitions, properties, query }))
}

#[derive(Default)]
struct Clauses {
    partitions: Vec<PartitionBy>,
    properties: Vec<(String, String)>,
}

impl Clauses {
    fn add(&mut self, key: String, value: String) -> Result<()> {
        if self.properties.iter().any(|(other, _)| *other == key) {
            return Err(Error::Invalid(format!("property {key} is given twice")));
        }
        self.properties.push((key, value));
        Ok(())
    }
}

/// The clauses after the name and columns, in any order.
fn clauses(parser: &mut Parser<'_>, allowed: &[&str]) -> Result<Clauses> {
    let mut clauses = Clauses::default();
    while let Some(clause) = allowed.iter().find(|word| consume_word(parser, word)) {
        match *clause {
            "PARTITIONED" | "PARTITION" => {
                parser.expect_keyword(Keyword::BY).map_err(syntax)?;
                parser.expect_token(&Token::LParen).map_err(syntax)?;
                clauses.partitions = comma_separated(parser, partition)?;
            }
            "LOCATION" => {
                clauses.add("location".to_string(), parser.parse_literal_string().map_err(syntax)?)?;
            }
            "COMMENT" => {
                clauses.add("comment".to_string(), parser.parse_literal_string().map_err(syntax)?)?;
            }
            "USING" => {
                if !consume_word(parser, "ICEBERG") {
                    let next = parser.peek_token();
                    return parser.expected("ICEBERG", next).map_err(syntax);
                }
            }
            _ => {
                consume_word(parser, "PROPERTIES");
                parser.expect_token(&Token::LParen).map_err(syntax)?;
                for (key, value) in comma_separated(parser, property)? {
                    clauses.add(key, value)?;
                }
            }
        }
    }
    Ok(clauses)
}

/// Elements and commas, to the closing parenthesis and past it.
fn comma_separated<T>(parser: &mut Parser<'_>, element: fn(&mut Parser<'_>) -> Result<T>) -> Result<Vec<T>> {
    let mut elements = Vec::new();
    loop {
        elements.push(element(parser)?);
        if !parser.consume_token(&Token::Comma) {
            break;
        }
    }
    parser.expect_token(&Token::RParen).map_err(syntax)?;
    Ok(elements)
}

/// `key = value`: the key a word, dotted words or a string; the value a string, a number or a word.
fn property(parser: &mut Parser<'_>) -> Result<(String, String)> {
    let key = super::session::dotted_name(parser)?;
    parser.expect_token(&Token::Eq).map_err(syntax)?;
    let next = parser.peek_token();
    let value = match &next.token {
        Token::Word(word) if word.quote_style.is_none() => {
            parser.advance_token();
            word.value.clone()
        }
        Token::Minus => {
            parser.advance_token();
            format!("-{}", value(parser)?)
        }
        _ => value(parser)?,
    };
    Ok((key, value))
}

fn value(parser: &mut Parser<'_>) -> Result<String> {
    let value = parser.parse_value().map_err(syntax)?;
    match value.value {
        Value::Number(number, _) => Ok(number),
        other => match other.into_string() {
            Some(text) => Ok(text),
            None => parser.expected("a string or a number", parser.peek_token()).map_err(syntax),
        },
    }
}

/// `column`, `months(column)`, `bucket(16, column)`.
fn partition(parser: &mut Parser<'_>) -> Result<PartitionBy> {
    let start = parser.peek_token();
    let column = column(parser)?;
    if !parser.consume_token(&Token::LParen) {
        return Ok(PartitionBy { transform: Transform::Identity, column });
    }
    let [name] = column.as_slice() else {
        return parser.expected("a column or a transform", start).map_err(syntax);
    };
    let (parameter, column) = arguments(parser)?;
    let transform = transform(parser, &name.value, parameter, &start)?;
    Ok(PartitionBy { transform, column })
}

/// A column and maybe a number, on either side of it.
fn arguments(parser: &mut Parser<'_>) -> Result<(Option<u32>, Vec<Ident>)> {
    let mut parameter = number(parser)?;
    if parameter.is_some() {
        parser.expect_token(&Token::Comma).map_err(syntax)?;
    }
    let column = column(parser)?;
    if parameter.is_none() && parser.consume_token(&Token::Comma) {
        parameter = number(parser)?;
    }
    parser.expect_token(&Token::RParen).map_err(syntax)?;
    Ok((parameter, column))
}

fn number(parser: &mut Parser<'_>) -> Result<Option<u32>> {
    let next = parser.peek_token();
    let Token::Number(digits, _) = &next.token else {
        return Ok(None);
    };
    let in_range = digits.parse::<u32>().ok().filter(|number| (1..=i32::MAX as u32).contains(number));
    let Some(number) = in_range else {
        return parser.expected("a number from 1 to 2147483647", next).map_err(syntax);
    };
    parser.advance_token();
    Ok(Some(number))
}

fn column(parser: &mut Parser<'_>) -> Result<Vec<Ident>> {
    let mut parts = vec![parser.parse_identifier().map_err(syntax)?];
    while parser.consume_token(&Token::Period) {
        parts.push(parser.parse_identifier().map_err(syntax)?);
    }
    Ok(parts)
}

fn transform(parser: &Parser<'_>, name: &str, parameter: Option<u32>, at: &TokenWithSpan) -> Result<Transform> {
    Ok(match (name.to_ascii_lowercase().as_str(), parameter) {
        ("identity", None) => Transform::Identity,
        ("void", None) => Transform::Void,
        ("year" | "years", None) => Transform::Year,
        ("month" | "months", None) => Transform::Month,
        ("day" | "days" | "date", None) => Transform::Day,
        ("hour" | "hours" | "date_hour", None) => Transform::Hour,
        ("bucket", Some(buckets)) => Transform::Bucket(buckets),
        ("truncate", Some(width)) => Transform::Truncate(width),
        _ => {
            let forms = "one of years(c), months(c), days(c), hours(c), bucket(n, c), truncate(w, c)";
            return parser.expected(forms, at.clone()).map_err(syntax);
        }
    })
}
