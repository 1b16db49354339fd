//! SQL functions that DataFusion lacks: Iceberg's partition transforms first.
//!
//! [`all_scalar_functions`] is what the engine registers. [`transform::apply`] computes the same transforms on whole
//! arrays, for the writer: the functions and the partition values of files can never differ.

mod functions;
pub mod transform;

pub use functions::all_scalar_functions;
