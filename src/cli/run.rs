//! `brownout run`: the daemon.

use std::path::PathBuf;

use super::failure::Failure;
use super::log::{LogFormat, LogLevel, Logging};

/// Start the daemon; it needs no configuration
#[derive(Clone, Debug, clap::Args)]
pub struct RunArgs {
    /// The configuration file; without one this host is watched with the shipped rules
    #[arg(long, short, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where this host's own state is kept; overrides data_dir of the configuration
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// The address to listen on, host:port; overrides serve.listen of the configuration
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<String>,
    /// How much is logged; overrides log.level of the configuration
    #[arg(long, value_enum)]
    pub log_level: Option<LogLevel>,
    /// How it is logged; overrides log.format of the configuration
    #[arg(long, value_enum)]
    pub log_format: Option<LogFormat>,
}

pub(super) async fn run(args: &RunArgs) -> Result<(), Failure> {
    let level = args.log_level.unwrap_or(LogLevel::Info);
    let _logging = Logging::start(level.as_str(), args.log_format.unwrap_or(LogFormat::Text));
    Err(Failure::said("this build has no daemon"))
}
