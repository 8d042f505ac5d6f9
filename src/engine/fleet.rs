//! The engine of a host of a fleet: where what the fleet asks goes.

use std::collections::{BTreeMap, BTreeSet};

use super::durable::Restored;
use super::event::{Command, Effects};
use crate::limits;
use crate::model::SwitchName;
use crate::switches::{Asked, Decision, Fleet, FleetSettings, HandOver, Refused, Settings, Shelf, Switches};
use crate::time::Timestamp;

/// The switches at a start: this host's, and the fleet's where there is one.
pub(super) fn restore(
    now: Timestamp,
    host: Option<FleetSettings>,
    settings: Settings,
    restored: &Restored,
    seed: u64,
    out: &mut Effects,
) -> (Switches, Option<Fleet>) {
    let Some(host) = host else {
        let mut switches = Switches::default();
        switches.store_has(now, &restored.switches);
        switches.remember_all(restored.decisions.iter().cloned());
        out.writes.extend(switches.configure(now, settings, &restored.entries));
        return (switches, None);
    };
    let mut switches = Switches::of_host();
    switches.remember_all(restored.decisions.iter().cloned());
    let mut fleet = Fleet::restore(now, host.clone(), &restored.entries, seed);
    drop(switches.configure(now, own_part(&settings), &restored.entries));
    fleet.configure(now, host, settings, &mut switches);
    (switches, Some(fleet))
}

pub(super) fn configure(
    now: Timestamp,
    fleet: &mut Fleet,
    own: &mut Switches,
    host: FleetSettings,
    settings: Settings,
) {
    drop(own.configure(now, own_part(&settings), &BTreeMap::new()));
    fleet.configure(now, host, settings, own);
}

/// Rollouts are led by the host that counts, for all.
fn own_part(settings: &Settings) -> Settings {
    Settings { rollouts: Vec::new(), ..settings.clone() }
}

/// Does what is due.
pub(super) fn tick(now: Timestamp, fleet: &mut Fleet, own: &mut Switches, out: &mut Effects) {
    let (mut writes, mut calls) = (Vec::new(), Vec::new());
    own.tick(now, &mut writes, &mut calls);
    if fleet.leads_calls(now) {
        out.calls.extend(calls);
    }
    asked(out, |asked| fleet.tick(now, own, asked));
}

/// Takes what the fleet asks into the effects.
pub(super) fn asked(out: &mut Effects, ask: impl FnOnce(&mut Asked)) {
    let mut asked = Asked::default();
    ask(&mut asked);
    out.writes.extend(asked.writes);
    out.votes.extend(asked.votes);
    out.presence = asked.presence.or(out.presence.take());
    out.stage = asked.stage.or(out.stage.take());
    out.shares = asked.shares.or(out.shares.take());
}

/// What people say to switches of the fleet; `None` for everything else.
pub(super) fn command(
    now: Timestamp,
    fleet: &mut Fleet,
    command: &Command,
    out: &mut Effects,
) -> Option<Result<(), Refused>> {
    let mut asked = Asked::default();
    let result = match command {
        Command::Pin(request) => fleet.pin(now, request.clone(), &mut asked),
        Command::Unpin { switch, by } => fleet.unpin(now, switch, by, &mut asked),
        Command::Rollout { switch, word, by } => fleet.say_to_rollout(now, switch, *word, by, &mut asked),
        _ => return None,
    };
    out.writes.extend(asked.writes);
    Some(result)
}

/// What goes to the journal, to the audit log, and to the host that is elected next.
pub(super) fn hand_over(fleet: &mut Fleet, own: &mut Switches, out: &mut Effects) {
    out.journal.extend(fleet.take_changes());
    out.audit.extend(fleet.take_audit());
    let mut states = own.take_scale_states();
    states.extend(fleet.take_handed_over());
    let Some(term) = fleet.term() else { return };
    let state = |(id, state)| HandOver { shelf: Shelf::Outbox, id, state: Some(state), term: term.clone() };
    out.hand_over.extend(states.into_iter().map(state));
}

/// The decisions of this host and of the fleet, oldest first.
pub(super) fn decisions(own: &Switches, fleet: Option<&Fleet>) -> Vec<Decision> {
    let mut decisions: Vec<Decision> = own.decisions().cloned().collect();
    if let Some(fleet) = fleet {
        let key = |decision: &Decision| {
            let Decision { at, switch, revision, scope, to, .. } = decision.clone();
            (at, switch, revision, scope, to)
        };
        let mut seen: BTreeSet<_> = decisions.iter().map(key).collect();
        decisions.extend(fleet.decisions().filter(|decision| seen.insert(key(decision))).cloned());
        decisions.sort_by_key(|decision| decision.at);
        decisions.drain(..decisions.len().saturating_sub(limits::DECISIONS_KEPT));
    }
    decisions
}

/// Why a switch is not where its rules want it.
pub(super) fn held_back(own: &Switches, fleet: Option<&Fleet>) -> BTreeMap<SwitchName, String> {
    let mut held: BTreeMap<SwitchName, String> =
        own.held_back().map(|(name, held)| (name.clone(), held.words())).collect();
    held.extend(fleet.map(|fleet| fleet.held_back(own)).unwrap_or_default());
    held
}
