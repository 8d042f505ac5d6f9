//! Timelines: what happens when, and what the receivers hear when. Alertmanager's behaviour unless it says otherwise.

use super::world::{World, at, labels, line, report, secs, settings};
use crate::alerts::*;

/// One step of a script, `second what [alert]`: fire, resolve, crash, wait.
pub fn play(settings: Settings, script: &[&str]) -> Vec<String> {
    let mut world = World::new(settings);
    for step in script {
        let mut words = step.splitn(3, ' ');
        let second = words.next().and_then(|word| word.parse().ok()).expect("a second");
        let (what, alert) = (words.next().expect("what"), words.next().unwrap_or(""));
        world.run_to(second);
        match what {
            "fire" => world.fire(alert),
            "resolve" => world.resolve(alert),
            "crash" => world.crash(),
            "wait" => {}
            other => panic!("no such step: {other}"),
        }
    }
    world.heard
}

pub fn check(settings: Settings, script: &[&str], heard: &[&str]) {
    assert_eq!(play(settings, script), heard, "{script:?}");
}

fn grouped(by: &[&str]) -> Settings {
    let mut settings = settings();
    settings.route.group_by = Some(GroupBy::Labels(by.iter().map(|name| (*name).to_owned()).collect()));
    settings
}

#[test]
fn a_group_waits_and_then_speaks_in_its_rhythm() {
    check(settings(), &["0 fire A", "10 fire B", "29 wait"], &[]);
    check(settings(), &["0 fire A", "10 fire B", "600 wait"], &["30 webhook[0] first_notification firing A B"]);
    check(
        settings(),
        &["0 fire A", "40 fire B", "700 wait"],
        &["30 webhook[0] first_notification firing A", "330 webhook[0] new_alerts firing A B"],
    );
    check(
        settings(),
        &["0 fire A", "0 fire B", "40 resolve A", "400 resolve B", "2000 wait"],
        &[
            "30 webhook[0] first_notification firing A B",
            "330 webhook[0] some_resolved firing B resolved A",
            "630 webhook[0] all_resolved resolved B",
        ],
    );
    check(settings(), &["0 fire A", "20 resolve A", "2000 wait"], &[]);
    // What fires again within the interval is not told twice; what fires again after its end is.
    check(
        settings(),
        &["0 fire A", "40 resolve A", "50 fire A", "700 wait"],
        &["30 webhook[0] first_notification firing A"],
    );
    check(
        settings(),
        &["0 fire A", "40 resolve A", "340 fire A", "700 wait"],
        &[
            "30 webhook[0] first_notification firing A",
            "330 webhook[0] all_resolved resolved A",
            "370 webhook[0] first_notification firing A",
        ],
    );
    // It came and went between two flushes, while another fires.
    check(
        settings(),
        &["0 fire A", "40 fire B", "50 resolve B", "700 wait"],
        &["30 webhook[0] first_notification firing A", "330 webhook[0] some_resolved firing A resolved B"],
    );
}

#[test]
fn repeats_come_at_the_first_flush_after_the_repeat_interval() {
    let script: Vec<String> = (0..15).map(|n| format!("{} fire A", n * 600)).collect();
    let script: Vec<&str> = script.iter().map(String::as_str).collect();
    check(
        settings(),
        &script,
        &[
            "30 webhook[0] first_notification firing A",
            "3930 webhook[0] repeat_interval firing A",
            "7830 webhook[0] repeat_interval firing A",
        ],
    );
}

#[test]
fn an_old_alert_is_told_at_once() {
    let mut world = World::new(settings());
    world.run_to(100);
    world.machine.put(at(100), report("A", at(60), Some(at(1000)))).expect("valid");
    world.run_to(100);
    assert_eq!(world.heard, ["100 webhook[0] first_notification firing A"]);
}

#[test]
fn groups_have_their_own_timers() {
    check(
        grouped(&["alertname"]),
        &["0 fire A i=1", "10 fire B i=1", "20 fire A i=2", "100 wait"],
        &["30 webhook[0] first_notification firing A/1 A/2", "40 webhook[0] first_notification firing B/1"],
    );
    let mut all = settings();
    all.route.group_by = Some(GroupBy::All);
    check(
        all,
        &["0 fire A i=1", "1 fire A i=2", "100 wait"],
        &["30 webhook[0] first_notification firing A/1", "31 webhook[0] first_notification firing A/2"],
    );
}

#[test]
fn an_alert_that_nobody_refreshes_is_resolved_after_the_timeout() {
    let mut world = World::new(settings());
    let report = AlertIn { ends_at: None, ..report("A", at(0), None) };
    world.machine.put(at(0), report.clone()).expect("valid");
    world.run_to(200);
    world.machine.put(at(200), report).expect("valid");
    world.run_to(2000);
    assert_eq!(
        world.heard,
        ["30 webhook[0] first_notification firing A", "630 webhook[0] all_resolved resolved A"],
        "200 s and 300 s of resolve_timeout end at 500 s"
    );
}

#[test]
fn send_resolved_and_max_alerts_are_the_integrations_own() {
    let mut settings = settings();
    let quiet = IntegrationSpec { name: "email[0]".to_owned(), send_resolved: false, max_alerts: 1, rate_limit: None };
    settings.receivers[0].integrations.push(quiet);
    check(
        settings.clone(),
        &["0 fire A", "0 fire B", "40 resolve A", "400 resolve B", "2000 wait"],
        &[
            "30 webhook[0] first_notification firing A B",
            "30 email[0] first_notification firing A",
            "330 webhook[0] some_resolved firing B resolved A",
            "630 webhook[0] all_resolved resolved B",
        ],
    );
    // The end of all was not sent, but it was noted.
    check(
        settings,
        &["0 fire A", "40 resolve A", "400 fire A", "1000 wait"],
        &[
            "30 webhook[0] first_notification firing A",
            "30 email[0] first_notification firing A",
            "330 webhook[0] all_resolved resolved A",
            "430 webhook[0] first_notification firing A",
            "430 email[0] first_notification firing A",
        ],
    );
}

#[test]
fn a_message_tells_what_alertmanagers_would() {
    let mut world = World::new(grouped(&["alertname"]));
    world.machine.settings.receivers[0].integrations[0].max_alerts = 2;
    for alert in ["A instance=b job=j", "A instance=a job=j", "A instance=c"] {
        world.fire(alert);
    }
    let mut out = Vec::new();
    world.machine.tick(at(30), &mut out);
    let message = &out[0];
    assert_eq!(message.group_key, "{}:{alertname=\"A\"}");
    assert_eq!(line(message), "webhook[0] first_notification firing A/a/j A/b/j");
    assert_eq!((message.truncated_alerts, message.receiver.as_str()), (1, "r"));
    assert_eq!(message.group_labels.len(), 1);
    assert_eq!(message.common_labels.keys().collect::<Vec<_>>(), ["alertname", "job"]);
    assert!(message.common_annotations.is_empty());
    assert_eq!(message.alerts[0].fingerprint, labels("A instance=a job=j").fingerprint().to_string());
    assert_eq!((message.alerts[0].starts_at, message.alerts[0].ends_at), (at(0), None));
    assert!(message.alerts.iter().all(|alert| alert.is_news && alert.generator_url == "http://expr"));
    assert_eq!((message.created_at, message.external_url.as_str()), (at(30), "http://page"));
    assert!(message.id.0.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-') && message.id.0.len() == 36);
}

#[test]
fn a_firing_source_keeps_targets_quiet() {
    let mut settings = settings();
    settings.inhibit_rules = vec![InhibitRule {
        name: String::new(),
        source_matchers: parse_matchers("s=crit").expect("matchers"),
        target_matchers: parse_matchers("s=warn").expect("matchers"),
        equal: vec!["i".to_owned()],
    }];
    check(
        settings.clone(),
        &["0 fire A s=crit i=1", "0 fire B s=warn i=1", "0 fire B s=warn i=2", "40 resolve A s=crit i=1", "400 wait"],
        &[
            "30 webhook[0] first_notification firing A/1/crit B/2/warn",
            "330 webhook[0] new_alerts firing B/1/warn B/2/warn resolved A/1/crit",
        ],
    );
    let mut world = World::new(settings);
    world.fire("A s=crit i=1");
    world.fire("B s=warn i=1");
    let views = world.machine.alerts(at(0));
    assert_eq!(views[1].inhibited_by, [labels("A s=crit i=1").fingerprint().to_string()]);
    assert_eq!((views[0].state, views[1].state), (AlertState::Unprocessed, AlertState::Suppressed));
}

pub fn silence(matchers: &str, from: u64, to: u64) -> SilenceIn {
    SilenceIn {
        id: None,
        matchers: parse_matchers(matchers).expect("matchers"),
        starts_at: at(from),
        ends_at: at(to),
        created_by: "me".to_owned(),
        comment: "because".to_owned(),
        annotations: Default::default(),
    }
}

#[test]
fn a_silence_keeps_quiet_what_it_covers_while_it_is_active() {
    let mut world = World::new(settings());
    let id = world.machine.set_silence(at(0), silence("alertname=A", 0, 500)).expect("a silence");
    world.save();
    world.fire("A");
    world.fire("B");
    assert_eq!(world.machine.alerts(at(0))[0].silenced_by, [id.as_str()]);
    world.run_to(100);
    world.crash();
    world.run_to(1000);
    assert_eq!(world.heard, ["30 webhook[0] first_notification firing B", "630 webhook[0] new_alerts firing A B"]);
    let explained = world.machine.explain(&labels("A"), at(400));
    assert!(explained.contains(&format!("silenced by {id}")), "{explained}");
}

#[test]
fn silences_follow_alertmanagers_api() {
    let mut world = World::new(settings());
    let machine = &mut world.machine;
    let id = machine.set_silence(at(10), silence("a=b", 0, 100)).expect("a silence");
    let state = |machine: &Alerts, id: &str, now: u64| machine.silence(id).map(|silence| silence.state(at(now)));
    assert_eq!(machine.silence(&id).map(|s| s.starts_at), Some(at(10)), "a start in the past becomes now");
    assert_eq!(id.len(), 36);
    // A later end keeps the id; other matchers do not.
    let change = |id: &str, input: SilenceIn| SilenceIn { id: Some(id.to_owned()), ..input };
    assert_eq!(machine.set_silence(at(20), change(&id, silence("a=b", 10, 200))), Ok(id.clone()));
    let other = machine.set_silence(at(30), change(&id, silence("a=c", 10, 200))).expect("a silence");
    assert_ne!(other, id);
    assert_eq!(state(machine, &id, 30), Some(SilenceState::Expired));
    assert_eq!(state(machine, &other, 30), Some(SilenceState::Active));
    let later = machine.set_silence(at(30), silence("a=b", 50, 60)).expect("a silence");
    assert_eq!(state(machine, &later, 40), Some(SilenceState::Pending));
    assert_eq!(machine.expire_silence(at(40), &later), Ok(()));
    assert_eq!(machine.expire_silence(at(41), &later), Err(SilenceError::AlreadyExpired(later)));
    assert_eq!(machine.expire_silence(at(41), "x"), Err(SilenceError::NotFound("x".to_owned())));
    for (input, error) in [
        (silence("", 0, 100), SilenceError::NoMatchers),
        (silence("a=~\".*\"", 0, 100), SilenceError::MatchesEverything),
        (silence("a=b", 100, 100), SilenceError::EndsBeforeStart),
        (silence("a=b", 0, 40), SilenceError::EndsInThePast),
        (change("gone", silence("a=b", 0, 100)), SilenceError::NotFound("gone".to_owned())),
    ] {
        assert_eq!(machine.set_silence(at(50), input), Err(error));
    }
    // Expired ones are forgotten after the retention.
    world.fire("A");
    world.run_to(200 + 6 * 86_400);
    world.machine.tick(at(200 + 6 * 86_400), &mut Vec::new());
    assert_eq!(world.machine.silences().count(), 0);
}

#[test]
fn time_intervals_keep_a_route_quiet() {
    let night = TimeEntry { times: vec![parse_times("22:00", "24:00").expect("times")], ..TimeEntry::default() };
    let mut muted = settings();
    muted.time_intervals = vec![TimeInterval { name: "night".to_owned(), entries: vec![night] }];
    let mut active = muted.clone();
    // The root has no intervals of its own in Alertmanager; here a child has.
    let child = |route: &Route| Route { routes: vec![Route::default()], ..route.clone() };
    muted.route = child(&muted.route);
    muted.route.routes[0].mute_time_intervals = vec!["night".to_owned()];
    active.route = child(&active.route);
    active.route.routes[0].active_time_intervals = vec!["night".to_owned()];
    // 22:13:20 to 24:00 are 6400 s.
    check(muted.clone(), &["0 fire A", "6900 wait"], &["6630 webhook[0] first_notification firing A"]);
    check(active.clone(), &["0 fire A", "100 wait"], &["30 webhook[0] first_notification firing A"]);
    check(active, &["6500 fire A", "8000 wait"], &[]);
    let mut world = World::new(muted);
    world.fire("A");
    assert_eq!(world.machine.alerts(at(0))[0].muted_by, ["night"]);
    assert!(world.machine.explain(&labels("A"), at(0)).contains("quiet because of the time interval \"night\""));
}

/// Additions to Alertmanager.
#[test]
fn resolved_alerts_are_told_sooner_with_a_resolve_wait() {
    let mut prompt = settings();
    prompt.route.resolve_wait = Some(secs(5));
    check(
        prompt.clone(),
        &["0 fire A", "0 fire B", "40 resolve A", "100 fire C", "200 resolve B", "700 wait"],
        &[
            "30 webhook[0] first_notification firing A B",
            "45 webhook[0] some_resolved firing B resolved A",
            "205 webhook[0] new_alerts firing C resolved B",
        ],
    );
    check(prompt.clone(), &["0 fire A", "10 resolve A", "100 wait"], &[]);
    // The group's own rhythm stays as it is.
    check(
        prompt,
        &["0 fire A", "0 fire B", "40 resolve A", "50 fire C", "400 wait"],
        &[
            "30 webhook[0] first_notification firing A B",
            "45 webhook[0] some_resolved firing B resolved A",
            "330 webhook[0] new_alerts firing B C",
        ],
    );
}

#[test]
fn an_end_gets_through_a_silence_when_it_is_asked_for() {
    for (asked, heard) in [
        (false, vec!["30 webhook[0] first_notification firing A B"]),
        (
            true,
            vec![
                "30 webhook[0] first_notification firing A B",
                "330 webhook[0] some_resolved resolved A",
                "630 webhook[0] all_resolved resolved B",
            ],
        ),
    ] {
        let mut world = World::new(Settings { resolve_when_muted: asked, ..settings() });
        world.fire("A");
        world.fire("B");
        world.run_to(40);
        world.machine.set_silence(at(40), silence("alertname=~\"A|B\"", 40, 5000)).expect("a silence");
        world.resolve("A");
        world.run_to(400);
        world.resolve("B");
        world.run_to(3000);
        assert_eq!(world.heard, heard, "{asked}");
    }
}

#[test]
fn a_restart_neither_repeats_nor_forgets() {
    // Alertmanager 0.25 fails both of these after a kill.
    check(
        settings(),
        &["0 fire A", "40 crash", "41 fire A", "2000 wait"],
        &["30 webhook[0] first_notification firing A"],
    );
    check(
        settings(),
        &["0 fire A", "40 crash", "41 resolve A", "2000 wait"],
        &["30 webhook[0] first_notification firing A", "330 webhook[0] all_resolved resolved A"],
    );
    // Timers go on where they were.
    check(
        settings(),
        &["0 fire A", "20 crash", "100 crash", "110 fire B", "120 crash", "2000 wait"],
        &["30 webhook[0] first_notification firing A", "330 webhook[0] new_alerts firing A B"],
    );
}

#[test]
fn an_alert_that_outlived_our_absence_is_not_told_to_be_resolved() {
    let mut world = World::new(settings());
    world.machine.put(at(0), report("A", at(0), Some(at(240)))).expect("valid");
    world.run_to(40);
    // We are down from 40 s to 1000 s; the source speaks again at 1060 s.
    world.now = 1000;
    world.crash();
    world.run_to(1060);
    world.machine.put(at(1060), report("A", at(0), Some(at(1300)))).expect("valid");
    world.run_to(1250);
    assert_eq!(world.heard, ["30 webhook[0] first_notification firing A"]);
    world.run_to(2000);
    assert_eq!(world.heard.len(), 2, "{:?}", world.heard);
}

#[test]
fn ends_that_concern_nobody_leave_no_trace() {
    let mut world = World::new(settings());
    world.resolve("A");
    assert_eq!((world.machine.next_deadline(), world.disk.len()), (None, 0));
    world.fire("B");
    world.run_to(40);
    world.resolve("B");
    world.run_to(400);
    world.resolve("B");
    world.run_to(3000);
    world.disk.retain(|key, _| !key.starts_with("noise/"));
    assert_eq!(world.disk.len(), 0, "{:?}", world.disk);
}

#[test]
fn a_reload_keeps_timers_and_drops_what_has_no_receiver() {
    let mut world = World::new(settings());
    world.fire("A");
    world.run_to(10);
    world.machine.reload(at(10), settings());
    world.run_to(40);
    let mut other = settings();
    other.receivers[0].integrations[0].name = "email[0]".to_owned();
    world.machine.reload(at(50), other);
    world.save();
    world.run_to(400);
    assert_eq!(world.heard, ["30 webhook[0] first_notification firing A", "330 email[0] first_notification firing A"]);
    assert!(!world.disk.keys().any(|key| key.contains("webhook")), "{:?}", world.disk.keys());
}

#[test]
fn bad_reports_are_refused() {
    let mut machine = Alerts::new(settings(), 1);
    let put = |machine: &mut Alerts, input: AlertIn| machine.put(at(100), input);
    assert_eq!(put(&mut machine, report("", at(0), None)), Err(AlertError::NoLabels));
    assert_eq!(put(&mut machine, report("A", at(50), Some(at(40)))), Err(AlertError::EndsBeforeStart));
    let long = format!("a={}", "x".repeat(20_000));
    assert_eq!(put(&mut machine, report(&long, at(0), None)), Err(AlertError::LabelsTooLarge));
    assert_eq!(
        machine
            .restore([("x".to_owned(), serde_json::json!(1)), ("alert/1".to_owned(), serde_json::json!({}))], at(0))
            .len(),
        2
    );
}

#[test]
fn groups_are_shown_with_their_alerts() {
    let mut world = World::new(grouped(&["alertname"]));
    world.machine.settings.route.labels.insert("team".to_owned(), "x".to_owned());
    world.machine.reload(at(0), world.machine.settings.clone());
    for alert in ["B i=1", "A i=2", "A i=1"] {
        world.fire(alert);
    }
    world.run_to(40);
    world.resolve("B i=1");
    let groups = world.machine.groups(at(40));
    assert_eq!(groups.len(), 1);
    assert_eq!((groups[0].key.as_str(), groups[0].receiver.as_str()), ("{}:{alertname=\"A\"}", "r"));
    assert_eq!((groups[0].next_flush, groups[0].alerts.len()), (at(330), 2));
    assert_eq!(groups[0].route_labels.get("team").map(String::as_str), Some("x"));
    assert_eq!(
        (groups[0].alerts[0].state, &groups[0].alerts[0].receivers[..]),
        (AlertState::Active, &["r".to_owned()][..])
    );
}
