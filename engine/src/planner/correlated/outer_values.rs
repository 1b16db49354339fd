//! The values of the outer columns that a subquery names, one row for each that occurs.
//!
//! In: the query around a subquery, and the columns that the subquery names of it. Out: the distinct values of these columns as a
//! relation, under names of its own wherever it is placed. The query around is computed once more for that, so it must give the
//! same rows each time. Values that may hold a floating-point zero are there as keys of them ([`ExactKey`]), since `=` and GROUP BY take the
//! two zeros for one.

use std::cell::Cell;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, ExprSchema as _, Result};
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{
    Aggregate, Distinct, Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, Operator, binary_expr, lit,
};

use crate::Error;
use crate::functions::ExactKey;

/// How much larger a plan may become by computing queries once more, in nodes.
const NODES_MAX: usize = 5_000;
/// Aggregates that are the same whatever order rows come in, and whatever they are added up in.
const STEADY: [&str; 10] = ["avg", "bit_and", "bit_or", "bit_xor", "bool_and", "bool_or", "count", "max", "min", "sum"];

/// Names that a plan does not have yet, and how much it may still grow.
pub(super) struct Names {
    next: Cell<usize>,
    nodes: Cell<usize>,
}

impl Names {
    pub(super) fn new() -> Self {
        Self { next: Cell::new(0), nodes: Cell::new(0) }
    }

    /// A name that no other has.
    pub(super) fn fresh(&self, what: &str) -> String {
        self.next.set(self.next.get() + 1);
        format!("__{what}_{}", self.next.get())
    }

    fn grow_by(&self, plan: &LogicalPlan) -> Result<()> {
        let mut nodes = self.nodes.get();
        plan.apply_with_subqueries(|_| {
            nodes += 1;
            Ok(if nodes > NODES_MAX { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        })?;
        self.nodes.set(nodes);
        if nodes > NODES_MAX {
            return Err(refused("correlated subqueries that are so many, or of so large a query; join instead"));
        }
        Ok(())
    }
}

/// An error for what would not get the right answer.
pub(super) fn refused(feature: impl Into<String>) -> datafusion::common::DataFusionError {
    Error::unsupported("this query", feature).into()
}

/// The distinct values.
pub(super) struct OuterValues<'a> {
    distinct: LogicalPlan,
    columns: Vec<Column>,
    is_nullable: bool,
    names: &'a Names,
}

impl<'a> OuterValues<'a> {
    /// The values that these columns have in a query.
    pub(super) fn of(query: &LogicalPlan, columns: Vec<Column>, names: &'a Names) -> Result<Self> {
        if !is_steady(query)? {
            let feature = "a correlated subquery of this form in a query with LIMIT, sums of floating-point numbers, window or \
                           volatile functions below it; write that query to a table first, or join instead";
            return Err(refused(feature));
        }
        let mut is_nullable = false;
        for column in &columns {
            is_nullable |= query.schema().field_from_column(column)?.is_nullable();
        }
        let keys = columns.iter().map(|column| {
            let key = exact(Expr::Column(column.clone()), query.schema())?;
            Ok(if matches!(key, Expr::Column(_)) { key } else { key.alias(names.fresh("key")) })
        });
        let keys = keys.collect::<Result<Vec<_>>>()?;
        let distinct = LogicalPlanBuilder::from(query.clone()).aggregate(keys, Vec::<Expr>::new())?.build()?;
        Ok(Self { distinct, columns, is_nullable, names })
    }

    pub(super) fn columns(&self) -> &[Column] {
        &self.columns
    }

    pub(super) fn names(&self) -> &'a Names {
        self.names
    }

    /// The relation under new names, which are returned in the order of the columns.
    pub(super) fn placed(&self) -> Result<(LogicalPlan, Vec<Column>)> {
        self.names.grow_by(&self.distinct)?;
        let names: Vec<String> = self.columns.iter().map(|_| self.names.fresh("outer")).collect();
        let renamed = self.distinct.schema().columns().into_iter().zip(&names);
        let renamed = renamed.map(|(column, name)| Expr::Column(column).alias(name));
        let plan = LogicalPlanBuilder::from(self.distinct.clone()).project(renamed)?.build()?;
        Ok((plan, names.into_iter().map(Column::new_unqualified).collect()))
    }

    /// That a row of the query around has these values: those that [`Self::placed`] has.
    pub(super) fn same_as_outer(&self, around: &DFSchema, values: &[Column]) -> Result<Expr> {
        let outer = self.columns.iter().map(|column| exact(Expr::Column(column.clone()), around));
        let outer = outer.collect::<Result<Vec<_>>>()?;
        Ok(self.same(outer, values.iter().cloned().map(Expr::Column)))
    }

    /// That two rows are of the same outer values.
    pub(super) fn same(&self, left: impl IntoIterator<Item = Expr>, right: impl IntoIterator<Item = Expr>) -> Expr {
        // Joins take one kind for their keys. DataFusion 55.2.
        let equals = if self.is_nullable { Operator::IsNotDistinctFrom } else { Operator::Eq };
        let pairs = left.into_iter().zip(right).map(|(left, right)| binary_expr(left, equals, right));
        conjunction(pairs).unwrap_or_else(|| lit(true))
    }
}

/// What tells an outer value from all others: the value, or a key of it.
pub(super) fn exact(value: Expr, schema: &DFSchema) -> Result<Expr> {
    let is_key = ExactKey::key_type(&value.get_type(schema)?).is_none();
    Ok(if is_key { value } else { ExactKey::call(value) })
}

/// Whether a query gives the same rows whenever it is computed.
fn is_steady(query: &LogicalPlan) -> Result<bool> {
    let mut is_steady = true;
    query.apply_with_subqueries(|plan| {
        is_steady &= match plan {
            LogicalPlan::Aggregate(aggregate) => is_steady_aggregate(aggregate)?,
            LogicalPlan::Sort(sort) => sort.fetch.is_none(),
            LogicalPlan::TableScan(scan) => scan.fetch.is_none(),
            LogicalPlan::Projection(_)
            | LogicalPlan::Filter(_)
            | LogicalPlan::Join(_)
            | LogicalPlan::Union(_)
            | LogicalPlan::EmptyRelation(_)
            | LogicalPlan::Subquery(_)
            | LogicalPlan::SubqueryAlias(_)
            | LogicalPlan::Distinct(Distinct::All(_))
            | LogicalPlan::Values(_)
            | LogicalPlan::Unnest(_) => true,
            _ => false,
        };
        plan.apply_expressions(|expr| {
            is_steady &= !expr.is_volatile();
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(if is_steady { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
    })?;
    Ok(is_steady)
}

fn is_steady_aggregate(aggregate: &Aggregate) -> Result<bool> {
    let schema = aggregate.input.schema();
    let mut is_steady = true;
    for expr in &aggregate.aggr_expr {
        expr.apply(|expr| {
            if let Expr::AggregateFunction(function) = expr {
                let name = function.func.name();
                is_steady &= STEADY.contains(&name)
                    && (["count", "max", "min"].contains(&name) || !has_floats(&function.params.args, schema)?);
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
    }
    Ok(is_steady)
}

fn has_floats(args: &[Expr], schema: &DFSchema) -> Result<bool> {
    for arg in args {
        if matches!(arg.get_type(schema)?, DataType::Float16 | DataType::Float32 | DataType::Float64) {
            return Ok(true);
        }
    }
    Ok(false)
}
