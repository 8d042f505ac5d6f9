//! The API's shapes and verdicts, without a socket.

use std::time::Duration;

use serde_json::{Value, json};

use super::params::{Params, is_uuid};
use super::{alerts, body, silences, status};
use crate::alerts::{Alerts, GroupBy, InhibitRule, IntegrationSpec, ReceiverSpec, Route, Settings, parse_matchers};
use crate::time::Timestamp;

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

fn settings() -> Settings {
    let receiver = |name: &str| ReceiverSpec {
        name: name.to_owned(),
        integrations: vec![IntegrationSpec {
            name: "webhook[0]".to_owned(),
            send_resolved: true,
            max_alerts: 0,
            rate_limit: None,
        }],
    };
    let page = Route {
        receiver: Some("page".to_owned()),
        matchers: parse_matchers("severity=page").expect("a matcher"),
        ..Route::default()
    };
    Settings {
        route: Route {
            receiver: Some("mail".to_owned()),
            group_by: Some(GroupBy::Labels(vec!["alertname".to_owned()])),
            routes: vec![page],
            ..Route::default()
        },
        receivers: vec![receiver("mail"), receiver("page")],
        inhibit_rules: vec![InhibitRule {
            name: "node".to_owned(),
            source_matchers: parse_matchers("alertname=NodeDown").expect("a matcher"),
            target_matchers: parse_matchers("alertname!=NodeDown").expect("a matcher"),
            equal: vec!["node".to_owned()],
        }],
        ..Settings::default()
    }
}

/// Alerts of which one is silenced and one inhibited.
fn world() -> Alerts {
    let mut machine = Alerts::new(settings(), 1);
    let posted = body::alerts(
        br#"[{"labels":{"alertname":"NodeDown","node":"a","severity":"page","empty":""},"generatorURL":"http://g/"},
             {"labels":{"alertname":"Slow","node":"a"},"annotations":{"summary":"slow"}},
             {"labels":{"alertname":"Full","node":"b"},"endsAt":"2023-11-14T23:00:00Z"},
             {"labels":{"alertname":"Over","node":"b"},"endsAt":"2023-11-14T22:00:00Z"}]"#,
    );
    for alert in posted.expect("alerts").good {
        machine.put(NOW, alert).expect("valid");
    }
    let silence = json!({
        "matchers": [{ "name": "alertname", "value": "Ful.", "isRegex": true }],
        "startsAt": "2023-11-14T22:13:20Z", "endsAt": "2023-11-15T00:13:20Z", "createdBy": "ann", "comment": "moving",
    });
    let silence = body::silence(silence.to_string().as_bytes()).expect("a silence");
    machine.set_silence(NOW, silence).expect("set");
    machine
}

fn read(text: Result<String, super::answer::ApiError>) -> Value {
    serde_json::from_str(&text.expect("an answer")).expect("JSON")
}

#[test]
fn an_alert_has_every_field_of_the_api() {
    let wanted = alerts::Wanted::read(&Params::of("filter=alertname%3DNodeDown")).expect("parameters");
    let list = read(alerts::listed(&world(), NOW, &wanted));
    assert_eq!(
        list,
        json!([{
            "annotations": {},
            "endsAt": "2023-11-14T22:18:20.000Z",
            "fingerprint": list[0]["fingerprint"],
            "receivers": [{ "name": "page" }],
            "startsAt": "2023-11-14T22:13:20.000Z",
            "status": { "inhibitedBy": [], "mutedBy": [], "silencedBy": [], "state": "active" },
            "updatedAt": "2023-11-14T22:13:20.000Z",
            "generatorURL": "http://g/",
            "labels": { "alertname": "NodeDown", "node": "a", "severity": "page" },
        }])
    );
    assert_eq!(list[0]["fingerprint"].as_str().map(str::len), Some(16));
}

#[test]
fn alerts_are_filtered_as_in_alertmanager() {
    let machine = world();
    let check = |query: &str, expected: &[&str]| {
        let wanted = alerts::Wanted::read(&Params::of(query)).expect("parameters");
        let list = read(alerts::listed(&machine, NOW, &wanted));
        let mut names: Vec<&str> =
            list.as_array().expect("a list").iter().filter_map(|alert| alert["labels"]["alertname"].as_str()).collect();
        names.sort_unstable();
        assert_eq!(names, expected, "{query}");
        assert_eq!(
            read(alerts::grouped(&machine, NOW, &wanted, true)).as_array().map(Vec::len),
            Some(expected.len()),
            "{query}"
        );
    };
    check("", &["Full", "NodeDown", "Slow"]);
    check("silenced=false", &["NodeDown", "Slow"]);
    check("inhibited=false", &["Full", "NodeDown"]);
    check("active=false", &["Full", "Slow"]);
    check("active=true&silenced=false&inhibited=false&unprocessed=false", &["NodeDown"]);
    check("filter=node%3D%22a%22", &["NodeDown", "Slow"]);
    check("filter=node%3Da&filter=alertname!~%22N.*%22", &["Slow"]);
    check("filter=severity!%3Dpage", &["Full", "Slow"]);
    check("filter=nothing%3D%22%22", &[]);
    check("receiver=pa.e", &["NodeDown"]);
    check("receiver=pa", &[]);
    check("receiver_matchers=owner%3Dme", &[]);
    check("receiver_matchers=owner!%3Dme", &["Full", "NodeDown", "Slow"]);
}

#[test]
fn groups_carry_their_receiver_and_leave_out_what_is_muted() {
    let machine = world();
    let wanted = || alerts::Wanted::read(&Params::of("")).expect("parameters");
    let groups = read(alerts::grouped(&machine, NOW, &wanted(), true));
    let named = |group: &Value| format!("{}/{}", group["receiver"]["name"], group["labels"]["alertname"]);
    let names: Vec<String> = groups.as_array().expect("a list").iter().map(named).collect();
    assert_eq!(names, ["\"mail\"/\"Full\"", "\"page\"/\"NodeDown\"", "\"mail\"/\"Slow\""]);
    assert_eq!(groups[0]["routeLabels"], json!({}));
    let loud = read(alerts::grouped(&machine, NOW, &wanted(), false));
    assert_eq!(loud.as_array().map(Vec::len), Some(1));
}

#[test]
fn silences_are_shown_filtered_and_sorted() {
    let mut machine = world();
    let mut add = |matcher: &str, from: i64, to: i64| {
        let silence = crate::alerts::SilenceIn {
            id: None,
            matchers: parse_matchers(matcher).expect("matchers"),
            starts_at: NOW + Duration::from_secs(from.unsigned_abs()),
            ends_at: NOW + Duration::from_secs(to.unsigned_abs()),
            created_by: "bob".to_owned(),
            comment: "test".to_owned(),
            annotations: Default::default(),
        };
        machine.set_silence(NOW, silence).expect("set")
    };
    add("job=x", 600, 900);
    let over = add("job!=\"\"", 0, 60);
    machine.expire_silence(NOW, &over).expect("ended");
    let check = |query: &str, expected: &[&str]| {
        let wanted = silences::Wanted::read(&Params::of(query)).expect("parameters");
        let list = read(silences::listed(&machine, NOW, &wanted));
        let states: Vec<&str> =
            list.as_array().expect("a list").iter().filter_map(|silence| silence["status"]["state"].as_str()).collect();
        assert_eq!(states, expected, "{query}");
    };
    check("", &["active", "pending", "expired"]);
    check("expired=false", &["active", "pending"]);
    check("active=false&pending=false", &["expired"]);
    check("filter=job%3Dx", &["pending"]);
    check("filter=alertname%3D~%22Fu.*%22", &["active"]);
    let list = read(silences::listed(&machine, NOW, &silences::Wanted::read(&Params::of("")).expect("parameters")));
    assert_eq!(
        list[0]["matchers"],
        json!([{ "isEqual": true, "isRegex": true, "name": "alertname", "value": "Ful." }])
    );
    assert_eq!(list[2]["matchers"][0]["isEqual"], json!(false));
    assert_eq!(list[0]["endsAt"], json!("2023-11-15T00:13:20.000Z"));
    assert!(is_uuid(list[0]["id"].as_str().expect("an id")));
}

#[test]
fn what_is_wrong_with_a_request_is_said_in_alertmanagers_way() {
    use super::answer::ApiError::{Bad, Invalid, Unreadable};
    let params = |query: &str| alerts::Wanted::read(&Params::of(query)).err().expect("refused");
    assert!(matches!(params("active=perhaps"), Invalid(message) if message.contains("active in query")));
    assert!(matches!(params("filter=a%3D%22"), Bad(message) if message.starts_with("bad matcher format: ")));
    assert!(matches!(params("filter="), Bad(_)));
    assert!(matches!(params("receiver=("), Bad(message) if message.starts_with("failed to parse receiver param: ")));
    let silence = |text: &str| body::silence(text.as_bytes()).expect_err("refused");
    assert!(matches!(silence("{"), Unreadable(_)));
    assert_eq!(silence("{}"), Invalid("matchers in body is required".to_owned()));
    let with = |matchers: &str, rest: &str| silence(&format!("{{\"matchers\":{matchers}{rest}}}"));
    assert_eq!(with("[]", ""), Invalid("matchers in body should have at least 1 items".to_owned()));
    let one = r#"[{"name":"a","value":"b","isRegex":false}]"#;
    assert_eq!(with(r#"[{"name":"a","value":"b"}]"#, ""), Invalid("matchers.0.isRegex in body is required".to_owned()));
    assert_eq!(with(one, ""), Invalid("startsAt in body is required".to_owned()));
    assert!(matches!(with(one, r#","startsAt":"soon""#), Unreadable(_)));
    assert!(matches!(with(r#"[{"name":"a","value":"(","isRegex":true}]"#, ""), Bad(_)));
    assert!(
        matches!(body::alerts(br#"[{"annotations":{}}]"#), Err(Invalid(message)) if message == "0.labels in body is required")
    );
    assert!(matches!(body::alerts(b"{}"), Err(Unreadable(_))));
    let mixed = body::alerts(br#"[{"labels":{"":"x"}},{"labels":{"a":"b"},"startsAt":"0001-01-01T00:00:00.000Z"}]"#);
    let mixed = mixed.expect("read");
    assert_eq!((mixed.good.len(), mixed.refused.len()), (1, 1));
    assert_eq!(mixed.good[0].starts_at, None, "Go's zero time is none");
    assert!(!is_uuid("nothing") && is_uuid("6719b1a5-5c0f-4b46-a2d3-0d5e3a2f2a3e"));
}

#[test]
fn the_configuration_is_shown_in_alertmanagers_own_grammar() {
    let text = status::original(&settings());
    let value: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(value["route"]["receiver"], "mail");
    assert_eq!(value["route"]["routes"][0]["matchers"], json!(["severity=\"page\""]));
    assert_eq!(value["inhibit_rules"][0]["target_matchers"], json!(["alertname!=\"NodeDown\""]));
    assert_eq!(value["receivers"], json!([{ "name": "mail" }, { "name": "page" }]));
}
