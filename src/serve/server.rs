//! Accepting connections: how many, how long, how large.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::middleware;
use axum::routing::{get, post};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, oneshot};

use super::{Ask, Shared, act, alertmanager, control, exposition, guard, ofrep, orders, page, prometheus, wrap};
use crate::limits;
use crate::telemetry::Metric;

/// A request's head must be whole by then.
const HEAD_TIME: Duration = Duration::from_secs(10);

/// The server could not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("cannot listen on {address}: {error}; is another brownout running? choose another address in serve.listen")]
    Listen { address: String, error: std::io::Error },
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
        let service = TowerToHyperService::new(app.clone());
        tokio::spawn(async move {
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIME)
                .max_buf_size(64 << 10)
                .serve_connection(TokioIo::new(stream), service);
            // A client that breaks off is no event of ours.
            drop(connection.await);
            drop(place);
        });
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
        .merge(prometheus::routes(&shared))
        .merge(alertmanager::routes())
        .merge(act::routes())
        .merge(control::routes())
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
