//! The tree of a parsed template. Plain data, shared between renderings and threads.

use std::ops::Range;
use std::sync::Arc;

use super::funcs::Func;

/// A sequence of nodes.
pub(super) type Block = Vec<Node>;

#[derive(Debug)]
pub(super) enum Node {
    Text(String),
    Action(Pipeline),
    If { test: Pipeline, then: Block, otherwise: Block },
    With { value: Pipeline, then: Block, otherwise: Block },
    Range { over: Pipeline, body: Block, otherwise: Block },
    Call { name: Arc<str>, argument: Option<Pipeline>, span: Range<usize> },
    Break,
    Continue,
}

/// `$a, $b := command | command`.
#[derive(Debug)]
pub(super) struct Pipeline {
    /// With the dollar.
    pub variables: Vec<Arc<str>>,
    /// `=` instead of `:=`.
    pub assigns: bool,
    pub commands: Vec<Command>,
    pub span: Range<usize>,
}

/// A function or value with its arguments; never empty.
#[derive(Debug)]
pub(super) struct Command {
    pub head: Operand,
    pub arguments: Vec<Operand>,
}

#[derive(Debug)]
pub(super) struct Operand {
    pub kind: OperandKind,
    /// `.a.b` after it.
    pub fields: Vec<Arc<str>>,
    pub span: Range<usize>,
}

#[derive(Debug)]
pub(super) enum OperandKind {
    Dot,
    Nil,
    Variable(Arc<str>),
    Function(Func),
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Arc<str>),
    Parens(Box<Pipeline>),
}
