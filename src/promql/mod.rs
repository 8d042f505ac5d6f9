//! PromQL: text to tree, tree to answer. Knows series only as a [`crate::series::View`], and no rules.

mod ast;
mod check;
mod error;
mod error_help;
mod functions;
mod lexer;
mod parser;
mod parser_durations;
mod parser_selectors;
#[cfg(test)]
mod parser_tests;
#[cfg(test)]
mod parser_tests_tables;
mod printer;

pub use ast::*;
pub use error::{ParseError, position};
pub use functions::{FUNCTIONS, function};
pub use parser::{parse, parse_metric, parse_selector};
