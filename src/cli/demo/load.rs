//! An open-loop load: so many requests a second, however the answers come.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::watch;

use super::service::Running;
use crate::time::Stopwatch;

/// How often requests are sent: those that are due, all at once.
const EVERY: Duration = Duration::from_millis(20);
/// Requests on their way at one time; further ones are people who do not even try.
const ON_THEIR_WAY: usize = 2_000;

/// What became of the requests.
#[derive(Debug, Default)]
pub(super) struct Outcomes {
    pub(super) good: AtomicU64,
    /// Refused, broken off, or waited for in vain.
    pub(super) bad: AtomicU64,
    on_their_way: AtomicUsize,
}

/// A load whose rate can be changed; it ends when this is dropped.
pub(super) struct Load {
    rate: watch::Sender<u32>,
    pub(super) outcomes: Arc<Outcomes>,
    _running: Running,
}

impl Load {
    /// A load of nothing, at first.
    pub(super) fn start(http: reqwest::Client, service: SocketAddr) -> Load {
        let (rate, rates) = watch::channel(0);
        let outcomes = Arc::new(Outcomes::default());
        let url = format!("http://{service}/");
        let request = {
            let outcomes = Arc::clone(&outcomes);
            move || {
                let (http, url, outcomes) = (http.clone(), url.clone(), Arc::clone(&outcomes));
                drop(tokio::spawn(async move {
                    if outcomes.on_their_way.fetch_add(1, Ordering::Relaxed) < ON_THEIR_WAY {
                        let answer = http.get(url).send().await;
                        let good = answer.is_ok_and(|answer| answer.status().is_success());
                        let which = if good { &outcomes.good } else { &outcomes.bad };
                        which.fetch_add(1, Ordering::Relaxed);
                    } else {
                        outcomes.bad.fetch_add(1, Ordering::Relaxed);
                    }
                    outcomes.on_their_way.fetch_sub(1, Ordering::Relaxed);
                }));
            }
        };
        Load { rate, outcomes, _running: Running::spawn(send(rates, request)) }
    }

    /// Sends so many requests a second from now on.
    pub(super) fn set(&self, rate: u32) {
        self.rate.send_replace(rate);
    }

    pub(super) fn rate(&self) -> u32 {
        *self.rate.borrow()
    }
}

async fn send(rates: watch::Receiver<u32>, request: impl Fn()) {
    let mut ticks = tokio::time::interval(EVERY);
    let (watch, mut before, mut due) = (Stopwatch::start(), Duration::ZERO, 0.0);
    loop {
        ticks.tick().await;
        let now = watch.elapsed();
        due += f64::from(*rates.borrow()) * (now - before).as_secs_f64();
        before = now;
        while due >= 1.0 {
            request();
            due -= 1.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn as_many_requests_are_sent_as_the_rate_says() {
        let (rate, rates) = watch::channel(0);
        let sent = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&sent);
        let request = move || {
            counted.fetch_add(1, Ordering::Relaxed);
        };
        let _running = Running::spawn(send(rates, request));
        for (per_second, all) in [(0, 0), (25, 50), (300, 650), (0, 650)] {
            rate.send_replace(per_second);
            tokio::time::sleep(Duration::from_secs(2)).await;
            let sent = sent.load(Ordering::Relaxed);
            assert!(sent.abs_diff(all) <= 7, "{sent} of {all}: at most one tick's requests off");
        }
    }
}
