//! Which commands there are, and the way from the arguments to one of them.

use std::ffi::OsString;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand};

use super::alert::{self, AlertArgs};
use super::alerts::{self, AlertsArgs};
use super::audit::{self, AuditArgs};
use super::check::{self, CheckArgs};
use super::completions::{self, CompletionsArgs};
use super::decisions::{self, DecisionsArgs};
use super::demo::{self, DemoArgs};
use super::failure::Failure;
use super::fleet::{self, FleetArgs};
use super::freeze::{self, FreezeArgs, RolloutArgs, UnfreezeArgs};
use super::out::Out;
use super::pin::{self, PinArgs, UnpinArgs};
use super::query::{self, QueryArgs};
use super::record::{self, RecordArgs};
use super::replay::{self, ReplayArgs};
use super::rules::{self, RulesArgs};
use super::run::{self, RunArgs};
use super::schema::{self, SchemaArgs};
use super::silence::{self, SilenceArgs};
use super::status::{self, StatusArgs};
use super::switch::{self, SwitchArgs};
use super::test::{self, TestArgs};
use crate::limits;

/// What is said to whoever types `brownout` and nothing else.
const WELCOME: &str = "\
Brownout watches this host, its links and its logs, judges by Prometheus-compatible rules, tells people,
and dims features until the trouble is over.

  brownout demo      see it work: a service in trouble, an alert, a switch going down and up; one minute
  brownout run       start it here: it needs no configuration; then open http://127.0.0.1:9797
  brownout status    how things are, on one screen

Next, write a brownout.yaml, `brownout check` it, and `brownout run --config brownout.yaml`.
`brownout help` lists every command, `brownout help COMMAND` explains one.";

/// Watch this host, judge by rules, tell people, dim features until the trouble is over
#[derive(Clone, Debug, Parser)]
#[command(name = "brownout", version, disable_help_subcommand = false, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Clone, Debug, Subcommand)]
enum Command {
    Run(RunArgs),
    Check(CheckArgs),
    Test(TestArgs),
    Schema(SchemaArgs),
    Status(StatusArgs),
    Query(QueryArgs),
    Record(RecordArgs),
    Replay(ReplayArgs),
    Switch(SwitchArgs),
    Pin(PinArgs),
    Unpin(UnpinArgs),
    Freeze(FreezeArgs),
    Unfreeze(UnfreezeArgs),
    Rollout(RolloutArgs),
    Audit(AuditArgs),
    Decisions(DecisionsArgs),
    Fleet(FleetArgs),
    Alerts(AlertsArgs),
    Alert(AlertArgs),
    Silence(SilenceArgs),
    Rules(RulesArgs),
    Demo(DemoArgs),
    Completions(CompletionsArgs),
}

/// Does what the arguments say.
///
/// # Errors
/// Why it could not; [`Failure::report`] tells it and [`Failure::exit_code`] is what the process ends with.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> Result<(), Failure> {
    let mut out = Out::stdout();
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            let text = error.render().to_string();
            return match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => out.paragraph(&text),
                _ => Err(Failure::Usage(text)),
            };
        }
    };
    let Some(command) = cli.command else { return out.paragraph(WELCOME) };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(limits::BLOCKING_THREADS)
        .build()
        .map_err(|error| Failure::said(format!("cannot start: {error}")))?;
    let done = runtime.block_on(perform(&command, &mut out));
    // A thread that hangs in a dead mount must not keep the process.
    runtime.shutdown_background();
    done
}

async fn perform(command: &Command, out: &mut Out) -> Result<(), Failure> {
    match command {
        Command::Run(args) => run::run(args).await,
        Command::Check(args) => check::run(args, out),
        Command::Test(args) => test::run(args, out),
        Command::Schema(args) => schema::run(args, out),
        Command::Status(args) => status::status(args, out).await,
        Command::Query(args) => query::query(args, out).await,
        Command::Record(args) => record::record(args, out).await,
        Command::Replay(args) => replay::replay(args, out).await,
        Command::Switch(args) => switch::switch(args, out).await,
        Command::Pin(args) => pin::pin(args, out).await,
        Command::Unpin(args) => pin::unpin(args, out).await,
        Command::Freeze(args) => freeze::freeze(args, out).await,
        Command::Unfreeze(args) => freeze::unfreeze(args, out).await,
        Command::Rollout(args) => freeze::rollout(args, out).await,
        Command::Audit(args) => audit::audit(args, out),
        Command::Decisions(args) => decisions::decisions(args, out).await,
        Command::Fleet(args) => fleet::fleet(args, out).await,
        Command::Alerts(args) => alerts::alerts(args, out).await,
        Command::Alert(args) => alert::alert(args, out).await,
        Command::Silence(args) => silence::silence(args, out).await,
        Command::Rules(args) => rules::rules(args, out).await,
        Command::Demo(args) => demo::demo(args, out).await,
        Command::Completions(args) => completions::completions(args, out),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_arguments_fit_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_welcome_is_short_and_names_commands_that_exist() {
        assert_eq!(WELCOME.lines().count(), 9);
        let mut commands = Cli::command();
        commands.build();
        for name in ["demo", "run", "status", "check", "help"] {
            assert!(WELCOME.contains(&format!("brownout {name}")));
            assert!(commands.find_subcommand(name).is_some(), "{name}");
        }
        insta::assert_snapshot!(WELCOME);
    }

    #[test]
    fn misuse_is_told_from_failure() {
        let of = |arguments: &[&str]| main(arguments.iter().map(OsString::from)).expect_err("misuse");
        for arguments in
            [&["brownout", "fly"][..], &["brownout", "pin", "a"], &["brownout", "status", "--server", "ftp://x"]]
        {
            assert_eq!(of(arguments).exit_code(), 2, "{arguments:?}");
        }
        let Failure::Usage(text) = of(&["brownout", "statsu"]) else { panic!("no usage") };
        assert!(text.contains("status"), "a suggestion: {text}");
    }
}
