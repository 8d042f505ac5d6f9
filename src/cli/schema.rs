//! `brownout schema`: the JSON schemas for editors, and the reference for people.

use super::failure::Failure;
use super::out::Out;
use crate::config;

/// What can be printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
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

/// Print the JSON schema of the configuration or of rule files, or their reference
#[derive(Clone, Debug, clap::Args)]
pub struct SchemaArgs {
    /// What to print
    #[arg(value_enum, default_value = "config")]
    kind: SchemaKind,
}

pub(super) fn run(args: &SchemaArgs, out: &mut Out) -> Result<(), Failure> {
    out.program(&schema(args.kind))
}
