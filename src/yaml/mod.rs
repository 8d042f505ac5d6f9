//! YAML text -> a tree that knows its places -> typed fields, with every problem found at once.
//!
//! A type that can stand in a file implements [`Decode`], and names each of its fields exactly once: key, default,
//! documentation. That one statement reads the field, refuses unknown keys with "did you mean", and, run without input,
//! gives the JSON schema and the reference ([`describe`]), so that the three cannot drift apart.
//!
//! Reading is as lenient as Go's YAML where existing files rely on it: a null is an absent field, a number or a boolean
//! where a text is wanted is that text as written, merge keys and aliases work. It is stricter about budgets.

mod decode;
mod describe;
mod problem;
mod tree;

pub use decode::{At, Decode, Fields, Place, Spanned, decode_node, decode_text};
pub use describe::{Field, Record, Schema, Shape, describe};
pub use problem::{Problem, Severity, SourceFile, nearest, render_problems};
pub use tree::{Node, Span, Value, parse};
