//! All groups of a configuration: when to evaluate what, and what must survive a restart or a reload.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use super::active::{Active, Held};
use super::durable::{self, Changes};
use super::evaluate::Evaluate;
use super::group::Group;
use super::id::RuleId;
use super::news::News;
use super::outcome::{AlertState, Outcome};
use super::promql_evaluate::PromQl;
use super::rule::{Body, Rule, Scene, Upstream};
use super::spec::{GroupSpec, RuleSpec};
use super::urgent::Index;
use crate::limits;
use crate::model::{Labels, Matcher, NAME, stale_nan};
use crate::series::{Need, Store, View};
use crate::time::Timestamp;

/// What the rules need to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// In the order of the files.
    pub groups: Vec<GroupSpec>,
    /// For groups that have no interval of their own.
    pub evaluation_interval: Duration,
    /// For groups that have no offset of their own.
    pub query_offset: Duration,
    pub external_labels: Labels,
    /// Our own page, without a slash at the end.
    pub external_url: String,
    /// How often a firing or resolved alert is told again.
    pub resend_delay: Duration,
    /// A pause longer than this ends pending alerts.
    pub outage_tolerance: Duration,
    /// How old the newest point of an instant selector may be.
    pub lookback: Duration,
    /// Every group's slots are the multiples of its interval, not spread over it: for tests, whose times are round.
    pub aligned: bool,
}

impl Default for Settings {
    /// Prometheus' defaults, but for the interval: 1 s.
    fn default() -> Settings {
        Settings {
            groups: Vec::new(),
            evaluation_interval: Duration::from_secs(1),
            query_offset: Duration::ZERO,
            external_labels: Labels::empty(),
            external_url: String::new(),
            resend_delay: Duration::from_secs(60),
            outage_tolerance: Duration::from_secs(3_600),
            lookback: Duration::from_secs(300),
            aligned: false,
        }
    }
}

/// Gives time that only grows, to measure how long something took. Results and decisions never depend on it.
pub type Meter = Arc<dyn Fn() -> Duration + Send + Sync>;

/// The settings without the groups: what rules share.
pub(crate) struct Shared {
    /// How many rules there are.
    pub rules: usize,
    pub evaluation_interval: Duration,
    pub query_offset: Duration,
    pub external_labels: Labels,
    pub external_url: String,
    pub resend_delay: Duration,
    pub outage_tolerance: Duration,
    pub lookback: Duration,
    pub aligned: bool,
}

impl Shared {
    fn split(settings: Settings) -> (Shared, Vec<GroupSpec>) {
        let Settings { groups, evaluation_interval, query_offset, external_labels, external_url, .. } = settings;
        let Settings { resend_delay, outage_tolerance, lookback, aligned, .. } = settings;
        let external_url = external_url.trim_end_matches('/').to_owned();
        let shared = Shared {
            rules: groups.iter().map(|group| group.rules.len()).sum(),
            evaluation_interval,
            query_offset,
            external_labels,
            external_url,
            resend_delay,
            outage_tolerance,
            lookback,
            aligned,
        };
        (shared, groups)
    }
}

/// How often what happened, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Evaluations of single rules.
    pub evaluations: u64,
    pub failures: u64,
    /// Slots that were skipped because the one before them came late.
    pub missed: u64,
    /// Samples that the store did not take.
    pub refused: u64,
    /// Evaluations of single rules out of turn.
    pub urgent: u64,
    /// Alerts whose inputs went away, or whose target went down, under them.
    pub unknown: u64,
}

/// All rules with their state.
///
/// # No data
/// The condition of an action rule whose result is empty is false only when its inputs were there to say so. An input is
/// there when some series that its selector matches has, within the selector's window (the lookback for an instant
/// selector), a newest point that is no staleness marker, and below `rate` and its like at least two points. Any input
/// that is not there makes an empty result "no data", except for selectors of `ALERTS` and `ALERTS_FOR_STATE`, selectors
/// within `absent()` and `absent_over_time()`, the right side of `unless` and of `or`, and sides with a `fill` value.
///
/// # Urgent batches
/// [`Rules::triggered`] evaluates what reads the changed series at once. Times of evaluation of one rule strictly
/// increase: a rule that was just evaluated, or evaluated less than [`limits::URGENT_GAP`] ago out of turn, waits that
/// long and is evaluated then, once for everything that came in the meantime.
pub struct Rules {
    shared: Shared,
    evaluator: Box<dyn Evaluate>,
    groups: Vec<Group>,
    /// Group and place of each rule, by its number in the index.
    places: Vec<(usize, usize)>,
    index: Index,
    urgent: Urgent,
    /// Series of rules that are no more, and when to mark them stale.
    orphans: Vec<(Timestamp, Vec<Labels>)>,
    changes: Changes,
    /// Rules with changes that are not in `changes` yet.
    changed: Vec<(usize, usize)>,
    counters: Counters,
    meter: Meter,
}

/// What waits for an evaluation out of turn.
#[derive(Default)]
struct Urgent {
    news: News,
    /// Ranks in the index.
    waiting: BTreeSet<usize>,
    at: Option<Timestamp>,
    last: Option<Timestamp>,
}

impl Rules {
    /// Starts with the first slots after `now`.
    pub fn new(settings: Settings, now: Timestamp) -> Rules {
        Rules::with_evaluator(settings, Box::new(PromQl::default()), now)
    }

    pub(crate) fn with_evaluator(settings: Settings, mut evaluator: Box<dyn Evaluate>, now: Timestamp) -> Rules {
        let (shared, groups) = Shared::split(settings);
        evaluator.configure(shared.lookback, shared.evaluation_interval);
        let groups = groups.into_iter().map(|group| Group::new(group, &shared, now)).collect();
        let mut rules = Rules {
            shared,
            evaluator,
            groups,
            places: Vec::new(),
            index: Index::default(),
            urgent: Urgent::default(),
            orphans: Vec::new(),
            changes: Changes::new(),
            changed: Vec::new(),
            counters: Counters::default(),
            meter: Arc::new(|| Duration::ZERO),
        };
        rules.build_index();
        rules
    }

    /// Measures evaluations from now on, for the status alone.
    pub fn measure_with(&mut self, meter: Meter) {
        self.meter = meter;
    }

    fn build_index(&mut self) {
        let sizes = self.groups.iter().enumerate();
        self.places = sizes.flat_map(|(group, g)| (0..g.rules.len()).map(move |rule| (group, rule))).collect();
        let all: Vec<&Rule> = self.groups.iter().flat_map(|group| &group.rules).collect();
        self.index = Index::of(&all);
        self.urgent.waiting.clear();
        self.urgent.at = None;
    }

    /// Takes over new settings. Groups keep their state by file and name, rules by their [`RuleId`]: name and labels, not
    /// the expression. Series of rules that are no more are marked stale at the group's next slot; those of a group that
    /// is no more after two of its intervals, unless another rule writes them by then.
    pub fn reload(&mut self, settings: Settings, now: Timestamp) {
        self.take_changes_of_rules();
        let waiting = self.waiting();
        let (shared, specs) = Shared::split(settings);
        self.evaluator.configure(shared.lookback, shared.evaluation_interval);
        self.shared = shared;
        let groups = std::mem::take(&mut self.groups);
        let mut before: HashMap<(Arc<str>, Arc<str>), Group> =
            groups.into_iter().map(|group| ((Arc::clone(&group.file), Arc::clone(&group.name)), group)).collect();
        for spec in specs {
            let mut group = Group::new(spec, &self.shared, now);
            if let Some(old) = before.remove(&(Arc::clone(&group.file), Arc::clone(&group.name))) {
                let vanished = group.inherit(old);
                let due = group.next;
                vanished.into_iter().for_each(|rule| self.bury(&rule, due));
            }
            self.groups.push(group);
        }
        let mut removed: Vec<Group> = before.into_values().collect();
        removed.sort_by(|a, b| (&a.file, &a.name).cmp(&(&b.file, &b.name)));
        for group in removed {
            group.rules.iter().for_each(|rule| self.bury(rule, now + 2 * group.interval));
        }
        self.build_index();
        self.wait_again(&waiting, now);
    }

    /// The rules that wait for an evaluation out of turn.
    fn waiting(&self) -> HashSet<RuleId> {
        let numbers = self.urgent.waiting.iter().filter_map(|rank| self.index.number(*rank));
        numbers.map(|number| self.rule(number).id.clone()).collect()
    }

    fn wait_again(&mut self, waiting: &HashSet<RuleId>, now: Timestamp) {
        let numbers = 0..self.places.len();
        let ranks: BTreeSet<usize> =
            numbers.filter(|n| waiting.contains(&self.rule(*n).id)).map(|n| self.index.rank(n)).collect();
        self.urgent.at = (!ranks.is_empty()).then_some(now);
        self.urgent.waiting = ranks;
    }

    fn rule(&self, number: usize) -> &Rule {
        let (group, rule) = self.places[number];
        &self.groups[group].rules[rule]
    }

    fn bury(&mut self, rule: &Rule, due: Timestamp) {
        if let Body::Alert(alerts) = &rule.body {
            durable::forget(&rule.id, alerts, &mut self.changes);
        }
        let series: Vec<Labels> = rule.outputs().cloned().collect();
        if !series.is_empty() {
            self.orphans.push((due, series));
        }
    }

    /// When [`Rules::evaluate_due`] has something to do next.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let slots = self.groups.iter().filter(|group| !group.rules.is_empty()).map(|group| group.next);
        let orphans = self.orphans.iter().map(|(due, _)| *due);
        slots.chain(orphans).chain(self.urgent.at).min()
    }

    /// Evaluates every group whose slot has come.
    pub fn evaluate_due(&mut self, now: Timestamp, store: &mut Store, out: &mut Vec<Outcome>) {
        for group in 0..self.groups.len() {
            let missed = self.groups[group].missed;
            if let Some(at) = self.groups[group].due(now) {
                self.counters.missed += self.groups[group].missed - missed;
                self.groups[group].last_evaluation = Some(at);
                let began = (self.meter)();
                for rule in 0..self.groups[group].rules.len() {
                    self.evaluate_rule((group, rule), at, false, store, out);
                }
                self.groups[group].took = (self.meter)().saturating_sub(began);
            }
        }
        if self.urgent.at.is_some_and(|due| due <= now) {
            self.evaluate_urgent(now, store, out);
        }
        self.mark_orphans(now, store);
    }

    /// Takes note of series that were told: evaluates at once every rule that reads one of them, and every rule that reads
    /// what those rules write. A value that is the same once more is left to the turn of a rule that has one at least each
    /// [`limits::SOON`].
    pub fn triggered(&mut self, now: Timestamp, changed: &[(Labels, f64)], store: &mut Store, out: &mut Vec<Outcome>) {
        let (places, groups) = (&self.places, &self.groups);
        let rule = |number: usize| {
            let (group, rule) = places[number];
            &groups[group].rules[rule]
        };
        let news: Vec<bool> = changed.iter().map(|(labels, value)| self.urgent.news.take(labels, *value)).collect();
        // What is only said once more matters to a rule whose next turn is far: its `for` goes on.
        let wants = |sample: usize, number: usize| news[sample] || groups[places[number].0].interval > limits::SOON;
        self.index.affected(&rule, changed, &wants, &mut self.urgent.waiting);
        if self.urgent.waiting.is_empty() {
            return;
        }
        match self.urgent.last.map(|last| last + limits::URGENT_GAP).filter(|due| *due > now) {
            Some(due) => self.urgent.at = Some(due),
            None => self.evaluate_urgent(now, store, out),
        }
    }

    fn evaluate_urgent(&mut self, now: Timestamp, store: &mut Store, out: &mut Vec<Outcome>) {
        self.urgent.at = None;
        self.urgent.last = Some(now);
        for rank in std::mem::take(&mut self.urgent.waiting) {
            let Some(place) = self.index.number(rank).map(|number| self.places[number]) else { continue };
            if self.evaluate_rule(place, now, true, store, out) {
                self.counters.urgent += 1;
            } else {
                self.urgent.waiting.insert(rank);
                self.urgent.at = Some(now + limits::URGENT_GAP);
            }
        }
    }

    /// Evaluates one rule; false when it was evaluated at this instant or later already.
    fn evaluate_rule(
        &mut self,
        place: (usize, usize),
        at: Timestamp,
        urgent: bool,
        store: &mut Store,
        out: &mut Vec<Outcome>,
    ) -> bool {
        let group = &mut self.groups[place.0];
        let scene = Scene {
            evaluator: &*self.evaluator,
            shared: &self.shared,
            meter: &self.meter,
            urgent,
            interval: group.interval,
            query_offset: group.query_offset,
            limit: group.limit,
        };
        let rule = &mut group.rules[place.1];
        if rule.last_at.is_some_and(|last| last >= at) {
            return false;
        }
        rule.evaluate(at, &scene, store, &mut self.counters, out);
        if matches!(&rule.body, Body::Alert(alerts) if alerts.has_changes()) {
            self.changed.push(place);
        }
        true
    }

    /// Evaluates every group at this instant, whatever its slots: for unit tests of rules.
    pub(crate) fn evaluate_all(&mut self, at: Timestamp, store: &mut Store) {
        let mut out = Vec::new();
        for place in self.places.clone() {
            self.evaluate_rule(place, at, false, store, &mut out);
            out.clear();
        }
    }

    fn mark_orphans(&mut self, now: Timestamp, store: &mut Store) {
        if self.orphans.iter().all(|(due, _)| *due > now) {
            return;
        }
        let (due, later): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.orphans).into_iter().partition(|(due, _)| *due <= now);
        self.orphans = later;
        for labels in due.into_iter().flat_map(|(_, series)| series) {
            if !self.groups.iter().any(|group| group.writes(&labels)) {
                store.append(&labels, now, stale_nan());
            }
        }
    }

    /// The system's clock was set by so many milliseconds, to `now`. Slots go on in the new time; what is measured from a
    /// moment before (how long an alert is pending, is kept firing, was told) moves along, so that nothing takes longer or
    /// shorter than it should.
    pub fn clock_stepped(&mut self, now: Timestamp, by_millis: i64) {
        for group in &mut self.groups {
            group.clock_stepped(now, by_millis);
        }
        self.urgent.last = self.urgent.last.map(|at| at.shifted(by_millis));
        self.urgent.at = self.urgent.at.map(|at| at.shifted(by_millis));
        self.orphans.iter_mut().for_each(|(due, _)| *due = due.shifted(by_millis));
    }

    /// What must survive a restart and changed since the last call: by key; without a value the key is to be forgotten.
    pub fn take_changes(&mut self) -> Vec<(String, Option<serde_json::Value>)> {
        self.take_changes_of_rules();
        std::mem::take(&mut self.changes).into_iter().collect()
    }

    fn take_changes_of_rules(&mut self) {
        for (group, rule) in self.changed.drain(..) {
            let rule = &mut self.groups[group].rules[rule];
            if let Body::Alert(alerts) = &mut rule.body {
                durable::collect_changes(&rule.id, alerts, &mut self.changes);
            }
        }
    }

    /// Takes back what [`Rules::take_changes`] gave before a restart. `last_alive`: the last time that the process is
    /// known to have run.
    ///
    /// The times of an alert are exactly as they were: a pending timer does not start again. After a pause longer than
    /// the outage tolerance pending alerts are dropped; firing ones stay. An alert that is not in its rule's result is held
    /// (neither resolved nor promoted) until the rule has returned it once; or until every series that concerns it and was
    /// alive before the restart has a point (a staleness marker too) from after it, with as much before it as a range
    /// asks for, and the recording rules in between have had an interval to follow; or, where an input does not come
    /// back, until `now` + the longest range in the rule's expression (at most the outage tolerance) or 2 intervals of
    /// its group, whichever is longer, + [`limits::RESTORE_GRACE`]. A resolve that was not told is told at the rule's
    /// next evaluation, however long ago it was. A condition of an action rule that is empty is
    /// [`Truth::NotYet`](super::Truth::NotYet) as long as an alert would be held.
    pub fn restore(
        &mut self,
        items: impl Iterator<Item = (String, serde_json::Value)>,
        last_alive: Timestamp,
        now: Timestamp,
    ) {
        let numbers: HashMap<RuleId, (usize, usize)> =
            self.places.iter().map(|place| (self.groups[place.0].rules[place.1].id.clone(), *place)).collect();
        let forget_pending = now.since(last_alive) > self.shared.outage_tolerance;
        let mut items = items.peekable();
        if items.peek().is_some() {
            self.hold_actions(now);
        }
        for (key, value) in items.filter(|(key, _)| key.starts_with(durable::KEY_PREFIX)) {
            let restored = durable::read(value).and_then(|(id, alert)| Some((*numbers.get(&id)?, alert)));
            match restored {
                Some((place, alert)) if !(forget_pending && alert.state == AlertState::Pending) => {
                    self.restore_one(place, alert, now);
                }
                _ => drop(self.changes.insert(key, None)),
            }
        }
    }

    fn restore_one(&mut self, place: (usize, usize), mut alert: Active, now: Timestamp) {
        let number = self.places.iter().position(|known| *known == place);
        let upstream = number.and_then(|number| self.upstream(number));
        alert.held = Some(self.held(place, now));
        let rule = &mut self.groups[place.0].rules[place.1];
        if let Body::Alert(alerts) = &mut rule.body {
            alerts.active.insert(alert.labels.clone(), alert);
            rule.upstream = upstream;
        }
    }

    /// What a condition of an action rule does not find says nothing until its inputs have been heard of, as with alerts.
    fn hold_actions(&mut self, now: Timestamp) {
        for number in 0..self.places.len() {
            let (group, rule) = self.places[number];
            if !matches!(self.groups[group].rules[rule].body, Body::Action(_)) {
                continue;
            }
            let (held, upstream) = (self.held((group, rule), now), self.upstream(number));
            let rule = &mut self.groups[group].rules[rule];
            if let Body::Action(action) = &mut rule.body {
                action.hold(held);
                rule.upstream = upstream;
            }
        }
    }

    /// How long after a restart a rule waits for its inputs.
    fn held(&self, (group, rule): (usize, usize), now: Timestamp) -> Held {
        let group = &self.groups[group];
        let asked = &group.rules[rule].asked;
        let range = asked.iter().map(|asked| asked.inputs.longest_range()).max().unwrap_or_default();
        let wait = range.min(self.shared.outage_tolerance).max(2 * group.interval) + limits::RESTORE_GRACE;
        Held { since: now, until: now + wait, fresh_at: None }
    }

    /// Takes the series over by which alerts were shown before a restart, so that those of alerts that are no more are
    /// marked stale at the next evaluation: the samples are older than what the journal says. What several rules could
    /// have written stays as it is.
    pub fn adopt(&mut self, view: &View) {
        let mut writers: HashMap<Labels, Vec<(usize, usize)>> = HashMap::new();
        for place in &self.places {
            let RuleSpec::Alert(spec) = &self.groups[place.0].rules[place.1].spec else { continue };
            let plain: Vec<(&String, &str)> = spec
                .labels
                .iter()
                .filter(|(_, text)| !text.source.contains("{{"))
                .map(|(name, text)| (name, &*text.source))
                .collect();
            for (shown, alert) in ["ALERTS", "ALERTS_FOR_STATE"].iter().flat_map(|shown| {
                [spec.alert.value.clone(), format!("{}Unknown", spec.alert.value)].map(|alert| (*shown, alert))
            }) {
                let matchers = [Matcher::equal(NAME, shown), Matcher::equal("alertname", &alert)];
                for labels in view.resolve(&matchers).into_iter().filter_map(|series| view.labels(series)) {
                    if plain.iter().all(|(name, value)| labels.value(name) == *value) {
                        writers.entry(labels.clone()).or_default().push(*place);
                    }
                }
            }
        }
        for (labels, places) in writers {
            if let [(group, rule)] = places[..] {
                self.groups[group].rules[rule].adopt(labels);
            }
        }
    }

    /// What the recording rules read that a rule depends on.
    fn upstream(&self, number: usize) -> Option<Box<Upstream>> {
        let mut upstream = Upstream { inputs: Vec::new(), settle: Duration::ZERO };
        for writer in self.index.writers(number) {
            let rule = self.rule(writer);
            if matches!(rule.body, Body::Record(_)) {
                upstream.inputs.extend(rule.asked.iter().flat_map(|asked| asked.inputs.0.iter().cloned()));
                upstream.settle = upstream.settle.max(self.groups[self.places[writer].0].interval);
            }
        }
        (!upstream.inputs.is_empty()).then(|| Box::new(upstream))
    }

    /// What the store must keep for these rules.
    pub fn needs(&self) -> Vec<Need> {
        let mut needs = Vec::new();
        for group in &self.groups {
            let margin = group.query_offset + group.interval;
            let asked = group.rules.iter().flat_map(|rule| &rule.asked);
            needs.extend(asked.flat_map(|asked| asked.inputs.needs(margin)));
        }
        needs
    }

    /// How often what happened, since the start.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    pub(crate) fn groups(&self) -> &[Group] {
        &self.groups
    }
}
