//! Wake-ups from the kernel, by `notify`, on directories. They are hints only: a lost one costs a second, never a line.
//!
//! A fast writer must not make us busy: once some hints wait to be taken, or the same one twice, the watching thread
//! stands still, and the kernel folds what follows into one event.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use notify::event::{EventKind, ModifyKind};
use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;

use super::tracked::{Key, Stat};
use crate::limits;

/// Events after which the watching thread waits until they were taken.
const AHEAD: usize = 16;
/// ... but not longer than this.
const STAND_STILL: Duration = Duration::from_millis(50);
/// Paths that are remembered; with more, everything is looked at.
const PATHS: usize = 4_096;
/// `statfs` types of file systems that other hosts, or user space, can write to unseen: NFS, SMB, CIFS, FUSE, 9P, Ceph, AFS.
const REMOTE: [u64; 7] = [0x6969, 0xfe53_4d42, 0xff53_4d42, 0x6573_5546, 0x0102_1997, 0x00c3_6400, 0x5346_414f];

/// What the kernel said since the last look.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Hint {
    pub paths: Vec<PathBuf>,
    /// Directories came or went, or events were lost.
    pub search: bool,
}

/// The mailbox between the watching thread and the job.
#[derive(Clone, Debug, Default)]
pub struct Hints {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    box_: Mutex<Box_>,
    taken: Condvar,
    wake: Notify,
}

#[derive(Debug, Default)]
struct Box_ {
    paths: HashSet<PathBuf>,
    search: bool,
    waiting: usize,
    /// The job talks to the watcher: its thread must not stand still.
    busy: bool,
}

impl Hints {
    /// Waits until there is a hint.
    pub async fn woken(&self) {
        self.shared.wake.notified().await;
    }

    /// Takes what there is.
    pub fn take(&self) -> Hint {
        let mut open = self.lock();
        open.waiting = 0;
        self.shared.taken.notify_all();
        Hint { paths: open.paths.drain().collect(), search: std::mem::take(&mut open.search) }
    }

    fn put(&self, event: notify::Result<Event>) {
        let event = match event {
            Ok(event) if matches!(event.kind, EventKind::Access(_)) => return,
            Ok(event) => event,
            Err(_) => Event::new(EventKind::Other).set_flag(notify::event::Flag::Rescan),
        };
        let renamed = matches!(event.kind, EventKind::Modify(ModifyKind::Name(_)));
        let folder = matches!(
            event.kind,
            EventKind::Create(notify::event::CreateKind::Folder) | EventKind::Remove(notify::event::RemoveKind::Folder)
        );
        let search = event.need_rescan() || folder || (renamed && event.paths.iter().any(|path| path.is_dir()));
        let mut open = self.lock();
        open.search |= search || open.paths.len() > PATHS;
        let mut known = !search;
        if open.paths.len() <= PATHS {
            for path in event.paths {
                known &= !open.paths.insert(path);
            }
        }
        open.waiting += 1;
        self.shared.wake.notify_one();
        if known || open.waiting >= AHEAD {
            let stand = |open: &mut Box_| open.waiting > 0 && !open.busy;
            drop(self.shared.taken.wait_timeout_while(open, STAND_STILL, stand));
        }
    }

    fn set_busy(&self, busy: bool) {
        self.lock().busy = busy;
        self.shared.taken.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Box_> {
        self.shared.box_.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The watched directories of one job.
#[derive(Debug)]
pub struct Watcher {
    inner: Option<RecommendedWatcher>,
    watched: BTreeMap<PathBuf, Key>,
    hints: Hints,
}

impl Watcher {
    /// A watcher of nothing yet. Where the kernel refuses one, everything is polled.
    pub fn new(hints: Hints) -> Watcher {
        let put = hints.clone();
        let inner = notify::recommended_watcher(move |event| put.put(event)).ok();
        Watcher { inner, watched: BTreeMap::new(), hints }
    }

    /// Watches these directories and no others. False when some cannot be watched: then the job must poll.
    pub fn watch(&mut self, wanted: &BTreeSet<PathBuf>) -> bool {
        self.hints.set_busy(true);
        let complete = self.watch_all(wanted);
        self.hints.set_busy(false);
        complete
    }

    fn watch_all(&mut self, wanted: &BTreeSet<PathBuf>) -> bool {
        let Some(inner) = &mut self.inner else { return false };
        let mut complete = wanted.len() <= limits::LOG_WATCHES;
        let mut keys = HashSet::new();
        let mut now = BTreeMap::new();
        for directory in wanted.iter().take(limits::LOG_WATCHES) {
            match Stat::of_path(directory) {
                // One directory under two names: the kernel would tell only of the last.
                Ok(stat) if stat.directory && !keys.insert(stat.key) => {}
                Ok(stat) if stat.directory && !is_remote(directory) => drop(now.insert(directory.clone(), stat.key)),
                _ => complete = false,
            }
        }
        self.watched.retain(|directory, key| {
            let stays = now.get(directory) == Some(key);
            if !stays {
                // A directory that is gone has lost its watch already.
                let _ = inner.unwatch(directory);
            }
            stays
        });
        now.retain(|directory, _| !self.watched.contains_key(directory));
        for (directory, key) in now {
            match inner.watch(&directory, RecursiveMode::NonRecursive) {
                Ok(()) => drop(self.watched.insert(directory, key)),
                Err(_) => complete = false,
            }
        }
        complete
    }
}

fn is_remote(directory: &Path) -> bool {
    rustix::fs::statfs(directory).is_ok_and(|stat| REMOTE.contains(&(stat.f_type as u64 & 0xffff_ffff)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use notify::event::{AccessKind, CreateKind, DataChange, Flag};

    #[test]
    fn hints_gather_paths_and_lost_events_ask_for_a_search() {
        let hints = Hints::default();
        let event = |kind: EventKind, path: &str| Ok(Event::new(kind).add_path(path.into()));
        hints.put(event(EventKind::Access(AccessKind::Any), "/a"));
        assert_eq!(hints.take(), Hint::default());
        hints.put(event(EventKind::Modify(ModifyKind::Data(DataChange::Any)), "/a"));
        hints.put(event(EventKind::Modify(ModifyKind::Data(DataChange::Any)), "/a"));
        assert_eq!(hints.take(), Hint { paths: vec!["/a".into()], search: false });
        hints.put(Ok(Event::new(EventKind::Other).set_flag(Flag::Rescan)));
        assert!(hints.take().search);
        hints.put(event(EventKind::Create(CreateKind::Folder), "/d"));
        assert!(hints.take().search);
        hints.put(Err(notify::Error::generic("lost")));
        assert!(hints.take().search);
    }

    #[tokio::test]
    async fn a_write_in_a_watched_directory_wakes_up() {
        let dir = std::env::temp_dir().join(format!("brownout-watch-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("directory");
        let hints = Hints::default();
        let mut watcher = Watcher::new(hints.clone());
        assert!(watcher.watch(&BTreeSet::from([dir.clone()])));
        std::fs::write(dir.join("a"), "x").expect("write");
        hints.woken().await;
        assert_eq!(hints.take().paths, [dir.join("a")]);
        assert!(!watcher.watch(&BTreeSet::from([dir.join("absent")])));
        std::fs::remove_dir_all(&dir).expect("clean up");
    }
}
