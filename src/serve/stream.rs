//! Streams of events: bounded in number, coalesced, with heartbeats; a reader that does not keep up is dropped and counted.
//!
//! A stream holds no queue of events: it is told that the switches changed, and sends what they are now. A reader that was
//! slow for a moment therefore skips states, and one that takes nothing for [`limits::STREAM_PATIENCE`] loses its
//! connection.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Frame;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::{Kill, Shared, Switchboard};
use crate::limits;
use crate::telemetry::Metric;

/// Proxies and readers forget connections that say nothing.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// A body whose frames come one by one from a task.
pub(super) struct Frames(mpsc::Receiver<Frame<Bytes>>);

impl hyper::body::Body for Frames {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.0.poll_recv(context).map(|frame| frame.map(Ok))
    }
}

/// The sending end of [`Frames`], and a place among the streams.
pub(super) struct Sender {
    frames: mpsc::Sender<Frame<Bytes>>,
    shared: Shared,
    kill: Kill,
    _place: OwnedSemaphorePermit,
}

/// The reader is gone or too slow.
pub(super) struct Gone;

impl Sender {
    /// A body and its sending end; `None` when there are too many streams, which is counted.
    pub(super) fn open(shared: &Shared, kill: Kill) -> Option<(Sender, Frames)> {
        let Ok(place) = Arc::clone(&shared.streams).try_acquire_owned() else {
            shared.telemetry.count(Metric::StreamsRefused, &[]);
            return None;
        };
        let (frames, body) = mpsc::channel(4);
        Some((Sender { frames, shared: shared.clone(), kill, _place: place }, Frames(body)))
    }

    /// Hands one frame on; waits for a slow reader, but not for ever.
    pub(super) async fn send(&self, frame: Frame<Bytes>) -> Result<(), Gone> {
        match tokio::time::timeout(limits::STREAM_PATIENCE, self.frames.send(frame)).await {
            Ok(sent) => sent.map_err(|_| Gone),
            Err(_) => {
                self.shared.telemetry.count(Metric::StreamsDropped, &[]);
                self.kill.0.notify_one();
                Err(Gone)
            }
        }
    }

    /// Resolves when the reader has gone away.
    pub(super) async fn gone(&self) {
        self.frames.closed().await;
    }
}

/// The `Last-Event-ID` of a reader that comes back.
pub(super) fn last_event_id(headers: &HeaderMap) -> Option<String> {
    Some(headers.get("last-event-id")?.to_str().ok()?.trim().to_owned())
}

/// A stream of server-sent events. `render` gets the switches as they are, and as they were when it was last asked.
pub(super) fn events(
    shared: Shared,
    kill: Kill,
    mut render: impl FnMut(&Switchboard, Option<&Switchboard>) -> Option<String> + Send + 'static,
) -> Response {
    let Some((sender, body)) = Sender::open(&shared, kill) else {
        let headers = [(header::RETRY_AFTER, "5")];
        return (StatusCode::SERVICE_UNAVAILABLE, headers, "too many streams are open\n").into_response();
    };
    let mut boards = shared.switchboard.clone();
    tokio::spawn(async move {
        let mut before: Option<Arc<Switchboard>> = None;
        loop {
            let board = Arc::clone(&boards.borrow_and_update());
            // The first bytes go out even if there is nothing to tell: the reader sees that it is connected.
            let text = render(&board, before.as_deref());
            let text = text.or_else(|| before.is_none().then(|| ":\n\n".to_owned()));
            if let Some(text) = text
                && sender.send(Frame::data(Bytes::from(text))).await.is_err()
            {
                return;
            }
            before = Some(board);
            loop {
                tokio::select! {
                    changed = boards.changed() => match changed {
                        Ok(()) => break,
                        Err(_) => return,
                    },
                    () = sender.gone() => return,
                    () = tokio::time::sleep(HEARTBEAT) => {
                        if sender.send(Frame::data(Bytes::from_static(b":\n\n"))).await.is_err() {
                            return;
                        }
                    }
                }
            }
        }
    });
    let headers = [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-store")];
    (headers, Body::new(UnsyncBoxBody::new(body))).into_response()
}
