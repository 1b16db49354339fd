//! Refuses statements that read more relations than planning can hold.
//!
//! A CTE is planned again wherever it is named. Two names in each of 24 CTEs are less than 2 KB of text and 2^24 relations,
//! so they are counted as often as they will be planned, before they are. And a chain of CTEs that each read the one before is as
//! deep as the same queries in each other.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;

use datafusion::sql::parser::Statement as DFStatement;
use datafusion::sql::sqlparser::ast::{Expr, Ident, ObjectName, Query, Select, TableFactor, Visit, Visitor};

use super::Statement;
use crate::{Error, Result};

/// Relations that one statement may read.
const RELATIONS_MAX: u64 = 1_000;

/// Queries in each other, by CTEs or by parentheses.
const LEVELS_MAX: u64 = 500;

/// Queries in expressions in each other, by CTEs or by parentheses: the planner checks the innermost twice as often for each of them.
const SUBQUERIES_MAX: u64 = 12;

/// # Errors
/// If a query in the statement reads more than [`RELATIONS_MAX`] relations, each counted as often as it is planned, or has more than
/// [`LEVELS_MAX`] queries, or [`SUBQUERIES_MAX`] queries in expressions, in each other.
pub(super) fn check(statement: &Statement) -> Result<()> {
    let mut counter = Counter::default();
    let _: ControlFlow<()> = match statement {
        Statement::Query(query) => visit(query, &mut counter),
        Statement::Insert(insert) => insert.source.visit(&mut counter),
        Statement::CreateTable(create) => create.query.visit(&mut counter),
        _ => ControlFlow::Continue(()),
    };
    if counter.deepest > LEVELS_MAX {
        return Err(Error::TooComplex(format!(
            "queries that read each other are {} levels deep, and at most {LEVELS_MAX} can be planned: store one of those in WITH \
             with CREATE TABLE … AS SELECT, and read the table",
            counter.deepest
        )));
    }
    if counter.most_nested > SUBQUERIES_MAX {
        return Err(Error::TooComplex(format!(
            "subqueries in expressions (IN, EXISTS, values) are {} levels deep, and at most {SUBQUERIES_MAX} can be planned: join \
             with them",
            counter.most_nested
        )));
    }
    if counter.most <= RELATIONS_MAX {
        return Ok(());
    }
    Err(Error::TooComplex(format!(
        "the query reads {} relations, and at most {RELATIONS_MAX} can be planned: what WITH names is planned wherever it is \
         used; store what is used often with CREATE TABLE … AS SELECT, and read the table",
        counter.most
    )))
}

fn visit(statement: &DFStatement, counter: &mut Counter) -> ControlFlow<()> {
    match statement {
        DFStatement::Statement(statement) => statement.visit(counter),
        DFStatement::Explain(explain) => visit(&explain.statement, counter),
        _ => ControlFlow::Continue(()),
    }
}

/// What a relation has.
#[derive(Clone, Copy)]
struct Counts {
    relations: u64,
    levels: u64,
    nested: u64,
}

const TABLE: Counts = Counts { relations: 1, levels: 0, nested: 0 };

/// Counts relations while it walks through a statement.
#[derive(Default)]
struct Counter {
    /// The queries that are being walked through, the outermost first.
    scopes: Vec<Scope>,
    /// The relations of the query that has most.
    most: u64,
    /// The levels of the query that has most.
    deepest: u64,
    /// The queries in expressions in each other, where they are most.
    most_nested: u64,
    /// The queries that stand in expressions, by their addresses.
    in_expressions: HashSet<*const Query>,
}

/// A query that is being walked through.
#[derive(Default)]
struct Scope {
    relations: u64,
    /// Levels of the deepest query in it.
    levels: u64,
    /// Queries in expressions in each other, in it.
    nested: u64,
    /// The CTEs that it defines, by the addresses of their queries.
    defined: HashMap<*const Query, String>,
    /// What each CTE has that can be named by now.
    known: HashMap<String, Counts>,
}

impl Counter {
    fn add(&mut self, counts: Counts) {
        if let Some(scope) = self.scopes.last_mut() {
            scope.relations = scope.relations.saturating_add(counts.relations);
            scope.levels = scope.levels.max(counts.levels);
            scope.nested = scope.nested.max(counts.nested);
        }
    }

    /// How many relations a name stands for: those of the nearest CTE of that name, or one table.
    fn relations_of(&self, name: &ObjectName) -> Counts {
        let [part] = name.0.as_slice() else { return TABLE };
        let Some(name) = part.as_ident().map(normalized) else { return TABLE };
        self.scopes.iter().rev().find_map(|scope| scope.known.get(&name)).copied().unwrap_or(TABLE)
    }
}

impl Visitor for Counter {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        let mut scope = Scope::default();
        if let Some(with) = &query.with {
            for cte in &with.cte_tables {
                let name = normalized(&cte.alias.name);
                if with.recursive {
                    // Until it is walked through, its name is the working table of its own recursion.
                    scope.known.insert(name.clone(), TABLE);
                }
                scope.defined.insert(std::ptr::from_ref(&*cte.query), name);
            }
        }
        self.scopes.push(scope);
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        let Some(scope) = self.scopes.pop() else { return ControlFlow::Continue(()) };
        let nested = scope.nested + u64::from(self.in_expressions.remove(&std::ptr::from_ref(query)));
        let counts = Counts { relations: scope.relations.max(1), levels: scope.levels + 1, nested };
        self.most = self.most.max(counts.relations);
        self.deepest = self.deepest.max(counts.levels);
        self.most_nested = self.most_nested.max(counts.nested);
        let name = self.scopes.last().and_then(|parent| parent.defined.get(&std::ptr::from_ref(query))).cloned();
        match (name, self.scopes.last_mut()) {
            (Some(name), Some(parent)) => {
                parent.known.insert(name, counts);
            }
            _ => self.add(counts),
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        let query = match expr {
            Expr::Subquery(query) => query,
            Expr::InSubquery { subquery, .. } | Expr::Exists { subquery, .. } => subquery,
            _ => return ControlFlow::Continue(()),
        };
        self.in_expressions.insert(std::ptr::from_ref(query.as_ref()));
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        if select.from.is_empty() {
            self.add(TABLE);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        match factor {
            TableFactor::Table { name, args: None, .. } => self.add(self.relations_of(name)),
            // What is in them is counted by itself.
            TableFactor::Derived { .. } | TableFactor::NestedJoin { .. } => {}
            _ => self.add(TABLE),
        }
        ControlFlow::Continue(())
    }
}

/// A name as it is looked up: without regard to case unless quoted.
fn normalized(ident: &Ident) -> String {
    match ident.quote_style {
        Some(_) => ident.value.clone(),
        None => ident.value.to_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use crate::statement;

    /// CTEs of which each names the one before twice.
    fn doubled(levels: usize) -> String {
        let ctes = (1..=levels).map(|level| format!(", C{level} AS (SELECT a.x FROM c{0} a, c{0} b)", level - 1));
        format!("WITH c0 AS (SELECT 1 AS x){} SELECT * FROM c{levels}", ctes.collect::<String>())
    }

    #[test]
    fn ctes_count_as_often_as_they_are_named() {
        for start in ["", "EXPLAIN ", "INSERT INTO t ", "CREATE TABLE t AS "] {
            assert!(statement::parse(&format!("{start}{}", doubled(9))).is_ok(), "{start}");
            let message = statement::parse(&format!("{start}{}", doubled(10))).expect_err("too many").to_string();
            assert!(message.contains("reads 1024 relations"), "{message}");
        }
        let message = statement::parse(&doubled(90)).expect_err("too many").to_string();
        assert!(message.contains(&u64::MAX.to_string()), "{message}");
        for nested in [
            format!("SELECT {}1{}", "(SELECT ".repeat(30), ")".repeat(30)),
            format!("SELECT 1 WHERE {}true{}", "EXISTS (SELECT 1 WHERE ".repeat(30), ")".repeat(30)),
            format!("SELECT 1 FROM t WHERE {}x = 1{}", "x IN (SELECT x FROM t WHERE ".repeat(15), ")".repeat(15)),
        ] {
            let message = statement::parse(&nested).expect_err("too deep").to_string();
            assert!(message.contains("subqueries in expressions"), "{message}");
            assert!(statement::parse("SELECT (SELECT (SELECT max(x) FROM t WHERE x IN (SELECT 1)))").is_ok());
        }
        let chain: String = (1..600).map(|level| format!(", c{level} AS (SELECT x FROM c{})", level - 1)).collect();
        let message =
            statement::parse(&format!("WITH c0 AS (SELECT 1 AS x){chain} SELECT * FROM c599")).expect_err("too deep");
        assert!(message.to_string().contains("601 levels deep"), "{message}");
        let unused = doubled(12).replace("SELECT * FROM c12", "SELECT * FROM c0");
        assert!(statement::parse(&unused).is_err());
    }

    #[test]
    fn ctes_are_found_in_expressions_unions_and_nested_queries() {
        let many = doubled(9).replace("SELECT * FROM c9", "");
        for query in [
            "SELECT * FROM c9 WHERE x IN (SELECT x FROM c9)",
            "SELECT x FROM c9 UNION ALL SELECT x FROM c9",
            "SELECT * FROM (SELECT * FROM c9) a JOIN (c9 b CROSS JOIN c0) ON true",
            "SELECT (WITH d AS (SELECT x FROM c9) SELECT max(a.x) FROM d a, d b)",
        ] {
            assert!(statement::parse(&format!("{many}{query}")).is_err(), "{query}");
        }
        // A nearer CTE of the same name hides the other, and a qualified name is a table.
        for query in ["WITH c9 AS (SELECT 1 AS x) SELECT a.x FROM c9 a, c9 b", "SELECT a.x FROM s.c9 a, s.c9 b, c9"] {
            assert!(statement::parse(&format!("{many}SELECT * FROM ({query}) q")).is_ok(), "{query}");
        }
    }

    #[test]
    fn a_recursive_cte_counts_its_own_name_once() {
        let sql = "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < 5) SELECT * FROM r";
        assert!(statement::parse(sql).is_ok());
        assert!(statement::parse("SELECT * FROM information_schema.tables a, information_schema.tables b").is_ok());
        let tables = vec!["t"; 1_001].join(", ");
        assert!(statement::parse(&format!("SELECT 1 FROM {tables}")).is_err());
    }
}
