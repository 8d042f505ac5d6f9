//! `brownout test`: unit tests of rules, as `promtool test rules` has them, and of switches and notifications.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::engine_test;
use super::failure::Failure;
use super::human::count;
use super::junit;
use super::out::Out;
use super::text::{Style, Text};
use crate::config::Files;
use crate::rules::{Covered, Failure as Missed, Report, RuleId, RuleType, TestReport, UnitTestOptions, run_unit_tests};
use crate::run::DiskFiles;
use crate::series::Point;
use crate::time::Timestamp;
use crate::yaml::{Problem, Severity, SourceFile, render_problems};

/// Run unit tests of rules: promtool's files, and in them tests of switches and notifications
#[derive(Clone, Debug, clap::Args)]
pub struct TestArgs {
    /// Files of tests
    #[arg(value_name = "FILES", required = true)]
    files: Vec<PathBuf>,
    /// Only tests whose name matches; may be given more than once
    #[arg(long, value_name = "REGEX")]
    run: Vec<String>,
    /// Show what is expected and what was found as a difference, line by line
    #[arg(long)]
    diff: bool,
    /// Write the results as JUnit XML too
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Show every series after each test
    #[arg(long)]
    debug: bool,
    /// How much of labels and annotations must be expected: all, or a part of those found
    #[arg(long = "match", value_enum, default_value_t = Match::Exact)]
    matching: Match,
    /// Show which rules no test covers
    #[arg(long)]
    coverage: bool,
    /// In rule files, only warn of fields that this version does not know
    #[arg(long)]
    ignore_unknown_fields: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Match {
    Exact,
    Subset,
}

/// One file and what came of it.
pub(super) struct Tested {
    pub(super) name: String,
    pub(super) report: Report,
}

pub(super) fn run(args: &TestArgs, out: &mut Out) -> Result<(), Failure> {
    let patterns: Vec<regex::Regex> = args.run.iter().map(|text| pattern(text)).collect::<Result<_, _>>()?;
    let select = |name: &str| patterns.is_empty() || patterns.iter().any(|pattern| pattern.is_match(name));
    let options = UnitTestOptions { select: Some(&select), subset: args.matching == Match::Subset };
    let mut all = Vec::new();
    for path in &args.files {
        let tested =
            Tested { name: path.display().to_string(), report: test_file(path, &options, args.ignore_unknown_fields) };
        tell(&tested, args, out)?;
        all.push(tested);
    }
    if args.coverage {
        out.lines(&coverage(&all))?;
    }
    if let Some(path) = &args.junit {
        let written = std::fs::write(path, junit::render(&all));
        written.map_err(|error| Failure::said(format!("cannot write {}: {error}", path.display())))?;
    }
    if all.iter().all(|tested| tested.report.passed()) { Ok(()) } else { Err(Failure::BadNews) }
}

fn pattern(text: &str) -> Result<regex::Regex, Failure> {
    regex::RegexBuilder::new(text)
        .size_limit(crate::limits::REGEX_BYTES)
        .build()
        .map_err(|error| Failure::Usage(format!("--run {text:?} is no regular expression: {error}")))
}

/// Runs one file.
fn test_file(path: &Path, options: &UnitTestOptions<'_>, tolerant: bool) -> Report {
    let name = path.display().to_string();
    let file = match DiskFiles.read(path) {
        Ok(text) => SourceFile::new(name, text),
        Err(why) => {
            let problem = Problem {
                severity: Severity::Error,
                file: SourceFile::new(name, ""),
                span: 0..0,
                message: format!("cannot read the test file: {why}"),
                help: None,
            };
            return Report { problems: vec![problem], ..Report::default() };
        }
    };
    let folder = path.parent().unwrap_or_else(|| Path::new(""));
    let mut report = run_unit_tests(&file, options, &|pattern| rule_files(folder, pattern, tolerant));
    engine_tests(&mut report, path, options.subset);
    report
}

/// The files that a pattern names; none is no error, as in promtool.
fn rule_files(folder: &Path, pattern: &str, tolerant: bool) -> Result<Vec<Arc<SourceFile>>, String> {
    let whole = folder.join(pattern);
    let paths = if whole.is_file() { vec![whole] } else { DiskFiles.glob(&whole) };
    let here = std::path::absolute("").unwrap_or_default();
    let read = |path: PathBuf| {
        let text = DiskFiles.read(&path).map_err(|why| format!("cannot read {}: {why}", path.display()))?;
        let shown = path.strip_prefix(&here).unwrap_or(&path);
        let named = if tolerant { SourceFile::tolerant } else { SourceFile::new };
        Ok(named(shown.display().to_string(), text))
    };
    paths.into_iter().map(read).collect()
}

/// Adds what only an engine can check.
fn engine_tests(report: &mut Report, path: &Path, subset: bool) {
    let Some(suite) = &report.suite else { return };
    let tests = &suite.file.tests;
    if !report.tests.iter().any(|test| engine_test::has_checks(&tests[test.number])) {
        return;
    }
    match engine_test::configuration(suite, path) {
        Err(problems) => report.problems.extend(problems),
        Ok(checked) => {
            for test in &mut report.tests {
                let spec = &tests[test.number];
                if engine_test::has_checks(spec) {
                    test.failures.extend(engine_test::run(suite, spec, &checked, subset));
                }
            }
        }
    }
}

fn tell(tested: &Tested, args: &TestArgs, out: &mut Out) -> Result<(), Failure> {
    let report = &tested.report;
    if args.debug {
        for test in &report.tests {
            out.lines(&dump(test))?;
        }
    }
    if !report.problems.is_empty() {
        out.paragraph(&render_problems(&report.problems))?;
    }
    for test in &report.tests {
        for missed in &test.failures {
            out.lines(&missed_lines(test, missed, args.diff))?;
        }
    }
    let failed = report.tests.iter().filter(|test| !test.failures.is_empty()).count();
    let tests = count(report.tests.len(), "test", "tests");
    let line = Text::from(format!("{}: ", tested.name));
    out.line(match (report.passed(), failed) {
        (true, _) => line.and(Style::Good, "passed").then(format!(", {tests}")),
        (false, 0) => line.and(Style::Bad, "not usable"),
        (false, _) => line.and(Style::Bad, "FAILED").then(format!(", {failed} of {tests}")),
    })
}

/// A place as people click on it.
pub(super) fn place_text(missed: &Missed) -> String {
    let (line, column) = missed.place.file.line_column(missed.place.span.start);
    format!("{}:{line}:{column}", missed.place.file.name)
}

fn missed_lines(test: &TestReport, missed: &Missed, diff: bool) -> Vec<Text> {
    let head = Text::styled(Style::Bold, format!("{}: ", place_text(missed))).then(format!("{}: ", test.name));
    let message = missed.message();
    if !diff || (missed.expected.is_empty() && missed.found.is_empty()) {
        let mut lines = message.lines();
        let first = head.then(lines.next().unwrap_or_default());
        return std::iter::once(first).chain(lines.map(Text::from)).chain([Text::new()]).collect();
    }
    let mut lines = vec![head.then(missed.what.as_str())];
    let mut found: Vec<&String> = missed.found.iter().collect();
    for expected in &missed.expected {
        match found.iter().position(|line| *line == expected) {
            Some(at) => lines.push(Text::from(format!("    {}", found.remove(at)))),
            None => lines.push(Text::styled(Style::Bad, format!("  - {expected}"))),
        }
    }
    lines.extend(found.iter().map(|line| Text::styled(Style::Good, format!("  + {line}"))));
    lines.push(Text::new());
    lines
}

/// Every series of a test.
fn dump(test: &TestReport) -> Vec<Text> {
    let mut lines = vec![Text::styled(Style::Dim, format!("DEBUG: all data of {}", test.name))];
    for series in test.data.select(&[], Timestamp::MIN, Timestamp::MAX) {
        let value = |point: &Point| match point {
            _ if point.is_stale() => "stale".to_owned(),
            Point::Float(_, value) => value.to_string(),
            Point::Histogram(_, value) => value.to_string(),
        };
        let at = |point: &Point| point.time().as_millis();
        let points: Vec<String> =
            series.points.iter().map(|point| format!("{}@[{}]", value(point), at(point))).collect();
        lines.push(Text::from(format!("{} {}", series.labels, points.join(" "))));
    }
    lines
}

/// Which rules no test covers, over all files.
fn coverage(all: &[Tested]) -> Vec<Text> {
    let mut rules: BTreeMap<RuleId, Covered> = BTreeMap::new();
    for covered in all.iter().flat_map(|tested| &tested.report.coverage) {
        let whole = rules.entry(covered.rule.clone()).or_insert_with(|| covered.clone());
        whole.evaluated |= covered.evaluated;
        whole.fired |= covered.fired;
        whole.checked |= covered.checked;
    }
    let whole = rules.values().filter(|covered| gaps(covered).is_empty()).count();
    let share = if rules.is_empty() { 100.0 } else { whole as f64 / rules.len() as f64 * 100.0 };
    let rest = rules.values().filter(|covered| !gaps(covered).is_empty());
    let line = |covered: &Covered| {
        let rule = &covered.rule;
        let name = format!("  {} {}/{} ({})", rule.kind.as_str(), rule.group, rule.name, rule.file);
        Text::from(name).and(Style::Warn, format!(": {}", gaps(covered).join(", ")))
    };
    let files: BTreeSet<&str> = rules.keys().map(|rule| &*rule.file).collect();
    let head = format!(
        "coverage: {whole} of {} in {} ({share:.0} %)",
        count(rules.len(), "rule", "rules"),
        count(files.len(), "file", "files")
    );
    std::iter::once(Text::styled(Style::Bold, head)).chain(rest.map(line)).collect()
}

fn gaps(covered: &Covered) -> Vec<&'static str> {
    let alert = covered.rule.kind == RuleType::Alerting;
    [
        (!covered.evaluated, "never gave a result"),
        (alert && covered.evaluated && !covered.fired, "never fired"),
        (!covered.checked, "no expectation names it"),
    ]
    .into_iter()
    .filter_map(|(gap, words)| gap.then_some(words))
    .collect()
}

#[cfg(test)]
mod tests;
