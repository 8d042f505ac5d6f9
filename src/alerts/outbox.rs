//! The outbox: messages on their way to receivers, kept until they were accepted.
//!
//! A lane is one integration of one group. Spec:
//! * One message of a lane is in flight at a time; lanes never wait for each other. The first in a lane is its head,
//!   and behind it waits at most one more, which tells the newest state.
//! * A newer message takes the place of the one that waits, and of the head, when it is not in flight and the newer
//!   one covers it: everything that fires in the head fires in the newer one too, or the head was refused. So when a
//!   firing message may have been seen (it was tried), its resolved message is sent after it and never instead of it.
//! * What takes the place of a message carries on what only that one told: alerts resolved there and absent in the
//!   newer one are added to it. An alert whose firing was certainly never told and that is resolved meanwhile is left
//!   out; a message that is empty then is dropped, as Alertmanager drops what fired and resolved between two flushes.
//! * A repeat is dropped when its lane is busy, or the outbox is full: it changes no state. Nothing else ever is, but
//!   for messages older than the retention and those to integrations that no longer exist. All are counted.
//! * A failed try is repeated after 1 s, 2 s, 4 s ... up to `limits::RETRY_WAIT`, half of it random, and never before
//!   the receiver's `Retry-After` (bounded). A refused message is tried again after `limits::REFUSED_WAIT`, as
//!   Alertmanager tries again at its next flush.
//! * A message keeps its id over all tries and restarts. After a restart whatever was not accepted is due at once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::message::{common, sort_firing_first};
use super::notification::{AlertStatus, DeliveryId, Notification, NotifyReason};
use crate::limits;
use crate::rng::Rng;
use crate::time::Timestamp;

/// What came of one try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Accepted,
    /// Worth another try: a timeout, a refused connection, 5xx, 429.
    Retry {
        reason: String,
        /// The receiver's `Retry-After`.
        after: Option<Duration>,
    },
    /// The receiver will not take this message: most 4xx, a template that fails.
    Refused {
        reason: String,
    },
}

/// What the outbox did with a reported outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    Done,
    /// It will be tried again at this time.
    WaitsUntil(Timestamp),
    /// A newer message took its place.
    Replaced,
    /// No such message is in flight: told twice, or taken out by a reload.
    Unknown,
}

/// How many messages were not sent, and why. Only ever grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutboxCounts {
    /// Repeats that were dropped because their lane was busy or the outbox full.
    pub repeats_dropped: u64,
    /// Messages whose place a newer one took.
    pub replaced: u64,
    /// Messages dropped because of their age.
    pub expired: u64,
    /// Messages to integrations that a reload took out.
    pub orphaned: u64,
}

/// A message on its way, for the page.
#[derive(Clone, Debug, PartialEq)]
pub struct DeliveryView {
    pub id: DeliveryId,
    pub receiver: String,
    pub integration: String,
    pub group_key: String,
    pub status: AlertStatus,
    pub created_at: Timestamp,
    pub tries: u32,
    pub in_flight: bool,
    /// When it is tried next; `None` behind another message of its lane.
    pub next_try: Option<Timestamp>,
    pub last_error: Option<String>,
}

type LaneKey = (String, String, String);

/// A message as the journal keeps it.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Record {
    notification: Notification,
    /// Orders the messages of a lane.
    order: u64,
    attempted: bool,
    /// Fingerprints that fire in this message and of whose firing the receiver certainly was not told.
    untold: BTreeSet<String>,
}

#[derive(Clone, Debug)]
struct Message {
    record: Record,
    tries: u32,
    next: Timestamp,
    in_flight: Option<Timestamp>,
    refused: bool,
    last_error: Option<String>,
}

#[derive(Clone, Debug)]
struct Lane {
    head: Message,
    waiting: Option<Message>,
}

/// The queue of all lanes.
#[derive(Clone, Debug)]
pub struct Outbox {
    lanes: BTreeMap<LaneKey, Lane>,
    lane_of: BTreeMap<DeliveryId, LaneKey>,
    order: u64,
    rng: Rng,
    counts: OutboxCounts,
    /// Messages whose records changed since they were last taken.
    changed: BTreeSet<DeliveryId>,
}

impl Message {
    fn new(notification: Notification, order: u64, now: Timestamp) -> Message {
        let news = |a: &&super::NotifiedAlert| a.status == AlertStatus::Firing && a.is_news;
        let untold = notification.alerts.iter().filter(news).map(|a| a.fingerprint.clone()).collect();
        let record = Record { notification, order, attempted: false, untold };
        Message { record, tries: 0, next: now, in_flight: None, refused: false, last_error: None }
    }

    fn id(&self) -> &DeliveryId {
        &self.record.notification.id
    }

    fn firing(&self) -> impl Iterator<Item = &str> {
        let alerts = self.record.notification.alerts.iter();
        alerts.filter(|a| a.status == AlertStatus::Firing).map(|a| a.fingerprint.as_str())
    }

    /// Whether this message may take the place of `head`.
    fn covers(&self, head: &Message) -> bool {
        head.in_flight.is_none() && (head.refused || head.firing().all(|alert| self.firing().any(|own| own == alert)))
    }

    /// Takes over what only `older` told; false when nothing is left to tell.
    fn absorb(&mut self, older: &Message) -> bool {
        for alert in &older.record.untold {
            if self.firing().any(|own| own == alert) {
                self.record.untold.insert(alert.clone());
            } else {
                self.record.notification.alerts.retain(|own| own.fingerprint != *alert);
            }
        }
        let own = &mut self.record.notification;
        for old in &older.record.notification.alerts {
            if old.status == AlertStatus::Resolved {
                // Its end was not accepted, so the receiver may still know it as firing, from before.
                self.record.untold.remove(&old.fingerprint);
            }
            match own.alerts.iter_mut().find(|alert| alert.fingerprint == old.fingerprint) {
                Some(alert) => alert.is_news |= old.is_news && alert.status == old.status,
                None if old.status == AlertStatus::Resolved => own.alerts.push(old.clone()),
                None => {}
            }
        }
        let minor = matches!(own.reason, NotifyReason::SomeResolved | NotifyReason::RepeatInterval);
        if minor && !self.record.untold.is_empty() {
            own.reason = older.record.notification.reason;
        }
        sort_firing_first(&mut own.alerts);
        (own.common_labels, own.common_annotations) = common(&own.alerts);
        let fires = own.alerts.iter().any(|alert| alert.status == AlertStatus::Firing);
        own.status = if fires { AlertStatus::Firing } else { AlertStatus::Resolved };
        !own.alerts.is_empty()
    }

    fn is_idle_repeat(&self) -> bool {
        self.in_flight.is_none() && self.record.notification.reason == NotifyReason::RepeatInterval
    }

    fn view(&self, heads: bool) -> DeliveryView {
        let Notification { id, receiver, integration, group_key, status, created_at, .. } = &self.record.notification;
        DeliveryView {
            id: id.clone(),
            receiver: receiver.clone(),
            integration: integration.clone(),
            group_key: group_key.clone(),
            status: *status,
            created_at: *created_at,
            tries: self.tries,
            in_flight: self.in_flight.is_some(),
            next_try: (heads && self.in_flight.is_none()).then_some(self.next),
            last_error: self.last_error.clone(),
        }
    }
}

fn lane_key(notification: &Notification) -> LaneKey {
    (notification.receiver.clone(), notification.integration.clone(), notification.group_key.clone())
}

impl Outbox {
    /// An empty outbox; `seed` is for the jitter of retries.
    pub fn new(seed: u64) -> Outbox {
        Outbox {
            lanes: BTreeMap::new(),
            lane_of: BTreeMap::new(),
            order: 0,
            rng: Rng::seeded(seed),
            counts: OutboxCounts::default(),
            changed: BTreeSet::new(),
        }
    }

    /// How many messages are in it.
    pub fn len(&self) -> usize {
        self.lane_of.len()
    }

    /// True when nothing is on its way.
    pub fn is_empty(&self) -> bool {
        self.lanes.is_empty()
    }

    pub fn counts(&self) -> OutboxCounts {
        self.counts
    }

    /// The system's clock was set: waits get neither longer nor shorter.
    pub fn clock_stepped(&mut self, by_millis: i64) {
        let messages =
            self.lanes.values_mut().flat_map(|lane| std::iter::once(&mut lane.head).chain(&mut lane.waiting));
        for message in messages {
            message.next = message.next.shifted(by_millis);
            message.in_flight = message.in_flight.map(|at| at.shifted(by_millis));
            let created_at = &mut message.record.notification.created_at;
            *created_at = created_at.shifted(by_millis);
            self.changed.insert(message.record.notification.id.clone());
        }
    }

    /// Every message, lane by lane.
    pub fn deliveries(&self) -> Vec<DeliveryView> {
        let lanes = self.lanes.values();
        lanes
            .flat_map(|lane| std::iter::once(lane.head.view(true)).chain(lane.waiting.as_ref().map(|m| m.view(false))))
            .collect()
    }

    /// Takes a message in; it is due at once unless its lane is busy.
    pub fn submit(&mut self, now: Timestamp, notification: Notification) {
        let key = lane_key(&notification);
        let repeat = notification.reason == NotifyReason::RepeatInterval;
        let full = self.len() >= limits::OUTBOX;
        if repeat && (full || self.lanes.contains_key(&key)) {
            self.counts.repeats_dropped += 1;
            return;
        }
        if full {
            self.evict_a_repeat();
        }
        self.order += 1;
        let mut message = Message::new(notification, self.order, now);
        let Some(mut lane) = self.lanes.remove(&key) else {
            self.enlist(&message, &key);
            self.lanes.insert(key, Lane { head: message, waiting: None });
            return;
        };
        let mut tells = true;
        if let Some(older) = lane.waiting.take() {
            tells = message.absorb(&older);
            self.forget(&older);
            self.counts.replaced += 1;
        }
        if tells {
            self.enlist(&message, &key);
            lane.waiting = Some(message);
        }
        if let Some(lane) = self.settle_lane(now, lane) {
            self.lanes.insert(key, lane);
        }
    }

    /// Lets the waiting message take the head's place where it may.
    fn settle_lane(&mut self, now: Timestamp, mut lane: Lane) -> Option<Lane> {
        let Some(mut newer) = lane.waiting.take() else { return Some(lane) };
        if !newer.covers(&lane.head) {
            lane.waiting = Some(newer);
            return Some(lane);
        }
        let tells = newer.absorb(&lane.head);
        self.forget(&lane.head);
        self.counts.replaced += 1;
        if !tells {
            self.forget(&newer);
            return None;
        }
        if !lane.head.refused {
            // The receiver has trouble, whatever it is sent.
            (newer.next, newer.tries) = (lane.head.next, lane.head.tries);
            newer.last_error = lane.head.last_error;
        } else {
            newer.next = now;
        }
        self.changed.insert(newer.id().clone());
        Some(Lane { head: newer, waiting: None })
    }

    fn enlist(&mut self, message: &Message, key: &LaneKey) {
        self.lane_of.insert(message.id().clone(), key.clone());
        self.changed.insert(message.id().clone());
    }

    fn forget(&mut self, message: &Message) {
        self.lane_of.remove(message.id());
        self.changed.insert(message.id().clone());
    }

    fn evict_a_repeat(&mut self) {
        let idle = |lane: &Lane| lane.waiting.is_none() && lane.head.is_idle_repeat();
        let oldest = self.lanes.iter().filter(|(_, lane)| idle(lane)).min_by_key(|(_, lane)| lane.head.record.order);
        if let Some(key) = oldest.map(|(key, _)| key.clone()) {
            self.drop_lane(&key);
            self.counts.repeats_dropped += 1;
        }
    }

    fn drop_lane(&mut self, key: &LaneKey) -> u64 {
        let Some(lane) = self.lanes.remove(key) else { return 0 };
        self.forget(&lane.head);
        lane.waiting.iter().for_each(|message| self.forget(message));
        1 + u64::from(lane.waiting.is_some())
    }

    /// Gives the messages to be sent now, oldest first; they are in flight then. Their records must be in the journal
    /// before they are sent.
    pub fn due(&mut self, now: Timestamp, out: &mut Vec<Notification>) {
        let mut due = Vec::new();
        for lane in self.lanes.values_mut() {
            let head = &mut lane.head;
            let ready = match head.in_flight {
                Some(since) => since + limits::DELIVERY_SILENCE <= now,
                None => head.next <= now,
            };
            if ready {
                if head.in_flight.replace(now).is_some() {
                    // It may have been seen, although nothing was heard of it.
                    head.record.untold.clear();
                }
                if !std::mem::replace(&mut head.record.attempted, true) {
                    self.changed.insert(head.id().clone());
                }
                due.push((head.record.order, head.record.notification.clone()));
            }
        }
        due.sort_by_key(|(order, _)| *order);
        out.extend(due.into_iter().map(|(_, notification)| notification));
    }

    /// When [`Outbox::due`] has something to give next.
    pub fn next_due(&self) -> Option<Timestamp> {
        let next = |head: &Message| head.in_flight.map_or(head.next, |since| since + limits::DELIVERY_SILENCE);
        self.lanes.values().map(|lane| next(&lane.head)).min()
    }

    /// Takes the outcome of a try.
    pub fn delivered(&mut self, now: Timestamp, id: &DeliveryId, outcome: Outcome) -> Settled {
        let Some(key) = self.lane_of.get(id).cloned() else { return Settled::Unknown };
        let in_flight = |lane: &Lane| lane.head.id() == id && lane.head.in_flight.is_some();
        if !self.lanes.get(&key).is_some_and(in_flight) {
            return Settled::Unknown;
        }
        let Some(mut lane) = self.lanes.remove(&key) else { return Settled::Unknown };
        lane.head.in_flight = None;
        lane.head.tries += 1;
        match outcome {
            Outcome::Accepted => {
                self.forget(&lane.head);
                if let Some(mut head) = lane.waiting {
                    head.next = now;
                    self.lanes.insert(key, Lane { head, waiting: None });
                }
                return Settled::Done;
            }
            Outcome::Retry { reason, after } => {
                // It may have been seen all the same.
                lane.head.record.untold.clear();
                lane.head.refused = false;
                let asked = after.unwrap_or_default().min(limits::RETRY_AFTER);
                lane.head.next = now + self.backoff(lane.head.tries).max(asked);
                lane.head.last_error = Some(reason);
            }
            Outcome::Refused { reason } => {
                lane.head.refused = true;
                lane.head.next = now + limits::REFUSED_WAIT;
                lane.head.last_error = Some(reason);
            }
        }
        let next = lane.head.next;
        match self.settle_lane(now, lane) {
            Some(lane) => {
                let same = lane.head.id() == id;
                self.lanes.insert(key, lane);
                if same { Settled::WaitsUntil(next) } else { Settled::Replaced }
            }
            None => Settled::Replaced,
        }
    }

    /// 1 s doubled with each try, up to the limit; the upper half of it is random.
    fn backoff(&mut self, tries: u32) -> Duration {
        let full = Duration::from_secs(1 << (tries.saturating_sub(1)).min(10)).min(limits::RETRY_WAIT);
        full.mul_f64(0.5 + self.rng.unit() / 2.0)
    }

    /// Drops messages to integrations that no longer exist.
    pub fn keep_only(&mut self, exists: impl Fn(&str, &str) -> bool) {
        let gone = |key: &&LaneKey| !exists(&key.0, &key.1);
        for key in self.lanes.keys().filter(gone).cloned().collect::<Vec<_>>() {
            self.counts.orphaned += self.drop_lane(&key);
        }
    }

    /// Drops messages that are too old to help anyone.
    pub fn sweep(&mut self, now: Timestamp) {
        let old = |lane: &Lane| {
            let newest = lane.waiting.as_ref().unwrap_or(&lane.head);
            lane.head.in_flight.is_none() && newest.record.notification.created_at + limits::ALERT_RETENTION < now
        };
        let keys: Vec<_> = self.lanes.iter().filter(|(_, lane)| old(lane)).map(|(key, _)| key.clone()).collect();
        for key in keys {
            self.counts.expired += self.drop_lane(&key);
        }
    }

    /// The records that changed since the last call: the message's id, and `None` when it is gone.
    pub fn take_changes(&mut self) -> Vec<(String, Option<serde_json::Value>)> {
        let changed = std::mem::take(&mut self.changed);
        let record = |id: &DeliveryId| {
            let lane = self.lanes.get(self.lane_of.get(id)?)?;
            let message = std::iter::once(&lane.head).chain(&lane.waiting).find(|message| message.id() == id)?;
            serde_json::to_value(&message.record).ok()
        };
        changed
            .into_iter()
            .map(|id| {
                let record = record(&id);
                (id.0, record)
            })
            .collect()
    }

    /// Brings messages back from their records: all are due at once, with their old ids. A record that cannot be read
    /// is left out and given back.
    pub fn restore(
        &mut self,
        records: impl IntoIterator<Item = (String, serde_json::Value)>,
        now: Timestamp,
    ) -> Vec<String> {
        let (mut kept, mut bad) = (Vec::new(), Vec::new());
        for (id, record) in records {
            match serde_json::from_value::<Record>(record) {
                Ok(record) => kept.push(record),
                Err(error) => bad.push(format!("outbox record {id}: {error}")),
            }
        }
        kept.sort_by_key(|record| record.order);
        for mut record in kept {
            if record.attempted {
                record.untold.clear();
            }
            self.order = self.order.max(record.order);
            let key = lane_key(&record.notification);
            let mut message =
                Message { record, tries: 0, next: now, in_flight: None, refused: false, last_error: None };
            self.lane_of.insert(message.id().clone(), key.clone());
            let Some(mut lane) = self.lanes.remove(&key) else {
                self.lanes.insert(key, Lane { head: message, waiting: None });
                continue;
            };
            if let Some(older) = lane.waiting.take() {
                message.absorb(&older);
                self.forget(&older);
            }
            lane.waiting = Some(message);
            self.lanes.insert(key, lane);
        }
        bad
    }
}
