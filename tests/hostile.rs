//! Hostile texts: random edits of real ones and nesting without end. Every text is answered, in bounded time, on the stack
//! of an ordinary thread (2 MiB) and in debug builds, where frames are large.

use std::time::Duration;

use brownout::limits;
use brownout::model::LabelsBuilder;
use brownout::promql::{self, Options};
use brownout::rng::Rng;
use brownout::rules::parse_file;
use brownout::series::View;
use brownout::signals::scrape::{Entry, Format, Parser, series_labels};
use brownout::template::{NotificationTemplates, RuleTemplate};
use brownout::time::{Stopwatch, Timestamp};
use brownout::yaml::{SourceFile, render_problems};

/// The stack of a thread that nobody gave a larger one.
const STACK: usize = 2 << 20;
/// No single text may take longer, however busy the machine is.
const LONGEST: Duration = Duration::from_secs(20);
/// How deep the nested texts are: around the limit, below the limit of size, and far beyond both.
const DEPTHS: [usize; 7] = [20, 250, 511, 513, 3_000, 20_000, 100_000];

fn on_a_small_stack(work: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().stack_size(STACK).spawn(work).expect("a thread");
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// Does everything with an expression that can be done; true when it can be read.
fn ask(text: &str) -> bool {
    let watch = Stopwatch::start();
    let read = match promql::parse(text) {
        Ok(expr) => {
            let printed = expr.to_string();
            assert!(promql::parse(&printed).is_ok() || printed.len() > limits::PROMQL_BYTES, "{text}\n{printed}");
            assert_eq!(expr.clone().to_string(), printed);
            let (view, at) = (View::default(), Timestamp::from_millis(1_000_000));
            let options = Options { max_samples: 100_000, ..Options::default() };
            // Whether it works does not matter here, only that it ends.
            drop(promql::instant(&view, &expr, at, &options));
            drop(promql::range(&view, &expr, at, at + Duration::from_secs(60), Duration::from_secs(30), &options));
            true
        }
        Err(error) => {
            assert!(!error.message.is_empty());
            assert!(error.span.start <= error.span.end && error.span.end as usize <= text.len(), "{error:?}");
            let shown = error.render(text);
            assert!(shown.contains('^') && shown.len() < 4_000, "{} bytes: {:.300}", shown.len(), shown);
            false
        }
    };
    assert!(watch.elapsed() < LONGEST, "{:?} for {:.200}", watch.elapsed(), text);
    read
}

#[test]
fn nested_expressions_are_answered_however_deep_they_are() {
    on_a_small_stack(|| {
        for depth in DEPTHS {
            let around =
                |open: &str, inner: &str, close: &str| format!("{}{inner}{}", open.repeat(depth), close.repeat(depth));
            for text in [
                around("(", "x", ")"),
                around("(", "", ""),
                around("", "x", ")"),
                around("-", "x", ""),
                around("+-", "x", ""),
                around("- (", "x", ")"),
                around("abs(", "x", ")"),
                around("sum(", "x", ")"),
                around("topk(1, ", "x", ")"),
                around("sum by (a) (", "x", ")"),
                around("max_over_time((", "x", ")[1m:1m])"),
                around("avg_over_time(", "x", "[5m:])"),
                around("rate(", "x[5m]", ")"),
                around("", "x", "[5m:]"),
                around("", "x", "[5m]"),
                around("", "x", " offset 5m"),
                around("", "x", " @ 5"),
                around("x[", "1", "]"),
                around("", "x[", "("),
                around("(", "x[(1", ")"),
                format!("x[{}1{}]", "(".repeat(depth), ")".repeat(depth)),
                format!("x[{}1]", "-".repeat(depth)),
                format!("x[{}1s]", "1s + ".repeat(depth)),
                format!("x[{}1]", "2 ^ ".repeat(depth)),
                format!("x offset {}1{}", "(".repeat(depth), ")".repeat(depth)),
                around("{", "x", "}"),
                around("x{", "a=\"b\"", "}"),
                around("", "{", "a=\"b\","),
                format!("x{{{}a=\"b\"}}", "a=\"b\",".repeat(depth)),
                format!("x{{{}}}", "a=~\"b+\",".repeat(depth)),
                format!("x{{a=~\"{}{}\"}}", "(".repeat(depth), ")*".repeat(depth)),
                format!("x{{a=~\"{}\"}}", "a{1000}".repeat(depth)),
                around("", "1", " + 1"),
                around("1 + ", "1", ""),
                around("2 ^ ", "2", ""),
                around("x or ", "x", ""),
                around("x and on (a) ", "x", ""),
                around("x / on (a) group_left (b) ", "x", ""),
                around("1 == bool ", "1", ""),
                around("\"", "", ""),
                around("'", "x", "'"),
                around("`", "x", ""),
                around("\\", "", ""),
                around("\"\\", "", "\""),
                around("9", "", ""),
                around("9", ".", "9"),
                around("1e", "1", ""),
                around("0x", "f", ""),
                around("1h", "", ""),
                around("_", "", ""),
                around("sum by (", "a", ")"),
                format!("sum by ({}a) (x)", "a,".repeat(depth)),
                format!("label_join(x, \"a\", \",\"{})", ", \"b\"".repeat(depth)),
                around("#", "", "\n"),
                around("\u{1F600}", "", ""),
                around("\u{0}", "", ""),
                around(" ", "x", " "),
                around("@", "", ""),
                around("[", "1m", "]"),
                around("if (", "x", ")"),
            ] {
                ask(&text);
            }
        }
    });
}

#[test]
fn deep_expressions_that_are_short_enough_are_refused_by_their_depth() {
    on_a_small_stack(|| {
        for (open, inner, close) in [("(", "x", ")"), ("abs(", "x", ")"), ("-", "x", ""), ("2 ^ ", "2", "")] {
            let text = |depth: usize| format!("{}{inner}{}", open.repeat(depth), close.repeat(depth));
            assert!(ask(&text(100)), "{open}");
            let error = promql::parse(&text(5_000)).expect_err("too deep");
            assert!(error.message.contains("nested") || error.message.contains("deep"), "{open}: {error}");
        }
        let long = promql::parse(&"1 + ".repeat(100_000)).expect_err("too long");
        assert!(long.message.contains("bytes") || long.message.contains("long"), "{long}");
    });
}

/// Expressions to begin with: those of the conformance data where it is, and some of every kind.
fn expressions() -> Vec<String> {
    let mut found: Vec<String> = [
        "sum by (job) (rate(http_requests_total{code=~\"5..\", job!=\"x\"}[5m])) / ignoring (a) group_left (b) foo",
        "histogram_quantile(0.99, sum by (le) (rate(x_bucket[5m] offset -1m)))",
        "max_over_time(rate(x[1m])[10m:30s] @ end()) > bool 0.5 and on () vector(1)",
        "label_replace(up, \"a\", \"$1-\\u00e9\", 'b', `(.*)`) unless absent({__name__=~\"x.+\", \"a.b\"=\"c\"})",
        "count_values(\"v\", -x ^ 2 % 3) or topk(3, y) atan2 limitk(2, z)",
        "x[5m:] offset 1h @ 1609746000.5 + 0x1F * 1e-3 - 1h30m",
        "predict_linear(x[step() * 2 + 1m], 3600) == 1",
    ]
    .map(str::to_owned)
    .to_vec();
    let Some(folder) = super::promqltest::conformance("promqltest") else { return found };
    for file in super::promqltest::files(&folder) {
        let text = String::from_utf8_lossy(&std::fs::read(&file).expect("a file")).into_owned();
        let evals = text.lines().map(str::trim).filter(|line| line.starts_with("eval"));
        found.extend(evals.filter_map(|line| {
            let words = if line.contains(" range ") { 8 } else { 4 };
            Some(line.splitn(words + 1, ' ').nth(words)?.to_owned())
        }));
    }
    found
}

/// One text made of another by a few random edits.
fn mutated(rng: &mut Rng, text: &str, other: &str, parts: &[&str]) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    for _ in 0..=rng.below(4) {
        let at = rng.below(chars.len() as u64 + 1) as usize;
        let until = (at + rng.below(8) as usize).min(chars.len());
        match rng.below(6) {
            0 => drop(chars.drain(at..until)),
            1 => chars.splice(at..at, parts[rng.below(parts.len() as u64) as usize].chars()).for_each(drop),
            2 => chars.splice(at..until, parts[rng.below(parts.len() as u64) as usize].chars()).for_each(drop),
            3 => {
                let copied = chars[at..until].repeat(1 + rng.below(30) as usize);
                chars.splice(at..at, copied).for_each(drop);
            }
            4 => chars.splice(at..until, char::from_u32(rng.below(0x11_0000) as u32)).for_each(drop),
            _ => {
                let from = rng.below(other.chars().count() as u64 + 1) as usize;
                chars.splice(at..until, other.chars().skip(from).take(24)).for_each(drop);
            }
        }
    }
    chars.into_iter().collect()
}

#[test]
fn mutated_expressions_are_answered() {
    const PARTS: [&str; 30] = [
        "(", ")", "[", "]", "{", "}", ",", ":", "=", "=~", "!", "-", "^", " or ", " offset ", "@", "\"", "`", "#",
        "5m", "0x", "1e", " by ", "\\", "\u{e9}", "\n", "fill(", " bool ", "anchored", "((((((((",
    ];
    on_a_small_stack(|| {
        let corpus = expressions();
        let mut rng = Rng::seeded(0x0b57_ac1e);
        let mut read = 0;
        // Debug builds take ten times as long for each: a quarter must do there.
        let rounds = if cfg!(debug_assertions) { 50_000 } else { 200_000 };
        for round in 0..rounds {
            let mut pick = || &corpus[rng.below(corpus.len() as u64) as usize];
            let (first, second) = (pick(), pick());
            let text = mutated(&mut rng, first, second, &PARTS);
            // Evaluating takes much longer than reading; a part of them is enough.
            read += usize::from(if round % 16 == 0 { ask(&text) } else { promql::parse(&text).is_ok() });
        }
        assert!(read > rounds / 40, "only {read} were read: the edits are too wild");
    });
}

/// A rule file is read or refused with words.
fn load(text: &str) {
    let watch = Stopwatch::start();
    let (groups, problems) = parse_file(&SourceFile::new("r.yaml", text));
    assert!(groups.is_some() || !problems.is_empty());
    assert!(!problems.iter().any(|problem| problem.message.is_empty()));
    assert!(problems.is_empty() || !render_problems(&problems[..problems.len().min(20)]).is_empty());
    assert!(watch.elapsed() < LONGEST, "{:?} for {:.200}", watch.elapsed(), text);
}

#[test]
fn rule_files_that_are_nested_aliased_or_huge_are_answered() {
    on_a_small_stack(|| {
        for depth in DEPTHS {
            let around =
                |open: &str, inner: &str, close: &str| format!("{}{inner}{}", open.repeat(depth), close.repeat(depth));
            load(&around("[", "", "]"));
            load(&around("[", "", ""));
            load(&around("{a: ", "1", "}"));
            load(&around("{", "", ""));
            load(&around("- ", "a", ""));
            load(&around("? ", "a", ""));
            load(&around("groups: [", "", "]"));
            load(&around("!a ", "1", ""));
            load(&around("&a ", "1", ""));
            load(&around("\"", "", ""));
            load(&around("a: b\n", "", ""));
            load(&around("---\n", "", ""));
            load(&format!("groups: [{{name: g, rules: [{{record: a, expr: '{}'}}]}}]", around("(", "1", ")")));
            load(&format!(
                "groups: [{{name: g, rules: [{{alert: a, expr: up, labels: {{b: '{}'}}}}]}}]",
                around("{{ if (", "1", ") }}")
            ));
            let lines: String = (0..depth.min(3_000)).map(|n| format!("{}a:\n", " ".repeat(n))).collect();
            load(&lines);
        }
        let bomb: String = (1..30).fold("a0: &a0 [x, x]\n".to_owned(), |text, n| {
            format!("{text}a{n}: &a{n} [*a{}, *a{}, *a{}]\n", n - 1, n - 1, n - 1)
        });
        load(&bomb);
        load(&format!("{bomb}groups: *a29\n"));
        load("groups: &g [{name: g, rules: *g}]\n");
        load(&"x".repeat(limits::CONFIG_FILE_BYTES + 1));
        load(&format!("groups:\n{}", "- {name: g, rules: [{record: a, expr: up, nonsense: 1}]}\n".repeat(20_000)));
        load(&format!("groups: [{{name: g, rules: [{{alert: a, expr: up, for: {}}}]}}]", "9".repeat(100_000)));
    });
}

#[test]
fn mutated_rule_files_are_answered() {
    const RULES: &str = "groups:\n- name: g\n  interval: 5s\n  limit: 3\n  rules:\n  - record: a:b\n    expr: sum(rate(x[5m])) > 1\n    labels: {a: &x b}\n  - alert: A\n    expr: |\n      a:b\n        / on () y\n    for: 1h30m\n    keep_firing_for: 5m\n    labels: {severity: *x}\n    annotations:\n      s: '{{ $labels.a | toUpper }} {{ $value | humanize }}'\n      d: \"{{ range query \\\"up\\\" }}{{ .Labels.x }}{{ end }}\"\n  - degrade: s\n    levels: [{level: c, when: a > 1, for: 5s}]\n    recover: {when: a < 1, for: 60s}\n  - {scale: t, desired: ceil(x), min: 1, max: 9, webhook: w}\n";
    const PARTS: [&str; 24] = [
        "- ",
        ": ",
        "\n",
        "  ",
        "{",
        "}",
        "[",
        "]",
        "&x ",
        "*x",
        "!!binary ",
        "|\n",
        ">-\n",
        "'",
        "\"",
        "{{",
        "}}",
        "#",
        "---\n",
        "null",
        "\t",
        "\r",
        "? ",
        "%YAML 1.1\n",
    ];
    on_a_small_stack(|| {
        let mut rng = Rng::seeded(0x7a31);
        for _ in 0..5_000 {
            load(&mutated(&mut rng, RULES, RULES, &PARTS));
        }
    });
}

#[test]
fn templates_that_are_nested_or_mutated_are_answered() {
    fn read(text: &str) {
        let watch = Stopwatch::start();
        if let Err(error) = RuleTemplate::parse(text) {
            assert!(!error.message.is_empty());
        }
        drop(NotificationTemplates::new().add(text));
        assert!(watch.elapsed() < LONGEST, "{:?} for {:.200}", watch.elapsed(), text);
    }
    const TEXT: &str = "{{ define \"a\" }}{{ . }}{{ end }}{{ range $i, $x := query \"up\" }}{{ if and (eq $i 1) (ne .Value 2.5) }}{{ $x.Labels.job | printf \"%q\" }}{{ else if not $x }}-{{ else }}{{ template \"a\" $x }}{{ end }}{{ end }}{{ with $y := `z` }}{{ len $y }}{{ end }}{{- /* c */ -}}";
    const PARTS: [&str; 20] = [
        "{{",
        "}}",
        "(",
        ")",
        "|",
        ".",
        "$",
        ":=",
        "\"",
        "`",
        "'",
        "{{ if ",
        "{{ end }}",
        "{{ else }}",
        "/*",
        "*/",
        "-",
        "0x",
        "1e9",
        "\\u",
    ];
    on_a_small_stack(|| {
        for depth in DEPTHS {
            let around =
                |open: &str, inner: &str, close: &str| format!("{}{inner}{}", open.repeat(depth), close.repeat(depth));
            for text in [
                around("{{ if 1 }}", "x", "{{ end }}"),
                around("{{ if 1 }}a{{ else ", "", "{{ end }}"),
                format!("{{{{ {} }}}}", around("(", "1", ")")),
                format!("{{{{ {} }}}}", around("not (", "1", ")")),
                format!("{{{{ 1 {} }}}}", "| print ".repeat(depth)),
                format!("{{{{ .{} }}}}", "a.".repeat(depth)),
                around("{{", "", "}}"),
                around("{{ define \"a\" }}", "", "{{ end }}"),
                around("{{ with 1 }}", "", ""),
                around("{{ `", "", ""),
                around("{{ range . }}", "", "{{ else }}{{ end }}"),
            ] {
                read(&text);
            }
        }
        let mut rng = Rng::seeded(0x7e3);
        for _ in 0..5_000 {
            read(&mutated(&mut rng, TEXT, TEXT, &PARTS));
        }
    });
}

#[test]
fn hostile_expositions_are_answered() {
    fn read(body: &[u8]) {
        let watch = Stopwatch::start();
        for format in [Format::Text, Format::OpenMetrics] {
            let mut parser = Parser::new(format, body);
            while let Ok(Some(entry)) = parser.next_entry() {
                if let Entry::Sample(sample) = entry {
                    // Labels or a reason; either is an answer.
                    let _ = series_labels(sample.series, parser.kind(), &mut LabelsBuilder::new());
                }
            }
        }
        assert!(watch.elapsed() < LONGEST, "{:?}", watch.elapsed());
    }
    const TEXT: &str = "# TYPE a histogram\n# HELP a b \\n c\n# UNIT a_seconds seconds\na_bucket{le=\"1\",x=\"\\\"\\\\\"} 3 1.5 # {t=\"1\"} 0.5 1\n{\"a.b\",\"c d\"=\"e\"} NaN 2\na_sum +Inf\n# EOF\n";
    const PARTS: [&str; 16] =
        ["{", "}", "\"", "\\", ",", "=", "#", " ", "\n", "# EOF\n", "1e999", "NaN", "\u{0}", "\u{e9}", "\t", "# {"];
    on_a_small_stack(|| {
        for depth in DEPTHS {
            for part in
                ["{", "\"", "a{b=\"", "a{a=\"1\",", "\\", "# ", "a 1\n", "# TYPE a counter\n", "9", " ", "# HELP "]
            {
                read(part.repeat(depth).as_bytes());
                read(format!("a{{x=\"{}\"}} 1 1\n# EOF\n", part.repeat(depth)).as_bytes());
            }
        }
        let mut rng = Rng::seeded(0x0be);
        for _ in 0..20_000 {
            read(mutated(&mut rng, TEXT, TEXT, &PARTS).as_bytes());
        }
    });
}
