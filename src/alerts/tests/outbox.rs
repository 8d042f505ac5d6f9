//! The outbox by itself: lanes, retries, and what takes the place of what.

use std::collections::BTreeMap;
use std::time::Duration;

use super::world::{at, secs};
use crate::alerts::*;
use crate::limits;
use crate::time::Timestamp;

/// A message of the lane `group`, for example `+a +b -c`: `+` fires, `-` is resolved; `!` marks news.
fn message(group: &str, id: &str, alerts: &str, reason: NotifyReason) -> Notification {
    let alert = |text: &str| {
        let name = text.trim_start_matches(['+', '-', '!']).to_owned();
        let fires = text.starts_with('+');
        NotifiedAlert {
            status: if fires { AlertStatus::Firing } else { AlertStatus::Resolved },
            labels: BTreeMap::from([("alertname".to_owned(), name.clone())]),
            annotations: BTreeMap::new(),
            starts_at: at(0),
            ends_at: (!fires).then_some(at(1)),
            generator_url: String::new(),
            fingerprint: name,
            is_news: text.contains('!'),
        }
    };
    let alerts: Vec<NotifiedAlert> = alerts.split_whitespace().map(alert).collect();
    let fires = alerts.iter().any(|alert| alert.status == AlertStatus::Firing);
    Notification {
        id: DeliveryId(id.to_owned()),
        receiver: "r".to_owned(),
        integration: "webhook[0]".to_owned(),
        group_key: group.to_owned(),
        status: if fires { AlertStatus::Firing } else { AlertStatus::Resolved },
        reason,
        group_labels: BTreeMap::new(),
        common_labels: BTreeMap::new(),
        common_annotations: BTreeMap::new(),
        alerts,
        truncated_alerts: 0,
        external_url: String::new(),
        created_at: at(0),
        links: BTreeMap::new(),
    }
}

struct Bench {
    outbox: Outbox,
}

impl Bench {
    fn new() -> Bench {
        Bench { outbox: Outbox::new(7) }
    }

    fn submit(&mut self, now: u64, id: &str, alerts: &str) {
        self.outbox.submit(at(now), message("g", id, alerts, NotifyReason::NewAlerts));
    }

    /// What is to be sent at a second: `id +a -b`.
    fn due(&mut self, now: u64) -> Vec<String> {
        self.due_at(at(now))
    }

    fn due_at(&mut self, now: Timestamp) -> Vec<String> {
        let mut out = Vec::new();
        self.outbox.due(now, &mut out);
        let sign = |alert: &NotifiedAlert| if alert.status == AlertStatus::Firing { "+" } else { "-" };
        let name = |alert: &NotifiedAlert| format!(" {}{}", sign(alert), alert.fingerprint);
        out.iter().map(|m| format!("{}{}", m.id, m.alerts.iter().map(name).collect::<String>())).collect()
    }

    fn tell(&mut self, now: u64, id: &str, outcome: Outcome) -> Settled {
        self.outbox.delivered(at(now), &DeliveryId(id.to_owned()), outcome)
    }
}

fn retry() -> Outcome {
    Outcome::Retry { reason: "503".to_owned(), after: None }
}

fn refused() -> Outcome {
    Outcome::Refused { reason: "404".to_owned() }
}

#[test]
fn a_lane_has_one_message_in_flight_and_never_blocks_another() {
    let mut bench = Bench::new();
    bench.submit(0, "1", "+!a");
    bench.outbox.submit(at(0), message("other", "x", "+!a", NotifyReason::NewAlerts));
    assert_eq!(bench.due(0), ["1 +a", "x +a"]);
    bench.submit(1, "2", "+a +!b");
    assert_eq!(bench.due(1), Vec::<String>::new());
    assert_eq!(bench.tell(2, "2", Outcome::Accepted), Settled::Unknown, "it was not sent yet");
    assert_eq!(bench.tell(2, "1", Outcome::Accepted), Settled::Done);
    assert_eq!(bench.due(2), ["2 +a +b"]);
    assert_eq!(bench.tell(3, "2", Outcome::Accepted), Settled::Done);
    assert_eq!(bench.tell(3, "2", Outcome::Accepted), Settled::Unknown, "told twice");
    assert_eq!(bench.outbox.len(), 1);
}

#[test]
fn a_firing_message_that_may_have_been_seen_comes_before_its_end() {
    let mut bench = Bench::new();
    bench.submit(0, "1", "+!a");
    bench.due(0);
    bench.tell(1, "1", retry());
    bench.submit(1, "2", "-!a");
    assert_eq!(bench.due(2), ["1 +a"]);
    bench.tell(2, "1", Outcome::Accepted);
    assert_eq!(bench.due(2), ["2 -a"]);
    assert_eq!(bench.outbox.counts(), OutboxCounts::default());
}

#[test]
fn what_was_certainly_never_told_is_dropped_with_its_end() {
    let mut bench = Bench::new();
    bench.submit(0, "1", "+!a");
    bench.due(0);
    bench.tell(1, "1", refused());
    bench.submit(2, "2", "-!a");
    assert!(bench.outbox.is_empty());
    // Also when the refusal comes while the end waits already.
    bench.submit(10, "3", "+!a");
    bench.due(10);
    bench.submit(11, "4", "-!a");
    assert_eq!(bench.tell(12, "3", refused()), Settled::Replaced);
    assert!(bench.outbox.is_empty());
    // And for one alert of several.
    bench.submit(20, "5", "+!a");
    bench.due(20);
    bench.submit(21, "6", "+a +!b");
    bench.submit(22, "7", "+a -!b");
    bench.tell(23, "5", Outcome::Accepted);
    assert_eq!(bench.due(23), ["7 +a"]);
    assert_eq!(bench.outbox.counts().replaced, 3);
}

#[test]
fn an_end_that_was_refused_is_told_once_it_is_over_again() {
    let mut bench = Bench::new();
    bench.submit(0, "1", "+!a");
    bench.due(0);
    bench.tell(0, "1", Outcome::Accepted);
    for (now, id, alerts) in [(1, "2", "-!a"), (2, "3", "+!a")] {
        bench.submit(now, id, alerts);
        bench.due(now);
        bench.tell(now, id, refused());
    }
    bench.submit(3, "4", "-!a");
    assert_eq!(bench.due(3), ["4 -a"], "the receiver still knows the first message");
}

#[test]
fn a_newer_message_takes_the_place_of_what_it_covers() {
    let mut bench = Bench::new();
    bench.submit(0, "1", "+!a -!z");
    bench.due(0);
    bench.tell(0, "1", retry());
    bench.submit(0, "2", "+a +!b");
    assert_eq!(bench.due(0), Vec::<String>::new(), "the receiver has trouble: the wait stays");
    assert_eq!(bench.due(1), ["2 +a +b -z"], "the end of z was in the first message only");
    bench.tell(1, "2", Outcome::Accepted);
    // A waiting message gives way, and its ends are carried on.
    bench.submit(2, "3", "+a +b");
    bench.due(2);
    bench.submit(3, "4", "+a -!b");
    bench.submit(4, "5", "+a +!c");
    bench.tell(5, "3", Outcome::Accepted);
    assert_eq!(bench.due(5), ["5 +a +c -b"]);
}

#[test]
fn waits_double_up_to_a_minute_and_honour_the_receiver() {
    let mut bench = Bench::new();
    bench.submit(0, "1", "+!a");
    let mut now = at(0);
    let id = DeliveryId("1".to_owned());
    for full in [1, 2, 4, 8, 16, 32, 60, 60, 60] {
        assert_eq!(bench.due_at(now), ["1 +a"]);
        let Settled::WaitsUntil(next) = bench.outbox.delivered(now, &id, retry()) else { panic!("it waits") };
        let wait = next.since(now);
        assert!(wait >= secs(full) / 2 && wait <= secs(full), "{wait:?} of {full} s");
        assert_eq!(bench.outbox.next_due(), Some(next));
        now = next;
    }
    let ask = |bench: &mut Bench, seconds: u64| {
        bench.due_at(bench.outbox.next_due().expect("waits"));
        let outcome = Outcome::Retry { reason: "429".to_owned(), after: Some(secs(seconds)) };
        match bench.outbox.delivered(at(0), &id, outcome) {
            Settled::WaitsUntil(next) => next.since(at(0)),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(ask(&mut bench, 100), secs(100));
    assert_eq!(ask(&mut bench, 86_400), limits::RETRY_AFTER);
    assert!(ask(&mut bench, 0) <= limits::RETRY_WAIT);
    bench.due_at(bench.outbox.next_due().expect("waits"));
    assert_eq!(bench.outbox.delivered(at(0), &id, refused()), Settled::WaitsUntil(at(0) + limits::REFUSED_WAIT));
    assert_eq!(bench.outbox.deliveries()[0].last_error.as_deref(), Some("404"));
    assert_eq!(bench.outbox.deliveries()[0].tries, 13);
}

#[test]
fn a_delivery_of_which_nothing_is_heard_is_tried_again() {
    let mut bench = Bench::new();
    bench.submit(0, "1", "+!a");
    assert_eq!(bench.due(0), ["1 +a"]);
    let again = at(0) + limits::DELIVERY_SILENCE;
    assert_eq!(bench.outbox.next_due(), Some(again));
    assert_eq!(bench.due_at(again - Duration::from_millis(1)), Vec::<String>::new());
    assert_eq!(bench.due_at(again), ["1 +a"]);
    // The first try may have been seen, so the end is told even when the second is refused.
    bench.tell(400, "1", refused());
    bench.submit(400, "2", "-!a");
    assert_eq!(bench.due(400), ["2 -a"]);
}

#[test]
fn repeats_give_way_and_changes_never_do() {
    let mut bench = Bench::new();
    bench.submit(0, "1", "+!a");
    bench.outbox.submit(at(0), message("g", "2", "+a", NotifyReason::RepeatInterval));
    assert_eq!((bench.outbox.len(), bench.outbox.counts().repeats_dropped), (1, 1));
    // Full: repeats are refused, and one that is there makes room for a change.
    let mut bench = Bench::new();
    bench.outbox.submit(at(0), message("repeat", "r", "+a", NotifyReason::RepeatInterval));
    for n in 1..limits::OUTBOX {
        bench.outbox.submit(at(0), message(&format!("g{n}"), &n.to_string(), "+!a", NotifyReason::NewAlerts));
    }
    bench.outbox.submit(at(1), message("another", "s", "+a", NotifyReason::RepeatInterval));
    assert_eq!((bench.outbox.len(), bench.outbox.counts().repeats_dropped), (limits::OUTBOX, 1));
    bench.outbox.submit(at(1), message("change", "t", "-!a", NotifyReason::AllResolved));
    assert_eq!((bench.outbox.len(), bench.outbox.counts().repeats_dropped), (limits::OUTBOX, 2));
    assert!(!bench.outbox.deliveries().iter().any(|delivery| delivery.id.0 == "r"));
    bench.outbox.submit(at(1), message("more", "u", "-!a", NotifyReason::AllResolved));
    assert_eq!(bench.outbox.len(), limits::OUTBOX + 1);
}

#[test]
fn a_restart_sends_what_was_not_accepted_with_the_same_ids_in_the_same_order() {
    let mut bench = Bench::new();
    bench.submit(0, "1", "+!a");
    bench.due(0);
    bench.submit(1, "2", "-!a");
    let records: Vec<_> = bench.outbox.take_changes();
    let mut again = Bench::new();
    let values = records.into_iter().filter_map(|(id, value)| Some((id, value?))).rev();
    let bad = again.outbox.restore(values.chain([("x".to_owned(), serde_json::Value::Null)]), at(5));
    assert_eq!(bad.len(), 1);
    assert_eq!(again.due(5), ["1 +a"]);
    again.tell(6, "1", Outcome::Accepted);
    assert_eq!(again.due(6), ["2 -a"]);
    again.tell(7, "2", Outcome::Accepted);
    again.submit(8, "3", "+!a");
    let gone: Vec<_> = again.outbox.take_changes();
    let left: Vec<_> = gone.iter().filter(|(_, value)| value.is_some()).map(|(id, _)| id.as_str()).collect();
    assert_eq!((left, gone.len()), (vec!["3"], 3));
}

#[test]
fn what_helps_nobody_any_more_is_dropped_and_counted() {
    let mut bench = Bench::new();
    bench.submit(0, "1", "+!a");
    bench.due(0);
    bench.tell(0, "1", retry());
    bench.outbox.sweep(at(0) + limits::ALERT_RETENTION);
    assert_eq!(bench.outbox.len(), 1);
    bench.outbox.sweep(at(1) + limits::ALERT_RETENTION);
    assert_eq!((bench.outbox.len(), bench.outbox.counts().expired), (0, 1));
    bench.submit(0, "2", "+!a");
    bench.outbox.keep_only(|receiver, integration| (receiver, integration) == ("r", "email[0]"));
    assert_eq!((bench.outbox.len(), bench.outbox.counts().orphaned), (0, 1));
}
