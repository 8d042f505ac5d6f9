//! Wake-ups from the kernel (inotify) on directories. They are hints only: a lost one costs a second, never a line.
//!
//! A fast writer must not make us busy: nothing is read from the kernel until a turn is due, and until then it folds
//! what a file goes through into one event. The descriptor is with the reactor only while somebody waits for it, so that
//! an event in the meantime wakes nobody.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ffi::OsStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::tracked::{Key, Stat};
use crate::limits;

/// Paths that are remembered; with more, everything is looked at.
const PATHS: usize = 4_096;
/// Room for events, read at once.
const BUFFER: usize = 8 << 10;
/// `statfs` types of file systems that other hosts, or user space, can write to unseen: NFS, SMB, CIFS, FUSE, 9P, Ceph, AFS.
const REMOTE: [u64; 7] = [0x6969, 0xfe53_4d42, 0xff53_4d42, 0x6573_5546, 0x0102_1997, 0x00c3_6400, 0x5346_414f];
/// What is asked of a directory.
const ASKED: WatchFlags = WatchFlags::MODIFY
    .union(WatchFlags::CREATE)
    .union(WatchFlags::DELETE)
    .union(WatchFlags::MOVE)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MOVE_SELF)
    .union(WatchFlags::ONLYDIR);
/// What changes which directories there are, or says that events were lost.
const SEARCH: ReadFlags = ReadFlags::QUEUE_OVERFLOW
    .union(ReadFlags::IGNORED)
    .union(ReadFlags::UNMOUNT)
    .union(ReadFlags::DELETE_SELF)
    .union(ReadFlags::MOVE_SELF);

/// What the kernel said since the last look.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Hint {
    pub paths: Vec<PathBuf>,
    /// Directories came or went, or events were lost.
    pub search: bool,
}

/// The watched directories of one job.
#[derive(Debug)]
pub struct Watcher {
    /// None where the kernel refuses it.
    kernel: Option<OwnedFd>,
    watched: BTreeMap<PathBuf, (Key, i32)>,
    names: HashMap<i32, PathBuf>,
}

impl Watcher {
    /// A watcher of nothing yet. Where the kernel refuses one, everything is polled.
    pub fn new() -> Watcher {
        let kernel = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).ok();
        Watcher { kernel, watched: BTreeMap::new(), names: HashMap::new() }
    }

    /// Waits until there is a hint. Where the reactor refuses to watch for one, for ever: then sweeps find what is new.
    #[expect(deprecated, reason = "its successor is unsafe to call; this descriptor is borrowed and never replaced")]
    pub async fn woken(&self) {
        // Most often something came while nobody waited: then the reactor need not hear of it at all.
        if self.kernel.as_ref().is_some_and(|fd| rustix::io::ioctl_fionread(fd).is_ok_and(|bytes| bytes > 0)) {
            return;
        }
        match self.kernel.as_ref().map(|fd| AsyncFd::with_interest(fd.as_fd(), Interest::READABLE)) {
            // The event stays with the kernel: the next call returns at once, until it is taken.
            Some(Ok(kernel)) => drop(kernel.readable().await),
            Some(Err(_)) | None => std::future::pending().await,
        }
    }

    /// Takes what there is. Never waits.
    pub fn take(&self) -> Hint {
        let mut hint = Hint::default();
        let Some(kernel) = &self.kernel else { return hint };
        let mut paths = HashSet::new();
        let mut buffer = [MaybeUninit::uninit(); BUFFER];
        let mut events = inotify::Reader::new(kernel.as_fd(), &mut buffer);
        // At the end it fails with WOULDBLOCK.
        while let Ok(event) = events.next() {
            let (flags, name) = (event.events(), event.file_name());
            let folder = flags.contains(ReadFlags::ISDIR) && !flags.contains(ReadFlags::MODIFY);
            hint.search |= folder || flags.intersects(SEARCH) || paths.len() >= PATHS;
            if let (Some(directory), Some(name), false) = (self.names.get(&event.wd()), name, hint.search) {
                paths.insert(directory.join(OsStr::from_bytes(name.to_bytes())));
            }
        }
        hint.paths = paths.into_iter().collect();
        hint
    }

    /// Watches these directories and no others. False when some cannot be watched: then the job must poll.
    pub fn watch(&mut self, wanted: &BTreeSet<PathBuf>) -> bool {
        let Some(kernel) = &self.kernel else { return false };
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
        let names = &mut self.names;
        self.watched.retain(|directory, (key, number)| {
            let stays = now.get(directory) == Some(key);
            if !stays {
                // A directory that is gone has lost its watch already.
                let _ = inotify::remove_watch(kernel, *number);
                names.remove(number);
            }
            stays
        });
        now.retain(|directory, _| !self.watched.contains_key(directory));
        for (directory, key) in now {
            match inotify::add_watch(kernel, &directory, ASKED) {
                Ok(number) => {
                    self.names.insert(number, directory.clone());
                    self.watched.insert(directory, (key, number));
                }
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

    struct Dir(PathBuf);

    impl Dir {
        fn new(name: &str) -> Dir {
            let path = std::env::temp_dir().join(format!("brownout-watch-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&path).expect("directory");
            Dir(path)
        }
    }

    impl Drop for Dir {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[tokio::test]
    async fn a_write_in_a_watched_directory_wakes_up_once() {
        let dir = Dir::new("write");
        let mut watcher = Watcher::new();
        assert!(watcher.watch(&BTreeSet::from([dir.0.clone()])));
        assert_eq!(watcher.take(), Hint::default());
        for _ in 0..3 {
            std::fs::write(dir.0.join("a"), "x").expect("write");
        }
        watcher.woken().await;
        watcher.woken().await;
        assert_eq!(watcher.take(), Hint { paths: vec![dir.0.join("a")], search: false });
        assert_eq!(watcher.take(), Hint::default());
        tokio::select! {
            biased;
            () = watcher.woken() => panic!("nothing happened"),
            () = tokio::task::yield_now() => {}
        }
        std::fs::rename(dir.0.join("a"), dir.0.join("b")).expect("rename");
        watcher.woken().await;
        let mut hint = watcher.take();
        hint.paths.sort();
        assert_eq!(hint, Hint { paths: vec![dir.0.join("a"), dir.0.join("b")], search: false });
        assert!(!watcher.watch(&BTreeSet::from([dir.0.join("absent")])));
    }

    #[tokio::test]
    async fn directories_that_come_or_go_ask_for_a_search() {
        let dir = Dir::new("search");
        let mut watcher = Watcher::new();
        assert!(watcher.watch(&BTreeSet::from([dir.0.clone()])));
        std::fs::create_dir(dir.0.join("d")).expect("directory");
        watcher.woken().await;
        assert!(watcher.take().search);
        std::fs::remove_dir(dir.0.join("d")).expect("remove");
        watcher.woken().await;
        assert!(watcher.take().search);
        // What is not watched any more says nothing.
        assert!(watcher.watch(&BTreeSet::new()));
        watcher.take();
        std::fs::write(dir.0.join("a"), "x").expect("write");
        assert_eq!(watcher.take(), Hint::default());
    }
}
