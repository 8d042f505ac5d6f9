//! Probes against servers on loopback, and their metrics held against those of blackbox_exporter.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::PathBuf;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, UdpSocket, UnixListener};

use super::super::settings::*;
use super::*;
use crate::net::{Authorization, SecretSource, TlsSettings};

const SECOND: Duration = Duration::from_secs(5);

fn target(address: impl ToString) -> ProbeTarget {
    ProbeTarget { address: address.to_string(), labels: Labels::empty(), hostname: None }
}

async fn once(prober: Prober, address: impl ToString) -> ProbeResult {
    probe_once(&Module { prober, timeout: None }, &target(address), Clock::start(), SECOND).await
}

fn http(change: impl FnOnce(&mut HttpProbe)) -> Prober {
    let mut probe = HttpProbe::default();
    probe.ip.prefer_ip4 = true;
    change(&mut probe);
    Prober::Http(Box::new(probe))
}

fn tcp(steps: QueryResponse) -> Prober {
    Prober::Tcp(TcpProbe { query_response: steps, ..TcpProbe::default() })
}

fn expect(pattern: &str) -> Step {
    Step { expect: Some(pattern.to_owned()), ..Step::default() }
}

fn send(text: &str) -> Step {
    Step { send: text.as_bytes().to_vec(), ..Step::default() }
}

/// Serves HTTP: `answer` gets each request's head and gives the bytes of the reply, after which the connection ends.
async fn serve<F>(answer: F) -> String
where
    F: Fn(&str) -> Vec<u8> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                match stream.read_u8().await {
                    Ok(byte) => head.push(byte),
                    Err(_) => break,
                }
            }
            let _ = stream.write_all(&answer(&String::from_utf8_lossy(&head))).await;
        }
    });
    address
}

fn reply(head: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("HTTP/1.1 {head}\r\ncontent-length: {}\r\n\r\n", body.len()).into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// Plays one side of a conversation: `<` lines are expected to come, `>` lines are sent, `x` ends it.
async fn script(lines: &'static [&'static str]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = BufReader::new(stream);
        for line in lines {
            let (kind, text) = line.split_at(1);
            if kind == "x" {
                return;
            } else if kind == ">" {
                stream.write_all(text.as_bytes()).await.unwrap();
            } else {
                let mut read = String::new();
                stream.read_line(&mut read).await.unwrap();
                assert_eq!(read.trim_end(), text);
            }
        }
        let _ = stream.read_u8().await;
    });
    address
}

fn acceptor(name: &str) -> (tokio_rustls::TlsAcceptor, PathBuf) {
    crate::net::install_crypto();
    let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let config = rustls::ServerConfig::builder().with_no_client_auth();
    let config = config.with_single_cert(vec![made.cert.der().clone()], key).unwrap();
    let path = std::env::temp_dir().join(format!("brownout-probe-{}-{name}.pem", std::process::id()));
    std::fs::write(&path, made.cert.pem()).unwrap();
    (Arc::new(config).into(), path)
}

async fn serve_tls(name: &str) -> (String, PathBuf) {
    let (acceptor, ca) = acceptor(name);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut head = [0; 4096];
            let _ = stream.read(&mut head).await;
            let _ = stream.write_all(&reply("200 OK\r\nlast-modified: Sun, 22 Nov 2026 00:00:00 GMT", b"ok")).await;
            let _ = stream.shutdown().await;
        }
    });
    (address, ca)
}

/// Families with the names of their labels, of one section of the recorded exposition.
fn recorded(text: &str, section: &str) -> BTreeSet<String> {
    let start = text.find(&format!("##### {section} ")).expect(section);
    let lines = text[start..].lines().skip(1).take_while(|line| !line.starts_with("#####"));
    let lines = lines.filter(|line| !line.starts_with('#') && !line.is_empty());
    lines
        .map(|line| {
            let series = line.rsplit_once(' ').unwrap().0;
            let (family, labels) = series.split_once('{').unwrap_or((series, ""));
            let names = regex::Regex::new(r#"(\w+)="(?:[^"\\]|\\.)*""#).unwrap();
            let names: Vec<_> = names.captures_iter(labels).map(|found| found[1].to_owned()).collect();
            format!("{family} {names:?}")
        })
        // CEL is not spoken here; that module had such a check.
        .filter(|line| !line.starts_with("probe_failed_due_to_cel"))
        .collect()
}

fn found(result: &ProbeResult) -> BTreeSet<String> {
    let line = |sample: &ProbeSample| {
        let mut names: Vec<_> = sample.labels.iter().map(|(name, _)| name.clone()).collect();
        names.sort();
        format!("{} {names:?}", sample.family)
    };
    result.samples.iter().map(line).collect()
}

#[tokio::test]
async fn families_and_labels_are_those_of_blackbox_exporter() {
    #[expect(clippy::disallowed_methods, reason = "tests find the recorded data by this variable")]
    let Ok(folder) = std::env::var("BROWNOUT_CONFORMANCE") else {
        println!("skipped: BROWNOUT_CONFORMANCE is not set");
        return;
    };
    let Ok(text) = std::fs::read_to_string(format!("{folder}/blackbox/blackbox.prom")) else {
        println!("skipped: there is no blackbox/blackbox.prom");
        return;
    };
    let modified = "200 OK\r\nlast-modified: Sun, 22 Nov 2026 00:00:00 GMT";
    let plain = serve(move |_| reply(modified, b"{\"ok\":true}")).await;
    let (secure, _) = serve_tls("metrics.test").await;
    let insecure = TlsSettings { insecure_skip_verify: true, ..TlsSettings::default() };
    let banner = script(&[">220 mx.test ESMTP Postfix\r\n"]).await;
    let mut greeting = expect("^220 ([^ ]+) ESMTP (.+)$");
    greeting.labels = vec![("host".to_owned(), "${1}".to_owned()), ("mta".to_owned(), "${2}".to_owned())];
    let tls_module = TcpProbe { tls: true, tls_config: insecure.clone(), ..TcpProbe::default() };
    let soa = DnsProbe { query_name: "example.org".to_owned(), query_type: "SOA".to_owned(), ..DnsProbe::default() };
    for (section, prober, address) in [
        ("module=http_2xx", http(|_| {}), format!("http://{plain}/health")),
        ("module=https_2xx", http(|it| it.client.tls = insecure), format!("https://{secure}/")),
        ("module=tcp_connect", tcp(vec![]), plain.clone()),
        ("module=tls_connect", Prober::Tcp(tls_module), secure),
        ("module=smtp_banner", tcp(vec![greeting]), banner),
        ("module=unix_banner", Prober::Unix(UnixProbe::default()), serve_unix().await),
        ("module=dns_soa", Prober::Dns(Box::new(soa)), serve_dns().await),
        ("module=tcp_connect target=127.0.0.1:1", tcp(vec![]), "127.0.0.1:1".to_owned()),
    ] {
        let result = once(prober, address).await;
        assert_eq!(found(&result), recorded(&text, section), "{section}: {:?}", result.log);
        assert_eq!(result.success, !section.ends_with(":1"), "{section}: {:?}", result.log);
    }
}

async fn serve_unix() -> String {
    let path = std::env::temp_dir().join(format!("brownout-probe-{}.sock", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let listener = UnixListener::bind(&path).unwrap();
    tokio::spawn(async move {
        let mut kept = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            kept.push(stream);
        }
    });
    path.to_str().unwrap().to_owned()
}

/// Answers every query with one SOA record of serial 2026112201.
async fn serve_dns() -> String {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        let mut query = [0; 512];
        while let Ok((read, from)) = socket.recv_from(&mut query).await {
            let mut answer = query[..read].to_vec();
            answer[2] = 0x81;
            answer[7] = 1;
            answer.extend_from_slice(b"\xc0\x0c\x00\x06\x00\x01\x00\x00\x00\x3c\x00\x18\xc0\x0c\xc0\x0c");
            answer.extend_from_slice(&2_026_112_201_u32.to_be_bytes());
            answer.extend_from_slice(&[0; 16]);
            let _ = socket.send_to(b"xx stray", from).await;
            let _ = socket.send_to(&answer, from).await;
        }
    });
    address
}

#[tokio::test]
async fn checks_of_status_headers_and_body_decide() {
    let good = serve(|_| reply("200 OK\r\nx-mode: full\r\nset-cookie: a=1", b"all is well")).await;
    let matches = |header: &str, regexp: &str, allow_missing: bool| HeaderMatch {
        header: header.to_owned(),
        regexp: regexp.to_owned(),
        allow_missing,
    };
    let strings = |text: &str| vec![text.to_owned()];
    let check = async |prober: Prober, success: bool, regex: f64| {
        let result = once(prober.clone(), &good).await;
        let verdict = (result.success, result.value("probe_failed_due_to_regex", None));
        assert_eq!(verdict, (success, Some(regex)), "{prober:?} {:?}", result.log);
    };
    check(http(|_| {}), true, 0.0).await;
    check(http(|it| it.valid_status_codes = vec![204]), false, 0.0).await;
    check(http(|it| it.valid_http_versions = strings("HTTP/1.0")), false, 0.0).await;
    check(http(|it| it.fail_if_not_ssl = true), false, 0.0).await;
    check(http(|it| it.fail_if_body_matches_regexp = strings("is w")), false, 1.0).await;
    check(http(|it| it.fail_if_body_matches_regexp = strings("is W")), true, 0.0).await;
    check(http(|it| it.fail_if_body_not_matches_regexp = strings("^all")), true, 0.0).await;
    check(http(|it| it.fail_if_body_not_matches_regexp = strings("^well")), false, 1.0).await;
    check(http(|it| it.fail_if_header_matches = vec![matches("X-Mode", "full", false)]), false, 1.0).await;
    check(http(|it| it.fail_if_header_matches = vec![matches("X-Gone", ".*", false)]), false, 1.0).await;
    check(http(|it| it.fail_if_header_matches = vec![matches("X-Gone", ".*", true)]), true, 0.0).await;
    check(http(|it| it.fail_if_header_not_matches = vec![matches("x-mode", "^full$", false)]), true, 0.0).await;
    check(http(|it| it.fail_if_header_not_matches = vec![matches("x-mode", "off", false)]), false, 1.0).await;
    check(http(|it| it.fail_if_header_not_matches = vec![matches("x-gone", "off", false)]), false, 1.0).await;
    check(http(|it| it.body_size_limit = Some(11)), true, 0.0).await;
    check(http(|it| it.body_size_limit = Some(10)), false, 0.0).await;
}

#[tokio::test]
async fn the_request_is_what_the_module_says() {
    let (tell, mut heads) = mpsc::channel(9);
    let address = serve(move |head| {
        tell.try_send(head.to_lowercase()).unwrap();
        reply("200 OK", b"")
    })
    .await;
    let prober = http(|it| {
        it.method = "PUT".to_owned();
        it.body = "{}".to_owned();
        it.headers = vec![("Host".to_owned(), "vhost.test".to_owned()), ("Origin".to_owned(), "here".to_owned())];
        let credentials = SecretSource::Inline("s3cret".into());
        it.client.authorization = Some(Authorization { kind: "Bearer".to_owned(), credentials });
        it.client.headers = vec![("X-Key".to_owned(), SecretSource::Inline("k3y".into()))];
    });
    let result = once(prober, format!("{address}/a?b=c")).await;
    assert!(result.success, "{:?}", result.log);
    let head = heads.recv().await.unwrap();
    assert!(head.starts_with("put /a?b=c http/1.1\r\n"), "{head}");
    for line in ["host: vhost.test", "origin: here", "authorization: bearer s3cret", "x-key: k3y", "connection: close"]
    {
        assert!(head.contains(&format!("{line}\r\n")), "{line} in {head}");
    }
    assert!(head.contains("user-agent: brownout/") && head.contains("content-length: 2\r\n"), "{head}");
    let mut named = target(&address);
    named.hostname = Some("other.test".to_owned());
    probe_once(&Module { prober: http(|_| {}), timeout: None }, &named, Clock::start(), SECOND).await;
    assert!(heads.recv().await.unwrap().contains("host: other.test\r\n"));
}

#[tokio::test]
async fn redirects_are_followed_counted_and_keep_secrets_at_home() {
    let (tell, mut heads) = mpsc::channel(99);
    let other = serve(move |head| {
        tell.try_send(head.to_owned()).unwrap();
        reply("200 OK", b"end")
    })
    .await;
    let elsewhere = format!("location: http://localhost:{}/end", other.rsplit_once(':').unwrap().1);
    let address = serve(move |head| match head.split(' ').nth(1) {
        Some("/") => reply("302 Found\r\nlocation: /next\r\nset-cookie: id=7; path=/", b""),
        Some("/next") if head.contains("cookie: id=7") => reply(&format!("307 Temporary Redirect\r\n{elsewhere}"), b""),
        Some("/loop") => reply("301 Moved\r\nlocation: /loop", b""),
        _ => reply("200 OK", b""),
    })
    .await;
    let private = http(|it| {
        let credentials = SecretSource::Inline("s3cret".into());
        it.client.authorization = Some(Authorization { kind: "Bearer".to_owned(), credentials });
    });
    let result = once(private, format!("http://{address}/")).await;
    assert!(result.success, "{:?}", result.log);
    assert_eq!(result.value("probe_http_redirects", None), Some(2.0));
    assert_eq!(result.value("probe_http_uncompressed_body_length", None), Some(3.0));
    let head = heads.recv().await.unwrap();
    assert!(head.starts_with("GET /end") && !head.contains("s3cret") && !head.contains("id=7"), "{head}");

    let result = once(http(|_| {}), format!("http://{address}/loop")).await;
    assert_eq!((result.success, result.value("probe_http_redirects", None)), (false, Some(11.0)));
    let stay = http(|it| {
        it.client.follow_redirects = false;
        it.valid_status_codes = vec![302];
    });
    let result = once(stay, format!("http://{address}/")).await;
    assert_eq!((result.success, result.value("probe_http_redirects", None)), (true, Some(1.0)));
    assert_eq!(result.value("probe_http_status_code", None), Some(302.0));
}

#[tokio::test]
async fn a_compressed_body_is_read_and_a_bomb_is_refused() {
    let zip = |bytes: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    let (small, bomb) = (zip(b"hello hello"), zip(&vec![0; 64 << 20]));
    let address = serve(move |head| match head.split(' ').nth(1) {
        Some("/bomb") => reply("200 OK", &bomb),
        Some("/cut") => reply("200 OK", &small[..small.len() - 9]),
        Some("/plain") => reply("200 OK", b"hello"),
        _ => reply("200 OK", &small),
    })
    .await;
    let check = async |path: &str, success: bool, length: f64| {
        let prober = http(|it| {
            it.compression = Some(Compression::Gzip);
            it.fail_if_body_not_matches_regexp = vec!["^hello hello$".to_owned()];
        });
        let result = once(prober, format!("{address}{path}")).await;
        let found = (result.success, result.value("probe_http_uncompressed_body_length", None));
        assert_eq!(found, (success, Some(length)), "{path} {:?}", result.log);
    };
    check("/", true, 11.0).await;
    check("/cut", false, 11.0).await;
    check("/plain", false, 0.0).await;
    check("/bomb", false, crate::limits::PROBE_BODY_BYTES as f64).await;
}

#[tokio::test]
async fn https_is_checked_against_the_name_and_its_phases_are_told() {
    let (address, ca) = serve_tls("localhost").await;
    let tls = TlsSettings { ca_file: Some(ca.clone()), ..TlsSettings::default() };
    let url = format!("https://localhost:{}/", address.rsplit_once(':').unwrap().1);
    let result = once(http(|it| it.client.tls = tls.clone()), &url).await;
    assert!(result.success, "{:?}", result.log);
    let value = |family, label| result.value(family, label).unwrap();
    assert!(value("probe_ssl_last_chain_expiry_timestamp_seconds", None) > 4e9);
    assert_eq!(value("probe_http_ssl", None), 1.0);
    assert_eq!(value("probe_tls_version_info", Some("TLS 1.3")), 1.0);
    let phases: f64 = ["resolve", "connect", "tls", "processing", "transfer"]
        .map(|phase| value("probe_http_duration_seconds", Some(phase)))
        .iter()
        .sum();
    assert!(phases > 0.0 && phases <= value("probe_duration_seconds", None), "{phases}");
    assert!(value("probe_http_duration_seconds", Some("tls")) > 0.0);

    let result = once(http(|it| it.client.tls = tls.clone()), format!("https://{address}/")).await;
    assert!(!result.success && result.log.last().unwrap().contains("tls handshake"), "{:?}", result.log);
    let ssl = http(|it| (it.client.tls, it.fail_if_ssl) = (tls.clone(), true));
    assert!(!once(ssl, &url).await.success);
    let missing = TlsSettings { ca_file: Some("/nonexistent/ca.pem".into()), ..tls };
    let result = once(http(|it| it.client.tls = missing), &url).await;
    assert!(result.log.last().unwrap().contains("cannot read the CA file"), "{:?}", result.log);
}

#[tokio::test]
async fn a_proxy_is_asked_for_a_tunnel_or_given_the_whole_url() {
    let (tell, mut heads) = mpsc::channel(9);
    let proxy = serve(move |head| {
        tell.try_send(head.to_owned()).unwrap();
        if head.starts_with("CONNECT") { b"HTTP/1.1 403 No\r\n\r\n".to_vec() } else { reply("200 OK", b"") }
    })
    .await;
    let through = |skip: bool| {
        http(|it| {
            it.client.proxy_url = Some(format!("http://joe:pw@{proxy}").as_str().into());
            it.skip_resolve_phase_with_proxy = skip;
            it.proxy_connect_header = vec![("X-Team".to_owned(), "a".to_owned())];
        })
    };
    let result = once(through(true), "http://no-such-host.invalid/x").await;
    assert!(result.success, "{:?}", result.log);
    assert_eq!(result.value("probe_ip_protocol", None), None);
    let head = heads.recv().await.unwrap();
    assert!(head.starts_with("GET http://no-such-host.invalid/x HTTP/1.1\r\n"), "{head}");
    assert!(head.to_lowercase().contains("proxy-authorization: basic am9lonb3"), "{head}");
    let result = once(through(false), "https://127.0.0.1:444/").await;
    assert!(result.log.last().unwrap().contains("403 No"), "{:?}", result.log);
    let head = heads.recv().await.unwrap();
    assert!(head.starts_with("CONNECT 127.0.0.1:444 HTTP/1.1\r\n") && head.contains("X-Team: a\r\n"), "{head}");
}

#[tokio::test]
async fn a_dialogue_expects_sends_and_tells_why_it_failed() {
    let result = once(tcp(vec![expect("^ready$")]), script(&[">busy\n", ">ready", "x"]).await).await;
    assert!(result.success, "the last line need not be ended: {:?}", result.log);
    let result = once(tcp(vec![expect("^ready$")]), script(&[">busy\n", "x"]).await).await;
    assert!(!result.success && result.value("probe_failed_due_to_regex", None) == Some(1.0), "{:?}", result.log);

    let address = script(&["<NICK prober", ">PING :abc\r\n", "<PONG abc", ">:irc 001 welcome\n"]).await;
    let ping = Step { send: b"PONG ${1}".to_vec(), ..expect("PING :([^ ]+)") };
    let result = once(tcp(vec![send("NICK prober"), ping, expect("^:[^ ]+ 001 welcome$")]), address).await;
    assert!(result.success && result.value("probe_failed_due_to_regex", None) == Some(0.0), "{:?}", result.log);

    let bytes = |bytes: &[u8]| Step { expect_bytes: bytes.to_vec(), ..Step::default() };
    let result = once(tcp(vec![expect("^a$"), bytes(b"bc")]), script(&[">a\nbc"]).await).await;
    assert!(result.success && result.value("probe_failed_due_to_bytes", None) == Some(0.0), "{:?}", result.log);
    let result = once(tcp(vec![bytes(b"S")]), script(&[">N"]).await).await;
    assert!(!result.success && result.value("probe_failed_due_to_bytes", None) == Some(1.0), "{:?}", result.log);
}

#[tokio::test]
async fn a_dialogue_can_start_tls_and_refuses_what_came_before_it() {
    let serve = async |injected: &'static str| {
        let (acceptor, ca) = acceptor("starttls.test");
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut command = [0; 9];
            stream.read_exact(&mut command).await.unwrap();
            stream.write_all(format!("220 go\r\n{injected}").as_bytes()).await.unwrap();
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            stream.write_all(b"250 secure\r\n").await.unwrap();
            let _ = stream.read_u8().await;
        });
        let tls =
            TlsSettings { ca_file: Some(ca), server_name: Some("starttls.test".to_owned()), ..Default::default() };
        let upgrade = Step { starttls: true, ..Step::default() };
        let steps = vec![send("STARTTLS"), expect("^220"), upgrade, expect("^250 secure$")];
        once(Prober::Tcp(TcpProbe { tls_config: tls, query_response: steps, ..TcpProbe::default() }), address).await
    };
    let result = serve("").await;
    assert!(result.success, "{:?}", result.log);
    assert!(result.value("probe_tls_version_info", Some("TLS 1.3")).is_some());
    let result = serve("250 secure\r\n").await;
    assert!(!result.success && result.log.last().unwrap().contains("before TLS"), "{:?}", result.log);
}

#[tokio::test]
async fn dns_answers_are_checked() {
    let server = serve_dns().await;
    let ask = async |change: &dyn Fn(&mut DnsProbe)| {
        let mut dns =
            DnsProbe { query_name: "example.org".to_owned(), query_type: "SOA".to_owned(), ..Default::default() };
        change(&mut dns);
        once(Prober::Dns(Box::new(dns)), &server).await
    };
    let result = ask(&|_| {}).await;
    assert!(result.success, "{:?}", result.log);
    assert_eq!(result.value("probe_dns_serial", None), Some(2_026_112_201.0));
    assert_eq!(result.value("probe_dns_answer_rrs", None), Some(1.0));
    let one = |text: &str| vec![text.to_owned()];
    let record = "^example.org.\t60\tIN\tSOA\texample.org. example.org. 2026112201 0 0 0 0$";
    assert!(ask(&|it| it.validate_answer_rrs.fail_if_not_matches_regexp = one(record)).await.success);
    assert!(!ask(&|it| it.validate_answer_rrs.fail_if_matches_regexp = one(record)).await.success);
    assert!(!ask(&|it| it.validate_answer_rrs.fail_if_all_match_regexp = one(record)).await.success);
    assert!(!ask(&|it| it.validate_answer_rrs.fail_if_none_matches_regexp = one("nothing")).await.success);
    assert!(!ask(&|it| it.validate_authority_rrs.fail_if_not_matches_regexp = one("x")).await.success);
    assert!(!ask(&|it| it.valid_rcodes = one("NXDOMAIN")).await.success);
}

#[tokio::test]
async fn an_echo_on_loopback_comes_back_where_the_system_allows_it() {
    let result = once(Prober::Icmp(IcmpProbe::default()), "127.0.0.1").await;
    if result.log.iter().any(|line| line.contains("CAP_NET_RAW")) {
        println!("skipped: no ICMP socket is allowed here");
        return;
    }
    assert!(result.success, "{:?}", result.log);
    assert!(result.value("probe_icmp_duration_seconds", Some("rtt")).unwrap() > 0.0);
}

fn job(prober: Prober, targets: Vec<ProbeTarget>) -> ProbeJob {
    ProbeJob {
        job_name: "links".to_owned(),
        module_name: "m".to_owned(),
        module: Module { prober, timeout: None },
        scrape_interval: Duration::from_secs(1),
        scrape_timeout: Duration::from_secs(10),
        targets,
    }
}

/// A port of loopback that refuses connections.
async fn refused() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().to_string()
}

fn sample(batch: &Batch, name: &str) -> Option<(String, f64)> {
    let found = batch.samples.iter().find(|(labels, _)| labels.name() == name);
    found.map(|(labels, value)| (labels.to_string(), *value))
}

#[tokio::test]
async fn a_refused_connection_is_reported_at_once() {
    let clock = Clock::start();
    let result = once(tcp(vec![]), refused().await).await;
    assert!(!result.success && result.log.last().unwrap().contains("refused"), "{:?}", result.log);
    assert!(clock.elapsed() < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_job_probes_in_aligned_slots_and_a_hanging_target_delays_nobody() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let hanging = target(silent.local_addr().unwrap());
    let mut named = target(refused().await);
    named.labels = Labels::from_pairs([("team", "pay"), ("__meta", "x"), ("instance", "db")]);
    let job = job(tcp(vec![expect("never")]), vec![hanging, named.clone()]);
    let sources = sources(&job);
    let (out, mut batches) = mpsc::channel(9);
    let clock = Clock::start_at(Timestamp::from_millis(1_000_000));
    tokio::spawn(run(job, clock, Telemetry::new(), out));
    let mut times: HashMap<Source, Vec<i64>> = HashMap::new();
    for _ in 0..8 {
        let batch = batches.recv().await.unwrap();
        assert!(batch.urgent && batch.completeness == Completeness::Whole);
        assert_eq!(sample(&batch, "probe_success").unwrap().1, 0.0);
        let seen = times.entry(batch.source.clone()).or_default();
        assert_eq!(batch.meta.is_empty(), !seen.is_empty(), "metadata comes with the first batch only");
        seen.push(batch.at.as_millis());
        if batch.source == sources[1] {
            let (name, value) = sample(&batch, "up").unwrap();
            assert_eq!((name.as_str(), value), (r#"up{instance="db", job="links", team="pay"}"#, 1.0));
        } else {
            assert_eq!(sample(&batch, "probe_failed_due_to_regex").unwrap().1, 1.0);
        }
    }
    for (source, times) in &times {
        assert!(times.len() >= 3, "{source:?} {times:?}");
        assert!(times.windows(2).all(|pair| pair[1] - pair[0] == 1_000), "{source:?} {times:?}");
    }
}

#[tokio::test]
async fn targets_of_one_address_have_sources_of_their_own_and_a_job_without_targets_waits() {
    let both = job(tcp(vec![]), vec![target("db:1"), target("db:2"), target("db:1")]);
    let names: Vec<_> = sources(&both).iter().map(|source| source.as_str().to_owned()).collect();
    assert_eq!(names, ["probe/links/db:1", "probe/links/db:2", "probe/links/db:1#2"]);
    let (out, batches) = mpsc::channel(1);
    let mut empty = Box::pin(run(job(tcp(vec![]), vec![]), Clock::start(), Telemetry::new(), out));
    assert!(std::future::poll_fn(|cx| std::task::Poll::Ready(empty.as_mut().poll(cx).is_pending())).await);
    drop(batches);
    empty.await;
}

#[test]
fn slots_are_aligned_and_strictly_later() {
    let check = |after: i64, offset: u64, expected: i64| {
        let slot = next_slot(Timestamp::from_millis(after), Duration::from_secs(1), offset);
        assert_eq!(slot.as_millis(), expected, "{after} {offset}");
    };
    check(10_000, 0, 11_000);
    check(10_001, 0, 11_000);
    check(10_000, 250, 10_250);
    check(10_250, 250, 11_250);
    check(-10, 123_250, 250);
}

#[tokio::test]
async fn a_module_that_cannot_work_fails_every_probe_and_says_why() {
    let result = once(tcp(vec![expect("(")]), "127.0.0.1:1").await;
    assert!(!result.success && result.log[0].contains("no regular expression"), "{:?}", result.log);
    for (prober, address) in [(tcp(vec![]), "no port"), (http(|_| {}), "http://"), (http(|_| {}), "http://[::")] {
        let result = once(prober, address).await;
        assert!(!result.success && result.log[0].contains("is no"), "{:?}", result.log);
    }
}
