//! The outbox: messages on their way to receivers, kept until they were accepted.
//!
//! A lane is one integration of one group. Spec:
//! * One message of a lane is in flight at a time; lanes wait for each other only as their integration's pace says. The first in a lane is its head,
//!   and behind it waits at most one more, which tells the newest state.
//! * A newer message takes the place of the one that waits, and of the head, when it is not in flight and the newer
//!   one covers it: everything that fires in the head fires in the newer one too, or the head was refused. So when a
//!   firing message may have been seen (it was tried), its resolved message is sent after it and never instead of it.
//! * What takes the place of a message carries on what only that one told: alerts resolved there and absent in the
//!   newer one are added to it. An alert whose firing was refused and that is resolved meanwhile is left out; a message
//!   that is empty then is dropped, as Alertmanager drops what fired and resolved between two flushes.
//! * A repeat is dropped when its lane is busy, or the outbox is full: it changes no state. Nothing else ever is, but
//!   for messages older than the retention and those to integrations that no longer exist. All are counted.
//! * A failed try is repeated after 1 s, 2 s, 4 s ... up to `limits::RETRY_WAIT`, half of it random, and never before
//!   the receiver's `Retry-After` (bounded). A refused message is tried again after `limits::REFUSED_WAIT`, as
//!   Alertmanager tries again at its next flush.
//! * An integration is sent one message after the other, or a few at one time when it is slow or many are to be sent, and
//!   with a rate limit so many in a span of time (`pace.rs`); the rest waits. A message that was never tried gives way to any newer one of its lane, in its place among
//!   those that wait. What fired and ended meanwhile is told once, as resolved, with both times.
//! * A message keeps its id over all tries and restarts. After a restart whatever was not accepted is due at once.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::message::{common, sort_firing_first};
use super::notification::{AlertStatus, DeliveryId, Notification, NotifyReason};
use super::pace::{Pace, PaceRecord, Place, RateLimit};
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
    /// Messages that waited because of their receiver's rate limit.
    pub held_back: u64,
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

/// Receiver, integration, group key.
pub(super) type LaneKey = Arc<(String, String, String)>;
/// Receiver, integration.
type PaceKey = (String, String);

/// A message as the journal keeps it.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Record {
    notification: Notification,
    /// Orders the messages of a lane.
    order: u64,
    attempted: bool,
    /// Fingerprints that fire in this message and of whose firing the receiver certainly was not told.
    untold: BTreeSet<String>,
    /// It took the place of one that was tried.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    follows_a_try: bool,
}

#[derive(Clone, Debug)]
struct Message {
    record: Record,
    tries: u32,
    next: Timestamp,
    in_flight: Option<Timestamp>,
    refused: bool,
    /// It is counted among those that a rate limit held back.
    limited: bool,
    last_error: Option<String>,
}

#[derive(Clone, Debug)]
struct Lane {
    head: Message,
    waiting: Option<Message>,
    stands: Stands,
    /// Its head takes one of its pace's places in flight.
    has_place: bool,
}

/// Where a lane is found when its time has come.
#[derive(Clone, Copy, Debug)]
enum Stands {
    Nowhere,
    Queued(Timestamp),
    Held(Place),
}

/// The queue of all lanes.
#[derive(Clone, Debug)]
pub struct Outbox {
    lanes: BTreeMap<LaneKey, Lane>,
    lane_of: HashMap<DeliveryId, LaneKey>,
    /// When each lane is looked at next, but for those that are held back.
    queue: BTreeSet<(Timestamp, LaneKey)>,
    paces: BTreeMap<PaceKey, Pace>,
    /// Paces whose records changed since they were last taken.
    paced: BTreeSet<PaceKey>,
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
        let record = Record { notification, order, attempted: false, untold, follows_a_try: false };
        Message { record, tries: 0, next: now, in_flight: None, refused: false, limited: false, last_error: None }
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
        if head.in_flight.is_some() {
            return false;
        }
        let own: HashSet<&str> = self.firing().collect();
        head.refused || head.was_never_tried() || head.firing().all(|alert| own.contains(alert))
    }

    /// Nothing that it tells as firing was ever tried to be told by the outbox.
    fn was_never_tried(&self) -> bool {
        !self.record.attempted && !self.record.follows_a_try
    }

    /// Takes over what only `older` told; false when nothing is left to tell.
    fn absorb(&mut self, older: &Message) -> bool {
        let firing: HashSet<String> = self.firing().map(str::to_owned).collect();
        let (still, ended): (Vec<&String>, Vec<&String>) =
            older.record.untold.iter().partition(|alert| firing.contains(*alert));
        self.record.untold.extend(still.into_iter().cloned());
        let ended: HashSet<&String> = ended.into_iter().collect();
        let own = &mut self.record.notification;
        self.record.order = older.record.order;
        self.limited |= older.limited;
        if !older.was_never_tried() {
            self.record.follows_a_try = true;
            own.alerts.retain(|alert| !ended.contains(&alert.fingerprint));
        }
        let places: HashMap<String, usize> =
            own.alerts.iter().enumerate().map(|(at, alert)| (alert.fingerprint.clone(), at)).collect();
        for old in &older.record.notification.alerts {
            if old.status == AlertStatus::Resolved {
                // Its end was not accepted, so the receiver may still know it as firing, from before.
                self.record.untold.remove(&old.fingerprint);
            }
            match places.get(&old.fingerprint).and_then(|at| own.alerts.get_mut(*at)) {
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

    fn is_repeat(&self) -> bool {
        self.record.notification.reason == NotifyReason::RepeatInterval
    }

    /// When it is looked at next: its next try, or when its silence has lasted too long.
    fn looked_at(&self) -> Timestamp {
        self.in_flight.map_or(self.next, |since| since + limits::DELIVERY_SILENCE)
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
    Arc::new((notification.receiver.clone(), notification.integration.clone(), notification.group_key.clone()))
}

fn pace_of<'a>(paces: &'a mut BTreeMap<PaceKey, Pace>, key: &LaneKey) -> &'a mut Pace {
    paces.entry((key.0.clone(), key.1.clone())).or_insert_with(|| Pace::new(None))
}

impl Lane {
    fn of(head: Message) -> Lane {
        Lane { head, waiting: None, stands: Stands::Nowhere, has_place: false }
    }
}

impl Outbox {
    /// An empty outbox; `seed` is for the jitter of retries.
    pub fn new(seed: u64) -> Outbox {
        Outbox {
            lanes: BTreeMap::new(),
            lane_of: HashMap::new(),
            queue: BTreeSet::new(),
            paces: BTreeMap::new(),
            paced: BTreeSet::new(),
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

    /// Whether a message to an integration about a group was not accepted yet.
    pub(super) fn is_pending(&self, receiver: &str, integration: &str, group_key: &str) -> bool {
        let key: LaneKey = Arc::new((receiver.to_owned(), integration.to_owned(), group_key.to_owned()));
        self.lanes.contains_key(&key)
    }

    pub fn counts(&self) -> OutboxCounts {
        self.counts
    }

    /// The system's clock was set: waits get neither longer nor shorter.
    pub fn clock_stepped(&mut self, by_millis: i64) {
        for key in self.lanes.keys().cloned().collect::<Vec<_>>() {
            let Some(mut lane) = self.take(&key) else { continue };
            for message in std::iter::once(&mut lane.head).chain(&mut lane.waiting) {
                message.next = message.next.shifted(by_millis);
                message.in_flight = message.in_flight.map(|at| at.shifted(by_millis));
                let created_at = &mut message.record.notification.created_at;
                *created_at = created_at.shifted(by_millis);
                self.changed.insert(message.record.notification.id.clone());
            }
            self.put(key, lane);
        }
        for (key, pace) in &mut self.paces {
            pace.clock_stepped(by_millis);
            if pace.limit.is_some() {
                self.paced.insert(key.clone());
            }
        }
    }

    /// Sets what receivers may be called how often; the others may be called at any time.
    pub(super) fn set_limits(&mut self, limits: impl IntoIterator<Item = (PaceKey, RateLimit)>) {
        let mut before = std::mem::take(&mut self.paces);
        for (key, limit) in limits {
            let mut pace = Pace::new(Some(limit));
            if let Some(old) = before.remove(&key) {
                pace.go_on_from(old.sent().clone(), 0);
            }
            self.paces.insert(key, pace);
        }
        self.paced.extend(before.into_iter().filter(|(_, pace)| pace.limit.is_some()).map(|(key, _)| key));
        for (key, lane) in &mut self.lanes {
            if let Some(since) = lane.head.in_flight.filter(|_| lane.has_place) {
                pace_of(&mut self.paces, key).depart(since);
            }
            // The paces that held them are gone: they are asked again.
            if let Stands::Held(_) = lane.stands {
                lane.stands = Stands::Nowhere;
            }
        }
        for key in self.lanes.keys().cloned().collect::<Vec<_>>() {
            if let Some(lane) = self.take(&key) {
                self.put(key, lane);
            }
        }
    }

    /// Takes a lane out, also from where it waits.
    fn take(&mut self, key: &LaneKey) -> Option<Lane> {
        let mut lane = self.lanes.remove(key)?;
        match std::mem::replace(&mut lane.stands, Stands::Nowhere) {
            Stands::Queued(at) => drop(self.queue.remove(&(at, Arc::clone(key)))),
            Stands::Held(place) => {
                pace_of(&mut self.paces, key).release(place);
            }
            Stands::Nowhere => {}
        }
        Some(lane)
    }

    /// Puts a lane in, to be looked at when its head wants it.
    fn put(&mut self, key: LaneKey, mut lane: Lane) {
        let at = lane.head.looked_at();
        lane.stands = Stands::Queued(at);
        self.queue.insert((at, Arc::clone(&key)));
        self.lanes.insert(key, lane);
    }

    /// Every message, lane by lane.
    pub fn deliveries(&self) -> Vec<DeliveryView> {
        let lane = |(key, lane): (&LaneKey, &Lane)| {
            let mut head = lane.head.view(true);
            if let (Stands::Held(_), Some(next)) = (lane.stands, &mut head.next_try) {
                let pace = self.paces.get(&(key.0.clone(), key.1.clone()));
                if let Some(until) = pace.and_then(Pace::limited_until) {
                    *next = until.max(*next);
                    head.last_error.get_or_insert_with(|| "it waits for the receiver's rate_limit".to_owned());
                }
            }
            std::iter::once(head).chain(lane.waiting.as_ref().map(|message| message.view(false)))
        };
        self.lanes.iter().flat_map(lane).collect()
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
        let Some(mut lane) = self.take(&key) else {
            self.enlist(&message, &key);
            self.put(key, Lane::of(message));
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
            self.put(key, lane);
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
        Some(Lane::of(newer))
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
        let idle = |lane: &Lane| lane.waiting.is_none() && lane.head.in_flight.is_none() && lane.head.is_repeat();
        let oldest = self.lanes.iter().filter(|(_, lane)| idle(lane)).min_by_key(|(_, lane)| lane.head.record.order);
        if let Some(key) = oldest.map(|(key, _)| key.clone()) {
            self.drop_lane(&key);
            self.counts.repeats_dropped += 1;
        }
    }

    fn drop_lane(&mut self, key: &LaneKey) -> u64 {
        let Some(lane) = self.take(key) else { return 0 };
        if lane.has_place {
            pace_of(&mut self.paces, key).arrived();
        }
        self.forget(&lane.head);
        lane.waiting.iter().for_each(|message| self.forget(message));
        1 + u64::from(lane.waiting.is_some())
    }

    /// Gives the messages to be sent now, oldest first; they are in flight then. Their records must be in the journal
    /// before they are sent.
    pub fn due(&mut self, now: Timestamp, out: &mut Vec<Notification>) {
        let mut asked = Vec::new();
        while let Some((_, key)) = self.queue.first().filter(|(at, _)| *at <= now).cloned() {
            self.queue.pop_first();
            let Some(lane) = self.lanes.get_mut(&key) else { continue };
            let pace = pace_of(&mut self.paces, &key);
            if std::mem::replace(&mut lane.has_place, false) {
                pace.arrived();
            }
            let place = (lane.head.is_repeat(), lane.head.record.order);
            pace.hold(place, Arc::clone(&key));
            lane.stands = Stands::Held(place);
            asked.push(key);
        }
        let mut ready = Vec::new();
        for (name, pace) in &mut self.paces {
            while let Some(key) = pace.take(now) {
                if pace.limit.is_some() {
                    self.paced.insert(name.clone());
                }
                ready.push(key);
            }
        }
        let mut due: Vec<_> = ready.iter().filter_map(|key| self.depart(now, key)).collect();
        due.sort_by_key(|(order, _)| *order);
        out.extend(due.into_iter().map(|(_, notification)| notification));
        for key in asked {
            if let Some(lane) = self.lanes.get_mut(&key)
                && let Stands::Held(_) = lane.stands
                && pace_of(&mut self.paces, &key).limited_until().is_some()
                && !std::mem::replace(&mut lane.head.limited, true)
            {
                self.counts.held_back += 1;
            }
        }
    }

    /// The head of a lane goes on its way.
    fn depart(&mut self, now: Timestamp, key: &LaneKey) -> Option<(u64, Notification)> {
        let lane = self.lanes.get_mut(key)?;
        let head = &mut lane.head;
        if head.in_flight.replace(now).is_some() {
            // It may have been seen, although nothing was heard of it.
            head.record.untold.clear();
        }
        if !std::mem::replace(&mut head.record.attempted, true) {
            self.changed.insert(head.id().clone());
        }
        let at = head.looked_at();
        (lane.stands, lane.has_place) = (Stands::Queued(at), true);
        self.queue.insert((at, Arc::clone(key)));
        Some((lane.head.record.order, lane.head.record.notification.clone()))
    }

    /// When [`Outbox::due`] has something to give next.
    pub fn next_due(&self) -> Option<Timestamp> {
        let next = self.queue.first().map(|(at, _)| *at);
        next.into_iter().chain(self.paces.values().filter_map(Pace::next)).min()
    }

    /// Takes the outcome of a try.
    pub fn delivered(&mut self, now: Timestamp, id: &DeliveryId, outcome: Outcome) -> Settled {
        let Some(key) = self.lane_of.get(id).cloned() else { return Settled::Unknown };
        let in_flight = |lane: &Lane| lane.head.id() == id && lane.head.in_flight.is_some();
        if !self.lanes.get(&key).is_some_and(in_flight) {
            return Settled::Unknown;
        }
        let Some(mut lane) = self.take(&key) else { return Settled::Unknown };
        if std::mem::replace(&mut lane.has_place, false) {
            pace_of(&mut self.paces, &key).arrived();
        }
        lane.head.in_flight = None;
        lane.head.tries += 1;
        match outcome {
            Outcome::Accepted => {
                self.forget(&lane.head);
                if let Some(mut head) = lane.waiting {
                    head.next = now;
                    self.put(key, Lane::of(head));
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
                self.put(key, lane);
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
        let gone = |key: &&LaneKey| !exists(key.0.as_str(), key.1.as_str());
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
            let mut message = Message {
                record,
                tries: 0,
                next: now,
                in_flight: None,
                refused: false,
                limited: false,
                last_error: None,
            };
            self.lane_of.insert(message.id().clone(), key.clone());
            let Some(mut lane) = self.take(&key) else {
                self.put(key, Lane::of(message));
                continue;
            };
            if let Some(older) = lane.waiting.take() {
                message.absorb(&older);
                self.forget(&older);
            }
            lane.waiting = Some(message);
            self.put(key, lane);
        }
        bad
    }

    /// The records of paces that changed since the last call, as [`Outbox::take_changes`].
    pub(super) fn take_pace_changes(&mut self) -> Vec<(String, Option<serde_json::Value>)> {
        let record = |(receiver, integration): PaceKey| {
            let name = format!("{receiver}/{integration}");
            let pace = self.paces.get(&(receiver.clone(), integration.clone())).filter(|pace| pace.limit.is_some());
            let record = pace.map(|pace| PaceRecord { receiver, integration, sent: pace.sent().clone() });
            (name, record.and_then(|record| serde_json::to_value(record).ok()))
        };
        std::mem::take(&mut self.paced).into_iter().map(record).collect()
    }

    /// Brings the tries of one integration back; those without a limit are forgotten.
    pub(super) fn restore_pace(&mut self, record: PaceRecord) {
        let key = (record.receiver, record.integration);
        match self.paces.get_mut(&key).filter(|pace| pace.limit.is_some()) {
            Some(pace) => pace.go_on_from(record.sent, 0),
            None => drop(self.paced.insert(key)),
        }
    }
}
