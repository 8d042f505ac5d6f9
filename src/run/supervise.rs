//! Keeping collectors alive: a task that panics or ends is counted and started again with a growing pause.

use std::future::Future;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::telemetry::{Metric, Telemetry};
use crate::time::Clock;

const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// How long a task that is told to stop may take for its last words.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// A task that is ended when this is dropped.
#[derive(Debug)]
pub(super) struct Task {
    handle: JoinHandle<()>,
    stop: watch::Sender<bool>,
}

impl Task {
    /// [`Task::stop`] where last words matter; otherwise it simply ends.
    pub(super) async fn stop_if(self, matters: bool) {
        if matters {
            self.stop().await;
        }
    }

    /// Tells the task to stop and waits for its last words, for a while.
    async fn stop(mut self) {
        self.stop.send_replace(true);
        drop(tokio::time::timeout(LAST_WORDS, &mut self.handle).await);
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.handle.abort();
    }
}

/// Becomes ready when the task is told to stop.
pub(super) async fn told(mut stop: watch::Receiver<bool>) {
    drop(stop.wait_for(|stop| *stop).await);
}

/// Runs what `start` makes on a runtime, again and again, until it is told to stop. It gives an error text when it can't
/// run just now.
pub(super) fn supervise<F>(
    on: &Handle,
    name: String,
    clock: Clock,
    telemetry: Telemetry,
    mut start: impl FnMut(watch::Receiver<bool>) -> F + Send + 'static,
) -> Task
where
    F: Future<Output = Result<(), String>> + Send + 'static,
{
    let (stop, told) = watch::channel(false);
    let handle = on.spawn(async move {
        let mut pause = FIRST_PAUSE;
        loop {
            let begun = clock.now();
            let mut one = Inner(tokio::spawn(start(told.clone())));
            match (&mut one.0).await {
                Ok(Ok(())) => tracing::debug!(task = %name, "task ended"),
                Ok(Err(error)) => tracing::warn!(task = %name, %error, "task cannot run"),
                Err(error) if error.is_panic() => {
                    telemetry.count(Metric::TaskPanics, &[("task", &name)]);
                    tracing::error!(task = %name, "task panicked and is started again");
                }
                Err(_) => return,
            }
            if *told.borrow() {
                return;
            }
            if clock.now().since(begun) > LONGEST_PAUSE {
                pause = FIRST_PAUSE;
            }
            tokio::time::sleep(pause).await;
            pause = (2 * pause).min(LONGEST_PAUSE);
        }
    });
    Task { handle, stop }
}

/// Aborts the inner task when the outer one is dropped.
struct Inner(JoinHandle<Result<(), String>>);

impl Drop for Inner {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_task_that_panics_is_counted_and_started_again_and_ends_with_its_owner() {
        let (telemetry, starts) = (Telemetry::new(), Arc::new(AtomicU32::new(0)));
        let counted = Arc::clone(&starts);
        let task = supervise(&Handle::current(), "t".into(), Clock::start(), telemetry.clone(), move |_| {
            let nth = counted.fetch_add(1, Ordering::SeqCst);
            async move {
                assert!(nth > 0, "the first one breaks");
                std::future::pending().await
            }
        });
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(starts.load(Ordering::SeqCst), 2);
        assert_eq!(telemetry.get(Metric::TaskPanics, &[("task", "t")]), Some(1.0));
        drop(task);
        tokio::time::sleep(Duration::from_secs(300)).await;
        assert_eq!(starts.load(Ordering::SeqCst), 2);
    }
}
