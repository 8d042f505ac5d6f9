//! Mail against a strict SMTP sink: it knows the order of commands, line ends, STARTTLS and AUTH, and can misbehave.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::super::*;
use super::{notification, now};
use crate::alerts::Notification;
use crate::net::{SecretSource, TlsSettings};

/// How the sink behaves.
#[derive(Clone, Default)]
struct Sink {
    tls: Option<TlsAcceptor>,
    implicit: bool,
    /// `PLAIN`, `LOGIN`, `CRAM-MD5` or nothing.
    auth: &'static str,
    /// Replies other than the usual ones, by the command's first word (`greeting`, `.` for the mail's end). An empty reply
    /// means silence; `flood` never ends.
    replies: BTreeMap<&'static str, &'static str>,
    /// The reply to one of the recipients.
    bad_address: &'static str,
}

/// What the sink saw.
#[derive(Default)]
struct Log {
    commands: Vec<String>,
    mails: Vec<String>,
    encrypted: bool,
}

type Shared = Arc<Mutex<Log>>;

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Sink {
    async fn start(self) -> (SocketAddr, Shared) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let log = Shared::default();
        let seen = Arc::clone(&log);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (sink, seen) = (self.clone(), Arc::clone(&seen));
                tokio::spawn(async move { sink.session(stream, seen).await });
            }
        });
        (address, log)
    }

    async fn session(self, tcp: TcpStream, log: Shared) -> Option<()> {
        let mut stream: BufReader<Box<dyn Stream>> = BufReader::new(Box::new(tcp));
        if self.implicit {
            stream = self.encrypt(stream, &log).await?;
        }
        self.reply(&mut stream, "greeting", "220 mx.test ESMTP").await?;
        let (mut greeted, mut sender, mut recipients) = (false, false, 0);
        loop {
            let line = read_line(&mut stream).await?;
            let word = line.split([' ', ':']).next().unwrap_or_default().to_uppercase();
            log.lock().unwrap().commands.push(line.clone());
            match word.as_str() {
                "EHLO" => {
                    greeted = true;
                    let encrypted = log.lock().unwrap().encrypted;
                    let offer_tls = self.tls.is_some() && !encrypted;
                    let starttls = if offer_tls { "250-STARTTLS\r\n" } else { "" };
                    let auth = if self.auth.is_empty() { String::new() } else { format!("250-AUTH {}\r\n", self.auth) };
                    self.reply(&mut stream, "EHLO", &format!("250-mx.test\r\n{starttls}{auth}250 8BITMIME")).await?;
                }
                "STARTTLS" => {
                    self.reply(&mut stream, "STARTTLS", "220 go").await?;
                    assert!(stream.buffer().is_empty(), "nothing follows STARTTLS before the handshake");
                    stream = self.encrypt(stream, &log).await?;
                    greeted = false;
                }
                "AUTH" => {
                    assert!(greeted);
                    if line == "AUTH CRAM-MD5" {
                        if self.auth != "CRAM-MD5" {
                            say(&mut stream, "504 unknown mechanism").await?;
                            continue;
                        }
                        say(&mut stream, &format!("334 {}", STANDARD.encode("<1@mx.test>"))).await?;
                        let answer = read_line(&mut stream).await?;
                        log.lock().unwrap().commands.push(answer);
                    }
                    if line == "AUTH LOGIN" {
                        for prompt in ["Username:", "Password:"] {
                            say(&mut stream, &format!("334 {}", STANDARD.encode(prompt))).await?;
                            let answer = read_line(&mut stream).await?;
                            log.lock().unwrap().commands.push(answer);
                        }
                    }
                    self.reply(&mut stream, "AUTH", "235 welcome").await?;
                }
                "MAIL" => {
                    assert!(greeted && !sender);
                    sender = true;
                    self.reply(&mut stream, "MAIL", "250 ok").await?;
                }
                "RCPT" => {
                    assert!(sender);
                    if line.contains("ann@") && !self.bad_address.is_empty() {
                        say(&mut stream, self.bad_address).await?;
                        continue;
                    }
                    recipients += 1;
                    self.reply(&mut stream, "RCPT", "250 ok").await?;
                }
                "DATA" => {
                    assert!(recipients > 0);
                    self.reply(&mut stream, "DATA", "354 go on").await?;
                    if self.replies.contains_key("DATA") {
                        continue;
                    }
                    let mut mail = String::new();
                    loop {
                        let line = read_line(&mut stream).await?;
                        if line == "." {
                            break;
                        }
                        mail.push_str(line.strip_prefix('.').unwrap_or(&line));
                        mail.push_str("\r\n");
                    }
                    log.lock().unwrap().mails.push(mail);
                    self.reply(&mut stream, ".", "250 queued").await?;
                }
                "QUIT" => {
                    say(&mut stream, "221 bye").await?;
                    return None;
                }
                _ => panic!("unexpected command {line:?}"),
            }
        }
    }

    async fn encrypt(&self, stream: BufReader<Box<dyn Stream>>, log: &Shared) -> Option<BufReader<Box<dyn Stream>>> {
        let secure = self.tls.as_ref().unwrap().accept(stream.into_inner()).await.ok()?;
        log.lock().unwrap().encrypted = true;
        Some(BufReader::new(Box::new(secure)))
    }

    async fn reply(&self, stream: &mut BufReader<Box<dyn Stream>>, step: &str, usual: &str) -> Option<()> {
        match self.replies.get(step) {
            None => say(stream, usual).await,
            Some(&"") => std::future::pending().await,
            Some(&"flood") => loop {
                say(stream, "220-and on").await?;
            },
            Some(&"flood in one line") => loop {
                stream.write_all(&[b'2'; 4096]).await.ok()?;
            },
            Some(other) => say(stream, other).await,
        }
    }
}

async fn say(stream: &mut BufReader<Box<dyn Stream>>, line: &str) -> Option<()> {
    stream.write_all(format!("{line}\r\n").as_bytes()).await.ok()?;
    stream.flush().await.ok()
}

/// One line; every line feed must follow a carriage return, and none of the two may stand alone.
async fn read_line(stream: &mut BufReader<Box<dyn Stream>>) -> Option<String> {
    let mut line = Vec::new();
    stream.read_until(b'\n', &mut line).await.ok().filter(|read| *read > 0)?;
    let text = line.strip_suffix(b"\r\n").expect("lines end in CRLF");
    assert!(!text.contains(&b'\r'), "a bare carriage return in {:?}", String::from_utf8_lossy(text));
    Some(String::from_utf8(text.to_vec()).expect("a mail is UTF-8 at most"))
}

fn acceptor() -> (TlsAcceptor, PathBuf) {
    crate::net::install_crypto();
    let made = rcgen::generate_simple_self_signed(vec!["mx.test".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let config = rustls::ServerConfig::builder().with_no_client_auth();
    let config = config.with_single_cert(vec![made.cert.der().clone()], key).unwrap();
    let name = format!("brownout-smtp-{}-{:p}.pem", std::process::id(), &raw const made);
    let path = std::env::temp_dir().join(name);
    std::fs::write(&path, made.cert.pem()).unwrap();
    (Arc::new(config).into(), path)
}

fn settings(address: SocketAddr, ca: Option<PathBuf>) -> EmailSettings {
    let smarthost = Smarthost { host: address.ip().to_string(), port: address.port() };
    let mut settings = EmailSettings::new("ops@a.test, Ann <ann@b.test>", "Brownout <alerts@c.test>", smarthost);
    settings.require_tls = ca.is_some();
    settings.tls = TlsSettings { ca_file: ca, server_name: Some("mx.test".to_owned()), ..TlsSettings::default() };
    settings
}

fn with_login(mut settings: EmailSettings) -> EmailSettings {
    settings.auth_username = Some("joe".to_owned());
    settings.auth_password = Some(SecretSource::Inline("hunter2".into()));
    settings
}

fn prepared(settings: EmailSettings, render: Option<Arc<Render>>) -> Prepared {
    let kind = Kind::Email(Box::new(settings));
    Prepared::new(Integration { name: "email[0]".to_owned(), send_resolved: true, kind }, render).unwrap()
}

async fn send(settings: EmailSettings) -> Outcome {
    send_this(settings, &notification()).await
}

async fn send_this(settings: EmailSettings, notification: &Notification) -> Outcome {
    let outcome = deliver(&prepared(settings, None), notification, now()).await;
    assert!(!format!("{outcome:?}").contains("hunter2"), "{outcome:?}");
    outcome
}

/// The header of a mail, unfolded.
fn header(mail: &str) -> Vec<(String, String)> {
    let (head, _) = mail.split_once("\r\n\r\n").unwrap();
    let head = head.replace("\r\n ", " ").replace("\r\n\t", " ");
    let split = |line: &str| line.split_once(": ").map(|(name, value)| (name.to_owned(), value.to_owned()));
    head.split("\r\n").map(|line| split(line).expect("every line is a header")).collect()
}

#[tokio::test]
async fn a_mail_goes_over_starttls_with_a_login() {
    let (tls, ca) = acceptor();
    let (address, log) = Sink { tls: Some(tls), auth: "PLAIN LOGIN", ..Sink::default() }.start().await;
    let mut settings = with_login(settings(address, Some(ca)));
    settings.auth_identity = "boss".to_owned();
    settings.hello = "web-1.test".to_owned();
    assert_eq!(send(settings).await, Outcome::Accepted);
    let log = log.lock().unwrap();
    let plain = STANDARD.encode("boss\0joe\0hunter2");
    let expected = [
        "EHLO web-1.test",
        "STARTTLS",
        "EHLO web-1.test",
        &format!("AUTH PLAIN {plain}"),
        "MAIL FROM:<alerts@c.test>",
        "RCPT TO:<ops@a.test>",
        "RCPT TO:<ann@b.test>",
        "DATA",
    ];
    assert_eq!(log.commands[..8], expected);
    assert_eq!((log.mails.len(), log.encrypted), (1, true));
}

#[tokio::test]
async fn hostile_labels_add_no_header_and_no_line() {
    let (address, log) = Sink::default().start().await;
    let nasty = "x\r\nBcc: all@evil.test\r\n\r\n.\r\nMAIL FROM:<a@b>\u{1b}]0;owned\u{7}\u{202e}<script>{{ }} @all";
    let mut hostile = notification();
    for labels in [&mut hostile.group_labels, &mut hostile.common_labels] {
        labels.insert("alertname".to_owned(), nasty.to_owned());
        labels.insert(nasty.to_owned(), nasty.to_owned());
    }
    for alert in &mut hostile.alerts {
        alert.labels.insert("alertname".to_owned(), nasty.to_owned());
        alert.annotations.insert(nasty.to_owned(), nasty.to_owned());
        alert.generator_url = nasty.to_owned();
    }
    hostile.id.0 = "id>\r\nX: y".to_owned();
    hostile.receiver = nasty.to_owned();
    assert_eq!(send_this(settings(address, None), &hostile).await, Outcome::Accepted);
    let log = log.lock().unwrap();
    let header = header(&log.mails[0]);
    let mut names: Vec<&str> = header.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    let expected = ["Auto-Submitted", "Content-Type", "Date", "From", "MIME-Version", "Message-ID", "Subject", "To"];
    assert_eq!(names, expected);
    let value = |name: &str| &header.iter().find(|(key, _)| key == name).unwrap().1;
    assert_eq!(value("Message-ID"), "<id---X--y@c.test>");
    assert_eq!(value("Date"), "Tue, 14 Nov 2023 22:18:51 +0000");
    assert!(value("Content-Type").starts_with("multipart/alternative"));
    assert_eq!(log.mails.len(), 1);
    assert_eq!(log.commands.iter().filter(|line| line.starts_with("RCPT")).count(), 2);
    assert!(!log.mails[0].contains(['\u{1b}', '\u{7}', '\u{202e}']));
    let (_, html) = log.mails[0].split_once("Content-Type: text/html").unwrap();
    assert!(html.contains("&lt;script&gt;") && !html.contains("<script"), "{html}");
}

#[tokio::test]
async fn mails_about_a_group_form_a_thread() {
    let roots = async |threading: Option<Threading>, group: &str, id: &str| {
        let (address, log) = Sink::default().start().await;
        let mut it = notification();
        (it.group_key, it.id.0) = (group.to_owned(), id.to_owned());
        let mut settings = settings(address, None);
        settings.threading = threading;
        assert_eq!(send_this(settings, &it).await, Outcome::Accepted);
        let header = header(&log.lock().unwrap().mails[0]);
        let of = |name: &str| header.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
        assert_eq!(of("References"), of("In-Reply-To"));
        of("References")
    };
    let day = roots(Some(Threading::GroupAndDay), "g", "1").await.unwrap();
    assert!(day.starts_with("<alert-") && day.ends_with("-2023-11-14@c.test>"), "{day}");
    assert_eq!(roots(Some(Threading::GroupAndDay), "g", "2").await.as_ref(), Some(&day));
    assert_ne!(roots(Some(Threading::GroupAndDay), "other", "3").await.as_ref(), Some(&day));
    assert!(roots(Some(Threading::Group), "g", "4").await.unwrap().ends_with("-@c.test>"));
    assert_eq!(roots(None, "g", "5").await, None);
}

#[tokio::test]
async fn tls_from_the_first_byte_and_login_by_the_old_way() {
    let (tls, ca) = acceptor();
    let (address, log) = Sink { tls: Some(tls), implicit: true, auth: "LOGIN", ..Sink::default() }.start().await;
    let mut settings = with_login(settings(address, Some(ca)));
    settings.force_implicit_tls = Some(true);
    assert_eq!(send(settings).await, Outcome::Accepted);
    let log = log.lock().unwrap();
    let login = ["AUTH LOGIN", &STANDARD.encode("joe"), &STANDARD.encode("hunter2")];
    assert_eq!(log.commands[..4], ["EHLO localhost", login[0], login[1], login[2]]);
    assert_eq!((log.mails.len(), log.encrypted), (1, true));
}

#[tokio::test]
async fn without_starttls_or_trust_nothing_is_said() {
    let (tls, ca) = acceptor();
    let (_, other_ca) = acceptor();
    let check = async |sink: Sink, ca: PathBuf, expected: &str| {
        let (address, log) = sink.start().await;
        let outcome = send(with_login(settings(address, Some(ca)))).await;
        assert!(matches!(&outcome, Outcome::Retry { reason, .. } if reason.contains(expected)), "{outcome:?}");
        let log = log.lock().unwrap();
        assert!(!log.commands.iter().any(|line| line.starts_with("AUTH") || line.starts_with("MAIL")));
    };
    check(Sink::default(), ca.clone(), "does not offer STARTTLS").await;
    check(Sink { tls: Some(tls.clone()), ..Sink::default() }, other_ca, "tls handshake").await;
    let injected = BTreeMap::from([("STARTTLS", "220 go\r\n250-AUTH PLAIN\r\n250 x")]);
    check(Sink { tls: Some(tls), replies: injected, ..Sink::default() }, ca, "tls handshake").await;
}

#[tokio::test]
async fn the_servers_code_decides() {
    let check = async |step: &'static str, reply: &'static str, expected: &str| {
        let (address, log) =
            Sink { auth: "PLAIN", replies: BTreeMap::from([(step, reply)]), ..Sink::default() }.start().await;
        let found = match send(with_login(settings(address, None))).await {
            Outcome::Accepted => "accepted".to_owned(),
            Outcome::Retry { code, reason, .. } => format!("retry {} {reason}", code.unwrap_or(0)),
            Outcome::Refused { reason } => format!("refused {reason}"),
        };
        assert!(found.starts_with(expected), "{step} {reply}: {found}");
        assert_eq!(log.lock().unwrap().mails.len(), usize::from(step == "."), "{step} {reply}");
    };
    check("greeting", "421 busy", "retry 421").await;
    check("greeting", "554 no service", "refused").await;
    check("greeting", "hello", "retry 0").await;
    check("AUTH", "535 wrong", "retry 535").await;
    check("MAIL", "451 later", "retry 451").await;
    check("RCPT", "450 grey", "retry 450").await;
    check("RCPT", "550 no such user", "refused smtp, RCPT ann@b.test: permanent error (550): no such user").await;
    check("RCPT", "552 full", "retry 552").await;
    check("DATA", "503 order", "refused").await;
    check(".", "250 ok", "accepted").await;
    check(".", "554 spam", "refused").await;
    check(".", "452 space", "retry 452").await;
}

#[tokio::test]
async fn one_bad_address_does_not_keep_the_mail_from_the_others() {
    for (reply, expected) in [("550 no such user", 1), ("450 grey", 0)] {
        let (address, log) = Sink { bad_address: reply, ..Sink::default() }.start().await;
        let outcome = send(settings(address, None)).await;
        assert_eq!(outcome == Outcome::Accepted, expected == 1, "{outcome:?}");
        assert_eq!(log.lock().unwrap().mails.len(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn silence_anywhere_ends_at_the_deadline() {
    let (tls, ca) = acceptor();
    for step in ["greeting", "EHLO", "STARTTLS", "AUTH", "MAIL", "RCPT", "DATA", "."] {
        let sink =
            Sink { tls: Some(tls.clone()), auth: "PLAIN", replies: BTreeMap::from([(step, "")]), ..Sink::default() };
        let (address, _) = sink.start().await;
        let clock = crate::time::Clock::start();
        let outcome = send(with_login(settings(address, Some(ca.clone())))).await;
        assert!(
            matches!(&outcome, Outcome::Retry { reason, .. } if reason.contains("within 30s")),
            "{step} {outcome:?}"
        );
        assert!(clock.elapsed() <= crate::limits::DELIVERY_TIME + std::time::Duration::from_secs(1), "{step}");
    }
}

#[tokio::test]
async fn a_server_that_talks_without_end_is_cut_off() {
    let (tls, ca) = acceptor();
    for flood in ["flood", "flood in one line"] {
        for (step, ca) in [("greeting", None), ("greeting", Some(ca.clone())), ("MAIL", Some(ca.clone()))] {
            let sink = Sink { tls: Some(tls.clone()), replies: BTreeMap::from([(step, flood)]), ..Sink::default() };
            let (address, _) = sink.start().await;
            let outcome = send(settings(address, ca)).await;
            assert!(matches!(&outcome, Outcome::Retry { .. }), "{step} {outcome:?}");
        }
    }
}

#[tokio::test]
async fn a_server_on_this_host_may_do_without_tls_but_must_know_a_login_we_speak() {
    let (address, log) = Sink { auth: "PLAIN", ..Sink::default() }.start().await;
    assert_eq!(send(with_login(settings(address, None))).await, Outcome::Accepted);
    assert!(log.lock().unwrap().commands.iter().any(|line| line.starts_with("AUTH PLAIN")));
    let (address, _) = Sink { auth: "CRAM-MD5", ..Sink::default() }.start().await;
    let outcome = send(with_login(settings(address, None))).await;
    assert!(format!("{outcome:?}").contains("neither AUTH PLAIN nor AUTH LOGIN"), "{outcome:?}");
}

#[tokio::test]
async fn with_a_secret_a_challenge_is_answered_and_a_password_goes_only_where_that_is_not_spoken() {
    // HMAC-MD5 of "<1@mx.test>" with the key "hunter2".
    let answer = STANDARD.encode("joe 3263d90e44d52ac419c8caae93618fdb");
    for (offered, password, seen) in [
        ("CRAM-MD5", false, Ok(answer.as_str())),
        ("CRAM-MD5", true, Ok(answer.as_str())),
        ("PLAIN", true, Ok("AUTH PLAIN AGpvZQBodW50ZXIy")),
        ("PLAIN", false, Err("504")),
    ] {
        let (address, log) = Sink { auth: offered, ..Sink::default() }.start().await;
        let mut settings = with_login(settings(address, None));
        settings.auth_secret = Some(SecretSource::Inline("hunter2".into()));
        settings.auth_password = settings.auth_password.filter(|_| password);
        let outcome = send(settings).await;
        match seen {
            Ok(seen) => {
                assert_eq!(outcome, Outcome::Accepted);
                let commands = log.lock().unwrap().commands.clone();
                assert!(commands.iter().any(|line| line == seen), "{offered}: {commands:?}");
            }
            Err(code) => assert!(format!("{outcome:?}").contains(code), "{outcome:?}"),
        }
    }
}

#[tokio::test]
async fn templates_come_from_outside_and_every_try_has_the_same_id() {
    let (address, log) = Sink::default().start().await;
    let mut settings = settings(address, None);
    settings.headers = BTreeMap::from([
        ("Subject".to_owned(), "{{ subject }}".to_owned()),
        ("X-Team".to_owned(), "pay".to_owned()),
        ("Bcc".to_owned(), "hidden@a.test".to_owned()),
    ]);
    settings.html = Some(String::new());
    settings.text = Some("{{ text }}".to_owned());
    let render: Arc<Render> = Arc::new(|template: &str, notification: &Notification, form| match template {
        "{{ subject }}" => Ok(format!("{}\r\nX-Evil: 1 ü", notification.receiver)),
        "{{ text }}" if form == Form::Text => Ok("mine\u{1b}\n.\nend".to_owned()),
        other => Err(format!("no {other}")),
    });
    let prepared = prepared(settings.clone(), Some(Arc::clone(&render)));
    for _ in 0..2 {
        assert_eq!(deliver(&prepared, &notification(), now()).await, Outcome::Accepted);
    }
    {
        let log = log.lock().unwrap();
        assert_eq!(header(&log.mails[0]), header(&log.mails[1]));
        let header = header(&log.mails[0]);
        let value = |name: &str| header.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        assert_eq!(value("Message-ID"), Some("<d-7-3@c.test>"));
        assert_eq!(value("Subject"), Some("team X-Evil: 1 =?utf-8?b?w7w=?="));
        assert_eq!((value("X-Team"), value("X-Evil"), value("Bcc")), (Some("pay"), None, None));
        assert!(value("Content-Type").unwrap().starts_with("text/plain"));
    }
    settings.html = Some("{{ text }}".to_owned());
    let broken = super::super::Prepared::new(
        Integration { name: "email[0]".to_owned(), send_resolved: true, kind: Kind::Email(Box::new(settings)) },
        Some(render),
    );
    let outcome = deliver(&broken.unwrap(), &notification(), now()).await;
    assert!(format!("{outcome:?}").contains("template of html: no {{ text }}"), "{outcome:?}");
}

#[test]
fn settings_that_cannot_work_name_their_field() {
    let base = || settings("127.0.0.1:25".parse().unwrap(), None);
    let check = |change: &dyn Fn(&mut EmailSettings), expected: &str| {
        let mut settings = base();
        change(&mut settings);
        let kind = Kind::Email(Box::new(settings));
        let made = Prepared::new(Integration { name: String::new(), send_resolved: true, kind }, None);
        assert!(made.unwrap_err().to_string().starts_with(expected), "{expected}");
    };
    check(&|it| it.to = "nobody".to_owned(), "to: ");
    check(&|it| it.to = String::new(), "to: ");
    check(&|it| it.from = "a@b.test\r\nBcc: c@d.test".to_owned(), "from: ");
    check(&|it| it.auth_username = Some("joe".to_owned()), "auth_password: ");
    check(&|it| it.hello = "x\r\nMAIL".to_owned(), "hello: ");
    check(&|it| drop(it.headers.insert("a b".to_owned(), String::new())), "headers: ");
    assert!(
        Prepared::new(
            Integration { name: String::new(), send_resolved: true, kind: Kind::Email(Box::new(base())) },
            None
        )
        .is_ok()
    );
}
