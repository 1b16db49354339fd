//! What a subquery names of the queries around it.
//!
//! In: a plan or an expression. Out: the outer columns in it, or the same with others in their place. DataFusion notes these
//! columns for the subquery that names them and not for those around it; here a subquery names what the subqueries in it do.

use std::sync::Arc;

use datafusion::arrow::datatypes::FieldRef;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchemaRef, ExprSchema as _, Result, Spans};
use datafusion::logical_expr::expr::{Exists, InSubquery, SetComparison};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Expr, Join, LogicalPlan, Subquery, SubqueryAlias};

use crate::functions::ExactKey;

/// The subquery of an expression that has one.
pub(super) fn subquery_of(expr: &Expr) -> Option<&Subquery> {
    match expr {
        Expr::Exists(Exists { subquery, .. })
        | Expr::InSubquery(InSubquery { subquery, .. })
        | Expr::SetComparison(SetComparison { subquery, .. })
        | Expr::ScalarSubquery(subquery) => Some(subquery),
        _ => None,
    }
}

/// The subquery that a relation is, if it may name the relations before it: `LATERAL (…)`.
pub(super) fn lateral(relation: &LogicalPlan) -> Option<&Subquery> {
    match relation {
        LogicalPlan::Subquery(subquery) => Some(subquery),
        LogicalPlan::SubqueryAlias(SubqueryAlias { input, .. }) => match input.as_ref() {
            LogicalPlan::Subquery(subquery) => Some(subquery),
            _ => None,
        },
        _ => None,
    }
}

/// The join, its right side called LATERAL if it names columns of the left one. DataFusion 55.2 does not call it so where only a subquery
/// within names them.
pub(super) fn with_lateral(mut join: Join) -> Result<Transformed<Join>> {
    let named = outer_columns(&join.right)?.into_iter().filter(|column| join.left.schema().has_column(column));
    let named = named
        .map(|column| {
            let field = Arc::clone(join.left.schema().field_from_column(&column)?);
            Ok(Expr::OuterReferenceColumn(field, column))
        })
        .collect::<Result<Vec<_>>>()?;
    if named.is_empty() || lateral(&join.right).is_some() {
        return Ok(Transformed::no(join));
    }
    let called =
        |plan| LogicalPlan::Subquery(Subquery { subquery: plan, outer_ref_columns: named, spans: Spans::new() });
    let right = match join.right.as_ref() {
        LogicalPlan::SubqueryAlias(SubqueryAlias { input, alias, .. }) => {
            let input = Arc::new(called(Arc::clone(input)));
            LogicalPlan::SubqueryAlias(SubqueryAlias::try_new(input, alias.clone())?)
        }
        _ => called(Arc::clone(&join.right)),
    };
    join.right = Arc::new(right);
    Ok(Transformed::yes(join))
}

/// The columns of queries further out that a plan names, each once.
pub(super) fn outer_columns(plan: &LogicalPlan) -> Result<Vec<Column>> {
    let mut found = Vec::new();
    plan.apply_expressions(|expr| {
        add(&mut found, outer_columns_of(expr, plan)?);
        Ok(TreeNodeRecursion::Continue)
    })?;
    for input in plan.inputs() {
        let mut columns = outer_columns(input)?;
        if let LogicalPlan::Join(join) = plan
            && std::ptr::eq(input, join.right.as_ref())
            && lateral(input).is_some()
        {
            columns.retain(|column| !join.left.schema().has_column(column));
        }
        add(&mut found, columns);
    }
    Ok(found)
}

/// The columns of queries further out that an expression of a node names.
pub(super) fn outer_columns_of(expr: &Expr, node: &LogicalPlan) -> Result<Vec<Column>> {
    let mut found = Vec::new();
    expr.apply(|expr| {
        if let Expr::OuterReferenceColumn(_, column) = expr {
            add(&mut found, vec![column.clone()]);
        } else if let Some(subquery) = subquery_of(expr) {
            let mut columns = outer_columns(&subquery.subquery)?;
            columns.retain(|column| !node.inputs().iter().any(|input| input.schema().has_column(column)));
            add(&mut found, columns);
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(found)
}

fn add(found: &mut Vec<Column>, columns: Vec<Column>) {
    for column in columns {
        if !found.contains(&column) {
            found.push(column);
        }
    }
}

/// Columns of an outer query, each with the column that has its values in the query itself.
#[derive(Clone)]
pub(super) struct Values(pub(super) Vec<(Column, Column)>);

impl Values {
    /// An expression over these inputs with own columns for outer ones.
    pub(super) fn put_into(&self, expr: Expr, inputs: &[DFSchemaRef]) -> Result<Expr> {
        Ok(self.replace(expr, inputs, |_, own| Expr::Column(own))?.data)
    }

    /// The same for nodes that name their columns after their expressions: the name stays.
    pub(super) fn put_into_named(&self, expr: Expr, inputs: &[DFSchemaRef]) -> Result<Expr> {
        let name = NamePreserver::new_for_projection().save(&expr);
        Ok(name.restore(self.put_into(expr, inputs)?))
    }

    fn replace(
        &self,
        expr: Expr,
        inputs: &[DFSchemaRef],
        by: fn(FieldRef, Column) -> Expr,
    ) -> Result<Transformed<Expr>> {
        expr.transform_up(|expr| match expr {
            Expr::OuterReferenceColumn(field, column) => {
                let found = self.0.iter().find(|(outer, _)| *outer == column);
                Ok(match found {
                    Some((_, own)) => Transformed::yes(value(field, own, by)?),
                    None => Transformed::no(Expr::OuterReferenceColumn(field, column)),
                })
            }
            other => map_subquery(other, |subquery| self.not_in(inputs).rename(subquery)),
        })
    }

    /// Those that none of these relations has a column of the same name for: the nearest is meant.
    fn not_in(&self, inputs: &[DFSchemaRef]) -> Self {
        let left = self.0.iter().filter(|(outer, _)| !inputs.iter().any(|input| input.has_column(outer)));
        Self(left.cloned().collect())
    }

    /// A subquery that names its outer columns by what they are known as now.
    fn rename(&self, subquery: Subquery) -> Result<Subquery> {
        if self.0.is_empty() {
            return Ok(subquery);
        }
        let plan = self.rename_in(Arc::unwrap_or_clone(subquery.subquery))?;
        let outer_ref_columns = plan.all_out_ref_exprs();
        Ok(Subquery { subquery: Arc::new(plan), outer_ref_columns, spans: subquery.spans })
    }

    fn rename_in(&self, plan: LogicalPlan) -> Result<LogicalPlan> {
        if let LogicalPlan::Subquery(subquery) = plan {
            return Ok(LogicalPlan::Subquery(self.rename(subquery)?));
        }
        let inputs = schemas(&plan);
        let is_lateral = matches!(&plan, LogicalPlan::Join(join) if lateral(&join.right).is_some());
        let mut is_right = false;
        let plan = plan.map_children(|input| {
            let named = if is_lateral && is_right { self.not_in(&inputs[..1]) } else { self.clone() };
            is_right = true;
            named.rename_in(input).map(Transformed::yes)
        })?;
        let names = NamePreserver::new(&plan.data);
        let plan = plan.data.map_expressions(|expr| {
            let name = names.save(&expr);
            Ok(self.replace(expr, &inputs, Expr::OuterReferenceColumn)?.update_data(|expr| name.restore(expr)))
        })?;
        Ok(plan.data)
    }
}

/// The value of an outer column, by the column that has it, or a key of it ([`ExactKey`]).
fn value(field: FieldRef, own: &Column, by: fn(FieldRef, Column) -> Expr) -> Result<Expr> {
    match ExactKey::key_type(field.data_type()) {
        Some(key) => {
            let field_of_key = field.as_ref().clone().with_data_type(key);
            ExactKey::value_of(by(Arc::new(field_of_key), own.clone()), field.data_type())
        }
        None => Ok(by(field, own.clone())),
    }
}

/// The schemas of a node's inputs.
pub(super) fn schemas(plan: &LogicalPlan) -> Vec<DFSchemaRef> {
    plan.inputs().into_iter().map(|input| Arc::clone(input.schema())).collect()
}

/// An expression with another subquery, if it has one.
pub(super) fn map_subquery(expr: Expr, change: impl FnOnce(Subquery) -> Result<Subquery>) -> Result<Transformed<Expr>> {
    Ok(Transformed::yes(match expr {
        Expr::Exists(Exists { subquery, negated }) => Expr::Exists(Exists { subquery: change(subquery)?, negated }),
        Expr::InSubquery(InSubquery { expr, subquery, negated }) => {
            Expr::InSubquery(InSubquery { expr, subquery: change(subquery)?, negated })
        }
        Expr::SetComparison(SetComparison { expr, subquery, op, quantifier }) => {
            Expr::SetComparison(SetComparison { expr, subquery: change(subquery)?, op, quantifier })
        }
        Expr::ScalarSubquery(subquery) => Expr::ScalarSubquery(change(subquery)?),
        other => return Ok(Transformed::no(other)),
    }))
}
