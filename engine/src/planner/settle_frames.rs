//! Offsets of RANGE frames: checked, in the type of what the window is ordered by.
//!
//! In: a plan as it was written, where these offsets are texts. Out: the same plan, or an error. DataFusion takes a negative offset for a
//! frame that ends before it begins (and panics), rounds an offset to the digits of the column, and calls a frame unbounded where
//! an offset does not fit the column's type or cannot be added to it. And it has no RANGE at all over times, bytes and structs, where one
//! without offsets is one of GROUPS.
//!
//! ```text
//! count(*) OVER (ORDER BY day RANGE BETWEEN 36 hours PRECEDING AND …)    day is a date
//! count(*) OVER (ORDER BY day RANGE BETWEEN 1 days PRECEDING AND …)      the same rows; DataFusion would go back two days
//! ```

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, IntervalMonthDayNano, IntervalUnit};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result, ScalarValue, plan_err};
use datafusion::logical_expr::expr::WindowFunctionParams;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, WindowFrame, WindowFrameBound, WindowFrameUnits};
use datafusion::optimizer::analyzer::AnalyzerRule;

use super::map_named;
use crate::Error;

const DAY_NANOSECONDS: i64 = 86_400_000_000_000;

/// The pass.
#[derive(Debug)]
pub(super) struct SettleFrames;

impl AnalyzerRule for SettleFrames {
    fn name(&self) -> &str {
        "settle_frames"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        Ok(plan.transform_up_with_subqueries(settle_plan)?.data)
    }
}

fn settle_plan(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let LogicalPlan::Window(window) = &plan else { return Ok(Transformed::no(plan)) };
    let schema = Arc::clone(window.input.schema());
    let settled = map_named(plan, |expr| expr.transform_down(|expr| settle_expr(expr, &schema)))?;
    if settled.transformed { settled.map_data(LogicalPlan::recompute_schema) } else { Ok(settled) }
}

fn settle_expr(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let Expr::WindowFunction(mut function) = expr else { return Ok(Transformed::no(expr)) };
    let WindowFunctionParams { order_by, window_frame, .. } = &mut function.params;
    let has_offset =
        [&window_frame.start_bound, &window_frame.end_bound].into_iter().any(|bound| text(bound).is_some());
    let mut changed = false;
    if window_frame.units == WindowFrameUnits::Range
        && let Some(key) = order_by.first()
    {
        let key = key.expr.get_type(schema)?;
        let settled = match (has_offset, may_be_range_key(&key)) {
            (true, true) => settle_frame(window_frame, &key)?,
            (true, false) => {
                return plan_err!(
                    "RANGE with an offset over values of type {key}; order by a number, date or timestamp"
                );
            }
            (false, true) => window_frame.clone(),
            (false, false) => as_groups(window_frame),
        };
        changed = settled != *window_frame;
        *window_frame = settled;
    }
    Ok(Transformed::new_transformed(Expr::WindowFunction(function), changed))
}

/// Whether DataFusion's RANGE takes keys of a type: those that it can add to, and some more.
fn may_be_range_key(key: &DataType) -> bool {
    use DataType::{Boolean, Date32, Date64, Dictionary, FixedSizeList, LargeList, List, Timestamp};
    match key {
        Dictionary(_, value) => may_be_range_key(value),
        Boolean | Date32 | Date64 | FixedSizeList(..) | LargeList(_) | List(_) | Timestamp(..) => true,
        other => other.is_numeric() || other.is_string() || other.is_null(),
    }
}

/// A frame without offsets in groups of equal keys, which has the same rows.
fn as_groups(frame: &WindowFrame) -> WindowFrame {
    WindowFrame::new_bounds(WindowFrameUnits::Groups, frame.start_bound.clone(), frame.end_bound.clone())
}

/// An offset as it was written.
fn text(bound: &WindowFrameBound) -> Option<&str> {
    match bound {
        WindowFrameBound::Preceding(ScalarValue::Utf8(text)) | WindowFrameBound::Following(ScalarValue::Utf8(text)) => {
            text.as_deref().map(str::trim)
        }
        _ => None,
    }
}

fn settle_frame(frame: &WindowFrame, key: &DataType) -> Result<WindowFrame> {
    let key = if let DataType::Dictionary(_, value) = key { value.as_ref() } else { key };
    let (start, end) = (&frame.start_bound, &frame.end_bound);
    if !matches!(key, DataType::Date32 | DataType::Timestamp(..)) {
        let offsets = [number(start, key, "starting")?, number(end, key, "ending")?];
        check_reach(start, key, matches!(start, WindowFrameBound::Following(_)))?;
        check_reach(end, key, matches!(end, WindowFrameBound::Preceding(_)))?;
        if let [Some(start_offset), Some(end_offset)] = offsets {
            match (start, end) {
                (WindowFrameBound::Preceding(_), WindowFrameBound::Preceding(_)) if start_offset < end_offset => {
                    refuse_reversed()?
                }
                (WindowFrameBound::Following(_), WindowFrameBound::Following(_)) if start_offset > end_offset => {
                    refuse_reversed()?
                }
                _ => {}
            }
        }
        return Ok(frame.clone());
    }
    let offsets = [interval(start, "starting")?, interval(end, "ending")?];
    if let [Some(start_offset), Some(end_offset)] = offsets {
        match (start, end) {
            (WindowFrameBound::Preceding(_), WindowFrameBound::Preceding(_)) => check_longer(start_offset, end_offset)?,
            (WindowFrameBound::Following(_), WindowFrameBound::Following(_)) => check_longer(end_offset, start_offset)?,
            _ => {}
        }
    }
    let [start_offset, end_offset] = offsets;
    let typed = |bound: &WindowFrameBound, offset: Option<IntervalMonthDayNano>, starts: bool| match (bound, offset) {
        (WindowFrameBound::Preceding(_), Some(offset)) => {
            WindowFrameBound::Preceding(ScalarValue::IntervalMonthDayNano(Some(for_key(offset, key, !starts))))
        }
        (WindowFrameBound::Following(_), Some(offset)) => {
            WindowFrameBound::Following(ScalarValue::IntervalMonthDayNano(Some(for_key(offset, key, starts))))
        }
        (bound, _) => bound.clone(),
    };
    Ok(WindowFrame::new_bounds(frame.units, typed(start, start_offset, true), typed(end, end_offset, false)))
}

/// The number that an offset is.
///
/// # Errors
/// If it is none that can be added to the key, or is negative.
fn number(bound: &WindowFrameBound, key: &DataType, which: &str) -> Result<Option<f64>> {
    let Some(text) = text(bound) else { return Ok(None) };
    if !key.is_numeric() {
        return Err(Error::unsupported(
            format!("RANGE with the offset {text} over {key}"),
            "order by a number, a date or a timestamp",
        )
        .into());
    }
    let Ok(value) = text.parse::<f64>() else { return plan_err!("the frame's {which} offset {text} is not a number") };
    if value < 0.0 || value.is_nan() {
        return plan_err!("frame {which} offset must not be negative");
    }
    let fraction = text.split_once('.').map_or("", |(_, fraction)| fraction.trim_end_matches('0')).len();
    let digits = match key {
        DataType::Decimal128(_, scale) | DataType::Decimal256(_, scale) => usize::try_from(*scale).unwrap_or(0),
        _ if key.is_integer() => 0,
        _ => return Ok(Some(value)),
    };
    if fraction > digits {
        return plan_err!(
            "the frame's {which} offset {text} has more digits than {key}: cast what the window is ordered by"
        );
    }
    Ok(Some(value))
}

/// # Errors
/// If the rows that an offset is behind are none because it is beyond the key's type: they would be all.
fn check_reach(bound: &WindowFrameBound, key: &DataType, behind: bool) -> Result<()> {
    match text(bound) {
        Some(text) if behind && ScalarValue::try_from_string(text.to_owned(), key).is_err() => {
            plan_err!("the frame's offset {text} is beyond {key}: cast what the window is ordered by to a larger type")
        }
        _ => Ok(()),
    }
}

fn refuse_reversed() -> Result<()> {
    Err(Error::unsupported(
        "a RANGE frame that ends before it begins",
        "it has no rows; write its offsets the other way round",
    )
    .into())
}

/// The interval that an offset is.
///
/// # Errors
/// If it is none, or is negative.
fn interval(bound: &WindowFrameBound, which: &str) -> Result<Option<IntervalMonthDayNano>> {
    let Some(text) = text(bound) else { return Ok(None) };
    if text.parse::<f64>().is_ok() {
        return plan_err!(
            "the frame's {which} offset {text} must be an interval with a unit, such as INTERVAL '1' DAY"
        );
    }
    let value = ScalarValue::try_from_string(text.to_owned(), &DataType::Interval(IntervalUnit::MonthDayNano))?;
    let ScalarValue::IntervalMonthDayNano(Some(offset)) = value else { return Ok(None) };
    let (least, most) = days(offset);
    if most < 0.0 || (least < 0.0 && offset.months <= 0) {
        return plan_err!("frame {which} offset must not be negative");
    }
    if least < 0.0 {
        return Err(Error::unsupported(
            format!("the frame's {which} offset {text}"),
            "whether it is negative depends on the month",
        )
        .into());
    }
    Ok(Some(offset))
}

/// The fewest and the most days that an interval may be: months have 28 to 31.
fn days(interval: IntervalMonthDayNano) -> (f64, f64) {
    let fixed = f64::from(interval.days) + interval.nanoseconds as f64 / DAY_NANOSECONDS as f64;
    let [least, most] = [28.0, 31.0].map(|days| f64::from(interval.months) * days + fixed);
    (least.min(most), least.max(most))
}

/// # Errors
/// If the interval that reaches further may be the shorter one.
fn check_longer(far: IntervalMonthDayNano, near: IntervalMonthDayNano) -> Result<()> {
    let each = far.months >= near.months && far.days >= near.days && far.nanoseconds >= near.nanoseconds;
    if each || days(far).0 >= days(near).1 { Ok(()) } else { refuse_reversed() }
}

/// The interval with as many whole days as it has, since DataFusion compares days first; for dates these alone, one more if part of a day
/// goes `up`.
fn for_key(offset: IntervalMonthDayNano, key: &DataType, up: bool) -> IntervalMonthDayNano {
    let whole = i32::try_from(offset.nanoseconds.div_euclid(DAY_NANOSECONDS)).unwrap_or(i32::MAX / 2);
    let part = offset.nanoseconds.rem_euclid(DAY_NANOSECONDS);
    let days = offset.days.saturating_add(whole);
    match key {
        DataType::Date32 => {
            let more = i32::from(up && part != 0);
            IntervalMonthDayNano::new(offset.months, days.saturating_add(more), 0)
        }
        _ => IntervalMonthDayNano::new(offset.months, days, part),
    }
}
