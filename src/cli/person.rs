//! Who says something to a daemon, and why: the options that all words of people have.

use super::client::ServerArgs;
use super::env;

/// Whom the daemon hears, and which daemon.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct ByArgs {
    /// Who says it; by default $USER
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    #[command(flatten)]
    pub server: ServerArgs,
}

/// The same, with a reason.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct ReasonArgs {
    /// Why: whoever finds it later will want to know
    #[arg(long = "reason", value_name = "TEXT")]
    pub why: String,
    #[command(flatten)]
    pub by: ByArgs,
}

impl ByArgs {
    /// The person's name.
    pub fn who(&self) -> String {
        self.by.clone().or_else(env::user).unwrap_or_else(|| "somebody".to_owned())
    }
}
