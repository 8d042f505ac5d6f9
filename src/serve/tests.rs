//! The server as its clients meet it: over sockets, with a board of switches that changes under them.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use axum::body::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, watch};

use super::*;
use crate::limits as bounds;
use crate::telemetry::Metric;

/// The other ends of what the server reads, kept open.
type Kept = (watch::Sender<bool>, watch::Sender<Arc<About>>, watch::Sender<Arc<Delivery>>, mpsc::Receiver<Ask>);

struct Server {
    address: std::net::SocketAddr,
    boards: watch::Sender<Arc<Switchboard>>,
    telemetry: Telemetry,
    streams: Arc<Semaphore>,
    _kept: Kept,
}

async fn start() -> Server {
    let (boards, switchboard) = watch::channel(Arc::new(sample()));
    let (ready_in, ready) = watch::channel(true);
    let (about_in, about) = watch::channel(Arc::new(About::default()));
    let (delivery_in, delivery) = watch::channel(Arc::new(Delivery::default()));
    let (asks, questions) = mpsc::channel(1);
    let telemetry = Telemetry::new();
    let streams = Arc::new(Semaphore::new(2));
    let shared = Shared::new(Parts {
        asks,
        switchboard,
        ready,
        telemetry: telemetry.clone(),
        clock: Clock::start(),
        about,
        targets: Box::new(Vec::new),
        alertmanagers: Box::new(|| vec!["http://am:9093/api/v2/alerts".to_owned()]),
        queries: Arc::new(Semaphore::new(1)),
        delivery,
        streams: Arc::clone(&streams),
        draws: AtomicU64::new(0),
        limiters: Arc::default(),
        agents: Agents::default(),
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(serve(listener, shared));
    Server { address, boards, telemetry, streams, _kept: (ready_in, about_in, delivery_in, questions) }
}

impl Server {
    async fn send(&self, request: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.expect("connected");
        stream.write_all(request.as_bytes()).await.expect("sent");
        stream
    }

    /// One request, and all of its answer.
    async fn ask(&self, method: &str, path: &str, headers: &str, body: &str) -> String {
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
        );
        let mut answer = String::new();
        self.send(&request).await.read_to_string(&mut answer).await.expect("an answer");
        answer
    }

    /// Another state, one revision on.
    fn change(&self) {
        let mut board = sample();
        board.version = "13-1".into();
        board.flags.values_mut().for_each(|flag| flag.revision += 1);
        self.boards.send_replace(Arc::new(board));
    }
}

/// Reads until the text is there.
async fn until(stream: &mut TcpStream, text: &str) -> String {
    let mut read = String::new();
    while !read.contains(text) {
        let mut some = [0; 4096];
        let length = stream.read(&mut some).await.expect("readable");
        assert!(length > 0, "the stream ended after {read:?}");
        read.push_str(&String::from_utf8_lossy(&some[..length]));
    }
    read
}

#[tokio::test]
async fn the_hot_calls_and_the_router_answer_alike() {
    let server = start().await;
    let evaluate = "/ofrep/v1/evaluate/flags/";
    for (path, headers, body, expected) in [
        ("recs", "", "", "\"value\":\"cached\""),
        ("related", "", r#"{"context":{"targetingKey":"user-1"}}"#, "\"reason\":\"SPLIT\""),
        // What a page of a browser asks, and escapes, go through the router.
        ("recs", "origin: http://localhost\r\n", "{}", "\"value\":\"cached\""),
        ("rec%73", "", "{}", "\"value\":\"cached\""),
        ("recz", "", "{}", "did you mean `recs`"),
        ("recs", "", "[]", "PARSE_ERROR"),
    ] {
        let answer = server.ask("POST", &format!("{evaluate}{path}"), headers, body).await;
        assert!(answer.contains(expected), "{path} {headers}{body}: {answer}");
    }
    // A body that comes in pieces.
    let pieces = "POST /ofrep/v1/evaluate/flags/related HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n\
                  c\r\n{\"context\":{\r\n19\r\n\"targetingKey\":\"user-1\"}}\r\n0\r\n\r\n";
    let mut answer = String::new();
    server.send(pieces).await.read_to_string(&mut answer).await.expect("an answer");
    assert!(answer.contains("\"reason\":\"SPLIT\""), "{answer}");
    let foreign = "POST /ofrep/v1/evaluate/flags/recs HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
    let mut answer = String::new();
    server.send(foreign).await.read_to_string(&mut answer).await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    assert_eq!(server.telemetry.get(Metric::FlagEvaluations, &[("switch", "recs")]), Some(3.0));

    let acquire = "/v1/limits/search/acquire";
    let codes: Vec<String> = [
        server.ask("POST", acquire, "", "").await,
        server.ask("POST", acquire, "", r#"{"tokens": 9}"#).await,
        server.ask("POST", acquire, "", r#"{"tokens": 0}"#).await,
        server.ask("POST", "/v1/limits/recs/acquire", "", "").await,
        server.ask("POST", "/v1/limits/quiet/acquire", "", r#"{"tokens": 1000000}"#).await,
    ]
    .map(|answer| answer[9..12].to_owned())
    .to_vec();
    assert_eq!(codes, ["200", "429", "400", "404", "200"]);
    let answer = server.ask("GET", "/api/v1/alertmanagers", "", "").await;
    assert!(answer.contains(r#""activeAlertmanagers":[{"url":"http://am:9093/api/v2/alerts"}]"#), "{answer}");
}

#[tokio::test]
async fn a_long_poll_ends_with_the_change_that_it_waits_for() {
    let server = start().await;
    let tag = |answer: &str| {
        let line = answer.lines().find(|line| line.starts_with("etag")).expect("a tag");
        line.split('"').nth(1).expect("quoted").to_owned()
    };
    let all = tag(&server.ask("GET", "/v1/switches", "", "").await);
    let one = tag(&server.ask("GET", "/v1/switches/recs", "", "").await);
    assert_eq!(all, "12-1");
    for (path, known) in [("/v1/switches", &all), ("/v1/switches/recs", &one), ("/switches/recs", &one)] {
        let answer = server.ask("GET", path, &format!("if-none-match: \"{known}\"\r\n"), "").await;
        assert!(answer.starts_with("HTTP/1.1 304"), "{path}: {answer}");
        let answer = server.ask("GET", &format!("{path}?wait=1ms&after={known}"), "", "").await;
        assert!(answer.starts_with("HTTP/1.1 304"), "{path}: {answer}");
    }
    let path = format!("/v1/switches/recs?wait=60s&after={one}");
    let (waiting, ()) = tokio::join!(server.ask("GET", &path, "", ""), async {
        // It waits once it has its place among the streams.
        while server.streams.available_permits() == 2 {
            tokio::task::yield_now().await;
        }
        server.change();
    });
    assert!(waiting.starts_with("HTTP/1.1 200") && tag(&waiting) != one, "{waiting}");
}

#[tokio::test]
async fn streams_tell_changes_resume_and_are_bounded() {
    let server = start().await;
    let request = |path: &str, headers: &str| format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n");
    let mut fresh = server.send(&request("/v1/stream", "")).await;
    let first = until(&mut fresh, "id: 12-1").await;
    assert!(first.contains("text/event-stream") && first.contains("\"name\":\"banner\""), "{first}");
    let mut back = server.send(&request("/ofrep/v1/stream", "last-event-id: 12-1\r\n")).await;
    let known = until(&mut back, ":\n\n").await;
    assert!(!known.contains("refetchEvaluation"), "it knows this state: {known}");
    let refused = server.ask("GET", "/v1/stream", "", "").await;
    assert!(refused.starts_with("HTTP/1.1 503"), "a third one is too many: {refused}");
    assert_eq!(server.telemetry.get(Metric::StreamsRefused, &[]), Some(1.0));
    server.change();
    assert!(until(&mut fresh, "id: 13-1").await.contains("event: switch"));
    assert!(until(&mut back, "refetchEvaluation").await.contains("id: 13-1"));
}

#[tokio::test]
async fn grpc_is_spoken_on_the_same_port() {
    let server = start().await;
    let stream = TcpStream::connect(server.address).await.expect("connected");
    let shaken = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
    let (mut sender, connection) = shaken.expect("HTTP/2");
    tokio::spawn(connection);
    let mut call = async |path: &str, kind: &str| {
        let request = axum::http::Request::post(format!("http://localhost{path}"))
            .header("content-type", kind)
            .body(Full::new(Bytes::from_static(&[0; 5])))
            .expect("a request");
        sender.send_request(request).await.expect("an answer")
    };
    let fetched = call("/flagd.sync.v1.FlagSyncService/FetchAllFlags", "application/grpc").await;
    let collected = fetched.into_body().collect().await.expect("a body");
    let status = collected.trailers().and_then(|trailers| trailers.get("grpc-status")).cloned();
    assert_eq!(status.expect("a status"), "0");
    let body = collected.to_bytes();
    assert_eq!(body[1..5], (body.len() as u32 - 5).to_be_bytes(), "the length before the message");
    assert!(String::from_utf8_lossy(&body).contains("\"defaultVariant\":\"cached\""));

    let pushed = call("/flagd.sync.v1.FlagSyncService/SyncFlags", "application/grpc+proto").await;
    let mut frames = pushed.into_body();
    for version in ["12-1", "13-1"] {
        let frame = frames.frame().await.expect("a frame").expect("whole").into_data().expect("data");
        assert!(String::from_utf8_lossy(&frame).contains(&format!("\"version\":\"{version}\"")));
        server.change();
    }
    let unknown =
        call("/no.such.Service/Method", "application/grpc").await.into_body().collect().await.expect("a body");
    assert_eq!(unknown.trailers().expect("trailers")["grpc-status"], "12");
    assert_eq!(call("/", "text/plain").await.status(), 415);
}

#[test]
fn the_bounds_of_streams_leave_room_for_other_connections() {
    const { assert!(bounds::STREAMS < bounds::HTTP_CONNECTIONS) };
}
