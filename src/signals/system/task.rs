//! Collects at aligned instants, for ever: at multiples of the interval since the epoch, so that all series of a host
//! share their instants. An instant that has passed while the collection before was still at work is skipped and
//! counted; collections never follow each other in a burst.

use std::time::Duration;

use tokio::sync::mpsc::Sender;

use super::host::System;
use super::settings::{Error, Settings};
use crate::model::Batch;
use crate::telemetry::{Metric, Telemetry};
use crate::time::{Clock, Timestamp, millis};

/// What the task calls itself in our own metrics.
const NAME: &str = "system";

/// Collects until the receiver of the batches is gone.
///
/// The reading itself happens in tokio's blocking pool, so that a file that hangs holds only this task up, which is then
/// told as `brownout_collector_stuck`.
///
/// # Errors
/// When the settings are wrong or a thread can't be started; see [`System::new`].
pub async fn run(settings: Settings, clock: Clock, telemetry: Telemetry, out: Sender<Batch>) -> Result<(), Error> {
    let (interval, patience) = (settings.interval, settings.mount_timeout);
    let mut system = System::new(settings.clone(), telemetry.clone())?;
    let mut last = slot_of(clock.now(), interval);
    loop {
        let now = clock.now();
        let next = slot_of(now.max(last.unless_ahead(now, interval)), interval) + interval;
        tokio::time::sleep_until(clock.instant(next)).await;
        let at = instant(next, clock.now(), interval);
        let missed = millis(slot_of(at, interval).since(last)) / millis(interval) - 1;
        if missed > 0 {
            telemetry.add(Metric::CollectorTicksMissed, &[("source", NAME)], missed as f64);
        }
        last = slot_of(at, interval);
        let work = tokio::task::spawn_blocking(move || {
            let batch = system.collect(at);
            (system, batch)
        });
        let batch;
        (system, batch) = match watched(work, patience, &telemetry).await {
            Some(done) => done,
            None => {
                telemetry.count(Metric::TaskPanics, &[("task", NAME)]);
                system = System::new(settings.clone(), telemetry.clone())?;
                continue;
            }
        };
        if out.send(batch).await.is_err() {
            return Ok(());
        }
    }
}

/// Waits for the work, and tells while it takes too long; `None` when it panicked.
async fn watched<T>(mut work: tokio::task::JoinHandle<T>, patience: Duration, telemetry: &Telemetry) -> Option<T> {
    match tokio::time::timeout(patience, &mut work).await {
        Ok(done) => done.ok(),
        Err(_) => {
            tracing::warn!(collector = NAME, "collection does not come back");
            telemetry.set(Metric::CollectorStuck, &[("collector", NAME)], 1.0);
            let done = work.await.ok();
            telemetry.set(Metric::CollectorStuck, &[("collector", NAME)], 0.0);
            done
        }
    }
}

/// The last multiple of the interval that is not after `now`.
fn slot_of(now: Timestamp, interval: Duration) -> Timestamp {
    let interval = millis(interval).max(1);
    Timestamp::from_millis(now.as_millis().div_euclid(interval) * interval)
}

/// The time of a batch: the instant it was due when the task woke nearly in time, else the real time, so that rates
/// stay right. The tolerance is a hundredth of the interval, as in Prometheus.
fn instant(due: Timestamp, now: Timestamp, interval: Duration) -> Timestamp {
    if now.since(due) <= interval / 100 { due } else { now }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signals::system::collector_names;

    fn only(names: &[&str]) -> Settings {
        let collectors = collector_names().iter().map(|(name, ..)| ((*name).into(), names.contains(name))).collect();
        Settings { collectors, instance: "here".into(), ..Settings::default() }
    }

    #[test]
    fn instants_are_aligned_unless_the_task_is_late() {
        let at = Timestamp::from_millis;
        let second = Duration::from_secs(1);
        assert_eq!(slot_of(at(1999), second), at(1000));
        assert_eq!(instant(at(1000), at(1009), second), at(1000));
        assert_eq!(instant(at(1000), at(1300), second), at(1300));
    }

    #[tokio::test(start_paused = true)]
    async fn batches_come_at_aligned_instants_and_missed_ones_are_counted() {
        let clock = Clock::start_at(Timestamp::from_millis(10_300));
        let telemetry = Telemetry::new();
        let (out, mut batches) = tokio::sync::mpsc::channel(1);
        let task = tokio::spawn(run(only(&["loadavg"]), clock, telemetry.clone(), out));
        let first = batches.recv().await.unwrap();
        assert_eq!(first.at, Timestamp::from_millis(11_000));
        assert!(first.samples.iter().any(|(labels, _)| labels.to_string() == r#"up{instance="here", job="node"}"#));
        assert!(first.samples.iter().any(|(labels, _)| labels.name() == "node_load1"));
        assert!(first.meta.iter().any(|meta| &*meta.family == "node_load1"));
        let second = batches.recv().await.unwrap();
        assert_eq!(second.at, Timestamp::from_millis(12_000));
        assert!(second.meta.is_empty());
        // The engine is busy: one batch waits in the channel, one in the task.
        tokio::time::sleep(Duration::from_millis(9_500)).await;
        let third = batches.recv().await.unwrap();
        let fourth = batches.recv().await.unwrap();
        assert_eq!((third.at, fourth.at), (Timestamp::from_millis(13_000), Timestamp::from_millis(14_000)));
        assert_eq!(batches.recv().await.unwrap().at, Timestamp::from_millis(22_000));
        assert_eq!(telemetry.get(Metric::CollectorTicksMissed, &[("source", NAME)]), Some(7.0));
        drop(batches);
        assert!(task.await.unwrap().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn wrong_settings_end_the_task_at_once() {
        let settings = Settings { interval: Duration::ZERO, ..Settings::default() };
        let (out, _batches) = tokio::sync::mpsc::channel(1);
        let result = run(settings, Clock::start_at(Timestamp::ZERO), Telemetry::new(), out).await;
        assert!(matches!(result, Err(Error::Interval)));
    }
}
