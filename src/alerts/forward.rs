//! What waits for one Alertmanager: alerts, each in its newest state, sent in batches as Prometheus sends them.
//!
//! Spec:
//! * An alert that comes again while it waits is replaced in its place: an Alertmanager needs its state, not its history.
//! * One batch of at most [`limits::FORWARD_BATCH`] is on its way at a time, the oldest first. What was replaced meanwhile
//!   stays and goes with the next batch.
//! * A batch that fails is tried again after 1 s, 2 s, 4 s ... up to 30 s, half of it random, with what is newest then.
//!   One that is refused (4xx) is dropped and counted, as Prometheus drops it.
//! * Past [`limits::FORWARD_QUEUE`] alerts the oldest are dropped and counted. Rules tell what fires once a minute again, and
//!   ends for 15 minutes, so what a crash or a full queue loses comes again.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use super::alert::AlertIn;
use crate::limits;
use crate::model::Labels;
use crate::rng::Rng;
use crate::time::Timestamp;

/// The longest wait between two tries.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// What came of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forwarded {
    Accepted,
    /// Worth another try.
    Failed,
    /// Not wanted.
    Refused,
}

#[derive(Clone, Debug)]
struct Waiting {
    alert: AlertIn,
    version: u64,
}

/// The queue of one Alertmanager.
#[derive(Clone, Debug)]
pub struct ForwardQueue {
    waiting: BTreeMap<u64, Waiting>,
    place_of: HashMap<Labels, u64>,
    counter: u64,
    /// Places and versions of the batch on its way.
    in_flight: Option<Vec<(u64, u64)>>,
    tries: u32,
    next_try: Timestamp,
    rng: Rng,
    dropped: u64,
}

impl ForwardQueue {
    /// An empty queue; `seed` is for the jitter of retries.
    pub fn new(seed: u64) -> ForwardQueue {
        ForwardQueue {
            waiting: BTreeMap::new(),
            place_of: HashMap::new(),
            counter: 0,
            in_flight: None,
            tries: 0,
            next_try: Timestamp::MIN,
            rng: Rng::seeded(seed),
            dropped: 0,
        }
    }

    /// How many alerts wait or are on their way.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// True when nothing waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// How many alerts were dropped. Only ever grows.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Takes an alert in its newest state.
    pub fn push(&mut self, alert: AlertIn) {
        self.counter += 1;
        let version = self.counter;
        if let Some(waiting) = self.place_of.get(&alert.labels).and_then(|place| self.waiting.get_mut(place)) {
            *waiting = Waiting { alert, version };
            return;
        }
        while self.waiting.len() >= limits::FORWARD_QUEUE
            && let Some((_, oldest)) = self.waiting.pop_first()
        {
            self.place_of.remove(&oldest.alert.labels);
            self.dropped += 1;
        }
        self.place_of.insert(alert.labels.clone(), version);
        self.waiting.insert(version, Waiting { alert, version });
    }

    /// The batch to send now, if there is one; it is on its way then until [`ForwardQueue::done`].
    pub fn take(&mut self, now: Timestamp) -> Option<Vec<AlertIn>> {
        if self.in_flight.is_some() || self.waiting.is_empty() || now < self.next_try {
            return None;
        }
        let batch = self.waiting.iter().take(limits::FORWARD_BATCH);
        let (flight, alerts) = batch.map(|(place, waiting)| ((*place, waiting.version), waiting.alert.clone())).unzip();
        self.in_flight = Some(flight);
        Some(alerts)
    }

    /// When [`ForwardQueue::take`] has something to give next; `None` while nothing waits or a batch is on its way.
    pub fn next_due(&self) -> Option<Timestamp> {
        (self.in_flight.is_none() && !self.waiting.is_empty()).then_some(self.next_try)
    }

    /// Takes what came of the batch.
    pub fn done(&mut self, now: Timestamp, outcome: Forwarded) {
        let Some(flight) = self.in_flight.take() else { return };
        if outcome == Forwarded::Failed {
            self.tries += 1;
            let full = Duration::from_secs(1 << self.tries.saturating_sub(1).min(10)).min(LONGEST_WAIT);
            self.next_try = now + full.mul_f64(0.5 + self.rng.unit() / 2.0);
            return;
        }
        (self.tries, self.next_try) = (0, Timestamp::MIN);
        for (place, version) in flight {
            if self.waiting.get(&place).is_some_and(|waiting| waiting.version == version)
                && let Some(gone) = self.waiting.remove(&place)
            {
                self.place_of.remove(&gone.alert.labels);
                self.dropped += u64::from(outcome == Forwarded::Refused);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000) + Duration::from_secs(seconds)
    }

    fn alert(name: &str, end: u64) -> AlertIn {
        AlertIn {
            labels: Labels::from_pairs([("alertname", name)]),
            annotations: BTreeMap::new(),
            starts_at: Some(at(0)),
            ends_at: Some(at(end)),
            generator_url: String::new(),
        }
    }

    fn ends(batch: Option<Vec<AlertIn>>) -> Vec<(String, u64)> {
        let end = |alert: &AlertIn| alert.ends_at.expect("an end").since(at(0)).as_secs();
        batch.expect("a batch").iter().map(|a| (a.labels.value("alertname").to_owned(), end(a))).collect()
    }

    #[test]
    fn the_newest_state_is_sent_and_what_came_meanwhile_goes_next() {
        let mut queue = ForwardQueue::new(1);
        assert_eq!((queue.take(at(0)), queue.next_due()), (None, None));
        queue.push(alert("a", 1));
        queue.push(alert("b", 1));
        queue.push(alert("a", 2));
        assert_eq!(ends(queue.take(at(0))), [("a".to_owned(), 2), ("b".to_owned(), 1)]);
        assert_eq!((queue.take(at(0)), queue.next_due()), (None, None), "one batch at a time");
        queue.push(alert("b", 3));
        queue.done(at(1), Forwarded::Accepted);
        assert_eq!(ends(queue.take(at(1))), [("b".to_owned(), 3)]);
        queue.done(at(1), Forwarded::Accepted);
        assert!(queue.is_empty());
    }

    #[test]
    fn what_fails_is_tried_again_later_and_what_is_refused_is_counted() {
        let mut queue = ForwardQueue::new(1);
        queue.push(alert("a", 1));
        let mut waits = Vec::new();
        for _ in 0..8 {
            let due = queue.next_due().expect("something waits").max(at(0));
            assert!(queue.take(due).is_some());
            queue.done(due, Forwarded::Failed);
            waits.push(queue.next_due().expect("a next try").since(due));
        }
        let bound = |n: u32| Duration::from_secs(1 << n).min(LONGEST_WAIT);
        for (n, wait) in waits.iter().enumerate() {
            let most = bound(u32::try_from(n).expect("small"));
            assert!(*wait <= most && *wait >= most / 2, "{n}: {wait:?}");
        }
        let due = queue.next_due().expect("a next try");
        queue.push(alert("a", 9));
        assert_eq!(ends(queue.take(due)), [("a".to_owned(), 9)], "the newest state");
        queue.done(due, Forwarded::Refused);
        assert_eq!((queue.len(), queue.dropped()), (0, 1));
    }

    #[test]
    fn a_full_queue_drops_the_oldest() {
        let mut queue = ForwardQueue::new(1);
        for n in 0..limits::FORWARD_QUEUE + 3 {
            queue.push(alert(&format!("{n:06}"), 1));
        }
        assert_eq!((queue.len(), queue.dropped()), (limits::FORWARD_QUEUE, 3));
        let batch = ends(queue.take(at(0)));
        assert_eq!((batch.len(), batch[0].0.as_str()), (limits::FORWARD_BATCH, "000003"));
    }
}
