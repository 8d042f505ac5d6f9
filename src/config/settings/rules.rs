//! Rule files: finding and reading them, and holding their action rules against the switches and webhooks.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::switches::SwitchSettings;
use crate::config::checker::Checker;
use crate::config::files::is_pattern;
use crate::config::shipped::SHIPPED;
use crate::model::SwitchName;
use crate::rules::{DegradeSpec, DimSpec, GroupSpec, LimitSource, RuleSpec, parse_file};
use crate::switches::{LimitUnit, SwitchKind};
use crate::yaml::{SourceFile, Spanned, nearest};

/// What rule files gave.
#[derive(Default)]
pub struct RuleFiles {
    pub groups: Vec<GroupSpec>,
    /// Their texts, in the order in which they were read.
    pub sources: Vec<Arc<SourceFile>>,
}

/// Reads every file that the patterns name, each once, and the shipped ones.
pub fn read(check: &mut Checker<'_>, patterns: &[Spanned<String>], shipped: bool) -> RuleFiles {
    let mut paths: Vec<(PathBuf, Spanned<String>)> = Vec::new();
    for pattern in patterns {
        let path = check.path(&pattern.value);
        // New files may appear: the directory before the first wildcard is watched as a whole.
        let plain = path.iter().take_while(|part| !is_pattern(&part.to_string_lossy())).collect::<PathBuf>();
        if !is_pattern(&pattern.value) {
            paths.push((path, pattern.clone()));
            continue;
        }
        check.watched.insert(plain);
        let found = check.files.glob(&path);
        if found.is_empty() {
            let message = format!("no file is called {}", path.display());
            check.warning(&pattern.place, message, "no rules come from here; correct the pattern or remove it");
        }
        paths.extend(found.into_iter().map(|path| (path, pattern.clone())));
    }
    let mut rules = RuleFiles::default();
    if shipped {
        for (name, text) in SHIPPED {
            one(check, &mut rules, &SourceFile::new(name, text));
        }
    }
    let mut seen = Vec::new();
    for (path, pattern) in paths {
        if seen.contains(&path) {
            continue;
        }
        check.watched.insert(path.clone());
        match check.files.read(&path) {
            Ok(text) => one(check, &mut rules, &SourceFile::new(path.display().to_string(), text)),
            Err(why) => {
                let message = format!("cannot read the rule file {}: {why}", path.display());
                check.error(&pattern.place, message, "correct the path; it begins at the directory of this file");
            }
        }
        seen.push(path);
    }
    rules
}

fn one(check: &mut Checker<'_>, rules: &mut RuleFiles, file: &Arc<SourceFile>) {
    let (groups, problems) = parse_file(file);
    check.problems.extend(problems);
    rules.groups.extend(groups.unwrap_or_default());
    rules.sources.push(Arc::clone(file));
}

/// Holds action rules against what they name.
pub fn cross_check(
    check: &mut Checker<'_>,
    groups: &[GroupSpec],
    switches: &BTreeMap<SwitchName, SwitchSettings>,
    webhooks: &[&str],
) {
    for rule in groups.iter().flat_map(|group| &group.rules) {
        match rule {
            RuleSpec::Degrade(rule) => degrade(check, rule, switches),
            RuleSpec::Scale(rule) if !webhooks.contains(&rule.webhook.value.as_str()) => {
                check.unknown("webhook", &rule.webhook, webhooks.iter().copied());
            }
            RuleSpec::Scale(rule) => {
                for name in &rule.beside {
                    of_kind(check, name, switches, &["feature", "dimmer"]);
                }
            }
            RuleSpec::Dim(rule) => dim(check, rule, switches),
            RuleSpec::Limit(rule) => {
                let switch = of_kind(check, &rule.switch, switches, &["limit"]);
                let by_law = matches!(rule.source, LimitSource::Law(_));
                let rate = switch.is_some_and(|switch| {
                    matches!(switch.kind, SwitchKind::Limit { unit: LimitUnit::RequestsPerSecond, .. })
                });
                let shared = switch.is_some_and(|s| matches!(s.kind, SwitchKind::Limit { share_out: true, .. }));
                if by_law && shared {
                    let message = format!("`{}` is shared out, and a law measures one host alone", rule.switch.value);
                    let help = "give the total for the fleet by `value: <PromQL>`";
                    check.error(&rule.switch.place, message, help);
                } else if by_law && rate {
                    let message = format!("`{}` is a rate, which does not see a backlog", rule.switch.value);
                    let help = "declare it with `unit: in_flight`, or give the rate by `value: <PromQL>`";
                    check.error(&rule.switch.place, message, help);
                }
            }
            RuleSpec::Rollout(rule) => drop(of_kind(check, &rule.switch, switches, &["rollout"])),
            RuleSpec::Record(_) | RuleSpec::Alert(_) => {}
        }
    }
}

/// The switch of this name, if it is of one of these kinds.
fn of_kind<'a>(
    check: &mut Checker<'_>,
    name: &Spanned<SwitchName>,
    switches: &'a BTreeMap<SwitchName, SwitchSettings>,
    kinds: &[&str],
) -> Option<&'a SwitchSettings> {
    let Some(switch) = switches.get(&name.value) else {
        let named = Spanned { value: name.value.as_str().to_owned(), place: name.place.clone() };
        check.unknown("switch", &named, switches.keys().map(SwitchName::as_str));
        return None;
    };
    if kinds.contains(&switch.kind.as_str()) {
        return Some(switch);
    }
    let message = format!("`{}` is a {}, not a {}", name.value, switch.kind.as_str(), kinds.join(" or a "));
    check.error(&name.place, message, "name a switch of that kind, or declare one under `switches:`");
    None
}

fn dim(check: &mut Checker<'_>, rule: &DimSpec, switches: &BTreeMap<SwitchName, SwitchSettings>) {
    let switch = of_kind(check, &rule.switch, switches, &["dimmer", "feature"]);
    if let Some(switch) = switch
        && !rule.shares.is_empty()
        && rule.shares.len() + 1 != switch.levels.len()
    {
        let message = match switch.levels.len() {
            0 => "`shares` are for the levels of a feature, and this is a dimmer".to_owned(),
            levels => format!("there are {} `shares` for {} levels below the first", rule.shares.len(), levels - 1),
        };
        check.error(&rule.switch.place, message, "give one share for each level below the first, or none");
    }
    match &rule.limit {
        Some(limit) => {
            let switch = of_kind(check, limit, switches, &["limit"]);
            if switch.is_some_and(|switch| matches!(switch.kind, SwitchKind::Limit { share_out: true, .. })) {
                let message = format!("`{}` is shared out over the fleet, and this law measures one host", limit.value);
                check.error(&limit.place, message, "name a limit without `share_out`");
            }
        }
        None => check.warning(
            &rule.switch.place,
            "nothing stands behind this dimmer when even degraded answers do not fit",
            "declare a limit under `switches:` and name it in `limit:`",
        ),
    }
}

fn degrade(check: &mut Checker<'_>, rule: &DegradeSpec, switches: &BTreeMap<SwitchName, SwitchSettings>) {
    let Some(switch) = switches.get(&rule.switch.value) else {
        let name = Spanned { value: rule.switch.as_str().to_owned(), place: rule.switch.place.clone() };
        check.unknown("switch", &name, switches.keys().map(SwitchName::as_str));
        return;
    };
    if switch.kind != SwitchKind::Feature {
        let message = format!("`{}` is a {}, not a feature: it has no levels", rule.switch.value, switch.kind.as_str());
        check.error(&rule.switch.place, message, "name a switch with `feature: [...]`, or use another kind of rule");
        return;
    }
    let mut deepest = 0;
    for level in &rule.levels {
        let Some(depth) = switch.levels.iter().position(|known| *known == level.level.value) else {
            let ladder = switch.levels.join(", ");
            let help = nearest(&level.level.value, switch.levels.iter().map(String::as_str))
                .map_or_else(|| format!("its levels: {ladder}"), |word| format!("did you mean `{word}`?"));
            let message = format!("the switch `{}` has no level `{}`", rule.switch.value, level.level.value);
            check.error(&level.level.place, message, help);
            continue;
        };
        if depth == 0 {
            let message = format!("`{}` is the healthy level of `{}`", level.level.value, rule.switch.value);
            check.error(&level.level.place, message, "a rule goes back to it by `recover`: name a deeper level here");
        } else if depth <= deepest {
            let message = format!("`{}` stands after a level that is not milder", level.level.value);
            let help = format!("order the levels as the switch does: {}", switch.levels[1..].join(", "));
            check.error(&level.level.place, message, help);
        }
        deepest = deepest.max(depth);
    }
}
