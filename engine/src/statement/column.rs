//! Column definitions: `name type [NOT NULL] [COMMENT '…']`, with nested types.
//!
//! Nested types are written `struct<a int, b varchar>`, `row(a int)`, `array<int>`, `int[]` and `map<varchar, int>`.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::sql::sqlparser::ast::{ArrayElemTypeDef, DataType, Ident};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::Token;
use iceberg::spec::{ListType, MapType, NestedField, NestedFieldRef, StructType, Type};

use super::{consume_word, peek_word, syntax};
use crate::types::{FieldIds, iceberg_type};
use crate::{Error, Result, budget};

/// The columns of CREATE TABLE, between their parentheses.
pub(super) fn parse_columns(parser: &mut Parser<'_>) -> Result<Vec<NestedFieldRef>> {
    parser.expect_token(&Token::LParen).map_err(syntax)?;
    let mut definitions = Definitions { parser, ids: FieldIds::default(), half_closed: false };
    let columns = definitions.fields("", Close::Paren)?;
    Ok(columns)
}

/// An identifier as a created name: lower-cased unless quoted.
pub(super) fn created_name(ident: &Ident) -> String {
    match ident.quote_style {
        Some(_) => ident.value.clone(),
        None => ident.value.to_lowercase(),
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Close {
    Paren,
    Angle,
}

/// Parses fields and their types, and hands out their ids.
struct Definitions<'p, 'd> {
    parser: &'p mut Parser<'d>,
    ids: FieldIds,
    /// `>>` closes two types and is one token: the second half is still to be taken.
    half_closed: bool,
}

impl Definitions<'_, '_> {
    /// Fields separated by commas, to the closing token and past it.
    fn fields(&mut self, parent: &str, close: Close) -> Result<Vec<NestedFieldRef>> {
        let mut fields: Vec<NestedFieldRef> = Vec::new();
        let mut names = HashSet::new();
        loop {
            budget::check()?;
            if parent.is_empty() {
                self.refuse_constraint()?;
            }
            let name = created_name(&self.parser.parse_identifier().map_err(syntax)?);
            let path = if parent.is_empty() { name.clone() } else { format!("{parent}.{name}") };
            if !names.insert(name.clone()) {
                return Err(Error::Invalid(format!("column {path} is defined twice")));
            }
            if !parent.is_empty() {
                let _ = self.parser.consume_token(&Token::Colon);
            }
            fields.push(Arc::new(self.field(name, &path)?));
            if self.half_closed || !self.parser.consume_token(&Token::Comma) {
                break;
            }
        }
        self.close(close)?;
        Ok(fields)
    }

    fn field(&mut self, name: String, path: &str) -> Result<NestedField> {
        let id = self.ids.next();
        let ty = self.ty(path)?;
        let mut field = NestedField::optional(id, name, ty);
        while !self.half_closed {
            if self.parser.parse_keywords(&[Keyword::NOT, Keyword::NULL]) {
                field.required = true;
            } else if self.parser.parse_keyword(Keyword::NULL) {
                field.required = false;
            } else if self.parser.parse_keyword(Keyword::COMMENT) {
                field.doc = Some(self.parser.parse_literal_string().map_err(syntax)?);
            } else {
                break;
            }
        }
        for constraint in ["DEFAULT", "PRIMARY", "UNIQUE", "REFERENCES", "CHECK", "GENERATED", "COLLATE", "CONSTRAINT"]
        {
            if !self.half_closed && peek_word(self.parser, constraint) {
                return Err(Error::unsupported(
                    format!("column {path}"),
                    format!("{constraint} in a column definition"),
                ));
            }
        }
        Ok(field)
    }

    fn refuse_constraint(&mut self) -> Result<()> {
        // A column may be called check or index; only the words that open a constraint are refused.
        let second = self.parser.peek_nth_token_ref(1).token.to_string().to_ascii_uppercase();
        for (first, following) in
            [("PRIMARY", "KEY"), ("FOREIGN", "KEY"), ("UNIQUE", "("), ("UNIQUE", "KEY"), ("CHECK", "(")]
        {
            if peek_word(self.parser, first) && second == following {
                return Err(Error::unsupported("CREATE TABLE", format!("the constraint {first} {following}")));
            }
        }
        if peek_word(self.parser, "CONSTRAINT") {
            return Err(Error::unsupported("CREATE TABLE", "table constraints"));
        }
        Ok(())
    }

    fn ty(&mut self, path: &str) -> Result<Type> {
        let mut ty = if consume_word(self.parser, "STRUCT") || consume_word(self.parser, "ROW") {
            let close = self.open()?;
            Type::Struct(StructType::new(self.fields(path, close)?))
        } else if peek_word(self.parser, "MAP") {
            self.parser.advance_token();
            self.map(path)?
        } else if peek_word(self.parser, "ARRAY") || peek_word(self.parser, "LIST") {
            self.parser.advance_token();
            let close = self.open()?;
            let element = self.element("element", path)?;
            self.close(close)?;
            Type::List(ListType::new(element.into()))
        } else {
            let ty = self.parser.parse_data_type().map_err(syntax)?;
            self.convert(&ty, path)?
        };
        while !self.half_closed && self.parser.consume_token(&Token::LBracket) {
            self.parser.expect_token(&Token::RBracket).map_err(syntax)?;
            ty = Type::List(ListType::new(NestedField::list_element(self.ids.next(), ty, false).into()));
        }
        Ok(ty)
    }

    fn map(&mut self, path: &str) -> Result<Type> {
        let close = self.open()?;
        let mut key = self.element("key", path)?;
        key.required = true;
        self.parser.expect_token(&Token::Comma).map_err(syntax)?;
        let value = self.element("value", path)?;
        self.close(close)?;
        Ok(Type::Map(MapType::new(key.into(), value.into())))
    }

    /// The field of a list's elements or of a map's keys or values: a type, and maybe NOT NULL.
    fn element(&mut self, name: &str, path: &str) -> Result<NestedField> {
        self.field(name.to_string(), &format!("{path}.{name}"))
    }

    /// A type that the SQL parser knows; `int[]` is the only nested one among them.
    fn convert(&mut self, ty: &DataType, path: &str) -> Result<Type> {
        match ty {
            DataType::Array(ArrayElemTypeDef::SquareBracket(element, None)) => {
                let element = self.convert(element, path)?;
                Ok(Type::List(ListType::new(NestedField::list_element(self.ids.next(), element, false).into())))
            }
            other => Ok(Type::Primitive(iceberg_type(other, path)?)),
        }
    }

    fn open(&mut self) -> Result<Close> {
        if self.parser.consume_token(&Token::Lt) {
            return Ok(Close::Angle);
        }
        self.parser.expect_token(&Token::LParen).map_err(syntax)?;
        Ok(Close::Paren)
    }

    fn close(&mut self, close: Close) -> Result<()> {
        if close == Close::Angle && self.half_closed {
            self.half_closed = false;
            return Ok(());
        }
        if close == Close::Angle && self.parser.consume_token(&Token::ShiftRight) {
            self.half_closed = true;
            return Ok(());
        }
        let token = if close == Close::Angle { Token::Gt } else { Token::RParen };
        self.parser.expect_token(&token).map_err(syntax)?;
        Ok(())
    }
}
