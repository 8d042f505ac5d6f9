//! `brownout pin` and `brownout unpin`: a person overrides the rules, with a reason and an end.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;

use super::client::Daemon;
use super::failure::Failure;
use super::human::Zone;
use super::out::Out;
use super::person::{ByArgs, ReasonArgs};
use super::text::{Style, Text};
use crate::limits;
use crate::time::{Clock, DurationError, format_duration, parse_duration};

/// Hold a switch at a level, whatever the rules say, for some time
#[derive(Clone, Debug, clap::Args)]
pub struct PinArgs {
    /// The switch
    name: String,
    /// The level, one of its ladder
    level: String,
    /// How long, for example 30m or 2h; at the end the rules decide again
    #[arg(long = "for", value_name = "DURATION", default_value = "1h", value_parser = lasting)]
    lasts: Duration,
    #[command(flatten)]
    said: ReasonArgs,
}

/// End a pin: the rules decide again
#[derive(Clone, Debug, clap::Args)]
pub struct UnpinArgs {
    /// The switch
    name: String,
    #[command(flatten)]
    by: ByArgs,
}

/// Why a pin cannot last so long.
#[derive(Debug, thiserror::Error)]
pub(super) enum BadSpan {
    #[error("{0}")]
    None(#[from] DurationError),
    #[error("a pin lasts longer than nothing and at most {}", format_duration(limits::PIN_TIME))]
    OutOfRange,
}

pub(super) fn lasting(text: &str) -> Result<Duration, BadSpan> {
    let span = parse_duration(text)?;
    if span.is_zero() || span > limits::PIN_TIME { Err(BadSpan::OutOfRange) } else { Ok(span) }
}

pub(super) async fn pin(args: &PinArgs, out: &mut Out) -> Result<(), Failure> {
    let daemon = Daemon::of(&args.said.by.server)?;
    let lasts = format_duration(args.lasts);
    let body = json!({ "level": args.level, "for": lasts, "reason": args.said.why, "by": args.said.by.who() });
    daemon.change(Method::POST, &["api", "v1", "switches", &args.name, "pin"], &[], Some(body)).await?;
    let now = Clock::start().now();
    let until = Zone::system().near(now, now + args.lasts);
    let pinned = Text::styled(Style::Bold, args.name.as_str()).then(format!(" is pinned to {}", args.level));
    out.line(pinned.then(format!(" until {until} ({lasts}); `brownout unpin {}` ends it earlier", args.name)))
}

pub(super) async fn unpin(args: &UnpinArgs, out: &mut Out) -> Result<(), Failure> {
    let daemon = Daemon::of(&args.by.server)?;
    let by = [("by", args.by.who())];
    daemon.change(Method::DELETE, &["api", "v1", "switches", &args.name, "pin"], &by, None).await?;
    out.line(Text::styled(Style::Bold, args.name.as_str()).then(" is no longer pinned: the rules decide again"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_lasts_a_while_but_not_for_ever() {
        for (text, secs) in [("1h", 3_600), ("90s", 90), ("1w", 7 * 86_400)] {
            assert_eq!(lasting(text).ok(), Some(Duration::from_secs(secs)), "{text}");
        }
        for text in ["0", "0s", "8d", "an hour", "-1h", ""] {
            assert!(lasting(text).is_err(), "{text}");
        }
    }
}
