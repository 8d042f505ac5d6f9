use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;
use crate::net::Client;

/// A server that takes one request after the other, on a connection each, and answers each with the next of these; an
/// answer is a status and a body. Gives its address and what it was asked.
async fn server(answers: &'static [(u16, &'static str)]) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let heard = Arc::clone(&asked);
    tokio::spawn(async move {
        for (status, body) in answers {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let mut request = Vec::new();
            while !is_whole(&request) {
                let mut piece = [0; 4096];
                let read = stream.read(&mut piece).await.expect("a request");
                assert!(read > 0, "the request broke off: {}", String::from_utf8_lossy(&request));
                request.extend_from_slice(&piece[..read]);
            }
            heard.lock().expect("a lock").push(String::from_utf8(request).expect("text"));
            let head = format!("HTTP/1.1 {status} x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
            stream.write_all(format!("{head}{body}").as_bytes()).await.expect("an answer");
        }
    });
    (url, asked)
}

fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request).to_ascii_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
    body.len() >= length.unwrap_or(0)
}

fn settings(token_url: &str) -> OAuth2 {
    OAuth2 {
        client_id: "a b".to_owned(),
        client_secret: Some(SecretSource::Inline("p&ss:%".into())),
        scopes: vec!["write".to_owned(), "read".to_owned()],
        token_url: format!("{token_url}/token"),
        endpoint_params: BTreeMap::from([("audience".to_owned(), "https://x/".to_owned())]),
        tls: TlsSettings::default(),
        proxy_url: None,
    }
}

fn client(token_url: &str) -> Client {
    let settings = HttpSettings { oauth2: Some(settings(token_url)), ..HttpSettings::default() };
    crate::net::client(&settings).expect("a client")
}

async fn get(client: &Client, url: &str) -> Result<u16, String> {
    let sent = client.send(|client| client.get(format!("{url}/x"))).await;
    sent.map(|response| response.status().as_u16()).map_err(|error| error.to_string())
}

/// The values of a header in the requests, without the scheme's name.
fn authorizations(asked: &Mutex<Vec<String>>) -> Vec<String> {
    let of = |request: &String| {
        let line = request.lines().find(|line| line.to_ascii_lowercase().starts_with("authorization: "));
        line.map_or_else(String::new, |line| line["authorization: ".len()..].to_owned())
    };
    asked.lock().expect("a lock").iter().map(of).collect()
}

#[tokio::test]
async fn one_token_is_fetched_for_many_requests_and_anew_before_its_end() {
    let (tokens, asked) = server(&[
        (200, r#"{"access_token":"one","token_type":"bearer","expires_in":"3600"}"#),
        (200, r#"{"access_token":"two","token_type":"MAC","expires_in":11}"#),
    ])
    .await;
    let (target, seen) = server(&[(200, ""), (404, ""), (200, "")]).await;
    let client = client(&tokens);
    assert_eq!(get(&client, &target).await, Ok(200));
    assert_eq!(get(&client, &target).await, Ok(404));
    // 3,589 s later it is still good, then it is not. The connection needs the real clock.
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(3_591)).await;
    tokio::time::resume();
    assert_eq!(get(&client, &target).await, Ok(200));
    assert_eq!(authorizations(&seen), ["Bearer one", "Bearer one", "MAC two"]);
    let asked = asked.lock().expect("a lock").clone();
    assert!(asked[0].starts_with("POST /token HTTP/1.1\r\n"), "{}", asked[0]);
    assert!(asked[0].contains("uthorization: Basic YStiOnAlMjZzcyUzQSUyNQ=="), "a+b:p%26ss%3A%25 in {}", asked[0]);
    assert!(asked[0].ends_with("grant_type=client_credentials&scope=write+read&audience=https%3A%2F%2Fx%2F"));
}

#[tokio::test]
async fn a_token_that_is_not_taken_any_more_is_fetched_anew_once() {
    const GRANT: (u16, &str) = (200, r#"{"access_token":"t"}"#);
    let (tokens, asked) = server(&[(200, r#"{"access_token":"old"}"#), GRANT, GRANT]).await;
    let (target, seen) = server(&[(200, ""), (401, ""), (200, ""), (401, ""), (401, "")]).await;
    let client = client(&tokens);
    assert_eq!(get(&client, &target).await, Ok(200));
    assert_eq!(get(&client, &target).await, Ok(200));
    assert_eq!(get(&client, &target).await, Ok(401), "a new one is refused, too: that is the answer");
    assert_eq!(authorizations(&seen), ["Bearer old", "Bearer old", "Bearer t", "Bearer t", "Bearer t"]);
    assert_eq!(asked.lock().expect("a lock").len(), 3);
}

#[tokio::test]
async fn a_server_that_wants_the_secret_in_the_body_gets_it_there() {
    let (tokens, asked) = server(&[
        (401, r#"{"error":"invalid_client"}"#),
        (200, r#"{"access_token":"one","expires_in":1}"#),
        (200, r#"{"access_token":"two"}"#),
    ])
    .await;
    let (target, seen) = server(&[(200, ""), (200, "")]).await;
    let client = client(&tokens);
    assert_eq!(get(&client, &target).await, Ok(200));
    assert_eq!(get(&client, &target).await, Ok(200), "one lasted for a second: too short to be used again");
    assert_eq!(authorizations(&seen), ["Bearer one", "Bearer two"]);
    assert_eq!(authorizations(&asked)[1..], ["", ""], "the way that worked is remembered");
    let asked = asked.lock().expect("a lock").clone();
    assert!(asked[1].ends_with("&client_id=a+b&client_secret=p%26ss%3A%25"), "{}", asked[1]);
}

#[tokio::test]
async fn without_a_token_nothing_is_sent_and_the_reason_is_said() {
    const DENIED: (u16, &str) = (400, r#"{"error":"invalid_scope","error_description":"no such scope"}"#);
    let check = async |answers: &'static [(u16, &'static str)], part: &str| {
        let (tokens, _) = server(answers).await;
        let (target, seen) = server(&[(200, "")]).await;
        let error = get(&client(&tokens), &target).await.expect_err("no token");
        assert!(error.starts_with(&format!("no oauth2 token from {tokens}: {part}")), "{error}");
        assert!(!error.contains("p&ss") && seen.lock().expect("a lock").is_empty());
    };
    check(&[DENIED, (401, "")], "answered 400 Bad Request: invalid_scope: no such scope").await;
    check(&[(503, "busy")], "answered 503 Service Unavailable").await;
    check(&[(200, "<html>"), (200, "<html>")], "the answer is no JSON with an `access_token`").await;
    check(&[(200, r#"{"access_token":""}"#)], "the `access_token` is empty").await;
    check(&[(200, r#"{"access_token":"a\nb"}"#)], "the token has characters a header cannot have").await;
    let gone = settings("http://127.0.0.1:1");
    let gone = HttpSettings { oauth2: Some(gone), ..HttpSettings::default() };
    let error =
        get(&crate::net::client(&gone).expect("a client"), "http://127.0.0.1:1").await.expect_err("nobody there");
    assert!(error.starts_with("no oauth2 token from http://127.0.0.1:1: "), "{error}");
}
