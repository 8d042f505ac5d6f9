//! `brownout decisions`: what was decided about switches, by whom and why.

use super::client::{Daemon, ServerArgs};
use super::failure::Failure;
use super::human::Zone;
use super::out::Out;
use super::table::Table;
use super::text::{Style, Text};
use super::wire::Decision;
use crate::limits;
use crate::time::{Clock, Timestamp};

/// Show the latest decisions about switches, newest first
#[derive(Clone, Debug, clap::Args)]
pub struct DecisionsArgs {
    /// Only those about this switch
    switch: Option<String>,
    /// How many at most
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=limits::DECISIONS_KEPT as u64))]
    limit: u64,
    #[command(flatten)]
    server: ServerArgs,
}

pub(super) async fn decisions(args: &DecisionsArgs, out: &mut Out) -> Result<(), Failure> {
    let mut parameters = vec![("limit", args.limit.to_string())];
    parameters.extend(args.switch.clone().map(|switch| ("switch", switch)));
    let decisions: Vec<Decision> = Daemon::of(&args.server)?.data(&["api", "v1", "decisions"], &parameters).await?;
    out.lines(&table(&decisions, Clock::start().now(), &Zone::system(), out.edge()))
}

fn table(decisions: &[Decision], now: Timestamp, zone: &Zone, edge: usize) -> Vec<Text> {
    if decisions.is_empty() {
        return vec![Text::styled(Style::Dim, "nothing has been decided yet")];
    }
    let mut table = Table::new(["WHEN", "SWITCH", "FROM", "TO", "WHO", "WHY"]);
    for decision in decisions {
        let mut why = Text::new();
        if decision.mode == "observe" {
            why.push(Style::Warn, "only observed, nothing was changed: ");
        }
        table.row(vec![
            decision.at.map(|at| zone.near(now, at)).unwrap_or_default().into(),
            Text::styled(Style::Bold, decision.switch.as_str()),
            decision.from.as_str().into(),
            decision.to.as_str().into(),
            decision.who().into(),
            why.then(decision.reason.as_str()),
        ]);
    }
    table.render(edge)
}

#[cfg(test)]
mod tests {
    use super::super::wire::tests::{decisions, overview};
    use super::*;

    #[test]
    fn decisions_say_who_and_why_and_what_was_only_observed() {
        let lines = table(&decisions(), overview().now, &Zone::utc(), 120);
        insta::assert_snapshot!(lines.iter().map(|line| line.render(false)).collect::<Vec<_>>().join("\n"));
    }
}
