//! Frames of windows: their offsets as DataFusion takes them, and errors where it would take a wrong offset for another one.
//!
//! In: the window of a function, or one with a name. Out: the same, with offsets that are plain numbers and intervals. An offset that is
//! negative or NULL is an error, as in PostgreSQL; a frame whose end is before its beginning has no rows (DataFusion panics, or takes
//! rows out that are not in); an offset beyond all tables does not overflow. Offsets of RANGE have a type only when the plan is there:
//! `planner/settle_frames.rs`.

use datafusion::error::DataFusionError;
use datafusion::sql::sqlparser::ast::{
    DataType, Expr, Interval, UnaryOperator, Value, WindowFrame, WindowFrameBound, WindowFrameUnits, WindowSpec,
};

use crate::{Error, Result};

/// More rows than a partition ever has, and so few that sums of them do not overflow.
const ROWS_MAX: u64 = 1 << 60;

/// # Errors
/// If the frame cannot be, or has an offset that is negative, NULL, or no constant.
pub(super) fn of_window(window: &mut WindowSpec) -> Result<()> {
    let Some(frame) = &mut window.window_frame else { return Ok(()) };
    check_order(frame)?;
    let counts_rows = frame.units != WindowFrameUnits::Range;
    let end = frame.end_bound.as_mut();
    for (bound, which) in [(Some(&mut frame.start_bound), "starting"), (end, "ending")] {
        if let Some(WindowFrameBound::Preceding(Some(offset)) | WindowFrameBound::Following(Some(offset))) = bound {
            settle(offset, which)?;
            if counts_rows {
                count_rows(offset, which)?;
            }
        }
    }
    if counts_rows {
        empty_if_reversed(frame);
    }
    Ok(())
}

/// An error with words that `flight-server/src/status/query.rs` knows.
fn invalid(message: String) -> Error {
    DataFusionError::Plan(message).into()
}

fn check_order(frame: &WindowFrame) -> Result<()> {
    use WindowFrameBound::{CurrentRow, Following, Preceding};
    let rows = match (&frame.start_bound, frame.end_bound.as_ref().unwrap_or(&CurrentRow)) {
        (Following(Some(_)), Preceding(Some(_))) | (CurrentRow, Preceding(Some(_))) => "preceding rows",
        (Following(Some(_)), CurrentRow) => "the current row",
        _ => return Ok(()),
    };
    let start = if frame.start_bound == CurrentRow { "current row" } else { "following row" };
    Err(invalid(format!("frame starting from {start} cannot have {rows}")))
}

/// Takes parentheses, signs and casts from an offset.
fn settle(offset: &mut Expr, which: &str) -> Result<()> {
    match offset {
        Expr::Nested(inner) | Expr::UnaryOp { op: UnaryOperator::Plus, expr: inner } => {
            *offset = std::mem::replace(inner, Expr::value(Value::Null));
            settle(offset, which)
        }
        Expr::UnaryOp { op: UnaryOperator::Minus, expr: inner } => {
            *offset = std::mem::replace(inner, Expr::value(Value::Null));
            settle(offset, which)?;
            let is_zero = matches!(offset, Expr::Value(value) if matches!(&value.value,
                Value::Number(digits, _) if !digits.contains(|digit| ('1'..='9').contains(&digit))));
            if is_zero { Ok(()) } else { Err(invalid(format!("frame {which} offset must not be negative"))) }
        }
        // INTERVAL 1 MONTH is INTERVAL '1' MONTH.
        Expr::Interval(Interval { value, .. }) => {
            if let Expr::UnaryOp { op: UnaryOperator::Minus, .. } = value.as_ref() {
                return Err(invalid(format!("frame {which} offset must not be negative")));
            }
            if let Expr::Value(value) = value.as_mut()
                && let Value::Number(digits, _) = &value.value
            {
                value.value = Value::SingleQuotedString(digits.clone());
            }
            Ok(())
        }
        Expr::Cast { expr: inner, data_type, .. } => {
            let is_null = matches!(inner.as_ref(), Expr::Value(value) if value.value == Value::Null);
            if is_null || matches!(data_type, DataType::Interval { .. }) {
                *offset = std::mem::replace(inner, Expr::value(Value::Null));
                settle(offset, which)?;
            }
            Ok(())
        }
        Expr::Value(value) => match &value.value {
            Value::Null => Err(invalid(format!("frame {which} offset must not be null"))),
            Value::SingleQuotedString(_) => {
                let value = Box::new(Expr::Value(value.clone()));
                *offset = Expr::Interval(Interval {
                    value,
                    leading_field: None,
                    leading_precision: None,
                    last_field: None,
                    fractional_seconds_precision: None,
                });
                Ok(())
            }
            _ => Ok(()),
        },
        _ => Ok(()),
    }
}

/// An offset of ROWS or GROUPS: a bigint that is not negative.
fn count_rows(offset: &mut Expr, which: &str) -> Result<()> {
    let text = match offset {
        Expr::Value(value) => match &value.value {
            Value::Number(digits, _) => digits.clone(),
            _ => String::new(),
        },
        Expr::Interval(Interval { value, leading_field: None, .. }) => match value.as_ref() {
            Expr::Value(value) => value.value.clone().into_string().unwrap_or_default(),
            _ => String::new(),
        },
        _ => String::new(),
    };
    let text = text.trim();
    let rows = match text.parse::<u64>() {
        Ok(rows) if rows <= i64::MAX.cast_unsigned() => rows,
        Ok(_) => return Err(invalid(format!("bigint out of range: the frame's {which} offset {text}"))),
        Err(_) if text.starts_with('-') && text[1..].parse::<u64>().is_ok() => {
            return Err(invalid(format!("frame {which} offset must not be negative")));
        }
        Err(_) if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) => {
            return Err(invalid(format!("bigint out of range: the frame's {which} offset {text}")));
        }
        Err(_) => return Err(Error::Invalid(format!("the frame's {which} offset must be a whole number of rows"))),
    };
    *offset = Expr::value(Value::Number(rows.min(ROWS_MAX).to_string(), false));
    Ok(())
}

/// Puts a frame that ends before it begins where no row is.
fn empty_if_reversed(frame: &mut WindowFrame) {
    use WindowFrameBound::{Following, Preceding};
    let rows = |offset: &Expr| match offset {
        Expr::Value(value) => match &value.value {
            Value::Number(digits, _) => digits.parse::<u64>().ok(),
            _ => None,
        },
        _ => None,
    };
    let reversed = match (&frame.start_bound, &frame.end_bound) {
        (Preceding(Some(start)), Some(Preceding(Some(end)))) => rows(start) < rows(end),
        (Following(Some(start)), Some(Following(Some(end)))) => rows(start) > rows(end),
        _ => false,
    };
    if reversed {
        let beyond = || Following(Some(Box::new(Expr::value(Value::Number(ROWS_MAX.to_string(), false)))));
        frame.start_bound = beyond();
        frame.end_bound = Some(beyond());
    }
}
