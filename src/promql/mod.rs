//! PromQL: text to tree, tree to answer. Knows series only as a [`crate::series::View`], and no rules.

mod ast;
mod check;
mod error;
mod error_help;
mod eval;
mod functions;
mod histogram;
mod lexer;
mod numbers;
mod parser;
mod parser_durations;
mod parser_selectors;
#[cfg(test)]
mod parser_tests;
#[cfg(test)]
mod parser_tests_tables;
mod printer;
pub mod series_notation;

pub use ast::*;
pub use error::{ParseError, position};
pub use eval::{
    Annotation, AnnotationKind, EvalError, EvalErrorKind, Interrupt, MatrixSeries, Options, Outcome, Prepared,
    SampleValue, SharedParts, StartTimes, Value, VectorSample, depends_on_time, instant, range, windows,
};
pub use functions::{FUNCTIONS, function};
pub use parser::{parse, parse_metric, parse_selector};
