//! What this host runs of the fleet's configuration, what it says of that, and, while it counts, how the stage goes on.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::super::votes::{ConfigRefused, RunsConfig};
use super::stage::{Stage, StageWrite, Staged};
use super::staging::{Seen, Watched, advance};
use super::state::{Asked, Fleet};
use crate::limits;
use crate::time::Timestamp;

/// The journal's key.
pub(super) const RUNS_KEY: &str = "fleet/config";
/// Alerts of the fleet itself speak of other hosts, or of the stage.
const OF_FLEET: &str = "BrownoutFleet";
/// A stage of which nothing was heard for so long was not taken.
const UNHEARD: Duration = Duration::from_secs(10);

/// This host's part of the fleet's configuration.
#[derive(Debug, Default)]
pub(super) struct Runs {
    pub staged: Staged,
    pub state: RunsConfig,
    /// What fired already when the host took what it runs.
    before: BTreeSet<String>,
    /// When a stage was given to the store that it has not answered.
    pending: Option<Timestamp>,
    watched: Watched,
}

#[derive(Serialize, Deserialize)]
struct Kept {
    revision: u64,
    before: BTreeSet<String>,
}

impl Runs {
    pub fn restore(memory: &BTreeMap<String, Value>) -> Runs {
        let kept = memory.get(RUNS_KEY).cloned().and_then(|value| serde_json::from_value::<Kept>(value).ok());
        let Some(Kept { revision, before }) = kept else { return Runs::default() };
        Runs { state: RunsConfig { revision, ..RunsConfig::default() }, before, ..Runs::default() }
    }

    pub fn clock_stepped(&mut self, by_millis: i64) {
        self.pending = self.pending.map(|at| at.shifted(by_millis));
        self.watched.clock_stepped(by_millis);
    }

    /// The patterns of the alerts that are looked at; none while nothing is on its way.
    fn patterns(&self) -> &[String] {
        self.staged.stage.candidate.as_ref().map_or(&[], |candidate| &candidate.alerts)
    }

    /// Takes the names of the alerts that fire here.
    fn fire(&mut self, firing: &BTreeSet<String>) {
        self.before.retain(|name| firing.contains(name));
        let runs_candidate = self.staged.stage.candidate.as_ref().is_some_and(|c| c.revision == self.state.revision);
        let looked_at = |name: &&String| self.patterns().iter().any(|pattern| matches(pattern, name));
        let new = firing.iter().filter(|name| runs_candidate && !self.before.contains(*name)).filter(looked_at);
        self.state.alerts = new.take(limits::FLEET_NAMES).cloned().collect();
    }
}

/// Whether a pattern names this alert. Those of the fleet itself are only named by their own beginning.
fn matches(pattern: &str, name: &str) -> bool {
    if name.starts_with(OF_FLEET) && !pattern.starts_with(OF_FLEET) {
        return false;
    }
    let mut parts = pattern.split('*');
    let Some(mut rest) = name.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.len() >= last.len() && rest.ends_with(last)
}

impl Fleet {
    /// The stage as the store has it.
    pub fn staged(&mut self, staged: &Staged) {
        // A store that lost its data counts its revisions anew: the last word counts.
        if *staged != self.runs.staged {
            self.runs.staged = staged.clone();
            self.runs.pending = None;
        }
    }

    /// What this host runs since now, and what it should run and does not take; with the alerts that fire here.
    pub fn runs_config(&mut self, revision: u64, refused: Option<ConfigRefused>, firing: BTreeSet<String>) {
        let runs = &mut self.runs;
        if runs.state.revision != revision {
            runs.before = firing;
            let kept = serde_json::to_value(Kept { revision, before: runs.before.clone() });
            self.changes.extend(kept.ok().map(|kept| (RUNS_KEY.to_owned(), kept)));
        }
        let refused = refused.map(|refused| {
            let end = refused.why.floor_char_boundary(limits::FLEET_CONFIG_WHY);
            ConfigRefused { revision: refused.revision, why: refused.why[..end].to_owned() }
        });
        runs.state = RunsConfig { revision, refused, alerts: BTreeSet::new() };
    }

    /// Whether it matters which alerts fire here.
    pub fn wants_alerts(&self) -> bool {
        self.runs.staged.stage.candidate.is_some() || !self.runs.state.alerts.is_empty()
    }

    /// The names of the alerts that fire here.
    pub fn alerts_fire(&mut self, firing: &BTreeSet<String>) {
        self.runs.fire(firing);
    }

    /// The stage goes on, or back: decided by the host that counts.
    pub(super) fn lead_stage(&mut self, now: Timestamp, frozen: bool, out: &mut Asked) {
        if self.runs.pending.is_some_and(|at| now.since(at) < UNHEARD) {
            return;
        }
        let seen = self.known.hosts().map(|(name, seen)| Seen {
            name,
            runs: seen.member.config.as_ref(),
            gone_since: seen.gone_since,
        });
        let hosts: Vec<Seen<'_>> = seen.collect();
        let Staged { revision, stage } = &self.runs.staged;
        let next = advance(stage, &mut self.runs.watched, now, &self.settings.host, &hosts, frozen);
        if let Some(stage) = next {
            self.runs.pending = Some(now);
            out.stage = Some(StageWrite { expected: *revision, stage, bundle: None, term: self.term.clone() });
        }
    }

    /// The stage as this host knows it.
    pub fn stage(&self) -> &Stage {
        &self.runs.staged.stage
    }

    /// What this host runs.
    pub fn running(&self) -> &RunsConfig {
        &self.runs.state
    }
}

#[cfg(test)]
mod tests {
    use super::super::stage::Candidate;
    use super::*;

    #[test]
    fn a_pattern_names_alerts_and_those_of_the_fleet_only_by_their_own_beginning() {
        for (pattern, name, expected) in [
            ("Brownout*", "BrownoutRuleFails", true),
            ("Brownout*", "BrownoutFleetMemberLost", false),
            ("BrownoutFleet*", "BrownoutFleetMemberLost", true),
            ("*", "HighLatency", true),
            ("*Latency", "HighLatency", true),
            ("H*L*cy", "HighLatency", true),
            ("H*X*cy", "HighLatency", false),
            ("High", "HighLatency", false),
            ("HighLatency", "HighLatency", true),
            ("aa*aa", "aaa", false),
            ("", "x", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn only_what_began_to_fire_with_the_candidate_is_told() {
        let candidate = Candidate {
            revision: 3,
            by: String::new(),
            at: Timestamp::ZERO,
            steps: vec![0.1],
            bake_seconds: 60,
            alerts: vec!["Brownout*".into()],
            step: 0,
            upto: Some(u32::MAX),
            since: Some(Timestamp::ZERO),
            baking: None,
        };
        let stage = Stage { last: 3, candidate: Some(candidate), ..Stage::default() };
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
        let mut runs = Runs { staged: Staged { revision: 1, stage }, ..Runs::default() };
        runs.fire(&names(&["BrownoutFrozen"]));
        assert_eq!(runs.state.alerts, names(&[]), "it does not run the candidate");
        runs.state.revision = 3;
        runs.before = names(&["BrownoutFrozen"]);
        runs.fire(&names(&["BrownoutFrozen", "BrownoutRuleFails", "HighLatency"]));
        assert_eq!(runs.state.alerts, names(&["BrownoutRuleFails"]));
        runs.fire(&names(&[]));
        runs.fire(&names(&["BrownoutFrozen"]));
        assert_eq!(runs.state.alerts, names(&["BrownoutFrozen"]), "it ended in between");
    }
}
