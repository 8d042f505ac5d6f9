//! The command line: one file a command.

mod check;
mod schema;

pub use check::check;
pub use schema::{SchemaKind, schema};
