//! What judging costs: alert rules over series of one sample a second, as the daemon does it: batches into the store, each
//! group at its slot. Prints CPU time a minute and resident memory for 10,000 rules over 100,000 series, and what one second
//! costs as rules go 100, 1,000, 10,000 and as windows go 1m, 1h, 1d. Compare with `tests/e2e/rules_cost.py`, which gives the
//! same series and rules to a real Prometheus and to the daemon.
//!
//! `cargo bench --profile ci --bench rules -- [ticks|rules|windows|whole]`; `ticks` is `rules` and `windows`.

#![expect(clippy::print_stdout, reason = "a bench reports on the terminal")]

use std::fmt::Write as _;
use std::time::Duration;

use brownout::model::{Batch, Completeness, Labels, NAME, Source};
use brownout::rules::{self, Rules, parse_file};
use brownout::series::{self, Store};
use brownout::time::Timestamp;
use brownout::yaml::SourceFile;
use rustix::time::{ClockId, clock_gettime};

/// Series that one rule reads.
const ZONES: usize = 10;
/// Metrics of one target.
const METRICS: usize = 1_000;
const RULES_PER_GROUP: usize = 100;
/// When it begins.
const START: i64 = 1_700_000_000_000;

fn main() {
    let wanted = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let wants = |what: &str| wanted.as_deref().is_none_or(|word| word == what || (word == "ticks" && what != "whole"));
    if wants("whole") {
        let mut world = World::new(100_000, &mixed_rules(10_000));
        let used = world.run(330, 60);
        println!(
            "10000 rules over 100000 series: CPU {:.2} s a minute ({:.2} appending, {:.2} judging), {:.0} MiB resident, \
             {} samples, {:.0} MiB by the store's own count, {} alerts",
            used.appending + used.judging,
            used.appending,
            used.judging,
            resident(),
            world.store.stats().samples,
            world.store.stats().bytes as f64 / 1048576.0,
            world.rules.active_alerts().len(),
        );
    }
    if wants("rules") {
        for rules in [100, 1_000, 10_000] {
            let mut world = World::new(rules * ZONES, &mixed_rules(rules));
            let used = world.run(330, 10);
            let tick = (used.appending + used.judging) / 10.0 * 1e3;
            println!("{rules} rules over {} series: {tick:.2} ms a second", rules * ZONES);
        }
    }
    if wants("windows") {
        for (window, seconds) in [("1m", 60), ("1h", 3_600), ("1d", 86_400)] {
            // The store is filled once: all three read the same windows of the same series.
            let functions = ["rate", "avg_over_time", "max_over_time"];
            let mut world = World::new(1_000, &window_rules(functions[0], window, 100));
            world.fill_for(seconds + 30);
            for function in functions {
                world.judge_by(&window_rules(function, window, 100));
                let tick = world.run(30, 30).judging / 30.0 * 1e3;
                let stats = world.store.stats();
                println!(
                    "{function}[{window}], 100 rules over 1000 series: {tick:.3} ms a second, {:.0} samples and {:.0} bytes a series",
                    stats.samples as f64 / stats.series as f64,
                    stats.bytes as f64 / stats.series as f64,
                );
            }
        }
    }
}

/// Series, rules, and the seconds as they pass.
struct World {
    batches: Vec<Batch>,
    store: Store,
    rules: Rules,
    now: Timestamp,
    /// Seconds since it began.
    second: usize,
    outcomes: Vec<rules::Outcome>,
}

/// CPU seconds.
#[derive(Default)]
struct Used {
    appending: f64,
    judging: f64,
}

impl World {
    fn new(series: usize, rules: &str) -> World {
        let now = Timestamp::from_millis(START);
        let rules = read(rules, now);
        let mut store = Store::new(series::Settings::default());
        store.retain(&rules.needs());
        let per_target = METRICS * ZONES;
        let targets = series.div_ceil(per_target);
        let batch = |target: usize| Batch {
            samples: (0..per_target.min(series - target * per_target)).map(|at| (labels(target, at), 0.0)).collect(),
            completeness: Completeness::Whole,
            ..Batch::ended(Source::new("bench", &target.to_string()), now)
        };
        World { batches: (0..targets).map(batch).collect(), store, rules, now, second: 0, outcomes: Vec::new() }
    }

    /// Lets so many seconds pass without judging. The rules are made anew then, or these seconds would count as missed.
    fn fill_for(&mut self, seconds: usize) {
        for _ in 0..seconds {
            self.fill();
            self.append();
        }
    }

    /// From now on judges by other rules, which read the same.
    fn judge_by(&mut self, rules: &str) {
        self.rules = read(rules, self.now);
    }

    /// Runs `warm` seconds without measuring, then `measured` seconds; gives what these cost.
    fn run(&mut self, warm: usize, measured: usize) -> Used {
        let mut used = Used::default();
        for second in 0..warm + measured {
            self.fill();
            let filled = cpu();
            self.append();
            let appended = cpu();
            self.judge();
            let judged = cpu();
            if second >= warm {
                used.appending += appended - filled;
                used.judging += judged - appended;
            }
        }
        used
    }

    fn fill(&mut self) {
        let second = self.second;
        for (target, batch) in self.batches.iter_mut().enumerate() {
            for (at, (_, value)) in batch.samples.iter_mut().enumerate() {
                *value = sample(target, at, second);
            }
        }
    }

    /// Ends the second.
    fn append(&mut self) {
        self.now = Timestamp::from_millis(START + self.second as i64 * 1000);
        for (target, batch) in self.batches.iter_mut().enumerate() {
            batch.at = self.now + Duration::from_millis(target as u64);
            self.store.append_batch(batch, &mut |labels, why| panic!("{labels} was refused: {why:?}"));
        }
        if self.second.is_multiple_of(10) {
            self.store.collect_garbage(self.now);
        }
        self.second += 1;
    }

    /// Every group at its slot of this second.
    fn judge(&mut self) {
        let end = self.now + Duration::from_secs(1);
        while let Some(due) = self.rules.next_deadline().filter(|due| *due < end) {
            self.rules.evaluate_due(due.max(self.now), &mut self.store, &mut self.outcomes);
            self.outcomes.clear();
            self.rules.take_changes();
        }
    }
}

fn read(rules: &str, now: Timestamp) -> Rules {
    let (groups, problems) = parse_file(&SourceFile::new("rules.yaml", rules));
    assert!(problems.is_empty(), "{problems:?}");
    Rules::new(rules::Settings { groups: groups.unwrap_or_default(), ..rules::Settings::default() }, now)
}

/// The labels of one series of a target.
fn labels(target: usize, at: usize) -> Labels {
    let (metric, zone) = (at / ZONES, at % ZONES);
    Labels::from_pairs([
        (NAME, metric_name(metric).as_str()),
        ("instance", &format!("i{target}")),
        ("job", "load"),
        ("zone", &format!("zone-{zone}")),
    ])
}

/// Counters and gauges by turns.
fn metric_name(metric: usize) -> String {
    if metric.is_multiple_of(2) { format!("load_{metric}_total") } else { format!("load_{metric}") }
}

/// Counters of whole numbers that grow unevenly, gauges with two digits after the point.
fn sample(target: usize, at: usize, second: usize) -> f64 {
    let seed = (at * 7 + target * 13) % 97;
    let noise = (second * 37 + seed * 101) * 2_654_435_761 % 10_007;
    if (at / ZONES).is_multiple_of(2) { (second * (seed + 1) * 10 + noise % 10) as f64 } else { noise as f64 / 100.0 }
}

/// The rules of the comparison with Prometheus, one in a hundred of them true.
fn mixed_rules(count: usize) -> String {
    let expression = |rule: usize| {
        let (metric, target) = (rule % METRICS, rule / METRICS);
        let selector = format!("{}{{instance=\"i{target}\"}}", metric_name(metric));
        let bound = |usual: &str, low: &str| if rule % 100 < 2 { low.to_owned() } else { usual.to_owned() };
        match (metric.is_multiple_of(2), rule / 2 % 5) {
            (true, 0..=2) => format!("rate({selector}[1m]) > {}", bound("1e6", "-1")),
            (true, 3) => format!("increase({selector}[5m]) > {}", bound("1e9", "-1")),
            (true, _) => format!("sum by (zone) (rate({selector}[1m])) > {}", bound("1e6", "-1")),
            (false, 0 | 1) => format!("{selector} > {}", bound("1000", "-1")),
            (false, 2 | 3) => format!("avg_over_time({selector}[5m]) > {}", bound("1000", "-1")),
            (false, _) => format!("max_over_time({selector}[5m]) > {}", bound("1000", "-1")),
        }
    };
    rule_file(count, &expression)
}

fn window_rules(function: &str, window: &str, count: usize) -> String {
    let expression = |rule: usize| format!("{function}({}[{window}]) > 1e12", metric_name(rule % METRICS));
    rule_file(count, &expression)
}

fn rule_file(count: usize, expression: &dyn Fn(usize) -> String) -> String {
    let mut text = String::from("groups:\n");
    for rule in 0..count {
        if rule.is_multiple_of(RULES_PER_GROUP) {
            let _ = write!(text, "- name: g{}\n  interval: 1s\n  rules:\n", rule / RULES_PER_GROUP);
        }
        let _ = writeln!(text, "  - {{alert: A{rule}, expr: '{}', for: 10s,", expression(rule));
        text.push_str(
            "     labels: {severity: page}, annotations: {summary: \"{{ $labels.zone }} is at {{ $value }}\"}}\n",
        );
    }
    text
}

/// CPU seconds of this process so far.
fn cpu() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Resident memory in MiB.
fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|kib| kib.parse::<f64>().ok()).unwrap_or_default() / 1024.0
}
