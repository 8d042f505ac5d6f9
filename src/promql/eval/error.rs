//! Why an evaluation failed.

use crate::promql::ast::Span;

/// The kinds of failure that callers treat differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EvalErrorKind {
    /// The data and the expression do not go together.
    Execution,
    Timeout,
    TooManySamples,
    Canceled,
}

/// An evaluation failed. Its text is Prometheus'.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct EvalError {
    pub kind: EvalErrorKind,
    pub message: String,
    /// The part of the expression it is about, where that is known.
    pub span: Option<Span>,
}

impl EvalError {
    pub(super) fn execution(message: impl Into<String>) -> EvalError {
        EvalError { kind: EvalErrorKind::Execution, message: message.into(), span: None }
    }

    pub(super) fn same_labels() -> EvalError {
        EvalError::execution("vector cannot contain metrics with the same labelset")
    }

    pub(super) fn too_many_samples() -> EvalError {
        let message = "query processing would load too many samples into memory in query execution".to_owned();
        EvalError { kind: EvalErrorKind::TooManySamples, message, span: None }
    }

    pub(super) fn interrupted(kind: EvalErrorKind) -> EvalError {
        let message = match kind {
            EvalErrorKind::Timeout => "query timed out in expression evaluation",
            _ => "query was canceled in expression evaluation",
        };
        EvalError { kind, message: message.to_owned(), span: None }
    }

    /// The same error, told where in the text it arose unless that is known better already.
    pub(super) fn at(mut self, span: Span) -> EvalError {
        self.span.get_or_insert(span);
        self
    }
}
