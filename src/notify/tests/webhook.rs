//! Webhooks and scale webhooks against servers that behave, misbehave, or say nothing.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::super::*;
use super::{notification, now};
use crate::net::{Secret, SecretSource, sign};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// What a server does with a connection after the request.
#[derive(Clone, Copy)]
enum Then {
    Close,
    Hold,
    Reset,
    /// Goes on sending one byte again and again, as fast as it goes.
    Flood(u8),
}

/// One request as it came.
struct Seen {
    head: String,
    body: Vec<u8>,
}

impl Seen {
    fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        let mut found = lines.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value);
        let value = found.next();
        assert!(found.next().is_none(), "{name} is there once");
        value
    }
}

async fn read_request(stream: &mut TcpStream) -> Option<Seen> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let mut seen = Seen { head: String::from_utf8(head).unwrap(), body: Vec::new() };
    let length = seen.header("content-length").map_or(0, |length| length.parse().unwrap());
    seen.body = vec![0; length];
    stream.read_exact(&mut seen.body).await.ok()?;
    Some(seen)
}

async fn serve(answer: impl Into<String>, then: Then) -> (SocketAddr, mpsc::Receiver<Seen>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, requests) = mpsc::channel(9);
    let answer = answer.into();
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let Some(seen) = read_request(&mut stream).await else { continue };
            let _ = tell.send(seen).await;
            let _ = stream.write_all(answer.as_bytes()).await;
            match then {
                Then::Close => {}
                Then::Hold => held.push(stream),
                Then::Reset => stream.set_zero_linger().unwrap(),
                Then::Flood(byte) => {
                    tokio::spawn(async move { while stream.write_all(&[byte; 4096]).await.is_ok() {} });
                }
            }
        }
    });
    (address, requests)
}

fn settings(url: &str) -> WebhookSettings {
    WebhookSettings::new(SecretSource::Inline(url.into()))
}

fn prepared(settings: WebhookSettings) -> Prepared {
    let kind = Kind::Webhook(Box::new(settings));
    Prepared::new(Integration { name: "webhook[0]".to_owned(), send_resolved: true, kind }, None).unwrap()
}

async fn outcome(answer: impl Into<String>, then: Then) -> Outcome {
    outcome_within(answer, then, None).await
}

async fn outcome_within(answer: impl Into<String>, then: Then, timeout: Option<Duration>) -> Outcome {
    let (address, mut requests) = serve(answer, then).await;
    let mut settings = settings(&format!("http://{address}/hook/t0ken?key=s3cret"));
    settings.timeout = timeout;
    let prepared = prepared(settings);
    let outcome = deliver(&prepared, &notification(), now()).await;
    assert!(requests.recv().await.is_some());
    assert!(requests.try_recv().is_err(), "one delivery is one request");
    let text = format!("{outcome:?} {prepared:?}");
    assert!(!text.contains("t0ken") && !text.contains("s3cret"), "{text}");
    outcome
}

#[tokio::test]
async fn the_request_carries_body_id_time_and_signature() {
    let (address, mut requests) = serve("HTTP/1.1 204 No Content\r\n\r\n", Then::Close).await;
    let mut settings = settings(&format!("http://{address}/hook"));
    settings.signing_secrets = vec![SecretSource::Inline(SECRET.into()); 2];
    settings.max_alerts = 2;
    let prepared = prepared(settings);
    assert_eq!(deliver(&prepared, &notification(), now()).await, Outcome::Accepted);
    let seen = requests.recv().await.unwrap();
    assert!(seen.head.starts_with("POST /hook HTTP/1.1\r\n"), "{}", seen.head);
    assert_eq!(seen.header("content-type"), Some("application/json"));
    assert_eq!(seen.header("user-agent"), Some(crate::net::USER_AGENT));
    assert_eq!(seen.header("webhook-id"), Some("d-7/3"));
    assert_eq!(seen.header("webhook-timestamp"), Some("1700000331"));
    let secrets = [Secret::from(SECRET), Secret::from(SECRET)];
    let expected = sign::standard_webhook(&secrets, "d-7/3", 1_700_000_331, &seen.body).unwrap();
    assert_eq!(seen.header("webhook-signature"), Some(expected.as_str()));
    let body: serde_json::Value = serde_json::from_slice(&seen.body).unwrap();
    assert_eq!((body["alerts"].as_array().unwrap().len(), &body["truncatedAlerts"]), (2, &1.into()));
}

#[tokio::test]
async fn the_status_decides() {
    let check = async |status: &str, expected: &str| {
        let outcome = outcome(format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n"), Then::Close).await;
        let found = match outcome {
            Outcome::Accepted => "accepted".to_owned(),
            Outcome::Retry { code, after, .. } => format!("retry {} {after:?}", code.unwrap_or(0)),
            Outcome::Refused { reason } => format!("refused {reason}"),
        };
        assert!(found.starts_with(expected), "{status}: {found}");
    };
    check("200 OK", "accepted").await;
    check("202 Accepted", "accepted").await;
    check("500 Oh", "retry 500 None").await;
    check("503 Busy\r\nretry-after: 7", "retry 503 Some(7s)").await;
    check("429 Slow\r\nretry-after: 3600", "retry 429 Some(3600s)").await;
    check("429 Slow\r\nretry-after: Tue, 14 Nov 2023 22:19:52 GMT", "retry 429 Some(60.001s)").await;
    check("408 Late", "retry 408").await;
    check("425 Early", "retry 425").await;
    check("400 Bad", "refused answered 400").await;
    check("404 Gone", "refused answered 404").await;
    check("410 Gone", "refused answered 410").await;
    check("302 Found\r\nlocation: http://169.254.169.254/", "refused answered 302 Found (redirects are not").await;
}

#[tokio::test]
async fn a_failures_body_is_repeated_in_part_and_harmless() {
    let body = format!("bad \u{1b}[31m\r\nlabel {}", "x".repeat(500));
    let answer = format!("HTTP/1.1 500 Oh\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let Outcome::Retry { reason, .. } = outcome(answer, Then::Close).await else { panic!("retry") };
    let start = "answered 500 Internal Server Error: bad \u{fffd}[31m label xxx";
    assert!(reason.starts_with(start) && reason.ends_with('…') && reason.len() < 300, "{reason}");
}

#[tokio::test]
async fn misbehaviour_is_tried_again_and_ends_in_time() {
    let endless = "HTTP/1.1 500 Oh\r\ncontent-length: 100000000\r\n\r\n";
    for (answer, then) in [
        ("", Then::Close),
        ("", Then::Hold),
        ("", Then::Reset),
        ("HTTP/1.1 200 ", Then::Hold),
        ("HTTP/1.1 200 OK\r\nx: ", Then::Flood(b'a')),
        ("SSH-2.0-x\r\n", Then::Close),
        (endless, Then::Hold),
        (endless, Then::Flood(b'a')),
    ] {
        let outcome = outcome_within(answer, then, Some(Duration::from_millis(500))).await;
        assert!(matches!(outcome, Outcome::Retry { .. }), "{answer:?} {outcome:?}");
    }
}

#[tokio::test]
async fn a_body_that_drips_does_not_delay_a_success() {
    let answer = "HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\no";
    assert_eq!(outcome(answer, Then::Hold).await, Outcome::Accepted);
    assert_eq!(outcome(answer, Then::Flood(b'a')).await, Outcome::Accepted);
}

#[tokio::test]
async fn destinations_that_cannot_be_meant_are_not_called() {
    let check = async |url: &str, expected: &str| {
        let outcome = deliver(&prepared(settings(url)), &notification(), now()).await;
        assert!(format!("{outcome:?}").contains(expected), "{outcome:?}");
    };
    check("http://169.254.169.254/latest", "Refused { reason: \"169.254.169.254 is a link-local").await;
    check("http://[fe80::1]/", "link-local").await;
    check("ftp://host.test/", "http:// or https://").await;
    check("nonsense", "http:// or https://").await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    check(&format!("http://{address}/t0ken"), &format!("post to http://{address}: ")).await;
    let mut missing = settings("");
    missing.url = SecretSource::File("/nonexistent/url".into());
    let outcome = deliver(&prepared(missing), &notification(), now()).await;
    assert!(format!("{outcome:?}").contains("cannot read the secret file"), "{outcome:?}");
}

#[test]
fn a_signing_secret_is_checked_before_the_first_delivery() {
    let mut settings = settings("http://host.test/");
    settings.signing_secrets = vec![SecretSource::Inline("short".into())];
    let error = ScaleTarget::new(&settings).unwrap_err().to_string();
    assert!(error.starts_with("secret: ") && !error.contains("short"), "{error}");
}

fn call() -> ScaleCall {
    ScaleCall {
        id: "s-1".to_owned(),
        target: "checkout".to_owned(),
        desired: 12,
        current: None,
        min: 3,
        max: 30,
        step: Some(4),
        reason: "load".to_owned(),
        rule: "scale/checkout".to_owned(),
        expression: "ceil(x)".to_owned(),
        value: 11.5,
        generation: 7,
        not_after: now() + Duration::from_secs(60),
        idempotency_key: "checkout\r\n-7".to_owned(),
        dry_run: false,
        at: now(),
    }
}

#[tokio::test]
async fn a_scale_call_is_signed_and_repeats_its_key() {
    let (address, mut requests) = serve("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", Then::Close).await;
    let mut settings = settings(&format!("http://{address}/"));
    settings.signing_secrets = vec![SecretSource::Inline(SECRET.into())];
    let prepared = ScaleTarget::new(&settings).unwrap();
    assert_eq!(call_scale(&prepared, &call(), now()).await, Outcome::Accepted);
    let seen = requests.recv().await.unwrap();
    assert_eq!(seen.header("idempotency-key"), Some("checkout -7"));
    assert_eq!(seen.header("webhook-id"), Some("s-1"));
    assert!(seen.header("webhook-signature").unwrap().starts_with("v1,"));
    let expected = concat!(
        r#"{"version":"1","id":"s-1","target":"checkout","desired":12,"current":null,"min":3,"max":30,"step":4,"#,
        r#""reason":"load","rule":"scale/checkout","expression":"ceil(x)","value":11.5,"generation":7,"#,
        r#""not_after":"2023-11-14T22:19:51.999Z","idempotency_key":"checkout\r\n-7","dry_run":false,"#,
        r#""at":"2023-11-14T22:18:51.999Z"}"#,
    );
    assert_eq!(String::from_utf8(seen.body).unwrap(), expected);
    let late = call_scale(&prepared, &call(), now() + Duration::from_secs(60)).await;
    assert!(matches!(late, Outcome::Refused { .. }), "{late:?}");
    assert!(requests.try_recv().is_err(), "a wish past its end is not sent");
}

#[tokio::test]
async fn a_scale_call_can_be_a_cloud_event_in_either_mode() {
    let secrets = [Secret::from(SECRET)];
    let good = |seen: &Seen| {
        let expected = sign::standard_webhook(&secrets, "s-1", 1_700_000_331, &seen.body).unwrap();
        assert_eq!(seen.header("webhook-id"), Some("s-1"));
        assert_eq!(seen.header("webhook-signature"), Some(expected.as_str()), "the body is signed as it is");
        assert_eq!(seen.header("idempotency-key"), Some("checkout -7"));
    };
    let call = ScaleCall { target: "Küche".into(), ..call() };
    let of = async |format| {
        let (address, mut requests) = serve("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", Then::Close).await;
        let mut settings = settings(&format!("http://{address}/"));
        (settings.signing_secrets, settings.format) = (vec![SecretSource::Inline(SECRET.into())], format);
        let target = ScaleTarget::new(&settings).unwrap();
        assert_eq!(call_scale(&target, &call, now()).await, Outcome::Accepted);
        requests.recv().await.unwrap()
    };
    let data: serde_json::Value = serde_json::from_slice(&call.to_json()).unwrap();

    let structured = of(CallFormat::CloudEvents).await;
    good(&structured);
    assert_eq!(structured.header("content-type"), Some("application/cloudevents+json; charset=utf-8"));
    let event: serde_json::Value = serde_json::from_slice(&structured.body).unwrap();
    for (attribute, expected) in [
        ("specversion", "1.0"),
        ("id", "s-1"),
        ("type", "brownout.scale.requested"),
        ("subject", "Küche"),
        ("time", "2023-11-14T22:18:51.999Z"),
        ("datacontenttype", "application/json"),
    ] {
        assert_eq!(event[attribute], expected, "{attribute}");
    }
    let source = event["source"].as_str().unwrap().to_owned();
    assert!(source.starts_with("//") && source.ends_with("/brownout"), "{source}");
    assert_eq!(event["data"], data);

    let binary = of(CallFormat::CloudEventsBinary).await;
    good(&binary);
    for (header, expected) in [
        ("content-type", "application/json"),
        ("ce-specversion", "1.0"),
        ("ce-id", "s-1"),
        ("ce-type", "brownout.scale.requested"),
        ("ce-subject", "K%C3%BCche"),
        ("ce-source", &source),
        ("ce-time", "2023-11-14T22:18:51.999Z"),
    ] {
        assert_eq!(binary.header(header), Some(expected), "{header}");
    }
    assert_eq!(serde_json::from_slice::<serde_json::Value>(&binary.body).unwrap(), data);
}

#[test]
fn a_value_that_is_no_number_still_has_a_json_form() {
    let call = ScaleCall { value: f64::NAN, ..call() };
    let body: serde_json::Value = serde_json::from_slice(&call.to_json()).unwrap();
    assert!(body["value"].is_null());
}
