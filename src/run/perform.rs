//! Performing what the engine asks: first the journal, then everything that others can see.
//!
//! One task performs effects in their order, so that nothing is seen before it is durable. What has piled up while the
//! disk was busy becomes one record. When the disk does not take a record the failure is counted, the effects are performed
//! all the same (a person must be told, most of all now), and the record is written again with the next one. Deliveries run
//! in tasks of their own, a few for each integration, so that a receiver that hangs holds up only itself.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tokio::sync::{Mutex, Semaphore, mpsc, oneshot, watch};

use super::fleet::Courier;
use crate::alerts::{DeliveryId, Notification};
use crate::engine::{DeliveryOutcome, Effects, Event, Reply};
use crate::journal::{AuditLog, Journal};
use crate::limits;
use crate::notify;
use crate::store::{Embedded, Store, StoreError};
use crate::switches::{Audited, ScaleCall, Write};
use crate::telemetry::{Metric, Telemetry};
use crate::time::Clock;

/// Effects, with the people who wait for the replies among them.
#[derive(Default)]
pub(super) struct Work {
    pub effects: Effects,
    pub waiting: BTreeMap<u64, oneshot::Sender<Reply>>,
    /// Told when everything before it has been performed.
    pub flushed: Option<oneshot::Sender<()>>,
}

/// Where messages go: built anew at each reload.
#[derive(Default)]
pub(super) struct Receivers {
    /// By receiver and integration.
    pub integrations: HashMap<(String, String), Arc<notify::Prepared>>,
    pub webhooks: HashMap<String, Arc<notify::ScaleTarget>>,
}

/// Where switches are written.
pub(super) enum Stores {
    /// This host's own.
    Own(Embedded),
    Fleet(Courier),
}

pub(super) struct Performer {
    pub journal: Arc<Mutex<Journal>>,
    pub store: Stores,
    pub receivers: watch::Receiver<Arc<Receivers>>,
    pub events: mpsc::Sender<Event>,
    pub telemetry: Telemetry,
    pub clock: Clock,
    pub places: HashMap<String, Arc<Semaphore>>,
    pub forwarder: notify::Forwarder,
    /// `None` when it could not be opened: that was told, and nothing else stops.
    pub audit: Option<Arc<Mutex<AuditLog>>>,
}

impl Performer {
    /// Performs until the channel is closed.
    pub(super) async fn run(mut self, mut work: mpsc::Receiver<Work>) {
        while let Some(first) = work.recv().await {
            let mut batch = vec![first];
            while batch.len() < limits::EFFECT_QUEUE
                && let Ok(more) = work.try_recv()
            {
                batch.push(more);
            }
            let entries: Vec<_> = batch.iter_mut().flat_map(|work| std::mem::take(&mut work.effects.journal)).collect();
            let audited: Vec<_> = batch.iter_mut().flat_map(|work| std::mem::take(&mut work.effects.audit)).collect();
            // Two files: the disk is waited for once.
            let (saved, ()) = tokio::join!(self.write_journal(entries), self.write_audit(audited));
            for work in batch {
                self.perform(work, saved).await;
            }
        }
    }

    /// True when all of it is on the disk.
    async fn write_journal(&self, entries: Vec<crate::engine::Entry>) -> bool {
        if entries.is_empty() {
            return true;
        }
        let journal = Arc::clone(&self.journal);
        let written = tokio::task::spawn_blocking(move || {
            let mut journal = journal.blocking_lock();
            journal.append(&entries).map(|()| journal.bytes())
        });
        match written.await {
            Ok(Ok(bytes)) => {
                self.telemetry.set(Metric::JournalBytes, &[], bytes as f64);
                return true;
            }
            Ok(Err(error)) => {
                self.telemetry.count(Metric::JournalWriteFailures, &[]);
                tracing::error!(%error, "state is not saved; it will be with the next record if the disk recovers");
            }
            Err(error) => tracing::error!(%error, "the journal's task failed"),
        }
        false
    }

    async fn write_audit(&self, audited: Vec<Audited>) {
        let Some(audit) = self.audit.clone().filter(|_| !audited.is_empty()) else { return };
        let records: Vec<_> = audited.iter().filter_map(|record| serde_json::to_value(record).ok()).collect();
        let written = tokio::task::spawn_blocking(move || audit.blocking_lock().append(&records)).await;
        if let Ok(Err(error)) = written {
            self.telemetry.count(Metric::JournalWriteFailures, &[]);
            tracing::error!(%error, "decisions are missing in the audit log");
        }
    }

    async fn perform(&mut self, mut work: Work, saved: bool) {
        match &self.store {
            Stores::Own(store) => {
                for write in std::mem::take(&mut work.effects.writes) {
                    self.write_switch(store, write).await;
                }
            }
            Stores::Fleet(courier) => courier.take(&mut work, &self.events).await,
        }
        for (number, reply) in work.effects.replies {
            if let Some(waiting) = work.waiting.remove(&number) {
                // What the alerts keep is in the journal; pins have a store of their own.
                let kept = saved || !matches!(reply, Reply::Made(_) | Reply::Said(_));
                drop(waiting.send(if kept { reply } else { Reply::Unsaved }));
            }
        }
        for notification in work.effects.notifications {
            self.notify(notification);
        }
        if !work.effects.forward.is_empty() {
            self.forwarder.push(&work.effects.forward);
        }
        for call in work.effects.calls {
            self.call(call);
        }
        if let Some(flushed) = work.flushed {
            // Nobody waits any more when this fails.
            flushed.send(()).unwrap_or_default();
        }
    }

    async fn write_switch(&self, store: &Embedded, write: Write) {
        let (name, place, level) = (write.name.clone(), write.place.clone(), write.record.level.clone());
        match store.compare_and_put(write).await {
            Ok(table) => {
                self.telemetry.set(Metric::StoreConnected, &[], 1.0);
                tracing::info!(switch = %name, level, revision = table.revision, "switch written");
            }
            Err(StoreError::Conflict { .. }) => {
                drop(self.events.send(Event::StoreRefused { place, name, moved: true }).await);
            }
            Err(error) => {
                self.telemetry.set(Metric::StoreConnected, &[], 0.0);
                self.telemetry.count(Metric::StoreWriteFailures, &[]);
                tracing::error!(switch = %name, %error, "switch not written; it will be tried again");
                drop(self.events.send(Event::StoreRefused { place, name, moved: false }).await);
            }
        }
    }

    fn place(&mut self, who: &str) -> Arc<Semaphore> {
        let new = || Arc::new(Semaphore::new(limits::DELIVERIES_PER_INTEGRATION));
        Arc::clone(self.places.entry(who.to_owned()).or_insert_with(new))
    }

    fn notify(&mut self, notification: Notification) {
        let key = (notification.receiver.clone(), notification.integration.clone());
        let place = self.place(&format!("{}/{}", key.0, key.1));
        let prepared = self.receivers.borrow().integrations.get(&key).cloned();
        let (events, telemetry, clock) = (self.events.clone(), self.telemetry.clone(), self.clock);
        tokio::spawn(async move {
            let id = notification.id.clone();
            let outcome = match prepared {
                Some(prepared) => {
                    let _place = place.acquire().await;
                    notify::deliver(&prepared, &notification, clock.now()).await
                }
                None => notify::Outcome::Refused { reason: "its receiver is gone from the configuration".into() },
            };
            let labels = [("receiver", key.0.as_str()), ("integration", key.1.as_str())];
            report(&telemetry, &labels, &id, &outcome);
            drop(events.send(Event::Delivered(id, into_event(outcome))).await);
        });
    }

    fn call(&mut self, call: ScaleCall) {
        let place = self.place(&format!("webhook/{}", call.webhook));
        let target = self.receivers.borrow().webhooks.get(&call.webhook).cloned();
        let (events, telemetry, clock) = (self.events.clone(), self.telemetry.clone(), self.clock);
        tokio::spawn(async move {
            let outcome = match target {
                Some(target) => {
                    let _place = place.acquire().await;
                    notify::call_scale(&target, &posted(&call), clock.now()).await
                }
                None => notify::Outcome::Refused { reason: "its webhook is gone from the configuration".into() },
            };
            let word = match &outcome {
                notify::Outcome::Accepted => "accepted",
                notify::Outcome::Retry { .. } => "retry",
                notify::Outcome::Refused { .. } => "refused",
            };
            telemetry.count(Metric::ScaleCalls, &[("target", &call.target), ("outcome", word)]);
            tracing::info!(target_name = %call.target, desired = call.desired, id = %call.id, outcome = ?outcome, "scale webhook called");
            drop(events.send(Event::Delivered(DeliveryId(call.id), into_event(outcome))).await);
        });
    }
}

/// The call as its receiver sees it.
fn posted(call: &ScaleCall) -> notify::ScaleCall {
    notify::ScaleCall {
        id: call.id.clone(),
        target: call.target.clone(),
        desired: call.desired,
        current: Some(call.previous),
        min: call.min,
        max: call.max,
        step: call.step,
        reason: call.reason.clone(),
        rule: call.rule.clone(),
        expression: call.expression.clone(),
        value: call.value,
        generation: call.generation,
        not_after: call.not_after,
        idempotency_key: call.id.clone(),
        dry_run: false,
        at: call.at,
    }
}

fn report(telemetry: &Telemetry, labels: &[(&str, &str); 2], id: &DeliveryId, outcome: &notify::Outcome) {
    let (receiver, integration) = (labels[0].1, labels[1].1);
    match outcome {
        notify::Outcome::Accepted => {
            telemetry.count(Metric::Notifications, labels);
            tracing::info!(receiver, integration, %id, "notification delivered");
        }
        notify::Outcome::Retry { reason, .. } => {
            let [first, second] = *labels;
            telemetry.count(Metric::NotificationsFailed, &[first, second]);
            tracing::warn!(receiver, integration, %id, reason, "notification not delivered yet; it will be tried again");
        }
        notify::Outcome::Refused { reason } => {
            telemetry.count(Metric::NotificationsGivenUp, labels);
            tracing::error!(receiver, integration, %id, reason, "notification refused for good");
        }
    }
}

fn into_event(outcome: notify::Outcome) -> DeliveryOutcome {
    match outcome {
        notify::Outcome::Accepted => DeliveryOutcome::Accepted,
        notify::Outcome::Retry { reason, after, .. } => DeliveryOutcome::Retry { reason, after },
        notify::Outcome::Refused { reason } => DeliveryOutcome::Refused { reason },
    }
}
