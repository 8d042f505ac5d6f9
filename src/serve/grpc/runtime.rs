//! Envoy's runtime discovery over gRPC (state of the world): a layer at once, and again at each change.
//! <https://www.envoyproxy.io/docs/envoy/latest/api-docs/xds_protocol>.

use std::collections::BTreeSet;
use std::sync::Arc;

use hyper::body::{Frame, Incoming};
use tokio::sync::mpsc;

use super::wire::{Field, Message, fields, structure};
use super::{Code, Failed, Kill, Messages, Reply, Shared, framed, ok, open, status};
use crate::serve::{Switchboard, envoy};
use crate::telemetry::Metric;

/// What Envoy asks with: `DiscoveryRequest`.
#[derive(Debug, Default, PartialEq)]
struct Wanted {
    names: BTreeSet<String>,
    type_url: String,
    /// It could not use what it got.
    refused: bool,
}

fn wanted(message: &[u8]) -> Result<Wanted, Failed> {
    let mut wanted = Wanted::default();
    for (number, field) in fields(message).ok_or(Failed(Code::InvalidArgument, "this is no DiscoveryRequest"))? {
        match (number, field) {
            (3, Field::Bytes(_)) => drop(wanted.names.insert(field.text().to_owned())),
            (4, Field::Bytes(_)) => field.text().clone_into(&mut wanted.type_url),
            (6, Field::Bytes(_)) => wanted.refused = true,
            _ => {}
        }
    }
    Ok(wanted)
}

/// `DiscoveryResponse` with a layer for each name.
fn response(board: &Switchboard, names: &BTreeSet<String>, nonce: u64) -> Message {
    let layer = structure(&envoy::layer(board));
    let mut message = Message::default().text(1, &board.version);
    for name in names {
        let runtime = Message::default().text(1, name).bytes(2, &layer.0);
        let any = Message::default().text(1, envoy::TYPE_URL).bytes(2, &runtime.0);
        message = message.bytes(2, &any.0);
    }
    message.text(4, envoy::TYPE_URL).text(5, &nonce.to_string())
}

pub(super) async fn fetch(shared: &Shared, body: Incoming) -> Result<Reply, Failed> {
    let wanted = wanted(&Messages::of(body).only().await?)?;
    let board = Arc::clone(&shared.switchboard.borrow());
    Ok(ok(&response(&board, &wanted.names, 1)))
}

pub(super) fn stream(shared: Shared, kill: Kill, body: Incoming) -> Result<Reply, Failed> {
    let (sender, frames) = open(&shared, kill)?;
    let (asks_in, mut asks) = mpsc::channel(4);
    let mut boards = shared.switchboard.clone();
    tokio::spawn(async move {
        let reading = Messages::of(body).forward(asks_in);
        tokio::pin!(reading);
        let (mut names, mut nonce, mut told) = (BTreeSet::new(), 0_u64, String::new());
        loop {
            let board = Arc::clone(&boards.borrow_and_update());
            if !names.is_empty() && board.version != told {
                nonce += 1;
                told.clone_from(&board.version);
                if sender.send(Frame::data(framed(&response(&board, &names, nonce).0))).await.is_err() {
                    return;
                }
            }
            tokio::select! {
                changed = boards.changed() => if changed.is_err() { break },
                () = sender.gone() => return,
                () = &mut reading => return,
                Some(ask) = asks.recv() => match wanted(&ask) {
                    Ok(wanted) => {
                        if wanted.refused {
                            shared.telemetry.count(Metric::EnvoyRefusals, &[]);
                        }
                        let ours = wanted.type_url.is_empty() || wanted.type_url == envoy::TYPE_URL;
                        // An answer to what we sent names the same layers; other names are a new wish.
                        if ours && wanted.names != names {
                            names = wanted.names;
                            told.clear();
                        }
                    }
                    Err(Failed(code, why)) => {
                        drop(sender.send(Frame::trailers(status(code, why))).await);
                        return;
                    }
                },
            }
        }
        drop(sender.send(Frame::trailers(status(Code::Unavailable, "shutting down"))).await);
    });
    Ok(Reply::Stream(frames))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_and_a_refusal_is_noticed() {
        let request = Message::default()
            .text(1, "3-1")
            .bytes(2, b"\x0a\x01n")
            .text(3, "brownout")
            .text(4, envoy::TYPE_URL)
            .text(5, "2");
        let read = wanted(&request.0).expect("a request");
        assert_eq!((read.names.len(), read.type_url.as_str(), read.refused), (1, envoy::TYPE_URL, false));
        assert!(wanted(&request.bytes(6, b"\x08\x03").0).expect("a request").refused);
        assert!(wanted(&[0x0a, 9]).is_err());
    }
}
