//! What Alertmanager has not: flapping, severity ladders, recurring silences and reminders, links, noise and its digest.

use std::time::Duration;

use super::timeline::{check, silence};
use super::world::{World, at, labels, secs, settings};
use crate::alerts::*;

fn quick() -> Settings {
    let mut settings = settings();
    (settings.route.group_wait, settings.route.group_interval) = (Some(secs(1)), Some(secs(10)));
    settings
}

fn flapping() -> Settings {
    let mut settings = quick();
    settings.flapping = Some(FlapSettings { count: 3, window: secs(600), repeat: secs(1000), longest: secs(1500) });
    settings
}

/// Three starts within ten minutes, and then it goes on.
const FLAPS: [&str; 12] = [
    "0 fire A",
    "20 resolve A",
    "30 fire A",
    "50 resolve A",
    "60 fire A",
    "70 resolve A",
    "500 fire A",
    "510 resolve A",
    "1000 fire A",
    "1010 resolve A",
    "1500 fire A",
    "1510 resolve A",
];

const HEARD: [&str; 7] = [
    "1 webhook[0] first_notification firing A",
    "21 webhook[0] all_resolved resolved A",
    "31 webhook[0] first_notification firing A",
    "51 webhook[0] all_resolved resolved A",
    // From here on it flaps.
    "61 webhook[0] first_notification firing A",
    "1061 webhook[0] repeat_interval firing A",
    // Quiet for ten minutes after the start at 1500.
    "2101 webhook[0] all_resolved resolved A",
];

#[test]
fn an_alert_that_comes_and_goes_is_told_less_and_less_and_its_end_once() {
    let script: Vec<&str> = FLAPS.iter().chain(&["9000 wait"]).copied().collect();
    check(flapping(), &script, &HEARD);
    let without = super::timeline::play(quick(), &script);
    assert_eq!(without.len(), 12, "each start and end: {without:?}");
    // Crashes change nothing of it.
    for second in ["25", "55", "65", "300", "1005", "1100", "2000"] {
        let crash = format!("{second} crash");
        let mut script = script.clone();
        let after = |step: &&str| step.split(' ').next().and_then(|n| n.parse::<u64>().ok()) > second.parse().ok();
        let place = script.iter().position(after).expect("a place");
        script.insert(place, &crash);
        check(flapping(), &script, &HEARD);
    }
}

#[test]
fn an_alert_that_stops_flapping_and_fires_on_is_an_alert_like_any_other() {
    let mut settings = flapping();
    settings.route.repeat_interval = Some(secs(100_000));
    check(
        settings,
        &["0 fire A", "5 resolve A", "6 fire A", "7 resolve A", "8 fire A", "5000 resolve A", "6000 wait"],
        &[
            "1 webhook[0] first_notification firing A",
            // The third start is news, though its start was told.
            "11 webhook[0] new_alerts firing A",
            "5001 webhook[0] all_resolved resolved A",
        ],
    );
}

#[test]
fn a_flapping_alert_says_so_in_its_annotations() {
    let mut world = World::new(flapping());
    for second in 0..3 {
        world.run_to(second);
        world.fire("A");
        world.resolve("A");
    }
    let mut out = Vec::new();
    world.machine.tick(at(10), &mut out);
    let text = &out[0].alerts[0].annotations["flapping"];
    assert!(text.contains("3 times") && text.contains("10m"), "{text}");
    let explained = world.machine.explain(&labels("A"), at(10));
    assert!(explained.contains("it flaps since"), "{explained}");
    assert!(world.machine.alerts(at(10)).is_empty(), "it does not fire just now");
}

#[test]
fn the_higher_severity_of_an_alert_hides_the_lower_ones() {
    let mut settings = settings();
    settings.route.severity_ladder = Some(["info", "warning", "critical"].map(str::to_owned).to_vec());
    let script = [
        "0 fire A severity=warning i=1",
        "0 fire A severity=critical i=1",
        "0 fire A severity=info i=2",
        "0 fire A severity=unknown i=1",
        "0 fire B severity=info i=1",
        "100 resolve A severity=critical i=1",
        "400 wait",
    ];
    let script = script.map(|step| step.replace("fire A", "fire alertname=A").replace("fire B", "fire alertname=B"));
    let script: Vec<String> = script.iter().map(|step| step.replace("resolve A", "resolve alertname=A")).collect();
    let script: Vec<&str> = script.iter().map(String::as_str).collect();
    let heard = [
        "30 webhook[0] first_notification firing A/1/critical A/1/unknown A/2/info B/1/info",
        "330 webhook[0] new_alerts firing A/1/unknown A/1/warning A/2/info B/1/info resolved A/1/critical",
    ];
    check(settings.clone(), &script, &heard);
    // A child can end it.
    settings.route.routes = vec![Route { severity_ladder: Some(Vec::new()), ..Route::default() }];
    let all =
        super::timeline::play(settings.clone(), &script[..5].iter().copied().chain(["60 wait"]).collect::<Vec<_>>());
    assert!(all[0].contains("A/1/warning"), "{all:?}");
    settings.route.routes.clear();
    let mut world = World::new(settings);
    world.fire("alertname=A severity=warning");
    world.fire("alertname=A severity=critical");
    let views = world.machine.alerts(at(0));
    let hidden = views.iter().find(|view| view.labels.value("severity") == "warning").expect("the warning");
    assert_eq!(hidden.inhibited_by, [labels("alertname=A severity=critical").fingerprint().to_string()]);
    let explained = world.machine.explain(&labels("alertname=A severity=warning"), at(0));
    assert!(explained.contains("outranked") && explained.contains("is held back"), "{explained}");
}

#[test]
fn a_recurring_silence_mutes_at_its_times_only() {
    let mut world = World::new(settings());
    // The script begins at 22:13:20.
    let mut input = silence("alertname=A", 0, 86_400 * 30);
    input.annotations.insert(RECURRING.to_owned(), "22:00-22:20".to_owned());
    let id = world.machine.set_silence(at(0), input.clone()).expect("a silence");
    world.save();
    world.fire("A");
    assert_eq!(world.machine.alerts(at(0))[0].silenced_by, [id.as_str()]);
    world.run_to(100);
    world.crash();
    world.run_to(700);
    assert_eq!(world.heard, ["630 webhook[0] first_notification firing A"]);
    let silence = world.machine.silence(&id).expect("the silence");
    assert_eq!(world.machine.silence_state(silence, at(10)), SilenceState::Active);
    assert_eq!(world.machine.silence_state(silence, at(700)), SilenceState::Pending);
    input.annotations.insert(RECURRING.to_owned(), "whenever".to_owned());
    assert!(matches!(world.machine.set_silence(at(0), input), Err(SilenceError::Recurring(_))));
}

#[test]
fn people_are_reminded_of_silences_that_end_soon_or_were_forgotten() {
    let mut settings = settings();
    settings.silence_reminders = Some(ReminderSettings { before_end: secs(400), muted_for: secs(3_000) });
    settings.route.repeat_interval = Some(secs(100_000));
    let mut world = World::new(settings);
    // It would cover its own reminders.
    let id = world.machine.set_silence(at(0), silence("alertname=~.+", 0, 5_000)).expect("a silence");
    world.save();
    world.fire("A");
    world.run_to(4_000);
    world.crash();
    world.run_to(6_000);
    let about = |text: &str| text.replace(&format!("/info/{id}"), "");
    let heard: Vec<String> = world.heard.iter().map(|line| about(line)).collect();
    assert_eq!(
        heard,
        [
            "3030 webhook[0] first_notification firing SilenceForgotten",
            "4830 webhook[0] new_alerts firing SilenceEndsSoon SilenceForgotten",
            "5130 webhook[0] new_alerts firing A resolved SilenceEndsSoon SilenceForgotten",
        ]
    );
}

#[test]
fn a_silence_of_nothing_needs_no_reminder() {
    let mut settings = settings();
    settings.silence_reminders = Some(ReminderSettings { before_end: secs(100), muted_for: secs(3_000) });
    let mut world = World::new(settings);
    world.machine.set_silence(at(0), silence("alertname=B", 0, 5_000)).expect("a silence");
    world.fire("A");
    world.run_to(6_000);
    assert!(world.heard.iter().all(|line| !line.contains("Silence")), "{:?}", world.heard);
}

fn with_links() -> Settings {
    let mut settings = settings();
    settings.links = Some(LinkSettings {
        key: LinkKey([7; 32]),
        valid_for: secs(1_000),
        silence_for: secs(3_600),
        acknowledge_for: secs(20_000),
    });
    settings
}

/// The tokens of a first message: silence, acknowledge.
fn tokens(world: &mut World) -> [String; 2] {
    world.fire("A");
    let mut out = Vec::new();
    world.machine.tick(at(30), &mut out);
    world.save();
    assert_eq!(world.machine.delivered(at(30), &out[0].id, Outcome::Accepted), Settled::Done);
    world.save();
    world.now = 30;
    ["silence", "acknowledge"].map(|name| {
        let link = &out[0].links[name];
        link.strip_prefix("http://page/act/").expect("a link to our page").to_owned()
    })
}

#[test]
fn a_link_silences_once_and_not_after_its_time() {
    let mut world = World::new(with_links());
    let [token, _] = tokens(&mut world);
    let view = world.machine.link(at(40), &token).expect("a link");
    assert_eq!((view.deed, view.spent, view.lasts), (LinkDeed::Silence, None, secs(3_600)));
    assert_eq!(view.labels, [("alertname".to_owned(), "A".to_owned())]);
    assert_eq!(world.machine.link(at(2_000), &token).expect("a link").spent, Some("expired"));
    assert_eq!(world.machine.use_link(at(2_000), &token, "ann", None), Err(LinkError::Expired));
    assert_eq!(world.machine.silences().count(), 0, "looking changes nothing");
    let said = world.machine.use_link(at(40), &token, "ann", None).expect("used");
    assert!(said.starts_with("silenced for 1h: silence "), "{said}");
    world.save();
    world.crash();
    assert_eq!(world.machine.use_link(at(41), &token, "bob", None), Err(LinkError::Used), "also after a crash");
    assert_eq!(world.machine.link(at(41), &token).expect("a link").spent, Some("used"));
    let silences: Vec<&Silence> = world.machine.silences().collect();
    assert_eq!((silences.len(), silences[0].created_by.as_str(), silences[0].ends_at), (1, "ann", at(3_640)));
    // What is spent is forgotten when it would have expired.
    world.machine.tick(at(5_000), &mut Vec::new());
    world.save();
    assert!(world.disk.keys().all(|key| !key.starts_with("link/")), "{:?}", world.disk.keys());
}

#[test]
fn a_link_that_was_changed_or_made_elsewhere_does_nothing() {
    let mut world = World::new(with_links());
    let [token, _] = tokens(&mut world);
    for at_byte in [0, 5, token.len() / 2, token.len() - 2] {
        let mut bytes = token.clone().into_bytes();
        bytes[at_byte] = if bytes[at_byte] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(bytes).expect("text");
        assert_eq!(world.machine.use_link(at(40), &changed, "x", None), Err(LinkError::Forged), "{at_byte}");
    }
    for text in ["", ".", "a.b", "ä.ö"] {
        assert_eq!(world.machine.link(at(40), text), Err(LinkError::Forged), "{text:?}");
    }
    let mut other = with_links();
    if let Some(links) = &mut other.links {
        links.key = LinkKey([8; 32]);
    }
    assert_eq!(World::new(other).machine.use_link(at(40), &token, "x", None), Err(LinkError::Forged));
    assert_eq!(World::new(settings()).machine.use_link(at(40), &token, "x", None), Err(LinkError::Off));
    assert_eq!(format!("{:?}", LinkKey([7; 32])), "LinkKey(..)");
}

#[test]
fn what_is_acknowledged_is_not_repeated_until_something_changes() {
    let mut world = World::new(with_links());
    let [_, token] = tokens(&mut world);
    let said = world.machine.use_link(at(40), &token, "ann", None).expect("used");
    assert!(said.starts_with("acknowledged"), "{said}");
    world.save();
    world.crash();
    let explained = world.machine.explain(&labels("A"), at(50));
    assert!(explained.contains("acknowledged by \"ann\""), "{explained}");
    world.run_to(10_000);
    assert_eq!(world.heard, Vec::<String>::new(), "repeats would have come after an hour");
    world.fire("B");
    world.run_to(15_000);
    assert_eq!(
        world.heard,
        ["10230 webhook[0] new_alerts firing A B", "14130 webhook[0] repeat_interval firing A B"],
        "news are told, and repeats come again"
    );
    let mut gone = World::new(with_links());
    let [_, token] = tokens(&mut gone);
    gone.resolve("A");
    gone.run_to(700);
    assert_eq!(gone.machine.use_link(at(700), &token, "ann", None), Err(LinkError::Nothing));
}

#[test]
fn the_noisiest_rules_are_counted_over_a_week_and_told_in_a_digest() {
    let mut settings = quick();
    settings.digest = Some(DigestSettings { receiver: "r".to_owned(), every: secs(1_000) });
    let mut world = World::new(settings);
    for round in 0..4 {
        world.run_to(round * 100);
        world.fire("A");
        world.run_to(round * 100 + 50);
        world.resolve("A");
    }
    world.fire("B");
    world.run_to(600);
    world.crash();
    let rule = |name: &str, starts, messages| NoisyRule { name: name.to_owned(), starts, messages };
    assert_eq!(world.machine.noisy(at(600)), [rule("A", 4, 8), rule("B", 1, 1)]);
    world.heard.clear();
    world.run_to(1_500);
    assert_eq!(world.heard, ["1001 webhook[0] first_notification firing NoisiestRules/info"]);
    let week = Duration::from_secs(7 * 86_400);
    assert_eq!(world.machine.noisy(at(1_500) + week), []);
    world.machine.tick(at(1_500) + week, &mut Vec::new());
    world.save();
    let left: Vec<&String> = world.disk.keys().filter(|key| key.starts_with("noise/")).collect();
    assert!(left.iter().all(|key| *key == "noise/NoisiestRules" || *key == "noise/B"), "{left:?}");
}

#[test]
fn the_way_of_an_alert_names_timers_and_what_was_told() {
    let mut world = World::new(settings());
    let unknown = world.machine.explain(&labels("A"), at(0));
    assert!(unknown.contains("what would happen if it fired now") && unknown.contains("(in 30s)"), "{unknown}");
    world.fire("A");
    world.run_to(100);
    let known = world.machine.explain(&labels("A"), at(100));
    assert!(known.contains("webhook[0]: was told at") && known.contains("(in 58m50s)"), "{known}");
    assert!(known.contains("the group is looked at") && known.contains("then every 5m"), "{known}");
}
