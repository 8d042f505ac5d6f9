//! A strict HTTP server on loopback: it takes one well-formed request a connection, and answers from a list.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::super::*;
use super::{now, templates};
use crate::alerts::Notification;
use crate::net::SecretSource;

/// One request as it came.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Method, path and query.
    pub line: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Seen {
    pub fn header(&self, name: &str) -> &str {
        let mut found = self.headers.iter().filter(|(key, _)| key == name);
        let value = found.next().map_or("", |(_, value)| value);
        assert!(found.next().is_none(), "{name} is there once");
        value
    }

    pub fn json(&self) -> Value {
        assert_eq!(self.header("content-type"), "application/json");
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

async fn read(stream: &mut TcpStream) -> Option<Seen> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).expect("an ASCII head");
    let mut lines = head.trim_end().split("\r\n");
    let line = lines.next()?.strip_suffix(" HTTP/1.1").expect("HTTP/1.1").to_owned();
    let pair = |line: &str| {
        let (name, value) = line.split_once(": ").expect("a header");
        (name.to_lowercase(), value.to_owned())
    };
    let mut seen = Seen { line, headers: lines.map(pair).collect(), body: String::new() };
    assert!(!seen.header("host").is_empty() && seen.header("user-agent").starts_with("brownout/"), "{head}");
    let length = seen.header("content-length").parse().unwrap_or(0);
    assert!(seen.line.starts_with("GET ") || length > 0, "a body with its length: {head}");
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    seen.body = String::from_utf8(body).expect("a body in UTF-8");
    Some(seen)
}

/// A whole answer with a body in JSON.
pub fn answer(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

/// A server that gives these answers, one after the other, and then none; and what it was asked.
pub async fn server(answers: Vec<String>) -> (SocketAddr, Arc<Mutex<Vec<Seen>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let requests = Arc::new(Mutex::new(Vec::new()));
    let tell = Arc::clone(&requests);
    tokio::spawn(async move {
        for answer in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let Some(seen) = read(&mut stream).await else { continue };
            tell.lock().unwrap().push(seen);
            // Closed after each: the client must cope.
            let answer = answer.replacen("\r\n", "\r\nconnection: close\r\n", 1);
            stream.write_all(answer.as_bytes()).await.unwrap_or_default();
        }
    });
    (address, requests)
}

/// Fields as the configuration has them; `@` at the beginning of an address is the server's.
pub fn integration(service: Service, fields: &[(&'static str, FieldValue)], address: SocketAddr) -> Integration {
    let mut settings = ServiceSettings::new(service);
    let placed = |text: &str| match text.strip_prefix('@') {
        Some(path) => format!("http://{address}{path}"),
        None => text.to_owned(),
    };
    for (key, value) in fields {
        let value = match value {
            FieldValue::Text(text) => FieldValue::Text(placed(text)),
            FieldValue::Secret(SecretSource::Inline(secret)) => {
                FieldValue::Secret(SecretSource::Inline(placed(secret.expose()).into()))
            }
            value => value.clone(),
        };
        settings.fields.insert(key, value);
    }
    if service == Service::WebEx {
        settings.http.authorization = Some(crate::net::Authorization {
            kind: "Bearer".to_owned(),
            credentials: SecretSource::Inline("t0ken".into()),
        });
    }
    if service == Service::Jira {
        let password = Some(SecretSource::Inline("pw".into()));
        settings.http.basic_auth = Some(crate::net::BasicAuth { username: "joe".to_owned(), password });
    }
    Integration {
        name: format!("{}[0]", service.as_str()),
        send_resolved: true,
        kind: Kind::Service(Box::new(settings)),
    }
}

/// One delivery: its outcome, and the requests that it made.
pub async fn deliver_once(
    service: Service,
    fields: &[(&'static str, FieldValue)],
    notification: &Notification,
    answers: Vec<String>,
) -> (Outcome, Vec<Seen>) {
    let (address, requests) = server(answers).await;
    let prepared = Prepared::new(integration(service, fields, address), Some(templates())).unwrap();
    let outcome = deliver(&prepared, notification, now()).await;
    let seen = requests.lock().unwrap().clone();
    let shown = format!("{outcome:?} {prepared:?}");
    assert!(!shown.contains("s3cret"), "{shown}");
    (outcome, seen)
}

/// The fields that a service needs, with secrets that are recognised.
pub fn needed(service: Service) -> Vec<(&'static str, FieldValue)> {
    let text = |text: &str| FieldValue::Text(text.to_owned());
    let secret = |text: &str| FieldValue::Secret(SecretSource::Inline(text.into()));
    match service {
        Service::DingTalk => {
            vec![("webhook_url", secret("@/robot/send?access_token=s3cret")), ("secret", secret("SECs3cret"))]
        }
        Service::Feishu => {
            vec![("webhook_url", secret("@/open-apis/bot/v2/hook/s3cret")), ("secret", secret("s3cret"))]
        }
        Service::WeCom => vec![("webhook_url", secret("@/cgi-bin/webhook/send?key=s3cret"))],
        Service::Discord | Service::Mattermost | Service::MsTeams | Service::MsTeamsV2 => {
            vec![("webhook_url", secret("@/hook/s3cret"))]
        }
        Service::IncidentIo => vec![("url", secret("@/alerts/s3cret")), ("alert_source_token", secret("s3cret"))],
        Service::Jira => vec![("api_url", text("@/rest/api/2")), ("project", text("OPS")), ("issue_type", text("Bug"))],
        Service::Ntfy => vec![("url", text("@")), ("topic", text("ops")), ("token", secret("tk_s3cret"))],
        Service::OpsGenie => vec![("api_url", text("@/")), ("api_key", secret("s3cret"))],
        Service::PagerDuty => vec![("url", text("@/v2/enqueue")), ("routing_key", secret("s3cret"))],
        Service::Pushover => {
            vec![
                ("api_url", text("@/1/messages.json")),
                ("user_key", secret("s3cret-u")),
                ("token", secret("s3cret-t")),
            ]
        }
        Service::RocketChat => vec![("api_url", text("@/")), ("token", secret("s3cret")), ("token_id", secret("id"))],
        Service::Slack => vec![("api_url", secret("@/services/s3cret"))],
        Service::Sns => vec![
            ("api_url", text("@/")),
            ("topic_arn", text("arn:aws:sns:eu-west-1:1:ops")),
            ("sigv4_region", text("eu-west-1")),
            ("sigv4_access_key", text("AKID")),
            ("sigv4_secret_key", secret("s3cret")),
        ],
        Service::Telegram => {
            vec![("api_url", text("@")), ("bot_token", secret("1:s3cret")), ("chat_id", FieldValue::Number(-42))]
        }
        Service::VictorOps => {
            vec![("api_url", text("@/alert/")), ("api_key", secret("s3cret")), ("routing_key", text("a/../b"))]
        }
        Service::WebEx => vec![("api_url", text("@/v1/messages")), ("room_id", text("room"))],
        Service::WeChat => {
            vec![("api_url", text("@/cgi-bin/")), ("api_secret", secret("s3cret")), ("corp_id", text("corp"))]
        }
    }
}

/// What the service says when all is well, one answer for each of its requests about something that fires.
pub fn good(service: Service) -> Vec<String> {
    let ok = |body: &str| answer("200 OK", body);
    match service {
        Service::DingTalk | Service::WeCom => vec![ok(r#"{"errcode":0,"errmsg":"ok"}"#)],
        Service::Feishu => vec![ok(r#"{"code":0,"msg":"success","data":{}}"#)],
        Service::Discord => vec!["HTTP/1.1 204 No Content\r\n\r\n".to_owned()],
        Service::Slack => vec!["HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 2\r\n\r\nok".to_owned()],
        Service::Telegram => vec![ok(r#"{"ok":true,"result":{}}"#)],
        Service::RocketChat => vec![ok(r#"{"success":true}"#)],
        Service::Pushover => vec![ok(r#"{"status":1,"request":"x"}"#)],
        Service::VictorOps => vec![ok(r#"{"result":"success"}"#)],
        Service::MsTeams => vec![ok("1")],
        Service::Jira => vec![ok(r#"{"issues":[]}"#), answer("201 Created", r#"{"key":"OPS-1"}"#)],
        Service::WeChat => {
            vec![ok(r#"{"errcode":0,"access_token":"tok","expires_in":7200}"#), ok(r#"{"errcode":0,"errmsg":"ok"}"#)]
        }
        _ => vec![answer("202 Accepted", r#"{"status":"success"}"#)],
    }
}
