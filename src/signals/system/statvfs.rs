//! Asks for the space of mounts without ever being held up by one.
//!
//! A round asks all mounts one after the other, in a thread of its own; answers are taken when they are there. A mount
//! that has not answered after the timeout is left alone: its thread stays with it until the kernel lets it go, and a
//! new thread goes on with the rest. While a mount's thread hangs, the mount is not asked again, so there is at most one
//! hanging thread a mount, and at most [`limits::MOUNTS_STUCK`] in all.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::time::Duration;

use crate::limits;
use crate::time::{Stopwatch, Timestamp};

/// Bytes and file nodes of one file system.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Space {
    pub(crate) size: f64,
    pub(crate) free: f64,
    /// Free for users other than root.
    pub(crate) available: f64,
    pub(crate) files: f64,
    pub(crate) files_free: f64,
}

/// The space, or why there is no answer.
pub(crate) type Answer = Result<Space, &'static str>;

/// The answer for a mount that hangs; node_exporter's words.
pub(crate) const TIMEOUT: &str = "mountpoint timeout";
const TOO_MANY_STUCK: &str = "too many stuck mountpoints";
const NO_THREAD: &str = "no thread could be started";

type Ask = Arc<dyn Fn(&Path) -> Answer + Send + Sync>;

/// See the head of this file.
pub(crate) struct StatThreads {
    ask: Ask,
    timeout: Duration,
    round: Option<Round>,
    stuck: Vec<(PathBuf, Receiver<Answer>)>,
    answers: HashMap<PathBuf, Answer>,
}

/// Mounts that are being asked.
struct Round {
    paths: Arc<[PathBuf]>,
    /// How many have answered.
    done: usize,
    /// When progress was last seen.
    since: Timestamp,
    answers: Receiver<Answer>,
    abandoned: Arc<AtomicBool>,
}

impl StatThreads {
    pub(crate) fn new(timeout: Duration) -> StatThreads {
        StatThreads::with(Arc::new(ask_kernel), timeout)
    }

    fn with(ask: Ask, timeout: Duration) -> StatThreads {
        StatThreads { ask, timeout, round: None, stuck: Vec::new(), answers: HashMap::new() }
    }

    /// True when no round is under way.
    pub(crate) fn is_idle(&self) -> bool {
        self.round.is_none()
    }

    /// Begins a round. Answers of mounts that are not in it are forgotten.
    pub(crate) fn ask(&mut self, paths: Vec<PathBuf>, now: Timestamp) {
        self.answers.retain(|path, _| paths.contains(path));
        let stuck = &self.stuck;
        self.start(paths.into_iter().filter(|path| !stuck.iter().any(|(other, _)| other == path)).collect(), now);
    }

    /// The last answer for a mount; `None` before the first.
    pub(crate) fn answer(&self, path: &Path) -> Option<&Answer> {
        self.answers.get(path)
    }

    /// Mounts whose thread hangs.
    pub(crate) fn stuck(&self) -> usize {
        self.stuck.len()
    }

    /// Takes what has come, and leaves mounts alone that have not answered in time.
    pub(crate) fn poll(&mut self, now: Timestamp) {
        self.free_stuck();
        while let Some(round) = &mut self.round {
            // After a step of the clock back, the wait begins anew.
            round.since = round.since.min(now);
            match round.answers.try_recv() {
                Ok(answer) => self.take(answer, now),
                Err(TryRecvError::Empty) if now.since(round.since) < self.timeout => return,
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => self.give_up(now),
            }
        }
    }

    /// Waits for the round, but no longer than `patience`.
    pub(crate) fn wait(&mut self, now: Timestamp, patience: Duration) {
        let watch = Stopwatch::start();
        while let Some(round) = &self.round {
            let left = patience.saturating_sub(watch.elapsed());
            match round.answers.recv_timeout(left) {
                Ok(answer) => self.take(answer, now),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn take(&mut self, answer: Answer, now: Timestamp) {
        let Some(round) = &mut self.round else { return };
        self.answers.insert(round.paths[round.done].clone(), answer);
        round.done += 1;
        round.since = now;
        if round.done == round.paths.len() {
            self.round = None;
        }
    }

    /// The mount that is being asked is stuck; the rest gets another thread.
    fn give_up(&mut self, now: Timestamp) {
        let Some(round) = self.round.take() else { return };
        round.abandoned.store(true, Ordering::Relaxed);
        let path = round.paths[round.done].clone();
        self.answers.insert(path.clone(), Err(TIMEOUT));
        self.stuck.push((path, round.answers));
        self.start(round.paths[round.done + 1..].to_vec(), now);
    }

    fn free_stuck(&mut self) {
        let answers = &mut self.answers;
        self.stuck.retain(|(path, receiver)| match receiver.try_recv() {
            Ok(answer) => {
                answers.insert(path.clone(), answer);
                false
            }
            Err(TryRecvError::Empty) => true,
            Err(TryRecvError::Disconnected) => false,
        });
    }

    fn start(&mut self, paths: Vec<PathBuf>, now: Timestamp) {
        if paths.is_empty() {
            return;
        }
        let paths: Arc<[PathBuf]> = paths.into();
        let refusal = if self.stuck.len() >= limits::MOUNTS_STUCK {
            TOO_MANY_STUCK
        } else if self.spawn(&paths, now) {
            return;
        } else {
            NO_THREAD
        };
        self.answers.extend(paths.iter().map(|path| (path.clone(), Err(refusal))));
    }

    /// Starts the thread of a round; false when that failed.
    fn spawn(&mut self, paths: &Arc<[PathBuf]>, now: Timestamp) -> bool {
        let (sender, answers) = channel();
        let abandoned = Arc::new(AtomicBool::new(false));
        let (ask, theirs, flag) = (self.ask.clone(), paths.clone(), abandoned.clone());
        let thread = std::thread::Builder::new().name("statvfs".into());
        if thread.spawn(move || ask_all(&ask, &theirs, &flag, &sender)).is_err() {
            return false;
        }
        self.round = Some(Round { paths: paths.clone(), done: 0, since: now, answers, abandoned });
        true
    }
}

fn ask_all(ask: &Ask, paths: &[PathBuf], abandoned: &AtomicBool, answers: &Sender<Answer>) {
    for path in paths {
        let answer = ask(path);
        if answers.send(answer).is_err() || abandoned.load(Ordering::Relaxed) {
            return;
        }
    }
}

fn ask_kernel(path: &Path) -> Answer {
    let stat = rustix::fs::statvfs(path).map_err(reason)?;
    let unit = stat.f_frsize as f64;
    Ok(Space {
        size: stat.f_blocks as f64 * unit,
        free: stat.f_bfree as f64 * unit,
        available: stat.f_bavail as f64 * unit,
        files: stat.f_files as f64,
        files_free: stat.f_ffree as f64,
    })
}

/// Few different texts, as they become label values.
fn reason(error: rustix::io::Errno) -> &'static str {
    use rustix::io::Errno;
    match error {
        Errno::ACCESS => "permission denied",
        Errno::PERM => "operation not permitted",
        Errno::NOENT => "no such file or directory",
        Errno::STALE => "stale NFS file handle",
        Errno::IO => "input/output error",
        Errno::NOTCONN => "transport endpoint is not connected",
        Errno::HOSTDOWN => "host is down",
        _ => "statvfs failed",
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    const SPACE: Space = Space { size: 4.0, free: 3.0, available: 2.0, files: 1.0, files_free: 0.0 };

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    fn paths(names: &[&str]) -> Vec<PathBuf> {
        names.iter().map(PathBuf::from).collect()
    }

    /// Threads whose mounts named `hung...` answer only when the returned sender is dropped, and how often each was asked.
    fn threads() -> (StatThreads, Sender<()>, Arc<Mutex<Vec<PathBuf>>>) {
        let (release, gate) = channel::<()>();
        let gate = Mutex::new(gate);
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = asked.clone();
        let ask = move |path: &Path| {
            log.lock().unwrap().push(path.to_owned());
            if path.to_str().unwrap().contains("hung") {
                let _ = gate.lock().unwrap().recv();
            }
            Ok(SPACE)
        };
        (StatThreads::with(Arc::new(ask), Duration::from_secs(5)), release, asked)
    }

    /// Takes answers until the round is over or waits for a hung mount; the wait is for another thread, not for time.
    fn settle(threads: &mut StatThreads, now: Timestamp) {
        threads.poll(now);
        threads.wait(now, Duration::from_millis(300));
    }

    #[test]
    fn a_hung_mount_is_told_and_does_not_hold_up_the_others() {
        let (mut threads, release, asked) = threads();
        threads.ask(paths(&["/a", "/hung", "/b"]), at(0));
        settle(&mut threads, at(0));
        assert_eq!(threads.answer(Path::new("/a")), Some(&Ok(SPACE)));
        assert_eq!(threads.answer(Path::new("/hung")), None);
        threads.poll(at(4));
        assert!(!threads.is_idle());
        settle(&mut threads, at(5));
        assert_eq!(threads.answer(Path::new("/hung")), Some(&Err(TIMEOUT)));
        assert_eq!(threads.answer(Path::new("/b")), Some(&Ok(SPACE)));
        // The hung one is not asked again while its thread hangs.
        threads.ask(paths(&["/a", "/hung", "/b"]), at(10));
        settle(&mut threads, at(10));
        assert!(threads.is_idle());
        assert_eq!(threads.stuck(), 1);
        assert_eq!(asked.lock().unwrap().iter().filter(|path| path.ends_with("hung")).count(), 1);
        // When the kernel lets it go, its answer counts.
        drop(release);
        for _ in 0..1000 {
            threads.poll(at(11));
            if threads.stuck() == 0 {
                break;
            }
            std::thread::yield_now();
            threads.ask(paths(&["/a", "/hung"]), at(11));
            threads.wait(at(11), Duration::from_millis(10));
        }
        assert_eq!(threads.answer(Path::new("/hung")), Some(&Ok(SPACE)));
        // The abandoned thread did not go on with the rest of its round.
        assert_eq!(threads.stuck(), 0);
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_prolong_the_wait() {
        let (mut threads, _release, _) = threads();
        threads.ask(paths(&["/hung"]), at(1000));
        threads.poll(at(0));
        threads.poll(at(5));
        assert_eq!(threads.stuck(), 1);
    }

    #[test]
    fn hanging_threads_are_bounded() {
        let (mut threads, _release, asked) = threads();
        let all: Vec<_> = (0..limits::MOUNTS_STUCK + 5).map(|i| PathBuf::from(format!("/hung{i}"))).collect();
        threads.ask(all.clone(), at(0));
        for i in 1..100 {
            threads.poll(at(i * 5));
        }
        assert!(threads.is_idle());
        assert_eq!(threads.stuck(), limits::MOUNTS_STUCK);
        assert!(asked.lock().unwrap().len() <= limits::MOUNTS_STUCK);
        assert_eq!(threads.answer(&all[limits::MOUNTS_STUCK]), Some(&Err(TOO_MANY_STUCK)));
    }

    #[test]
    fn the_root_file_system_has_space_and_a_missing_path_a_reason() {
        assert!(ask_kernel(Path::new("/")).unwrap().size > 0.0);
        assert_eq!(ask_kernel(Path::new("/nowhere/at/all")), Err("no such file or directory"));
    }
}
