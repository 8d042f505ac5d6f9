//! The state machine: alerts in, messages out, all in the caller's time. Follows Alertmanager's dispatcher and pipeline.
//!
//! Spec:
//! * An alert is one label set. Each route that takes it puts it into the group of its `group_by` labels.
//! * A new group is flushed `group_wait` after its first alert, or at once when that alert started longer ago than
//!   `group_wait`; then every `group_interval`, until no alert is left in it.
//! * A flush looks at the group's alerts as they are then. Outside the route's active time intervals and inside its mute
//!   time intervals nothing is said; inhibited and silenced alerts are left out. For each integration of the receiver
//!   the log of what it was last told decides whether a message is due (see `log.rs`). What was resolved leaves the
//!   group with the flush.
//! * The log is written when a message goes into the outbox; from there it is delivered at least once (see `outbox.rs`).
//! * With `resolve_wait` a group is also flushed that long after an alert of it ended; its own rhythm stays as it is.
//! * An alert that flaps counts as firing until it is calm (see `flap.rs`).
//! * Everything that must survive is in the changes that [`Alerts::take_changes`] gives (see `durable.rs`); they must
//!   be in the journal before the messages of the same tick are sent.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::alert::{Alert, AlertError, AlertIn};
use super::counter::Looked;
use super::flap::{Flapping, Flaps};
use super::inhibit::Inhibitor;
use super::log::{LogEntry, LogKey};
use super::member::Member;
use super::noise::Noise;
use super::notification::{DeliveryId, Notification};
use super::outbox::{DeliveryView, Outbox, OutboxCounts, Outcome, Settled};
use super::route::{Node, Tree, group_labels, label_set};
use super::settings::{Part, Settings};
use super::silence::{Silence, SilenceError, SilenceIn, SilenceState, Silences};
use crate::limits;
use crate::model::{Labels, LabelsMap};
use crate::rng::Rng;
use crate::time::Timestamp;

/// Alerts, their groups, silences, what was notified, and what is on its way.
#[derive(Clone, Debug)]
pub struct Alerts {
    pub(super) settings: Settings,
    pub(super) tree: Tree,
    /// Shared with the copies that are made for readers.
    pub(super) alerts: LabelsMap<Arc<Alert>>,
    /// By route id and group labels.
    pub(super) groups: BTreeMap<String, Group>,
    /// When each group is flushed next.
    queue: BTreeSet<(Timestamp, String)>,
    pub(super) log: BTreeMap<LogKey, LogEntry>,
    pub(super) silences: Silences,
    pub(super) outbox: Outbox,
    pub(super) changed: BTreeSet<Changed>,
    pub(super) flaps: Flaps,
    pub(super) noise: Noise,
    pub(super) next_digest: Option<Timestamp>,
    /// Links that were used, and when they expire.
    pub(super) links_used: BTreeMap<String, Timestamp>,
    /// The messages on their way, in a copy that is made for readers.
    pub(super) deliveries: Vec<DeliveryView>,
    /// On a host of a fleet: what the fleet has told of its alerts.
    pub(super) member: Member,
    /// On the host that counts: what it knows of the fleet's alerts beside them.
    pub(super) looked: Looked,
    rng: Rng,
    next_sweep: Timestamp,
}

/// A group of alerts at one node of the tree.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub node: usize,
    /// Alertmanager's group key.
    pub key: String,
    pub labels: Labels,
    pub members: BTreeSet<Labels>,
    /// The group's own rhythm.
    pub next_flush: Timestamp,
    /// Whether it was flushed before.
    pub flushed: bool,
    /// On a host of a fleet: when the first of its alerts has waited long enough for the fleet.
    pub wake: Option<Timestamp>,
    /// Its place in the queue.
    pub queued: Timestamp,
}

/// A group's timers, as they outlive a reload and a restart.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub(super) struct Timers {
    pub next_flush: Timestamp,
    pub flushed: bool,
}

/// What the journal must hear of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Changed {
    Alert(Labels),
    Group(String),
    Log(LogKey),
    Silence(String),
    Flap(Labels),
    Noise(String),
    Digest,
    Link(String),
    /// What the fleet has told.
    Marks,
}

/// One alert of a group at the instant of a flush.
pub(super) struct Snapshot {
    pub alert: Arc<Alert>,
    pub fingerprint: String,
    pub resolved: bool,
    pub muted: bool,
    pub flapping: Option<Flapping>,
}

impl Alerts {
    /// A machine without alerts. `seed` is for silences' ids and the jitter of retries: give another one each start.
    pub fn new(settings: Settings, seed: u64) -> Alerts {
        let mut outbox = Outbox::new(seed ^ 0x006f_7574_626f_7800);
        outbox.set_limits(settings.rate_limits());
        Alerts {
            tree: Tree::new(&settings.route),
            settings,
            alerts: LabelsMap::default(),
            groups: BTreeMap::new(),
            queue: BTreeSet::new(),
            log: BTreeMap::new(),
            silences: Silences::default(),
            outbox,
            changed: BTreeSet::new(),
            flaps: Flaps::default(),
            noise: Noise::new(),
            next_digest: None,
            links_used: BTreeMap::new(),
            deliveries: Vec::new(),
            member: Member::default(),
            looked: Looked::default(),
            rng: Rng::seeded(seed),
            next_sweep: Timestamp::MIN,
        }
    }

    /// A copy to read from on another thread: everything but the messages on their way. What is large is shared.
    pub fn to_read(&self) -> Alerts {
        Alerts {
            settings: self.settings.clone(),
            tree: self.tree.clone(),
            alerts: self.alerts.clone(),
            groups: self.groups.clone(),
            queue: BTreeSet::new(),
            log: self.log.clone(),
            silences: self.silences.clone(),
            outbox: Outbox::new(0),
            changed: BTreeSet::new(),
            flaps: self.flaps.clone(),
            noise: self.noise.clone(),
            next_digest: self.next_digest,
            links_used: self.links_used.clone(),
            deliveries: self.outbox.deliveries(),
            member: self.member.clone(),
            looked: Looked::default(),
            rng: Rng::seeded(0),
            next_sweep: Timestamp::MAX,
        }
    }

    /// Takes over a new configuration. Groups that still exist keep their timers; messages to integrations that no
    /// longer exist are dropped and counted.
    pub fn reload(&mut self, now: Timestamp, settings: Settings) {
        self.tree = Tree::new(&settings.route);
        self.settings = settings;
        let receivers = &self.settings.receivers;
        let exists = |receiver: &str, integration: &str| {
            let found = receivers.iter().find(|r| r.name == receiver);
            found.is_some_and(|r| r.integrations.iter().any(|i| i.name == integration))
        };
        self.outbox.keep_only(exists);
        self.outbox.set_limits(self.settings.rate_limits());
        let gone = |key: &&LogKey| !exists(&key.receiver, &key.integration);
        let gone: Vec<LogKey> = self.log.keys().filter(gone).cloned().collect();
        gone.into_iter().for_each(|key| self.forget_log(key));
        self.queue.clear();
        let groups = std::mem::take(&mut self.groups);
        let timer = |group: Group| Timers { next_flush: group.next_flush, flushed: group.flushed };
        self.regroup(now, groups.into_iter().map(|(id, group)| (id, timer(group))).collect());
    }

    /// Puts every alert into its groups again; groups of which timers are known go on with them.
    pub(super) fn regroup(&mut self, now: Timestamp, timers: BTreeMap<String, Timers>) {
        let mut all: Vec<Labels> = self.alerts.keys().cloned().collect();
        all.sort();
        for labels in &all {
            if let Some(alert) = self.alerts.get_mut(labels) {
                Arc::make_mut(alert).holders = 0;
            }
            self.assign(now, labels, &timers);
        }
        for id in timers.into_keys().filter(|id| !self.groups.contains_key(id)) {
            self.changed.insert(Changed::Group(id));
        }
    }

    /// Takes a report of an alert.
    ///
    /// # Errors
    /// When the report is not valid, or there are too many alerts.
    pub fn put(&mut self, now: Timestamp, input: AlertIn) -> Result<(), AlertError> {
        let mut alert = Alert::new(input, now, self.settings.resolve_timeout)?;
        let labels = alert.labels.clone();
        let old = self.alerts.get(&labels);
        if old.is_none() && self.alerts.len() >= limits::ALERTS {
            return Err(AlertError::TooMany);
        }
        if old.is_none() && alert.resolved(now) && self.says_nothing(&labels) {
            return Ok(());
        }
        let mut news = true;
        let starts = !alert.resolved(now) && old.is_none_or(|old| old.resolved(now));
        if let Some(old) = old {
            alert = alert.joined(old, now);
            alert.holders = old.holders;
            news = alert.differs(old, now);
        }
        if news {
            self.changed.insert(Changed::Alert(labels.clone()));
        }
        self.alerts.insert(labels.clone(), Arc::new(alert));
        if starts {
            self.count_start(now, &labels);
            if let Some(settings) = &self.settings.flapping {
                let changed = self.flaps.started(&labels, now, settings);
                self.changed.extend(changed.into_iter().map(Changed::Flap));
            }
        }
        self.assign(now, &labels, &BTreeMap::new());
        Ok(())
    }

    /// Whether the end of an alert that is not known concerns nobody: no group would take it into its next message,
    /// and no integration was told that it fires. Sources repeat such ends for a while.
    fn says_nothing(&self, labels: &Labels) -> bool {
        let fingerprint = labels.fingerprint().to_string();
        self.nodes_of(labels).into_iter().all(|at| {
            let node = &self.tree.nodes[at];
            let text = label_set(&group_labels(node, labels));
            let group_key = self.group_key(node, &text);
            let mut entries = self.log_of(&node.receiver, &group_key);
            let told = entries.any(|(_, entry)| entry.firing.contains(&fingerprint));
            !told && !self.groups.contains_key(&format!("{}:{text}", node.id))
        })
    }

    /// The nodes whose groups take an alert here.
    pub(super) fn nodes_of(&self, labels: &Labels) -> Vec<usize> {
        let mut nodes = self.tree.matching(labels);
        if self.settings.part == Part::Counter {
            nodes.retain(|at| self.tree.nodes[*at].fleet);
        }
        nodes
    }

    /// Alertmanager's group key. What a host of a fleet tells by itself is another group than the fleet's.
    pub(super) fn group_key(&self, node: &Node, text: &str) -> String {
        match &self.settings.part {
            Part::Member { host } if node.fleet => format!("{}:{text}@{host}", node.key),
            _ => format!("{}:{text}", node.key),
        }
    }

    /// What the integrations of a receiver were told of a group.
    pub(super) fn log_of(&self, receiver: &str, group_key: &str) -> impl Iterator<Item = (LogKey, &LogEntry)> {
        let spec = self.settings.receivers.iter().find(|spec| spec.name == receiver);
        let integrations = spec.map(|spec| spec.integrations.as_slice()).unwrap_or_default();
        integrations.iter().filter_map(move |to| {
            let (receiver, group_key) = (receiver.to_owned(), group_key.to_owned());
            let key = LogKey { receiver, integration: to.name.clone(), group_key };
            let entry = self.log.get(&key)?;
            Some((key, entry))
        })
    }

    /// Puts an alert into the groups of the routes that take it.
    fn assign(&mut self, now: Timestamp, labels: &Labels, timers: &BTreeMap<String, Timers>) {
        let Some(starts_at) = self.alerts.get(labels).map(|alert| alert.starts_at) else { return };
        for at in self.nodes_of(labels) {
            let node = &self.tree.nodes[at];
            let group_labels = group_labels(node, labels);
            let text = label_set(&group_labels);
            let id = format!("{}:{text}", node.id);
            if !self.groups.contains_key(&id) {
                let first = if starts_at + node.group_wait < now { now } else { now + node.group_wait };
                let timer = timers.get(&id).copied().unwrap_or(Timers { next_flush: first, flushed: false });
                let group = Group {
                    node: at,
                    key: self.group_key(node, &text),
                    labels: group_labels,
                    members: BTreeSet::new(),
                    next_flush: timer.next_flush,
                    flushed: timer.flushed,
                    wake: None,
                    queued: timer.next_flush,
                };
                self.queue.insert((group.queued, id.clone()));
                self.groups.insert(id.clone(), group);
                self.changed.insert(Changed::Group(id.clone()));
            }
            let Some(group) = self.groups.get_mut(&id) else { continue };
            if group.members.insert(labels.clone())
                && let Some(alert) = self.alerts.get_mut(labels)
            {
                Arc::make_mut(alert).holders += 1;
            }
            self.wait_for_fleet(now, &id, labels);
            self.schedule(now, &id);
        }
    }

    /// Moves a group to its place in the queue: its own rhythm, or sooner when `resolve_wait` asks for it.
    pub(super) fn schedule(&mut self, now: Timestamp, id: &str) {
        let Some(group) = self.groups.get_mut(id) else { return };
        let mut at = group.wake.map_or(group.next_flush, |wake| wake.min(group.next_flush));
        if let (Some(wait), true) = (self.tree.nodes[group.node].resolve_wait, group.flushed) {
            let flapping = self.settings.flapping.as_ref();
            let members = group.members.iter().filter_map(|labels| self.alerts.get(labels));
            let ends = members.map(|alert| match self.flaps.flapping(&alert.labels, now, flapping) {
                Some(flapping) => alert.ends_at.max(flapping.calm_at),
                None => alert.ends_at,
            });
            at = ends.min().map_or(at, |end| at.min(end + wait));
        }
        if at != group.queued {
            self.queue.remove(&(group.queued, id.to_owned()));
            group.queued = at;
            self.queue.insert((at, id.to_owned()));
        }
    }

    /// No group waits longer than its interval, whatever the clock was that set its time.
    pub(super) fn hurry(&mut self, now: Timestamp) {
        let ids: Vec<String> = self.groups.keys().cloned().collect();
        for id in ids {
            if let Some(group) = self.groups.get_mut(&id) {
                let node = &self.tree.nodes[group.node];
                group.next_flush = group.next_flush.min(now + node.group_interval.max(node.group_wait));
            }
            self.schedule(now, &id);
        }
    }

    /// Moves the timers of all groups along with the clock.
    pub(super) fn shift_timers(&mut self, by_millis: i64) {
        self.queue.clear();
        for (id, group) in &mut self.groups {
            group.next_flush = group.next_flush.shifted(by_millis);
            group.queued = group.queued.shifted(by_millis);
            group.wake = group.wake.map(|at| at.shifted(by_millis));
            self.queue.insert((group.queued, id.clone()));
        }
        self.next_sweep = self.next_sweep.shifted(by_millis);
    }

    /// When [`Alerts::tick`] has something to do next.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let flush = self.queue.first().map(|(at, _)| *at);
        let reminders = self.settings.silence_reminders.as_ref().filter(|_| !self.silences.all.is_empty());
        let sweep = reminders.map(|_| self.next_sweep);
        flush.into_iter().chain(self.outbox.next_due()).chain(self.digest_due()).chain(sweep).min()
    }

    /// Flushes the groups whose time has come, and gives the messages to be sent now: new ones, and those whose next
    /// try is due. Take the changes and write them before sending.
    pub fn tick(&mut self, now: Timestamp, out: &mut Vec<Notification>) {
        if self.next_sweep <= now {
            self.sweep(now);
            self.remind(now);
            self.next_sweep = now + Duration::from_secs(60);
        }
        let due: Vec<String> = self.queue.iter().take_while(|(at, _)| *at <= now).map(|(_, id)| id.clone()).collect();
        if !due.is_empty() {
            let firing = self.alerts.values().filter(|alert| !alert.resolved(now)).map(|alert| &alert.labels);
            let inhibitor = Inhibitor::new(&self.settings.inhibit_rules, &self.tree.ladders, firing);
            for id in due {
                self.flush(now, &id, &inhibitor);
            }
        }
        self.tick_digest(now);
        self.outbox.due(now, out);
    }

    fn flush(&mut self, now: Timestamp, id: &str, inhibitor: &Inhibitor) {
        let Some(mut group) = self.groups.remove(id) else { return };
        self.queue.remove(&(group.queued, id.to_owned()));
        let node = self.tree.nodes[group.node].clone();
        let quiet = self.muted_by(&node, now).is_some();
        let members = group.members.iter().filter_map(|labels| self.alerts.get(labels));
        let snapshots: Vec<Snapshot> = members
            .map(|alert| {
                let flapping = self.flaps.flapping(&alert.labels, now, self.settings.flapping.as_ref());
                Snapshot {
                    muted: quiet || self.hidden(&node, &alert.labels, inhibitor, now),
                    resolved: alert.resolved(now) && flapping.is_none(),
                    fingerprint: alert.labels.fingerprint().to_string(),
                    alert: Arc::clone(alert),
                    flapping,
                }
            })
            .collect();
        let (snapshots, ended) = self.sort_out(now, &node, &mut group, snapshots);
        let receiver = self.settings.receivers.iter().find(|receiver| receiver.name == node.receiver);
        for integration in receiver.map(|receiver| receiver.integrations.clone()).unwrap_or_default() {
            self.notify(now, &node, &group, &integration, &snapshots);
        }
        let told = snapshots.iter().filter(|snapshot| snapshot.resolved).map(|snapshot| &snapshot.alert.labels);
        for labels in told.chain(&ended) {
            group.members.remove(labels);
            self.release(labels);
        }
        self.changed.insert(Changed::Group(id.to_owned()));
        if group.members.is_empty() {
            self.forget_quiet_log(&node.receiver, &group.key);
            return;
        }
        if group.next_flush <= now {
            group.next_flush = now + node.group_interval.max(Duration::from_millis(1));
        }
        group.flushed = true;
        group.queued = group.next_flush;
        self.queue.insert((group.queued, id.to_owned()));
        self.groups.insert(id.to_owned(), group);
        self.schedule(now, id);
    }

    /// Whether an alert is silenced or inhibited at a node.
    pub(super) fn hidden(&self, node: &Node, labels: &Labels, inhibitor: &Inhibitor, now: Timestamp) -> bool {
        self.looked.is_muted_there(labels)
            || !inhibitor.inhibiting(&self.settings.inhibit_rules, labels).is_empty()
            || !inhibitor.outranking(&self.tree.ladders, node.ladder, labels).is_empty()
            || !self.silences.covering(labels, now, &self.settings.time_intervals).is_empty()
    }

    /// The name of the time interval that keeps a route quiet now: one of its mute intervals, or `None` of its active
    /// ones holding, then the first of them.
    pub(super) fn muted_by(&self, node: &Node, now: Timestamp) -> Option<String> {
        let holds = |name: &&String| {
            let interval = self.settings.time_intervals.iter().find(|interval| interval.name == **name);
            interval.is_some_and(|interval| interval.contains(now))
        };
        let muting = node.mute_time_intervals.iter().find(holds);
        let inactive = !node.active_time_intervals.is_empty() && !node.active_time_intervals.iter().any(|n| holds(&n));
        muting.or(inactive.then(|| node.active_time_intervals.first()).flatten()).cloned()
    }

    /// A group lets go of an alert; one that none holds is forgotten.
    fn release(&mut self, labels: &Labels) {
        let Some(alert) = self.alerts.get_mut(labels).map(Arc::make_mut) else { return };
        alert.holders = alert.holders.saturating_sub(1);
        if alert.holders == 0 {
            self.alerts.remove(labels);
            self.changed.insert(Changed::Alert(labels.clone()));
        }
    }

    fn forget_log(&mut self, key: LogKey) {
        self.log.remove(&key);
        self.changed.insert(Changed::Log(key));
    }

    /// Of a group that is gone, only what still counts as firing need be remembered.
    fn forget_quiet_log(&mut self, receiver: &str, group_key: &str) {
        let quiet = self.log_of(receiver, group_key).filter(|(_, entry)| entry.firing.is_empty());
        let keys: Vec<LogKey> = quiet.map(|(key, _)| key).collect();
        keys.into_iter().for_each(|key| self.forget_log(key));
    }

    /// Forgets what is too old: expired silences, undelivered messages, and what was told of groups that are gone.
    fn sweep(&mut self, now: Timestamp) {
        self.outbox.sweep(now);
        self.sweep_links(now);
        self.sweep_noise(now);
        let calm = self.flaps.sweep(now, self.settings.flapping.as_ref());
        self.changed.extend(calm.into_iter().map(Changed::Flap));
        for id in self.silences.sweep(now) {
            self.changed.insert(Changed::Silence(id));
        }
        let alive: BTreeSet<&str> = self.groups.values().map(|group| group.key.as_str()).collect();
        let old = |(key, entry): &(&LogKey, &LogEntry)| {
            entry.at + limits::ALERT_RETENTION < now && !alive.contains(key.group_key.as_str())
        };
        let old: Vec<LogKey> = self.log.iter().filter(old).map(|(key, _)| key.clone()).collect();
        old.into_iter().for_each(|key| self.forget_log(key));
    }

    /// Takes the outcome of a delivery. Where its lane goes on, [`Alerts::next_deadline`] says when.
    pub fn delivered(&mut self, now: Timestamp, id: &DeliveryId, outcome: Outcome) -> Settled {
        self.outbox.delivered(now, id, outcome)
    }

    /// How many messages are not accepted yet.
    pub fn outbox_len(&self) -> usize {
        self.outbox.len()
    }

    /// How many messages were not sent, and why.
    pub fn outbox_counts(&self) -> OutboxCounts {
        self.outbox.counts()
    }

    /// Creates or changes a silence; gives its id.
    ///
    /// # Errors
    /// When it is not valid, does not exist, or there are too many.
    pub fn set_silence(&mut self, now: Timestamp, input: SilenceIn) -> Result<String, SilenceError> {
        let (id, changed) = self.silences.set(input, now, &self.settings.time_intervals, &mut self.rng)?;
        self.changed.extend(changed.into_iter().map(Changed::Silence));
        Ok(id)
    }

    /// Ends a silence now; it is kept, expired, for a time.
    ///
    /// # Errors
    /// When it does not exist or has ended already.
    pub fn expire_silence(&mut self, now: Timestamp, id: &str) -> Result<(), SilenceError> {
        self.silences.expire(id, now)?;
        self.changed.insert(Changed::Silence(id.to_owned()));
        Ok(())
    }

    /// A silence by its id.
    pub fn silence(&self, id: &str) -> Option<&Silence> {
        self.silences.all.get(id)
    }

    /// Where a silence stands.
    pub fn silence_state(&self, silence: &Silence, now: Timestamp) -> SilenceState {
        silence.state_within(now, &self.settings.time_intervals)
    }

    /// All silences, by id.
    pub fn silences(&self) -> impl Iterator<Item = &Silence> {
        self.silences.all.values()
    }
}
