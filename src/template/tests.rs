//! What templates give, checked against promtool 2.42 (Go 1.19): every line of the table was rendered by it, as the
//! annotation of a rule over the samples that `render` sets up.

use super::*;
use crate::model::{Labels, NAME};
use crate::time::Timestamp;

enum Want {
    Gives(&'static str),
    /// Parses at Go's, and fails when it runs.
    Fails,
    Unparsable,
}
use Want::{Fails, Gives, Unparsable};

fn query(text: &str) -> Result<Vec<(Labels, f64)>, String> {
    let n = |i: &str, value| (Labels::from_pairs([(NAME, "n"), ("i", i)]), value);
    match text {
        "m" => Ok(vec![(sample_labels(), 1_234_567.891)]),
        "n" => Ok(vec![n("c", 3.0), n("a", 1.0), n("b", 2.0)]),
        "sort_desc(n)" => Ok(vec![n("c", 3.0), n("b", 2.0), n("a", 1.0)]),
        "nothing" => Ok(Vec::new()),
        other => Err(format!("no such query: {other}")),
    }
}

fn sample_labels() -> Labels {
    Labels::from_pairs([(NAME, "m"), ("instance", "host.example.com:9100"), ("job", "node")])
}

fn render(text: &str) -> Result<String, TemplateError> {
    let vars = RuleVars {
        labels: &sample_labels(),
        external_labels: &Labels::from_pairs([("zone", "eu")]),
        external_url: "http://x.org:9090/pre/fix",
        value: 1_234_567.891,
        now: Timestamp::from_millis(60_500),
        query: &query,
    };
    RuleTemplate::parse(text)?.render(&vars)
}

fn check(table: &[(&str, Want)]) {
    let mut wrong = Vec::new();
    for (text, want) in table {
        let got = render(text);
        let right = match want {
            Gives(want) => got.as_deref() == Ok(*want),
            Fails => got.is_err(),
            Unparsable => RuleTemplate::parse(text).is_err(),
        };
        if !right {
            let want = if let Gives(want) = want { format!("{want:?}") } else { "an error".to_owned() };
            wrong.push(format!("{text}\n  want {want}\n  got  {got:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), table.len(), wrong.join("\n"));
}

#[test]
fn templates_give_what_prometheus_gives() {
    check(&PROMETHEUS);
}

/// Newer than the promtool that made the table, or what promtool itself cannot run.
#[test]
fn functions_of_later_versions_work_too() {
    check(&[
        (
            "{{ externalURL }} {{ pathPrefix }} {{ $externalURL }}",
            Gives("http://x.org:9090/pre/fix /pre/fix http://x.org:9090/pre/fix"),
        ),
        ("{{ .ExternalURL }}", Gives("http://x.org:9090/pre/fix")),
        ("{{ now }} {{ toTime now }}", Gives("60.5 1970-01-01 00:01:00.5 +0000 UTC")),
        (
            "{{ toDuration 3661.5 }} {{ (toDuration \"90\").Minutes }} {{ toDuration 0.0000015 }}",
            Gives("1h1m1.5s 1.5 1.5µs"),
        ),
        ("{{ toDuration now | humanizeDuration }}", Gives("1m 0s")),
        ("{{ urlQueryEscape \"a b&c\" }}", Gives("a+b%26c")),
        ("{{ range 3 }}{{ . }}{{ end }}{{ range $i := 2 }}-{{ $i }}{{ end }}", Gives("012-0-1")),
        ("{{ with \"\" }}a{{ else with \"b\" }}{{ . }}{{ else }}c{{ end }}", Gives("b")),
        ("{{ .Value.x }}", Fails),
        ("{{ ((toTime 0).Add (toDuration 60)).Unix }} {{ (toTime 60).Sub (toTime 0) }}", Gives("60 1m0s")),
        ("{{ query \"nope\" }}", Fails),
    ]);
}

#[test]
fn a_plain_text_is_kept_as_it_is() {
    let template = RuleTemplate::parse("no } action { here").expect("plain");
    assert_eq!(template.plain(), Some("no } action { here"));
    assert_eq!(RuleTemplate::parse("{{ 1 }}").expect("template").plain(), None);
}

#[test]
fn errors_name_the_place() {
    let place = |text: &str, part: &str, message: &str| {
        let error = render(text).expect_err(text);
        assert_eq!(text.get(error.span.clone()), Some(part), "{text}: {error:?}");
        assert!(error.message.contains(message), "{text}: {error:?}");
    };
    place("up {{ $label.job }}", "$label", "undefined variable \"$label\"; there are $labels");
    place("a {{ humanise 1 }}", "humanise", "function \"humanise\" not defined");
    place("{{ $labels.foo-bar }}", "-", "index $labels");
    place("ä {{ if true }}b", "if", "has no {{end}}");
    place("{{ 1 }} {{ toUpper 5 }}", "toUpper", "expected string; got int");
    place("{{ define \"t\" }}{{ len 3 }}{{ end }}{{ template \"t\" }}", "len", "len of type int");
}

#[test]
fn a_hostile_template_ends_with_an_error() {
    let fails = |text: &str, message: &str| {
        let error = render(text).expect_err("a limit");
        assert!(error.message.contains(message), "{error:?}");
    };
    let nested = |open: &str, inner: &str, close: &str, depth: usize| open.repeat(depth) + inner + &close.repeat(depth);
    fails(&format!("{{{{ {} }}}}", nested("(", "1", ")", 5000)), "nested deeper");
    fails(&nested("{{ if 1 }}", "x", "{{ end }}", 3000), "nested deeper");
    assert_eq!(render(&nested("{{ if true }}", "x", "{{ end }}", 40)).as_deref(), Ok("x"));
    assert_eq!(render(&format!("{{{{ {} }}}}", nested("(", "1", ")", 90))).as_deref(), Ok("1"));
    fails(&"{{ 1 }}".repeat(20_000), "larger than");
    fails("{{ range 1000000000 }}{{ end }}", "steps");
    fails("{{ range 300 }}{{ range 300 }}{{ range 300 }}x{{ end }}{{ end }}{{ end }}", "steps");
    fails("{{ define \"a\" }}{{ template \"a\" . }}{{ end }}{{ template \"a\" 1 }}", "call each other");
    let winding = "{{ if . }}{{ with . }}{{ range 1 }}{{ template \"a\" $ }}{{ end }}{{ end }}{{ end }}";
    fails(&format!("{{{{ define \"a\" }}}}{winding}{{{{ end }}}}{{{{ template \"a\" 1 }}}}"), "call each other");
    fails("{{ $x := \"0123456789\" }}{{ range 40 }}{{ $x = printf \"%s%s\" $x $x }}{{ end }}", "bytes");
    fails("{{ $x := args 1 }}{{ range 9000 }}{{ $x = args $x }}{{ end }}", "nest deeper");
    fails("{{ printf \"%999999999d\" 1 }}", "too large");
    fails("{{ range 9000 }}{{ $labels.instance }}{{ $labels.instance }}{{ end }}", "output");
    fails("{{ range 1000 }}{{ match \"(a|b)*c\" \"abab\" }}{{ end }}", "steps");
    fails("{{ reReplaceAll \"((a{100}){100}){100}\" \"\" \"a\" }}", "regexp");
}

#[test]
#[expect(clippy::disallowed_methods, reason = "where the conformance data lies")]
fn the_rules_of_the_community_render() {
    let Ok(data) = std::env::var("BROWNOUT_CONFORMANCE") else {
        println!("skipped: BROWNOUT_CONFORMANCE is not set");
        return;
    };
    let mut files = Vec::new();
    let rules = std::path::PathBuf::from(data).join("rules");
    if !rules.is_dir() {
        println!("skipped: there is no folder {}", rules.display());
        return;
    }
    let mut folders = vec![rules];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    let one = |_: &str| Ok(vec![(sample_labels(), 12.5)]);
    let (mut count, mut wrong) = (0, Vec::new());
    for file in files.iter().filter(|f| !f.to_string_lossy().contains("rulefmt")) {
        let text = std::fs::read_to_string(file).expect("a rule file");
        for template in template_texts(&text) {
            count += 1;
            let vars = RuleVars {
                labels: &sample_labels(),
                external_labels: &Labels::empty(),
                external_url: "",
                value: 12.5,
                now: Timestamp::ZERO,
                query: &one,
            };
            if let Err(error) = RuleTemplate::parse(&template).and_then(|t| t.render(&vars)) {
                wrong.push(format!("{}: {template:?}: {error}", file.display()));
            }
        }
    }
    println!("{count} templates in {} files", files.len());
    assert!(wrong.is_empty(), "{} of {count}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(count > 500, "{count}");
}

/// Every text with an action in a YAML or JSON document.
fn template_texts(document: &str) -> Vec<String> {
    fn walk(value: &serde_json::Value, out: &mut Vec<String>) {
        match value {
            serde_json::Value::String(text) if text.contains("{{") => out.push(text.clone()),
            serde_json::Value::Array(items) => items.iter().for_each(|item| walk(item, out)),
            serde_json::Value::Object(entries) => entries.values().for_each(|item| walk(item, out)),
            _ => {}
        }
    }
    let mut out = Vec::new();
    if let Ok(value) = serde_yaml::from_str::<serde_json::Value>(document) {
        walk(&value, &mut out);
    }
    out
}

#[rustfmt::skip]
const PROMETHEUS: [(&str, Want); 192] = [
    ("plain text", Gives("plain text")),
    ("{{ $value }}", Gives("1.234567891e+06")),
    ("{{ .Value }}", Gives("1.234567891e+06")),
    ("{{ $labels.instance }}", Gives("host.example.com:9100")),
    ("{{ .Labels.instance }}", Gives("host.example.com:9100")),
    ("{{ $labels.missing }}|", Gives("|")),
    ("{{ $labels }}", Gives("map[__name__:m instance:host.example.com:9100 job:node]")),
    ("{{ .Labels.job | toUpper }}", Gives("NODE")),
    ("{{ $value | humanize }}", Gives("1.235M")),
    ("{{ humanize 1234567.0 }}", Gives("1.235M")),
    ("{{ humanize 0.000012 }}", Gives("12u")),
    ("{{ humanize -1234.5 }}", Gives("-1.234k")),
    ("{{ humanize \"12000\" }}", Gives("12k")),
    ("{{ humanize 0.0 }}", Gives("0")),
    ("{{ humanize 1e30 }}", Gives("1e+06Y")),
    ("{{ humanize 999.96 }}", Gives("1000")),
    ("{{ humanize 1 }}", Gives("1")),
    ("{{ humanize1024 1048576.0 }}", Gives("1Mi")),
    ("{{ humanize1024 1 }}", Gives("1")),
    ("{{ humanize1024 \"1500\" }}", Gives("1.465ki")),
    ("{{ humanizeDuration 0 }}", Gives("0s")),
    ("{{ humanizeDuration 0.1 }}", Gives("100ms")),
    ("{{ humanizeDuration 0.0000001 }}", Gives("100ns")),
    ("{{ humanizeDuration 1 }}", Gives("1s")),
    ("{{ humanizeDuration 12.345678 }}", Gives("12.35s")),
    ("{{ humanizeDuration 60.9 }}", Gives("1m 0s")),
    ("{{ humanizeDuration 3600 }}", Gives("1h 0m 0s")),
    ("{{ humanizeDuration 86400 }}", Gives("1d 0h 0m 0s")),
    ("{{ humanizeDuration 90061 }}", Gives("1d 1h 1m 1s")),
    ("{{ humanizeDuration -90061 }}", Gives("-1d 1h 1m 1s")),
    ("{{ humanizeDuration -1 }}", Gives("-1s")),
    ("{{ humanizeDuration \"2520\" }}", Gives("42m 0s")),
    ("{{ humanizePercentage 0.22 }}", Gives("22%")),
    ("{{ humanizePercentage 0.123456 }}", Gives("12.35%")),
    ("{{ humanizePercentage 1 }}", Gives("100%")),
    ("{{ humanizePercentage -0.5 }}", Gives("-50%")),
    ("{{ humanizeTimestamp 1435065584.128 }}", Gives("2015-06-23 13:19:44.128 +0000 UTC")),
    ("{{ humanizeTimestamp 1435065584 }}", Gives("2015-06-23 13:19:44 +0000 UTC")),
    ("{{ humanizeTimestamp \"0\" }}", Gives("1970-01-01 00:00:00 +0000 UTC")),
    ("{{ humanizeTimestamp -1 }}", Gives("1969-12-31 23:59:59 +0000 UTC")),
    ("{{ humanizeTimestamp 1e300 }}", Fails),
    ("{{ (toTime 1435065584.128).Format \"2006-01-02T15:04:05Z07:00\" }}", Gives("2015-06-23T13:19:44Z")),
    ("{{ (toTime 1435065584.128).Unix }}", Gives("1435065584")),
    ("{{ (toTime 1435065584).Weekday }} {{ (toTime 1435065584).Month }} {{ (toTime 1435065584).Year }}", Gives("Tuesday June 2015")),
    ("{{ (toTime 1435065584.5).Format \"Jan _2 06 03:04PM .000 Monday 2 002\" }}", Gives("Jun 23 15 01:19PM .500 Tuesday 23 174")),
    ("{{ toTime 0 }}", Gives("1970-01-01 00:00:00 +0000 UTC")),
    ("{{ parseDuration \"1h30m\" }}", Gives("5400")),
    ("{{ parseDuration \"1x\" }}", Fails),
    ("{{ title \"aa bB-cc d_e 1f\" }}", Gives("Aa BB-Cc D_e 1f")),
    ("{{ toUpper \"straße\" }}", Gives("STRAßE")),
    ("{{ toLower \"ÀB\" }}", Gives("àb")),
    ("{{ \"a.b.c\" | reReplaceAll \"\\\\.\" \"-\" }}", Gives("a-b-c")),
    ("{{ reReplaceAll \"(a)(b)\" \"$2$1\" \"abab\" }}", Gives("baba")),
    ("{{ reReplaceAll \"(?P<x>a)\" \"${x}${x}\" \"ab\" }}", Gives("aab")),
    ("{{ reReplaceAll \"(a)\" \"$1x\" \"ab\" }}|", Gives("b|")),
    ("{{ match \"a+\" \"baac\" }} {{ match \"^a\" \"ba\" }}", Gives("true false")),
    ("{{ match \"(\" \"x\" }}", Fails),
    ("{{ stripPort \"host:123\" }} {{ stripPort \"host\" }} {{ stripPort \"[::1]:80\" }} {{ stripPort \"a:b:c\" }}", Gives("host host ::1 a:b:c")),
    ("{{ stripDomain \"host.example.com:123\" }} {{ stripDomain \"host.example.com\" }} {{ stripDomain \"10.0.0.1:80\" }} {{ stripDomain \"[::1]:80\" }}", Gives("host:123 host 10.0.0.1:80 [::1]:80")),
    ("{{ graphLink \"up{job=\\\"a b\\\"} > 0\" }}", Gives("/graph?g0.expr=up%7Bjob%3D%22a+b%22%7D+%3E+0&g0.tab=0")),
    ("{{ tableLink \"sum(rate(x[5m]))\" }}", Gives("/graph?g0.expr=sum%28rate%28x%5B5m%5D%29%29&g0.tab=1")),
    ("{{ $externalLabels.zone }} {{ .ExternalLabels.zone }}", Gives("eu eu")),
    ("{{ query \"m\" | first | value }}", Gives("1.234567891e+06")),
    ("{{ query \"m\" | first | label \"job\" }}", Gives("node")),
    ("{{ with query \"m\" }}{{ . | first | value | humanize }}{{ end }}", Gives("1.235M")),
    ("{{ range query \"m\" }}{{ .Labels.instance }}={{ .Value }};{{ end }}", Gives("host.example.com:9100=1.234567891e+06;")),
    ("{{ with query \"nothing\" }}yes{{ else }}no{{ end }}", Gives("no")),
    ("{{ query \"nothing\" | first | value }}", Fails),
    ("{{ range $i, $s := query \"sort_desc(n)\" }}{{ $i }}:{{ $s.Value }} {{ end }}", Gives("0:3 1:2 2:1 ")),
    ("{{ range query \"n\" | sortByLabel \"i\" }}{{ .Labels.i }} {{ end }}", Gives("a b c ")),
    ("{{ query \"n\" | len }}", Gives("3")),
    ("{{ (args 1 \"b\" true).arg1 }}", Gives("b")),
    ("{{ $x := args \"a\" 2 }}{{ $x.arg0 }}{{ $x.arg1 }}{{ $x.arg9 }}", Gives("a2<no value>")),
    ("{{ safeHtml \"<b>\" }}", Gives("<b>")),
    ("{{ if gt $value 1.0 }}big{{ else }}small{{ end }}", Gives("big")),
    ("{{ if gt $value 1 }}big{{ end }}", Fails),
    ("{{ if and (gt $value 1.0) (eq $labels.job \"node\") }}both{{ end }}", Gives("both")),
    ("{{ if or false $labels.missing }}a{{ else if eq $labels.job \"x\" }}b{{ else if true }}c{{ else }}d{{ end }}", Gives("c")),
    ("{{ and 1 0 \"x\" }} {{ and 1 \"x\" }} {{ or 0 \"\" \"z\" }} {{ or 0 \"\" }}|", Gives("0 x z |")),
    ("{{ or true (index $labels 1) }}", Gives("true")),
    ("{{ and true (index $labels 1) }}", Fails),
    ("{{ not 0 }} {{ not \"a\" }} {{ not $labels }}", Gives("true false false")),
    ("{{ eq 1 2 3 1 }} {{ ne \"a\" \"b\" }} {{ lt 1 2 }} {{ le 2 2 }} {{ gt 1.5 2.5 }} {{ ge \"b\" \"a\" }}", Gives("true true true true false true")),
    ("{{ eq 1 1.0 }}", Fails),
    ("{{ eq \"a\" 1 }}", Fails),
    ("{{ eq true true false }}", Gives("true")),
    ("{{ lt true false }}", Fails),
    ("{{ eq $labels $labels }}", Fails),
    ("{{ len \"héllo\" }} {{ len $labels }}", Gives("6 3")),
    ("{{ len 3 }}", Fails),
    ("{{ index $labels \"job\" }} {{ index $labels \"no\" }}|", Gives("node |")),
    ("{{ index \"abc\" 1 }}", Gives("98")),
    ("{{ index \"abc\" 5 }}", Fails),
    ("{{ index $labels 1 }}", Fails),
    ("{{ slice \"abcdef\" 1 3 }} {{ slice \"abcdef\" 2 }} {{ slice \"abc\" }}", Gives("bc cdef abc")),
    ("{{ slice \"abc\" 2 1 }}", Fails),
    ("{{ slice \"abc\" 0 1 2 }}", Fails),
    ("{{ print 1 2 \"a\" \"b\" 3.5 true }}", Gives("1 2ab3.5 true")),
    ("{{ print \"a\" 1 2 \"b\" }}", Gives("a1 2b")),
    ("{{ println \"a\" 1 }}|", Gives("a 1\n|")),
    ("{{ printf \"%v %s %d %f %.2f %g %e\" 1 \"x\" 42 3.14159 2.71828 1e10 12345.678 }}", Gives("1 x 42 3.141590 2.72 1e+10 1.234568e+04")),
    ("{{ printf \"%q %x %X %t %T %%\" \"a\\\"b\\n\" \"hi\" 255 true 1.5 }}", Gives("\"a\\\"b\\n\" 6869 FF true float64 %")),
    ("{{ printf \"%5d|%-5d|%05d|%+d\" 42 42 42 42 }}", Gives("   42|42   |00042|+42")),
    ("{{ printf \"%8.3f|%-8.2f|%08.2f|% d\" 3.14159 2.5 -2.5 7 }}", Gives("   3.142|2.50    |-0002.50| 7")),
    ("{{ printf \"%5s|%-5s|%.2s|%5.1s|\" \"abc\" \"abc\" \"abc\" \"abc\" }}", Gives("  abc|abc  |ab|    a|")),
    ("{{ printf \"%*d|%-*d|\" 5 42 5 42 }}", Gives("   42|42   |")),
    ("{{ printf \"%[2]s %[1]s\" \"a\" \"b\" }}", Gives("b a")),
    ("{{ printf \"%d\" \"x\" }} {{ printf \"%s\" 5 }} {{ printf \"%d\" 1.5 }}", Gives("%!d(string=x) %!s(int=5) %!d(float64=1.5)")),
    ("{{ printf \"%d %d\" 1 }}", Gives("1 %!d(MISSING)")),
    ("{{ printf \"%d\" 1 2 \"x\" }}", Gives("1%!(EXTRA int=2, string=x)")),
    ("{{ printf \"%!\" }} {{ printf \"%z\" 1 }} {{ printf \"100%\" }}", Gives("%!!(MISSING) %!z(int=1) 100%!(NOVERB)")),
    ("{{ printf \"%x %o %b %c %U %#x %O\" 255 8 5 65 8364 255 8 }}", Gives("ff 10 101 A U+20AC 0xff 0o10")),
    ("{{ printf \"%q %q\" 65 \"é\\x00\" }}", Gives("'A' \"é\\x00\"")),
    ("{{ printf \"%v %+v\" $labels $labels }}", Gives("map[__name__:m instance:host.example.com:9100 job:node] map[__name__:m instance:host.example.com:9100 job:node]")),
    ("{{ printf \"%t\" 1 }}", Gives("%!t(int=1)")),
    ("{{ printf \"%6.2f%%\" 12.3456 }}", Gives(" 12.35%")),
    ("{{ printf \"%.3g %.10g %g %G %E\" 1234.5678 1234.5678 0.00001 1e-7 12.5 }}", Gives("1.23e+03 1234.5678 1e-05 1E-07 1.250000E+01")),
    ("{{ printf \"%g %g %g %g\" 100000.0 1000000.0 123456789.0 0.0001 }}", Gives("100000 1e+06 1.23456789e+08 0.0001")),
    ("{{ printf \"%v %v %v\" 1e20 1e21 1e6 }}", Gives("1e+20 1e+21 1e+06")),
    ("{{ printf \"%.0f %.1f %f\" 2.5 0.25 1e15 }}", Gives("2 0.2 1000000000000000.000000")),
    ("{{ printf \"%s\" $labels.job }} {{ printf \"%.1f\" $value }}", Gives("node 1234567.9")),
    ("{{ printf \"%08b|%x|% x\" 5 \"abc\" \"abc\" }}", Gives("00000101|616263|61 62 63")),
    ("{{ printf \"%+.2e|%10.3e|\" 12345.678 0.00012 }}", Gives("+1.23e+04| 1.200e-04|")),
    ("{{ printf \"%v|%5t|%-7t|\" nil true false }}", Gives("<nil>| true|false  |")),
    ("{{ html \"<a href='x'>\\\"&\\\"</a>\" }}", Gives("&lt;a href=&#39;x&#39;&gt;&#34;&amp;&#34;&lt;/a&gt;")),
    ("{{ js \"it's \\\"<x>\\\" & =\" }}", Gives("it\\'s \\\"\\u003Cx\\u003E\\\" \\u0026 \\u003D")),
    ("{{ urlquery \"a b&c=d/é\" }}", Gives("a+b%26c%3Dd%2F%C3%A9")),
    ("{{ \"quoted\" }} {{ `raw \"x\"` }} {{ 'a' }} {{ 0x1F }} {{ 1_000 }} {{ 0b11 }} {{ 0o17 }} {{ 017 }} {{ 1e3 }} {{ -5 }} {{ +.5 }}", Gives("quoted raw \"x\" 97 31 1000 3 15 15 1000 -5 0.5")),
    ("{{ \"\\u00e9\\x41\\101\\t|\" }}", Gives("éAA\t|")),
    ("{{ true }} {{ false }} {{ 1.0 }} {{ 2.50 }}", Gives("true false 1 2.5")),
    ("  {{- \" trimmed \" -}}  x {{- 1 }} y {{ 2 -}} z", Gives(" trimmed x1 y 2z")),
    ("a {{/* comment */}} b {{- /* c2 */ -}} c", Gives("a  bc")),
    ("{{ $x := 1 }}{{ $x }}{{ $x = 2 }}{{ $x }}", Gives("12")),
    ("{{ $x := 1 }}{{ if true }}{{ $x = 5 }}{{ $y := 2 }}{{ $y }}{{ end }}{{ $x }}", Gives("25")),
    ("{{ $x := 1 }}{{ if true }}{{ $x := 5 }}{{ $x }}{{ end }}{{ $x }}", Gives("51")),
    ("{{ range $k, $v := $labels }}{{ $k }}={{ $v }},{{ end }}", Gives("__name__=m,instance=host.example.com:9100,job=node,")),
    ("{{ range $v := $labels }}{{ $v }},{{ end }}", Gives("m,host.example.com:9100,node,")),
    ("{{ range $labels }}{{ . }};{{ end }}", Gives("m;host.example.com:9100;node;")),
    ("{{ range $i, $s := query \"n\" | sortByLabel \"i\" }}{{ if eq $i 1 }}{{ continue }}{{ end }}{{ if eq $i 2 }}{{ break }}{{ end }}{{ $s.Labels.i }}{{ end }}", Gives("a")),
    ("{{ range query \"nothing\" }}x{{ else }}none{{ end }}", Gives("none")),
    ("{{ with $labels.job }}{{ . }}-{{ $.Value }}{{ end }}", Gives("node-1.234567891e+06")),
    ("{{ with $x := $labels.job }}{{ $x }}{{ end }}", Gives("node")),
    ("{{ with $labels.missing }}x{{ else }}y{{ end }}", Gives("y")),
    ("{{ define \"t\" }}[{{ . }}]{{ end }}{{ template \"t\" $labels.job }}{{ template \"t\" 5 }}", Gives("[node][5]")),
    ("{{ define \"t\" }}{{ .arg0 }}-{{ .arg1 }}{{ end }}{{ template \"t\" args 1 \"two\" }}", Gives("1-two")),
    ("{{ block \"b\" $value }}<{{ . | humanize }}>{{ end }}", Gives("<1.235M>")),
    ("{{ define \"a\" }}{{ template \"b\" . }}!{{ end }}{{ define \"b\" }}<{{ . }}>{{ end }}{{ template \"a\" 1 }}", Gives("<1>!")),
    ("{{ template \"missing\" }}", Fails),
    ("{{ ($labels.job | toUpper) | printf \"%s-%s\" \"x\" }}", Gives("x-NODE")),
    ("{{ (index $labels \"job\") }} {{ (printf \"%d\" 3) | len }}", Gives("node 1")),
    ("{{ $value | printf \"%.2f\" | printf \"v=%s\" }}", Gives("v=1234567.89")),
    ("{{ $labels.job | reReplaceAll \"(.*)de\" \"$1\" | title }}", Gives("No")),
    ("{{ toUpper 5 }}", Fails),
    ("{{ toUpper }}", Fails),
    ("{{ .Nope }}", Fails),
    ("{{ $labels.job.x }}", Fails),
    ("{{ nil }}", Fails),
    ("{{ $nope }}", Unparsable),
    ("{{ nope 1 }}", Unparsable),
    ("{{ $labels.foo-bar }}", Unparsable),
    ("{{ if }}x{{ end }}", Unparsable),
    ("{{ if true }}x", Unparsable),
    ("{{ end }}", Unparsable),
    ("{{ else }}", Unparsable),
    ("{{ 1 | 2 }}", Unparsable),
    ("{{ \"unclosed }}", Unparsable),
    ("{{ . }", Unparsable),
    ("{{ break }}", Unparsable),
    ("{{ $labels.job \"x\" }}", Fails),
    ("{{ 1 2 }}", Fails),
    ("{{ (1) }} {{ ((toUpper \"a\")) }}", Gives("1 A")),
    ("{{ humanize $value | printf \"%s/s\" }}{{ \"\\n\" }}second", Gives("1.235M/s\nsecond")),
    ("{{ len (slice \"abcdef\" 1 4) }}", Gives("3")),
    ("{{ range $i, $c := \"abc\" }}{{ $c }}{{ end }}", Fails),
    ("{{ with $y := 5 }}{{ $y }}{{ end }}{{ with 0 }}z{{ end }}", Gives("5")),
    ("{{ if not (eq $labels.job \"a\" \"b\" \"node\") }}n{{ else }}y{{ end }}", Gives("y")),
    ("{{ 9223372036854775807 }} {{ -9223372036854775808 }}", Gives("9223372036854775807 -9223372036854775808")),
    ("{{ 9223372036854775808 }}", Fails),
    ("{{- range $i, $s := query \"n\" | sortByLabel \"i\" -}} {{ if $i }}, {{ end }}{{ $s.Labels.i }} {{- end -}}", Gives("a, b, c")),
    ("{{ $value | humanizePercentage }} of {{ $labels.instance | stripPort }}", Gives("1.235e+08% of host.example.com")),
    ("{{ .Value | printf \"%.3g\" }} {{ .Value | printf \"%d\" }}", Gives("1.23e+06 %!d(float64=1.234567891e+06)")),
    ("{{ print }}|{{ print nil }}|{{ print \"\" }}|", Gives("|<nil>||")),
    ("{{ eq nil nil }}", Gives("true")),
    ("{{ $labels.instance | match \"host.*\" | printf \"%v\" }}", Gives("true")),
    ("{{ call $labels 1 }}", Fails),
    ("{{ (query \"m\" | first).Value }} {{ (query \"m\" | first).Labels.job }}", Gives("1.234567891e+06 node")),
    ("{{ define \"x\" }}{{ $labels.job }}{{ end }}{{ template \"x\" }}", Unparsable),
    ("{{ template \"x\" . }}{{ define \"x\" }}{{ .Labels.job }}{{ end }}", Gives("node")),
    ("{{ if $value }}{{ else }}{{ end }}ok", Gives("ok")),
    ("{{ \"a\" | eq \"a\" }} {{ 3 | lt 2 }} {{ 2 | sub }}", Unparsable),
    ("{{ printf \"%s %v\" (args \"a\" 1) (args \"b\" 2.5) }}", Gives("map[arg0:a arg1:%!s(int=1)] map[arg0:b arg1:2.5]")),
    ("{{ printf \"%d%%\" 50 }} {{ printf \"%5.1f%%\" 99.95 }}", Gives("50% 100.0%")),
];
