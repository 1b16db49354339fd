//! SQL functions and aggregates that take the place of DataFusion's, where DataFusion's give wrong answers, panic, or have its own name; and
//! the condition of a join that can be stopped.

mod arrow_types;
mod canonical;
mod checked_arithmetic;
mod date_bin;
mod date_part;
mod date_trunc;
mod days_and_time;
mod decimal_arithmetic;
mod decimal_of_float;
mod exact_key;
mod exact_sum;
mod first_non_null;
mod float_extremes;
mod formats;
mod grouped_key;
mod in_one_order;
mod interruptible;
mod interval_extremes;
mod made;
mod map_entries;
mod month_frames;
mod nested_order;
mod null_if;
mod or_null;
mod pairs;
mod quantified;
mod replacement;
mod shifts;
mod sliced;
mod sliding;
mod substring;
mod values;
mod version;
mod whole_decimals;
mod zones;

use std::sync::Arc;

use datafusion::logical_expr::{AggregateUDF, ScalarUDF, WindowUDF};

use arrow_types::ArrowTypes;
pub(crate) use canonical::Canonical;
pub(crate) use checked_arithmetic::{CheckedArithmetic, Operation};
use date_bin::DateBin;
pub(crate) use date_part::DatePart;
use date_trunc::DateTrunc;
pub(crate) use days_and_time::DaysAndTime;
pub(crate) use decimal_arithmetic::DecimalArithmetic;
pub(crate) use decimal_of_float::DecimalOfFloat;
pub(crate) use exact_key::ExactKey;
use exact_sum::ExactSum;
use first_non_null::FirstNonNull;
use float_extremes::FloatExtreme;
use formats::Format;
pub(crate) use grouped_key::GroupedKey;
pub(crate) use in_one_order::InOneOrder;
pub(crate) use interruptible::{interruptible, interruptible_function};
use map_entries::MapEntries;
pub(crate) use month_frames::{MonthFrames, reaches_over_months};
use nested_order::Extreme;
pub(crate) use nested_order::NestedComparison;
use null_if::NullIf;
pub(crate) use or_null::OrNull;
use pairs::PairAggregate;
pub(crate) use quantified::{Quantified, Quantifier};
pub(crate) use replacement::Replacement;
use shifts::LeadLag;
use sliced::Sliced;
pub(crate) use sliced::substring;
use sliding::Windowed;
pub(crate) use values::{bytes as array_bytes, is_long, longest_row_bytes, scalar_bytes};
use version::Version;
use whole_decimals::WholeDecimals;
pub(crate) use zones::{LocalTime, MomentOfText, Shift, TextOfMoment, Zone, convert};

use crate::types::Form;

/// What [`crate::planner`] plans integer operators as, and settles values with, and what is registered after DataFusion's, whose names it has.
pub(crate) fn scalar_functions() -> Vec<Arc<ScalarUDF>> {
    let named = [
        ScalarUDF::new_from_impl(DateBin::default()),
        ScalarUDF::new_from_impl(DatePart::default()),
        ScalarUDF::new_from_impl(DateTrunc::default()),
        ScalarUDF::new_from_impl(DaysAndTime::default()),
        ScalarUDF::new_from_impl(DecimalOfFloat::default()),
        ScalarUDF::new_from_impl(MapEntries::default()),
        ScalarUDF::new_from_impl(Replacement::default()),
        ScalarUDF::new_from_impl(NullIf::default()),
        ScalarUDF::new_from_impl(OrNull::default()),
        ScalarUDF::new_from_impl(GroupedKey::default()),
        ScalarUDF::new_from_impl(Version::default()),
    ];
    let bounded = FirstNonNull::all().map(ScalarUDF::new_from_impl).into_iter();
    let bounded = bounded.chain(ArrowTypes::all().map(ScalarUDF::new_from_impl));
    let bounded = bounded.chain(DecimalArithmetic::all().map(ScalarUDF::new_from_impl));
    let bounded = bounded.chain(WholeDecimals::both().map(ScalarUDF::new_from_impl));
    let bounded = bounded.chain(Format::all().map(ScalarUDF::new_from_impl));
    let bounded = bounded.chain(ExactKey::both().map(ScalarUDF::new_from_impl));
    let bounded = bounded.chain(Extreme::both().map(ScalarUDF::new_from_impl));
    let bounded = bounded.chain(Quantified::all().map(ScalarUDF::new_from_impl));
    let sliced = Sliced::all().into_iter().map(ScalarUDF::new_from_impl);
    let ours = sliced.chain(named).chain(zones::all()).chain(bounded).map(Arc::new).chain([substring()]);
    let operators = Operation::ALL.into_iter().map(CheckedArithmetic::function);
    let operators = operators.chain(NestedComparison::OPERATORS.map(NestedComparison::function));
    operators.chain(Form::ALL.map(Canonical::function)).chain(ours).collect()
}

/// To be registered after DataFusion's, whose names they have.
pub(crate) fn aggregate_functions() -> Vec<Arc<AggregateUDF>> {
    let extremes = FloatExtreme::both().map(AggregateUDF::new_from_impl);
    let windowed = Windowed::all().map(AggregateUDF::new_from_impl);
    let pairs = PairAggregate::all().map(AggregateUDF::new_from_impl);
    let sum = [AggregateUDF::new_from_impl(ExactSum::default())].into_iter();
    sum.chain(extremes).chain(windowed).chain(pairs).map(Arc::new).collect()
}

/// To be registered after DataFusion's, whose names they have.
pub(crate) fn window_functions() -> Vec<Arc<WindowUDF>> {
    LeadLag::all().map(WindowUDF::new_from_impl).map(Arc::new).into()
}
