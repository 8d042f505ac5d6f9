//! Each service against a strict server: method, path, headers, fields, limits, and answers that are errors.

use serde_json::{Value, json};

use super::super::*;
use super::notification;
use super::server::{Seen, answer, deliver_once, good, needed};
use crate::alerts::{AlertStatus, Notification};
use crate::net::SecretSource;

/// SHA-256 of the notification's group key, in hexadecimal.
const INCIDENT: &str = "c2aecb5aef403bda365b185720f4c3034955bffdb3b73d5536719b3f877a6521";

fn text(text: &str) -> FieldValue {
    FieldValue::Text(text.to_owned())
}

fn resolved() -> Notification {
    let mut it = notification();
    it.status = AlertStatus::Resolved;
    it.alerts.remove(0);
    it.alerts.remove(0);
    it
}

async fn sent(service: Service, more: &[(&'static str, FieldValue)]) -> Seen {
    let mut fields = needed(service);
    fields.extend_from_slice(more);
    let (outcome, mut seen) = deliver_once(service, &fields, &notification(), good(service)).await;
    assert_eq!(outcome, Outcome::Accepted, "{service:?}");
    seen.pop().unwrap()
}

/// Each service with nothing but what it needs.
#[tokio::test]
#[expect(clippy::too_many_lines, reason = "a table: each service once")]
async fn every_service_is_spoken_to_in_its_protocol() {
    let check = async |service: Service, line: &str, headers: &[(&str, &str)], body: &[(&str, Value)]| {
        let seen = sent(service, &[]).await;
        assert_eq!(seen.line, line, "{service:?}");
        for (name, value) in headers {
            assert_eq!(seen.header(name), *value, "{service:?} {name}");
        }
        let found = seen.json();
        for (pointer, value) in body {
            assert_eq!(found.pointer(pointer), Some(value), "{service:?} {pointer}: {found}");
        }
    };
    let subject = "[FIRING:2] CheckoutDown (critical)";
    let bearer = ("authorization", "Bearer s3cret");
    let red = 0x99_2d_22;
    check(
        Service::Slack,
        "POST /services/s3cret",
        &[],
        &[
            ("/username", json!("Brownout")),
            ("/attachments/0/title", json!(subject)),
            ("/attachments/0/title_link", json!("http://host.test:9797/#/alerts?receiver=team")),
            ("/attachments/0/color", json!("danger")),
            ("/attachments/0/mrkdwn_in", json!(["fallback", "pretext", "text"])),
        ],
    )
    .await;
    check(
        Service::Discord,
        "POST /hook/s3cret",
        &[],
        &[
            ("/embeds/0/title", json!(subject)),
            ("/embeds/0/color", json!(red)),
            ("/allowed_mentions", json!({"parse": []})),
        ],
    )
    .await;
    check(Service::Mattermost, "POST /hook/s3cret", &[], &[("/username", json!("Brownout"))]).await;
    check(
        Service::RocketChat,
        "POST /api/v1/chat.postMessage",
        &[("x-auth-token", "s3cret"), ("x-user-id", "id")],
        &[("/attachments/0/title", json!(subject)), ("/attachments/0/color", json!("red"))],
    )
    .await;
    check(
        Service::MsTeams,
        "POST /hook/s3cret",
        &[],
        &[
            ("/@type", json!("MessageCard")),
            ("/@context", json!("http://schema.org/extensions")),
            ("/title", json!(subject)),
            ("/themeColor", json!("8C1A1A")),
        ],
    )
    .await;
    check(
        Service::MsTeamsV2,
        "POST /hook/s3cret",
        &[],
        &[
            ("/type", json!("message")),
            ("/attachments/0/contentType", json!("application/vnd.microsoft.card.adaptive")),
            ("/attachments/0/content/type", json!("AdaptiveCard")),
            ("/attachments/0/content/body/0/text", json!(subject)),
            ("/attachments/0/content/body/0/color", json!("Attention")),
        ],
    )
    .await;
    check(
        Service::Telegram,
        "POST /bot1:s3cret/sendMessage",
        &[],
        &[("/chat_id", json!(-42)), ("/parse_mode", json!("HTML")), ("/disable_notification", json!(false))],
    )
    .await;
    check(
        Service::PagerDuty,
        "POST /v2/enqueue",
        &[],
        &[
            ("/routing_key", json!("s3cret")),
            ("/event_action", json!("trigger")),
            ("/dedup_key", json!(INCIDENT)),
            ("/payload/summary", json!(subject)),
            ("/payload/severity", json!("error")),
            ("/payload/source", json!("Brownout")),
            ("/payload/custom_details/num_firing", json!("2")),
            ("/client", json!("Brownout")),
        ],
    )
    .await;
    check(
        Service::OpsGenie,
        "POST /v2/alerts",
        &[("authorization", "GenieKey s3cret")],
        &[
            ("/alias", json!(INCIDENT)),
            ("/message", json!(subject)),
            ("/details", json!({"alertname": "CheckoutDown", "severity": "critical"})),
        ],
    )
    .await;
    check(
        Service::VictorOps,
        "POST /alert/s3cret/a%2F%2E%2E%2Fb",
        &[],
        &[
            ("/message_type", json!("CRITICAL")),
            ("/entity_id", json!(INCIDENT)),
            ("/entity_display_name", json!(subject)),
        ],
    )
    .await;
    let token = ("authorization", "Bearer t0ken");
    check(Service::WebEx, "POST /v1/messages", &[token], &[("/roomId", json!("room"))]).await;
    check(
        Service::IncidentIo,
        "POST /alerts/s3cret",
        &[bearer],
        &[
            ("/version", json!("1")),
            ("/status", json!("firing")),
            ("/groupKey", json!("{}:{alertname=\"CheckoutDown\"}")),
        ],
    )
    .await;
    check(
        Service::Ntfy,
        "POST /",
        &[("authorization", "Bearer tk_s3cret")],
        &[
            ("/topic", json!("ops")),
            ("/title", json!(subject)),
            ("/message", json!("checkout is down\ncheckout is down\nResolved: 1")),
            ("/priority", json!(4)),
            ("/tags", json!(["rotating_light"])),
            ("/click", json!("http://host.test:9797/#/alerts?receiver=team")),
        ],
    )
    .await;
    check(Service::WeCom, "POST /cgi-bin/webhook/send?key=s3cret", &[], &[("/msgtype", json!("markdown"))]).await;
    check(
        Service::WeChat,
        "POST /cgi-bin/message/send?access_token=tok",
        &[],
        &[("/msgtype", json!("text")), ("/safe", json!("0"))],
    )
    .await;
}

#[tokio::test]
async fn the_signed_ones_are_signed() {
    let seen = sent(Service::DingTalk, &[("at_mobiles", FieldValue::Texts(vec!["139".to_owned()]))]).await;
    let start = "POST /robot/send?access_token=s3cret&timestamp=1700000331999&sign=";
    assert!(seen.line.starts_with(start) && seen.line.len() > start.len() + 40, "{}", seen.line);
    let body = seen.json();
    assert_eq!((&body["msgtype"], &body["at"]), (&json!("markdown"), &json!({"atMobiles": ["139"], "isAtAll": false})));
    assert!(body["markdown"]["text"].as_str().unwrap().starts_with("@139\n"));
    let body = sent(Service::Feishu, &[]).await.json();
    assert_eq!((&body["msg_type"], &body["timestamp"]), (&json!("interactive"), &json!("1700000331")));
    assert_eq!(body["sign"].as_str().unwrap().len(), 44);
    assert_eq!(body["card"]["header"]["template"], "red");
    let seen = sent(Service::Sns, &[]).await;
    assert_eq!(seen.header("x-amz-date"), "20231114T221851Z");
    let scope = "AWS4-HMAC-SHA256 Credential=AKID/20231114/eu-west-1/sns/aws4_request, ";
    let signed = "SignedHeaders=content-type;host;x-amz-date, Signature=";
    assert!(seen.header("authorization").starts_with(&format!("{scope}{signed}")), "{seen:?}");
    assert!(seen.body.starts_with("Action=Publish&Version=2010-03-31&Message="), "{}", seen.body);
    assert!(
        seen.body.contains("&TopicArn=arn%3Aaws%3Asns%3Aeu-west-1%3A1%3Aops&Subject=%5BFIRING%3A2%5D+CheckoutDown")
    );
    let fifo = sent(Service::Sns, &[("topic_arn", text("arn:aws:sns:eu-west-1:1:ops.fifo"))]).await;
    assert!(
        fifo.body.contains(&format!("&MessageGroupId={INCIDENT}")) && fifo.body.contains("&MessageDeduplicationId=")
    );
    let seen = sent(Service::Pushover, &[]).await;
    assert_eq!((seen.line.as_str(), seen.header("content-type")), {
        ("POST /1/messages.json", "application/x-www-form-urlencoded")
    });
    for field in ["token=s3cret-t&user=s3cret-u&title=", "&priority=2&retry=60&expire=3600&url=http%3A%2F%2Fhost.test"]
    {
        assert!(seen.body.contains(field), "{field}: {}", seen.body);
    }
}

#[tokio::test]
async fn the_end_is_told_as_the_end_of_the_same_incident() {
    let check = async |service: Service, line: &str, body: &[(&str, Value)]| {
        let (outcome, seen) = deliver_once(service, &needed(service), &resolved(), good(service)).await;
        assert_eq!((outcome, seen[0].line.as_str()), (Outcome::Accepted, line), "{service:?}");
        for (pointer, value) in body {
            assert_eq!(seen[0].json().pointer(pointer), Some(value), "{service:?} {pointer}");
        }
    };
    check(
        Service::PagerDuty,
        "POST /v2/enqueue",
        &[("/event_action", json!("resolve")), ("/dedup_key", json!(INCIDENT))],
    )
    .await;
    let close = format!("POST /v2/alerts/{INCIDENT}/close?identifierType=alias");
    check(Service::OpsGenie, &close, &[]).await;
    let recovery = [("/message_type", json!("RECOVERY")), ("/entity_id", json!(INCIDENT))];
    check(Service::VictorOps, "POST /alert/s3cret/a%2F%2E%2E%2Fb", &recovery).await;
    check(Service::Slack, "POST /services/s3cret", &[("/attachments/0/color", json!("good"))]).await;
    check(Service::Ntfy, "POST /", &[("/priority", json!(3)), ("/tags", json!(["white_check_mark"]))]).await;
}

/// 200, and an error in the body: what passes by itself is tried again, the rest is refused.
#[tokio::test]
async fn an_error_in_a_200_is_an_error() {
    let check = async |service: Service, body: &str, expected: &str| {
        let mut answers = good(service);
        answers.pop();
        answers.push(if body.starts_with("HTTP/1.1") { body.to_owned() } else { answer("200 OK", body) });
        let (outcome, _) = deliver_once(service, &needed(service), &notification(), answers).await;
        let outcome = format!("{outcome:?}");
        assert!(outcome.starts_with(expected), "{service:?} {body}: {outcome}");
    };
    let plain = |body: &str| format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    check(Service::DingTalk, r#"{"errcode":310000,"errmsg":"sign not match"}"#, {
        "Refused { reason: \"answered errcode 310000: sign not match\""
    })
    .await;
    check(Service::DingTalk, r#"{"errcode":130101,"errmsg":"send too fast"}"#, "Retry").await;
    check(Service::DingTalk, "<html>", "Retry").await;
    check(Service::DingTalk, "{}", "Retry").await;
    check(Service::Feishu, r#"{"code":19021,"msg":"sign match fail"}"#, "Refused").await;
    check(Service::Feishu, r#"{"code":11232,"msg":"frequency limited"}"#, "Retry").await;
    check(Service::Feishu, r#"{"StatusCode":0,"StatusMessage":"success"}"#, "Accepted").await;
    check(Service::WeCom, r#"{"errcode":93000,"errmsg":"invalid webhook url"}"#, "Refused").await;
    check(Service::WeCom, r#"{"errcode":45009,"errmsg":"api freq out of limit"}"#, "Retry").await;
    check(Service::WeChat, r#"{"errcode":81013,"errmsg":"user all invalid"}"#, "Refused").await;
    check(Service::WeChat, r#"{"errcode":-1,"errmsg":"busy"}"#, "Retry").await;
    check(Service::Slack, r#"{"ok":false,"error":"channel_not_found"}"#, "Refused").await;
    check(Service::Slack, r#"{"ok":false,"error":"ratelimited"}"#, "Retry").await;
    check(Service::Slack, &plain("invalid_payload"), "Refused { reason: \"answered 200: invalid_payload\"").await;
    check(Service::Telegram, r#"{"ok":false,"error_code":400,"description":"chat not found"}"#, "Refused").await;
    check(Service::RocketChat, r#"{"success":false,"error":"no such channel"}"#, "Refused").await;
    check(Service::Pushover, r#"{"status":0,"errors":["user is invalid"]}"#, "Refused").await;
    check(Service::VictorOps, r#"{"result":"failure","message":"bad key"}"#, "Refused").await;
    let teams = "Webhook message delivery failed with error: Microsoft Teams endpoint returned HTTP error";
    check(Service::MsTeams, &plain(&format!("{teams} 429")), "Retry").await;
    check(Service::MsTeamsV2, &plain(&format!("{teams} 400")), "Refused").await;
}

/// The status alone, for every service: 4xx is for good but for 408, 425 and 429.
#[tokio::test]
async fn every_services_status_is_judged_alike() {
    for service in Service::ALL {
        for (status, expected) in [
            ("400 Bad", "Refused { reason: \"answered 400"),
            ("404 Gone", "Refused"),
            ("302 Found\r\nlocation: http://127.0.0.1:1/", "Refused"),
            ("408 Late", "Retry"),
            ("500 Oh", "Retry { reason: \"answered 500"),
            (
                "503 Busy\r\nretry-after: 7",
                "Retry { reason: \"answered 503 Service Unavailable: {}\", code: Some(503), after: Some(7s)",
            ),
            (
                "429 Slow\r\nretry-after: 9",
                "Retry { reason: \"answered 429 Too Many Requests: {}\", code: Some(429), after: Some(9s)",
            ),
        ] {
            let (outcome, seen) =
                deliver_once(service, &needed(service), &notification(), vec![answer(status, "{}")]).await;
            let outcome = format!("{outcome:?}");
            assert!(outcome.starts_with(expected), "{service:?} {status}: {outcome}");
            assert_eq!(seen.len(), 1, "{service:?}: one request, no redirect");
        }
    }
}

/// Labels as long as they like: every message stays within the service's limit, and ends between characters.
#[tokio::test]
async fn what_is_too_long_is_cut() {
    let mut long = notification();
    for alert in &mut long.alerts {
        alert.annotations.insert("summary".to_owned(), "ä\"😀".repeat(7_000));
    }
    let name = "ö".repeat(3_000);
    long.common_labels.insert("zone".to_owned(), name);
    for service in Service::ALL {
        let (outcome, seen) = deliver_once(service, &needed(service), &long, good(service)).await;
        assert_eq!(outcome, Outcome::Accepted, "{service:?}");
        let (seen, body) = (seen.last().unwrap(), seen.last().unwrap().body.len());
        let chars = |pointer: &str| seen.json().pointer(pointer).unwrap().as_str().unwrap().chars().count();
        let bytes = |pointer: &str| seen.json().pointer(pointer).unwrap().as_str().unwrap().len();
        match service {
            Service::DingTalk | Service::Feishu => assert!((15_000..=20_000).contains(&body), "{body}"),
            Service::MsTeams | Service::MsTeamsV2 => assert!((20_000..=28_000).contains(&body), "{body}"),
            Service::WeCom => assert!((4_090..=4_096).contains(&bytes("/markdown/content"))),
            Service::WeChat => assert!((2_040..=2_048).contains(&bytes("/text/content"))),
            Service::WebEx => assert!((7_430..=7_439).contains(&bytes("/markdown"))),
            Service::Ntfy => assert!((4_090..=4_096).contains(&bytes("/message")) && chars("/title") == 250),
            Service::Discord => assert_eq!((chars("/embeds/0/title"), chars("/embeds/0/description")), (256, 4_096)),
            Service::Slack => assert_eq!(chars("/attachments/0/title"), 1_024),
            Service::RocketChat => assert_eq!(chars("/attachments/0/title"), 1_024),
            Service::Mattermost => assert_eq!(chars("/text"), 16_383),
            Service::Telegram => {
                let units = seen.json()["text"].as_str().unwrap().encode_utf16().count();
                assert!((4_090..=4_096).contains(&units) && seen.json().get("parse_mode").is_none(), "{units}");
            }
            Service::OpsGenie => assert_eq!((chars("/message"), chars("/description")), (130, 15_000)),
            Service::VictorOps => assert_eq!(chars("/state_message"), 20_480),
            Service::PagerDuty => assert!(body <= 512_000 && chars("/payload/summary") == 1_024),
            Service::Jira => assert_eq!((chars("/fields/summary"), chars("/fields/description")), (255, 32_767)),
            Service::IncidentIo => assert!(body <= 512 << 10, "{body}"),
            Service::Pushover => assert!(seen.body.contains("%E2%80%A6") && body < 12_000, "{body}"),
            Service::Sns => assert!(seen.body.contains("&Subject=") && body < 3 * 262_144, "{body}"),
        }
    }
}

#[tokio::test]
async fn jira_finds_its_issue_again_and_moves_it() {
    let mut fields = needed(Service::Jira);
    fields.push(("resolve_transition", text("Done")));
    fields.push(("labels", FieldValue::Texts(vec!["{{ .CommonLabels.severity }}".to_owned()])));
    fields.push(("summary", FieldValue::Tree(json!({"template": "once", "enable_update": false}))));
    fields.push(("fields", FieldValue::Tree(json!({"customfield_1": {"value": "{{ .Status }}"}}))));
    let found = r#"{"issues":[{"key":"OPS-7","fields":{"status":{"statusCategory":{"key":"new"}}}}]}"#;
    let (empty, ok) = ("HTTP/1.1 204 No Content\r\n\r\n".to_owned(), |body: &str| answer("200 OK", body));
    let moves = r#"{"transitions":[{"id":"11","name":"Start"},{"id":"31","name":"Done"}]}"#;
    let answers = vec![ok(found), empty.clone(), ok(moves), empty];
    let (outcome, seen) = deliver_once(Service::Jira, &fields, &resolved(), answers).await;
    assert_eq!(outcome, Outcome::Accepted);
    let lines: Vec<&str> = seen.iter().map(|seen| seen.line.as_str()).collect();
    assert_eq!(
        lines,
        [
            "POST /rest/api/2/search",
            "PUT /rest/api/2/issue/OPS-7",
            "GET /rest/api/2/issue/OPS-7/transitions",
            "POST /rest/api/2/issue/OPS-7/transitions",
        ]
    );
    assert_eq!(seen[0].header("authorization"), "Basic am9lOnB3");
    let jql = format!(
        "statusCategory != Done and project=\"OPS\" and labels=\"ALERT{{{INCIDENT}}}\" order by status ASC,resolutiondate DESC"
    );
    assert_eq!(seen[0].json()["jql"], jql);
    let update = &seen[1].json()["fields"];
    assert_eq!(update["labels"], json!([format!("ALERT{{{INCIDENT}}}"), "critical"]));
    assert!(update.get("summary").is_none() && update["customfield_1"]["value"] == "resolved", "{update}");
    assert_eq!(seen[3].json(), json!({"transition": {"id": "31"}}));
    let (outcome, seen) = deliver_once(Service::Jira, &fields, &resolved(), vec![ok(r#"{"issues":[]}"#)]).await;
    assert_eq!((outcome, seen.len()), (Outcome::Accepted, 1), "no new issue about what is over");
}

#[tokio::test]
async fn wechat_keeps_its_token_and_renews_one_that_ended_early() {
    use super::server::{integration, server};
    let ok = |body: &str| answer("200 OK", body);
    let token = |text: &str| ok(&format!(r#"{{"errcode":0,"access_token":"{text}","expires_in":7200}}"#));
    let good = || ok(r#"{"errcode":0}"#);
    let answers = vec![token("a"), good(), good(), ok(r#"{"errcode":42001,"errmsg":"expired"}"#), token("b"), good()];
    let (address, requests) = server(answers).await;
    let fields = needed(Service::WeChat);
    let prepared = Prepared::new(integration(Service::WeChat, &fields, address), Some(super::templates())).unwrap();
    for _ in 0..3 {
        assert_eq!(deliver(&prepared, &notification(), super::now()).await, Outcome::Accepted);
    }
    let lines: Vec<String> = requests.lock().unwrap().iter().map(|seen| seen.line.clone()).collect();
    assert_eq!(
        lines,
        [
            "GET /cgi-bin/gettoken?corpid=corp&corpsecret=s3cret",
            "POST /cgi-bin/message/send?access_token=a",
            "POST /cgi-bin/message/send?access_token=a",
            "POST /cgi-bin/message/send?access_token=a",
            "GET /cgi-bin/gettoken?corpid=corp&corpsecret=s3cret",
            "POST /cgi-bin/message/send?access_token=b",
        ]
    );
}

#[tokio::test]
async fn slack_updates_a_groups_message_in_place() {
    use super::server::{integration, server};
    let posted = answer("200 OK", r#"{"ok":true,"channel":"C1","ts":"17.1"}"#);
    let (address, requests) = server(vec![posted.clone(), posted.clone(), posted]).await;
    let fields = [
        ("app_url", text("@/api/chat.postMessage")),
        ("app_token", FieldValue::Secret(SecretSource::Inline("xoxb-s3cret".into()))),
        ("channel", text("#ops")),
        ("update_message", FieldValue::Flag(true)),
    ];
    let prepared = Prepared::new(integration(Service::Slack, &fields, address), Some(super::templates())).unwrap();
    for notification in [notification(), resolved(), notification()] {
        assert_eq!(deliver(&prepared, &notification, super::now()).await, Outcome::Accepted);
    }
    let seen = requests.lock().unwrap().clone();
    let lines: Vec<&str> = seen.iter().map(|seen| seen.line.as_str()).collect();
    assert_eq!(lines, ["POST /api/chat.postMessage", "POST /api/chat.update", "POST /api/chat.postMessage"]);
    assert!(seen.iter().all(|seen| seen.header("authorization") == "Bearer xoxb-s3cret"));
    assert_eq!((&seen[0].json()["channel"], seen[0].json().get("ts")), (&json!("#ops"), None));
    assert_eq!((&seen[1].json()["channel"], &seen[1].json()["ts"]), (&json!("C1"), &json!("17.1")));
}

#[tokio::test]
async fn secrets_are_read_from_their_files_at_each_use() {
    let path = std::env::temp_dir().join(format!("brownout-routing-key-{}", std::process::id()));
    let mut fields = needed(Service::PagerDuty);
    fields.retain(|(key, _)| *key != "routing_key");
    fields.push(("routing_key", FieldValue::Secret(SecretSource::File(path.clone()))));
    for key in ["one", "two"] {
        std::fs::write(&path, format!("{key}\n")).unwrap();
        let (_, seen) = deliver_once(Service::PagerDuty, &fields, &notification(), good(Service::PagerDuty)).await;
        assert_eq!(seen[0].json()["routing_key"], key);
    }
    std::fs::remove_file(&path).unwrap();
    let (outcome, seen) = deliver_once(Service::PagerDuty, &fields, &notification(), Vec::new()).await;
    assert!(format!("{outcome:?}").starts_with("Retry { reason: \"cannot read the secret file"), "{outcome:?}");
    assert!(seen.is_empty());
}

#[tokio::test]
async fn a_flood_of_alerts_is_told_in_part_and_not_refused() {
    let mut flood = notification();
    let alert = flood.alerts[0].clone();
    flood.alerts = (0..10_000)
        .map(|at| {
            let mut alert = alert.clone();
            alert.labels.insert("instance".to_owned(), format!("web-{at}"));
            alert
        })
        .collect();
    for service in [Service::Slack, Service::Discord, Service::PagerDuty, Service::Telegram, Service::WeCom] {
        let (outcome, seen) = deliver_once(service, &needed(service), &flood, good(service)).await;
        assert_eq!(outcome, Outcome::Accepted, "{service:?}");
        assert!(seen[0].body.len() < 512_000 && seen[0].body.contains("[FIRING:") || service == Service::Telegram);
    }
}

#[tokio::test]
async fn links_that_act_stand_where_a_service_has_a_place_for_them() {
    let mut it = notification();
    for (name, link) in [("silence", "http://host.test/l/a_b-c"), ("acknowledge", "http://host.test/l/d")] {
        it.links.insert(name.to_owned(), link.to_owned());
    }
    it.common_annotations.insert("runbook_url".to_owned(), "javascript:alert(1)".to_owned());
    let check = async |service: Service, pointer: &str, expected: Value| {
        let (_, seen) = deliver_once(service, &needed(service), &it, good(service)).await;
        let body = seen.last().unwrap().json();
        assert_eq!(body.pointer(pointer), Some(&expected), "{service:?}: {body}");
        let (_, seen) = deliver_once(service, &needed(service), &notification(), good(service)).await;
        assert!(!seen.last().unwrap().body.contains("Acknowledge"), "{service:?}");
    };
    let [silence, acknowledge] = ["http://host.test/l/a_b-c", "http://host.test/l/d"];
    let button = |word: &str, url: &str| json!({"type": "button", "text": word, "url": url});
    check(
        Service::Slack,
        "/attachments/0/actions",
        json!([button("Silence", silence), button("Acknowledge", acknowledge)]),
    )
    .await;
    let key = |word: &str, url: &str| json!({"text": word, "url": url});
    check(Service::Telegram, "/reply_markup/inline_keyboard/0/0", key("Silence", silence)).await;
    check(Service::Ntfy, "/actions/1", json!({"action": "view", "label": "Acknowledge", "url": acknowledge})).await;
    check(Service::PagerDuty, "/links/0", json!({"href": silence, "text": "Silence"})).await;
    check(Service::Feishu, "/card/elements/1/actions/0/url", json!(silence)).await;
    for service in [Service::DingTalk, Service::WeCom] {
        let (_, seen) = deliver_once(service, &needed(service), &it, good(service)).await;
        let said = &seen.last().unwrap().body;
        assert!(said.contains(&format!("[Silence]({silence}) [Acknowledge]({acknowledge})")), "{service:?}: {said}");
    }
}
