//! Moments and local times: from one to the other in a time zone, from and to texts, plus intervals. PostgreSQL's rules, docs/types.md.
//!
//! In the engine a moment is a timestamp of UTC, and no session's zone is in its type: the zone is an argument of these functions, which
//! `planner::session_zone` writes into a plan. So a plan means the same on every worker, and files are pruned by moments.

mod conversion;
mod local_time;
mod shift;
mod text;
mod zone;

use datafusion::logical_expr::ScalarUDF;

pub(crate) use conversion::convert;
pub(super) use local_time::zone_type;
pub(crate) use local_time::{LocalTime, at_zone};
pub(crate) use shift::Shift;
pub(crate) use text::{MomentOfText, TextOfMoment};
pub(crate) use zone::Zone;

/// The functions, to be registered.
pub(super) fn all() -> [ScalarUDF; 4] {
    [
        ScalarUDF::new_from_impl(LocalTime::default()),
        ScalarUDF::new_from_impl(MomentOfText::default()),
        ScalarUDF::new_from_impl(TextOfMoment::default()),
        ScalarUDF::new_from_impl(Shift::default()),
    ]
}
