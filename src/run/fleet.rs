//! Between the engine and a fleet's store: what the store says becomes events, and what is for the store is carried there by
//! a task of its own, so that nobody else waits for a store that is slow or away.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::perform::Work;
use crate::alerts::{DeliveryId, Notification};
use crate::engine::{DeliveryOutcome, Effects, Event, Reply};
use crate::limits;
use crate::store::{Etcd, Mine, Store, StoreError};
use crate::switches::{HandOver, Member, ScaleCall, Shares, StageWrite, Term, Write};
use crate::telemetry::{Metric, Telemetry};

/// How long after a failure the outbox is asked for again.
const OUTBOX_RETRY: Duration = Duration::from_millis(500);
/// About how long a host waits before it asks for the latest decisions.
const DECISIONS_PAUSE: Duration = Duration::from_secs(1);

/// What is to be written to the fleet's store, in this order.
#[derive(Default)]
struct Errand {
    writes: Vec<Write>,
    hand_over: Vec<HandOver>,
    /// Sent when all of `hand_over` was taken.
    calls: Vec<ScaleCall>,
    /// The same.
    grouped: Vec<Notification>,
    /// Told when the writes were made; what was refused for good is told instead.
    replies: Vec<(oneshot::Sender<Reply>, Reply)>,
    flushed: Option<oneshot::Sender<()>>,
    /// The next stage of the fleet's configuration.
    stage: Option<StageWrite>,
    shares: Option<(Shares, Term)>,
}

/// The way to a fleet's store.
pub(super) struct Courier {
    store: Etcd,
    errands: mpsc::Sender<Errand>,
}

/// What carries errands out.
pub(super) struct Carrier {
    store: Etcd,
    errands: mpsc::Receiver<Errand>,
    events: mpsc::Sender<Event>,
    /// Where calls go when they may be sent.
    work: mpsc::Sender<Work>,
    telemetry: Telemetry,
}

/// A courier and the task that works for it.
pub(super) fn courier(
    store: Etcd,
    events: mpsc::Sender<Event>,
    work: mpsc::Sender<Work>,
    telemetry: Telemetry,
) -> (Courier, Carrier) {
    let (sender, errands) = mpsc::channel(limits::STORE_QUEUE);
    (Courier { store: store.clone(), errands: sender }, Carrier { store, errands, events, work, telemetry })
}

impl Courier {
    /// Takes what of the effects is for the store. Calls stay with the effects unless they depend on the outbox.
    pub(super) async fn take(&self, work: &mut Work, events: &mpsc::Sender<Event>) {
        let effects = &mut work.effects;
        for (rule, vote) in std::mem::take(&mut effects.votes) {
            self.store.put_mine(Mine::Vote(rule, vote));
        }
        if let Some(report) = effects.report.take() {
            self.store.put_mine(Mine::Alerts(Arc::new(report)));
        }
        if let Some(member) = effects.presence.take() {
            self.store.put_mine(Mine::Presence(member));
        }
        let hand_over = std::mem::take(&mut effects.hand_over);
        let calls = if hand_over.is_empty() { Vec::new() } else { std::mem::take(&mut effects.calls) };
        let grouped = std::mem::take(&mut effects.grouped);
        let writes = std::mem::take(&mut effects.writes);
        let answers = if writes.is_empty() { Vec::new() } else { std::mem::take(&mut effects.replies) };
        let replies = answers.into_iter().filter_map(|(number, reply)| Some((work.waiting.remove(&number)?, reply)));
        let (stage, shares) = (effects.stage.take(), effects.shares.take());
        let (replies, flushed) = (replies.collect(), work.flushed.take());
        let errand = Errand { writes, hand_over, calls, grouped, replies, flushed, stage, shares };
        if errand.is_empty() {
            return;
        }
        if let Err(error) = self.errands.try_send(errand) {
            let errand = error.into_inner();
            tracing::error!(writes = errand.writes.len(), "too much waits for the shared store already");
            refuse(events, errand, "too much waits for the shared store").await;
        }
    }
}

impl Errand {
    fn is_empty(&self) -> bool {
        self.writes.is_empty()
            && self.hand_over.is_empty()
            && self.flushed.is_none()
            && self.stage.is_none()
            && self.shares.is_none()
    }
}

async fn refuse(events: &mpsc::Sender<Event>, errand: Errand, why: &str) {
    for write in errand.writes {
        drop(events.send(Event::StoreRefused { place: write.place, name: write.name, moved: false }).await);
    }
    for (waiting, _) in errand.replies {
        drop(waiting.send(Reply::Refused(why.to_owned())));
    }
    let ids: Vec<_> = errand.hand_over.into_iter().map(|what| (what.shelf, what.id)).collect();
    if !ids.is_empty() {
        drop(events.send(Event::NotHandedOver(ids)).await);
    }
    let calls = errand.calls.into_iter().map(|call| DeliveryId(call.id));
    for id in calls.chain(errand.grouped.into_iter().map(|message| message.id)) {
        let outcome = DeliveryOutcome::Retry { reason: why.to_owned(), after: None };
        drop(events.send(Event::Delivered(id, outcome)).await);
    }
}

impl Carrier {
    /// Carries errands out until the courier is gone.
    pub(super) async fn run(mut self) {
        while let Some(mut errand) = self.errands.recv().await {
            let mut trouble = None;
            for write in std::mem::take(&mut errand.writes) {
                trouble = self.write(write).await.or(trouble);
            }
            for (waiting, reply) in std::mem::take(&mut errand.replies) {
                drop(waiting.send(trouble.clone().map_or(reply, Reply::Refused)));
            }
            self.hand_over(&mut errand).await;
            self.config(&mut errand).await;
            if let Some(flushed) = errand.flushed {
                // Nobody waits any more when this fails.
                flushed.send(()).unwrap_or_default();
            }
        }
    }

    /// Why it was not written, unless somebody else was first: then it is given again.
    async fn write(&self, write: Write) -> Option<String> {
        let (name, place, level) = (write.name.clone(), write.place.clone(), write.record.level.clone());
        match self.store.compare_and_put(write).await {
            Ok(table) => {
                tracing::info!(switch = %name, level, revision = table.revision, "switch written");
                None
            }
            Err(error) => {
                let moved = matches!(error, StoreError::Conflict { .. });
                if !moved {
                    self.telemetry.count(Metric::StoreWriteFailures, &[]);
                    tracing::error!(switch = %name, %error, "switch not known to be written");
                }
                drop(self.events.send(Event::StoreRefused { place, name, moved }).await);
                (!moved).then(|| error.to_string())
            }
        }
    }

    /// What is not taken is decided anew: on what the store has.
    async fn config(&self, errand: &mut Errand) {
        if let Some(write) = errand.stage.take() {
            match self.store.put_stage(write).await {
                Ok(staged) => {
                    let passed = staged.stage.history.last();
                    let (what, why) = passed.map_or(("", ""), |passed| (passed.what.words(), passed.why.as_str()));
                    tracing::info!(stable = staged.stage.stable, what, why, "the fleet's configuration goes on");
                }
                Err(error) => tracing::warn!(%error, "the next stage of the fleet's configuration was not written"),
            }
        }
        if let Some((shares, term)) = errand.shares.take()
            && let Err(error) = self.store.put_shares(shares, term).await
        {
            tracing::warn!(%error, "the shares of limits were not written");
        }
    }

    /// Calls and the fleet's messages wait for the outbox: another host must be able to go on with them. Of an office that
    /// has ended none is made.
    async fn hand_over(&self, errand: &mut Errand) {
        let hand_over = std::mem::take(&mut errand.hand_over);
        if let Err(error) = self.give(hand_over.clone()).await {
            self.telemetry.count(Metric::StoreWriteFailures, &[]);
            tracing::warn!(%error, keys = hand_over.len(), "the outbox did not take what was for it");
            if !matches!(error, StoreError::Deposed { .. }) {
                let (calls, grouped) = (std::mem::take(&mut errand.calls), std::mem::take(&mut errand.grouped));
                refuse(&self.events, Errand { hand_over, calls, grouped, ..Errand::default() }, &error.to_string())
                    .await;
            }
            return;
        }
        if !errand.calls.is_empty() || !errand.grouped.is_empty() {
            let (calls, notifications) = (std::mem::take(&mut errand.calls), std::mem::take(&mut errand.grouped));
            let effects = Effects { calls, notifications, ..Effects::default() };
            drop(self.work.send(Work { effects, waiting: BTreeMap::new(), flushed: None }).await);
        }
    }

    async fn give(&self, hand_over: Vec<HandOver>) -> Result<(), StoreError> {
        if hand_over.is_empty() { Ok(()) } else { self.store.hand_over(hand_over).await }
    }
}

/// Tells the engine what the fleet's store says, but for its table, which the loop watches itself.
pub(super) async fn tell(store: Etcd, events: mpsc::Sender<Event>, telemetry: Telemetry) {
    let (mut reach, mut term, mut census, mut rival) = (store.reach(), store.term(), store.census(), store.rival());
    let (mut staged, mut shares) = (store.staged(), store.shares());
    reach.mark_changed();
    let (mut told, mut asked) = (None, false);
    loop {
        tokio::select! {
            biased;
            Ok(()) = reach.changed() => {
                let connected = reach.borrow_and_update().is_connected();
                if connected && !std::mem::replace(&mut asked, true) {
                    tokio::spawn(tell_decisions(store.clone(), events.clone()));
                }
                drop(events.send(Event::StoreReach(connected)).await);
                // Whoever comes back looks at everything again.
                census.mark_changed();
            }
            Ok(()) = term.changed() => {
                let elected = term.borrow_and_update().clone();
                drop(events.send(Event::Elected(elected.clone())).await);
                census.mark_changed();
                if let Some(elected) = elected {
                    tokio::spawn(tell_outbox(store.clone(), elected, events.clone()));
                }
            }
            Ok(()) = census.changed() => {
                let census = census.borrow_and_update().clone();
                drop(events.send(Event::Census(census)).await);
            }
            Ok(()) = staged.changed() => {
                let staged = staged.borrow_and_update().clone();
                drop(events.send(Event::Staged(staged)).await);
            }
            Ok(()) = shares.changed() => {
                let shares = shares.borrow_and_update().clone();
                drop(events.send(Event::Shares(shares)).await);
            }
            Ok(()) = rival.changed() => {
                let other = rival.borrow_and_update().clone();
                tell_rival(other, &mut told, &telemetry);
                census.mark_changed();
            }
            else => return,
        }
    }
}

/// Fetches the latest decisions, once: what follows is told by the table. Not all hosts ask at one moment.
async fn tell_decisions(store: Etcd, events: mpsc::Sender<Event>) {
    loop {
        tokio::time::sleep(store.jitter(DECISIONS_PAUSE)).await;
        match store.decisions(limits::FLEET_DECISIONS).await {
            Ok(decisions) => return drop(events.send(Event::Decisions(decisions)).await),
            Err(error) => tracing::debug!(%error, "the latest decisions are not known yet"),
        }
    }
}

/// Another host has our name, or has it no more.
fn tell_rival(other: Option<Member>, told: &mut Option<String>, telemetry: &Telemetry) {
    if let Some(before) = told.take() {
        telemetry.forget(Metric::FleetSameName, "address", &before);
    }
    let Some(Member { address, since, zone, .. }) = other else { return };
    let since = since.to_rfc3339();
    tracing::error!(
        address,
        since,
        zone,
        "another host of the fleet has this one's name: this host only reads until the other is gone; set `store.etcd.host` on one of them"
    );
    telemetry.set(Metric::FleetSameName, &[("address", &address)], 1.0);
    *told = Some(address);
}

/// Fetches the outbox for an office, for as long as it lasts.
async fn tell_outbox(store: Etcd, office: Term, events: mpsc::Sender<Event>) {
    let term = store.term();
    while term.borrow().as_ref() == Some(&office) {
        match store.outbox().await {
            Ok(outbox) => return drop(events.send(Event::Outbox(outbox)).await),
            Err(error) => {
                tracing::warn!(%error, "the outbox is not known yet");
                tokio::time::sleep(OUTBOX_RETRY).await;
            }
        }
    }
}
