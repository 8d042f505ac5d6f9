//! gRPC on the same port as everything else: connections that begin with HTTP/2's preface come here.
//!
//! | service | methods |
//! | --- | --- |
//! | `flagd.sync.v1.FlagSyncService` | `SyncFlags`, `FetchAllFlags`, `GetMetadata` |
//! | `envoy.service.runtime.v3.RuntimeDiscoveryService` | `StreamRuntime`, `FetchRuntime` |
//! | `envoy.service.discovery.v3.AggregatedDiscoveryService` | `StreamAggregatedResources`, for runtime layers |
//! | `envoy.service.ratelimit.v3.RateLimitService` | `ShouldRateLimit` |
//!
//! There is no generated code and no gRPC framework: a message is five bytes and its content, and a status is a trailer.
//! <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>. Compressed messages are refused. While nobody
//! connects this costs nothing.

mod flagd;
mod ratelimit;
mod runtime;
mod wire;

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use hyper::body::{Frame, Incoming};
use tokio::sync::mpsc;

use super::stream::{Frames, Sender};
use super::{Kill, Shared};
use crate::limits;

/// gRPC's status codes, as far as we use them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Code {
    Ok = 0,
    InvalidArgument = 3,
    ResourceExhausted = 8,
    Unimplemented = 12,
    Unavailable = 14,
}

/// Why a call failed.
#[derive(Debug)]
struct Failed(Code, &'static str);

/// What a call is answered with.
pub(super) enum Reply {
    /// One message, or none and why.
    One(Option<Bytes>, HeaderMap),
    Stream(Frames),
}

/// The body of an answer: frames of data, then trailers.
pub(super) struct GrpcBody {
    first: Option<Bytes>,
    trailers: Option<HeaderMap>,
    stream: Option<Frames>,
}

impl hyper::body::Body for GrpcBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        match &mut self.stream {
            Some(stream) => Pin::new(stream).poll_frame(context),
            None => Poll::Ready(self.trailers.take().map(|trailers| Ok(Frame::trailers(trailers)))),
        }
    }
}

/// Answers one call.
pub(super) async fn call(shared: Shared, kill: Kill, request: Request<Incoming>) -> Response<GrpcBody> {
    let is_grpc = request.headers().get(header::CONTENT_TYPE).is_some_and(|kind| {
        kind.to_str()
            .is_ok_and(|kind| kind.starts_with("application/grpc") && !kind.starts_with("application/grpc-web"))
    });
    if !is_grpc {
        let mut response = Response::new(GrpcBody {
            first: Some(Bytes::from_static(b"HTTP/2 is for gRPC here; ask by HTTP/1.1\n")),
            trailers: None,
            stream: None,
        });
        *response.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        return response;
    }
    let path = request.uri().path().to_owned();
    let body = request.into_body();
    let reply = match path.as_str() {
        "/flagd.sync.v1.FlagSyncService/SyncFlags" => flagd::sync(shared, kill, body).await,
        "/flagd.sync.v1.FlagSyncService/FetchAllFlags" => flagd::fetch(&shared, body).await,
        "/flagd.sync.v1.FlagSyncService/GetMetadata" => flagd::metadata(body).await,
        "/envoy.service.runtime.v3.RuntimeDiscoveryService/StreamRuntime"
        | "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources" => {
            runtime::stream(shared, kill, body)
        }
        "/envoy.service.runtime.v3.RuntimeDiscoveryService/FetchRuntime" => runtime::fetch(&shared, body).await,
        "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit" => ratelimit::ask(&shared, body).await,
        _ => Err(Failed(Code::Unimplemented, "there is no such method here")),
    };
    let body = match reply {
        Ok(Reply::One(message, trailers)) => GrpcBody { first: message, trailers: Some(trailers), stream: None },
        Ok(Reply::Stream(frames)) => GrpcBody { first: None, trailers: None, stream: Some(frames) },
        Err(Failed(code, why)) => GrpcBody { first: None, trailers: Some(status(code, why)), stream: None },
    };
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}

fn status(code: Code, message: &'static str) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from(code as u32));
    if !message.is_empty() {
        trailers.insert("grpc-message", HeaderValue::from_static(message));
    }
    trailers
}

fn ok(message: &wire::Message) -> Reply {
    Reply::One(Some(framed(&message.0)), status(Code::Ok, ""))
}

/// A message with its five bytes before it.
fn framed(message: &[u8]) -> Bytes {
    let mut bytes = Vec::with_capacity(message.len() + 5);
    bytes.push(0);
    bytes.extend_from_slice(&(message.len() as u32).to_be_bytes());
    bytes.extend_from_slice(message);
    Bytes::from(bytes)
}

/// Opens a stream of answers.
fn open(shared: &Shared, kill: Kill) -> Result<(Sender, Frames), Failed> {
    Sender::open(shared, kill).ok_or(Failed(Code::Unavailable, "too many streams are open"))
}

/// Messages out of a body, one by one.
struct Messages {
    body: Incoming,
    held: Vec<u8>,
}

impl Messages {
    fn of(body: Incoming) -> Messages {
        Messages { body, held: Vec::new() }
    }

    /// The next message; `None` at the end.
    async fn next(&mut self) -> Result<Option<Vec<u8>>, Failed> {
        loop {
            if let Some(message) = self.whole()? {
                return Ok(Some(message));
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(Err(_)) => return Err(Failed(Code::Unavailable, "the connection broke off")),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.held.extend_from_slice(&data);
                    }
                }
            }
        }
    }

    fn whole(&mut self) -> Result<Option<Vec<u8>>, Failed> {
        let Some((head, rest)) = self.held.split_at_checked(5) else { return Ok(None) };
        if head[0] != 0 {
            return Err(Failed(Code::Unimplemented, "compressed messages are not taken"));
        }
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
        if length > limits::HTTP_REQUEST_BYTES {
            return Err(Failed(Code::ResourceExhausted, "the message is too long"));
        }
        if rest.len() < length {
            return Ok(None);
        }
        let message = rest[..length].to_vec();
        self.held.drain(..5 + length);
        Ok(Some(message))
    }

    /// The one message of a simple call.
    async fn only(mut self) -> Result<Vec<u8>, Failed> {
        self.next().await?.ok_or(Failed(Code::InvalidArgument, "the call has no message"))
    }

    /// Hands all messages on to a channel; ends with the body or its reader.
    async fn forward(mut self, to: mpsc::Sender<Vec<u8>>) {
        while let Ok(Some(message)) = self.next().await {
            if to.send(message).await.is_err() {
                return;
            }
        }
    }
}
