//! Batches of few rows below operators that write much for each of them.
//!
//! DataFusion's operators take thousands of rows at a time. A constant of a megabyte is written once for each of them, and a row whose
//! list has a million elements becomes a million rows, with all its other columns: gigabytes at once, which nobody counts. So such
//! operators are given as many rows at a time as make some megabytes.
//!
//! ```text
//! UnnestExec: l                       UnnestExec: l
//!   DataSourceExec         →            NarrowRowsExec
//!                                         DataSourceExec
//! ```

mod beside;
mod cuts;
mod operator;
mod rule;

pub(crate) use beside::narrow_beside_wide_rows;
pub(crate) use operator::NarrowRowsExec;
pub(crate) use rule::NarrowRows;
