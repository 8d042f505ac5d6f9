//! `brownout freeze`, `brownout unfreeze` and `brownout rollout`: a person holds everything, or one rollout.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;

use super::client::{Daemon, ServerArgs};
use super::failure::Failure;
use super::out::Out;
use super::pin::{lasting, who};
use super::text::{Style, Text};
use crate::time::format_duration;

/// Hold every switch where it is: no rule moves anything until the freeze ends; pins still do
///
/// With everything else broken, make the file `freeze` in the data directory instead: it does the same while it is there.
#[derive(Clone, Debug, clap::Args)]
pub struct FreezeArgs {
    /// Why: whoever finds it later will want to know
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// How long, for example 30m; if missing until `brownout unfreeze`
    #[arg(long = "for", value_name = "DURATION", value_parser = lasting)]
    lasts: Option<Duration>,
    /// Who freezes; by default $USER
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    #[command(flatten)]
    server: ServerArgs,
}

/// End a freeze: the rules move switches again
#[derive(Clone, Debug, clap::Args)]
pub struct UnfreezeArgs {
    /// Who ends it; by default $USER
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    #[command(flatten)]
    server: ServerArgs,
}

/// Say something to a rollout
#[derive(Clone, Debug, clap::Args)]
pub struct RolloutArgs {
    /// pause: hold the step; resume: go on, or begin; abort: back to the initial share; ack: unlock after a rollback
    #[arg(value_parser = ["pause", "resume", "abort", "ack"])]
    word: String,
    /// The switch
    name: String,
    /// Who says it; by default $USER
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    #[command(flatten)]
    server: ServerArgs,
}

pub(super) async fn freeze(args: &FreezeArgs, out: &mut Out) -> Result<(), Failure> {
    let daemon = Daemon::of(&args.server)?;
    let lasts = args.lasts.map(format_duration);
    let body = json!({ "reason": args.reason, "by": who(&args.by), "for": lasts });
    daemon.change(Method::POST, &["api", "v1", "freeze"], &[], Some(body)).await?;
    let until = lasts.map_or("until `brownout unfreeze`".to_owned(), |lasts| format!("for {lasts}"));
    out.line(Text::styled(Style::Warn, "frozen").then(format!(" {until}: no rule moves anything")))
}

pub(super) async fn unfreeze(args: &UnfreezeArgs, out: &mut Out) -> Result<(), Failure> {
    let by = [("by", who(&args.by))];
    Daemon::of(&args.server)?.change(Method::DELETE, &["api", "v1", "freeze"], &by, None).await?;
    out.line(Text::styled(Style::Good, "no longer frozen").then(": the rules move switches again"))
}

pub(super) async fn rollout(args: &RolloutArgs, out: &mut Out) -> Result<(), Failure> {
    let by = [("by", who(&args.by))];
    let path = ["api", "v1", "rollouts", &args.name, &args.word];
    Daemon::of(&args.server)?.change(Method::POST, &path, &by, None).await?;
    let said = Text::styled(Style::Bold, args.name.as_str()).then(format!(": {}", args.word));
    out.line(said.then(format!("; `brownout switch explain {}` shows what follows", args.name)))
}
