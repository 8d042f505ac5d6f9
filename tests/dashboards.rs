//! The shipped dashboards: well formed, honest about units, free of names that we do not have, and every expression parses.
//!
//! Whether each expression also answers is asked of a running agent (tests/e2e/dashboards.py).

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use brownout::telemetry::Metric;
use serde_json::Value;

/// Names that are put together from what the kernel says, so that no source file has them as a whole.
const FROM_THE_KERNEL: [&str; 20] = [
    "node_memory_MemAvailable_bytes",
    "node_memory_MemFree_bytes",
    "node_memory_MemTotal_bytes",
    "node_netstat_TcpExt_ListenOverflows",
    "node_netstat_Tcp_InErrs",
    "node_netstat_Tcp_OutSegs",
    "node_netstat_Tcp_RetransSegs",
    "node_network_receive_bytes_total",
    "node_network_receive_drop_total",
    "node_network_receive_errs_total",
    "node_network_transmit_bytes_total",
    "node_network_transmit_drop_total",
    "node_network_transmit_errs_total",
    "node_sockstat_TCP_inuse",
    "node_sockstat_TCP_orphan",
    "node_sockstat_TCP_tw",
    "node_vmstat_oom_kill",
    "node_vmstat_pgmajfault",
    "node_vmstat_pswpin",
    "node_vmstat_pswpout",
];

const DATASOURCE: &str = "${datasource}";

struct Dashboard {
    file: String,
    json: Value,
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn dashboards() -> Vec<Dashboard> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(root().join("dashboards")).expect("dashboards").flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|end| end == "json") {
            let text = std::fs::read_to_string(&path).expect("a dashboard");
            let json = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            all.push(Dashboard { file: entry.file_name().to_string_lossy().into_owned(), json });
        }
    }
    all.sort_by(|a, b| a.file.cmp(&b.file));
    assert_eq!(all.len(), 4, "host, links, logs, switches");
    all
}

fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or("")
}

impl Dashboard {
    fn all_panels(&self) -> &[Value] {
        list(&self.json, "/panels")
    }

    /// Those that show something.
    fn panels(&self) -> impl Iterator<Item = &Value> {
        self.all_panels().iter().filter(|panel| panel["type"] != "row")
    }

    fn variables(&self) -> &[Value] {
        list(&self.json, "/templating/list")
    }

    /// Our own annotations.
    fn annotations(&self) -> impl Iterator<Item = &Value> {
        list(&self.json, "/annotations/list").iter().filter(|annotation| annotation["builtIn"] != 1)
    }

    /// Every expression with where it stands: panels, annotations, and the selectors of variables.
    fn expressions(&self) -> Vec<(String, String)> {
        let of_panel = |panel: &Value| {
            let place = format!("{}, {}", self.file, text(panel, "/title"));
            list(panel, "/targets")
                .iter()
                .map(move |t| (place.clone(), text(t, "/expr").to_owned()))
                .collect::<Vec<_>>()
        };
        let of_annotation = |a: &Value| (format!("{}, annotation", self.file), text(a, "/expr").to_owned());
        let of_variable = |v: &Value| {
            let (selector, _) = text(v, "/query/query").strip_prefix("label_values(")?.rsplit_once(", ")?;
            Some((format!("{}, variable {}", self.file, text(v, "/name")), selector.to_owned()))
        };
        let mut all: Vec<_> = self.panels().flat_map(of_panel).collect();
        all.extend(self.annotations().map(of_annotation));
        all.extend(self.variables().iter().filter_map(of_variable));
        all
    }

    /// An expression as Grafana sends it; panics at a variable that the dashboard does not have.
    fn expand(&self, place: &str, expression: &str) -> String {
        let mut expanded = expression.replace("$__rate_interval", "4s").replace("$__range", "30m");
        for variable in self.variables() {
            expanded = expanded.replace(&format!("${}", text(variable, "/name")), "x");
        }
        assert!(!expanded.contains('$'), "{place}: unknown variable in {expanded}");
        expanded
    }
}

#[test]
fn every_dashboard_has_a_name_a_description_and_a_stable_uid() {
    let mut uids = BTreeSet::new();
    for Dashboard { file, json } in dashboards() {
        let uid = text(&json, "/uid");
        assert_eq!(uid, format!("brownout-{}", file.trim_end_matches(".json")));
        assert!(uids.insert(uid.to_owned()), "{uid} is there twice");
        assert!(text(&json, "/title").starts_with("Brownout / "), "{file}");
        assert!(text(&json, "/description").ends_with('.'), "{file}");
        assert_eq!(json["schemaVersion"], 41, "{file}");
        assert_eq!(json["id"], Value::Null, "{file}: an id is given by the server that imports it");
    }
}

#[test]
fn every_panel_says_what_it_shows_and_in_which_unit() {
    for dashboard in dashboards() {
        let mut titles = BTreeSet::new();
        for panel in dashboard.panels() {
            let place = format!("{}: {panel:.80}", dashboard.file);
            let title = text(panel, "/title");
            assert!(!title.is_empty(), "{place}");
            assert!(titles.insert(title), "{}: two panels are called {title}", dashboard.file);
            assert!(text(panel, "/description").ends_with('.'), "{title} needs a description in sentences");
            assert!(!text(panel, "/fieldConfig/defaults/unit").is_empty(), "{title} needs a unit");
            assert!(!list(panel, "/targets").is_empty(), "{title} asks for nothing");
        }
    }
}

#[test]
fn ids_are_unique_and_so_are_the_letters_of_a_panels_queries() {
    for dashboard in dashboards() {
        let ids: BTreeSet<u64> = dashboard.all_panels().iter().filter_map(|panel| panel["id"].as_u64()).collect();
        assert_eq!(ids.len(), dashboard.all_panels().len(), "{}", dashboard.file);
        for panel in dashboard.panels() {
            let targets = list(panel, "/targets");
            let letters: BTreeSet<&str> = targets.iter().map(|target| text(target, "/refId")).collect();
            assert_eq!(letters.len(), targets.len(), "{}: {}", dashboard.file, text(panel, "/title"));
        }
    }
}

#[test]
fn panels_tile_the_page() {
    for dashboard in dashboards() {
        let mut taken: BTreeMap<(u64, u64), &str> = BTreeMap::new();
        let mut bottom = 0;
        for panel in dashboard.all_panels() {
            let side = |name: &str| panel["gridPos"][name].as_u64().expect("a whole number");
            let (x, y, w, h) = (side("x"), side("y"), side("w"), side("h"));
            assert!(w > 0 && h > 0 && x + w <= 24, "{}: {}", dashboard.file, text(panel, "/title"));
            bottom = bottom.max(y + h);
            for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
                let other = taken.insert(cell, text(panel, "/title"));
                assert_eq!(other, None, "{}: {} covers it", dashboard.file, text(panel, "/title"));
            }
        }
        assert_eq!(taken.len() as u64, 24 * bottom, "{}: there are holes", dashboard.file);
    }
}

#[test]
fn everything_reads_from_the_chosen_data_source() {
    for dashboard in dashboards() {
        let first = dashboard.variables().first().expect("a variable");
        assert_eq!(
            (text(first, "/name"), text(first, "/type"), text(first, "/query")),
            ("datasource", "datasource", "prometheus")
        );
        let uid = |value: &Value| text(value, "/datasource/uid").to_owned();
        for variable in &dashboard.variables()[1..] {
            assert_eq!(uid(variable), DATASOURCE, "{}: {}", dashboard.file, text(variable, "/name"));
        }
        for annotation in dashboard.annotations() {
            assert_eq!(uid(annotation), DATASOURCE, "{}", dashboard.file);
        }
        for panel in dashboard.panels() {
            assert_eq!(uid(panel), DATASOURCE, "{}: {}", dashboard.file, text(panel, "/title"));
            for target in list(panel, "/targets") {
                assert_eq!(uid(target), DATASOURCE, "{}: {}", dashboard.file, text(panel, "/title"));
            }
        }
    }
}

#[test]
fn variables_ask_the_data_source_and_are_all_used() {
    for dashboard in dashboards() {
        let names: BTreeSet<&str> = dashboard.variables().iter().map(|variable| text(variable, "/name")).collect();
        assert!(names.contains("job"), "{}", dashboard.file);
        assert!(names.contains("instance") || names.contains("target"), "{}", dashboard.file);
        for variable in &dashboard.variables()[1..] {
            let query = text(variable, "/query/query");
            assert!(query.starts_with("label_values("), "{}: {query}", dashboard.file);
            assert_eq!(query, text(variable, "/definition"), "{}", dashboard.file);
        }
        let expressions: String = dashboard.expressions().into_iter().map(|(_, expression)| expression).collect();
        for name in names.iter().filter(|name| **name != "datasource") {
            assert!(expressions.contains(&format!("${name}")), "{}: nothing uses ${name}", dashboard.file);
        }
    }
}

#[test]
fn every_expression_parses() {
    let mut count = 0;
    for dashboard in dashboards() {
        for (place, expression) in dashboard.expressions() {
            let expanded = dashboard.expand(&place, &expression);
            if let Err(error) = brownout::promql::parse(&expanded) {
                panic!("{place}: {error} in {expanded}");
            }
            count += 1;
        }
    }
    assert!(count > 100, "only {count} expressions were found");
}

#[test]
fn windows_follow_the_chosen_time_and_hosts_are_chosen_by_people() {
    for dashboard in dashboards() {
        for (place, expression) in dashboard.expressions() {
            for (at, _) in expression.match_indices('[') {
                let window = expression[at..].split(']').next().unwrap_or("");
                let of_range = ["avg_over_time(", "changes("].iter().any(|f| expression.contains(f));
                let good = window == "[$__rate_interval" || (window == "[$__range" && of_range);
                assert!(good, "{place}: {window}] in {expression}");
            }
            for label in ["instance", "switch", "log"] {
                for found in expression.split(&format!("{label}=")).skip(1) {
                    let value = found.trim_start_matches(['~', '"']);
                    assert!(value.starts_with('$'), "{place}: {label} is fixed in {expression}");
                }
            }
        }
    }
}

#[test]
fn counters_are_shown_as_rates() {
    let counters: BTreeSet<&str> =
        Metric::ALL.iter().map(|metric| metric.name()).filter(|name| name.ends_with("_total")).collect();
    for dashboard in dashboards() {
        for (place, expression) in dashboard.expressions() {
            for (at, name) in names(&expression, "brownout_").into_iter().filter(|(_, name)| counters.contains(name)) {
                let around = expression[..at].rsplit(|c: char| !c.is_alphanumeric() && c != '_').nth(1);
                let variable = place.contains("variable");
                assert!(variable || matches!(around, Some("rate" | "increase")), "{place}: {name} in {expression}");
            }
        }
    }
}

#[test]
fn every_metric_of_ours_exists() {
    let own: BTreeSet<&str> = Metric::ALL.iter().map(|metric| metric.name()).collect();
    let sources = sources_of(&root().join("src/signals/system"));
    let prefixes = ["node_memory_", "node_netstat_", "node_network_", "node_sockstat_", "node_vmstat_", "node_"];
    for dashboard in dashboards() {
        for (place, expression) in dashboard.expressions() {
            for (_, name) in names(&expression, "brownout_") {
                assert!(own.contains(name), "{place}: we have no {name}");
            }
            for (_, name) in names(&expression, "node_") {
                let whole = sources.contains(&format!("\"{name}\""));
                let built = FROM_THE_KERNEL.contains(&name)
                    && prefixes.iter().any(|p| name.starts_with(p) && sources.contains(&format!("\"{p}")));
                assert!(whole || built, "{place}: no collector gives {name}");
            }
        }
    }
}

#[test]
fn provisioning_names_the_agents_address_and_its_interval() {
    let read = |path: &str| std::fs::read_to_string(root().join("dashboards/provisioning").join(path)).expect(path);
    let datasource = read("datasources/brownout.yaml");
    for line in ["apiVersion: 1", "type: prometheus", "url: http://127.0.0.1:9797", "timeInterval: 1s", "uid: brownout"]
    {
        assert!(datasource.contains(line), "{line}");
    }
    let provider = read("dashboards/brownout.yaml");
    for line in ["apiVersion: 1", "type: file", "path: /usr/share/brownout/dashboards"] {
        assert!(provider.contains(line), "{line}");
    }
}

/// The metric names with this beginning in an expression, and where they stand.
fn names<'a>(expression: &'a str, beginning: &str) -> Vec<(usize, &'a str)> {
    let part_of_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut found = Vec::new();
    for (at, _) in expression.match_indices(beginning) {
        if expression[..at].chars().next_back().is_some_and(part_of_name) {
            continue;
        }
        let end = expression[at..].find(|c| !part_of_name(c)).map_or(expression.len(), |end| at + end);
        found.push((at, &expression[at..end]));
    }
    found
}

fn sources_of(folder: &Path) -> String {
    let mut all = String::new();
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            all.push_str(&sources_of(&path));
        } else if path.extension().is_some_and(|end| end == "rs") {
            all.push_str(&std::fs::read_to_string(&path).expect("a source file"));
        }
    }
    all
}
