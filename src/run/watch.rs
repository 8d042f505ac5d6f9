//! Notices that configuration files changed, so that they are loaded again.
//!
//! What is promised: a change of any of the paths, or of an entry of those that are directories, is told once it has been
//! quiet for [`QUIET`], and at the latest after [`LONGEST`]; also when the file was replaced (editors, atomic renames),
//! when a link on the way to it was turned (Kubernetes mounts), and, within [`POLL`], where the kernel tells nothing
//! (network file systems). Reading a file is no change. It does not look at contents: whether anything is different is
//! for the loader.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::time::Duration;

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

use crate::limits;

/// Nothing may change for this long before a change is told.
const QUIET: Duration = Duration::from_millis(150);
/// A change is told after this time, however restless the files are.
const LONGEST: Duration = Duration::from_secs(2);
/// Time between two looks at the files without being told to.
const POLL: Duration = Duration::from_secs(5);

/// Follows the newest list of paths for ever; ends when nobody gives lists or takes changes any more. `out` needs room
/// for one change: while one waits there, further ones add nothing.
pub async fn watch(paths: watch::Receiver<Vec<PathBuf>>, out: mpsc::Sender<()>) {
    Follower::new(paths, Some(POLL), true).run(out).await;
}

/// What tells one state of a path from another.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stamp {
    modified: (i64, i64),
    size: u64,
    inode: u64,
    /// Where the path leads, all links followed.
    target: Option<PathBuf>,
}

/// A path's stamp, with those of its entries if it is a directory; nothing where there is nothing.
type Snapshot = BTreeMap<PathBuf, Vec<(PathBuf, Option<Stamp>)>>;

struct Follower {
    paths: watch::Receiver<Vec<PathBuf>>,
    poll: Option<Duration>,
    /// `None` when the kernel cannot be asked.
    kernel: Option<RecommendedWatcher>,
    /// What the kernel says was touched, in a watched path or beside it.
    pokes: mpsc::Receiver<Vec<PathBuf>>,
    watched: BTreeSet<PathBuf>,
    known: Snapshot,
}

impl Follower {
    fn new(mut paths: watch::Receiver<Vec<PathBuf>>, poll: Option<Duration>, ask_kernel: bool) -> Follower {
        let (poke, pokes) = mpsc::channel(64);
        let tell = move |event: Result<Event, notify::Error>| {
            let event = match event {
                Ok(event) if is_change(&event.kind) => event.paths,
                Ok(_) => return,
                // Lost events, for example: look at everything.
                Err(_) => Vec::new(),
            };
            // A full channel holds enough to look again.
            let _ = poke.try_send(event);
        };
        let kernel = if ask_kernel { notify::recommended_watcher(tell).ok() } else { None };
        let list = paths.borrow_and_update().clone();
        let mut follower = Follower { paths, poll, kernel, pokes, watched: BTreeSet::new(), known: Snapshot::new() };
        follower.attend(&list);
        follower.known = snapshot(&list);
        follower
    }

    async fn run(mut self, out: mpsc::Sender<()>) {
        loop {
            let changed = tokio::select! {
                () = out.closed() => return,
                list = self.paths.changed() => match list {
                    Ok(()) => self.take_list().await,
                    Err(_) => return,
                },
                Some(first) = self.pokes.recv(), if self.kernel.is_some() => self.settle(first).await,
                () = next_look(self.poll) => self.look().await,
            };
            if changed {
                // When one is waiting already, it stands for this one too.
                let _ = out.try_send(());
            }
        }
    }

    /// Waits until nothing happens any more, then says whether something is different.
    async fn settle(&mut self, first: Vec<PathBuf>) -> bool {
        let mut touched = first;
        let mut longest = pin!(sleep(LONGEST));
        loop {
            tokio::select! {
                () = &mut longest => break,
                () = sleep(QUIET) => break,
                Some(more) = self.pokes.recv() => touched.extend(more),
            }
        }
        // A file that was written twice within one tick of its time stamp looks as before.
        let itself = touched.iter().any(|path| self.known.contains_key(path));
        self.look().await || itself
    }

    /// Looks at all paths; true when something is different from last time.
    async fn look(&mut self) -> bool {
        let list = self.paths.borrow().clone();
        let seen = look_at(list).await;
        let changed = seen != self.known;
        self.known = seen;
        changed
    }

    /// Takes the new list over; true when a path that stays changed in the meantime.
    async fn take_list(&mut self) -> bool {
        let list = self.paths.borrow_and_update().clone();
        self.attend(&list);
        let seen = look_at(list).await;
        let changed = seen.iter().any(|(path, stamps)| self.known.get(path).is_some_and(|before| before != stamps));
        self.known = seen;
        changed
    }

    /// Asks the kernel about the directories in which these paths stand, and those in which links on the way lead.
    fn attend(&mut self, list: &[PathBuf]) {
        let Some(kernel) = &mut self.kernel else { return };
        let wanted: BTreeSet<PathBuf> = list.iter().flat_map(|path| directories(path)).collect();
        for gone in self.watched.difference(&wanted) {
            let _ = kernel.unwatch(gone);
        }
        let mut now_watched = BTreeSet::new();
        for directory in wanted {
            // What cannot be watched (it is not there, or there are too many watches) is seen by the poll.
            if self.watched.contains(&directory) || kernel.watch(&directory, RecursiveMode::NonRecursive).is_ok() {
                now_watched.insert(directory);
            }
        }
        self.watched = now_watched;
    }
}

/// Reading changes nothing.
fn is_change(kind: &EventKind) -> bool {
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
        EventKind::Access(_) => false,
        _ => true,
    }
}

async fn next_look(poll: Option<Duration>) {
    match poll {
        Some(span) => sleep(span).await,
        None => std::future::pending().await,
    }
}

/// The directory itself, or that of the file; and the same of where links lead.
fn directories(path: &Path) -> Vec<PathBuf> {
    let real = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let mut all = Vec::new();
    for path in [path, &real] {
        if path.is_dir() {
            all.push(path.to_owned());
        }
        all.extend(
            path.parent().map(
                |parent| {
                    if parent.as_os_str().is_empty() { PathBuf::from(".") } else { parent.to_owned() }
                },
            ),
        );
    }
    all
}

async fn look_at(list: Vec<PathBuf>) -> Snapshot {
    // A dead network mount may hang: it must not hold the event loop up.
    tokio::task::spawn_blocking(move || snapshot(&list)).await.unwrap_or_default()
}

fn snapshot(list: &[PathBuf]) -> Snapshot {
    list.iter().map(|path| (path.clone(), stamps(path))).collect()
}

fn stamps(path: &Path) -> Vec<(PathBuf, Option<Stamp>)> {
    let mut all = vec![(path.to_owned(), stamp(path))];
    if let Ok(entries) = fs::read_dir(path) {
        let mut names: Vec<PathBuf> = entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect();
        names.sort();
        names.truncate(limits::WATCHED_ENTRIES);
        // The directory's own stamp changes with every passing file of an editor: the entries say what counts.
        all[0].1 = all[0].1.take().map(|stamp| Stamp { modified: (0, 0), size: 0, ..stamp });
        all.extend(names.into_iter().filter(|name| !passing(name)).map(|name| {
            let stamp = stamp(&name);
            (name, stamp)
        }));
    }
    all
}

/// What editors leave for a moment.
fn passing(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.ends_with('~') || name.ends_with(".swp") || name.ends_with(".swx") || name == "4913"
}

fn stamp(path: &Path) -> Option<Stamp> {
    let meta = fs::metadata(path).ok()?;
    Some(Stamp {
        modified: (meta.mtime(), meta.mtime_nsec()),
        size: meta.size(),
        inode: meta.ino(),
        target: fs::canonicalize(path).ok(),
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// A directory of its own for each test.
    struct Folder(PathBuf);

    impl Folder {
        fn new() -> Folder {
            static NEXT: AtomicUsize = AtomicUsize::new(0);
            let name = format!("brownout-watch-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
            let path = fs::canonicalize(std::env::temp_dir()).expect("temp").join(name);
            fs::create_dir_all(&path).expect("folder");
            Folder(path)
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.join(name)
        }

        fn write(&self, name: &str, text: &str) {
            fs::write(self.path(name), text).expect(name);
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    struct Following {
        lists: watch::Sender<Vec<PathBuf>>,
        changes: mpsc::Receiver<()>,
    }

    /// Follows from now on: by the kernel alone, or by looking alone.
    fn follow(list: Vec<PathBuf>, by_kernel: bool) -> Following {
        let (lists, paths) = watch::channel(list);
        let (out, changes) = mpsc::channel(1);
        let poll = (!by_kernel).then_some(Duration::from_millis(20));
        tokio::spawn(Follower::new(paths, poll, by_kernel).run(out));
        Following { lists, changes }
    }

    impl Following {
        async fn changed(&mut self) {
            let change = tokio::time::timeout(Duration::from_secs(20), self.changes.recv()).await;
            assert_eq!(change.expect("a change within the time"), Some(()));
        }
    }

    /// Runs a change twice, by either way of noticing.
    async fn check(prepare: fn(&Folder), watched: &[&str], change: fn(&Folder)) {
        for by_kernel in [true, false] {
            let folder = Folder::new();
            prepare(&folder);
            let mut following = follow(watched.iter().map(|name| folder.path(name)).collect(), by_kernel);
            change(&folder);
            following.changed().await;
        }
    }

    #[tokio::test]
    async fn a_file_that_is_written_again_is_a_change() {
        check(|f| f.write("a.yaml", "1"), &["a.yaml"], |f| f.write("a.yaml", "22")).await;
    }

    #[tokio::test]
    async fn an_atomic_replacement_is_a_change() {
        let replace = |f: &Folder| {
            f.write("a.tmp", "2");
            fs::rename(f.path("a.tmp"), f.path("a.yaml")).expect("rename");
        };
        check(|f| f.write("a.yaml", "1"), &["a.yaml"], replace).await;
    }

    #[tokio::test]
    async fn a_turned_link_of_a_mounted_volume_is_a_change() {
        let mount = |f: &Folder| {
            for version in ["..v1", "..v2"] {
                fs::create_dir(f.path(version)).expect("version");
                f.write(&format!("{version}/a.yaml"), "same");
            }
            symlink("..v1", f.path("..data")).expect("data");
            symlink("..data/a.yaml", f.path("a.yaml")).expect("link");
        };
        let turn = |f: &Folder| {
            symlink("..v2", f.path("..tmp")).expect("tmp");
            fs::rename(f.path("..tmp"), f.path("..data")).expect("swap");
        };
        check(mount, &["a.yaml"], turn).await;
    }

    #[tokio::test]
    async fn a_new_file_in_a_directory_of_rules_is_a_change_and_so_is_its_end() {
        let rules = |f: &Folder| fs::create_dir(f.path("rules")).expect("rules");
        check(rules, &["rules"], |f| f.write("rules/a.yaml", "")).await;
        let one = |f: &Folder| {
            fs::create_dir(f.path("rules")).expect("rules");
            f.write("rules/a.yaml", "");
        };
        check(one, &["rules"], |f| fs::remove_file(f.path("rules/a.yaml")).expect("remove")).await;
    }

    #[tokio::test]
    async fn a_file_that_appears_is_a_change() {
        check(|_| {}, &["a.yaml"], |f| f.write("a.yaml", "1")).await;
    }

    #[tokio::test]
    async fn the_newest_list_counts() {
        for by_kernel in [true, false] {
            let folder = Folder::new();
            folder.write("a.yaml", "1");
            folder.write("b.yaml", "1");
            let mut following = follow(vec![folder.path("a.yaml")], by_kernel);
            following.lists.send_replace(vec![folder.path("a.yaml"), folder.path("b.yaml")]);
            // A change of the old path shows that the follower is at work; then the new one must count.
            folder.write("a.yaml", "22");
            following.changed().await;
            folder.write("b.yaml", "22");
            following.changed().await;
        }
    }

    #[test]
    fn reading_and_passing_files_change_nothing() {
        let folder = Folder::new();
        folder.write("a.yaml", "1");
        let list = vec![folder.0.clone(), folder.path("a.yaml")];
        let before = snapshot(&list);
        fs::read(folder.path("a.yaml")).expect("read");
        folder.write(".a.yaml.swp", "x");
        folder.write("a.yaml~", "x");
        assert_eq!(snapshot(&list), before);
        assert!(!is_change(&EventKind::Access(AccessKind::Open(AccessMode::Any))));
        assert!(is_change(&EventKind::Access(AccessKind::Close(AccessMode::Write))));
        folder.write("a.yaml", "22");
        assert_ne!(snapshot(&list), before);
    }
}
