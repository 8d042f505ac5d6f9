//! Why a command did not succeed, and what the shell is told.

use std::io::Write as _;

use super::text::neutral_lines;

/// Why a command did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// It failed: exit code 1.
    #[error("{0}")]
    Said(String),
    /// It was asked for in a way that it does not understand: exit code 2.
    #[error("{0}")]
    Usage(String),
    /// The answer itself is bad news, and was written already: exit code 1.
    #[error("the answer is bad news")]
    BadNews,
    /// Whoever read our output has read enough: no failure.
    #[error("the output was closed")]
    OutputClosed,
}

impl Failure {
    /// A failure with a message.
    pub fn said(message: impl Into<String>) -> Failure {
        Failure::Said(message.into())
    }

    /// What the process ends with.
    pub fn exit_code(&self) -> u8 {
        match self {
            Failure::Said(_) | Failure::BadNews => 1,
            Failure::Usage(_) => 2,
            Failure::OutputClosed => 0,
        }
    }

    /// Writes the message, if there is one, to the standard error output.
    pub fn report(&self) {
        let text = match self {
            Failure::Said(message) => format!("brownout: {message}"),
            Failure::Usage(message) => message.clone(),
            Failure::BadNews | Failure::OutputClosed => return,
        };
        // Nobody is left to tell when this fails.
        drop(writeln!(std::io::stderr().lock(), "{}", neutral_lines(text.trim_end())));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_code_tells_failure_from_misuse() {
        assert_eq!(Failure::said("x").exit_code(), 1);
        assert_eq!(Failure::BadNews.exit_code(), 1);
        assert_eq!(Failure::Usage("x".into()).exit_code(), 2);
        assert_eq!(Failure::OutputClosed.exit_code(), 0);
    }
}
