//! gRPC as a client: one connection, calls with one answer, and streams. No framework and no generated code: a message
//! is five bytes and its content, a status is a trailer.
//! <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>.
//!
//! A connection is pinged also while it is idle, so that a peer that is stopped or cut off is noticed. Deadlines are the
//! caller's. What waits in a connection that ends or is abandoned is not delivered later. Messages say which side's certificate was not taken.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderValue, Request, StatusCode, Uri, header};
use http_body_util::BodyExt as _;
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;
use tokio_rustls::TlsConnector;

use super::{Resolver, describe};

/// How often a connection is pinged, and how long the answer may take.
const PING: Duration = Duration::from_secs(3);
const PONG: Duration = Duration::from_secs(2);
/// How often, so many times, where there are very many connections: after a lease is kept on it, which shows as much.
const PING_SPREAD: Duration = Duration::from_millis(3_500);
/// How long a connection that broke off may take to say why.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// Why a call failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The connection could not be made, or broke: another server may do.
    #[error("{0}")]
    Broken(String),
    /// One of the two does not take the other's certificate.
    #[error("{0}")]
    Certificate(String),
    /// The server answered with gRPC's status, not 0.
    #[error("{message} (gRPC status {code})")]
    Status { code: u32, message: String },
}

/// The body of a request: one message, then, of a stream, what its channel gives.
struct Outgoing {
    first: Option<Bytes>,
    more: Option<mpsc::Receiver<Bytes>>,
}

impl hyper::body::Body for Outgoing {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        match &mut self.more {
            Some(more) => more.poll_recv(context).map(|message| message.map(|bytes| Ok(Frame::data(bytes)))),
            None => Poll::Ready(None),
        }
    }
}

/// A connection. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Channel {
    sender: SendRequest<Outgoing>,
    base: String,
    /// Why the connection ended.
    ended: watch::Receiver<Option<CallError>>,
    task: AbortHandle,
}

impl std::fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a body")
    }
}

impl Channel {
    /// Connects to `http://host:port`, or with TLS to `https://host:port`. `name` is the name that the certificate must
    /// have instead of the host's. So many times as rarely as else (`spread`) the connection is pinged, for a server that
    /// has very many.
    ///
    /// # Errors
    /// When no address answers, or TLS fails.
    pub async fn connect(
        base: &str,
        tls: Option<Arc<rustls::ClientConfig>>,
        name: Option<&str>,
        resolver: &Resolver,
        spread: u32,
    ) -> Result<Channel, CallError> {
        let broken = |why: String| CallError::Broken(format!("{base}: {why}"));
        let uri: Uri = base.parse().map_err(|_| broken("this is no address".to_owned()))?;
        let host = uri.host().unwrap_or_default().to_owned();
        let port = uri.port_u16().unwrap_or(2379);
        let addresses = resolver.lookup(&host).await.map_err(|error| broken(error.to_string()))?;
        let mut connected = Err(broken("the name has no address".to_owned()));
        for address in addresses {
            connected = TcpStream::connect((address, port)).await.map_err(|error| broken(error.to_string()));
            if connected.is_ok() {
                break;
            }
        }
        let stream = connected?;
        drop(stream.set_nodelay(true));
        // When it is closed, the system does not go on trying to deliver what is left.
        drop(stream.set_zero_linger());
        let Some(config) = tls else { return Channel::over(stream, base, spread).await };
        let name = name.unwrap_or_else(|| host.trim_start_matches('[').trim_end_matches(']')).to_owned();
        let name = ServerName::try_from(name).map_err(|_| broken("this is no name for TLS".to_owned()))?;
        match TlsConnector::from(config).connect(name, stream).await {
            Ok(stream) => Channel::over(stream, base, spread).await,
            Err(error) => Err(tls_error(base, &error)),
        }
    }

    async fn over<S>(stream: S, base: &str, spread: u32) -> Result<Channel, CallError>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let mut builder = Builder::new(TokioExecutor::new());
        let ping = if spread > 1 { PING_SPREAD * spread } else { PING };
        builder.timer(TokioTimer::new()).keep_alive_interval(ping).keep_alive_timeout(PONG * spread);
        builder.keep_alive_while_idle(true).max_header_list_size(64 << 10);
        builder.initial_stream_window_size(1 << 20).initial_connection_window_size(4 << 20);
        let (sender, connection) =
            builder.handshake(TokioIo::new(stream)).await.map_err(|error| tls_error(base, &error))?;
        let (tell, ended) = watch::channel(None);
        let whose = base.to_owned();
        let task = tokio::spawn(async move {
            let why = match connection.await {
                Ok(()) => CallError::Broken(format!("{whose}: the connection was closed")),
                Err(error) => tls_error(&whose, &error),
            };
            tell.send_replace(Some(why));
        });
        Ok(Channel { sender, base: base.to_owned(), ended, task: task.abort_handle() })
    }

    /// False when the connection has ended.
    pub fn is_open(&self) -> bool {
        self.ended.borrow().is_none() && !self.sender.is_closed() && !self.task.is_finished()
    }

    /// Ends the connection with all its calls. What the peer has not got yet it never gets.
    pub fn abandon(&self) {
        self.task.abort();
    }

    /// A call with one message and one answer, of at most so many bytes.
    ///
    /// # Errors
    /// When the connection breaks, or the server says no.
    pub async fn call(
        &self,
        path: &str,
        metadata: &HeaderMap,
        message: &[u8],
        most: usize,
    ) -> Result<Vec<u8>, CallError> {
        let body = Outgoing { first: Some(framed(message)), more: None };
        let mut messages = self.send(path, metadata, body, most).await?;
        let Some(answer) = messages.next().await? else {
            return Err(CallError::Broken(format!("{}: an answer without a message", self.base)));
        };
        // The status comes after the message.
        while messages.next().await?.is_some() {}
        Ok(answer)
    }

    /// A call that goes on: messages go out through the sender, framed by [`framed`]; it ends when the sender is dropped.
    ///
    /// # Errors
    /// When the connection breaks, or the server says no at once.
    pub async fn stream(
        &self,
        path: &str,
        metadata: &HeaderMap,
        first: &[u8],
        most: usize,
    ) -> Result<(mpsc::Sender<Bytes>, Messages), CallError> {
        let (sender, more) = mpsc::channel(16);
        let body = Outgoing { first: Some(framed(first)), more: Some(more) };
        Ok((sender, self.send(path, metadata, body, most).await?))
    }

    async fn send(&self, path: &str, metadata: &HeaderMap, body: Outgoing, most: usize) -> Result<Messages, CallError> {
        let mut request = Request::new(body);
        *request.method_mut() = hyper::Method::POST;
        let address: Result<Uri, _> = format!("{}{path}", self.base.trim_end_matches('/')).parse();
        *request.uri_mut() = address.map_err(|_| CallError::Broken(format!("{}: this is no address", self.base)))?;
        request.headers_mut().clone_from(metadata);
        request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        request.headers_mut().insert(header::TE, HeaderValue::from_static("trailers"));
        let mut sender = self.sender.clone();
        let answered = match sender.ready().await {
            Ok(()) => sender.send_request(request).await,
            Err(error) => Err(error),
        };
        let response = match answered {
            Ok(response) => response,
            Err(error) => return Err(self.last_words(&error).await),
        };
        let (head, body) = response.into_parts();
        if head.status != StatusCode::OK {
            let why = format!("{}: HTTP status {}; is this etcd?", self.base, head.status.as_u16());
            return Err(CallError::Broken(why));
        }
        // An answer without messages has its status in the head.
        if let Some(status) = status_of(&head.headers) {
            status?;
        }
        Ok(Messages { body, held: Vec::new(), taken: 0, most, done: false, channel: self.clone() })
    }

    /// The connection's own reason goes before that of the call that it broke.
    async fn last_words(&self, error: &hyper::Error) -> CallError {
        let mut ended = self.ended.clone();
        let why = tokio::time::timeout(LAST_WORDS, ended.wait_for(Option::is_some)).await;
        match why {
            Ok(Ok(why)) => (*why).clone().unwrap_or_else(|| tls_error(&self.base, error)),
            _ => tls_error(&self.base, error),
        }
    }
}

/// The messages of an answer.
#[derive(Debug)]
pub struct Messages {
    body: Incoming,
    held: Vec<u8>,
    /// How much of `held` was given out.
    taken: usize,
    most: usize,
    done: bool,
    channel: Channel,
}

impl Messages {
    /// The next message; `None` at the end.
    ///
    /// # Errors
    /// When the connection breaks, a message is longer than agreed, or the server ends with a status that is not 0.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, CallError> {
        loop {
            if let Some(message) = self.whole()? {
                return Ok(Some(message));
            }
            if self.done {
                return Ok(None);
            }
            let frame = match self.body.frame().await {
                None => {
                    return Err(CallError::Broken(format!("{}: the answer ended without a status", self.channel.base)));
                }
                Some(Err(error)) => return Err(self.channel.last_words(&error).await),
                Some(Ok(frame)) => frame,
            };
            match frame.into_data() {
                Ok(data) => {
                    if self.taken > 0 {
                        self.held.drain(..self.taken);
                        self.taken = 0;
                    }
                    self.held.extend_from_slice(&data);
                }
                Err(frame) => {
                    if let Ok(trailers) = frame.into_trailers() {
                        self.done = true;
                        status_of(&trailers).unwrap_or(Ok(()))?;
                    }
                }
            }
        }
    }

    fn whole(&mut self) -> Result<Option<Vec<u8>>, CallError> {
        let Some((head, rest)) = self.held[self.taken..].split_at_checked(5) else { return Ok(None) };
        let broken = |why: &str| Err(CallError::Broken(format!("{}: {why}", self.channel.base)));
        if head[0] != 0 {
            return broken("a compressed message, which nobody asked for");
        }
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
        if length > self.most {
            return broken("a message is too long");
        }
        if rest.len() < length {
            return Ok(None);
        }
        let message = rest[..length].to_vec();
        self.taken += 5 + length;
        Ok(Some(message))
    }
}

/// A message with its five bytes before it.
pub fn framed(message: &[u8]) -> Bytes {
    let mut bytes = Vec::with_capacity(message.len() + 5);
    bytes.push(0);
    bytes.extend_from_slice(&(message.len() as u32).to_be_bytes());
    bytes.extend_from_slice(message);
    Bytes::from(bytes)
}

fn status_of(headers: &HeaderMap) -> Option<Result<(), CallError>> {
    let code: u32 = headers.get("grpc-status")?.to_str().ok()?.parse().ok()?;
    if code == 0 {
        return Some(Ok(()));
    }
    let message = headers.get("grpc-message").and_then(|message| message.to_str().ok()).unwrap_or_default();
    Some(Err(CallError::Status { code, message: unescaped(message) }))
}

/// Bytes of a status message that are written as `%41`.
fn unescaped(text: &str) -> String {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((&first, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()).filter(|_| first == b'%') {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Says whose certificate it was, where it was one.
fn tls_error(base: &str, error: &(dyn std::error::Error + 'static)) -> CallError {
    use rustls::{CertificateError, Error};
    let text = describe(error);
    let said = match find_tls(error) {
        // An alert that comes after the handshake reaches us through HTTP/2, which keeps only the words of it.
        None => match text.split_once("received fatal alert: ") {
            Some((_, alert)) => ours_refused(alert),
            None => return CallError::Broken(format!("{base}: {text}")),
        },
        Some(Error::InvalidCertificate(why)) => match why {
            CertificateError::UnknownIssuer => {
                "the server's certificate is not from an authority that is trusted here (`ca_file`)".to_owned()
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "the server's certificate is for another name (`server_name`)".to_owned()
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "the server's certificate has expired".to_owned()
            }
            other => format!("the server's certificate is not good: {other}"),
        },
        Some(Error::AlertReceived(alert)) => ours_refused(&format!("{alert:?}")),
        Some(Error::InvalidMessage(_)) => {
            "the server does not speak TLS: write `http://`, or turn it on there".to_owned()
        }
        Some(other) => format!("TLS: {other}"),
    };
    CallError::Certificate(format!("{base}: {said}"))
}

fn ours_refused(alert: &str) -> String {
    format!("the server does not take our certificate (`cert_file`, `key_file`): it says {alert}")
}

fn find_tls<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a rustls::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<rustls::Error>() {
            return Some(found);
        }
        // An I/O error shows the error inside it not as its source, but as itself.
        let inside = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        next = match inside {
            Some(inside) => Some(inside as &(dyn std::error::Error + 'static)),
            None => error.source(),
        };
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read_with_its_message() {
        let mut headers = HeaderMap::new();
        assert_eq!(status_of(&headers), None);
        headers.insert("grpc-status", HeaderValue::from_static("0"));
        assert_eq!(status_of(&headers), Some(Ok(())));
        headers.insert("grpc-status", HeaderValue::from_static("14"));
        headers.insert("grpc-message", HeaderValue::from_static("etcdserver: no%20leader 5%"));
        let expected = CallError::Status { code: 14, message: "etcdserver: no leader 5%".into() };
        assert_eq!(status_of(&headers), Some(Err(expected)));
    }

    #[tokio::test]
    async fn a_port_where_nobody_listens_is_named() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let base = format!("http://{}", listener.local_addr().expect("an address"));
        drop(listener);
        let error = Channel::connect(&base, None, None, &Resolver::new(), 1).await.expect_err("nobody is there");
        assert!(matches!(&error, CallError::Broken(why) if why.starts_with(&base)), "{error}");
    }
}
