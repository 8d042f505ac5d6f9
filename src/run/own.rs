//! Our own metrics as a source like any other, so that rules can read them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use crate::alerts::OutboxCounts;
use crate::engine::Engine;
use crate::limits;
use crate::model::{Batch, Completeness, Labels, LabelsMap, Source};
use crate::rules::Counters;
use crate::series::Refusal;
use crate::switches::{Decision, Fleet};
use crate::telemetry::{Metric, Telemetry};
use crate::time::Timestamp;

/// The job of our own series.
pub(super) const JOB: &str = "brownout";

/// Turns the table of our own metrics into batches.
#[derive(Debug)]
pub(super) struct OwnMetrics {
    instance: String,
    /// The label sets with `job` and `instance`, so that none is built twice.
    named: LabelsMap<Labels>,
    told_meta: bool,
    counted: Counters,
    decided: usize,
    outbox: OutboxCounts,
    cpu_seconds: f64,
    /// What the kernel says of this process: `stat` and `statm`, kept open as they are read each second.
    process: (Option<File>, Option<File>),
    /// Who had samples refused so far: only so many are named.
    refused: BTreeSet<Source>,
    /// Hosts of the fleet of which something is told.
    members: BTreeSet<(Metric, String)>,
    /// The revision of the fleet's configuration that was told to be rolled back.
    rolled_back: Option<u64>,
}

impl OwnMetrics {
    pub(super) fn new(instance: String) -> OwnMetrics {
        OwnMetrics {
            instance,
            named: LabelsMap::default(),
            told_meta: false,
            counted: Counters::default(),
            decided: 0,
            outbox: OutboxCounts::default(),
            cpu_seconds: 0.0,
            process: (File::open("/proc/self/stat").ok(), File::open("/proc/self/statm").ok()),
            refused: BTreeSet::new(),
            members: BTreeSet::new(),
            rolled_back: None,
        }
    }

    /// Counts samples that the store of series refused, under the name of who gave them.
    pub(super) fn refused(&mut self, telemetry: &Telemetry, source: &Source, why: Refusal, count: u64) {
        if self.refused.len() < limits::REFUSED_SOURCES {
            self.refused.insert(source.clone());
        }
        let name = if self.refused.contains(source) { source.as_str() } else { "_other" };
        telemetry.add(Metric::SamplesRefused, &[("reason", refusal_word(why)), ("source", name)], count as f64);
    }

    /// Brings the engine's counters into the table and the table into a batch.
    pub(super) fn batch(&mut self, now: Timestamp, engine: &Engine, telemetry: &Telemetry) -> Batch {
        self.count(engine, telemetry);
        self.count_fleet(now, engine, telemetry);
        let mut samples: Vec<(Labels, f64)> = Vec::with_capacity(self.named.len() + 8);
        for (labels, value) in telemetry.observe() {
            let instance = &self.instance;
            let named = self
                .named
                .entry(labels)
                .or_insert_with_key(|labels| labels.with("job", JOB).with("instance", instance));
            samples.push((named.clone(), value));
        }
        let up = Labels::from_pairs([("__name__", "up"), ("job", JOB), ("instance", &self.instance)]);
        samples.push((up, 1.0));
        let meta = if std::mem::replace(&mut self.told_meta, true) { Vec::new() } else { Telemetry::meta() };
        Batch {
            source: Source::new("own", JOB),
            at: now,
            samples,
            timed: Vec::new(),
            completeness: Completeness::Whole,
            meta,
            urgent: false,
        }
    }

    fn count(&mut self, engine: &Engine, telemetry: &Telemetry) {
        let step = |metric, after: u64, before: u64| telemetry.add(metric, &[], (after - before) as f64);
        let (after, before) = (engine.rules().counters(), self.counted);
        step(Metric::RuleEvaluations, after.evaluations, before.evaluations);
        step(Metric::RuleEvaluationFailures, after.failures, before.failures);
        step(Metric::RuleGroupIterationsMissed, after.missed, before.missed);
        step(Metric::AlertsUnknown, after.unknown, before.unknown);
        if after.refused > before.refused {
            let labels = [("reason", "rule"), ("source", "rules")];
            telemetry.add(Metric::SamplesRefused, &labels, (after.refused - before.refused) as f64);
        }
        self.counted = after;
        telemetry.set(Metric::AlertsHeldUnknown, &[], engine.rules().unknown_alerts() as f64);
        telemetry.set(Metric::RuleFindings, &[], engine.rules().findings_count() as f64);
        telemetry.set(Metric::SeriesCount, &[], engine.series_count() as f64);
        telemetry.set(Metric::NotificationsPending, &[], engine.alerts().outbox_len() as f64);
        for state in [crate::rules::AlertState::Pending, crate::rules::AlertState::Firing] {
            telemetry.set(Metric::AlertsFiring, &[("state", state.as_str())], engine.rules().alerts_in(state) as f64);
        }
        let (after, before) = (engine.alerts().outbox_counts(), self.outbox);
        step(Metric::NotificationsDropped, after.repeats_dropped, before.repeats_dropped);
        step(Metric::NotificationsHeldBack, after.held_back, before.held_back);
        step(Metric::NotificationsMerged, after.replaced, before.replaced);
        self.outbox = after;
        self.count_process(telemetry);
        self.count_switches(engine, telemetry);
    }

    /// What the fleet's hosts do. The host that counts speaks of the others, so that an alert about one is raised once.
    fn count_fleet(&mut self, now: Timestamp, engine: &Engine, telemetry: &Telemetry) {
        let Some(fleet) = engine.fleet() else { return };
        let counting = fleet.counts(now);
        telemetry.set(Metric::FleetMembers, &[], fleet.members() as f64);
        telemetry.set(Metric::FleetCounting, &[], f64::from(u8::from(counting)));
        let mut told = BTreeMap::new();
        let (mut wrong, own) = fleet.wrong_clocks();
        if !counting {
            wrong.clear();
        }
        wrong.extend(own.map(|ahead| (fleet.host().to_owned(), ahead)));
        for (member, ahead) in wrong {
            told.insert((Metric::FleetClockAhead, member), ahead as f64 / 1000.0);
        }
        if counting {
            for member in fleet.lost(now) {
                told.insert((Metric::FleetMemberUp, member.to_owned()), 0.0);
            }
            for (rule, switch, votes) in fleet.votes(now) {
                telemetry.set(Metric::FleetVotes, &[("rule", &rule), ("switch", &switch)], votes as f64);
            }
        }
        self.count_config(counting, fleet, telemetry);
        for (metric, member) in std::mem::take(&mut self.members) {
            if !told.contains_key(&(metric, member.clone())) {
                telemetry.forget(metric, "member", &member);
            }
        }
        for ((metric, member), value) in told {
            telemetry.set(metric, &[("member", &member)], value);
            self.members.insert((metric, member));
        }
    }

    /// The fleet's configuration, and the limits that are shared out.
    fn count_config(&mut self, counting: bool, fleet: &Fleet, telemetry: &Telemetry) {
        let (stage, running) = (fleet.stage(), fleet.running());
        telemetry.set(Metric::FleetConfigRevision, &[], running.revision as f64);
        telemetry.set(Metric::FleetConfigRefused, &[], f64::from(u8::from(running.refused.is_some())));
        let candidate = stage.candidate.as_ref().map_or(0, |candidate| candidate.revision);
        telemetry.set(Metric::FleetConfigCandidate, &[], candidate as f64);
        let rolled_back = stage.locked.as_ref().filter(|_| counting).map(|locked| locked.revision);
        if self.rolled_back != rolled_back {
            let label = |revision: Option<u64>| revision.map(|revision| revision.to_string()).unwrap_or_default();
            telemetry.forget(Metric::FleetConfigRolledBack, "revision", &label(self.rolled_back));
            if rolled_back.is_some() {
                telemetry.set(Metric::FleetConfigRolledBack, &[("revision", &label(rolled_back))], 1.0);
            }
            self.rolled_back = rolled_back;
        }
        for (switch, share, demand) in fleet.limit_shares() {
            telemetry.set(Metric::FleetLimitShare, &[("switch", switch)], share);
            telemetry.set(Metric::FleetLimitDemand, &[("switch", switch)], demand);
        }
    }

    /// What this process costs, from `/proc/self`; nothing where there is none.
    fn count_process(&mut self, telemetry: &Telemetry) {
        let (stat, statm) = &self.process;
        if let Some(seconds) = cpu_seconds(&read(stat), rustix::param::clock_ticks_per_second()) {
            telemetry.add(Metric::ProcessCpuSeconds, &[], (seconds - self.cpu_seconds).max(0.0));
            self.cpu_seconds = seconds;
        }
        let pages = read(statm).split(' ').nth(1).and_then(|pages| pages.parse::<f64>().ok());
        if let Some(pages) = pages {
            telemetry.set(Metric::ProcessResidentBytes, &[], pages * rustix::param::page_size() as f64);
        }
    }

    fn count_switches(&mut self, engine: &Engine, telemetry: &Telemetry) {
        let switches = engine.switches();
        telemetry.set(Metric::Frozen, &[], f64::from(u8::from(switches.frozen().is_some())));
        for (declaration, (name, record)) in switches.declarations().zip(switches.records()) {
            // What applications are told, which in a fleet is more than this host's part.
            let record = engine.fleet().and_then(|fleet| fleet.told().switches.get(name)).unwrap_or(record);
            let name = name.as_str();
            for level in &declaration.ladder {
                let here = f64::from(u8::from(*level == record.level));
                telemetry.set(Metric::SwitchLevel, &[("switch", name), ("level", level)], here);
            }
            let value = declaration.value(Some(record)).number();
            telemetry.set(Metric::SwitchValue, &[("switch", name)], value);
            telemetry.set(Metric::SwitchPinned, &[("switch", name)], f64::from(u8::from(record.pin.is_some())));
            let held = switches.held_back().any(|(held, _)| held.as_str() == name);
            telemetry.set(Metric::SwitchHeldBack, &[("switch", name)], f64::from(u8::from(held)));
            let blind = switches.blind_rules(name) > 0;
            telemetry.set(Metric::RuleNoData, &[("switch", name)], f64::from(u8::from(blind)));
        }
        for dial in switches.dials() {
            let (Some(view), Some((measure, set_point))) = (dial.view(), dial.steers()) else { continue };
            let labels = [("rule", dial.rule().title.as_str()), ("switch", dial.rule().switch.as_str())];
            telemetry.set(Metric::ControlMeasure, &labels, measure.unwrap_or(f64::NAN));
            telemetry.set(Metric::ControlSetPoint, &labels, set_point);
            telemetry.set(Metric::ControlFits, &labels, view.fits.unwrap_or(f64::NAN));
            telemetry.set(Metric::ControlRate, &labels, view.rate);
        }
        let total = switches.decided();
        let new = total.saturating_sub(self.decided as u64) as usize;
        for Decision { switch, mode, .. } in switches.decisions().rev().take(new) {
            telemetry.count(Metric::SwitchDecisions, &[("switch", switch), ("mode", mode.as_str())]);
        }
        self.decided = total as usize;
    }
}

/// The first lines of a small file, once more from its beginning.
fn read(file: &Option<File>) -> String {
    let mut buffer = [0; 1_024];
    let bytes = file.as_ref().and_then(|file| file.read_at(&mut buffer, 0).ok()).unwrap_or_default();
    String::from_utf8_lossy(&buffer[..bytes]).into_owned()
}

/// User and system time out of `/proc/<pid>/stat`: the 14th and 15th field, counted behind the command's name.
fn cpu_seconds(stat: &str, ticks_per_second: u64) -> Option<f64> {
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ').skip(11);
    let mut ticks = || fields.next()?.parse::<f64>().ok();
    Some((ticks()? + ticks()?) / ticks_per_second as f64)
}

/// The word for a refusal in `brownout_samples_refused_total`.
fn refusal_word(why: Refusal) -> &'static str {
    match why {
        Refusal::OutOfOrder => "out_of_order",
        Refusal::TooManySeries => "too_many_series",
        Refusal::TooManySeriesOfSource => "too_many_series_of_source",
        Refusal::LabelsTooLong => "labels_too_long",
    }
}

/// The parts of our own state that never change, told once.
pub(super) fn tell_build(telemetry: &Telemetry) {
    let version: Arc<str> = env!("CARGO_PKG_VERSION").into();
    telemetry.set(Metric::BuildInfo, &[("version", &version)], 1.0);
    for metric in [Metric::StoreWriteFailures, Metric::JournalWriteFailures, Metric::HttpRefused, Metric::ClockSteps] {
        telemetry.add(metric, &[], 0.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refused_samples_are_counted_under_the_name_of_their_source() {
        let (mut own, telemetry) = (OwnMetrics::new("here".into()), Telemetry::new());
        let web = Source::new("scrape", "web");
        own.refused(&telemetry, &web, Refusal::TooManySeriesOfSource, 3);
        for number in 0..limits::REFUSED_SOURCES {
            own.refused(&telemetry, &Source::new("log", &number.to_string()), Refusal::TooManySeries, 1);
        }
        own.refused(&telemetry, &web, Refusal::TooManySeriesOfSource, 4);
        let of = |reason: &str, source: &str| {
            telemetry.get(Metric::SamplesRefused, &[("reason", reason), ("source", source)])
        };
        assert_eq!(of("too_many_series_of_source", "scrape/web"), Some(7.0));
        assert_eq!(of("too_many_series", "log/0"), Some(1.0));
        assert_eq!(of("too_many_series", "_other"), Some(1.0), "only so many are named");
    }

    #[test]
    fn processor_time_is_read_behind_any_command_name() {
        let stat = "42 (a) b (c) S 1 1 1 0 -1 4194560 500 0 0 0 150 50 7 8 20 0 1 0 100 1000 200";
        assert_eq!(cpu_seconds(stat, 100), Some(2.0));
        assert_eq!(cpu_seconds("", 100), None);
    }
}
