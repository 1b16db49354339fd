//! A column of `JOIN … USING` in WHERE, by the relation that has it.
//!
//! In: `SELECT … FROM a JOIN b USING (k) WHERE k > 1`. Out: `… WHERE a.k > 1`, which is the same for inner and left joins.
//! DataFusion 55.2 takes `k` for ambiguous there, and only there.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, Ident, Join, JoinConstraint, JoinOperator, Query, Select, TableFactor, VisitMut, VisitorMut,
};

/// Names the relation in a query's WHERE. Subqueries in it are left alone: their own relations are nearer.
pub(super) fn qualify(select: &mut Select) {
    let [from] = select.from.as_slice() else { return };
    let (Some(relation), [first, others @ ..]) = (name_of(&from.relation), from.joins.as_slice()) else { return };
    let mut columns = used(first);
    // A later join may have a column of the same name, which only USING makes the same column.
    columns.retain(|column| others.iter().all(|join| used(join).iter().any(|other| is_same(other, column))));
    if let Some(condition) = &mut select.selection
        && !columns.is_empty()
    {
        let _: ControlFlow<()> = condition.visit(&mut Qualifier { relation, columns, depth: 0 });
    }
}

struct Qualifier {
    relation: Ident,
    columns: Vec<Ident>,
    /// Subqueries around.
    depth: usize,
}

impl VisitorMut for Qualifier {
    type Break = ();

    fn pre_visit_query(&mut self, _query: &mut Query) -> ControlFlow<()> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &mut Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::Identifier(name) = expr
            && self.depth == 0
            && self.columns.iter().any(|column| is_same(column, name))
        {
            *expr = Expr::CompoundIdentifier(vec![self.relation.clone(), name.clone()]);
        }
        ControlFlow::Continue(())
    }
}

/// What a relation is called in the query.
fn name_of(relation: &TableFactor) -> Option<Ident> {
    match relation {
        TableFactor::Table { alias: Some(alias), .. } | TableFactor::Derived { alias: Some(alias), .. } => {
            Some(alias.name.clone())
        }
        TableFactor::Table { name, alias: None, .. } => name.0.last()?.as_ident().cloned(),
        _ => None,
    }
}

/// The columns of a join's USING, where the left side has their values.
fn used(join: &Join) -> Vec<Ident> {
    let constraint = match &join.join_operator {
        JoinOperator::Join(constraint)
        | JoinOperator::Inner(constraint)
        | JoinOperator::Left(constraint)
        | JoinOperator::LeftOuter(constraint) => constraint,
        _ => return Vec::new(),
    };
    let JoinConstraint::Using(columns) = constraint else { return Vec::new() };
    columns.iter().filter_map(|column| column.0.last()?.as_ident().cloned()).collect()
}

fn is_same(one: &Ident, other: &Ident) -> bool {
    match (one.quote_style, other.quote_style) {
        (None, None) => one.value.eq_ignore_ascii_case(&other.value),
        _ => one.value == other.value,
    }
}
