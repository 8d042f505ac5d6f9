//! Recordings that are played, and what is said to have happened.

use std::cell::RefCell;
use std::io::Write;
use std::rc::Rc;

use super::*;

#[derive(Clone, Default)]
struct Written(Rc<RefCell<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[derive(Debug, clap::Parser)]
struct Line {
    #[command(flatten)]
    replay: ReplayArgs,
}

const CONFIG: &str = "\
shipped_rules: false
system: {enabled: false}
rule_files: [rules.yaml]
switches: {recommendations: {feature: [full, cached]}}
actions: {mode: enforce}
webhooks: {scaler: {url: 'https://scaler.internal/'}}
alertmanager:
  route: {receiver: team, group_wait: 10s, group_interval: 1m}
  receivers: [{name: team, webhook_configs: [{url: 'https://team.internal/'}]}]
";

const RULES: &str = "\
groups:
- name: shop
  rules:
  - {record: 'latency:max', expr: max(latency)}
  - {alert: Slow, expr: 'latency:max > 0.5', for: 20s, labels: {severity: page}}
  - degrade: recommendations
    levels: [{level: cached, when: 'latency:max > 0.5', for: 5s}]
    recover: {for: 20s}
    min_hold: 0s
  - {scale: shop, desired: load, min: 1, max: 9, for: 0s, webhook: scaler}
";

/// A recording of five minutes: slow in the second one. What the rules wrote when it was made is in it too.
fn recording(step: usize) -> String {
    let mut text = String::new();
    for second in (0..300).step_by(step) {
        let latency = if (60..120).contains(&second) { 0.9 } else { 0.1 };
        let load = if second < 150 { 1 } else { 4 };
        let at = 1_700_000_000 + second;
        text.push_str(&format!("latency{{host=\"a\"}} {latency} {at}\nload {load} {at}\nlatency:max 7 {at}\n"));
        text.push_str(&format!(
            "ALERTS{{alertname=\"Slow\",alertstate=\"firing\",severity=\"page\"}} 1 {at}\nhits_total {second} {at}\n"
        ));
    }
    text + "# EOF\n"
}

fn played(name: &str, recording: &str, rules: &str, options: &[&str]) -> Result<String, String> {
    let folder = std::env::temp_dir().join(format!("brownout-replay-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("made");
    for (name, text) in [("r.om", recording), ("rules.yaml", rules), ("brownout.yaml", CONFIG)] {
        std::fs::write(folder.join(name), text).expect("written");
    }
    let path = |name: &str| folder.join(name).display().to_string();
    let config = path("brownout.yaml");
    let given: Vec<&str> = if options.contains(&"--rules") { vec![] } else { vec!["--config", &config] };
    let rules = path("rules.yaml");
    let options = options.iter().map(|option| if *option == "RULES" { rules.as_str() } else { option });
    let recording = path("r.om");
    let line = ["replay", "--from", &recording].into_iter().chain(given).chain(options);
    let line = <Line as clap::Parser>::try_parse_from(line).expect("arguments");
    let written = Written::default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().expect("built");
    let done = runtime.block_on(replay(&line.replay, &mut Out::to(written.clone())));
    drop(std::fs::remove_dir_all(&folder));
    let text = String::from_utf8(written.0.borrow().clone()).expect("text");
    done.map(|()| text).map_err(|failure| failure.to_string())
}

/// Kind and what happened of each event, with the second at which it did.
fn events(json: &str) -> Vec<String> {
    let answer: Value = serde_json::from_str(json).expect("json");
    let start = Timestamp::from_millis(1_700_000_000_000);
    let event = |event: &Value| {
        let at = Timestamp::from_rfc3339(event["at"].as_str().unwrap_or_default()).expect("a time");
        let what = match event["kind"].as_str() {
            Some("alert") => format!("{} {}", event["labels"]["alertname"], event["to"]),
            Some("decision") => format!("{} {} {}", event["switch"], event["to"], event["mode"]),
            Some("notification") => format!("{} {}", event["receiver"], event["status"]),
            _ => format!("{} {}", event["target"], event["to"]),
        };
        format!("{} {} {}", at.since(start).as_secs(), event["kind"], what).replace('"', "")
    };
    answer["events"].as_array().expect("events").iter().map(event).collect()
}

#[test]
fn a_recording_shows_what_would_have_fired_flipped_and_been_sent() {
    let json = played("whole", &recording(1), RULES, &["--output", "json"]).expect("played");
    let events = events(&json);
    let seconds = |what: &str| -> i64 {
        let found = events.iter().find(|event| event.ends_with(what)).unwrap_or_else(|| panic!("{what}: {events:#?}"));
        found.split(' ').next().and_then(|word| word.parse().ok()).expect("a second")
    };
    // Groups are evaluated at their own slots, somewhere within each second.
    for (what, from, until) in [
        ("alert Slow pending", 60, 61),
        ("decision recommendations cached enforce", 65, 66),
        ("alert Slow firing", 80, 81),
        ("notification team firing", 90, 91),
        ("alert Slow inactive", 120, 121),
        ("decision recommendations full enforce", 140, 141),
        ("notification team resolved", 150, 151),
        ("scale shop 4", 150, 151),
    ] {
        assert!((from..=until).contains(&seconds(what)), "{what} at {}", seconds(what));
    }
    let answer: Value = serde_json::from_str(&json).expect("json");
    assert_eq!(answer["series"], 2, "what rules write, and what nobody reads, is left out");
    assert_eq!(answer["summary"]["fired"], 1);
    let text = played("table", &recording(1), RULES, &[]).expect("played");
    for part in [
        "pending   Slow{severity=\"page\"}  value 0.9: latency:max > 0.5 for 20s",
        "switch    recommendations: full -> cached",
        "sent      to team by webhook[0]: 1 firing, 0 resolved",
        "1 fired, 1 resolved",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn it_can_begin_and_end_within_the_recording_and_take_its_time() {
    let json = played("part", &recording(1), RULES, &["--start", "1700000090", "--end", "1700000100", "-o", "json"]);
    let events = events(&json.expect("played"));
    assert!(events.iter().any(|event| event.ends_with("Slow pending")), "{events:?}");
    assert!(!events.iter().any(|event| event.ends_with("Slow firing")), "{events:?}");
    let slow = played("slow", &recording(1), RULES, &["--speed", "10", "--output", "json"]).expect("played");
    let fast = played("fast", &recording(1), RULES, &["--output", "json"]).expect("played");
    assert_eq!(slow, fast);
    assert!(played("never", &recording(1), RULES, &["--speed", "0"]).is_err());
}

#[test]
fn gaps_of_a_coarse_recording_are_filled_if_that_is_asked_for() {
    let rules = "groups: [{name: g, rules: [{alert: Busy, expr: 'rate(hits_total[10s]) > 0.9'}, {alert: Half, expr: 'latency > 0.2 < 0.8'}]}]";
    let fired = |options: &[&str]| {
        let options = [&["--rules", "RULES", "-o", "json"], options].concat();
        let json = played("coarse", &recording(30), rules, &options).expect("played");
        let names = |event: &String| event.split(' ').nth(2).map(str::to_owned);
        events(&json).iter().filter(|event| event.ends_with("firing")).filter_map(names).collect::<BTreeSet<_>>()
    };
    assert!(fired(&[]).is_empty());
    assert_eq!(fired(&["--assume-resolution", "2s"]), BTreeSet::from(["Busy".to_owned()]), "gauges are held");
}

#[test]
fn what_cannot_be_played_is_said() {
    let bad = played("bad", "latency 1\n# EOF\n", RULES, &[]).expect_err("no time");
    assert!(bad.contains("r.om:1: the sample has no timestamp"), "{bad}");
    let rules = played("rules", &recording(60), "groups: [{name: g, rules: [{record: a, expr: 'sum('}]}]", &[]);
    assert!(rules.expect_err("bad rules").contains("rules.yaml"), "the place");
}
