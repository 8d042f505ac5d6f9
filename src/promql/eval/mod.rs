//! Evaluates PromQL over a [`crate::series::View`], as Prometheus 3.14 does.
//!
//! Follows the documentation (`docs/querying/`) and the behaviour of Prometheus' own test suite. It knows no clock:
//! the instant is an argument. Not here: parsing, and anything about rules.

mod aggregate;
mod annotations;
mod binary;
mod duration;
mod error;
mod evaluator;
mod functions;
mod group;
mod limit;
mod matching;
mod memo;
mod names;
mod nodes;
mod options;
mod params;
mod pinned;
mod prepared;
mod query;
mod selector;
mod shared;
mod slide;
#[cfg(test)]
mod slide_tests;
mod smooth;
mod statistics;
mod stats_only;
mod subquery;
#[cfg(test)]
mod tests;
mod top;
mod value;
mod windows;

pub use annotations::{Annotation, AnnotationKind};
pub use error::{EvalError, EvalErrorKind};
pub use options::{Interrupt, Options, StartTimes};
pub use pinned::depends_on_time;
pub use prepared::Prepared;
pub use query::{instant, range};
pub use shared::SharedParts;
pub use value::{MatrixSeries, Outcome, SampleValue, Value, VectorSample};
pub use windows::windows;
