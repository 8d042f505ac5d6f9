//! What became of one delivery.

use std::time::Duration;

/// The outcome of one try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The receiver has it.
    Accepted,
    /// Not now: the engine tries again.
    Retry {
        /// For people; without secrets and control characters.
        reason: String,
        /// The HTTP status or SMTP code, if the receiver gave one.
        code: Option<u16>,
        /// How long the receiver asks to be left alone.
        after: Option<Duration>,
    },
    /// The receiver will never take it.
    Refused { reason: String },
}

impl Outcome {
    pub(super) fn retry(reason: impl AsRef<str>) -> Outcome {
        Outcome::Retry { reason: super::render::one_line(reason.as_ref()), code: None, after: None }
    }

    pub(super) fn retry_code(reason: impl AsRef<str>, code: u16, after: Option<Duration>) -> Outcome {
        Outcome::Retry { reason: super::render::one_line(reason.as_ref()), code: Some(code), after }
    }

    pub(super) fn refused(reason: impl AsRef<str>) -> Outcome {
        Outcome::Refused { reason: super::render::one_line(reason.as_ref()) }
    }
}
