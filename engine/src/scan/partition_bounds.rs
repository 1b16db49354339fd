//! What a partition value says about the column it came from: the inverse of each transform, as a range.
//!
//! Source: Iceberg specification, "Partition Transforms". A range is never too narrow; what cannot be said is `None`.

use chrono::{Datelike, Months, NaiveDate};
use iceberg::spec::{PrimitiveLiteral, PrimitiveType, Transform};

/// The lowest and highest values of the source column in a partition; `None` where there is no bound.
pub(crate) type Range = (Option<PrimitiveLiteral>, Option<PrimitiveLiteral>);

const UNKNOWN: Range = (None, None);

/// The range of a source column of type `source` in the partition where `transform` gave `value`.
pub(crate) fn source_range(transform: &Transform, source: &PrimitiveType, value: &PrimitiveLiteral) -> Range {
    match transform {
        Transform::Identity if value.is_nan() => UNKNOWN,
        Transform::Identity => (Some(value.clone()), Some(value.clone())),
        Transform::Truncate(width) => truncated(*width, value),
        Transform::Year => periods(source, value, |years| month_start(years.checked_mul(12)?), 1),
        Transform::Month => periods(source, value, month_start, 1),
        Transform::Day => periods(source, value, Some, 1),
        Transform::Hour => hours(source, value),
        _ => UNKNOWN,
    }
}

/// Days since the epoch of the first day of a month counted from January 1970.
fn month_start(months: i64) -> Option<i64> {
    let epoch = NaiveDate::from_ymd_opt(1970, 1, 1)?;
    let size = Months::new(u32::try_from(months.unsigned_abs()).ok()?);
    let day = if months < 0 { epoch.checked_sub_months(size)? } else { epoch.checked_add_months(size)? };
    Some(i64::from(day.num_days_from_ce() - epoch.num_days_from_ce()))
}

/// Periods that start on whole days: `first_day(n)` is the first day of period n, `first_day(n + step)` that of the next.
fn periods(
    source: &PrimitiveType,
    value: &PrimitiveLiteral,
    first_day: impl Fn(i64) -> Option<i64>,
    step: i64,
) -> Range {
    let PrimitiveLiteral::Int(period) = value else { return UNKNOWN };
    let first = first_day(i64::from(*period));
    let next = first_day(i64::from(*period) + step);
    let (Some(first), Some(next)) = (first, next) else { return UNKNOWN };
    let Some(per_day) = units_per_day(source) else { return UNKNOWN };
    literal_range(source, first.checked_mul(per_day), next.checked_mul(per_day))
}

fn hours(source: &PrimitiveType, value: &PrimitiveLiteral) -> Range {
    let PrimitiveLiteral::Int(hour) = value else { return UNKNOWN };
    let Some(per_day) = units_per_day(source) else { return UNKNOWN };
    let per_hour = per_day / 24;
    if per_hour == 0 {
        return UNKNOWN;
    }
    let hour = i64::from(*hour);
    literal_range(source, hour.checked_mul(per_hour), (hour + 1).checked_mul(per_hour))
}

/// How many steps of a date or time type make a day.
fn units_per_day(source: &PrimitiveType) -> Option<i64> {
    match source {
        PrimitiveType::Date => Some(1),
        PrimitiveType::Timestamp | PrimitiveType::Timestamptz => Some(86_400_000_000),
        PrimitiveType::TimestampNs | PrimitiveType::TimestamptzNs => Some(86_400_000_000_000),
        _ => None,
    }
}

/// `first` to just before `next`, in the source's own literal.
fn literal_range(source: &PrimitiveType, first: Option<i64>, next: Option<i64>) -> Range {
    let (Some(first), Some(last)) = (first, next.map(|next| next - 1)) else { return UNKNOWN };
    if matches!(source, PrimitiveType::Date) {
        return match (i32::try_from(first), i32::try_from(last)) {
            (Ok(first), Ok(last)) => (Some(PrimitiveLiteral::Int(first)), Some(PrimitiveLiteral::Int(last))),
            _ => UNKNOWN,
        };
    }
    (Some(PrimitiveLiteral::Long(first)), Some(PrimitiveLiteral::Long(last)))
}

/// Whether a partition may hold numbers that `truncate` has wrapped around: those within a width of their type's minimum
/// have none below them to be cut to, and the specification's formula gives one of the highest numbers for them.
pub(crate) fn may_have_wrapped(transform: &Transform, highest: &PrimitiveLiteral) -> bool {
    let Transform::Truncate(width) = transform else { return false };
    match highest {
        PrimitiveLiteral::Int(highest) => i64::from(*highest) > i64::from(i32::MAX) - i64::from(*width),
        PrimitiveLiteral::Long(highest) => *highest > i64::MAX - i64::from(*width),
        _ => false,
    }
}

fn truncated(width: u32, value: &PrimitiveLiteral) -> Range {
    let is_multiple = match value {
        PrimitiveLiteral::Int(low) => i64::from(*low).checked_rem(width.into()) == Some(0),
        PrimitiveLiteral::Long(low) => low.checked_rem(width.into()) == Some(0),
        _ => true,
    };
    if !is_multiple {
        // It was wrapped around.
        return UNKNOWN;
    }
    let upper = match value {
        PrimitiveLiteral::Int(low) => Some(PrimitiveLiteral::Int(low.saturating_add_unsigned(width.saturating_sub(1)))),
        PrimitiveLiteral::Long(low) => {
            Some(PrimitiveLiteral::Long(low.saturating_add_unsigned(u64::from(width.saturating_sub(1)))))
        }
        PrimitiveLiteral::Int128(low) => {
            Some(PrimitiveLiteral::Int128(low.saturating_add_unsigned(u128::from(width.saturating_sub(1)))))
        }
        // A text shorter than the width was not cut.
        PrimitiveLiteral::String(prefix) if prefix.chars().count() < width as usize => Some(value.clone()),
        PrimitiveLiteral::String(prefix) => successor(prefix).map(PrimitiveLiteral::String),
        PrimitiveLiteral::Binary(prefix) if prefix.len() < width as usize => Some(value.clone()),
        _ => None,
    };
    (Some(value.clone()), upper)
}

/// A text above every text that starts with `prefix`: its last character that has a successor, raised.
fn successor(prefix: &str) -> Option<String> {
    let mut characters: Vec<char> = prefix.chars().collect();
    while let Some(last) = characters.pop() {
        let raised = (last as u32 + 1..=char::MAX as u32).find_map(char::from_u32);
        if let Some(raised) = raised {
            characters.push(raised);
            return Some(characters.into_iter().collect());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn int(value: i32) -> PrimitiveLiteral {
        PrimitiveLiteral::Int(value)
    }

    #[test]
    fn a_month_of_dates_spans_its_first_to_its_last_day() {
        // 1994-02 is month 289; 8797 is 1994-02-01.
        let range = source_range(&Transform::Month, &PrimitiveType::Date, &int(289));
        assert_eq!(range, (Some(int(8797)), Some(int(8797 + 27))));
    }

    #[test]
    fn periods_before_the_epoch_count_backwards() {
        let range = source_range(&Transform::Year, &PrimitiveType::Date, &int(-1));
        assert_eq!(range, (Some(int(-365)), Some(int(-1))));
        let range = source_range(&Transform::Hour, &PrimitiveType::Timestamp, &int(-1));
        assert_eq!(range, (Some(PrimitiveLiteral::Long(-3_600_000_000)), Some(PrimitiveLiteral::Long(-1))));
    }

    #[test]
    fn a_cut_text_is_bounded_by_the_next_prefix_and_a_short_one_is_exact() {
        let text = |text: &str| PrimitiveLiteral::String(text.to_owned());
        let range = |prefix: &str| source_range(&Transform::Truncate(3), &PrimitiveType::String, &text(prefix));
        assert_eq!(range("abc"), (Some(text("abc")), Some(text("abd"))));
        assert_eq!(range("ab"), (Some(text("ab")), Some(text("ab"))));
        assert_eq!(range("ab\u{10FFFF}"), (Some(text("ab\u{10FFFF}")), Some(text("ac"))));
        assert_eq!(range("\u{D7FF}bc").1, Some(text("\u{D7FF}bd")));
    }

    #[test]
    fn numbers_that_were_wrapped_around_say_nothing() {
        let range = |value| source_range(&Transform::Truncate(10), &PrimitiveType::Int, &int(value));
        assert_eq!(range(-10), (Some(int(-10)), Some(int(-1))));
        assert_eq!(range(2_147_483_640), (Some(int(2_147_483_640)), Some(int(i32::MAX))));
        // -2147483648 is cut to two below it.
        assert_eq!(range(2_147_483_646), UNKNOWN);
        let wrapped = |value| may_have_wrapped(&Transform::Truncate(10), &PrimitiveLiteral::Long(value));
        assert!(wrapped(i64::MAX - 1) && !wrapped(i64::MAX - 100));
    }

    #[test]
    fn a_hashed_or_forgotten_value_says_nothing() {
        assert_eq!(source_range(&Transform::Bucket(4), &PrimitiveType::Int, &int(1)), UNKNOWN);
        assert_eq!(source_range(&Transform::Void, &PrimitiveType::Int, &int(1)), UNKNOWN);
    }
}
