//! `brownout freeze`, `brownout unfreeze` and `brownout rollout`: a person holds everything, or one rollout.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;

use super::client::Daemon;
use super::failure::Failure;
use super::out::Out;
use super::person::{ByArgs, ReasonArgs};
use super::pin::lasting;
use super::text::{Style, Text};
use crate::time::format_duration;

/// Hold every switch where it is: no rule moves anything until the freeze ends; pins still do
///
/// With everything else broken, make the file `freeze` in the data directory instead: it does the same while it is there.
#[derive(Clone, Debug, clap::Args)]
pub struct FreezeArgs {
    /// How long, for example 30m; if missing until `brownout unfreeze`
    #[arg(long = "for", value_name = "DURATION", value_parser = lasting)]
    lasts: Option<Duration>,
    #[command(flatten)]
    said: ReasonArgs,
}

/// End a freeze: the rules move switches again
#[derive(Clone, Debug, clap::Args)]
pub struct UnfreezeArgs {
    #[command(flatten)]
    by: ByArgs,
}

/// Say something to a rollout
#[derive(Clone, Debug, clap::Args)]
pub struct RolloutArgs {
    /// pause: hold the step; resume: go on, or begin; abort: back to the initial share; ack: unlock after a rollback
    #[arg(value_parser = ["pause", "resume", "abort", "ack"])]
    word: String,
    /// The switch
    name: String,
    #[command(flatten)]
    by: ByArgs,
}

pub(super) async fn freeze(args: &FreezeArgs, out: &mut Out) -> Result<(), Failure> {
    let daemon = Daemon::of(&args.said.by.server)?;
    let lasts = args.lasts.map(format_duration);
    let body = json!({ "reason": args.said.why, "by": args.said.by.who(), "for": lasts });
    daemon.change(Method::POST, &["api", "v1", "freeze"], &[], Some(body)).await?;
    let until = lasts.map_or("until `brownout unfreeze`".to_owned(), |lasts| format!("for {lasts}"));
    out.line(Text::styled(Style::Warn, "frozen").then(format!(" {until}: no rule moves anything")))
}

pub(super) async fn unfreeze(args: &UnfreezeArgs, out: &mut Out) -> Result<(), Failure> {
    let by = [("by", args.by.who())];
    Daemon::of(&args.by.server)?.change(Method::DELETE, &["api", "v1", "freeze"], &by, None).await?;
    out.line(Text::styled(Style::Good, "no longer frozen").then(": the rules move switches again"))
}

pub(super) async fn rollout(args: &RolloutArgs, out: &mut Out) -> Result<(), Failure> {
    let by = [("by", args.by.who())];
    let path = ["api", "v1", "rollouts", &args.name, &args.word];
    Daemon::of(&args.by.server)?.change(Method::POST, &path, &by, None).await?;
    let said = Text::styled(Style::Bold, args.name.as_str()).then(format!(": {}", args.word));
    out.line(said.then(format!("; `brownout switch explain {}` shows what follows", args.name)))
}
