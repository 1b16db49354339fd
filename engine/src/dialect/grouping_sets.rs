//! Grouping sets that DataFusion does not plan, written as the sets that they stand for.
//!
//! In: a GROUP BY. Out: the same as one `GROUPING SETS ((…), …)`, if it has ROLLUP or CUBE within GROUPING SETS, columns in
//! parentheses within ROLLUP or CUBE, a column twice in a set, a position in a set, or `()`. Any other stays. Source:
//! ISO 9075-2, 7.13 (group by clause).

use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr, Select, SelectItem, Value,
};

use super::refused;
use crate::Result;

type Set = Vec<Expr>;

/// Sets that one GROUP BY may stand for.
const SETS_MAX: usize = 4_096;

/// Columns of all these sets together.
const COLUMNS_MAX: usize = 1 << 20;

/// Rewrites the GROUP BY of a query.
///
/// # Errors
/// If it stands for very many sets, or a position is no column of the select list.
pub(super) fn spell_out(select: &mut Select) -> Result<()> {
    let GroupByExpr::Expressions(elements, _) = &mut select.group_by else { return Ok(()) };
    // DataFusion would write out any number of them.
    let (sets, columns) = elements.iter().map(size).fold((1_usize, 0_usize), |(sets, columns), (more, of_each)| {
        (sets.saturating_mul(more), columns.saturating_add(of_each))
    });
    check(sets)?;
    if sets > 1 && sets.saturating_mul(columns) > COLUMNS_MAX {
        return Err(refused(format!(
            "GROUP BY of {sets} grouping sets of up to {columns} columns: more than {COLUMNS_MAX} in all"
        )));
    }
    if !elements.iter().any(is_not_planned) {
        return Ok(());
    }
    let mut all: Vec<Set> = vec![Vec::new()];
    for element in elements.iter() {
        let sets = sets_of(element)?;
        check(all.len().saturating_mul(sets.len()))?;
        all = all
            .iter()
            .flat_map(|before| sets.iter().map(move |set| [before.as_slice(), set.as_slice()].concat()))
            .collect();
    }
    for set in &mut all {
        for column in set.iter_mut() {
            *column = at_position(column, &select.projection)?;
        }
        let mut seen: Set = Vec::new();
        for column in set.drain(..) {
            if !seen.contains(&column) {
                seen.push(column);
            }
        }
        *set = seen;
    }
    *elements = vec![Expr::GroupingSets(all)];
    Ok(())
}

/// How many sets an element stands for, and how many columns each has at most.
fn size(element: &Expr) -> (usize, usize) {
    let of_parts = |parts: &[Set]| parts.iter().map(Vec::len).sum::<usize>();
    match element {
        Expr::Rollup(parts) => (parts.len() + 1, of_parts(parts)),
        Expr::Cube(parts) => (cube_size(parts.len()), of_parts(parts)),
        Expr::GroupingSets(sets) => sets.iter().fold((0, 0), |(all, columns), set| {
            let (more, of_each) = match set.as_slice() {
                [column] => parts_within(column).map_or((1, 1), |(is_cube, parts)| match is_cube {
                    true => (cube_size(parts.len()), of_parts(&parts)),
                    false => (parts.len() + 1, of_parts(&parts)),
                }),
                set => (1, set.len()),
            };
            (all.saturating_add(more), columns.max(of_each))
        }),
        _ => (1, 1),
    }
}

fn cube_size(parts: usize) -> usize {
    u32::try_from(parts).ok().and_then(|parts| 1_usize.checked_shl(parts)).unwrap_or(usize::MAX)
}

fn is_not_planned(element: &Expr) -> bool {
    let repeats = |set: &[&Expr]| set.iter().enumerate().any(|(place, column)| set[..place].contains(column));
    match element {
        Expr::Tuple(columns) => columns.is_empty(),
        Expr::Rollup(parts) | Expr::Cube(parts) => {
            let columns: Vec<&Expr> = parts.iter().flatten().collect();
            parts.iter().any(|part| part.len() != 1) || repeats(&columns) || columns.into_iter().any(is_position)
        }
        Expr::GroupingSets(sets) => sets.iter().any(|set| {
            let columns: Vec<&Expr> = set.iter().collect();
            repeats(&columns) || columns.into_iter().any(|column| is_position(column) || within(column).is_some())
        }),
        _ => false,
    }
}

/// The grouping sets of an element of GROUP BY.
fn sets_of(element: &Expr) -> Result<Vec<Set>> {
    Ok(match element {
        Expr::Tuple(columns) => vec![columns.clone()],
        Expr::Rollup(parts) => rollup(parts),
        Expr::Cube(parts) => cube(parts)?,
        Expr::GroupingSets(sets) => {
            let mut all = Vec::with_capacity(sets.len());
            for set in sets {
                match set.as_slice() {
                    [column] => all.extend(within(column).unwrap_or_else(|| Ok(vec![set.clone()]))?),
                    _ => all.push(set.clone()),
                }
            }
            all
        }
        column => vec![vec![column.clone()]],
    })
}

/// The sets of a ROLLUP or CUBE within GROUPING SETS.
fn within(column: &Expr) -> Option<Result<Vec<Set>>> {
    let (is_cube, parts) = parts_within(column)?;
    Some(if is_cube { cube(&parts) } else { Ok(rollup(&parts)) })
}

/// Whether it is a CUBE, and the parts of a ROLLUP or CUBE within GROUPING SETS, where the parser takes them for functions.
fn parts_within(column: &Expr) -> Option<(bool, Vec<Set>)> {
    let Expr::Function(function) = column else { return None };
    let FunctionArguments::List(list) = &function.args else { return None };
    let [name] = function.name.0.as_slice() else { return None };
    let name = name.as_ident()?.value.to_lowercase();
    let parts = list.args.iter().map(|arg| match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Tuple(columns))) => Some(columns.clone()),
        FunctionArg::Unnamed(FunctionArgExpr::Expr(column)) => Some(vec![column.clone()]),
        _ => None,
    });
    let parts = parts.collect::<Option<Vec<_>>>()?;
    match name.as_str() {
        "rollup" => Some((false, parts)),
        "cube" => Some((true, parts)),
        _ => None,
    }
}

fn rollup(parts: &[Set]) -> Vec<Set> {
    (0..=parts.len()).rev().map(|length| parts[..length].concat()).collect()
}

fn cube(parts: &[Set]) -> Result<Vec<Set>> {
    check(cube_size(parts.len()))?;
    let chosen = |bits: usize| parts.iter().enumerate().filter(move |(place, _)| bits >> place & 1 == 1);
    Ok((0..1_usize << parts.len()).map(|bits| chosen(bits).flat_map(|(_, part)| part.clone()).collect()).collect())
}

fn check(sets: usize) -> Result<()> {
    if sets > SETS_MAX {
        return Err(refused(format!("GROUP BY of more than {SETS_MAX} grouping sets")));
    }
    Ok(())
}

fn is_position(column: &Expr) -> bool {
    matches!(column, Expr::Value(value) if matches!(value.value, Value::Number(..)))
}

/// What the select list has at a position; any other expression as it is.
fn at_position(column: &Expr, items: &[SelectItem]) -> Result<Expr> {
    let Expr::Value(value) = column else { return Ok(column.clone()) };
    let Value::Number(digits, _) = &value.value else { return Ok(column.clone()) };
    // A wildcard is not known to be how many columns.
    let is_wildcard = |item: &SelectItem| matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..));
    let named = &items[..items.iter().position(is_wildcard).unwrap_or(items.len())];
    let item = digits.parse::<usize>().ok().and_then(|position| named.get(position.checked_sub(1)?));
    match item {
        Some(SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) => Ok(expr.clone()),
        _ => Err(refused(format!("the position {digits} in a grouping set; write the column"))),
    }
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::ast::{SetExpr, Statement};
    use datafusion::sql::sqlparser::dialect::GenericDialect;
    use datafusion::sql::sqlparser::parser::Parser;

    use super::*;

    fn spelt_out(group_by: &str) -> String {
        let sql = format!("SELECT a, b + 1 AS x FROM t GROUP BY {group_by}");
        let mut statements = Parser::parse_sql(&GenericDialect {}, &sql).expect(&sql);
        let Some(Statement::Query(query)) = statements.pop() else { panic!("{sql}") };
        let SetExpr::Select(mut select) = *query.body else { panic!("{sql}") };
        spell_out(&mut select).expect(&sql);
        select.group_by.to_string()
    }

    #[test]
    fn so_many_sets_are_refused_whoever_would_write_them_out() {
        let list = |count: usize| (0..count).map(|number| format!("c{number}")).collect::<Vec<_>>().join(", ");
        let refused = |group_by: &str| {
            let sql = format!("SELECT 1 FROM t GROUP BY {group_by}");
            let mut statements = Parser::parse_sql(&GenericDialect {}, &sql).unwrap();
            let Some(Statement::Query(query)) = statements.pop() else { panic!("{sql}") };
            let SetExpr::Select(mut select) = *query.body else { panic!("{sql}") };
            spell_out(&mut select).is_err()
        };
        assert!(!refused(&format!("CUBE ({})", list(12))));
        for group_by in [
            format!("CUBE ({})", list(13)),
            format!("CUBE ({})", list(70)),
            format!("GROUPING SETS ((a), CUBE({}))", list(30)),
            format!("CUBE ({}), CUBE ({})", list(7), list(7)),
            format!("ROLLUP ({})", list(2000)),
            ["ROLLUP (a, b)"; 10].join(", "),
        ] {
            assert!(refused(&group_by), "{group_by}");
        }
        assert!(!refused(&list(3000)));
    }

    #[test]
    fn what_is_not_planned_is_spelt_out() {
        for (group_by, expected) in [
            ("ROLLUP (a, b)", "ROLLUP (a, b)"),
            ("a, GROUPING SETS ((b), ())", "a, GROUPING SETS ((b), ())"),
            ("ROLLUP (a, a)", "GROUPING SETS ((a), (a), ())"),
            ("ROLLUP ((a, b), c)", "GROUPING SETS ((a, b, c), (a, b), ())"),
            ("b, CUBE (1)", "GROUPING SETS ((b), (b, a))"),
            ("GROUPING SETS (ROLLUP(a, b), (c))", "GROUPING SETS ((a, b), (a), (), (c))"),
            ("GROUPING SETS (CUBE(a), ROLLUP((a, b)))", "GROUPING SETS ((), (a), (a, b), ())"),
            ("ROLLUP (1, 2)", "GROUPING SETS ((a, b + 1), (a), ())"),
            ("()", "GROUPING SETS (())"),
            ("a, ()", "GROUPING SETS ((a))"),
        ] {
            assert_eq!(spelt_out(group_by), format!("GROUP BY {expected}"), "{group_by}");
        }
    }
}
