//! What notification templates give, checked against amtool 0.25 (`template render`, text and HTML): it rendered every
//! line of the tables with our default templates over the data that `check` sets up.

use std::collections::BTreeMap;

use super::*;
use crate::time::Timestamp;

enum Want {
    Gives(&'static str),
    Fails,
}
use Want::{Fails, Gives};

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn render(templates: &NotificationTemplates, text: &str, html: bool) -> Result<String, TemplateError> {
    let at = |text| Timestamp::from_rfc3339(text).expect("a time");
    let down = |instance| map(&[("alertname", "Down"), ("severity", "page"), ("instance", instance)]);
    let (one, two, none) = (down("a<b>"), down("c"), BTreeMap::new());
    let annotations = map(&[("summary", "it's \"down\" & out"), ("url", "http://x/?a=1&b=2")]);
    let alert = |status, labels, annotations| AlertData {
        status,
        labels,
        annotations,
        starts_at: at("2023-11-14T22:13:20.123Z"),
        ends_at: None,
        generator_url: "http://p/graph?x=1+2",
        fingerprint: "0123456789abcdef",
        is_new: false,
    };
    let resolved = AlertData {
        starts_at: at("2023-11-14T20:00:00Z"),
        ends_at: Some(at("2023-11-14T21:00:00Z")),
        generator_url: "javascript:alert(1)",
        fingerprint: "fedcba9876543210",
        ..alert("resolved", &two, &none)
    };
    let data = NotificationData {
        // amtool shows the receiver as it is in the data, where Alertmanager has quoted it already.
        receiver: "team",
        status: "firing",
        alerts: vec![alert("firing", &one, &annotations), resolved],
        reason: "first_notification",
        group_labels: &map(&[("alertname", "Down")]),
        common_labels: &map(&[("alertname", "Down"), ("severity", "page")]),
        common_annotations: &map(&[("runbook", "http://r")]),
        route_labels: &map(&[("team", "sre")]),
        external_url: "http://am:9093",
        links: &map(&[("silence", "http://b/act/x")]),
    };
    let now = at("2023-11-14T23:13:20.123Z");
    if html { templates.html(text, &data, now) } else { templates.text(text, &data, now) }
}

#[test]
fn a_services_escape_reaches_every_inserted_value_and_nothing_else() {
    let data = NotificationData {
        receiver: "team",
        status: "firing",
        alerts: Vec::new(),
        reason: "first_notification",
        group_labels: &map(&[("alertname", "a*b")]),
        common_labels: &map(&[]),
        common_annotations: &map(&[]),
        route_labels: &map(&[]),
        external_url: "http://am:9093",
        links: &map(&[]),
    };
    let templates = NotificationTemplates::new();
    let text =
        r#"*{{ template "inner" . }}* {{ "*" | safeHtml }}{{ define "inner" }}{{ .GroupLabels.alertname }}{{ end }}"#;
    let star = |value: &str| value.replace('*', "<*>");
    let now = Timestamp::from_rfc3339("2023-11-14T23:13:20Z").unwrap();
    assert_eq!(templates.escaped(text, &data, now, false, &star).unwrap(), "*a<*>b* *");
    assert_eq!(templates.escaped(text, &data, now, true, &star).unwrap(), "*a&lt;*&gt;b* *");
}

fn check(table: &[(&str, Want)], html: bool) {
    let templates = NotificationTemplates::new();
    let mut wrong = Vec::new();
    for (text, want) in table {
        let got = render(&templates, text, html);
        let right = match want {
            Gives(want) => got.as_deref() == Ok(*want),
            Fails => got.is_err(),
        };
        if !right {
            let want = if let Gives(want) = want { format!("{want:?}") } else { "an error".to_owned() };
            wrong.push(format!("{text}\n  want {want}\n  got  {got:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), table.len(), wrong.join("\n"));
}

#[test]
fn texts_give_what_alertmanager_gives() {
    check(&TEXT, false);
}

#[test]
fn html_gives_what_alertmanager_gives() {
    check(&HTML, true);
    let page = render(&NotificationTemplates::new(), "{{ template \"email.default.html\" . }}", true);
    assert_eq!(page.as_deref(), Ok(EMAIL));
}

/// Newer than the amtool that made the tables.
#[test]
fn functions_of_later_versions_work_too() {
    check(
        &[
            (
                "{{ .GroupLabels }}|{{ .CommonLabels }}|{{ .CommonLabels.SortedPairs }}",
                Gives("alertname=Down|alertname=Down, severity=page|alertname=Down, severity=page"),
            ),
            ("{{ .CommonLabels.Remove .GroupLabels.Names }}", Gives("severity=page")),
            ("{{ printf \"%s|%d\" .CommonLabels 3 }}", Gives("alertname=Down, severity=page|3")),
            ("{{ .NotificationReason }} {{ .RouteLabels.team }}", Gives("first_notification sre")),
            (
                "{{ date \"2006\" (index .Alerts 0).StartsAt }} {{ (index .Alerts 0).StartsAt | date \"15:04\" }}",
                Gives("2023 22:13"),
            ),
            (
                "{{ (index .Alerts 0).StartsAt | tz \"Europe/Paris\" | date \"15:04 MST -07:00\" }}",
                Gives("23:13 CET +01:00"),
            ),
            ("{{ tz \"Mars/Base\" now }}", Fails),
            (
                "{{ since (index .Alerts 0).StartsAt }} {{ since (index .Alerts 0).StartsAt | humanizeDuration }}",
                Gives("1h0m0s 1h 0m 0s"),
            ),
            ("{{ now.Format \"2006-01-02\" }} {{ now.Unix }}", Gives("2023-11-14 1700003600")),
            (
                "{{ toJson .CommonLabels }} {{ toJson (index .Alerts 1).EndsAt }} {{ toJson \"a<b>&\\\"\" }}",
                Gives(
                    "{\"alertname\":\"Down\",\"severity\":\"page\"} \"2023-11-14T21:00:00Z\" \"a\\u003cb\\u003e\\u0026\\\"\"",
                ),
            ),
            (
                "{{ list 1 \"a\" true | toJson }} {{ toJson (dict \"k\" 1.5 \"l\" (list)) }} {{ toJson nil }}",
                Gives("[1,\"a\",true] {\"k\":1.5,\"l\":[]} null"),
            ),
            (
                "{{ append (list 1) 2 3 }} {{ (dict \"a\" 1).a }} {{ append (stringSlice \"x\") \"y\" | join \"+\" }}",
                Gives("[1 2 3] 1 x+y"),
            ),
            ("{{ dict \"a\" }}", Fails),
            ("{{ urlUnescape \"a%20b+c\" }} {{ trimSpace \"  x \" }}", Gives("a b c x")),
            ("{{ urlUnescape \"%zz\" }}", Fails),
            ("{{ (toDate \"2006-01-02 15:04:05 -0700\" \"2024-02-29 12:30:45 +0200\").Unix }}", Gives("1709202645")),
            ("{{ toDate \"2006-01-02\" \"nope\" }}", Gives("0001-01-01 00:00:00 +0000 UTC")),
            ("{{ mustToDate \"2006-01-02\" \"nope\" }}", Fails),
            (
                "{{ mustToDate \"Jan 2, 2006 at 3:04pm (MST)\" \"Feb 3, 2013 at 7:54pm (UTC)\" }}",
                Gives("2013-02-03 19:54:00 +0000 UTC"),
            ),
            ("{{ humanize 5 }}", Fails),
        ],
        false,
    );
    check(
        &[
            ("<a href=\"{{ safeUrl \"custom:x y\" }}\">{{ .Alerts.Nope }}", Fails),
            ("<a href=\"{{ safeUrl \"custom:x y\" }}\">", Gives("<a href=\"custom:x%20y\">")),
        ],
        true,
    );
}

#[test]
fn the_receiver_is_quoted_for_the_link() {
    let data = NotificationData {
        receiver: "team.x",
        status: "resolved",
        alerts: Vec::new(),
        reason: "",
        group_labels: &BTreeMap::new(),
        common_labels: &BTreeMap::new(),
        common_annotations: &BTreeMap::new(),
        route_labels: &BTreeMap::new(),
        links: &map(&[]),
        external_url: "",
    };
    let templates = NotificationTemplates::new();
    let text = templates.text("{{ .Receiver }} {{ template \"__subject\" . }}|", &data, Timestamp::ZERO);
    assert_eq!(text.as_deref(), Ok("team\\.x [RESOLVED]  |"));
    assert_eq!(templates.text("plain", &data, Timestamp::ZERO).as_deref(), Ok("plain"));
}

#[test]
fn users_files_replace_templates_and_a_bad_file_changes_nothing() {
    let mut templates = NotificationTemplates::new();
    templates
        .add("{{ define \"__subject\" }}mine {{ .Status }}{{ end }}{{ define \"own\" }}{{ nothing }}{{ end }}")
        .expect_err("no such function");
    assert!(!templates.has("own"));
    templates
        .add("ignored {{ define \"__subject\" }}mine {{ .Status }}{{ end }}{{ define \"bad\" }}{{ len 3 }}{{ end }}")
        .expect("a file");
    assert_eq!(render(&templates, "{{ template \"email.default.subject\" . }}", false).as_deref(), Ok("mine firing"));
    let error = render(&templates, "x {{ template \"bad\" . }}", false).expect_err("fails inside");
    assert_eq!(
        (error.message.as_str(), error.span),
        ("in template \"bad\": error calling len: len of type int", 5..13)
    );
    assert!(templates.check("{{ if true }}{{ template \"slack.default.text\" . }}{{ end }}").is_ok());
    let missing = templates.check("{{ range .Alerts }}{{ template \"no.such\" . }}{{ end }}").expect_err("missing");
    assert_eq!(missing.message, "template \"no.such\" not defined");
    assert!(templates.check("{{ template \"here\" }}{{ define \"here\" }}{{ end }}").is_ok());
}

#[test]
fn hostile_labels_stay_text() {
    let templates = NotificationTemplates::new();
    let page = render(&templates, "{{ template \"email.default.html\" . }}", true).expect("a page");
    assert!(!page.contains("javascript:") && !page.contains("a<b>"), "{page}");
    // A value is never run as a template again.
    assert_eq!(render(&templates, "{{ \"{{ .Status }}\" }}", false).as_deref(), Ok("{{ .Status }}"));
}

/// The page that Go renders of `email.default.html`.
#[rustfmt::skip]
const EMAIL: &str = "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width\">\n<title>[FIRING:1] Down (page)</title>\n</head>\n<body style=\"margin:0;padding:16px;background:#f4f4f4;color:#222;font-family:Helvetica,Arial,sans-serif;font-size:14px;line-height:1.5\">\n<div style=\"max-width:640px;margin:0 auto;background:#fff;border:1px solid #ddd\">\n<div style=\"padding:14px 20px;color:#fff;font-size:16px;background:#b3261e\">[FIRING:1] Down (page)</div>\n<div style=\"padding:10px 20px\">\n<p><a href=\"http://am:9093/#/alerts?receiver=team\">View in Brownout</a></p>\n<h3 style=\"margin:12px 0 4px\">1 firing</h3>\n\n<div style=\"border-top:1px solid #ddd;padding:10px 0\">\n<table style=\"border-collapse:collapse;font-size:14px\">\n<tr><td style=\"color:#666;padding:1px 12px 1px 0\">alertname</td><td>Down</td></tr>\n<tr><td style=\"color:#666;padding:1px 12px 1px 0\">instance</td><td>a&lt;b&gt;</td></tr>\n<tr><td style=\"color:#666;padding:1px 12px 1px 0\">severity</td><td>page</td></tr>\n<tr><td style=\"color:#666;padding:1px 12px 1px 0\"><i>summary</i></td><td>it&#39;s &#34;down&#34; &amp; out</td></tr>\n<tr><td style=\"color:#666;padding:1px 12px 1px 0\"><i>url</i></td><td>http://x/?a=1&amp;b=2</td></tr>\n<tr><td style=\"color:#666;padding:1px 12px 1px 0\">since</td><td>2023-11-14 22:13:20 UTC</td></tr>\n</table>\n<a href=\"http://p/graph?x=1&#43;2\">Source</a>\n</div>\n\n<h3 style=\"margin:12px 0 4px\">1 resolved</h3>\n\n<div style=\"border-top:1px solid #ddd;padding:10px 0\">\n<table style=\"border-collapse:collapse;font-size:14px\">\n<tr><td style=\"color:#666;padding:1px 12px 1px 0\">alertname</td><td>Down</td></tr>\n<tr><td style=\"color:#666;padding:1px 12px 1px 0\">instance</td><td>c</td></tr>\n<tr><td style=\"color:#666;padding:1px 12px 1px 0\">severity</td><td>page</td></tr>\n<tr><td style=\"color:#666;padding:1px 12px 1px 0\">since</td><td>2023-11-14 20:00:00 UTC until 2023-11-14 21:00:00 UTC</td></tr>\n</table>\n<a href=\"#ZgotmplZ\">Source</a>\n</div>\n\n</div>\n</div>\n<p style=\"text-align:center;color:#888;font-size:12px\">Sent by <a style=\"color:#888\" href=\"http://am:9093\">Brownout</a></p>\n</body>\n</html>\n";

#[rustfmt::skip]
const TEXT: [(&str, Want); 41] = [
    ("{{ .Receiver }} {{ .Status }} {{ .ExternalURL }}", Gives("team firing http://am:9093")),
    ("{{ template \"__subject\" . }}", Gives("[FIRING:1] Down (page)")),
    ("{{ template \"__alertmanagerURL\" . }}", Gives("http://am:9093/#/alerts?receiver=team")),
    ("{{ template \"__alertmanager\" . }}", Gives("Brownout")),
    ("{{ template \"email.default.subject\" . }}", Gives("[FIRING:1] Down (page)")),
    ("{{ template \"__text_alert_list\" .Alerts }}", Gives("Labels:\n - alertname = Down\n - instance = a<b>\n - severity = page\nAnnotations:\n - summary = it's \"down\" & out\n - url = http://x/?a=1&b=2\nSource: http://p/graph?x=1+2\nLabels:\n - alertname = Down\n - instance = c\n - severity = page\nAnnotations:\nSource: javascript:alert(1)\n")),
    ("{{ template \"__text_alert_list\" .Alerts.Firing }}", Gives("Labels:\n - alertname = Down\n - instance = a<b>\n - severity = page\nAnnotations:\n - summary = it's \"down\" & out\n - url = http://x/?a=1&b=2\nSource: http://p/graph?x=1+2\n")),
    ("{{ template \"slack.default.title\" . }}", Gives("[FIRING:1] Down (page)")),
    ("{{ template \"slack.default.fallback\" . }}", Gives("[FIRING:1] Down (page) | http://am:9093/#/alerts?receiver=team")),
    ("{{ template \"pagerduty.default.description\" . }}", Gives("[FIRING:1] Down (page)")),
    ("{{ template \"opsgenie.default.description\" . }}", Gives("http://r\nAlerts Firing:\nLabels:\n - alertname = Down\n - instance = a<b>\n - severity = page\nAnnotations:\n - summary = it's \"down\" & out\n - url = http://x/?a=1&b=2\nSource: http://p/graph?x=1+2\n\nAlerts Resolved:\nLabels:\n - alertname = Down\n - instance = c\n - severity = page\nAnnotations:\nSource: javascript:alert(1)\n")),
    ("{{ template \"pushover.default.message\" . }}", Gives("http://r\n\nAlerts Firing:\nLabels:\n - alertname = Down\n - instance = a<b>\n - severity = page\nAnnotations:\n - summary = it's \"down\" & out\n - url = http://x/?a=1&b=2\nSource: http://p/graph?x=1+2\n\n\n\nAlerts Resolved:\nLabels:\n - alertname = Down\n - instance = c\n - severity = page\nAnnotations:\nSource: javascript:alert(1)\n\n\n")),
    ("{{ template \"pushover.default.title\" . }}", Gives("[FIRING:1] Down (page)")),
    ("{{ template \"pushover.default.url\" . }}", Gives("http://am:9093/#/alerts?receiver=team")),
    ("{{ template \"sns.default.subject\" . }}", Gives("[FIRING:1] Down (page)")),
    ("{{ template \"sns.default.message\" . }}", Gives("http://r\n\nAlerts Firing:\nLabels:\n - alertname = Down\n - instance = a<b>\n - severity = page\nAnnotations:\n - summary = it's \"down\" & out\n - url = http://x/?a=1&b=2\nSource: http://p/graph?x=1+2\n\n\n\nAlerts Resolved:\nLabels:\n - alertname = Down\n - instance = c\n - severity = page\nAnnotations:\nSource: javascript:alert(1)\n\n\n")),
    ("{{ template \"telegram.default.message\" . }}", Gives("\n\nAlerts Firing:\nLabels:\n - alertname = Down\n - instance = a<b>\n - severity = page\nAnnotations:\n - summary = it's \"down\" & out\n - url = http://x/?a=1&b=2\nSource: http://p/graph?x=1+2\n\n\n\nAlerts Resolved:\nLabels:\n - alertname = Down\n - instance = c\n - severity = page\nAnnotations:\nSource: javascript:alert(1)\n\n\n")),
    ("{{ template \"wechat.default.message\" . }}", Gives("[FIRING:1] Down (page)\nhttp://r\nAlerts Firing:\nLabels:\n - alertname = Down\n - instance = a<b>\n - severity = page\nAnnotations:\n - summary = it's \"down\" & out\n - url = http://x/?a=1&b=2\nSource: http://p/graph?x=1+2\n\nAlerts Resolved:\nLabels:\n - alertname = Down\n - instance = c\n - severity = page\nAnnotations:\nSource: javascript:alert(1)\n\nhttp://am:9093/#/alerts?receiver=team")),
    ("{{ template \"webex.default.message\" . }}", Gives("http://r\n\nAlerts Firing:\nLabels:\n - alertname = Down\n - instance = a<b>\n - severity = page\nAnnotations:\n - summary = it's \"down\" & out\n - url = http://x/?a=1&b=2\nSource: http://p/graph?x=1+2\n\n\n\nAlerts Resolved:\nLabels:\n - alertname = Down\n - instance = c\n - severity = page\nAnnotations:\nSource: javascript:alert(1)\n\n\n")),
    ("{{ .CommonLabels.Names }} {{ .CommonLabels.Values }} {{ .CommonLabels.Names | join \",\" }}", Gives("[alertname severity] [Down page] alertname,severity")),
    ("{{ range .CommonLabels.SortedPairs }}{{ .Name }}:{{ .Value }};{{ end }}", Gives("alertname:Down;severity:page;")),
    ("{{ .CommonLabels.severity }} {{ .CommonLabels.nothing }}|", Gives("page |")),
    ("{{ len .Alerts.New }} {{ .Alerts.Still | len }} {{ (index .Alerts 0).IsNew }} {{ .Links.silence }}{{ .Links.x }}", Gives("0 1 false http://b/act/x")),
    ("{{ len .Alerts }} {{ .Alerts.Firing | len }} {{ len .Alerts.Resolved }}", Gives("2 1 1")),
    ("{{ range .Alerts }}{{ .Labels.instance }} {{ .Status }} {{ .StartsAt }} {{ .EndsAt }} {{ .Fingerprint }};{{ end }}", Gives("a<b> firing 2023-11-14 22:13:20.123 +0000 UTC 0001-01-01 00:00:00 +0000 UTC 0123456789abcdef;c resolved 2023-11-14 20:00:00 +0000 UTC 2023-11-14 21:00:00 +0000 UTC fedcba9876543210;")),
    ("{{ (index .Alerts 0).StartsAt.Format \"15:04:05 MST\" }} {{ (index .Alerts 0).EndsAt.IsZero }} {{ (index .Alerts 1).EndsAt.Unix }}", Gives("22:13:20 UTC true 1699995600")),
    ("{{ with index .Alerts 1 }}{{ .EndsAt.Sub .StartsAt }} {{ (.EndsAt.Sub .StartsAt).Minutes }}{{ end }}", Gives("1h0m0s 60")),
    ("{{ title \"hello WORLD foo-bar\" }} {{ toUpper \"a\" }} {{ toLower \"A\" }}", Gives("Hello World Foo-Bar A a")),
    ("{{ title \"it's o'clock 2nd a_b x.y\" }}", Gives("It's O'clock 2Nd A_b X.y")),
    ("{{ match \"^D\" .GroupLabels.alertname }} {{ reReplaceAll \"o(.)\" \"[$1]\" \"foo\" }}", Gives("true f[o]")),
    ("{{ (index .Alerts 0).Annotations.summary }} {{ (index .Alerts 0).Labels.instance }}", Gives("it's \"down\" & out a<b>")),
    ("{{ safeHtml \"<b>x</b>\" }} {{ \"<b>\" }}", Gives("<b>x</b> <b>")),
    ("<a href=\"{{ (index .Alerts 0).GeneratorURL }}\">x</a> <a href='{{ (index .Alerts 1).GeneratorURL }}'>y</a>", Gives("<a href=\"http://p/graph?x=1+2\">x</a> <a href='javascript:alert(1)'>y</a>")),
    ("<p>{{ (index .Alerts 0).Annotations.url }}</p><a href=\"{{ (index .Alerts 0).Annotations.url }}\">u</a>", Gives("<p>http://x/?a=1&b=2</p><a href=\"http://x/?a=1&b=2\">u</a>")),
    ("{{ .Nope }}", Fails),
    ("{{ .GroupLabels.alertname.x }}", Fails),
    ("{{ index .Alerts 5 }}", Fails),
    ("{{ join \",\" .Alerts }}", Fails),
    ("{{ range $i, $a := .Alerts }}{{ if $i }}, {{ end }}{{ $a.Labels.instance }}{{ end }}", Gives("a<b>, c")),
    ("{{ stringSlice \"a\" \"b\" | join \"-\" }}", Gives("a-b")),
    ("{{ if .CommonAnnotations.runbook }}{{ .CommonAnnotations.runbook }}{{ end }}{{ html \"<\" }}", Gives("http://r&lt;")),
];

#[rustfmt::skip]
const HTML: [(&str, Want); 40] = [
    ("{{ .Receiver }} {{ .Status }} {{ .ExternalURL }}", Gives("team firing http://am:9093")),
    ("{{ template \"__subject\" . }}", Gives("[FIRING:1] Down (page)")),
    ("{{ template \"__alertmanagerURL\" . }}", Gives("http://am:9093/#/alerts?receiver=team")),
    ("{{ template \"__alertmanager\" . }}", Gives("Brownout")),
    ("{{ template \"email.default.subject\" . }}", Gives("[FIRING:1] Down (page)")),
    ("{{ template \"__text_alert_list\" .Alerts }}", Gives("Labels:\n - alertname = Down\n - instance = a&lt;b&gt;\n - severity = page\nAnnotations:\n - summary = it&#39;s &#34;down&#34; &amp; out\n - url = http://x/?a=1&amp;b=2\nSource: http://p/graph?x=1&#43;2\nLabels:\n - alertname = Down\n - instance = c\n - severity = page\nAnnotations:\nSource: javascript:alert(1)\n")),
    ("{{ template \"__text_alert_list\" .Alerts.Firing }}", Gives("Labels:\n - alertname = Down\n - instance = a&lt;b&gt;\n - severity = page\nAnnotations:\n - summary = it&#39;s &#34;down&#34; &amp; out\n - url = http://x/?a=1&amp;b=2\nSource: http://p/graph?x=1&#43;2\n")),
    ("{{ template \"slack.default.title\" . }}", Gives("[FIRING:1] Down (page)")),
    ("{{ template \"slack.default.fallback\" . }}", Gives("[FIRING:1] Down (page) | http://am:9093/#/alerts?receiver=team")),
    ("{{ template \"pagerduty.default.description\" . }}", Gives("[FIRING:1] Down (page)")),
    ("{{ template \"opsgenie.default.description\" . }}", Gives("http://r\nAlerts Firing:\nLabels:\n - alertname = Down\n - instance = a&lt;b&gt;\n - severity = page\nAnnotations:\n - summary = it&#39;s &#34;down&#34; &amp; out\n - url = http://x/?a=1&amp;b=2\nSource: http://p/graph?x=1&#43;2\n\nAlerts Resolved:\nLabels:\n - alertname = Down\n - instance = c\n - severity = page\nAnnotations:\nSource: javascript:alert(1)\n")),
    ("{{ template \"pushover.default.message\" . }}", Gives("http://r\n\nAlerts Firing:\nLabels:\n - alertname = Down\n - instance = a&lt;b&gt;\n - severity = page\nAnnotations:\n - summary = it&#39;s &#34;down&#34; &amp; out\n - url = http://x/?a=1&amp;b=2\nSource: http://p/graph?x=1&#43;2\n\n\n\nAlerts Resolved:\nLabels:\n - alertname = Down\n - instance = c\n - severity = page\nAnnotations:\nSource: javascript:alert(1)\n\n\n")),
    ("{{ template \"pushover.default.title\" . }}", Gives("[FIRING:1] Down (page)")),
    ("{{ template \"pushover.default.url\" . }}", Gives("http://am:9093/#/alerts?receiver=team")),
    ("{{ template \"sns.default.subject\" . }}", Gives("[FIRING:1] Down (page)")),
    ("{{ template \"sns.default.message\" . }}", Gives("http://r\n\nAlerts Firing:\nLabels:\n - alertname = Down\n - instance = a&lt;b&gt;\n - severity = page\nAnnotations:\n - summary = it&#39;s &#34;down&#34; &amp; out\n - url = http://x/?a=1&amp;b=2\nSource: http://p/graph?x=1&#43;2\n\n\n\nAlerts Resolved:\nLabels:\n - alertname = Down\n - instance = c\n - severity = page\nAnnotations:\nSource: javascript:alert(1)\n\n\n")),
    ("{{ template \"telegram.default.message\" . }}", Gives("\n\nAlerts Firing:\nLabels:\n - alertname = Down\n - instance = a&lt;b&gt;\n - severity = page\nAnnotations:\n - summary = it&#39;s &#34;down&#34; &amp; out\n - url = http://x/?a=1&amp;b=2\nSource: http://p/graph?x=1&#43;2\n\n\n\nAlerts Resolved:\nLabels:\n - alertname = Down\n - instance = c\n - severity = page\nAnnotations:\nSource: javascript:alert(1)\n\n\n")),
    ("{{ template \"wechat.default.message\" . }}", Gives("[FIRING:1] Down (page)\nhttp://r\nAlerts Firing:\nLabels:\n - alertname = Down\n - instance = a&lt;b&gt;\n - severity = page\nAnnotations:\n - summary = it&#39;s &#34;down&#34; &amp; out\n - url = http://x/?a=1&amp;b=2\nSource: http://p/graph?x=1&#43;2\n\nAlerts Resolved:\nLabels:\n - alertname = Down\n - instance = c\n - severity = page\nAnnotations:\nSource: javascript:alert(1)\n\nhttp://am:9093/#/alerts?receiver=team")),
    ("{{ template \"webex.default.message\" . }}", Gives("http://r\n\nAlerts Firing:\nLabels:\n - alertname = Down\n - instance = a&lt;b&gt;\n - severity = page\nAnnotations:\n - summary = it&#39;s &#34;down&#34; &amp; out\n - url = http://x/?a=1&amp;b=2\nSource: http://p/graph?x=1&#43;2\n\n\n\nAlerts Resolved:\nLabels:\n - alertname = Down\n - instance = c\n - severity = page\nAnnotations:\nSource: javascript:alert(1)\n\n\n")),
    ("{{ .CommonLabels.Names }} {{ .CommonLabels.Values }} {{ .CommonLabels.Names | join \",\" }}", Gives("[alertname severity] [Down page] alertname,severity")),
    ("{{ range .CommonLabels.SortedPairs }}{{ .Name }}:{{ .Value }};{{ end }}", Gives("alertname:Down;severity:page;")),
    ("{{ .CommonLabels.severity }} {{ .CommonLabels.nothing }}|", Gives("page |")),
    ("{{ len .Alerts }} {{ .Alerts.Firing | len }} {{ len .Alerts.Resolved }}", Gives("2 1 1")),
    ("{{ range .Alerts }}{{ .Labels.instance }} {{ .Status }} {{ .StartsAt }} {{ .EndsAt }} {{ .Fingerprint }};{{ end }}", Gives("a&lt;b&gt; firing 2023-11-14 22:13:20.123 &#43;0000 UTC 0001-01-01 00:00:00 &#43;0000 UTC 0123456789abcdef;c resolved 2023-11-14 20:00:00 &#43;0000 UTC 2023-11-14 21:00:00 &#43;0000 UTC fedcba9876543210;")),
    ("{{ (index .Alerts 0).StartsAt.Format \"15:04:05 MST\" }} {{ (index .Alerts 0).EndsAt.IsZero }} {{ (index .Alerts 1).EndsAt.Unix }}", Gives("22:13:20 UTC true 1699995600")),
    ("{{ with index .Alerts 1 }}{{ .EndsAt.Sub .StartsAt }} {{ (.EndsAt.Sub .StartsAt).Minutes }}{{ end }}", Gives("1h0m0s 60")),
    ("{{ title \"hello WORLD foo-bar\" }} {{ toUpper \"a\" }} {{ toLower \"A\" }}", Gives("Hello World Foo-Bar A a")),
    ("{{ title \"it's o'clock 2nd a_b x.y\" }}", Gives("It&#39;s O&#39;clock 2Nd A_b X.y")),
    ("{{ match \"^D\" .GroupLabels.alertname }} {{ reReplaceAll \"o(.)\" \"[$1]\" \"foo\" }}", Gives("true f[o]")),
    ("{{ (index .Alerts 0).Annotations.summary }} {{ (index .Alerts 0).Labels.instance }}", Gives("it&#39;s &#34;down&#34; &amp; out a&lt;b&gt;")),
    ("{{ safeHtml \"<b>x</b>\" }} {{ \"<b>\" }}", Gives("<b>x</b> &lt;b&gt;")),
    ("<a href=\"{{ (index .Alerts 0).GeneratorURL }}\">x</a> <a href='{{ (index .Alerts 1).GeneratorURL }}'>y</a>", Gives("<a href=\"http://p/graph?x=1&#43;2\">x</a> <a href='#ZgotmplZ'>y</a>")),
    ("<p>{{ (index .Alerts 0).Annotations.url }}</p><a href=\"{{ (index .Alerts 0).Annotations.url }}\">u</a>", Gives("<p>http://x/?a=1&amp;b=2</p><a href=\"http://x/?a=1&amp;b=2\">u</a>")),
    ("{{ .Nope }}", Fails),
    ("{{ .GroupLabels.alertname.x }}", Fails),
    ("{{ index .Alerts 5 }}", Fails),
    ("{{ join \",\" .Alerts }}", Fails),
    ("{{ range $i, $a := .Alerts }}{{ if $i }}, {{ end }}{{ $a.Labels.instance }}{{ end }}", Gives("a&lt;b&gt;, c")),
    ("{{ stringSlice \"a\" \"b\" | join \"-\" }}", Gives("a-b")),
    ("{{ if .CommonAnnotations.runbook }}{{ .CommonAnnotations.runbook }}{{ end }}{{ html \"<\" }}", Gives("http://r&lt;")),
];
