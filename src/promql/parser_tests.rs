//! Tests of the parser, the checks and the printer together.

use std::path::{Path, PathBuf};

use super::*;

/// A good text and the form in which it is printed.
fn good(text: &str, printed: &str) {
    match parse(text) {
        Ok(expr) => assert_eq!(expr.to_string(), printed, "{text}"),
        Err(error) => panic!("{}", error.render(text)),
    }
}

/// The tree of a text without its places.
fn shape(text: &str) -> Result<String, ParseError> {
    let places = regex::Regex::new(r"Span \{ start: \d+, end: \d+ \}").expect("a regex");
    Ok(places.replace_all(&format!("{:?}", parse(text)?), "_").into_owned())
}

#[expect(clippy::disallowed_methods, reason = "the one variable by which tests find the conformance data")]
fn conformance() -> Option<PathBuf> {
    let folder = std::env::var("BROWNOUT_CONFORMANCE").ok().map(PathBuf::from);
    if folder.is_none() {
        println!("skipped: BROWNOUT_CONFORMANCE is not set");
    }
    folder
}

fn files(folder: &Path, ending: &str) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = std::fs::read_dir(folder)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.to_string_lossy().ends_with(ending))
        .map(|path| {
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            (name, std::fs::read_to_string(&path).expect("a text"))
        })
        .collect();
    found.sort();
    found
}

/// Every expression of the promqltest files, with the file it is from.
fn promqltest(folder: &Path) -> Vec<(String, String)> {
    let instant = regex::Regex::new(r"(?i)^eval(?:_(?:fail|warn|ordered|info))?\s+instant\s+(?:at\s+(?:.+?))?\s+(.+)$");
    let range =
        regex::Regex::new(r"(?i)^eval(?:_(?:fail|warn|info))?\s+range\s+from\s+.+\s+to\s+.+\s+step\s+.+?\s+(.+)$");
    let (instant, range) = (instant.expect("a regex"), range.expect("a regex"));
    let mut found = Vec::new();
    for (name, text) in files(&folder.join("promqltest"), ".test") {
        for line in text.lines().map(str::trim).filter(|line| line.starts_with("eval")) {
            let captures = range.captures(line).or_else(|| instant.captures(line));
            let expr = captures.unwrap_or_else(|| panic!("{name}: {line}"))[1].to_owned();
            found.push((name.clone(), expr));
        }
    }
    found
}

/// Every `expr` of the rule files that people paste.
fn rules(folder: &Path) -> Vec<(String, String)> {
    let mut texts = files(&folder.join("rules/awesome"), ".yml");
    texts.extend(files(&folder.join("rules"), ".json"));
    let mut found = Vec::new();
    for (name, text) in texts {
        let value: serde_json::Value = serde_yaml::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        collect_exprs(&value, &mut |expr| found.push((name.clone(), expr.to_owned())));
    }
    found
}

fn collect_exprs(value: &serde_json::Value, take: &mut dyn FnMut(&str)) {
    match value {
        serde_json::Value::Object(map) => map.iter().for_each(|(key, value)| match value {
            serde_json::Value::String(expr) if key == "expr" => take(expr),
            other => collect_exprs(other, take),
        }),
        serde_json::Value::Array(list) => list.iter().for_each(|value| collect_exprs(value, take)),
        _ => {}
    }
}

#[test]
fn every_expression_of_prometheus_own_tests_parses_and_prints_back() {
    let Some(folder) = conformance() else { return };
    let mut corpus = promqltest(&folder);
    // Labels that are not UTF-8. Prometheus refuses them when it evaluates; our texts cannot hold them.
    corpus.retain(|(_, text)| !text.contains(r#""a\xc5z""#) && !text.contains(r#""\xff""#));
    check_corpus(&corpus, 1_500);
}

#[test]
fn every_expression_of_well_known_rules_parses_and_prints_back() {
    let Some(folder) = conformance() else { return };
    check_corpus(&rules(&folder), 650);
}

fn check_corpus(corpus: &[(String, String)], at_least: usize) {
    let mut failures = Vec::new();
    for (name, text) in corpus {
        match parse(text) {
            Err(error) => failures.push(format!("{name}: {}", error.render(text))),
            Ok(expr) => {
                let printed = expr.to_string();
                if shape(text) != shape(&printed) {
                    failures.push(format!("{name}: {text}\nprints as {printed}"));
                }
            }
        }
    }
    assert!(failures.is_empty(), "{} of {} fail:\n{}", failures.len(), corpus.len(), failures.join("\n"));
    assert!(corpus.len() >= at_least, "only {} expressions were found", corpus.len());
}

#[test]
fn a_first_word() {
    good("sum by (a) (rate(foo{b=\"c\"}[5m]))", "sum by (a) (rate(foo{b=\"c\"}[5m]))");
}
