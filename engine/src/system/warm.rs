//! Reads a table's pages into the cache: those that a query of these columns with this filter would read.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::arrow::array::{RecordBatch, StringArray, UInt64Array};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::DataFusionError;
use datafusion::datasource::source::DataSourceExec;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::sql::parser::Statement as DFStatement;
use datafusion::sql::sqlparser::parser::Parser;
use futures::StreamExt;

use crate::io::{FileKey, Foreseen};
use crate::query::QueryContext;
use crate::scan::{Foresight, IcebergSource};
use crate::statement::{self, Statement, parse_part, syntax};
use crate::{Engine, Error, Result, RowStream, Session};

/// Files that are read at once.
const CONCURRENT_FILES: usize = 8;

/// What CALL system.warm gives: a row for each file that is done.
pub(super) fn schema() -> SchemaRef {
    let number = |name: &str| Field::new(name, DataType::UInt64, false);
    Arc::new(Schema::new(vec![
        Field::new("table", DataType::Utf8, false),
        number("files_done"),
        number("files"),
        number("bytes"),
        number("bytes_from_store"),
        number("elapsed_ms"),
    ]))
}

/// Reads pages, file by file; stops when the rows are dropped.
pub(super) async fn warm(
    engine: &Arc<Engine>,
    table: &str,
    columns: Option<&str>,
    filter: Option<&str>,
    session: &Session,
    query: &Arc<QueryContext>,
) -> Result<RowStream> {
    let scans = scans(engine, table, columns, filter, session, query).await?;
    let files: Vec<(Arc<Foresight>, usize)> = scans
        .into_iter()
        .flat_map(|scan| (0..scan.files()).map(move |number| (Arc::clone(&scan), number)).collect::<Vec<_>>())
        .collect();
    let total = files.len();
    let (table, context) = (table.to_owned(), Arc::clone(query));
    let reads = futures::stream::iter(files)
        .map(|(scan, number)| async move { scan.read(number).await })
        .buffer_unordered(CONCURRENT_FILES);
    let mut done = (0u64, 0u64);
    let rows = reads.map(move |read| {
        let bytes = read.map_err(DataFusionError::from)?;
        done = (done.0 + 1, done.1 + bytes);
        let stats = context.stats();
        let number = |value: u64| -> Arc<UInt64Array> { Arc::new(UInt64Array::from(vec![value])) };
        Ok(RecordBatch::try_new(
            schema(),
            vec![
                Arc::new(StringArray::from(vec![table.clone()])),
                number(done.0),
                number(total as u64),
                number(done.1),
                number(stats.io.bytes_from_store),
                number(stats.elapsed_ms),
            ],
        )?)
    });
    Ok(RowStream::new(Arc::clone(query), Box::pin(RecordBatchStreamAdapter::new(schema(), rows))))
}

/// The files of a table's current snapshot, as the cache names them.
pub(super) async fn files_of(
    engine: &Arc<Engine>,
    table: &str,
    session: &Session,
    query: &Arc<QueryContext>,
) -> Result<HashSet<FileKey>> {
    let scans = scans(engine, table, None, None, session, query).await?;
    let mut files = HashSet::new();
    for scan in scans {
        for number in 0..scan.files() {
            files.insert(scan.file(number)?.key);
        }
    }
    Ok(files)
}

/// The scans of the query that the arguments describe.
async fn scans(
    engine: &Arc<Engine>,
    table: &str,
    columns: Option<&str>,
    filter: Option<&str>,
    session: &Session,
    query: &Arc<QueryContext>,
) -> Result<Vec<Arc<Foresight>>> {
    let select = select(table, columns, filter)?;
    let tables = engine.pin(&select, session, query).await?;
    let planned = engine.plan(select, tables, session).await?;
    let mut scans = Vec::new();
    collect(&planned.physical, &mut scans);
    Ok(scans)
}

/// The query that the arguments describe. Each must be one thing to its end.
fn select(table: &str, columns: Option<&str>, filter: Option<&str>) -> Result<DFStatement> {
    let wrong = |what: &str, text: &str| {
        let (what, text) = (what.to_owned(), text.chars().take(200).collect::<String>());
        move |error| match error {
            complex @ Error::TooComplex(_) => complex,
            _ => Error::Invalid(format!("{what} => '{text}' cannot be read")),
        }
    };
    let name =
        parse_part(table, |parser| parser.parse_object_name(false).map_err(syntax)).map_err(wrong("table", table))?;
    let columns = match columns {
        None => "*".to_owned(),
        Some(text) => {
            let idents =
                parse_part(text, |parser| parser.parse_comma_separated(Parser::parse_identifier).map_err(syntax));
            let idents = idents.map_err(wrong("columns", text))?;
            idents.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
        }
    };
    let filter = match filter {
        None => String::new(),
        Some(text) => {
            let expr = parse_part(text, |parser| parser.parse_expr().map_err(syntax)).map_err(wrong("filter", text))?;
            format!(" WHERE {expr}")
        }
    };
    match statement::parse(&format!("SELECT {columns} FROM {name}{filter}"))? {
        Statement::Query(select) => Ok(select),
        _ => Err(Error::Internal("a SELECT is no query".to_owned())),
    }
}

fn collect(plan: &Arc<dyn ExecutionPlan>, scans: &mut Vec<Arc<Foresight>>) {
    if let Some((config, source)) =
        plan.downcast_ref::<DataSourceExec>().and_then(|exec| exec.downcast_to_file_source::<IcebergSource>())
    {
        scans.extend(
            (0..config.file_groups.len()).filter_map(|partition| source.foresight(config, partition)).map(Arc::new),
        );
    }
    for child in plan.children() {
        collect(child, scans);
    }
}
