use super::*;
use crate::model::Labels;
use crate::rng::Rng;

/// Every sample as `labels value [@millis]`, every meta line in words, or the error.
fn read(format: Format, body: &[u8]) -> Result<Vec<String>, String> {
    let mut parser = Parser::new(format, body);
    let mut lines = Vec::new();
    while let Some(entry) = parser.next_entry().map_err(|error| error.to_string())? {
        lines.push(match entry {
            Entry::Sample(sample) => {
                let mut labels = LabelsBuilder::new();
                series_labels(sample.series, parser.kind(), &mut labels)
                    .map_err(|reason| parser.error(reason, sample.series).to_string())?;
                let at = sample.at.map(|at| format!(" @{}", at.as_millis())).unwrap_or_default();
                format!("{} {}{at}", labels.build(), sample.value)
            }
            Entry::Type(family, kind) => format!("{family} is {}", kind.as_str()),
            Entry::Help(family, text) => format!("{family} means {text:?}"),
            Entry::Unit(family, unit) => format!("{family} in {unit}"),
        });
    }
    Ok(lines)
}

fn check(format: Format, body: &str, expected: &[&str]) {
    assert_eq!(
        read(format, body.as_bytes()).as_deref(),
        Ok(&expected.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>()[..]),
        "{body}"
    );
}

fn refused(format: Format, body: &[u8], reason: &str) {
    let error = read(format, body).expect_err(&String::from_utf8_lossy(body));
    assert!(error.contains(reason), "{error}, expected {reason}");
}

#[test]
fn the_text_format_is_read_as_prometheus_reads_it() {
    let check = |body: &str, expected: &[&str]| check(Format::Text, body, expected);
    check("", &[]);
    check("\n \t\n# a comment\n#HELP x y\n", &[]);
    check("a 1", &["a 1"]);
    check("a{} 1\n", &["a 1"]);
    check("a{}1\n", &["a 1"]);
    check(" \ta {b=\"c\"} \t1.5e3 \t1700000000123 \n", &["a{b=\"c\"} 1500 @1700000000123"]);
    check("a 1 -5\n", &["a 1 @-5"]);
    check("job:rate:sum{ b = \"x,y=}z{\" , } 1\n", &["job:rate:sum{b=\"x,y=}z{\"} 1"]);
    check(
        "a{p=\"C:\\\\DIR\\\\\",q=\"say \\\"hi\\\"\\n\",r=\"\\d\"} 1\n",
        &[r#"a{p="C:\\DIR\\", q="say \"hi\"\n", r="\\d"} 1"#],
    );
    check("a{b=\"\"} 1\n", &["a 1"]);
    check("{\"my.metric\",\"a b\"=\"c\"} 1\n", &[r#"{"my.metric", "a b"="c"} 1"#]);
    check("{b=\"c\",\"m\"} 1\n", &["m{b=\"c\"} 1"]);
    check("a NaN\nb +Inf\nc -inf\nd .5\ne +7\nf 5.\n", &["a NaN", "b inf", "c -inf", "d 0.5", "e 7", "f 5"]);
    check(
        "# HELP a  two \\\\ lines\\n\n#\tTYPE a counter\n# TYPE \"x.y\" untyped\n",
        &["a means \" two \\\\ lines\\n\"", "a is counter", "x.y is unknown"],
    );
    check(
        "# TYPE h histogram\nh{le=\"1\"} 2\nh{le=\"+Inf\"} 2\n# TYPE s summary\ns{quantile=\"0\",le=\"1\"} 3\n",
        &["h is histogram", "h{le=\"1.0\"} 2", "h{le=\"+Inf\"} 2", "s is summary", "s{le=\"1\", quantile=\"0.0\"} 3"],
    );
}

#[test]
fn openmetrics_is_read_as_prometheus_reads_it() {
    let check = |body: &str, expected: &[&str]| check(Format::OpenMetrics, body, expected);
    check("# EOF", &[]);
    check(
        "# TYPE a counter\n# UNIT a_seconds seconds\n# HELP a b \\\"c\\\"\na_total 1 1.5\n# EOF\n",
        &["a is counter", "a_seconds in seconds", "a means \"b \\\"c\\\"\"", "a_total 1 @1500"],
    );
    check(
        "a_bucket{le=\"1\"} 1 # {trace_id=\"}\"} 0.5 1.2\na 1 2 # {} 3\nb 1 # {a=\"b\"} 3\n# EOF\n",
        &["a_bucket{le=\"1\"} 1", "a 1 @2000", "b 1"],
    );
}

#[test]
fn a_malformed_line_fails_the_body_with_its_number_and_a_reason() {
    let text = |body: &str, reason: &str| refused(Format::Text, body.as_bytes(), reason);
    text("a 1\nb\n", "line 2: the value is missing: \"b\"");
    text("a{b=\"c\" 1\n", "the } is missing");
    text("a{b=\"c} 1\n", "a quote is not closed");
    text("a{b=\"c\\", "a quote is not closed");
    text("a{b=c} 1\n", "not in quotes");
    text("a{b=\"c\"d=\"e\"} 1\n", "a comma is missing");
    text("a{1b=\"c\"} 1\n", "no label name");
    text("a{b} 1\n", "a label has no =");
    text("a{\"b\"} 1\n", "two names");
    text("a{b=\"1\",b=\"2\"} 1\n", "twice");
    text("a{__name__=\"b\"} 1\n", "twice");
    text("{b=\"c\"} 1\n", "no name");
    text("1a 1\n", "digit");
    text("a-b 1\n", "not allowed in a metric name");
    text("\"a\" 1\n", "no metric name");
    text("a x\n", "no number");
    text("a 1_000\n", "no number");
    text("a 0x10\n", "no number");
    text("a -NaN\n", "no number");
    text("a 1\r\n", "no number");
    text("a 10e999\n", "does not fit");
    text("a 1 1.5\n", "no whole number of milliseconds");
    text("a 1 1 1\n", "text after the timestamp");
    text("# TYPE a thing\n", "no metric type");
    text("# TYPE\n# TYPE \n", "name is missing");
    text("# HELP 1 a\n", "name is missing");
    refused(Format::Text, b"a{b=\"\xff\"} 1\n", "not UTF-8");
    refused(Format::Text, format!("a{{b=\"{}\"}} 1\n", "x".repeat(limits::LABELS_BYTES)).as_bytes(), "too long");
    let open = |body: &str, reason: &str| refused(Format::OpenMetrics, body.as_bytes(), reason);
    open("a 1\n", "does not end with # EOF");
    open("a 1", "does not end with # EOF");
    open("", "line 1: the body does not end");
    open("# EOF\na 1\n", "after # EOF");
    open("\n# EOF\n", "empty line");
    open("a  1\n# EOF\n", "value is missing");
    open("a 1 NaN\n# EOF\n", "not finite");
    open("a 1 x\n# EOF\n", "number of seconds");
    open("a 1 # {b=\"c\"}\n# EOF\n", "value is missing");
    open("a 1 # {\"b\"} 1\n# EOF\n", "exemplar");
    open("a 1 # x\n# EOF\n", "exemplar");
    open("# UNIT a_seconds s\n# EOF\n", "the unit is not the end");
    open("# comment\n# EOF\n", "only HELP");
}

#[test]
fn the_content_type_chooses_the_format() {
    let check = |text: &str, format: Format| assert_eq!(Format::of_content_type(text), format, "{text}");
    check("application/openmetrics-text; version=1.0.0; charset=utf-8", Format::OpenMetrics);
    check("text/plain; version=0.0.4", Format::Text);
    check("", Format::Text);
}

fn conformance(file: &str) -> Option<String> {
    #[expect(clippy::disallowed_methods, reason = "where the conformance data is")]
    let root = std::env::var("BROWNOUT_CONFORMANCE");
    match root {
        Ok(root) if !std::path::Path::new(&root).join(file).exists() => {
            println!("skipped: there is no {file}");
            None
        }
        Ok(root) => Some(std::fs::read_to_string(std::path::Path::new(&root).join(file)).expect(file)),
        Err(_) => {
            println!("skipped: BROWNOUT_CONFORMANCE is not set");
            None
        }
    }
}

/// prometheus-parse is right where a line has labels without `,`, `=`, `}` and escapes in their values.
#[test]
fn real_expositions_agree_with_another_parser() {
    for file in ["node_exporter/this-kernel.prom", "blackbox/blackbox.prom"] {
        let Some(body) = conformance(file) else { return };
        // Some series are there more than once in the probes' collection.
        let mut ours = std::collections::BTreeMap::<Labels, Vec<f64>>::new();
        let mut samples = 0;
        let mut parser = Parser::new(Format::Text, body.as_bytes());
        while let Some(entry) = parser.next_entry().expect(file) {
            if let Entry::Sample(sample) = entry {
                let mut labels = LabelsBuilder::new();
                series_labels(sample.series, MetricKind::Unknown, &mut labels).expect(file);
                ours.entry(labels.build()).or_default().push(sample.value);
                samples += 1;
            }
        }
        let lines = body.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).count();
        assert_eq!(samples, lines, "{file}");
        let theirs = prometheus_parse::Scrape::parse(body.lines().map(|line| Ok(line.to_owned()))).expect(file);
        let mut compared = 0;
        for sample in theirs.samples {
            use prometheus_parse::Value as V;
            let pairs = sample.labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
            let labels = Labels::from_pairs(pairs.chain([(NAME, sample.metric.as_str())]));
            let (V::Counter(value) | V::Gauge(value) | V::Untyped(value)) = sample.value else { continue };
            // It cuts values at `,` and `=` and drops labels with them: such a sample has no partner.
            if let Some(own) = ours.get(&labels) {
                let equal = own.iter().any(|own| own == &value || own.is_nan() && value.is_nan());
                assert!(equal, "{labels}: {own:?} against {value}");
                compared += 1;
            }
        }
        assert!(compared * 10 > lines * 8, "{file}: only {compared} of {lines} lines compared");
    }
}

#[test]
fn a_mutated_body_never_panics_and_always_ends() {
    let good = b"# HELP a b\\n\n# TYPE a histogram\na_bucket{le=\"1\",x=\"\\\"}\"} 1 1700000000 # {t=\"1\"} 2 3\n\
        {\"my.name\",\"q\"=\"\xc3\xa9\"} +Inf\nb 1e308\n# UNIT c_s s\n# EOF\n";
    let mut rng = Rng::seeded(7);
    let mut refusals = 0;
    for _ in 0..30_000 {
        let mut body = good.to_vec();
        for _ in 0..=rng.below(4) {
            if body.is_empty() {
                break;
            }
            let at = rng.below(body.len() as u64) as usize;
            match rng.below(5) {
                0 => body[at] = rng.next_u64() as u8,
                1 => drop(body.remove(at)),
                2 => body.insert(at, b"\"\\{}=,# \n\0"[rng.below(10) as usize]),
                3 => body.truncate(at.max(1)),
                _ => {
                    let from = rng.below(body.len() as u64) as usize;
                    let part = body[from.min(at)..from.max(at)].to_vec();
                    body.extend(part);
                }
            }
        }
        for format in [Format::Text, Format::OpenMetrics] {
            refusals += usize::from(read(format, &body).is_err());
        }
    }
    assert!(refusals > 10_000, "{refusals}");
}
