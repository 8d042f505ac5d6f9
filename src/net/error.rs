//! Why an outbound connection cannot be set up or used.

use std::error::Error;
use std::io;
use std::path::PathBuf;

/// What goes wrong on the way out. Messages never hold a secret.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// A file named in the settings cannot be read.
    #[error("cannot read {what} {}: {source}", path.display())]
    File { what: &'static str, path: PathBuf, source: io::Error },
    /// A file named in the settings does not hold what it should.
    #[error("{what} {}: {problem}", path.display())]
    Content { what: &'static str, path: PathBuf, problem: String },
    /// The TLS settings do not fit together.
    #[error("tls: {0}")]
    Tls(String),
    /// A setting that is no URL, header or secret.
    #[error("{0}")]
    Setting(String),
    /// A name that cannot be resolved.
    #[error("cannot resolve {host}: {problem}")]
    Lookup { host: String, problem: String },
    /// The body is longer than the limit, in bytes.
    #[error("the body is larger than {0} bytes")]
    TooLarge(usize),
    /// The body broke off.
    #[error("cannot read the body: {0}")]
    Body(String),
}

/// Why a request has no answer. Messages name no URL and hold no secret.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// Before it was sent.
    #[error(transparent)]
    Before(#[from] NetError),
    #[error("{}", describe(.0))]
    Sent(reqwest::Error),
}

impl SendError {
    /// Whether the deadline passed.
    pub fn is_timeout(&self) -> bool {
        matches!(self, SendError::Sent(error) if error.is_timeout())
    }
}

impl From<reqwest::Error> for SendError {
    fn from(error: reqwest::Error) -> SendError {
        SendError::Sent(error.without_url())
    }
}

/// An error with all of its causes, outermost first, as one line.
pub fn describe(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let part = cause.to_string();
        if !text.contains(&part) {
            text.push_str(": ");
            text.push_str(&part);
        }
        source = cause.source();
    }
    text
}
