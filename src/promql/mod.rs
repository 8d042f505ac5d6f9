//! PromQL: text to tree, tree to answer. Knows series only as a [`crate::series::View`], and no rules.

mod ast;

pub use ast::*;
