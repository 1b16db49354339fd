//! A session's time zone, written into a plan: what converts between moments and local times names the zone.
//!
//! ```text
//! CAST(tz AS date)             ─►  CAST(timezone('Europe/Berlin', tz) AS date)
//! tz >= CAST('2026-01-01' …)   ─►  tz >= timestamptz_of_text('2026-01-01', 'Europe/Berlin', true)
//! tz + INTERVAL '1 day'        ─►  timestamptz_add(tz, INTERVAL '1 day', 'Europe/Berlin')
//! ```
//! In: a logical plan after type coercion, where every conversion is a cast. Out: the same plan, of the same types, in which DataFusion's
//! casts convert by no zone but UTC. Constants are folded later, so that files are pruned by moments. In UTC, only texts are changed.

use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result, ScalarValue, not_impl_err};
use datafusion::logical_expr::expr::{BinaryExpr, Cast, ScalarFunction, TryCast, WindowFunction};
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, Operator, ScalarUDF, WindowFrameBound, cast, lit};
use datafusion::optimizer::analyzer::AnalyzerRule;

use super::map_named;
use crate::functions::{LocalTime, MomentOfText, Shift, TextOfMoment, Zone};
use crate::options::zone_of;

/// The pass.
#[derive(Debug)]
pub(super) struct SessionZone;

impl AnalyzerRule for SessionZone {
    fn name(&self) -> &str {
        "session_zone"
    }

    fn analyze(&self, plan: LogicalPlan, config: &ConfigOptions) -> Result<LogicalPlan> {
        let zone = zone_of(config);
        Ok(plan.transform_up_with_subqueries(|plan| rewrite_plan(plan, zone))?.data)
    }
}

fn rewrite_plan(plan: LogicalPlan, zone: Zone) -> Result<Transformed<LogicalPlan>> {
    let schema = merge_schema(&plan.inputs());
    let rewritten = map_named(plan, |expr| expr.transform_up(|expr| rewrite_expr(expr, &schema, zone)))?;
    if rewritten.transformed { rewritten.map_data(LogicalPlan::recompute_schema) } else { Ok(rewritten) }
}

fn rewrite_expr(expr: Expr, schema: &DFSchema, zone: Zone) -> Result<Transformed<Expr>> {
    match expr {
        Expr::Cast(Cast { expr: value, field }) => Ok(match converted(&value, field.data_type(), schema, zone, true) {
            Some(converted) => Transformed::yes(in_type(converted, field.data_type(), schema)),
            None => Transformed::no(Expr::Cast(Cast { expr: value, field })),
        }),
        Expr::TryCast(TryCast { expr: value, field }) => {
            Ok(match converted(&value, field.data_type(), schema, zone, false) {
                Some(converted) => Transformed::yes(in_type(converted, field.data_type(), schema)),
                None => Transformed::no(Expr::TryCast(TryCast { expr: value, field })),
            })
        }
        Expr::BinaryExpr(BinaryExpr { left, op: op @ (Operator::Plus | Operator::Minus), right }) if !zone.is_utc() => {
            let kinds = (of_kind(&left, schema), of_kind(&right, schema));
            let (moment, interval) = match kinds {
                (Some(Kind::Moment), Some(Kind::Interval)) if op == Operator::Minus => {
                    (left, Box::new(Expr::Negative(right)))
                }
                (Some(Kind::Moment), Some(Kind::Interval)) => (left, right),
                (Some(Kind::Interval), Some(Kind::Moment)) if op == Operator::Plus => (right, left),
                _ => return Ok(Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op, right }))),
            };
            let data_type = moment.get_type(schema)?;
            let shifted = call(Shift::default(), vec![*moment, *interval, literal(zone)]);
            Ok(Transformed::yes(in_type(shifted, &data_type, schema)))
        }
        Expr::ScalarFunction(function) => function_in_zone(function, schema, zone),
        Expr::WindowFunction(window) => match ranges_over_days(&window, schema) && !zone.is_utc() {
            true => not_impl_err!(
                "RANGE over days or months of timestamps with a time zone, in a session whose zone is not UTC; order by \
                 (… AT TIME ZONE '…') instead"
            ),
            false => Ok(Transformed::no(Expr::WindowFunction(window))),
        },
        other => Ok(Transformed::no(other)),
    }
}

/// Functions whose answers are of local calendars.
fn function_in_zone(mut function: ScalarFunction, schema: &DFSchema, zone: Zone) -> Result<Transformed<Expr>> {
    let is_moment = |arg: Option<&Expr>| arg.is_some_and(|arg| of_kind(arg, schema) == Some(Kind::Moment));
    match function.name() {
        "to_char" | "date_format" if function.args.len() == 2 && is_moment(function.args.first()) => {
            function.args.push(literal(zone));
        }
        _ if zone.is_utc() => return Ok(Transformed::no(Expr::ScalarFunction(function))),
        // What `dialect` makes of CAST(… AS TIME).
        "arrow_cast" if is_moment(function.args.first()) => {
            let data_type = Expr::ScalarFunction(function.clone()).get_type(schema)?;
            return Ok(match converted(&function.args[0], &data_type, schema, zone, true) {
                Some(converted) => Transformed::yes(in_type(converted, &data_type, schema)),
                None => Transformed::no(Expr::ScalarFunction(function)),
            });
        }
        "date_part" if is_moment(function.args.get(1)) && !names_epoch(&function.args[0]) => {
            function.args[1] = local_time(std::mem::take(&mut function.args[1]), zone);
        }
        "date_trunc" if function.args.len() == 2 && is_moment(function.args.get(1)) => {
            function.args.push(literal(zone));
        }
        "to_local_time" if is_moment(function.args.first()) => {
            return Ok(Transformed::yes(local_time(function.args.remove(0), zone)));
        }
        "current_date" | "current_time" => {
            let data_type = Expr::ScalarFunction(function).get_type(schema)?;
            return Ok(Transformed::yes(cast(local_time(now(), zone), data_type)));
        }
        name if name.starts_with("to_timestamp") => {
            return match function.args.first().and_then(|arg| of_kind(arg, schema)) {
                Some(Kind::Text) => of_texts(function, schema, zone),
                _ => Ok(Transformed::no(Expr::ScalarFunction(function))),
            };
        }
        _ => return Ok(Transformed::no(Expr::ScalarFunction(function))),
    }
    Ok(Transformed::yes(Expr::ScalarFunction(function)))
}

/// The moment at which the query began.
fn now() -> Expr {
    let mut config = ConfigOptions::default();
    config.execution.time_zone = Some("UTC".to_owned());
    call_by_name(datafusion::functions::datetime::now(&config), Vec::new())
}

/// `to_timestamp` of texts, which are local times unless they say otherwise.
fn of_texts(mut function: ScalarFunction, schema: &DFSchema, zone: Zone) -> Result<Transformed<Expr>> {
    let data_type = Expr::ScalarFunction(function.clone()).get_type(schema)?;
    if function.args.len() == 1 {
        let text = cast(function.args.remove(0), DataType::Utf8View);
        let moment = call(MomentOfText::default(), vec![text, literal(zone), lit(true)]);
        return Ok(Transformed::yes(in_type(moment, &data_type, schema)));
    }
    let DataType::Timestamp(unit, Some(_)) = data_type else {
        return Ok(Transformed::no(Expr::ScalarFunction(function)));
    };
    let is_local = |format: &Expr| match format {
        Expr::Literal(format, _) => {
            let format = format.try_as_str().flatten().unwrap_or_default();
            !["%z", "%:z", "%::z", "%#z", "%Z", "%s", "%+"].iter().any(|part| format.contains(part))
        }
        _ => false,
    };
    if !function.args[1..].iter().all(is_local) {
        return not_impl_err!(
            "to_timestamp with formats of time zones, in a session whose zone is not UTC; give the text such an offset and leave \
             the format out"
        );
    }
    let local = cast(Expr::ScalarFunction(function), DataType::Timestamp(unit, None));
    Ok(Transformed::yes(in_type(local_time(local, zone), &data_type, schema)))
}

/// What a value's type is to a zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A timestamp with a time zone.
    Moment,
    /// A timestamp without one.
    Local,
    Date,
    Time,
    Text,
    Interval,
}

impl Kind {
    fn of(data_type: &DataType) -> Option<Self> {
        match data_type {
            DataType::Timestamp(_, Some(_)) => Some(Self::Moment),
            DataType::Timestamp(_, None) => Some(Self::Local),
            DataType::Date32 | DataType::Date64 => Some(Self::Date),
            DataType::Time32(_) | DataType::Time64(_) => Some(Self::Time),
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Some(Self::Text),
            DataType::Interval(_) => Some(Self::Interval),
            _ => None,
        }
    }
}

fn of_kind(expr: &Expr, schema: &DFSchema) -> Option<Kind> {
    expr.get_type(schema).ok().as_ref().and_then(Kind::of)
}

/// What a cast means, where DataFusion's means something else.
fn converted(value: &Expr, to: &DataType, schema: &DFSchema, zone: Zone, strict: bool) -> Option<Expr> {
    let to_kind = Kind::of(to).filter(|kind| *kind != Kind::Interval)?;
    let from_kind = of_kind(value, schema)?;
    let value = || value.clone();
    match (from_kind, to_kind) {
        (Kind::Moment | Kind::Local | Kind::Time, Kind::Text) => {
            Some(call(TextOfMoment::default(), vec![value(), literal(zone)]))
        }
        // Digits behind microseconds would be lost.
        (Kind::Text, Kind::Moment) if zone.is_utc() && has_nanoseconds(to) => None,
        (Kind::Text, Kind::Moment) => {
            let text = cast(value(), DataType::Utf8View);
            Some(call(MomentOfText::default(), vec![text, literal(zone), lit(strict)]))
        }
        _ if zone.is_utc() => None,
        (Kind::Moment, Kind::Date | Kind::Local | Kind::Time) => Some(local_time(value(), zone)),
        (Kind::Date | Kind::Local, Kind::Moment) => {
            let DataType::Timestamp(unit, _) = to else { return None };
            Some(local_time(cast(value(), DataType::Timestamp(*unit, None)), zone))
        }
        _ => None,
    }
}

fn has_nanoseconds(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Timestamp(TimeUnit::Nanosecond, _))
}

fn local_time(value: Expr, zone: Zone) -> Expr {
    call(LocalTime::default(), vec![literal(zone), value])
}

fn literal(zone: Zone) -> Expr {
    Expr::Literal(zone.to_value(), None)
}

fn call(function: impl datafusion::logical_expr::ScalarUDFImpl + 'static, args: Vec<Expr>) -> Expr {
    call_by_name(ScalarUDF::new_from_impl(function).into(), args)
}

fn call_by_name(function: std::sync::Arc<ScalarUDF>, args: Vec<Expr>) -> Expr {
    Expr::ScalarFunction(ScalarFunction::new_udf(function, args))
}

fn in_type(expr: Expr, data_type: &DataType, schema: &DFSchema) -> Expr {
    match expr.get_type(schema) {
        Ok(own) if own == *data_type => expr,
        _ => cast(expr, data_type.clone()),
    }
}

fn names_epoch(part: &Expr) -> bool {
    let Expr::Literal(part, _) = part else { return false };
    let part = part.try_as_str().flatten().unwrap_or_default();
    part.trim_matches(['\'', '"']).eq_ignore_ascii_case("epoch")
}

/// Whether the frame is of rows within days or months of a moment.
fn ranges_over_days(window: &WindowFunction, schema: &DFSchema) -> bool {
    let on_the_calendar = |bound: &WindowFrameBound| {
        let (WindowFrameBound::Preceding(distance) | WindowFrameBound::Following(distance)) = bound else {
            return false;
        };
        match distance {
            ScalarValue::IntervalMonthDayNano(Some(interval)) => interval.months != 0 || interval.days != 0,
            ScalarValue::IntervalDayTime(Some(interval)) => interval.days != 0,
            ScalarValue::IntervalYearMonth(Some(months)) => *months != 0,
            _ => false,
        }
    };
    let frame = &window.params.window_frame;
    let by_moments = window.params.order_by.iter().any(|sort| of_kind(&sort.expr, schema) == Some(Kind::Moment));
    by_moments && (on_the_calendar(&frame.start_bound) || on_the_calendar(&frame.end_bound))
}
