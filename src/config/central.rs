//! A revision of the fleet's configuration beside this host's own files: more rule files, and more declarations of switches.
//!
//! A file of a bundle has `groups:` (rules) or `switches:` (declarations), and nothing else: what belongs to one host, and
//! secrets, have no place in it. The host's own files go first: where a group of rules or a switch of the same name is
//! there already, the bundle's is left out with a warning, and everything else of it is used. What is on the host must be
//! good without the bundle.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::checker::Checker;
use super::switches::{Switch, Switches};
use super::values::Entries;
use crate::limits;
use crate::rules::{GroupSpec, parse_file};
use crate::switches::Bundle;
use crate::yaml::{At, Decode, SourceFile, Spanned, decode_text, parse};

/// What a bundle gave.
#[derive(Default)]
pub(super) struct Central {
    pub groups: Vec<GroupSpec>,
    pub switches: Vec<(Spanned<String>, Switch)>,
    /// Names that the host's own files have, too.
    pub left_out: Vec<String>,
    pub sources: Vec<Arc<SourceFile>>,
}

/// A file that declares switches.
struct Declares(Switches);

impl Decode for Declares {
    fn decode(at: &mut At<'_>) -> Option<Declares> {
        let mut fields = at.record("file of a bundle", "Switches that are declared for the whole fleet.")?;
        let switches = fields.or("switches", "{}", "the values that applications obey, by name");
        fields.finish();
        Some(Declares(switches))
    }
}

/// Reads a bundle beside the host's own groups and switches.
pub(super) fn read(check: &mut Checker<'_>, bundle: &Bundle, groups: &[GroupSpec], switches: &Switches) -> Central {
    let mut central = Central::default();
    let own_groups: BTreeSet<&str> = groups.iter().map(|group| group.name.value.as_str()).collect();
    for file in &bundle.files {
        // The name is the same in every revision: what a rule remembers goes by it.
        let name = if bundle.revision == 0 { file.name.clone() } else { format!("fleet/{}", file.name) };
        let source = SourceFile::new(name, file.text.as_str());
        let is_rules = parse(&source).is_ok_and(|node| node.get("groups").is_some());
        if is_rules {
            let (groups, problems) = parse_file(&source);
            check.problems.extend(problems);
            for group in groups.unwrap_or_default() {
                if own_groups.contains(group.name.value.as_str()) {
                    left_out(check, &mut central, &group.name, "group");
                } else {
                    central.groups.push(group);
                }
            }
        } else {
            let (declares, problems) = decode_text::<Declares>(&source);
            check.problems.extend(problems);
            for (name, switch) in declares.map(|declares| declares.0.0).unwrap_or_default() {
                let twice = central.switches.iter().any(|(known, _)| known.value == name.value);
                if switches.get(&name.value).is_some() {
                    left_out(check, &mut central, &name, "switch");
                } else if twice {
                    let message = format!("the switch `{}` is declared in two files of the bundle", name.value);
                    check.error(&name.place, message, "declare it once");
                } else {
                    central.switches.push((name, switch));
                }
            }
        }
        central.sources.push(source);
    }
    central
}

fn left_out(check: &mut Checker<'_>, central: &mut Central, name: &Spanned<String>, what: &str) {
    let message =
        format!("the {what} `{}` is in this host's own files: those go first, and this one is left out", name.value);
    check.warning(&name.place, message, "give it another name, or take it out of the host's own files");
    central.left_out.push(format!("{what} {}", name.value));
}

impl Central {
    /// The host's own declarations and the bundle's.
    pub fn with(&self, own: &Switches) -> Switches {
        Entries(own.0.iter().chain(&self.switches).cloned().collect())
    }
}

/// Why files are no bundle, besides what is in them; `None` when they may be one.
pub fn bundle_problem(bundle: &Bundle) -> Option<String> {
    let most = limits::FLEET_CONFIG_FILES;
    if bundle.files.is_empty() {
        return Some(
            "a bundle without files says nothing: to go back to the hosts' own files, roll back to 0".to_owned(),
        );
    }
    if bundle.files.len() > most {
        return Some(format!("a bundle has at most {most} files, and these are {}", bundle.files.len()));
    }
    let mut names = BTreeSet::new();
    for file in &bundle.files {
        let good = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
        if file.name.is_empty() || !file.name.chars().all(good) || file.name.starts_with('.') {
            return Some(format!(
                "{:?} is no name for a file of a bundle: use letters, digits, `_`, `-` and `.`",
                file.name
            ));
        }
        if !names.insert(&file.name) {
            return Some(format!("two files are called {}: each of a bundle has a name of its own", file.name));
        }
    }
    let bytes: usize = bundle.files.iter().map(|file| file.name.len() + file.text.len()).sum();
    let most = limits::FLEET_CONFIG_BYTES;
    (bytes > most)
        .then(|| format!("the bundle has {bytes} bytes, and {most} are the most: leave out what not every host needs"))
}

#[cfg(test)]
mod tests {
    use super::super::{FilesInMemory, Loaded, load_with};
    use super::*;
    use crate::switches::BundleFile;

    const OWN: &str =
        "rule_files: [own.yaml]\nshipped_rules: false\nswitches: {search: {feature: [\"on\", \"off\"]}}\n";
    const OWN_RULES: &str = "groups: [{name: own, rules: [{alert: A, expr: up == 0}]}]\n";
    const RULES: &str = "groups:\n- name: g\n  rules:\n  - degrade: recs\n    levels: [{level: \"off\", when: up == 0}]\n    recover: {for: 1s}\n";
    const SWITCHES: &str = "switches: {recs: {feature: [full, \"off\"]}}\n";

    fn bundle(files: &[(&str, &str)]) -> Bundle {
        let file = |(name, text): &(&str, &str)| BundleFile { name: (*name).to_owned(), text: (*text).to_owned() };
        Bundle { revision: 3, files: files.iter().map(file).collect() }
    }

    fn loaded(files: &[(&str, &str)]) -> Loaded {
        let own = FilesInMemory::new([("/etc/b.yaml", OWN), ("/etc/own.yaml", OWN_RULES)]);
        load_with(Some("/etc/b.yaml".as_ref()), &own, Some(&bundle(files)))
    }

    #[test]
    fn a_bundle_adds_rules_and_switches_to_the_hosts_own() {
        let checked = loaded(&[("r.yaml", RULES), ("s.yaml", SWITCHES)]).checked.expect("good");
        let groups: Vec<(&str, &str)> = checked.groups.iter().map(|g| (&*g.file, g.name.value.as_str())).collect();
        assert_eq!(groups, [("/etc/own.yaml", "own"), ("fleet/r.yaml", "g")]);
        assert_eq!(checked.switches.len(), 2);
        assert_eq!(checked.left_out, [] as [String; 0]);
    }

    #[test]
    fn what_the_host_has_goes_first_and_is_named() {
        let search = "switches: {search: {feature: [a, b]}, recs: {feature: [full, \"off\"]}}";
        let loaded = loaded(&[("r.yaml", OWN_RULES), ("s.yaml", search)]);
        let warnings: Vec<&str> = loaded.problems.iter().map(|problem| problem.message.as_str()).collect();
        assert!(warnings[0].contains("the group `own` is in this host's own files"), "{warnings:?}");
        let checked = loaded.checked.expect("warnings alone");
        assert_eq!(checked.left_out, ["group own", "switch search"]);
        assert_eq!((checked.groups.len(), checked.switches.len()), (1, 2));
        assert_eq!(
            checked.switches.values().last().map(|search| search.levels.clone()),
            Some(vec!["on".into(), "off".into()])
        );
    }

    #[test]
    fn a_bundle_is_all_or_nothing_and_says_where_it_is_wrong() {
        let check = |files: &[(&str, &str)], place: &str, message: &str| {
            let loaded = loaded(files);
            assert!(loaded.checked.is_none(), "{files:?}");
            let lines: Vec<String> = loaded.problems.iter().map(|problem| problem.one_line()).collect();
            assert!(lines.iter().any(|line| line.contains(message) && line.contains(place)), "{lines:?}");
        };
        check(&[("r.yaml", RULES)], "fleet/r.yaml:4", "recs");
        check(&[("s.yaml", "scrape_configs: []")], "fleet/s.yaml:1", "scrape_configs");
        check(&[("s.yaml", SWITCHES), ("t.yaml", SWITCHES)], "fleet/t.yaml:1", "two files of the bundle");
        check(&[("r.yaml", "groups: [{name: g, rules: [{alert: A, expr: 'up =='}]}]")], "fleet/r.yaml:1", "");
    }

    #[test]
    fn what_cannot_be_a_bundle_is_said() {
        let check = |files: &[(&str, &str)], expected: &str| {
            let problem = bundle_problem(&bundle(files));
            assert!(problem.as_ref().is_some_and(|problem| problem.contains(expected)), "{problem:?}");
        };
        check(&[], "without files");
        check(&[("a/b.yaml", "")], "no name for a file");
        check(&[(".a", "")], "no name for a file");
        check(&[("a", ""), ("a", "")], "two files are called a");
        check(&[("a", &"x".repeat(limits::FLEET_CONFIG_BYTES))], "bytes");
        let many: Vec<String> = (0..=limits::FLEET_CONFIG_FILES).map(|number| number.to_string()).collect();
        let many: Vec<(&str, &str)> = many.iter().map(|name| (name.as_str(), "")).collect();
        check(&many, "at most");
        assert_eq!(bundle_problem(&bundle(&[("a.yaml", RULES)])), None);
    }
}
