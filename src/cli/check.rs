//! `brownout check`: every mistake at once, and in plain words what the configuration watches, tells and changes.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::failure::Failure;
use super::out::Out;
use crate::config::{Checked, Files, decode_alertmanager, load};
use crate::rules::{GroupSpec, Mode as RuleMode, RuleSpec, parse_file};
use crate::run::DiskFiles;
use crate::switches::Mode;
use crate::time::format_duration;
use crate::yaml::{Problem, Severity, SourceFile, parse, render_problems};

/// Check configuration and rule files: every mistake at once, with its place and what to write instead
#[derive(Clone, Debug, clap::Args)]
pub struct CheckArgs {
    /// The configuration file
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Further files: configurations, rules, an Alertmanager's configuration
    #[arg(value_name = "FILES")]
    files: Vec<PathBuf>,
    /// In rule files, only warn of fields that this version does not know
    #[arg(long)]
    ignore_unknown_fields: bool,
}

pub(super) fn run(args: &CheckArgs, out: &mut Out) -> Result<(), Failure> {
    let paths: Vec<PathBuf> = args.config.iter().chain(&args.files).cloned().collect();
    let (report, code) = check_as(&paths, &DiskFiles, args.ignore_unknown_fields);
    out.paragraph(&report)?;
    if code == 0 { Ok(()) } else { Err(Failure::BadNews) }
}

/// Checks files of any kind (a configuration, rules, an Alertmanager's configuration), or the defaults when there is none.
/// Gives the report and the exit code: 0 when all are good, 1 when any has an error.
pub fn check(paths: &[PathBuf], files: &dyn Files) -> (String, u8) {
    check_as(paths, files, false)
}

fn check_as(paths: &[PathBuf], files: &dyn Files, tolerant: bool) -> (String, u8) {
    let mut report = String::new();
    let mut bad = false;
    if paths.is_empty() {
        bad |= config(&mut report, None, files);
    }
    for path in paths {
        let kind = files.read(path).ok().map(|text| kind_of(path, &text));
        bad |= match kind {
            Some((Kind::Rules, mut file)) => {
                if tolerant {
                    file = SourceFile::tolerant(file.name.as_str(), file.text.as_str());
                }
                let (groups, problems) = parse_file(&file);
                let summary = groups.map(|groups| rules_summary(&groups));
                conclude(&mut report, path, &problems, summary)
            }
            Some((Kind::Alertmanager, file)) => {
                let (section, problems) = decode_alertmanager(&file);
                let summary = section.map(|_| "  an Alertmanager's configuration\n".to_owned());
                conclude(&mut report, path, &problems, summary)
            }
            Some((Kind::Config, _)) | None => config(&mut report, Some(path), files),
        };
    }
    (report, u8::from(bad))
}

enum Kind {
    Config,
    Rules,
    Alertmanager,
}

/// What a file is, by its sections.
fn kind_of(path: &Path, text: &str) -> (Kind, std::sync::Arc<SourceFile>) {
    let file = SourceFile::new(path.display().to_string(), text);
    let kind = match parse(&file) {
        Ok(node) if node.get("groups").is_some() => Kind::Rules,
        Ok(node) if node.get("route").is_some() && node.get("receivers").is_some() => Kind::Alertmanager,
        _ => Kind::Config,
    };
    (kind, file)
}

fn config(report: &mut String, main: Option<&Path>, files: &dyn Files) -> bool {
    let loaded = load(main, files);
    let name = main.unwrap_or_else(|| Path::new("(defaults)"));
    let summary = loaded.checked.map(|checked| config_summary(&checked));
    conclude(report, name, &loaded.problems, summary)
}

/// Writes the problems and the verdict; true when there is an error.
fn conclude(report: &mut String, name: &Path, problems: &[Problem], summary: Option<String>) -> bool {
    if !problems.is_empty() {
        report.push_str(&render_problems(problems));
        report.push('\n');
    }
    let bad = problems.iter().any(|problem| problem.severity == Severity::Error) || summary.is_none();
    let verdict = if bad { "not usable" } else { "good" };
    // Writing to a text cannot fail.
    let _ = writeln!(report, "{}: {verdict}", name.display());
    if let Some(summary) = summary.filter(|_| !bad) {
        report.push_str(&summary);
    }
    bad
}

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

fn rules_summary(groups: &[GroupSpec]) -> String {
    format!("  judges   {}\n", rule_counts(groups))
}

fn rule_counts(groups: &[GroupSpec]) -> String {
    let rules = || groups.iter().flat_map(|group| &group.rules);
    let alerts = rules().filter(|rule| matches!(rule, RuleSpec::Alert(_))).count();
    let records = rules().filter(|rule| matches!(rule, RuleSpec::Record(_))).count();
    let actions = rules().count() - alerts - records;
    let mut parts = vec![count(alerts, "alert"), count(records, "recording")];
    if actions > 0 {
        parts.push(count(actions, "action rule"));
    }
    format!("{} in {}", parts.join(", "), count(groups.len(), "group"))
}

fn config_summary(checked: &Checked) -> String {
    let mut text = format!("  watches  {}\n", watched(checked));
    text.push_str(&format!("  judges   {}\n", rule_counts(&checked.groups)));
    let told: usize = checked.receivers.iter().map(|receiver| receiver.integrations.len()).sum();
    match (checked.receivers.len(), told) {
        (0, _) => text.push_str("  tells    nobody: there is no section `alertmanager`; alerts are only shown\n"),
        (_, 0) => text.push_str("  tells    nobody: no receiver has mail or a webhook; alerts are only shown\n"),
        (receivers, told) => {
            text.push_str(&format!("  tells    {} by {}\n", count(receivers, "receiver"), count(told, "integration")));
        }
    }
    text.push_str(&acts(checked));
    text.push_str(&format!("  serves   {}\n", checked.serve.external_url));
    text
}

fn watched(checked: &Checked) -> String {
    let mut parts = Vec::new();
    match &checked.system {
        Some(system) => parts.push(format!("the host every {}", format_duration(system.interval))),
        None => parts.push("not the host (system.enabled is false)".to_owned()),
    }
    let targets: usize = checked.probes.iter().map(|job| job.targets.len()).sum();
    let metrics: usize = checked.logs.iter().map(|job| job.metrics.len()).sum();
    if !checked.probes.is_empty() {
        parts.push(format!("{} in {}", count(targets, "probed target"), count(checked.probes.len(), "job")));
    }
    if !checked.logs.is_empty() {
        parts.push(format!("{} in {}", count(metrics, "log metric"), count(checked.logs.len(), "job")));
    }
    if !checked.scrapes.is_empty() {
        parts.push(count(checked.scrapes.len(), "scrape job"));
    }
    parts.join(", ")
}

/// What action rules do: the one thing that nobody should learn afterwards.
fn acts(checked: &Checked) -> String {
    let mut enforced = BTreeSet::new();
    let mut observed = BTreeSet::new();
    for rule in checked.groups.iter().flat_map(|group| &group.rules) {
        let (what, mode) = match rule {
            RuleSpec::Degrade(rule) => (format!("degrades {}", rule.switch.value), rule.mode),
            RuleSpec::Scale(rule) => (format!("scales {} by {}", rule.name.value, rule.webhook.value), rule.mode),
            RuleSpec::Dim(rule) => (format!("dims {} ({})", rule.switch.value, rule.control.law.as_str()), rule.mode),
            RuleSpec::Limit(rule) => (format!("limits {}", rule.switch.value), rule.mode),
            RuleSpec::Rollout(rule) => (format!("rolls out {}", rule.switch.value), rule.mode),
            RuleSpec::Record(_) | RuleSpec::Alert(_) => continue,
        };
        let enforce = mode.map_or(checked.actions.mode == Mode::Enforce, |mode| mode == RuleMode::Enforce);
        if enforce {
            enforced.insert(what)
        } else {
            observed.insert(what)
        };
    }
    let mut text = String::new();
    let lines = |text: &mut String, rules: &BTreeSet<String>| {
        for rule in rules {
            text.push_str(&format!("             {rule}\n"));
        }
    };
    if enforced.is_empty() && observed.is_empty() {
        text.push_str("  changes  nothing: there are no action rules\n");
    }
    if !enforced.is_empty() {
        text.push_str("  changes  ENFORCED, these rules act:\n");
        lines(&mut text, &enforced);
    }
    if !observed.is_empty() {
        text.push_str("  changes  observed only, these rules decide and show, and change nothing:\n");
        lines(&mut text, &observed);
        if checked.actions.mode == Mode::Observe {
            text.push_str(
                "           to let them act, write `actions: {mode: enforce}`, or `mode: enforce` in a rule\n",
            );
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::FilesInMemory;

    const ACTIONS: &str =
        "groups:\n- name: g\n  rules:\n  - degrade: recommendations\n    levels: [{level: cached, when: up == 0}]\n";

    fn report(files: &[(&str, &str)], paths: &[&str]) -> (String, u8) {
        let files = FilesInMemory::new(files.iter().copied());
        check(&paths.iter().map(PathBuf::from).collect::<Vec<_>>(), &files)
    }

    #[test]
    fn the_defaults_are_good_and_say_what_they_do() {
        let (text, code) = report(&[], &[]);
        assert_eq!(code, 0, "{text}");
        for line in [
            "(defaults): good",
            "watches  the host every 1s",
            "tells    nobody",
            "changes  nothing: there are no action rules",
            "serves   http://127.0.0.1:9797",
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
    }

    #[test]
    fn unknown_fields_of_rule_files_can_be_only_warned_of() {
        let files = FilesInMemory::new([("r.yaml", "groups:\n- {name: g, rules: [], newer_field: 1}\n")]);
        for (tolerant, expected, said) in [(false, 1, "error: unknown field"), (true, 0, "warning: unknown field")] {
            let (text, code) = check_as(&["r.yaml".into()], &files, tolerant);
            assert!(code == expected && text.contains(said), "{text}");
        }
    }

    #[test]
    fn what_acts_and_what_only_observes_is_said_plainly() {
        let main = "rule_files: [r.yaml]\nswitches: {recommendations: {feature: [full, cached]}}\n";
        let check = |main: &str, rules: &str, expected: &str| {
            let (text, code) = report(&[("b.yaml", main), ("r.yaml", rules)], &["b.yaml"]);
            assert_eq!(code, 0, "{text}");
            assert!(text.contains(expected), "{text}");
        };
        check(
            main,
            ACTIONS,
            "observed only, these rules decide and show, and change nothing:\n             degrades recommendations",
        );
        let enforced = "changes  ENFORCED, these rules act:\n             degrades recommendations";
        check(&format!("{main}actions: {{mode: enforce}}\n"), ACTIONS, enforced);
        check(main, &format!("{ACTIONS}    mode: enforce\n"), enforced);
    }

    #[test]
    fn files_of_every_kind_are_known_by_their_sections() {
        let files = [
            ("rules.yaml", "groups: [{name: g, rules: [{record: a, expr: up}]}]\n"),
            ("am.yaml", "route: {receiver: a}\nreceivers: [{name: a}]\n"),
            ("bad.yaml", "groups: [{name: g, rules: [{record: a}]}]\n"),
            ("main.yaml", "global: {}\n"),
        ];
        let (text, code) = report(&files, &["rules.yaml", "am.yaml", "main.yaml"]);
        assert_eq!(code, 0, "{text}");
        assert!(text.contains("rules.yaml: good\n  judges   0 alerts, 1 recording in 1 group"), "{text}");
        assert!(text.contains("am.yaml: good"), "{text}");
        let (text, code) = report(&files, &["rules.yaml", "bad.yaml"]);
        assert_eq!(code, 1);
        assert!(text.contains("bad.yaml: not usable") && text.contains("missing field `expr`"), "{text}");
        let (text, code) = report(&files, &["none.yaml"]);
        assert_eq!(code, 1);
        assert!(text.contains("cannot read the configuration: no such file or directory"), "{text}");
    }
}
