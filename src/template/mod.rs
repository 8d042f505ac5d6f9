//! Go's text/template as rules and notifications use it: an interpreter of our own, with Prometheus' functions for
//! rules and Alertmanager's for notifications. Pure: no network, no files; the time and queries are handed in.
//!
//! Bounded: the size of a source, its nesting, the steps of a run and what it writes are limited (`limits::TEMPLATE_*`).
//! Left out of Go: complex numbers, channels, function values, and `html/template`'s knowledge of the place in a page;
//! HTML output escapes each inserted value for HTML, and filters the scheme at the start of a link.

mod builtin;
mod error;
mod exec;
mod funcs;
mod gofmt;
mod gotime;
mod lex;
mod method;
mod notification;
#[cfg(test)]
mod notification_tests;
mod parse;
mod rule;
#[cfg(test)]
mod tests;
mod text;
mod tree;
mod value;

pub use error::TemplateError;
pub use notification::{AlertData, NotificationData, NotificationTemplates};
pub use rule::{QueryFn, RuleTemplate, RuleVars};
