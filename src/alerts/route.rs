//! The routing tree, flattened: each node with everything it inherits, its key, and the way to it.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use super::settings::{GroupBy, Route};
use crate::model::{Labels, Matcher, Quoted};

/// A node with its inherited options.
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// Alertmanager's route key: the matchers from the root to here.
    pub key: String,
    /// The key, with a number where several nodes have the same one.
    pub id: String,
    pub receiver: String,
    pub group_by: GroupBy,
    pub go_on: bool,
    pub matchers: Vec<Matcher>,
    pub group_wait: Duration,
    pub group_interval: Duration,
    pub repeat_interval: Duration,
    pub resolve_wait: Option<Duration>,
    pub mute_time_intervals: Vec<String>,
    pub active_time_intervals: Vec<String>,
    pub labels: BTreeMap<String, String>,
    /// Which of the tree's ladders holds here.
    pub ladder: Option<usize>,
    /// Its alerts are told for the whole fleet.
    pub fleet: bool,
    children: Vec<usize>,
}

/// The tree; its root is node 0.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    pub nodes: Vec<Node>,
    /// Every severity ladder that some node has, mildest severity first.
    pub ladders: Vec<Vec<String>>,
}

impl Tree {
    pub fn new(root: &Route) -> Tree {
        let mut tree = Tree { nodes: Vec::new(), ladders: Vec::new() };
        tree.add(root, None);
        tree
    }

    fn add(&mut self, route: &Route, parent: Option<usize>) -> usize {
        let above = parent.map(|at| self.nodes[at].clone());
        let inherit = |own: Option<Duration>, from: fn(&Node) -> Duration, default: u64| {
            own.or(above.as_ref().map(from)).unwrap_or(Duration::from_secs(default))
        };
        let mut matchers = route.matchers.clone();
        matchers.sort_by(|a, b| (&a.name, &a.value, a.op).cmp(&(&b.name, &b.value, b.op)));
        let own_key = matchers.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        let key = match &above {
            Some(above) => format!("{}/{{{own_key}}}", above.key),
            None => format!("{{{own_key}}}"),
        };
        let same = self.nodes.iter().filter(|node| node.key == key).count();
        let mut labels = above.as_ref().map(|above| above.labels.clone()).unwrap_or_default();
        labels.extend(route.labels.clone());
        let ladder = match &route.severity_ladder {
            None => above.as_ref().and_then(|above| above.ladder),
            Some(ladder) if ladder.is_empty() => None,
            Some(ladder) => Some(self.ladders.iter().position(|known| known == ladder).unwrap_or_else(|| {
                self.ladders.push(ladder.clone());
                self.ladders.len() - 1
            })),
        };
        let node = Node {
            ladder,
            fleet: route.fleet.unwrap_or(above.as_ref().is_some_and(|above| above.fleet)),
            id: if same == 0 { key.clone() } else { format!("{key}#{same}") },
            key,
            receiver: route.receiver.clone().or(above.as_ref().map(|a| a.receiver.clone())).unwrap_or_default(),
            group_by: route
                .group_by
                .clone()
                .or(above.as_ref().map(|a| a.group_by.clone()))
                .unwrap_or(GroupBy::Labels(Vec::new())),
            go_on: route.go_on,
            matchers,
            group_wait: inherit(route.group_wait, |node| node.group_wait, 30),
            group_interval: inherit(route.group_interval, |node| node.group_interval, 300),
            repeat_interval: inherit(route.repeat_interval, |node| node.repeat_interval, 4 * 3600),
            resolve_wait: route.resolve_wait.or(above.as_ref().and_then(|a| a.resolve_wait)),
            mute_time_intervals: route.mute_time_intervals.clone(),
            active_time_intervals: route.active_time_intervals.clone(),
            labels,
            children: Vec::new(),
        };
        let at = self.nodes.len();
        self.nodes.push(node);
        for child in &route.routes {
            let child = self.add(child, Some(at));
            self.nodes[at].children.push(child);
        }
        at
    }

    /// The nodes that take an alert: depth first, the first matching child unless it says `continue`.
    pub fn matching(&self, labels: &Labels) -> Vec<usize> {
        let mut out = Vec::new();
        self.walk(0, labels, &mut out);
        out
    }

    fn walk(&self, at: usize, labels: &Labels, out: &mut Vec<usize>) -> bool {
        let node = &self.nodes[at];
        if !matches_all(&node.matchers, labels) {
            return false;
        }
        let before = out.len();
        for child in &node.children {
            if self.walk(*child, labels, out) && !self.nodes[*child].go_on {
                break;
            }
        }
        if out.len() == before {
            out.push(at);
        }
        true
    }

    /// The way of an alert through the tree, a line a node.
    pub fn explain(&self, labels: &Labels) -> String {
        let mut out = format!("alert {}\n", label_set(labels));
        self.explain_node(0, labels, 0, &mut out);
        out
    }

    fn explain_node(&self, at: usize, labels: &Labels, depth: usize, out: &mut String) -> bool {
        let node = &self.nodes[at];
        let own = node.key.rfind("/{").map_or(node.key.as_str(), |slash| &node.key[slash + 1..]);
        let indent = "  ".repeat(depth);
        if let Some(miss) = node.matchers.iter().find(|matcher| !matcher.matches_labels(labels)) {
            let has = labels.value(&miss.name);
            let _ = writeln!(out, "{indent}route {own}: no, {miss} does not hold ({} is {})", miss.name, Quoted(has));
            return false;
        }
        let _ = writeln!(out, "{indent}route {own}: matches");
        let mut taken = false;
        for (place, child) in node.children.iter().enumerate() {
            let matched = self.explain_node(*child, labels, depth + 1, out);
            taken |= matched;
            if matched && !self.nodes[*child].go_on {
                let skipped = node.children.len() - place - 1;
                if skipped > 0 {
                    let _ = writeln!(out, "{indent}  ({skipped} more not tried: the route above does not continue)");
                }
                break;
            }
        }
        if !taken {
            let group = label_set(&group_labels(node, labels));
            let _ = writeln!(
                out,
                "{indent}  -> receiver {}, group {group} (wait {}, interval {}, repeat {})",
                Quoted(&node.receiver),
                crate::time::format_duration(node.group_wait),
                crate::time::format_duration(node.group_interval),
                crate::time::format_duration(node.repeat_interval),
            );
        }
        true
    }
}

/// Whether a label set satisfies every matcher.
pub(super) fn matches_all(matchers: &[Matcher], labels: &Labels) -> bool {
    matchers.iter().all(|matcher| matcher.matches_labels(labels))
}

/// The labels that name an alert's group at a node.
pub(super) fn group_labels(node: &Node, labels: &Labels) -> Labels {
    match &node.group_by {
        GroupBy::All => labels.clone(),
        GroupBy::Labels(names) => labels.filtered(|name| names.iter().any(|n| n == name)),
    }
}

/// Alertmanager's text of a label set: every pair in the braces, the name's too.
pub(super) fn label_set(labels: &Labels) -> String {
    let pairs: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={}", Quoted(value))).collect();
    format!("{{{}}}", pairs.join(", "))
}

#[cfg(test)]
mod tests {
    use super::super::matchers::parse_matchers;
    use super::*;

    fn route(receiver: &str, matchers: &str, go_on: bool, routes: Vec<Route>) -> Route {
        let matchers = parse_matchers(matchers).expect("matchers");
        Route { receiver: Some(receiver.to_owned()), matchers, go_on, routes, ..Route::default() }
    }

    fn tree() -> Tree {
        let mut page = route("page", "severity=\"page\"", false, vec![route("db", "team=db", false, Vec::new())]);
        page.group_wait = Some(Duration::from_secs(5));
        page.group_by = Some(GroupBy::Labels(vec!["alertname".to_owned(), "job".to_owned()]));
        let every = route("audit", "", true, Vec::new());
        Tree::new(&route("mail", "", false, vec![every, page, route("late", "severity=~\"p.*\"", false, Vec::new())]))
    }

    #[test]
    fn the_first_matching_child_takes_an_alert_unless_it_continues() {
        let check = |pairs: &[(&str, &str)], receivers: &[&str]| {
            let (tree, labels) = (tree(), Labels::from_pairs(pairs.iter().copied()));
            let got: Vec<_> = tree.matching(&labels).into_iter().map(|at| tree.nodes[at].receiver.clone()).collect();
            assert_eq!(got, receivers, "{pairs:?}");
        };
        check(&[("severity", "page")], &["audit", "page"]);
        check(&[("severity", "page"), ("team", "db")], &["audit", "db"]);
        check(&[("severity", "p3")], &["audit", "late"]);
        check(&[("severity", "ticket")], &["audit"]);
    }

    #[test]
    fn keys_and_options_are_those_of_alertmanager() {
        let tree = tree();
        let keys: Vec<&str> = tree.nodes.iter().map(|node| node.key.as_str()).collect();
        let page = "{}/{severity=\"page\"}";
        assert_eq!(keys, ["{}", "{}/{}", page, "{}/{severity=\"page\"}/{team=\"db\"}", "{}/{severity=~\"p.*\"}"]);
        let db = &tree.nodes[3];
        assert_eq!((db.group_wait, db.group_interval), (Duration::from_secs(5), Duration::from_secs(300)));
        let labels = Labels::from_pairs([("alertname", "Down"), ("job", "x"), ("instance", "y")]);
        assert_eq!(label_set(&group_labels(db, &labels)), "{alertname=\"Down\", job=\"x\"}");
        assert_eq!(label_set(&group_labels(&tree.nodes[0], &labels)), "{}");
    }

    #[test]
    fn the_way_of_an_alert_is_explained() {
        let labels = Labels::from_pairs([("alertname", "Down"), ("severity", "page")]);
        let expected = "alert {alertname=\"Down\", severity=\"page\"}
route {}: matches
  route {}: matches
    -> receiver \"audit\", group {} (wait 30s, interval 5m, repeat 4h)
  route {severity=\"page\"}: matches
    route {team=\"db\"}: no, team=\"db\" does not hold (team is \"\")
    -> receiver \"page\", group {alertname=\"Down\"} (wait 5s, interval 5m, repeat 4h)
  (1 more not tried: the route above does not continue)
";
        assert_eq!(tree().explain(&labels), expected);
    }
}
