//! Hostile labels: whatever they say, it is text in every message, and calls nobody.

use super::super::*;
use super::server::{deliver_once, good, needed};
use super::{notification, now, templates};
use crate::alerts::{AlertStatus, Notification};

/// What a label may say.
const NASTY: &str = concat!(
    "x\r\nBcc: all@test\r\n\r\n<script>alert(1)</script> {{ .ExternalURL }} \u{1b}]0;owned\u{7}\u{1b}[2J ",
    "@all @everyone @here <!channel> <!subteam^S1> <@U1> <@&7> <at user_id=\"all\"></at> [~admin] [safe](http://evil.test) ",
    "\u{202e}gnp\u{202c} \u{2066}x ",
);

fn nasty() -> Notification {
    let mut it = notification();
    let put = |map: &mut std::collections::BTreeMap<String, String>| {
        for key in ["alertname", "severity", "summary", "instance", "description"] {
            map.insert(key.to_owned(), NASTY.to_owned());
        }
    };
    it.alerts.truncate(1);
    put(&mut it.alerts[0].labels);
    put(&mut it.alerts[0].annotations);
    put(&mut it.common_labels);
    put(&mut it.group_labels);
    put(&mut it.common_annotations);
    it.alerts[0].generator_url = format!("javascript:alert(1)//{NASTY}");
    it.group_key = format!("{{}}:{{alertname={NASTY:?}}}");
    it
}

/// What a chat would act upon.
const CALLS: [&str; 8] = ["@all", "@everyone", "@here", "<!channel", "<!subteam", "<@U1", "<@&7", "<at user"];

#[tokio::test]
async fn hostile_labels_are_text_in_every_service() {
    for service in Service::ALL {
        let (outcome, seen) = deliver_once(service, &needed(service), &nasty(), good(service)).await;
        assert_eq!(outcome, Outcome::Accepted, "{service:?}");
        let said = seen.last().unwrap();
        let form: String = reqwest::Url::parse(&format!("http://h/?{}", said.body))
            .unwrap()
            .query_pairs()
            .map(|(key, value)| format!("{key}={value}\n"))
            .collect();
        let is_form = said.header("content-type").contains("form");
        let texts = if is_form { form } else { strings(&said.json()) };
        // A machine reads it by its keys; what it holds is data.
        if service == Service::IncidentIo {
            continue;
        }
        assert!(texts.contains("x Bcc: all@test") || texts.contains("x\nBcc: all@test"), "{service:?}: {texts}");
        let bad = ['\u{1b}', '\u{7}', '\u{202e}', '\u{202c}', '\u{2066}', '\r'];
        assert!(!texts.contains(bad), "{service:?}: {texts:?}");
        assert!(texts.contains("{{ .ExternalURL }}") || texts.contains("{ .ExternalURL }") || texts.contains("\\{"));
        let is_chat = !matches!(
            service,
            Service::Jira
                | Service::Ntfy
                | Service::OpsGenie
                | Service::PagerDuty
                | Service::Pushover
                | Service::Sns
                | Service::VictorOps
        );
        for call in CALLS.iter().filter(|_| is_chat) {
            assert!(!texts.contains(call), "{service:?} {call}: {texts}");
        }
        if service == Service::Jira {
            let body = said.json();
            let text = body["fields"]["description"].as_str().unwrap();
            assert!(text.contains("\\[\\~admin\\]") || text.contains("\\[~admin\\]"), "{text}");
        }
        if service == Service::Telegram {
            assert!(texts.contains("&lt;script&gt;") && !texts.contains("<script"), "{texts}");
        }
        assert!(!said.line.contains("Bcc") && said.headers.iter().all(|(name, _)| name != "bcc"), "{said:?}");
    }
}

/// All texts of a tree, each on a line; keys too.
fn strings(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::String(text) => format!("{text}\n"),
        serde_json::Value::Array(items) => items.iter().map(strings).collect(),
        serde_json::Value::Object(entries) => {
            entries.iter().map(|(key, value)| format!("{key}\n{}", strings(value))).collect()
        }
        _ => String::new(),
    }
}

#[tokio::test]
async fn links_that_are_none_are_left_out() {
    let mut fields = needed(Service::Slack);
    fields.push(("title_link", FieldValue::Text("{{ (index .Alerts 0).GeneratorURL }}".to_owned())));
    fields.push(("image_url", FieldValue::Text("data:text/html,x".to_owned())));
    let (_, seen) = deliver_once(Service::Slack, &fields, &nasty(), good(Service::Slack)).await;
    let attachment = &seen[0].json()["attachments"][0];
    assert!(attachment.get("title_link").is_none() && attachment.get("image_url").is_none(), "{attachment}");
}

#[test]
fn a_template_may_let_a_value_through() {
    let render = templates();
    let mut it = notification();
    it.common_annotations.insert("call".to_owned(), "<!subteam^S1>".to_owned());
    let text = "{{ .CommonAnnotations.call }} {{ .CommonAnnotations.call | safeHtml }} <!here>";
    assert_eq!(render(text, &it, Form::Slack).unwrap(), "&lt;!subteam^S1&gt; <!subteam^S1> <!here>");
    assert_eq!((it.status, now().as_millis()), (AlertStatus::Firing, 1_700_000_331_999));
}
