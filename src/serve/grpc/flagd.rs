//! flagd's sync protocol: the whole document at once, and again at each change.
//! <https://github.com/open-feature/flagd-schemas/blob/main/protobuf/flagd/sync/v1/sync.proto>.

use std::sync::Arc;

use hyper::body::{Frame, Incoming};
use serde_json::json;

use super::wire::{Message, structure};
use super::{Code, Failed, Kill, Messages, Reply, Shared, framed, ok, open, status};

/// `SyncFlagsResponse` and `FetchAllFlagsResponse`: field 1 is the document.
fn message(document: &str) -> Message {
    Message::default().text(1, document)
}

pub(super) async fn fetch(shared: &Shared, body: Incoming) -> Result<Reply, Failed> {
    Messages::of(body).only().await?;
    let board = Arc::clone(&shared.switchboard.borrow());
    Ok(ok(&message(board.flagd_json())))
}

pub(super) async fn metadata(body: Incoming) -> Result<Reply, Failed> {
    Messages::of(body).only().await?;
    let about = json!({ "source": "brownout" });
    let about = about.as_object().map(structure).unwrap_or_default();
    Ok(ok(&Message::default().bytes(2, &about.0)))
}

pub(super) async fn sync(shared: Shared, kill: Kill, body: Incoming) -> Result<Reply, Failed> {
    Messages::of(body).only().await?;
    let (sender, frames) = open(&shared, kill)?;
    let mut boards = shared.switchboard.clone();
    tokio::spawn(async move {
        loop {
            let board = Arc::clone(&boards.borrow_and_update());
            let sent = sender.send(Frame::data(framed(&message(board.flagd_json()).0))).await;
            if sent.is_err() {
                return;
            }
            tokio::select! {
                changed = boards.changed() => if changed.is_err() { break },
                () = sender.gone() => return,
            }
        }
        // The daemon stops: providers keep what they have and try again.
        drop(sender.send(Frame::trailers(status(Code::Unavailable, "shutting down"))).await);
    });
    Ok(Reply::Stream(frames))
}
