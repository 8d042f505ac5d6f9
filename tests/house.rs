//! The laws of the house that a program can check: who may import whom, what pure rooms may not touch, how tests behave.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The rooms from the ground up. A room may import its own floor's earlier neighbours only where `NEIGHBOURS` says so, and
/// every room of a lower floor.
const FLOORS: [(&str, &[&str]); 5] = [
    ("ground", &["limits", "model", "rng", "time", "yaml"]),
    ("pure", &["series", "promql", "template", "rules", "alerts", "switches"]),
    ("engine", &["engine"]),
    ("edge", &["telemetry", "net", "journal", "store", "notify", "remote", "signals", "serve", "project"]),
    ("shell", &["config", "run", "cli"]),
];

/// Imports within a floor.
const NEIGHBOURS: [(&str, &[&str]); 20] = [
    ("model", &["limits", "time"]),
    ("time", &["limits"]),
    ("limits", &[]),
    ("rng", &[]),
    ("yaml", &["limits", "time"]),
    ("series", &[]),
    ("promql", &["series"]),
    ("template", &[]),
    ("rules", &["promql", "series", "template"]),
    ("alerts", &["template"]),
    ("switches", &[]),
    ("telemetry", &[]),
    ("net", &[]),
    ("journal", &[]),
    ("store", &["journal", "net", "telemetry"]),
    ("notify", &["net", "telemetry"]),
    ("remote", &["net", "telemetry"]),
    ("signals", &["net", "telemetry"]),
    ("serve", &["net", "store", "telemetry"]),
    ("project", &["serve", "store", "telemetry"]),
];

/// What pure rooms and the engine may not name.
const IMPURE: [&str; 12] = [
    "tokio::",
    "std::fs",
    "std::net::Tcp",
    "std::net::Udp",
    "std::os::unix::net",
    "std::env",
    "std::thread",
    "std::process",
    "SystemTime",
    "Instant::now",
    "reqwest::Client",
    "static mut",
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|end| end == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// The room that a file of `src/` belongs to; `None` for the doors `main.rs` and `lib.rs`.
fn room(path: &Path) -> Option<String> {
    let below = path.strip_prefix(root().join("src")).expect("below src");
    let first = below.components().next()?.as_os_str().to_string_lossy().into_owned();
    let name = first.strip_suffix(".rs").unwrap_or(&first).to_owned();
    (name != "main" && name != "lib").then_some(name)
}

fn is_test_file(path: &Path) -> bool {
    let text = path.to_string_lossy();
    ["tests.rs", "_tests.rs", "/tests/", "_tables.rs"].iter().any(|end| text.ends_with(end) || text.contains("/tests/"))
}

/// The text of a file without its unit tests and comments.
fn production(path: &Path) -> String {
    let text = std::fs::read_to_string(path).expect("readable");
    let end = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
    text[..end].lines().filter(|line| !line.trim_start().starts_with("//")).map(|line| format!("{line}\n")).collect()
}

/// The rooms that a text names as `crate::room`.
fn imports(text: &str) -> BTreeSet<String> {
    let word = |rest: &str| rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let mut found: BTreeSet<String> = text.match_indices("crate::").map(|(at, _)| word(&text[at + 7..])).collect();
    // `use crate::{a::b, c::d}`
    for (at, _) in text.match_indices("crate::{") {
        let list = &text[at + 8..text[at..].find("};").map_or(text.len(), |end| at + end)];
        found.extend(list.split(',').map(|part| word(part.trim())));
    }
    found
}

fn floor(room: &str) -> Option<usize> {
    FLOORS.iter().position(|(_, rooms)| rooms.contains(&room))
}

#[test]
fn edges_go_only_downward() {
    let mut wrong = Vec::new();
    for path in rust_files(&root().join("src")) {
        let Some(room) = room(&path) else { continue };
        let here =
            floor(&room).unwrap_or_else(|| panic!("{}: room `{room}` has no floor in tests/house.rs", path.display()));
        let neighbours = NEIGHBOURS.iter().find(|(name, _)| *name == room).map_or(&[][..], |(_, list)| list);
        let shell = FLOORS[here].0 == "shell";
        for other in imports(&production(&path)).into_iter().filter(|other| *other != room) {
            let Some(there) = floor(&other) else { continue };
            let allowed = there < here || (there == here && (shell || neighbours.contains(&other.as_str())));
            // config is asked by the doors, and knows no door.
            let upward = room == "config" && (other == "run" || other == "cli") || (room == "run" && other == "cli");
            if !allowed || upward {
                wrong.push(format!("{}: `{room}` imports `{other}`", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn collectors_do_not_know_each_other() {
    let mut wrong = Vec::new();
    for path in rust_files(&root().join("src/signals")) {
        let text = production(&path);
        let own =
            path.strip_prefix(root().join("src/signals")).expect("below").iter().next().expect("a name").to_owned();
        for sibling in ["system", "probes", "logs", "scrape"].iter().filter(|name| own != **name) {
            if text.contains(&format!("signals::{sibling}")) {
                wrong.push(format!("{} names signals::{sibling}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn between_signals_and_the_edges_there_is_no_clock_no_file_no_socket_and_no_task() {
    let mut wrong = Vec::new();
    let pure = ["pure", "engine"];
    for path in rust_files(&root().join("src")).into_iter().filter(|path| !is_test_file(path)) {
        let Some(room) = room(&path) else { continue };
        let is_pure = floor(&room).is_some_and(|at| pure.contains(&FLOORS[at].0))
            || room == "config"
            || room == "model"
            || room == "yaml";
        if !is_pure {
            continue;
        }
        let text = production(&path);
        wrong.extend(
            IMPURE.iter().filter(|word| text.contains(**word)).map(|word| format!("{}: {word}", path.display())),
        );
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_file_opens_with_what_it_does_and_has_one_idea() {
    let mut wrong = Vec::new();
    for path in rust_files(&root().join("src")) {
        let text = std::fs::read_to_string(&path).expect("readable");
        let fixture = is_test_file(&path);
        if !text.starts_with("//!") && !fixture {
            wrong.push(format!("{}: begins without //!", path.display()));
        }
        if text.lines().count() > 800 {
            wrong.push(format!("{}: more than 800 lines", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn tests_do_not_sleep_are_not_ignored_and_use_no_fixed_port() {
    let mut wrong = Vec::new();
    for path in rust_files(&root().join("src")).into_iter().chain(rust_files(&root().join("tests"))) {
        if path.ends_with("tests/house.rs") {
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("readable");
        for banned in ["thread::sleep", "#[ignore"] {
            if text.contains(banned) {
                wrong.push(format!("{}: {banned}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_shipped_alert_has_a_test_and_a_runbook() {
    let rules = root().join("rules");
    let runbooks = std::fs::read_to_string(root().join("docs/runbooks.md")).expect("runbooks");
    let mut wrong = Vec::new();
    for entry in std::fs::read_dir(&rules).expect("rules").flatten().filter(|entry| entry.path().is_file()) {
        let text = std::fs::read_to_string(entry.path()).expect("readable");
        let tests = std::fs::read_to_string(rules.join("tests").join(entry.file_name())).unwrap_or_default();
        for alert in text.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")) {
            if !tests.contains(&format!("alertname: {alert}")) {
                wrong.push(format!("{alert} has no test in rules/tests"));
            }
            if !text.contains(&format!("runbook: docs/runbooks.md#{}", alert.to_lowercase())) {
                wrong.push(format!("{alert} has no runbook annotation"));
            }
            if !runbooks.contains(&format!("## {alert}\n")) {
                wrong.push(format!("{alert} has no section in docs/runbooks.md"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
