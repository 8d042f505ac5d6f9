//! Tests of the parser, the checks and the printer together.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use proptest::prelude::*;

use super::parser_tests_tables::{BAD, GOOD};
use super::*;
use crate::limits;
use crate::rng::Rng;

/// The tree of a text without its places.
fn shape(text: &str) -> Result<String, ParseError> {
    static PLACES: LazyLock<regex::Regex> =
        LazyLock::new(|| regex::Regex::new(r"Span \{ start: \d+, end: \d+ \}").expect("a regex"));
    Ok(PLACES.replace_all(&format!("{:?}", parse(text)?), "_").into_owned())
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
    let Ok(entries) = std::fs::read_dir(folder) else {
        println!("skipped: there is no folder {}", folder.display());
        return Vec::new();
    };
    let mut found: Vec<(String, String)> = entries
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
    let corpus = promqltest(&folder);
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
    assert!(corpus.is_empty() || corpus.len() >= at_least, "only {} expressions were found", corpus.len());
}

#[test]
fn good_texts_print_in_one_form_and_read_back() {
    for (text, printed) in GOOD {
        match parse(text) {
            Ok(expr) => assert_eq!(expr.to_string(), *printed, "{text}"),
            Err(error) => panic!("{}", error.render(text)),
        }
        assert_eq!(shape(text), shape(printed), "{text}");
    }
}

#[test]
fn bad_texts_are_refused_with_place_reason_and_help() {
    for (text, expected) in BAD {
        let error = parse(text).expect_err(text);
        let (line, column) = error.position(text);
        assert_eq!(format!("{line}:{column}: {error}"), *expected, "{text}");
    }
}

#[test]
fn an_error_is_shown_under_its_line() {
    let check = |text: &str, expected: &str| {
        assert_eq!(parse(text).expect_err(text).render(text), expected);
    };
    check(
        "sum by (job) (\n\trat(foo[5m])\n)",
        "2:2: unknown function with name \"rat\"\n  |\n2 | \trat(foo[5m])\n  | \t^^^\n  = help: did you mean \"rate\"?",
    );
    check("foo +", "1:6: unexpected end of input, expected an expression\n  |\n1 | foo +\n  |      ^");
    check(
        "\"gr\u{fc}n\" bar",
        "1:8: unexpected identifier \"bar\", expected an operator or the end of the expression\n  |\n\
         1 | \"gr\u{fc}n\" bar\n  |        ^^^",
    );
    let long = format!("{} bar {}", "a".repeat(300), "b".repeat(300));
    let shown = parse(&long).expect_err("two names").render(&long);
    assert!(shown.lines().all(|line| line.len() < 140), "{shown}");
}

#[test]
fn every_node_knows_its_place() {
    let text = "sum by (a) (rate(foo{b=\"c\"}[5m] offset 1m)) / -bar # end";
    let expr = parse(text).expect("a good text");
    let mut places = Vec::new();
    expr.walk(&mut |node| places.push(&text[node.span.start as usize..node.span.end as usize]));
    let sum = "sum by (a) (rate(foo{b=\"c\"}[5m] offset 1m))";
    let rate = "rate(foo{b=\"c\"}[5m] offset 1m)";
    let range = "foo{b=\"c\"}[5m] offset 1m";
    assert_eq!(places, [&text[..text.len() - 6], sum, rate, range, "-bar", "bar"]);
}

#[test]
fn deep_and_long_texts_are_refused_or_read_but_never_overflow_the_stack() {
    let refused = |text: &str| {
        let error = parse(text).expect_err("too deep or too long");
        assert!(error.message.contains("nested deeper") || error.message.contains("bytes"), "{error}");
    };
    for depth in [limits::PROMQL_DEPTH, 10_000, 32_000, 100_000] {
        refused(&"(".repeat(depth + 1));
        refused(&format!("{}1{}", "(".repeat(depth), ")".repeat(depth)));
        refused(&format!("{}foo", "-".repeat(depth)));
        refused(&format!("{}foo", "+".repeat(depth)));
        refused(&format!("1{}", "+1".repeat(depth)));
        refused(&format!("1{}", "^1".repeat(depth)));
        refused(&format!("{}foo", "abs(".repeat(depth)));
        refused(&format!("{}foo", "sum(".repeat(depth)));
        refused(&format!("foo[{}1", "(".repeat(depth)));
        refused(&format!("foo[{}1", "-".repeat(depth)));
        refused(&format!("foo[1{}]", "+1".repeat(depth)));
        refused(&format!("foo{}", "[1m:1m]".repeat(depth)));
    }
    let depth = limits::PROMQL_DEPTH - 2;
    let read = |text: &str| drop(parse(text).expect("deep, but not too deep").clone().to_string());
    read(&format!("{}foo{}", "(".repeat(depth), ")".repeat(depth)));
    // Calls, aggregations and subqueries count more: evaluating them takes more stack.
    read(&format!("{}foo{}", "abs(".repeat(depth / 2), ")".repeat(depth / 2)));
    read(&format!("{}foo{}", "sum by (a) (".repeat(depth / 2), ")".repeat(depth / 2)));
    read(&format!("{}foo{}", "max_over_time(".repeat(depth / 18), "[1m:1m])".repeat(depth / 18)));
    read(&format!("foo{}", " or foo".repeat(depth)));
    read(&format!("{}foo", "1 ^ -".repeat(depth / 2)));
    read(&format!("foo[{}1{}]", "(".repeat(depth / 5), ")".repeat(depth / 5)));
}

#[test]
fn many_regular_expressions_are_refused_before_they_take_all_memory() {
    let many = |count: usize| format!("{{{}}}", vec![r#"a=~"\\w+x""#; count].join(","));
    assert!(parse(&many(limits::PROMQL_REGEXES)).is_ok());
    let error = parse(&many(limits::PROMQL_REGEXES + 1)).expect_err("too many");
    assert_eq!(error.message, "the expression has more than 128 regular expressions");
    assert!(parse(&format!("foo{{{}}}", vec![r#"a!~"x|y""#; 2_000].join(","))).is_ok());
}

#[test]
fn selectors_and_names_of_series_are_read_alone() {
    let selector = |text: &str| parse_selector(text).map(|matchers| format!("{matchers:?}")).map_err(|e| e.message);
    assert_eq!(selector("up{job!=\"a\"}").as_deref(), Ok(r#"[__name__="up", job!="a"]"#));
    assert_eq!(selector("{}"), Err("vector selector must contain at least one non-empty matcher".to_owned()));
    for text in ["up[5m]", "up offset 5m", "up @ 1", "rate(up[5m])", "up smoothed"] {
        assert_eq!(selector(text), Err("expected a selector alone".to_owned()), "{text}");
    }
    let metric = |text: &str| parse_metric(text).map(|labels| labels.to_string()).map_err(|e| e.message);
    assert_eq!(metric("up{job=\"a\"}").as_deref(), Ok("up{job=\"a\"}"));
    assert_eq!(metric("{}").as_deref(), Ok("{}"));
    assert_eq!(metric("{\"my.metric\"}").as_deref(), Ok("{\"my.metric\"}"));
    assert_eq!(metric("up{job=~\"a\"}"), Err("the name of a series has only = between label and value".to_owned()));
    assert_eq!(metric("5"), Err("expected the name of a series".to_owned()));
    assert_eq!(metric("up offset 5m"), Err("expected the name of a series alone".to_owned()));
}

/// Good texts that the other parser does not read: it lacks duration expressions, `anchored` and `smoothed`, the trim
/// operators, some keywords as labels, keywords in upper case, `_` in numbers and the empty matchers of `info()`.
const OTHER_REFUSES: &[&str] = &[
    "1_000_000",
    "foo OFFSET 0s",
    "foo[5m+1m]",
    "foo[(5m + 1m) * 2]",
    "foo[step()]",
    "foo[1+(STep()-5)*2]",
    "foo[max_of(min_of(step()+1,1h),1ms)]",
    "foo[range() / 4:step()]",
    "foo offset step()",
    "foo offset -step()*2",
    "foo offset (2 ^ 2)",
    "foo offset (-2 ^ 2)",
    "foo offset (5m) + 1",
    "foo offset -(min_of(step(), 2s)-5)+8000",
    "foo[10s] anchored",
    "foo[10s] smoothed offset 5m",
    "foo smoothed",
    "foo anchored + 0",
    "foo smoothed[10s]",
    "sum by (by, on, without, offset) (foo)",
    "foo </ 5",
    "foo >/ -Inf",
    "info(foo, {data=~\".*\"})",
    "info(foo, {})",
    "STEP()",
];

/// Bad texts that the other parser reads: it does not check them.
const OTHER_ACCEPTS: &[&str] = &[
    "{\"foo\", \"bar\"}",
    "foo[9.5e10]",
    "foo and fill(0) bar",
    "foo + fill(0) 1",
    "+foo[5m]",
    "1e400",
    "sum(foo) by (\"\")",
    "info(foo, bar)",
    "foo @ 1e18",
    "foo{a=\"a\\xc5z\"}",
];

#[test]
fn another_parser_agrees_on_the_core_files() {
    const CORE: [&str; 13] = [
        "literals",
        "selectors",
        "staleness",
        "collision",
        "trig_functions",
        "subquery",
        "at_modifier",
        "aggregators",
        "operators",
        "functions",
        "histograms",
        "range_queries",
        "name_label_dropping",
    ];
    let Some(folder) = conformance() else { return };
    let mut corpus = promqltest(&folder);
    corpus.retain(|(name, _)| CORE.contains(&name.trim_end_matches(".test")));
    corpus.extend(rules(&folder));
    for (name, text) in corpus {
        let other = promql_parser::parser::parse(&text).is_ok();
        assert_eq!(parse(&text).is_ok(), other, "{name}: {text}");
    }
}

#[test]
fn another_parser_agrees_on_the_tables() {
    let mut differences = Vec::new();
    for (text, _) in GOOD {
        if promql_parser::parser::parse(text).is_err() && !OTHER_REFUSES.contains(text) {
            differences.push(format!("refuses {text:?}"));
        }
    }
    for (text, _) in BAD {
        if promql_parser::parser::parse(text).is_ok() && !OTHER_ACCEPTS.contains(text) {
            differences.push(format!("accepts {text:?}"));
        }
    }
    assert!(differences.is_empty(), "{differences:#?}");
}

/// One text made of another by a few random edits.
fn mutated(rng: &mut Rng, text: &str, other: &str) -> String {
    const PARTS: [&str; 28] = [
        "(", ")", "[", "]", "{", "}", ",", ":", "=", "=~", "!", "-", "^", " or ", " offset ", "@", "\"", "`", "#",
        "5m", "0x", "1e", " by ", "\\", "\u{e9}", "\n", "fill(", " bool ",
    ];
    let mut chars: Vec<char> = text.chars().collect();
    for _ in 0..=rng.below(3) {
        let at = rng.below(chars.len() as u64 + 1) as usize;
        let until = (at + rng.below(8) as usize).min(chars.len());
        match rng.below(5) {
            0 => drop(chars.drain(at..until)),
            1 => chars.splice(at..at, PARTS[rng.below(28) as usize].chars()).for_each(drop),
            2 => chars.splice(at..until, PARTS[rng.below(28) as usize].chars()).for_each(drop),
            3 => {
                let copied: Vec<char> = chars[at..until].to_vec();
                chars.splice(at..at, copied).for_each(drop);
            }
            _ => {
                let from = rng.below(other.chars().count() as u64 + 1) as usize;
                chars.splice(at..until, other.chars().skip(from).take(16)).for_each(drop);
            }
        }
    }
    chars.into_iter().collect()
}

#[test]
fn mutated_texts_never_panic_and_print_back_when_they_are_read() {
    let mut corpus: Vec<String> = GOOD.iter().chain(BAD).map(|(text, _)| (*text).to_owned()).collect();
    if let Some(folder) = conformance() {
        corpus.extend(promqltest(&folder).into_iter().chain(rules(&folder)).map(|(_, text)| text));
    }
    let mut rng = Rng::seeded(0x5eed);
    let mut read = 0;
    for _ in 0..20_000 {
        let mut pick = || corpus[rng.below(corpus.len() as u64) as usize].clone();
        let (first, second) = (pick(), pick());
        let text = mutated(&mut rng, &first, &second);
        match parse(&text) {
            Ok(expr) => {
                read += 1;
                let printed = expr.to_string();
                if read % 4 == 0 {
                    assert_eq!(shape(&text), shape(&printed), "{text}\n{printed}");
                }
            }
            Err(error) => {
                assert!(
                    error.span.start <= error.span.end && error.span.end as usize <= text.len(),
                    "{text}: {error:?}"
                );
                assert!(error.render(&text).contains(&error.message), "{text}");
            }
        }
    }
    assert!(read > 2_000, "only {read} mutations were read");
}

/// Texts of expressions whose value is an instant vector.
fn vector() -> impl Strategy<Value = String> {
    let label = prop::sample::select(vec!["a", "by", "on", "\"a b\"", "le"]);
    let value = prop::sample::select(vec!["\"x\"", "'it\\'s'", "`\\d+`", "\"\\u00e9\\n\"", "\"a|b\""]);
    let matcher = (label.clone(), prop::sample::select(vec!["=", "!=", "=~", "!~"]), value)
        .prop_map(|(l, o, v)| l.to_owned() + o + v);
    let name = prop::sample::select(vec!["foo", "a:b", "sum", "offset", "step", "fill"]);
    let selector = (name, prop::collection::vec(matcher, 0..3))
        .prop_map(|(n, m)| if m.is_empty() { n.to_owned() } else { format!("{n}{{{}}}", m.join(",")) });
    let duration = prop_oneof![
        (1_u64..100_000).prop_map(|ms| crate::time::format_duration(std::time::Duration::from_millis(ms))),
        (1_u32..10_000).prop_map(|n| (f64::from(n) / 16.0).to_string()),
        prop::sample::select(vec!["step()", "1m+30s*2", "(1h-5m)/2", "max_of(step(),1m)", "-5m+35m", "2^2"])
            .prop_map(str::to_owned),
    ];
    let modifiers = prop::sample::select(vec![
        "",
        " offset 5m",
        " offset -1.5",
        " @ 12.345",
        " @ start() offset step()",
        " offset -(2m) @ end()",
    ]);
    let window = prop::sample::select(vec!["", " anchored", " smoothed"]);
    let instant = (selector.clone(), modifiers.clone()).prop_map(|(s, m)| s + m);
    let range =
        (selector, duration.clone(), window, modifiers.clone()).prop_map(|(s, d, w, m)| format!("{s}[{d}]{w}{m}"));
    let leaf = prop_oneof![instant, range.prop_map(|r| format!("rate({r})"))];
    leaf.prop_recursive(5, 40, 3, move |inner| {
        let scalar = prop_oneof![
            any::<f64>().prop_map(|n| if n.is_finite() { format!("{n:e}") } else { "Inf".to_owned() }),
            inner.clone().prop_map(|v| format!("scalar({v})")),
            prop::sample::select(vec!["5m", "-1", "0x1f", "NaN", "time()", "2 ^ -1"]).prop_map(str::to_owned),
        ];
        let op = prop::sample::select(vec!["+", "-", "*", "/", "%", "^", "atan2", "==", "<", ">= bool", "</", ">/"]);
        let matched = prop::sample::select(vec![
            "+ on(a) group_left(b)",
            "/ ignoring(le)",
            "== bool on() fill(0)",
            "* fill_left(1)",
            "and",
            "or on(a)",
            "unless",
            ">",
        ]);
        let grouping = prop::sample::select(vec!["", " by (a, le)", " without (a)", " without ()", " by (\"a b\")"]);
        prop_oneof![
            inner.clone().prop_map(|v| format!("({v})")),
            inner.clone().prop_map(|v| format!("-({v})")),
            (inner.clone(), op.clone(), scalar.clone()).prop_map(|(v, o, s)| format!("({v}) {o} {s}")),
            (scalar.clone(), op, inner.clone()).prop_map(|(s, o, v)| format!("{s} {o} ({v})")),
            (inner.clone(), matched, inner.clone()).prop_map(|(l, o, r)| format!("({l}) {o} ({r})")),
            (grouping, inner.clone()).prop_map(|(g, v)| format!("sum{g} ({v})")),
            (scalar, inner.clone()).prop_map(|(s, v)| format!("topk({s}, {v}) by (a)")),
            (inner.clone(), duration.clone(), modifiers.clone())
                .prop_map(|(v, d, m)| format!("max_over_time(({v})[{d}:]{m})")),
            inner.prop_map(|v| format!("label_replace({v}, \"a\", \"$1\", 'b', `(.*)`)")),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn what_is_printed_reads_back_to_the_same_tree(text in vector()) {
        let expr = parse(&text).map_err(|error| TestCaseError::fail(error.render(&text)))?;
        prop_assert_eq!(shape(&text), shape(&expr.to_string()));
    }
}
