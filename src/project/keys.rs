//! The task that keeps keys of the shared store as the switches are.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;

use super::Projections;
use super::keeper::LOOK_AGAIN;
use super::render::{Content, content};
use crate::serve::Switchboard;
use crate::store::{Etcd, Store as _};
use crate::telemetry::{Metric, Telemetry};

/// Keeps the keys until the task is dropped. Only the host that counts reads and writes them.
pub async fn keep_keys(
    mut settings: watch::Receiver<Arc<Projections>>,
    mut boards: watch::Receiver<Arc<Switchboard>>,
    store: Etcd,
    telemetry: Telemetry,
) {
    let mut term = store.term();
    let mut failing: BTreeMap<String, String> = BTreeMap::new();
    loop {
        let wanted = Arc::clone(&settings.borrow_and_update());
        let board = Arc::clone(&boards.borrow_and_update());
        let counts = term.borrow_and_update().is_some();
        for projection in wanted.keys.iter().filter(|_| counts) {
            let Content::File(text) = content(&projection.format, &board) else { continue };
            let key = projection.key.as_str();
            match store.keep_key(key, text.as_bytes()).await {
                Ok(changed) => {
                    failing.remove(key);
                    if changed {
                        telemetry.count(Metric::ProjectionsWritten, &[("path", key)]);
                    }
                }
                Err(error) => {
                    telemetry.count(Metric::ProjectionsFailed, &[("path", key)]);
                    let text = error.to_string();
                    if failing.insert(key.to_owned(), text.clone()).as_ref() != Some(&text) {
                        tracing::error!(key, error = text, "a key for others cannot be written; it is tried again");
                    }
                }
            }
        }
        let look_again = async {
            if counts && !wanted.keys.is_empty() {
                tokio::time::sleep(LOOK_AGAIN).await;
            } else {
                std::future::pending().await
            }
        };
        tokio::select! {
            changed = boards.changed() => if changed.is_err() { return },
            changed = settings.changed() => if changed.is_err() { return },
            changed = term.changed() => if changed.is_err() { return },
            () = look_again => {}
        }
    }
}
