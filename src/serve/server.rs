//! Accepting connections: how many, how long, how large, and of which kind.
//!
//! One port takes HTTP/1.1 and, for gRPC, HTTP/2 with prior knowledge: a connection's first bytes tell them apart. The two
//! calls that applications make with every request of theirs (an OFREP evaluation, `acquire`) are answered before any
//! routing ([`Front`]); everything else goes through the router.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::DefaultBodyLimit;
use axum::http::{Method, Request, Response, StatusCode, Uri, header};
use axum::middleware;
use axum::routing::{get, post};
use hyper::body::{Body as _, Frame, Incoming, SizeHint};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore, oneshot};

use super::{
    Ask, Kill, Shared, act, alertmanager, control, envoy, exposition, flagd, fleet, grpc, guard, limits as enforced,
    ofrep, orders, page, plain, prometheus, wrap,
};
use crate::limits;
use crate::telemetry::Metric;

/// A request's head must be whole by then.
const HEAD_TIME: Duration = Duration::from_secs(10);
/// HTTP/2 peers that do not answer a ping are gone; readers of streams would otherwise be kept for ever.
const PING: Duration = Duration::from_secs(30);
/// How HTTP/2 begins.
const PREFACE: &[u8] = b"PRI ";

/// The server could not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("cannot listen on {address}: {error}; is another brownout running? choose another address in serve.listen")]
    Listen { address: String, error: std::io::Error },
    #[error("cannot start the thread that serves: {0}")]
    Thread(std::io::Error),
}

/// Serves until the task is dropped.
pub async fn serve(listener: TcpListener, shared: Shared) {
    let app = router(shared.clone());
    let places = Arc::new(Semaphore::new(limits::HTTP_CONNECTIONS));
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of file descriptors, most likely: others must end before we go on.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            shared.telemetry.count(Metric::HttpRefused, &[]);
            continue;
        };
        drop(stream.set_nodelay(true));
        let (app, shared) = (app.clone(), shared.clone());
        tokio::spawn(async move {
            connection(stream, app, shared).await;
            drop(place);
        });
    }
}

/// Serves one connection until it ends. A client that breaks off is no event of ours.
async fn connection(stream: TcpStream, app: Router, shared: Shared) {
    let Ok(is_http2) = tokio::time::timeout(HEAD_TIME, begins_http2(&stream)).await else { return };
    let kill = Kill(Arc::new(Notify::new()));
    if is_http2 {
        let asked = kill.clone();
        let service = hyper::service::service_fn(move |request| {
            let (shared, kill) = (shared.clone(), asked.clone());
            async move { Ok::<_, std::convert::Infallible>(grpc::call(shared, kill, request).await) }
        });
        let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        builder.timer(TokioTimer::new()).keep_alive_interval(PING).keep_alive_timeout(HEAD_TIME);
        builder.max_concurrent_streams(limits::STREAMS as u32).max_header_list_size(16 << 10);
        let serving = builder.serve_connection(TokioIo::new(stream), service);
        tokio::select! {
            ended = serving => drop(ended),
            () = kill.0.notified() => {}
        }
        return;
    }
    let front = Front { shared, app: TowerToHyperService::new(app), kill: kill.clone() };
    let serving = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(64 << 10)
        .serve_connection(TokioIo::new(stream), front);
    tokio::select! {
        ended = serving => drop(ended),
        () = kill.0.notified() => {}
    }
}

/// Looks at a connection's first bytes without taking them.
async fn begins_http2(stream: &TcpStream) -> bool {
    let mut first = [0; PREFACE.len()];
    loop {
        match stream.peek(&mut first).await {
            Ok(length) if length > 0 && PREFACE.starts_with(&first[..length]) && length < PREFACE.len() => {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            Ok(length) => return first[..length] == *PREFACE,
            Err(_) => return false,
        }
    }
}

/// What every request of a connection goes through first.
struct Front {
    shared: Shared,
    app: TowerToHyperService<Router>,
    kill: Kill,
}

/// The calls that are answered without the router.
enum Hot {
    Evaluate,
    Acquire,
}

impl Front {
    /// Whether a request is a plain one of the hot calls. Whatever is unusual about it (a browser's `Origin`, a name that
    /// needs decoding, a foreign `Host`) is the router's.
    fn hot(&self, request: &Request<Incoming>) -> Option<Hot> {
        let headers = request.headers();
        if request.method() != Method::POST || headers.contains_key(header::ORIGIN) {
            return None;
        }
        let host = headers.get(header::HOST)?.to_str().ok()?;
        if !guard::host_allowed(host, &self.shared.about.borrow().allowed_hosts) {
            return None;
        }
        let path = request.uri().path();
        if let Some(key) = path.strip_prefix(ofrep::SINGLE) {
            return (!key.is_empty() && !key.contains(['/', '%'])).then_some(Hot::Evaluate);
        }
        enforced::path_name(path).map(|_| Hot::Acquire)
    }
}

/// A body that is known whole, or one that the router writes.
enum Reply {
    Whole(Option<Bytes>),
    Routed(Body),
}

impl hyper::body::Body for Reply {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        match &mut *self {
            Reply::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Reply::Routed(body) => Pin::new(body).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Reply::Whole(bytes) => bytes.is_none(),
            Reply::Routed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Reply::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Reply::Routed(body) => body.size_hint(),
        }
    }
}

type Routing = <TowerToHyperService<Router> as hyper::service::Service<Request<Incoming>>>::Future;

/// An answer in the making.
enum Answering {
    /// A hot call, while its body is read.
    Hot {
        shared: Shared,
        uri: Uri,
        hot: Hot,
        body: Incoming,
        read: Bytes,
    },
    Routed(Pin<Box<Routing>>),
}

impl Future for Answering {
    type Output = Result<Response<Reply>, std::convert::Infallible>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let (shared, uri, hot, body, read) = match &mut *self {
            Answering::Routed(routing) => {
                return routing.as_mut().poll(context).map_ok(|response| response.map(Reply::Routed));
            }
            Answering::Hot { shared, uri, hot, body, read } => (shared, uri, hot, body, read),
        };
        while !body.is_end_stream() {
            let data = match ready!(Pin::new(&mut *body).poll_frame(context)) {
                None => break,
                Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
                Some(Err(_)) => return Poll::Ready(Ok(cut_off())),
            };
            if read.len() + data.len() > limits::HTTP_REQUEST_BYTES {
                return Poll::Ready(Ok(cut_off()));
            }
            // Nearly always all of it comes at once, and nothing is copied.
            *read = if read.is_empty() { data } else { [&read[..], &data[..]].concat().into() };
        }
        let path = uri.path();
        Poll::Ready(Ok(match hot {
            Hot::Evaluate => ofrep::evaluate(shared, path.strip_prefix(ofrep::SINGLE).unwrap_or(path), read),
            Hot::Acquire => enforced::acquire(shared, enforced::path_name(path).unwrap_or(path), read),
        }
        .map(|bytes| Reply::Whole(Some(bytes).filter(|bytes| !bytes.is_empty())))))
    }
}

fn cut_off() -> Response<Reply> {
    let mut response = Response::new(Reply::Whole(Some(Bytes::from_static(b"the body is too long or was cut off\n"))));
    *response.status_mut() = StatusCode::PAYLOAD_TOO_LARGE;
    response
}

impl hyper::service::Service<Request<Incoming>> for Front {
    type Response = Response<Reply>;
    type Error = std::convert::Infallible;
    type Future = Answering;

    fn call(&self, mut request: Request<Incoming>) -> Answering {
        let Some(hot) = self.hot(&request) else {
            request.extensions_mut().insert(self.kill.clone());
            return Answering::Routed(Box::pin(self.app.call(request)));
        };
        let (parts, body) = request.into_parts();
        Answering::Hot { shared: self.shared.clone(), uri: parts.uri, hot, body, read: Bytes::new() }
    }
}

fn router(shared: Shared) -> Router {
    Router::new()
        .route("/-/healthy", get(async || "healthy\n"))
        .route("/-/ready", get(ready))
        .route("/-/reload", post(reload).put(reload))
        .merge(
            Router::new()
                .route("/metrics", get(exposition::metrics))
                .route("/federate", get(exposition::federate))
                .layer(middleware::from_fn(wrap::gzip)),
        )
        .merge(ofrep::routes())
        .merge(plain::routes())
        .merge(flagd::routes())
        .merge(envoy::routes())
        .merge(enforced::routes())
        .merge(prometheus::routes(&shared))
        .merge(alertmanager::routes())
        .merge(act::routes())
        .merge(control::routes())
        .merge(fleet::routes())
        .merge(orders::routes())
        .merge(page::routes())
        .fallback(async || (StatusCode::NOT_FOUND, "nothing here; the page is at /\n"))
        .layer(middleware::from_fn_with_state(shared.clone(), guard::check))
        .layer(DefaultBodyLimit::max(limits::HTTP_REQUEST_BYTES))
        .with_state(shared)
}

async fn ready(axum::extract::State(shared): axum::extract::State<Shared>) -> (StatusCode, &'static str) {
    if *shared.ready.borrow() { (StatusCode::OK, "ready\n") } else { (StatusCode::SERVICE_UNAVAILABLE, "starting\n") }
}

async fn reload(axum::extract::State(shared): axum::extract::State<Shared>) -> (StatusCode, String) {
    let (reply, answer) = oneshot::channel();
    if shared.asks.send(Ask::Reload(reply)).await.is_err() {
        return (StatusCode::SERVICE_UNAVAILABLE, "shutting down\n".into());
    }
    match answer.await {
        Ok(Ok(())) => (StatusCode::OK, "reloaded\n".into()),
        Ok(Err(problems)) => {
            (StatusCode::INTERNAL_SERVER_ERROR, format!("the old configuration stays in use\n\n{problems}\n"))
        }
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "shutting down\n".into()),
    }
}
