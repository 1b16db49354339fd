//! `CALL system.…`: what an operator tells the cache.
//!
//! * `CALL system.warm('table' [, columns => 'a, b'] [, filter => 'a > 5'])` reads pages into the cache, and gives a row of
//!   progress for each file;
//! * `CALL system.evict(['table'] [, tier => 'memory'])` forgets a table's pages, or everything; with `tier => 'memory'`,
//!   what a restart would forget.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::arrow::array::{RecordBatch, UInt64Array};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::sql::sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, ObjectName, Value,
};

use super::{SYSTEM, warm};
use crate::io::FileKey;
use crate::names::did_you_mean;
use crate::query::QueryContext;
use crate::{Answer, Description, Engine, Error, Result, RowStream, Session, StatementKind};

/// Runs a procedure.
pub(crate) async fn call(
    engine: &Arc<Engine>,
    procedure: &Function,
    session: &Session,
    query: &Arc<QueryContext>,
) -> Result<Answer> {
    let mut arguments = Arguments::of(procedure)?;
    match arguments.procedure.as_str() {
        "warm" => {
            let table = arguments.take("table")?.ok_or_else(|| {
                Error::Invalid("CALL system.warm needs a table: CALL system.warm('schema.table')".to_owned())
            })?;
            let (columns, filter) = (arguments.take("columns")?, arguments.take("filter")?);
            arguments.none_left()?;
            warm::warm(engine, &table, columns.as_deref(), filter.as_deref(), session, query).await.map(Answer::Rows)
        }
        _ => {
            let (table, tier) = (arguments.take("table")?, arguments.take("tier")?);
            arguments.none_left()?;
            let pages = evict(engine, table.as_deref(), tier.as_deref(), session, query).await?;
            let batch = RecordBatch::try_new(evict_schema(), vec![Arc::new(UInt64Array::from(vec![pages as u64]))])?;
            Ok(Answer::Rows(RowStream::from_batches(Arc::clone(query), batch.schema(), vec![batch])))
        }
    }
}

/// What a procedure gives, without running it.
pub(crate) fn describe_call(procedure: &Function) -> Result<Description> {
    let arguments = Arguments::of(procedure)?;
    let schema = if arguments.procedure == "warm" { warm::schema() } else { evict_schema() };
    Ok(Description { kind: StatementKind::Query, schema, parameters: Arc::new(Schema::empty()) })
}

fn evict_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("pages_forgotten", DataType::UInt64, false)]))
}

async fn evict(
    engine: &Arc<Engine>,
    table: Option<&str>,
    tier: Option<&str>,
    session: &Session,
    query: &Arc<QueryContext>,
) -> Result<usize> {
    let caches = engine.scan_caches();
    let pages = &caches.data.pages.cache;
    let memory_only = match tier.map(str::to_lowercase).as_deref() {
        None | Some("all") => false,
        Some("memory") => true,
        Some(other) => return Err(Error::Invalid(format!("tier => '{other}': expected 'memory' or 'all'"))),
    };
    let Some(table) = table else {
        engine.access(session).await?.require_admin("forget what is in the cache for all")?;
        let entries = pages.entries_in_memory() as usize;
        caches.forget_metadata();
        return Ok(if memory_only {
            pages.evict_memory();
            entries
        } else {
            entries + pages.evict(None)
        });
    };
    if memory_only {
        return Err(Error::Invalid("tier => 'memory' forgets everything in memory: leave the table out".to_owned()));
    }
    let files: HashSet<FileKey> = warm::files_of(engine, table, session, query).await?;
    Ok(pages.evict(Some(&files)))
}

/// The arguments of a CALL: a first one without a name is the table.
struct Arguments {
    procedure: String,
    left: Vec<(String, String)>,
}

impl Arguments {
    fn of(procedure: &Function) -> Result<Self> {
        let name = name_of(&procedure.name)?;
        let FunctionArguments::List(list) = &procedure.args else {
            return Err(Error::Invalid(format!("CALL system.{name} needs parentheses")));
        };
        let mut left = Vec::new();
        for (position, argument) in list.args.iter().enumerate() {
            let (key, value) = match argument {
                FunctionArg::Named { name, arg, .. } => (name.value.to_lowercase(), arg),
                FunctionArg::Unnamed(arg) => {
                    let names =
                        if name == "warm" { ["table", "columns", "filter"].as_slice() } else { &["table", "tier"] };
                    let Some(key) = names.get(position) else {
                        return Err(Error::Invalid(format!(
                            "CALL system.{name} takes at most {} arguments",
                            names.len()
                        )));
                    };
                    ((*key).to_owned(), arg)
                }
                FunctionArg::ExprNamed { .. } => {
                    return Err(Error::Invalid("an argument's name is a plain word".to_owned()));
                }
            };
            match value {
                FunctionArgExpr::Expr(Expr::Value(value)) => match &value.value {
                    Value::SingleQuotedString(text) => left.push((key, text.clone())),
                    _ => return Err(Error::Invalid(format!("{key} of system.{name} is a text in single quotes"))),
                },
                _ => return Err(Error::Invalid(format!("{key} of system.{name} is a text in single quotes"))),
            }
        }
        Ok(Self { procedure: name, left })
    }

    fn take(&mut self, key: &str) -> Result<Option<String>> {
        let mut found = None;
        let mut twice = false;
        self.left.retain(|(name, value)| {
            if name == key {
                twice |= found.replace(value.clone()).is_some();
            }
            name != key
        });
        if twice { Err(Error::Invalid(format!("{key} is given twice"))) } else { Ok(found) }
    }

    fn none_left(&self) -> Result<()> {
        match self.left.first() {
            None => Ok(()),
            Some((key, _)) => Err(Error::Invalid(format!("system.{} has no argument {key}", self.procedure))),
        }
    }
}

fn name_of(name: &ObjectName) -> Result<String> {
    let parts: Vec<String> =
        name.0.iter().filter_map(|part| part.as_ident()).map(|ident| ident.value.to_lowercase()).collect();
    match parts.as_slice() {
        [.., schema, procedure] if schema == SYSTEM && ["warm", "evict"].contains(&procedure.as_str()) => {
            Ok(procedure.clone())
        }
        _ => {
            let name = parts.last().cloned().unwrap_or_default();
            let hint = did_you_mean(&name, ["warm", "evict"].map(str::to_owned).into_iter());
            let hint = if hint.is_empty() { ": there are system.warm and system.evict".to_owned() } else { hint };
            Err(Error::NotFound { kind: "procedure", name: parts.join("."), hint })
        }
    }
}
