//! The memory of values that functions make, which may be far more than what they are given: reserved before they are made, and counted for
//! as long as somebody holds them.
//!
//! DataFusion counts what its operators keep, and nobody what functions make: `repeat('x', 2000000000)` takes 2 GB in each of the rows of
//! a batch. So what a call will make is estimated from its arguments, and reserved in the pool of the query that computes here, or in the
//! budget of the plan. Small results are let through without a count.

use std::sync::Arc;

use arrow::array::{Array, ArrayData, ArrayRef, AsArray, Int64Array, make_array};
use arrow::buffer::Buffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, IntervalMonthDayNanoType, TimeUnit};
use bytes::Bytes;
use datafusion::common::{Result, ScalarValue};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs};

use super::values::{bytes, is_long, list_length, row_bytes, text, text_length};
use crate::{budget, computing};

/// Results of fewer bytes are not counted: batches have as many anyway.
const COUNTED_BYTES_MIN: usize = 4 << 20;
/// Plans copy their constants.
const PLANNED_TIMES: usize = 4;
/// Bytes of an element beside its value: offsets of lists and texts.
const ELEMENT_BYTES: usize = 4;
/// Functions that keep a table of the elements while they compute, and what that takes, as a multiple of the arguments.
const HASHING: &[&str] = &["array_distinct", "array_except", "array_intersect", "array_union"];
const HASHING_TIMES: usize = 5;
/// A letter that is cut off takes the bytes of a text of its own.
const SPLIT_TIMES: usize = 17;
const LETTER_BYTES_MAX: usize = 4;
/// The shortest month, in days.
const MONTH_DAYS: i128 = 28;
const DAY_NANOS: i128 = 86_400_000_000_000;
const MICRO_NANOS: i128 = 1_000;

/// Memory set aside for what one call makes; none if it is small, or nobody counts here.
pub(super) struct Reserved(Option<MemoryReservation>);

/// Sets memory aside for the result of a call.
///
/// # Errors
/// If there is not so much left.
pub(super) fn reserve(name: &str, args: &ScalarFunctionArgs) -> Result<Reserved> {
    if !is_long(args.return_field.data_type()) && !HASHING.contains(&name) {
        return Ok(Reserved(None));
    }
    let made = estimate(name, args)?;
    if made < COUNTED_BYTES_MIN {
        return Ok(Reserved(None));
    }
    let Some(pool) = computing::memory() else {
        budget::reserve(made.saturating_mul(PLANNED_TIMES))?;
        return Ok(Reserved(None));
    };
    let reservation = MemoryConsumer::new(format!("the values of {name}()")).register(&pool);
    reservation.try_resize(made)?;
    Ok(Reserved(Some(reservation)))
}

impl Reserved {
    /// The same values, counted until the last of their buffers is dropped.
    pub(super) fn hold(self, made: ColumnarValue) -> Result<ColumnarValue> {
        let (Some(reservation), ColumnarValue::Array(array)) = (self.0, &made) else { return Ok(made) };
        let size = array.get_array_memory_size();
        if size < COUNTED_BYTES_MIN {
            return Ok(made);
        }
        // The values are there: whoever reserves next is told.
        if reservation.try_resize(size).is_err() {
            return Ok(made);
        }
        let held = hold(array.to_data(), &Arc::new(reservation))?;
        Ok(ColumnarValue::Array(make_array(held)))
    }
}

/// Bytes of a buffer, and the count of them.
struct Held {
    bytes: Buffer,
    _memory: Arc<MemoryReservation>,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

fn hold(data: ArrayData, memory: &Arc<MemoryReservation>) -> Result<ArrayData> {
    let buffers = data.buffers().iter().map(|buffer| {
        let held = Held { bytes: buffer.clone(), _memory: Arc::clone(memory) };
        Buffer::from(Bytes::from_owner(held))
    });
    let buffers = buffers.collect();
    let children = data.child_data().iter().map(|child| hold(child.clone(), memory)).collect::<Result<_>>()?;
    Ok(data.into_builder().buffers(buffers).child_data(children).build()?)
}

/// What a call makes, in bytes: no less than it will, and not much more.
fn estimate(name: &str, args: &ScalarFunctionArgs) -> Result<usize> {
    let is_constant = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
    let rows = if is_constant { 1 } else { args.number_rows };
    let sum = |of_row: &dyn Fn(usize) -> Option<usize>| {
        (0..rows).filter_map(of_row).fold(0_usize, |sum, bytes| sum.saturating_add(bytes))
    };
    let given = given(&args.args, rows);
    Ok(match (name, args.args.as_slice()) {
        ("repeat", [value, times]) => {
            let times = Numbers::of(times)?;
            sum(&|row| Some(text_length(value, row)?.saturating_mul(times.count(row)?)))
        }
        ("lpad" | "rpad", [value, length, fill @ ..]) => {
            let length = Numbers::of(length)?;
            sum(&|row| {
                let is_ascii = fill.first().and_then(|fill| text(fill, row)).is_none_or(str::is_ascii);
                let letter = if is_ascii { 1 } else { LETTER_BYTES_MAX };
                Some(text_length(value, row)?.saturating_add(length.count(row)?.saturating_mul(letter)))
            })
        }
        ("range" | "generate_series", bounds) => {
            let steps = Steps::of(bounds)?;
            sum(&|row| Some(steps.count(row)?.saturating_mul(size_of::<i64>())))
        }
        ("array_repeat", [element, times]) => {
            let times = Numbers::of(times)?;
            sum(&|row| Some(times.count(row)?.saturating_mul(row_bytes(element, row) + ELEMENT_BYTES)))
        }
        ("array_resize", [list, length, ..]) => {
            let length = Numbers::of(length)?;
            let width = given / list_elements(list, rows).max(1);
            given.saturating_add(sum(&|row| Some(length.count(row)?.saturating_mul(width.max(size_of::<i64>())))))
        }
        ("array_to_string", [list, between, ..]) => {
            let between = sum(&|row| Some(list_length(list, row)?.saturating_mul(text_length(between, row)?)));
            given.saturating_mul(2).saturating_add(between)
        }
        ("concat_ws", [between, values @ ..]) => {
            sum(&|row| Some(text_length(between, row)?.saturating_mul(values.len()))).saturating_add(given)
        }
        ("regexp_replace", [value, _, by, flags @ ..]) => sum(&|row| {
            let (length, by) = (text_length(value, row)?, text(by, row)?);
            // Each \1 may stand for all that was found.
            let found = length.saturating_mul(1 + by.matches('\\').count());
            let all = flags.first().and_then(|flags| text(flags, row)).is_some_and(|flags| flags.contains('g'));
            let times = if all { length + 1 } else { 1 };
            Some(found.saturating_add(by.len().saturating_mul(times)))
        }),
        ("string_to_array", _) => given.saturating_mul(SPLIT_TIMES),
        ("encode", _) => given.saturating_mul(2),
        (name, _) if HASHING.contains(&name) => given.saturating_mul(HASHING_TIMES),
        // No more than there is already, but for constants.
        _ => constants(&args.args, rows),
    })
}

/// The bytes of the arguments, each of a row of its own.
fn given(args: &[ColumnarValue], rows: usize) -> usize {
    let each = args.iter().map(|arg| match arg {
        ColumnarValue::Array(array) => bytes(array),
        ColumnarValue::Scalar(_) => row_bytes(arg, 0).saturating_mul(rows),
    });
    each.fold(0, usize::saturating_add)
}

/// The bytes of the constants among the arguments, written out for each row.
fn constants(args: &[ColumnarValue], rows: usize) -> usize {
    let constants = args.iter().filter(|arg| matches!(arg, ColumnarValue::Scalar(_)));
    constants.map(|arg| row_bytes(arg, 0).saturating_mul(rows)).fold(0, usize::saturating_add)
}

fn list_elements(list: &ColumnarValue, rows: usize) -> usize {
    (0..rows).filter_map(|row| list_length(list, row)).sum()
}

/// An argument that is a number.
enum Numbers {
    Constant(Option<i64>),
    Column(Int64Array),
}

impl Numbers {
    /// What is no number of 64 bits is NULL: the function itself will say so.
    fn of(arg: &ColumnarValue) -> Result<Self> {
        Ok(match arg {
            ColumnarValue::Scalar(value) => match value.cast_to(&DataType::Int64) {
                Ok(ScalarValue::Int64(number)) => Self::Constant(number),
                _ => Self::Constant(None),
            },
            ColumnarValue::Array(array) => Self::Column(cast(array, &DataType::Int64)?.as_primitive().clone()),
        })
    }

    fn get(&self, row: usize) -> Option<i64> {
        match self {
            Self::Constant(number) => *number,
            Self::Column(numbers) => numbers.is_valid(row).then(|| numbers.value(row)),
        }
    }

    /// A number that says how often; none if it is negative.
    fn count(&self, row: usize) -> Option<usize> {
        usize::try_from(self.get(row)?).ok()
    }
}

/// The bounds and the step of a series of numbers, or of dates and timestamps, whose step is in nanoseconds.
enum Steps {
    Numbers { from: Numbers, to: Numbers, step: Numbers },
    Times { from: Numbers, to: Numbers, step: ArrayRef, is_constant: bool },
}

impl Steps {
    fn of(bounds: &[ColumnarValue]) -> Result<Self> {
        let one = || Numbers::Constant(Some(1));
        Ok(match bounds {
            [to] => Self::Numbers { from: Numbers::Constant(Some(0)), to: Numbers::of(to)?, step: one() },
            [from, to] => Self::Numbers { from: Numbers::of(from)?, to: Numbers::of(to)?, step: one() },
            [from, to, step, ..] if matches!(step.data_type(), DataType::Interval(_)) => {
                let micros = |arg: &ColumnarValue| -> Result<Numbers> {
                    let times = arg.cast_to(&DataType::Timestamp(TimeUnit::Microsecond, None), None)?;
                    Numbers::of(&times)
                };
                let is_constant = matches!(step, ColumnarValue::Scalar(_));
                let step = step.to_array(1)?;
                let step = cast(&step, &DataType::Interval(arrow::datatypes::IntervalUnit::MonthDayNano))?;
                Self::Times { from: micros(from)?, to: micros(to)?, step, is_constant }
            }
            [from, to, step, ..] => {
                Self::Numbers { from: Numbers::of(from)?, to: Numbers::of(to)?, step: Numbers::of(step)? }
            }
            [] => Self::Numbers { from: one(), to: one(), step: one() },
        })
    }

    fn count(&self, row: usize) -> Option<usize> {
        let (from, to, step) = match self {
            Self::Numbers { from, to, step } => {
                (i128::from(from.get(row)?), i128::from(to.get(row)?), i128::from(step.get(row)?))
            }
            Self::Times { from, to, step, is_constant } => {
                let (from, to) = (i128::from(from.get(row)?), i128::from(to.get(row)?));
                let steps = step.as_primitive::<IntervalMonthDayNanoType>();
                let row = if *is_constant { 0 } else { row };
                if steps.is_null(row) {
                    return None;
                }
                let step = steps.value(row);
                let days = i128::from(step.months) * MONTH_DAYS + i128::from(step.days);
                (from * MICRO_NANOS, to * MICRO_NANOS, days * DAY_NANOS + i128::from(step.nanoseconds))
            }
        };
        let steps = if (from <= to) == (step > 0) { (to - from).checked_div(step)? + 1 } else { 1 };
        usize::try_from(steps).ok()
    }
}
