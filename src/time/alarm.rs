//! An alarm: the sleep of a task that sleeps often.
//!
//! tokio keeps its timers in a wheel whose slots grow with the distance, so that a thread that sleeps for more than some
//! milliseconds is woken twice: when the slot begins, and when the time has come. Where a thread has little to do, being
//! woken is most of what it costs. An alarm asks the kernel for the one moment (`timerfd_create(2)`); where the kernel
//! has none to give, and where time is not the system's (tests, simulation), it is tokio's timer.

use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::Instant;

use crate::limits;

/// Wakes one task at one instant at a time.
#[derive(Debug)]
pub struct Alarm {
    /// None: tokio's timer is taken.
    kernel: Option<AsyncFd<OwnedFd>>,
    /// What the kernel's timer is set for.
    set: Option<Instant>,
}

impl Alarm {
    /// An alarm of the kernel, on the runtime that it is made in. Many sleepers share the wake-ups of tokio's wheel, and
    /// descriptors are wanted for connections: only the first get one.
    pub(super) fn of_kernel() -> Alarm {
        let made = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC);
        let made = made.ok().filter(|fd| fd.as_raw_fd() < limits::ALARM_DESCRIPTORS);
        #[expect(deprecated, reason = "its successor is unsafe to call; this descriptor is owned and never replaced")]
        let kernel = made.and_then(|fd| AsyncFd::with_interest(fd, Interest::READABLE).ok());
        Alarm { kernel, set: None }
    }

    /// An alarm of tokio's time, which tests may pause.
    pub(super) fn of_tokio() -> Alarm {
        Alarm { kernel: None, set: None }
    }

    /// Waits until then, never less. A wait that is given up leaves nothing behind: the next one may be for any instant.
    pub async fn until(&mut self, at: Instant) {
        // Like any other wait: a task that is always late lets others have their turn.
        tokio::task::consume_budget().await;
        while !self.is_over(at) {
            match self.kernel.as_ref().filter(|_| self.set == Some(at)) {
                // What fired for an instant before is seen here too; then it is not over yet.
                Some(kernel) => match kernel.readable().await {
                    Ok(mut ready) => {
                        ready.clear_ready();
                        self.set = None;
                    }
                    Err(_) => self.kernel = None,
                },
                None => return tokio::time::sleep_until(at).await,
            }
        }
    }

    /// Whether it is that late; if not, the kernel's timer is set for it.
    #[expect(clippy::disallowed_methods, reason = "time is where the monotonic clock is read")]
    fn is_over(&mut self, at: Instant) -> bool {
        if self.kernel.is_none() {
            // tokio's own timer sees for itself.
            return false;
        }
        let left = at.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return true;
        }
        if self.set != Some(at) {
            self.set = self.arm(left).then_some(at);
        }
        false
    }

    fn arm(&self, left: Duration) -> bool {
        let value = Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(left.subsec_nanos()),
        };
        let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: value };
        self.kernel.as_ref().is_some_and(|kernel| timerfd_settime(kernel, TimerfdTimerFlags::empty(), &once).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Stopwatch;

    const SHORT: Duration = Duration::from_millis(20);

    /// Real time: the kernel's is not to be paused.
    #[tokio::test]
    async fn an_alarm_is_never_early_and_may_be_set_anew() {
        for mut alarm in [Alarm::of_kernel(), Alarm::of_tokio()] {
            let (began, clock) = (Stopwatch::start(), crate::time::Clock::start());
            let start = clock.instant(clock.now());
            alarm.until(start + SHORT).await;
            assert!(began.elapsed() >= SHORT);
            // What has passed is over at once.
            alarm.until(start).await;
            // Given up, and then set for an earlier and a later instant.
            let long = Duration::from_secs(3_600);
            assert!(tokio::time::timeout(SHORT, alarm.until(start + long)).await.is_err());
            let mark = began.elapsed();
            alarm.until(start + mark + SHORT).await;
            assert!(began.elapsed() >= mark + SHORT);
            // One that fired while nobody waited does not end the next wait.
            assert!(tokio::time::timeout(SHORT / 4, alarm.until(start + mark + 2 * SHORT)).await.is_err());
            tokio::time::timeout(2 * SHORT, std::future::pending::<()>()).await.expect_err("nothing came");
            let mark = began.elapsed();
            alarm.until(start + mark + SHORT).await;
            assert!(began.elapsed() >= mark + SHORT);
        }
    }

    #[tokio::test]
    async fn while_descriptors_are_few_the_kernel_wakes() {
        let clock = crate::time::Clock::start();
        let mut alarm = clock.alarm();
        let (next, _) = std::io::pipe().expect("descriptors");
        let few = next.as_raw_fd() + 8 < limits::ALARM_DESCRIPTORS;
        let at = clock.instant(clock.now()) + Duration::from_secs(3_600);
        assert!(tokio::time::timeout(SHORT / 4, alarm.until(at)).await.is_err());
        assert!(!few || alarm.set == Some(at), "it sleeps on tokio's timer");
    }

    #[tokio::test(start_paused = true)]
    async fn an_alarm_of_tokio_follows_paused_time() {
        let clock = crate::time::Clock::start_at(crate::time::Timestamp::ZERO);
        clock.alarm().until(clock.instant(crate::time::Timestamp::from_millis(3_600_000))).await;
        assert_eq!(clock.now().as_millis(), 3_600_000);
    }
}
