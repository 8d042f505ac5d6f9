//! `brownout schema`: the JSON schemas for editors, and the reference for people.

use crate::config;

/// What can be printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SchemaKind {
    /// Of `brownout.yaml`: `deploy/brownout.schema.json`.
    Config,
    /// Of rule files: `deploy/rules.schema.json`.
    Rules,
    /// `docs/configuration.md`.
    Reference,
}

/// The text, with a line feed at its end.
pub fn schema(kind: SchemaKind) -> String {
    let json = |value: serde_json::Value| format!("{value:#}\n");
    match kind {
        SchemaKind::Config => json(config::config_schema()),
        SchemaKind::Rules => json(config::rules_schema()),
        SchemaKind::Reference => config::reference(),
    }
}
