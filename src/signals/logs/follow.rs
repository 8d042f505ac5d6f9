//! The follower: which files a job reads, through every kind of rotation, as one synchronous state machine.
//!
//! A file is known by device and inode; a path leads to it, for now. [`Follower::poll`] looks at paths and files, reads what
//! is new and gives the lines. Hints from outside only say where to look first: `stat` is the truth.
//!
//! * **Rename**: the path leads to another inode, or to none. The old file stays open and is read until it has been quiet
//!   for `rotate_wait`; the new one is read from its start, after the old one. Generations that came and went between two
//!   looks are found beside the path by their birth time.
//! * **Truncation** (copytruncate): the size fell below what was seen, or the bytes before the offset changed. The copy is
//!   looked for beside the path, and what had not been read yet is read from it; then the file itself from its start.
//! * **Deletion** is a rename to nowhere. **A link that is switched** is a rename too.
//! * **Restart**: a mark of the checkpoint is looked for at its path, then by inode in its directory, and checked by the
//!   hash of the bytes before its offset.
//! * At most [`limits::LOG_FILES_OPEN`] descriptors are held; quiet files are opened again when they grow.
//!
//! No line is lost or given twice by a rename or a restart. copytruncate can lose what is written between its copy and its
//! truncation; what is known to be lost is counted.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::checkpoint::FileMark;
use super::settings::{JobSettings, LogError, ReadFrom};
use super::tracked::{BUFFER, Key, ReadEnd, Stat, Tracked};
use crate::limits;
use crate::model::{Glob, GlobEntry};
use crate::time::Timestamp;

/// Bytes of one file in one poll, so that a flood in it does not keep the others waiting.
const FILE_BUDGET: usize = 1 << 20;
/// Bytes of all files in one poll.
const POLL_BUDGET: usize = 4 << 20;
/// Files that were read to their end, kept in mind so that none is taken for a new one.
const FINISHED: usize = 256;
/// So many of them are in a checkpoint.
const FINISHED_MARKS: usize = 16;
const COMPRESSED: [&str; 7] = ["gz", "zst", "xz", "bz2", "lz4", "Z", "zip"];

/// Where to look.
#[derive(Clone, Copy, Debug)]
pub enum Look<'a> {
    /// Search the patterns anew, then everything.
    Search,
    /// All paths and files that are known.
    Sweep,
    /// These paths, and files that were rotated away.
    Paths(&'a [PathBuf]),
}

/// What one poll came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Polled {
    pub lines: u64,
    pub cut: u64,
    pub bytes: u64,
    pub lost: u64,
    pub renames: u64,
    pub truncations: u64,
    pub deletions: u64,
    /// Reasons for which files were refused just now.
    pub refused: Vec<&'static str>,
    /// There is more to read at once.
    pub more: bool,
    /// An offset moved, or a file came or went.
    pub moved: bool,
}

#[derive(Debug, Default)]
struct Slot {
    file: Option<u64>,
    /// The last change of the file that was here, when the path was last seen to lead to it.
    seen: Option<i64>,
}

/// The files of one job.
#[derive(Debug)]
pub struct Follower {
    globs: Vec<Glob>,
    exclude: Vec<Glob>,
    read_from: ReadFrom,
    rotate_wait: Duration,
    /// By number; an older generation has a smaller one.
    files: BTreeMap<u64, Tracked>,
    by_key: HashMap<Key, u64>,
    paths: BTreeMap<PathBuf, Slot>,
    /// Where links really lead, and the path that we know.
    targets: HashMap<PathBuf, PathBuf>,
    directories: BTreeSet<PathBuf>,
    resume: HashMap<Key, FileMark>,
    /// Where reading ended in files that were rotated away, in case that they come back under a wanted name.
    finished: VecDeque<FileMark>,
    refused: HashMap<PathBuf, &'static str>,
    /// Files that have more to read.
    pending: BTreeSet<u64>,
    /// The file at which the last poll's budget ended.
    stopped_at: Option<u64>,
    next: u64,
    started: bool,
    buffer: Vec<u8>,
}

impl Follower {
    /// A follower that has not looked yet. `marks` are those of the checkpoint.
    ///
    /// # Errors
    /// When there is no path, or a pattern cannot be used.
    pub fn new(settings: &JobSettings, marks: &[FileMark]) -> Result<Follower, LogError> {
        let globs =
            |texts: &[String]| texts.iter().map(|text| Ok(Glob::new(text)?)).collect::<Result<Vec<_>, LogError>>();
        if settings.paths.is_empty() {
            return Err(LogError::NoPaths(settings.job_name.clone()));
        }
        let mut paths = BTreeMap::<PathBuf, Slot>::new();
        if settings.read_from != ReadFrom::End {
            for mark in marks.iter().filter(|mark| mark.attached && !mark.done) {
                paths.insert(mark.path.clone(), Slot { file: None, seen: Some(mark.changed) });
            }
        }
        let key = |mark: &FileMark| Key { dev: mark.dev, ino: mark.ino };
        Ok(Follower {
            globs: globs(&settings.paths)?,
            exclude: globs(&settings.exclude)?,
            read_from: settings.read_from,
            rotate_wait: settings.rotate_wait,
            files: BTreeMap::new(),
            by_key: HashMap::new(),
            paths,
            targets: HashMap::new(),
            directories: BTreeSet::new(),
            resume: match settings.read_from {
                ReadFrom::End => HashMap::new(),
                _ => marks.iter().filter(|mark| !mark.done).map(|mark| (key(mark), mark.clone())).collect(),
            },
            finished: marks.iter().filter(|mark| mark.done).cloned().collect(),
            refused: HashMap::new(),
            pending: BTreeSet::new(),
            stopped_at: None,
            next: 0,
            started: false,
            buffer: vec![0; BUFFER.0],
        })
    }

    /// Looks, reads and gives the lines: the text, the path of its file, and whether it was cut.
    pub fn poll(&mut self, now: Timestamp, look: Look<'_>, line: &mut dyn FnMut(&[u8], &str, bool)) -> Polled {
        let mut polled = Polled::default();
        let look = if self.started { look } else { Look::Search };
        match look {
            Look::Search => {
                // The search comes after it: what is renamed between them is then found under its new name.
                if !self.started {
                    self.resume_rotated(now, &mut polled);
                }
                let found = self.search();
                let known: Vec<PathBuf> = self.paths.keys().cloned().collect();
                known.iter().chain(&found).for_each(|path| self.check_path(path, now, &mut polled));
                self.started = true;
                self.resume.clear();
            }
            Look::Sweep => {
                let plain = self.globs.iter().filter(|glob| glob.is_plain()).map(|glob| PathBuf::from(glob.as_str()));
                let known: BTreeSet<PathBuf> = self.paths.keys().cloned().chain(plain).collect();
                known.iter().for_each(|path| self.check_path(path, now, &mut polled));
            }
            Look::Paths(paths) => {
                for path in paths {
                    let path = self.targets.get(path).cloned().unwrap_or_else(|| path.clone());
                    self.check_path(&path, now, &mut polled);
                }
            }
        }
        let rotated = self.files.iter().filter(|(_, file)| file.links.is_empty());
        self.pending.extend(rotated.map(|(id, _)| *id));
        self.read_pending(now, &mut polled, &mut |text, path, cut| line(text, path, cut));
        self.close_rotated(now, &mut polled, line);
        self.spare_descriptors();
        polled
    }

    /// The directories to watch, as of the last search.
    pub fn directories(&self) -> &BTreeSet<PathBuf> {
        &self.directories
    }

    /// True while a file that was rotated away is still read.
    pub fn draining(&self) -> bool {
        self.files.values().any(|file| file.links.is_empty())
    }

    /// Files that are followed.
    pub fn count(&self) -> usize {
        self.files.len()
    }

    /// Bytes that are in the files and not read yet, as far as is known.
    pub fn lag(&self) -> u64 {
        let lag = |file: &Tracked| file.stat().map_or(0, |stat| stat.size.saturating_sub(file.offset));
        self.pending.iter().filter_map(|id| self.files.get(id)).map(lag).sum()
    }

    /// The places, for a checkpoint; older generations first.
    pub fn marks(&self) -> Vec<FileMark> {
        let done = self.finished.iter().rev().take(FINISHED_MARKS).rev().cloned();
        // Before the first look, what was restored is all that is known.
        let waiting = self.resume.values().cloned();
        self.files.values().map(Tracked::mark).chain(waiting).chain(done).collect()
    }

    // ---- paths

    fn search(&mut self) -> Vec<PathBuf> {
        let (mut directories, mut left) = (BTreeSet::new(), limits::LOG_SCAN_ENTRIES);
        let mut found = Vec::new();
        for glob in &self.globs {
            let paths = glob.expand(&mut |directory: &Path| {
                directories.insert(directory.to_owned());
                let entries = list(directory, left);
                left -= entries.len();
                entries
            });
            found.extend(paths);
        }
        found.retain(|path| self.wanted(path));
        directories.extend(found.iter().filter_map(|path| path.parent()).map(Path::to_owned));
        directories.extend(self.targets.keys().filter_map(|path| path.parent()).map(Path::to_owned));
        self.directories = directories;
        found
    }

    /// Whether the job asks for this path.
    pub fn wanted(&self, path: &Path) -> bool {
        let compressed = path.extension().is_some_and(|end| COMPRESSED.iter().any(|known| end == *known));
        !compressed
            && self.globs.iter().any(|glob| glob.matches(path))
            && !self.exclude.iter().any(|glob| glob.matches(path))
    }

    fn check_path(&mut self, path: &Path, now: Timestamp, polled: &mut Polled) {
        let (wanted, known) = (self.wanted(path), self.paths.contains_key(path));
        if !wanted && !known {
            return;
        }
        let stat = match Stat::of_path(path) {
            Ok(stat) if wanted => stat,
            _ => {
                self.refused.remove(path);
                self.detach(path, now, polled);
                // The last generation under this path is still read: then the path is kept in mind.
                let busy = || self.files.values().any(|file| file.path == *path);
                if self.started && known && !busy() {
                    self.paths.remove(path);
                }
                return;
            }
        };
        let slot = self.paths.get(path);
        let current = slot.and_then(|slot| slot.file);
        let is_same = |id: u64| self.files.get(&id).is_some_and(|file| file.key == stat.key);
        if !stat.regular {
            self.detach(path, now, polled);
            self.refuse(path, "kind", polled);
            return;
        }
        if !current.is_some_and(is_same) {
            let seen = slot.and_then(|slot| slot.seen);
            let before = self.detach(path, now, polled);
            self.attach(path, &stat, seen, before, now, polled);
        }
        if let Some(slot) = self.paths.get_mut(path) {
            slot.seen = Some(stat.changed);
            let changed = |id: &u64| self.files.get(id).is_some_and(|file| !file.is_unchanged(&stat));
            self.pending.extend(slot.file.filter(changed));
        }
    }

    /// The path does not lead to its file any more. Gives the file.
    fn detach(&mut self, path: &Path, now: Timestamp, polled: &mut Polled) -> Option<u64> {
        let id = self.paths.get_mut(path)?.file.take()?;
        let file = self.files.get_mut(&id)?;
        file.links.retain(|link| link != path);
        if !file.links.is_empty() {
            return Some(id);
        }
        polled.moved = true;
        file.quiet_since = now;
        if !file.is_open() {
            // It was quiet, so its descriptor was spared: look for it under its new name.
            let key = file.key;
            let found = siblings(path, false).into_iter().find(|(_, stat)| stat.key == key);
            if !found.is_some_and(|(at, _)| file.reopen_at(&at)) {
                self.forget(id);
                polled.deletions += 1;
                return None;
            }
        }
        let file = self.files.get(&id)?;
        match file.stat().is_ok_and(|stat| stat.links == 0) {
            true => polled.deletions += 1,
            false => polled.renames += 1,
        }
        self.pending.insert(id);
        Some(id)
    }

    /// The path leads to a file that it did not lead to before.
    fn attach(
        &mut self,
        path: &Path,
        stat: &Stat,
        seen: Option<i64>,
        before: Option<u64>,
        now: Timestamp,
        polled: &mut Polled,
    ) {
        let known = self.by_key.get(&stat.key).copied();
        if known.is_none() && self.files.len() >= limits::LOG_FILES {
            return self.refuse(path, "limit", polled);
        }
        let between = seen.filter(|_| known.is_none()).and_then(|seen| self.find_between(path, stat, seen, now));
        let id = match known {
            Some(id) => id,
            None => match self.begin(path, stat, now) {
                Ok(mut file) => {
                    file.after = file.after.or(between).or(before);
                    self.insert(file)
                }
                Err(_) => return self.refuse(path, "open", polled),
            },
        };
        self.refused.remove(path);
        polled.moved = true;
        if let Some(file) = self.files.get_mut(&id) {
            file.links.push(path.to_owned());
        }
        self.paths.entry(path.to_owned()).or_default().file = Some(id);
        self.pending.insert(id);
        if let Ok(real) = fs::canonicalize(path)
            && real != path
        {
            self.directories.extend(real.parent().map(Path::to_owned));
            self.targets.retain(|_, known| known != path);
            self.targets.insert(real, path.to_owned());
        }
    }

    /// Opens a new file and decides where reading begins.
    fn begin(&mut self, path: &Path, stat: &Stat, now: Timestamp) -> std::io::Result<Tracked> {
        let mut file = Tracked::open(path, path, stat.key, now)?;
        if let Some(mark) = self.finished(stat).and_then(|at| self.finished.remove(at)) {
            // It was rotated away and read to its end, and has a wanted name: what came since is new. A mark of an older
            // version does not say where the end was.
            let known = mark.hash != 0;
            if !file.resume(&mark) && !known {
                file.skip_to_end()?;
            }
            return Ok(file);
        }
        if self.started {
            return Ok(file);
        }
        match self.resume.remove(&stat.key) {
            // When the mark does not fit, the file was truncated meanwhile: from its start, and from its copy.
            Some(mark) => {
                if !file.resume(&mark) {
                    file.after = self.copy_of_mark(path, &mark, now);
                }
            }
            // The path was followed and leads to a new file now: from its start.
            None if self.paths.get(path).is_some_and(|slot| slot.seen.is_some()) => {}
            None if self.read_from == ReadFrom::Start => {}
            None => file.skip_to_end()?,
        }
        Ok(file)
    }

    /// The place of a finished file's mark.
    fn finished(&self, stat: &Stat) -> Option<usize> {
        let is_it = |mark: &FileMark| Key { dev: mark.dev, ino: mark.ino } == stat.key && mark.born == stat.born;
        self.finished.iter().position(is_it)
    }

    fn insert(&mut self, file: Tracked) -> u64 {
        let id = self.next;
        self.next += 1;
        self.by_key.insert(file.key, id);
        self.files.insert(id, file);
        id
    }

    fn forget(&mut self, id: u64) {
        if let Some(file) = self.files.remove(&id) {
            self.by_key.remove(&file.key);
        }
        self.pending.remove(&id);
    }

    fn refuse(&mut self, path: &Path, reason: &'static str, polled: &mut Polled) {
        if self.refused.get(path) != Some(&reason) && self.refused.len() < limits::LOG_FILES {
            self.refused.insert(path.to_owned(), reason);
            polled.refused.push(reason);
        }
    }

    // ---- generations beside the path

    /// Files of the checkpoint that are not at their path any more: found by inode in the same directory, and read first.
    fn resume_rotated(&mut self, now: Timestamp, polled: &mut Polled) {
        let mut marks: Vec<FileMark> = self.resume.values().cloned().collect();
        marks.sort_by_key(|mark| mark.changed);
        for mark in marks {
            let key = Key { dev: mark.dev, ino: mark.ino };
            let wanted = self.wanted(&mark.path);
            if wanted && Stat::of_path(&mark.path).is_ok_and(|stat| stat.key == key) {
                continue;
            }
            self.resume.remove(&key);
            if !wanted {
                continue;
            }
            let found = siblings(&mark.path, false).into_iter().find(|(_, stat)| stat.key == key);
            let opened = found.and_then(|(at, _)| Tracked::open(&at, &mark.path, key, now).ok());
            let resumed = opened.and_then(|mut file| file.resume(&mark).then_some(file));
            match resumed {
                Some(file) => {
                    let id = self.insert(file);
                    self.pending.insert(id);
                    polled.renames += u64::from(mark.attached);
                }
                // It was read to its end as far as we know, or it is gone with what we had not read.
                None => polled.deletions += u64::from(mark.attached),
            }
        }
    }

    /// Generations that were at the path after the one we know and before the one that is there now. Gives the last.
    fn find_between(&mut self, path: &Path, now_there: &Stat, seen: i64, now: Timestamp) -> Option<u64> {
        let newest = now_there.born?;
        let mut found = siblings(path, true);
        found.retain(|(_, stat)| {
            stat.regular
                && !self.by_key.contains_key(&stat.key)
                && self.finished(stat).is_none()
                && stat.key != now_there.key
                && stat.born.is_some_and(|born| born >= seen && born <= newest)
        });
        found.sort_by_key(|(_, stat)| stat.born);
        let mut last = None;
        for (at, stat) in found {
            if let Ok(mut file) = Tracked::open(&at, path, stat.key, now) {
                file.after = last;
                let id = self.insert(file);
                self.pending.insert(id);
                last = Some(id);
            }
        }
        last
    }

    /// The copy that was made of a file before it was truncated, if something in it was not read yet.
    fn copy_of_mark(&mut self, path: &Path, mark: &FileMark, now: Timestamp) -> Option<u64> {
        let mut found = siblings(path, true);
        found.retain(|(at, stat)| {
            stat.regular
                && stat.size > mark.offset
                && !self.by_key.contains_key(&stat.key)
                && self.finished(stat).is_none()
                && stat.born.is_some_and(|born| born >= mark.changed)
                && !self.wanted(at)
        });
        let (at, stat) = found.into_iter().max_by_key(|(_, stat)| stat.born)?;
        let mut copy = Tracked::open(&at, path, stat.key, now).ok()?;
        if !copy.resume(mark) {
            return None;
        }
        let id = self.insert(copy);
        self.pending.insert(id);
        Some(id)
    }

    // ---- reading

    fn read_pending(&mut self, now: Timestamp, polled: &mut Polled, line: &mut dyn FnMut(&[u8], &str, bool)) {
        // Older generations first, unless the last poll's budget ended at one: then those behind it.
        let stopped = self.stopped_at.take();
        let (later, earlier): (Vec<u64>, Vec<u64>) =
            self.pending.iter().partition(|id| stopped.is_none_or(|at| **id > at));
        let mut left = POLL_BUDGET as u64;
        for id in later.into_iter().chain(earlier) {
            let waits =
                self.files.get(&id).and_then(|file| file.after).is_some_and(|after| self.pending.contains(&after));
            if waits {
                continue;
            }
            left = left.saturating_sub(self.read_file(id, now, polled, line));
            if left == 0 {
                self.stopped_at = Some(id);
                break;
            }
        }
        polled.more = !self.pending.is_empty();
    }

    fn read_file(
        &mut self,
        id: u64,
        now: Timestamp,
        polled: &mut Polled,
        line: &mut dyn FnMut(&[u8], &str, bool),
    ) -> u64 {
        let mut taken = 0;
        loop {
            let Some(file) = self.files.get_mut(&id) else { return taken };
            let mut count = |text: &[u8], path: &str, cut: bool| {
                polled.lines += 1;
                polled.cut += u64::from(cut);
                line(text, path, cut);
            };
            let (bytes, end) = match file.read(&mut self.buffer, FILE_BUDGET, &mut count) {
                Ok(read) => read,
                Err(_) => {
                    // Gone, or unreadable just now: the path will tell.
                    self.pending.remove(&id);
                    return taken;
                }
            };
            taken += bytes;
            polled.bytes += bytes;
            if bytes > 0 {
                polled.moved = true;
                file.quiet_since = now;
            }
            match end {
                ReadEnd::More => return taken,
                ReadEnd::Eof => {
                    self.pending.remove(&id);
                    return taken;
                }
                ReadEnd::Truncated => {
                    polled.truncations += 1;
                    polled.moved = true;
                    let mark = self.files.get(&id).and_then(|file| Some((file.links.first()?.clone(), file.mark())));
                    let copy = mark.and_then(|(path, mark)| self.copy_of_mark(&path, &mark, now));
                    let lost = self.files.get_mut(&id).map_or(0, Tracked::restart);
                    polled.lost += if copy.is_none() { lost } else { 0 };
                    if let Some(copy) = copy {
                        taken += self.read_file(copy, now, polled, line);
                    }
                }
            }
        }
    }

    /// Rotated files that were quiet for long enough.
    fn close_rotated(&mut self, now: Timestamp, polled: &mut Polled, line: &mut dyn FnMut(&[u8], &str, bool)) {
        let quiet = |file: &Tracked| file.links.is_empty() && now.since(file.quiet_since) >= self.rotate_wait;
        let done: Vec<u64> = self.files.iter().filter(|(_, file)| quiet(file)).map(|(id, _)| *id).collect();
        for id in done.into_iter().filter(|id| !self.pending.contains(id)).collect::<Vec<_>>() {
            let Some(file) = self.files.get_mut(&id) else { continue };
            let mut count = |text: &[u8], path: &str, cut: bool| {
                polled.lines += 1;
                polled.cut += u64::from(cut);
                line(text, path, cut);
            };
            polled.bytes += file.finish(&mut self.buffer, &mut count).unwrap_or(0);
            polled.moved = true;
            let born = file.stat().ok().and_then(|stat| stat.born);
            self.finished.push_back(FileMark { path: PathBuf::new(), done: true, born, ..file.mark() });
            if self.finished.len() > FINISHED {
                self.finished.pop_front();
            }
            self.forget(id);
        }
    }

    /// Closes the descriptors of the files that were quiet for longest.
    fn spare_descriptors(&mut self) {
        if self.files.len() <= limits::LOG_FILES_OPEN {
            return;
        }
        let closable = |file: &Tracked| file.is_open() && !file.links.is_empty();
        let open = self.files.values().filter(|file| file.is_open()).count();
        let mut quiet: Vec<(Timestamp, u64)> =
            self.files.iter().filter(|(_, file)| closable(file)).map(|(id, file)| (file.quiet_since, *id)).collect();
        quiet.sort_unstable();
        for (_, id) in quiet.into_iter().take(open.saturating_sub(limits::LOG_FILES_OPEN)) {
            if let Some(file) = self.files.get_mut(&id) {
                file.close();
            }
        }
    }
}

/// The other entries of a path's directory; with `related`, only those whose name begins with the path's name.
fn siblings(path: &Path, related: bool) -> Vec<(PathBuf, Stat)> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Vec::new();
    };
    let beside = |entry: GlobEntry| {
        let begins = entry.name.as_encoded_bytes().starts_with(name.as_encoded_bytes()) && entry.name != name;
        let at = directory.join(&entry.name);
        let compressed = at.extension().is_some_and(|end| COMPRESSED.iter().any(|known| end == *known));
        let asked = !entry.directory && !entry.symlink && (!related || (begins && !compressed));
        Stat::of_path(&at).ok().filter(|_| asked).map(|stat| (at, stat))
    };
    list(directory, limits::LOG_SCAN_ENTRIES).into_iter().filter_map(beside).collect()
}

fn list(directory: &Path, most: usize) -> Vec<GlobEntry> {
    let Ok(entries) = fs::read_dir(directory) else {
        return Vec::new();
    };
    let entry = |entry: fs::DirEntry| {
        let kind = entry.file_type().ok();
        let is = |test: fn(&fs::FileType) -> bool| kind.as_ref().is_some_and(test);
        GlobEntry {
            name: entry.file_name(),
            directory: is(fs::FileType::is_dir),
            symlink: is(fs::FileType::is_symlink),
        }
    };
    entries.filter_map(Result::ok).take(most).map(entry).collect()
}

#[cfg(test)]
mod tests;
