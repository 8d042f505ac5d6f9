//! Central query APIs, asked for this host or, in a fleet, by the host that counts for all: it puts the answer into the
//! store under its office, and every host takes it from there. An answer of an office that has ended is refused by the
//! store, so a host that was away gives nothing late.
//!
//! Where no answer came for three intervals, its series end: rules that read them have no data, and hold.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use crate::model::{Batch, Source};
use crate::signals::query::{Answer, Asker, Settings};
use crate::store::{Etcd, Store as _};
use crate::switches::{HandOver, Shelf};
use crate::telemetry::Telemetry;
use crate::time::{Clock, Timestamp};

/// Intervals without an answer after which there is none any more.
const MISSED: u32 = 3;
/// Beside that, for an election.
const GRACE: Duration = Duration::from_secs(20);

/// Asks for as long as it runs.
///
/// # Errors
/// When the client cannot be made: a file that cannot be read.
pub(super) async fn run(
    settings: Settings,
    fleet: Option<Etcd>,
    clock: Clock,
    telemetry: Telemetry,
    batches: mpsc::Sender<Batch>,
) -> Result<(), String> {
    let source = Source::new("query", &settings.name);
    let (name, interval) = (settings.name.clone(), settings.interval);
    let made = tokio::task::spawn_blocking(move || Asker::new(settings, telemetry)).await;
    let asker = made.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
    let mut beat = tokio::time::interval(interval);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let Some(store) = fleet else {
        loop {
            beat.tick().await;
            let answer = asker.ask(clock.now()).await;
            if batches.send(batch(&source, clock.now(), &answer)).await.is_err() {
                return Ok(());
            }
        }
    };
    let (mut census, mut known, mut ends) = (store.census(), None, None);
    census.mark_changed();
    loop {
        tokio::select! {
            changed = census.changed() => {
                if changed.is_err() {
                    return Ok(());
                }
                let news = census.borrow_and_update().queries.get(&name).cloned();
                let Some(news) = news.filter(|news| known.as_ref() != Some(news)) else { continue };
                // What was there before this daemon began is old: it is taken when it is renewed.
                let first = known.replace(Arc::clone(&news)).is_none();
                if first && !census_is_ours(&store) {
                    continue;
                }
                let Ok(answer) = serde_json::from_value::<Answer>(Value::clone(&news)) else { continue };
                ends = Some(clock.now() + interval * MISSED + GRACE);
                drop(batches.send(batch(&source, clock.now(), &answer)).await);
            }
            _ = beat.tick() => {
                if ends.is_some_and(|ends| ends <= clock.now()) {
                    ends = None;
                    tracing::warn!(api = name, "nobody in the fleet asks the query API any more: its series end");
                    drop(batches.send(Batch::ended(source.clone(), clock.now())).await);
                }
                give(&store, &asker, &name, clock).await;
            }
        }
    }
}

fn census_is_ours(store: &Etcd) -> bool {
    store.term().borrow().is_some()
}

/// Asks for the whole fleet, if this host counts.
async fn give(store: &Etcd, asker: &Asker, name: &str, clock: Clock) {
    let Some(term) = store.term().borrow().clone() else { return };
    let answer = asker.ask(clock.now()).await;
    let state = serde_json::to_value(&answer).ok();
    let given = store.hand_over(vec![HandOver { shelf: Shelf::Queries, id: name.to_owned(), state, term }]).await;
    if let Err(error) = given {
        tracing::warn!(api = name, %error, "what a query API answered was not given to the fleet");
    }
}

fn batch(source: &Source, now: Timestamp, answer: &Answer) -> Batch {
    Batch { samples: answer.samples(), ..Batch::ended(source.clone(), now) }
}
