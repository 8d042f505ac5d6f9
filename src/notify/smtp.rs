//! One mail to one mail server.
//!
//! lettre speaks SMTP. What comes before is done here: the connection, TLS from the first byte, and STARTTLS. So TLS is
//! set up as everywhere else in the house, nothing that came before STARTTLS is taken for an answer after it
//! (CVE-2011-0411's class), and a server that talks without end is cut off.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, AsyncTokioStream};
use lettre::transport::smtp::commands::{self, Data, Rcpt};
use lettre::transport::smtp::extension::{ClientId, Extension, MailParameter};
use md5::Md5;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::email::Mail;
use super::outcome::Outcome;
use super::render;
use super::settings::EmailSettings;
use crate::limits;
use crate::net::{self, Resolver, SecretSource, tls_config};

/// How long we wait for an answer to our goodbye.
const QUIT_TIME: Duration = Duration::from_secs(1);

/// Why a mail did not go, as an outcome.
type Problem = Outcome;

/// Sends a mail. The caller sets the deadline.
pub(super) async fn send(settings: &EmailSettings, resolver: &Resolver, mail: Mail) -> Outcome {
    match try_send(settings, resolver, mail).await {
        Ok(()) => Outcome::Accepted,
        Err(problem) => problem,
    }
}

async fn try_send(settings: &EmailSettings, resolver: &Resolver, mail: Mail) -> Result<(), Problem> {
    let server = &settings.smarthost;
    let tcp = match tokio::time::timeout(limits::CONNECT_TIME, connect(settings, resolver)).await {
        Ok(connected) => connected?,
        Err(_) => return Err(Outcome::retry(format!("connect to {server}: no answer"))),
    };
    let peer = tcp.peer_addr().map_err(|error| Outcome::retry(format!("connect to {server}: {error}")))?;
    let wire = if settings.implicit_tls() {
        Wire::new(peer, Box::new(start_tls(settings, tcp).await?), Vec::new())
    } else if settings.require_tls {
        let (tcp, greeting) = ask_for_tls(settings, tcp).await?;
        // lettre begins with a greeting, and after STARTTLS there is none: it gets that of before.
        Wire::new(peer, Box::new(start_tls(settings, tcp).await?), greeting)
    } else {
        Wire::new(peer, Box::new(tcp), Vec::new())
    };
    let encrypted = settings.implicit_tls() || settings.require_tls;
    let hello = ClientId::Domain(settings.hello.clone());
    let opened = AsyncSmtpConnection::connect_with_transport(Box::new(wire), &hello).await;
    let mut connection = opened.map_err(|error| judge("greeting", &error))?;
    log_in(settings, &mut connection, encrypted, peer).await?;
    hand_over(&mut connection, &mail).await?;
    // The mail is accepted: nobody waits for the goodbye.
    tokio::spawn(async move { tokio::time::timeout(QUIT_TIME, connection.quit()).await });
    Ok(())
}

async fn connect(settings: &EmailSettings, resolver: &Resolver) -> Result<TcpStream, Problem> {
    let server = &settings.smarthost;
    let addresses = resolver.lookup(&server.host).await.map_err(|error| Outcome::retry(error.to_string()))?;
    let mut last = String::from("no address");
    for ip in addresses {
        match TcpStream::connect(SocketAddr::new(ip, server.port)).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error.to_string(),
        }
    }
    Err(Outcome::retry(format!("connect to {server}: {last}")))
}

async fn start_tls(
    settings: &EmailSettings,
    stream: TcpStream,
) -> Result<tokio_rustls::client::TlsStream<TcpStream>, Problem> {
    let tls = settings.tls.clone();
    let built = tokio::task::spawn_blocking(move || tls_config(&tls)).await;
    let built = built.map_err(|_| Outcome::retry("tls: the set-up broke off"))?;
    let config = built.map_err(|error| Outcome::retry(error.to_string()))?;
    let name = settings.tls.server_name.as_ref().unwrap_or(&settings.smarthost.host);
    let name = ServerName::try_from(name.clone());
    let name =
        name.map_err(|_| Outcome::retry(format!("{} is no name that TLS could check", settings.smarthost.host)))?;
    let started = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
    started.map_err(|error| Outcome::retry(format!("tls handshake with {}: {error}", settings.smarthost)))
}

/// Goes up to STARTTLS, and gives the connection back with the greeting, exactly at the point where TLS begins.
async fn ask_for_tls(settings: &EmailSettings, mut stream: TcpStream) -> Result<(TcpStream, Vec<u8>), Problem> {
    let mut room = limits::SMTP_REPLY_BYTES;
    let greeting = expect(&mut stream, &mut room, 220, "greeting").await?;
    write(&mut stream, &format!("EHLO {}\r\n", settings.hello)).await?;
    let features = expect(&mut stream, &mut room, 250, "EHLO").await?;
    let offered = String::from_utf8_lossy(&features)
        .lines()
        .any(|line| line.get(4..).is_some_and(|feature| feature.trim().eq_ignore_ascii_case("STARTTLS")));
    if !offered {
        let server = &settings.smarthost;
        return Err(Outcome::retry(format!("{server} does not offer STARTTLS, and require_tls is true")));
    }
    write(&mut stream, "STARTTLS\r\n").await?;
    expect(&mut stream, &mut room, 220, "STARTTLS").await?;
    Ok((stream, greeting))
}

async fn write(stream: &mut TcpStream, line: &str) -> Result<(), Problem> {
    stream.write_all(line.as_bytes()).await.map_err(|error| Outcome::retry(format!("smtp: {error}")))
}

/// Reads one reply of one or more lines, byte by byte: not one byte past its end, as that would belong to TLS.
async fn expect(stream: &mut TcpStream, room: &mut usize, code: u16, step: &str) -> Result<Vec<u8>, Problem> {
    let mut reply = Vec::new();
    let mut line = 0;
    loop {
        let byte = stream.read_u8().await.map_err(|error| Outcome::retry(format!("smtp, {step}: {error}")))?;
        *room = room.checked_sub(1).ok_or_else(|| Outcome::retry(format!("smtp, {step}: the answer has no end")))?;
        reply.push(byte);
        if byte != b'\n' {
            continue;
        }
        if reply.get(line + 3) != Some(&b'-') {
            break;
        }
        line = reply.len();
    }
    let text = String::from_utf8_lossy(&reply);
    match text.get(..3).and_then(|digits| digits.parse::<u16>().ok()) {
        Some(found) if found == code => Ok(reply),
        Some(found) => Err(by_code(step, found, &text)),
        None => Err(Outcome::retry(format!("smtp, {step}: no SMTP answer"))),
    }
}

async fn log_in(
    settings: &EmailSettings,
    connection: &mut AsyncSmtpConnection,
    encrypted: bool,
    peer: SocketAddr,
) -> Result<(), Problem> {
    let Some(user) = &settings.auth_username else { return Ok(()) };
    if let Some(secret) = &settings.auth_secret {
        match answer_challenge(user, secret, connection).await {
            // The server does not speak it, so a password goes instead.
            Err(Outcome::Refused { .. }) if settings.auth_password.is_some() => {}
            done => return done,
        }
    }
    let Some(password) = &settings.auth_password else { return Ok(()) };
    if !may_send_password(encrypted, peer.ip()) {
        return Err(Outcome::retry(
            "smtp: the password is not sent without TLS, set require_tls or force_implicit_tls",
        ));
    }
    let password = password.read().map_err(|error| Outcome::retry(error.to_string()))?;
    let server = connection.server_info();
    let done = if server.supports_auth_mechanism(Mechanism::Plain) {
        let triple = format!("{}\0{user}\0{}", settings.auth_identity, password.expose());
        connection.command(format!("AUTH PLAIN {}\r\n", STANDARD.encode(triple))).await
    } else if server.supports_auth_mechanism(Mechanism::Login) {
        let credentials = Credentials::new(user.clone(), password.expose().to_owned());
        connection.auth(&[Mechanism::Login], &credentials).await
    } else {
        return Err(Outcome::retry("smtp: the server offers neither AUTH PLAIN nor AUTH LOGIN"));
    };
    done.map(drop).map_err(|error| judge("AUTH", &error))
}

/// CRAM-MD5 (RFC 2195): the secret itself does not leave the host.
async fn answer_challenge(
    user: &str,
    secret: &SecretSource,
    connection: &mut AsyncSmtpConnection,
) -> Result<(), Problem> {
    let secret = secret.read().map_err(|error| Outcome::retry(error.to_string()))?;
    let asked = connection.command("AUTH CRAM-MD5\r\n").await.map_err(|error| judge("AUTH CRAM-MD5", &error))?;
    let challenge = STANDARD.decode(asked.first_line().unwrap_or_default().trim());
    let Ok(challenge) = challenge else { return Err(Outcome::retry("smtp: the challenge of CRAM-MD5 is no base64")) };
    let answer = STANDARD.encode(format!("{user} {}", keyed_md5(secret.expose().as_bytes(), &challenge)));
    connection.command(format!("{answer}\r\n")).await.map(drop).map_err(|error| judge("AUTH CRAM-MD5", &error))
}

/// HMAC-MD5 in hexadecimal digits.
fn keyed_md5(key: &[u8], text: &[u8]) -> String {
    // It takes keys of any length.
    let Ok(mut mac) = Hmac::<Md5>::new_from_slice(key) else { return String::new() };
    mac.update(text);
    mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The mail itself. Recipients that the server refuses for good do not keep the mail from the others; when none is left,
/// or one is to be tried later, the mail does not go.
///
/// lettre's own `send` is not used: on an error it says goodbye and waits for the answer, for which there is no time.
async fn hand_over(connection: &mut AsyncSmtpConnection, mail: &Mail) -> Result<(), Problem> {
    let mut options = Vec::new();
    let mut addresses = mail.envelope.from().into_iter().chain(mail.envelope.to());
    if addresses.any(|address| !address.to_string().is_ascii()) {
        if !connection.server_info().supports_feature(Extension::SmtpUtfEight) {
            return Err(Outcome::refused(
                "smtp: an address is not ASCII, and the server does not take such (SMTPUTF8)",
            ));
        }
        options.push(MailParameter::SmtpUtfEight);
    }
    let command = commands::Mail::new(mail.envelope.from().cloned(), options);
    connection.command(command).await.map_err(|error| judge("MAIL", &error))?;
    let mut refused = None;
    let mut taken = 0;
    for address in mail.envelope.to() {
        let answer = connection.command(Rcpt::new(address.clone(), Vec::new())).await;
        match answer.map_err(|error| judge(&format!("RCPT {address}"), &error)) {
            Ok(_) => taken += 1,
            Err(Outcome::Refused { reason }) => {
                tracing::warn!(reason, "mail server refuses a recipient");
                refused = Some(Outcome::Refused { reason });
            }
            Err(later) => return Err(later),
        }
    }
    if let Some(refused) = refused.filter(|_| taken == 0) {
        return Err(refused);
    }
    connection.command(Data).await.map_err(|error| judge("DATA", &error))?;
    connection.message(&mail.bytes).await.map(drop).map_err(|error| judge("end of mail", &error))
}

/// A password goes over TLS, or stays on this host.
fn may_send_password(encrypted: bool, peer: IpAddr) -> bool {
    encrypted || peer.to_canonical().is_loopback()
}

fn judge(step: &str, error: &lettre::transport::smtp::Error) -> Problem {
    let text = net::describe(error);
    match error.status() {
        Some(code) => by_code(step, code.into(), &text),
        None => Outcome::retry(format!("smtp, {step}: {text}")),
    }
}

/// 4xx: later. 5xx: never, but a full mailbox (552) and a login that is refused (530, 534, 535, 538) can be put right.
fn by_code(step: &str, code: u16, text: &str) -> Problem {
    let said = render::shortened(&render::one_line(text), limits::REPLY_CHARS);
    let reason = format!("smtp, {step}: {said}");
    match code {
        530 | 534 | 535 | 538 | 552 => Outcome::retry_code(reason, code, None),
        500..600 => Outcome::refused(reason),
        _ => Outcome::retry_code(reason, code, None),
    }
}

/// Either kind of connection.
trait Stream: AsyncRead + AsyncWrite + Send + Sync + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin> Stream for T {}

/// The connection as lettre gets it: a greeting that was read already, then the stream, up to a limit.
struct Wire {
    peer: SocketAddr,
    inner: Box<dyn Stream>,
    greeting: Vec<u8>,
    room: usize,
}

impl Wire {
    fn new(peer: SocketAddr, inner: Box<dyn Stream>, greeting: Vec<u8>) -> Wire {
        Wire { peer, inner, greeting, room: limits::SMTP_REPLY_BYTES }
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "smtp to {}", self.peer)
    }
}

impl AsyncTokioStream for Wire {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.peer)
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.greeting.is_empty() {
            let count = self.greeting.len().min(buf.remaining());
            buf.put_slice(&self.greeting[..count]);
            self.greeting.drain(..count);
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(cx, buf);
        let read = buf.filled().len() - before;
        if read > self.room {
            return Poll::Ready(Err(io::Error::other("the server's answers have no end")));
        }
        self.room -= read;
        polled
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_is_answered_as_in_the_rfc() {
        let challenge = b"<1896.697170952@postoffice.reston.mci.net>";
        assert_eq!(keyed_md5(b"tanstaaftanstaaf", challenge), "b913a602c7eda7a495b4e6e7334d3890");
    }

    #[test]
    fn a_password_does_not_leave_the_host_in_the_clear() {
        let check = |encrypted: bool, peer: &str, expected: bool| {
            assert_eq!(may_send_password(encrypted, peer.parse().unwrap()), expected, "{peer}");
        };
        check(true, "192.0.2.1", true);
        check(false, "192.0.2.1", false);
        check(false, "2001:db8::1", false);
        check(false, "127.0.0.1", true);
        check(false, "::ffff:127.0.0.1", true);
    }
}
