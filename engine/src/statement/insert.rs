//! INSERT INTO: the table, its columns, and the query that gives the rows.

use datafusion::sql::sqlparser::ast::{
    Expr, Ident, ObjectNamePart, Query, SetExpr, Statement as SqlStatement, TableObject,
};
use datafusion::sql::sqlparser::ast::{Insert as SqlInsert, ObjectName};
use datafusion::sql::sqlparser::parser::Parser;

use super::{Insert, Statement, syntax};
use crate::{Error, Result};

pub(super) fn parse(parser: &mut Parser<'_>) -> Result<Statement> {
    let insert = match parser.parse_statement().map_err(syntax)? {
        SqlStatement::Insert(insert) => insert,
        _ => return Err(Error::unsupported("INSERT", "only INSERT INTO a table is there")),
    };
    if insert.overwrite {
        return Err(Error::unsupported("INSERT OVERWRITE", "use INSERT INTO; rows cannot be replaced yet"));
    }
    if let Some(clause) = foreign_clause(&insert) {
        return Err(Error::unsupported("INSERT", clause));
    }
    let TableObject::TableName(table) = insert.table else {
        return Err(Error::unsupported("INSERT", "a function or a query in place of the table"));
    };
    let columns = insert.columns.iter().map(column).collect::<Result<_>>()?;
    if let Some(source) = &insert.source {
        check_source(source)?;
    }
    Ok(Statement::Insert(Insert { table, columns, source: insert.source }))
}

/// The first clause that the grammar allows and this engine does not.
fn foreign_clause(insert: &SqlInsert) -> Option<&'static str> {
    [
        (insert.or.is_some(), "INSERT OR"),
        (insert.ignore, "IGNORE"),
        (insert.table_alias.is_some(), "an alias for the table"),
        (!insert.assignments.is_empty(), "SET"),
        (insert.partitioned.is_some() || !insert.after_columns.is_empty(), "PARTITION: rows find their partitions"),
        (insert.on.is_some(), "ON CONFLICT"),
        (insert.returning.is_some() || insert.output.is_some(), "RETURNING"),
        (insert.insert_alias.is_some(), "an alias for the rows"),
        (insert.format_clause.is_some() || insert.settings.is_some(), "FORMAT and SETTINGS"),
        (insert.multi_table_insert_type.is_some(), "several tables"),
    ]
    .into_iter()
    .find_map(|(present, clause)| present.then_some(clause))
}

fn column(name: &ObjectName) -> Result<Ident> {
    match name.0.as_slice() {
        [ObjectNamePart::Identifier(ident)] => Ok(ident.clone()),
        _ => Err(Error::Invalid(format!("{name} is not the name of a column to insert into"))),
    }
}

fn check_source(query: &Query) -> Result<()> {
    super::check_body_reads_only(&query.body)?;
    let SetExpr::Values(values) = query.body.as_ref() else {
        return Ok(());
    };
    let is_default = |value: &Expr| {
        matches!(value, Expr::Identifier(ident)
        if ident.quote_style.is_none() && ident.value.eq_ignore_ascii_case("default"))
    };
    let mut values = values.rows.iter().flat_map(|row| row.iter());
    match values.any(is_default) {
        true => Err(Error::unsupported("DEFAULT in VALUES", "leave the column out of the list of columns")),
        false => Ok(()),
    }
}
