//! Inhibition: which alerts are not notified because others fire. Built from the alerts at one instant.

use std::collections::HashMap;

use super::route::matches_all;
use super::settings::InhibitRule;
use crate::model::{Fingerprint, Labels};

/// The firing sources of each rule, by the values of its `equal` labels.
pub(super) struct Inhibitor {
    sources: Vec<HashMap<Vec<String>, Vec<Source>>>,
    /// For each severity ladder: by the labels without the severity, what fires at which rung.
    rungs: Vec<HashMap<Labels, Vec<(usize, Fingerprint)>>>,
}

/// The label that a severity ladder is about.
const SEVERITY: &str = "severity";

fn rung(ladder: &[String], labels: &Labels) -> Option<usize> {
    let severity = labels.value(SEVERITY);
    ladder.iter().position(|rung| rung == severity)
}

struct Source {
    fingerprint: Fingerprint,
    /// It matches the rule's target side too.
    two_sided: bool,
}

/// A label that is missing counts as empty, so a label missing on both sides is equal.
fn equal_values(rule: &InhibitRule, labels: &Labels) -> Vec<String> {
    rule.equal.iter().map(|name| labels.value(name).to_owned()).collect()
}

impl Inhibitor {
    /// Takes the label sets of all alerts that fire now.
    pub fn new<'a>(
        rules: &[InhibitRule],
        ladders: &[Vec<String>],
        firing: impl Iterator<Item = &'a Labels> + Clone,
    ) -> Inhibitor {
        let sources = |rule: &InhibitRule| {
            let mut sources: HashMap<Vec<String>, Vec<Source>> = HashMap::new();
            for labels in firing.clone().filter(|labels| matches_all(&rule.source_matchers, labels)) {
                let two_sided = matches_all(&rule.target_matchers, labels);
                let source = Source { fingerprint: labels.fingerprint(), two_sided };
                sources.entry(equal_values(rule, labels)).or_default().push(source);
            }
            sources
        };
        let rungs = |ladder: &Vec<String>| {
            let mut rungs: HashMap<Labels, Vec<(usize, Fingerprint)>> = HashMap::new();
            for labels in firing.clone() {
                if let Some(rung) = rung(ladder, labels) {
                    let rest = labels.filtered(|name| name != SEVERITY);
                    rungs.entry(rest).or_default().push((rung, labels.fingerprint()));
                }
            }
            rungs
        };
        Inhibitor { sources: rules.iter().map(sources).collect(), rungs: ladders.iter().map(rungs).collect() }
    }

    /// The alerts that differ from this one in nothing but a higher severity of the ladder of this number.
    pub fn outranking(&self, ladders: &[Vec<String>], ladder: Option<usize>, labels: &Labels) -> Vec<Fingerprint> {
        let Some((number, ladder)) = ladder.and_then(|number| Some((number, ladders.get(number)?))) else {
            return Vec::new();
        };
        let (Some(rung), Some(rungs)) = (rung(ladder, labels), self.rungs.get(number)) else { return Vec::new() };
        let higher = rungs.get(&labels.filtered(|name| name != SEVERITY)).into_iter().flatten();
        higher.filter(|(at, _)| *at > rung).map(|(_, fingerprint)| *fingerprint).collect()
    }

    /// The sources that keep an alert from being notified, of the same rules as in [`Inhibitor::new`]. An alert that
    /// matches both sides of a rule is not inhibited by others of which the same is true.
    pub fn inhibiting(&self, rules: &[InhibitRule], labels: &Labels) -> Vec<Fingerprint> {
        let mut out = Vec::new();
        for (rule, sources) in rules.iter().zip(&self.sources) {
            if sources.is_empty() || !matches_all(&rule.target_matchers, labels) {
                continue;
            }
            let two_sided = matches_all(&rule.source_matchers, labels);
            let found = sources.get(&equal_values(rule, labels)).into_iter().flatten();
            out.extend(found.filter(|s| !(two_sided && s.two_sided)).map(|s| s.fingerprint));
        }
        out.sort_unstable();
        out.dedup();
        out
    }
}

#[cfg(test)]
mod tests {
    use super::super::matchers::parse_matchers;
    use super::*;

    #[test]
    fn a_firing_source_inhibits_targets_with_equal_labels() {
        let rule = |source: &str, target: &str, equal: &[&str]| InhibitRule {
            name: String::new(),
            source_matchers: parse_matchers(source).expect("matchers"),
            target_matchers: parse_matchers(target).expect("matchers"),
            equal: equal.iter().map(|name| (*name).to_owned()).collect(),
        };
        let set =
            |text: &str| Labels::from_pairs(text.split_whitespace().map(|pair| pair.split_once('=').expect("a pair")));
        let check = |rule: InhibitRule, firing: &[&str], target: &str, inhibited: bool| {
            let firing: Vec<Labels> = firing.iter().map(|text| set(text)).collect();
            let rules = [rule];
            let inhibitor = Inhibitor::new(&rules, &[], firing.iter());
            assert_eq!(!inhibitor.inhibiting(&rules, &set(target)).is_empty(), inhibited, "{firing:?} {target}");
        };
        check(rule("s=1", "t=1", &["e"]), &["s=1 e=x"], "t=1 e=x", true);
        check(rule("s=1", "t=1", &["e"]), &["s=1 e=x"], "t=1 e=y", false);
        check(rule("s=1", "t=1", &["e"]), &["s=1"], "t=1", true);
        check(rule("s=1", "t=1", &["e"]), &["s=2 e=x"], "t=1 e=x", false);
        check(rule("s=1", "t=1", &[]), &["s=1"], "t=2", false);
        // Both sides match: it does not inhibit itself, nor another like it, but a one-sided source does.
        check(rule("s=1", "t=1", &["e"]), &["s=1 t=1 e=x"], "s=1 t=1 e=x", false);
        check(rule("s=1", "t=1", &["e"]), &["s=1 t=1 e=x", "s=1 t=1 e=x b=2"], "s=1 t=1 e=x b=2", false);
        check(rule("s=1", "t=1", &["e"]), &["s=1 t=1 e=x", "s=1 e=x"], "s=1 t=1 e=x", true);
        check(rule("s=1", "t=1", &["e"]), &["s=1 t=1 e=x"], "t=1 e=x", true);
    }
}
