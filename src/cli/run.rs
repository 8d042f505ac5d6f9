//! `brownout run`: the daemon.

use std::path::PathBuf;
use std::sync::Arc;

use super::failure::Failure;
use super::log::{LogFormat, LogLevel, Logging};
use crate::{config, run};

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
    let loaded = config::load(args.config.as_deref(), &run::DiskFiles);
    let log = loaded.checked.as_ref().map(|checked| checked.log);
    let level = match (args.log_level, &log) {
        (Some(level), _) => level.as_str(),
        (None, Some(log)) => log.level.as_str(),
        (None, None) => LogLevel::Info.as_str(),
    };
    let json = log.is_some_and(|log| log.format == config::LogFormat::Json);
    let format = args.log_format.unwrap_or(if json { LogFormat::Json } else { LogFormat::Text });
    let logging = Logging::start(level, format);
    let set_log_level =
        args.log_level.is_none().then(|| run::SetLogLevel(Arc::new(move |level| logging.set_level(level))));
    let given = run::RunArgs {
        config: args.config.clone(),
        data_dir: args.data_dir.clone(),
        listen: args.listen.clone(),
        set_log_level,
    };
    run::run(given, loaded).await.map_err(|error| match error {
        run::RunError::Config(problems) => Failure::said(format!("the configuration is not usable\n\n{problems}")),
        error => Failure::said(error.to_string()),
    })
}
