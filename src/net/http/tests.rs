//! The client against servers on loopback that answer byte for byte what a test says.

use std::path::PathBuf;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

/// Answers each connection with the same bytes and gives back what the first request looked like.
async fn serve(answer: &'static [u8]) -> (SocketAddr, tokio::sync::oneshot::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, request) = tokio::sync::oneshot::channel();
    tokio::spawn(async move {
        let mut tell = Some(tell);
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = vec![0; 4096];
            let read = stream.read(&mut head).await.unwrap_or(0);
            if let Some(tell) = tell.take() {
                let _ = tell.send(String::from_utf8_lossy(&head[..read]).into_owned());
            }
            let _ = stream.write_all(answer).await;
        }
    });
    (address, request)
}

fn temp(name: &str, text: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("brownout-net-{}-{name}", std::process::id()));
    std::fs::write(&path, text).unwrap();
    path
}

#[tokio::test]
async fn credentials_headers_and_our_name_are_sent() {
    let (address, request) = serve(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    let settings = HttpSettings {
        basic_auth: Some(BasicAuth {
            username: "joe".to_owned(),
            password: Some(SecretSource::File(temp("pw", "secret\n"))),
        }),
        headers: vec![("X-Scope".to_owned(), SecretSource::Inline("a".into()))],
        ..HttpSettings::default()
    };
    let response = plain_client(&settings).unwrap().get(format!("http://{address}/")).send().await.unwrap();
    assert_eq!(read_capped(response, 2).await.unwrap(), "ok");
    let request = request.await.unwrap();
    assert!(request.contains("authorization: Basic am9lOnNlY3JldA==\r\n"), "{request}");
    assert!(request.contains("x-scope: a\r\n") && request.contains(&format!("user-agent: {USER_AGENT}\r\n")));
    assert!(!format!("{settings:?}").contains("secret\n"));
}

#[tokio::test]
async fn a_redirect_is_only_followed_when_asked_for() {
    let (address, _) = serve(b"HTTP/1.1 302 Found\r\nlocation: /next\r\ncontent-length: 0\r\n\r\n").await;
    let response =
        plain_client(&HttpSettings::default()).unwrap().get(format!("http://{address}/")).send().await.unwrap();
    assert_eq!(response.status(), 302);
    let following = plain_client(&HttpSettings { follow_redirects: true, ..HttpSettings::default() }).unwrap();
    let error = following.get(format!("http://{address}/")).send().await.unwrap_err();
    assert!(error.is_redirect(), "{error}");
}

#[tokio::test]
async fn a_body_past_the_limit_is_refused_whether_or_not_it_is_announced() {
    let announced = b"HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n0123456789";
    let endless = b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n01234567890123456789";
    for answer in [announced.as_slice(), endless.as_slice()] {
        let (address, _) = serve(answer).await;
        let response = plain_client(&HttpSettings::default()).unwrap().get(format!("http://{address}/")).send().await;
        assert!(matches!(read_capped(response.unwrap(), 10).await, Err(NetError::TooLarge(10))));
    }
}

#[tokio::test]
async fn silence_ends_at_the_deadline() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let settings = HttpSettings { timeout: Some(Duration::from_millis(50)), ..HttpSettings::default() };
    let error = plain_client(&settings).unwrap().get(format!("http://{address}/")).send().await.unwrap_err();
    assert!(error.is_timeout(), "{error}");
}

#[test]
fn settings_that_cannot_be_used_say_why() {
    let check = |settings: HttpSettings, part: &str| {
        let error = plain_client(&settings).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    };
    let tls = |tls: TlsSettings| HttpSettings { tls, ..HttpSettings::default() };
    let missing = Some(PathBuf::from("/nonexistent/ca.pem"));
    check(tls(TlsSettings { ca_file: missing.clone(), ..TlsSettings::default() }), "cannot read the CA file /nonexist");
    check(tls(TlsSettings { ca_file: Some(temp("ca", "no pem")), ..TlsSettings::default() }), "no PEM certificate");
    check(tls(TlsSettings { cert_file: missing, ..TlsSettings::default() }), "go together");
    let versions = (Some(super::super::TlsVersion::Tls13), Some(super::super::TlsVersion::Tls12));
    check(tls(TlsSettings { min_version: versions.0, max_version: versions.1, ..TlsSettings::default() }), "above");
    check(HttpSettings { proxy_url: Some("".into()), ..HttpSettings::default() }, "proxy_url");
    let header = vec![("X".to_owned(), SecretSource::Inline("a\r\nb".into()))];
    check(HttpSettings { headers: header, ..HttpSettings::default() }, "the header X");
}

#[test]
fn metadata_addresses_are_known() {
    let check = |ip: &str, expected: bool| assert_eq!(is_link_local(ip.parse().unwrap()), expected, "{ip}");
    check("169.254.169.254", true);
    check("::ffff:169.254.169.254", true);
    check("fe80::1", true);
    check("10.0.0.1", false);
    check("127.0.0.1", false);
    check("fd00::1", false);
}

#[test]
fn a_name_that_leads_to_a_metadata_service_is_refused_where_asked() {
    let check = |addresses: &[&str], refuse: bool, expected: Option<usize>| {
        let found: Vec<SocketAddr> = addresses.iter().map(|ip| SocketAddr::new(ip.parse().unwrap(), 0)).collect();
        assert_eq!(allowed(Box::new(found.into_iter()), refuse).ok().map(|left| left.len()), expected);
    };
    check(&["169.254.169.254"], true, None);
    check(&["169.254.169.254", "10.0.0.1"], true, Some(1));
    check(&["169.254.169.254"], false, Some(1));
}

/// A TLS server on loopback with a fresh certificate; gives its address and the certificate's file.
async fn serve_tls(name: &str) -> (SocketAddr, PathBuf) {
    crate::net::install_crypto();
    let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let config =
        rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key);
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config.unwrap()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut head = [0; 4096];
            let _ = stream.read(&mut head).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
            let _ = stream.shutdown().await;
        }
    });
    (address, temp(&format!("{name}.pem"), &made.cert.pem()))
}

#[tokio::test]
async fn tls_trusts_the_ca_file_and_checks_the_name() {
    let (address, ca) = serve_tls("db.test").await;
    let url = format!("https://{address}/");
    let get = |tls: TlsSettings| {
        let request = plain_client(&HttpSettings { tls, ..HttpSettings::default() }).unwrap().get(url.clone());
        async move { request.send().await.map(|response| response.status().as_u16()).map_err(|error| describe(&error)) }
    };
    let with = |ca_file: Option<PathBuf>, name: Option<&str>, insecure_skip_verify: bool| TlsSettings {
        ca_file,
        server_name: name.map(str::to_owned),
        insecure_skip_verify,
        ..TlsSettings::default()
    };
    assert_eq!(get(with(Some(ca.clone()), Some("db.test"), false)).await, Ok(200));
    assert_eq!(get(with(None, None, true)).await, Ok(200));
    assert!(get(with(Some(ca.clone()), None, false)).await.unwrap_err().contains("certificate"));
    assert!(get(with(Some(ca), Some("other.test"), false)).await.unwrap_err().contains("certificate"));
    assert!(get(with(None, Some("db.test"), false)).await.unwrap_err().contains("certificate"));
}
