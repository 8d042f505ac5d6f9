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
    assert_eq!(bench.due(0), ["1 +a"]);
    bench.submit(1, "2", "+a +!b");
    assert_eq!(bench.due(1), ["x +a"]);
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
fn what_was_refused_is_dropped_with_its_end() {
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
    assert_eq!(bench.due(23), ["7 +a -b"], "b waited behind another, and was never tried");
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

/// A script for a lane or several of a receiver with a rate limit. Each step is a second and what happens then:
/// `g1 +!a` a message is decided (its id counts from 1), `ok 1` and `retry 1` what came of one, `crash`, and after `>`
/// what is sent.
fn paced(limit: (usize, u64), script: &[&str]) -> OutboxCounts {
    let limits = || {
        let limit = RateLimit { notifications: limit.0, every: secs(limit.1) };
        [(("r".to_owned(), "webhook[0]".to_owned()), limit)]
    };
    let mut bench = Bench::new();
    bench.outbox.set_limits(limits());
    let (mut disk, mut paces) = (BTreeMap::new(), BTreeMap::new());
    let mut number = 0;
    for line in script {
        let (step, expected) = line.split_once('>').unwrap_or((line, ""));
        let (second, what) = step.trim().split_once(' ').unwrap_or((step.trim(), ""));
        let now = second.parse().expect("a second");
        match what.split_once(' ') {
            Some(("ok", id)) => drop(bench.tell(now, id, Outcome::Accepted)),
            Some(("retry", id)) => drop(bench.tell(now, id, retry())),
            Some((group, alerts)) => {
                number += 1;
                let repeat = alerts.starts_with("again ");
                let reason = if repeat { NotifyReason::RepeatInterval } else { NotifyReason::NewAlerts };
                let alerts = alerts.trim_start_matches("again ");
                bench.outbox.submit(at(now), message(group, &number.to_string(), alerts, reason));
            }
            None if what == "crash" => {
                bench = Bench::new();
                bench.outbox.set_limits(limits());
                for record in BTreeMap::clone(&paces).into_values() {
                    bench.outbox.restore_pace(serde_json::from_value(record).expect("a record"));
                }
                assert_eq!(bench.outbox.restore(BTreeMap::clone(&disk), at(now)), Vec::<String>::new());
            }
            None => assert_eq!(what, ""),
        }
        let sent = bench.due(now);
        for (changes, kept) in
            [(bench.outbox.take_changes(), &mut disk), (bench.outbox.take_pace_changes(), &mut paces)]
        {
            for (key, value) in changes {
                match value {
                    Some(value) => drop(kept.insert(key, value)),
                    None => drop(kept.remove(&key)),
                }
            }
        }
        assert_eq!(sent.join(", "), expected.trim(), "{line}");
    }
    bench.outbox.counts()
}

#[test]
fn a_rate_limit_holds_back_and_merges_and_loses_no_change() {
    let check = |limit, script: &[&str], held_back, replaced| {
        let counts = paced(limit, script);
        assert_eq!((counts.held_back, counts.replaced), (held_back, replaced), "{script:?}");
    };
    // Any span of 60 s has two; what waited longest goes first.
    let two = (2, 60);
    check(
        two,
        &["0 a +!a > 1 +a", "10 b +!b > 2 +b", "20 c +!c", "30 d +!d", "59", "60 > 3 +c", "69", "70 > 4 +d"],
        2,
        0,
    );
    // A newer message of the group takes the place of the one that waits, and its turn.
    let one = (1, 60);
    check(one, &["0 a +!a > 1 +a", "1 b +!b", "2 c +!c", "3 b +b +!d", "60 > 4 +b +d", "120 > 3 +c"], 2, 1);
    // What fired and ended while it waited is told once, with both its times; what fires on is told as firing.
    check(one, &["0 a +!a > 1 +a", "1 b +!b", "2 b -!b", "60 > 3 -b"], 1, 1);
    check(one, &["0 a +!a > 1 +a", "1 b +!b +!c", "2 b +c -!b", "60 > 3 +c -b"], 1, 1);
    check(one, &["0 a +!a > 1 +a", "1 b +!b", "2 b -!b", "3 b +!b", "60 > 4 +b"], 1, 2);
    check(one, &["0 a +!a > 1 +a", "1 b +!b", "2 b -!b", "3 b +!b", "4 b -!b", "60 > 5 -b"], 1, 3);
    // Ends of alerts that only the older message told are carried on.
    check(one, &["0 a +!a > 1 +a", "1 b +!b -!z", "2 b +b +!c", "60 > 3 +b +c -z"], 1, 1);
    // A firing that may have been seen comes before its end, also when the next try waits for room.
    check(one, &["0 a +!a > 1 +a", "1 retry 1", "5 a -!a", "60 > 1 +a", "61 ok 1", "119", "120 > 2 -a"], 2, 0);
    // Tries count.
    check(one, &["0 a +!a > 1 +a", "1 retry 1", "2 b +!b", "60 > 1 +a", "120 > 2 +b"], 2, 0);
    // Changes of state go before repeats.
    check(one, &["0 a +!a > 1 +a", "1 b again +b", "2 c +!c", "60 > 3 +c", "120 > 2 +b"], 2, 0);
    // A restart gives no room, and forgets nothing.
    check(one, &["0 a +!a > 1 +a", "0 ok 1", "1 b +!b", "2 b -!b", "3 crash", "59", "60 > 3 -b"], 1, 0);
}

#[test]
fn a_limit_that_a_reload_takes_away_lets_everything_go() {
    let mut bench = Bench::new();
    let name = ("r".to_owned(), "webhook[0]".to_owned());
    bench.outbox.set_limits([(name, RateLimit { notifications: 1, every: secs(60) })]);
    for group in ["a", "b", "c"] {
        bench.outbox.submit(at(0), message(group, group, "+!x", NotifyReason::NewAlerts));
    }
    assert_eq!(bench.due(0), ["a +x"]);
    assert_eq!(bench.outbox.next_due(), Some(at(60)));
    let waits = &bench.outbox.deliveries()[1];
    assert_eq!((waits.next_try, waits.last_error.is_some()), (Some(at(60)), true));
    bench.outbox.clock_stepped(30_000);
    assert_eq!(bench.due(60), Vec::<String>::new());
    bench.outbox.set_limits([]);
    assert_eq!([bench.due(61), bench.due(62)], [["b +x"], ["c +x"]]);
    assert!(bench.outbox.take_pace_changes().iter().all(|(_, record)| record.is_none()));
}

#[test]
fn messages_to_an_integration_go_one_by_one_until_it_is_slow_or_many_are_to_be_sent() {
    let mut bench = Bench::new();
    let submit = |bench: &mut Bench, now: u64, ids: std::ops::Range<usize>| {
        for n in ids {
            let message = message(&format!("g{n:02}"), &n.to_string(), "+!a", NotifyReason::NewAlerts);
            bench.outbox.submit(at(now), message);
        }
    };
    submit(&mut bench, 0, 0..4);
    assert_eq!(bench.due(0), ["0 +a"]);
    assert_eq!((bench.due(0).len(), bench.outbox.next_due()), (0, Some(at(0) + limits::SLOW_DELIVERY)));
    // What was accepted makes room at once.
    bench.tell(0, "0", Outcome::Accepted);
    assert_eq!(bench.due(0), ["1 +a"]);
    // One that takes long makes room for another, each second.
    assert_eq!(bench.due(1), ["2 +a"]);
    assert_eq!(bench.due(1), Vec::<String>::new());
    bench.tell(1, "1", Outcome::Accepted);
    assert_eq!(bench.due(1), Vec::<String>::new());
    bench.tell(1, "2", Outcome::Accepted);
    assert_eq!(bench.due(1), ["3 +a"]);
    // Where there are many, many go.
    submit(&mut bench, 1, 4..limits::BACKLOG + 3);
    assert_eq!(bench.due(1).len(), limits::ON_THEIR_WAY - 1);
}

#[test]
fn an_integration_has_so_many_messages_in_flight_and_the_others_merge() {
    let mut bench = Bench::new();
    let most = limits::ON_THEIR_WAY;
    let deliveries = u32::try_from(most / limits::DELIVERIES_PER_INTEGRATION).expect("a small number");
    assert!(limits::DELIVERY_TIME * deliveries < limits::DELIVERY_SILENCE);
    for n in 0..=most {
        bench.outbox.submit(at(0), message(&format!("g{n:02}"), &n.to_string(), "+!a", NotifyReason::NewAlerts));
    }
    assert_eq!(bench.due(0).len(), most);
    let last = format!("g{most:02}");
    bench.outbox.submit(at(1), message(&last, "end", "-!a", NotifyReason::AllResolved));
    assert_eq!((bench.due(1).len(), bench.outbox.next_due()), (0, Some(at(0) + limits::DELIVERY_SILENCE)));
    bench.tell(2, "3", retry());
    assert_eq!(bench.due(2), ["end -a"]);
    // One whose delivery was not heard of waits again, and one that a reload drops makes room.
    let again = at(0) + limits::DELIVERY_SILENCE;
    assert_eq!(bench.due_at(again).len(), most - 1);
    bench.outbox.keep_only(|_, _| false);
    bench.outbox.submit(again, message("g", "new", "+!a", NotifyReason::NewAlerts));
    assert_eq!(bench.due_at(again), ["new +a"]);
}
