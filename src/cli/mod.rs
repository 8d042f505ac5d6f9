//! The command line: one file a command.
//!
//! A command reads its arguments, asks the daemon over HTTP (never the rooms behind it), and shows the answer. What is
//! shown is made by pure functions that return [`text::Text`]; only [`out`] writes, and only [`env`] reads the environment.
//! Nothing here decides anything.

mod alert;
mod alerts;
mod app;
mod audit;
mod check;
mod client;
mod completions;
mod decisions;
mod demo;
mod diff;
mod engine_test;
mod env;
mod events;
mod explain;
mod explain_dial;
mod failure;
mod fleet;
mod fleet_config;
mod freeze;
mod happened;
mod human;
mod junit;
mod log;
mod offline;
mod out;
mod person;
mod pin;
mod plot;
mod query;
mod record;
mod replay;
mod rules;
mod run;
mod samples;
mod schema;
mod silence;
mod simulation;
mod status;
mod switch;
mod table;
mod test;
mod text;
mod times;
mod values;
mod wire;

pub use app::{Cli, main};
pub use check::check;
pub use failure::Failure;
pub use log::Logging;
pub use run::RunArgs;
pub use schema::{SchemaKind, schema};
