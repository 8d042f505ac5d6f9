//! The room's one error.

use std::ops::Range;

/// Why a template cannot be parsed or rendered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct TemplateError {
    /// Where in the source, in bytes; empty at 0 when no place can be named.
    pub span: Range<usize>,
    pub message: String,
}

impl TemplateError {
    pub(super) fn new(span: Range<usize>, message: impl Into<String>) -> TemplateError {
        TemplateError { span, message: message.into() }
    }
}
