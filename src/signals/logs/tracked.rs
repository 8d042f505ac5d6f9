//! One file that is followed: what it is known by, how far it is read, and reading on.
//!
//! Nothing is buffered between two reads: the offset is always the beginning of a line, and a line that is not complete
//! yet is read again when it has grown. So a half line survives rotation and restarts by itself.
//!
//! The last bytes before the offset are kept, and every read begins with them: when they are not there any more, the file
//! was truncated, whatever its size says.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use memchr::{memchr, memrchr};

use super::checkpoint::{FileMark, fnv};
use crate::limits;
use crate::time::Timestamp;

/// Bytes before the offset that must stay what they were.
const WINDOW: usize = 64;
/// Bytes of one read, at first and from when a read has filled it. The latter is larger than a window and the longest line,
/// the former enough for most logs.
pub const BUFFER: (usize, usize) = (16 << 10, 256 << 10);

/// A file's name that renaming does not change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    pub dev: u64,
    pub ino: u64,
}

/// What one `stat` says. Times are by the file system's clock, in nanoseconds since the epoch.
#[derive(Clone, Copy, Debug)]
pub struct Stat {
    pub key: Key,
    pub regular: bool,
    pub directory: bool,
    pub size: u64,
    pub links: u64,
    pub modified: i64,
    pub changed: i64,
    /// `None` where the file system does not know it.
    pub born: Option<i64>,
}

impl Stat {
    /// Of what a path leads to, links followed.
    pub fn of_path(path: &Path) -> io::Result<Stat> {
        fs::metadata(path).map(|meta| Stat::of(&meta))
    }

    fn of(meta: &fs::Metadata) -> Stat {
        let nanos = |secs: i64, nanos: i64| secs.saturating_mul(1_000_000_000).saturating_add(nanos);
        let born = meta.created().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
        Stat {
            key: Key { dev: meta.dev(), ino: meta.ino() },
            regular: meta.is_file(),
            directory: meta.is_dir(),
            size: meta.size(),
            links: meta.nlink(),
            modified: nanos(meta.mtime(), meta.mtime_nsec()),
            changed: nanos(meta.ctime(), meta.ctime_nsec()),
            born: born.map(|since| since.as_nanos() as i64),
        }
    }
}

/// How a read ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadEnd {
    /// Everything complete was read.
    Eof,
    /// The budget is used up.
    More,
    /// The file is not what it was: it was truncated, and maybe written again.
    Truncated,
}

/// One file.
#[derive(Debug)]
pub struct Tracked {
    /// The path under which it was followed first, and the same as text.
    pub path: PathBuf,
    pub name: Box<str>,
    /// The paths that lead here now; none when it was rotated away.
    pub links: Vec<PathBuf>,
    pub key: Key,
    /// The generation before it under this path: it is read first.
    pub after: Option<u64>,
    /// Since when nothing was read from it.
    pub quiet_since: Timestamp,
    pub offset: u64,
    pub size: u64,
    pub changed: i64,
    skipping: bool,
    modified: i64,
    window: Vec<u8>,
    handle: Option<File>,
}

impl Tracked {
    /// Opens a regular file, to be read from its start.
    ///
    /// # Errors
    /// When it cannot be opened, is not regular, or is not the file of `key` any more.
    pub fn open(found_at: &Path, follow_as: &Path, key: Key, now: Timestamp) -> io::Result<Tracked> {
        let (handle, stat) = open(found_at, key)?;
        Ok(Tracked {
            path: follow_as.to_owned(),
            name: follow_as.to_string_lossy().into(),
            links: Vec::new(),
            key,
            after: None,
            quiet_since: now,
            offset: 0,
            size: 0,
            changed: stat.changed,
            skipping: false,
            modified: 0,
            window: Vec::new(),
            handle: Some(handle),
        })
    }

    /// Goes on where a checkpoint stopped. False when this is not the file of the mark, or it was truncated since.
    pub fn resume(&mut self, mark: &FileMark) -> bool {
        let length = mark.marker.min(WINDOW);
        let mut window = vec![0; length];
        let start = mark.offset.checked_sub(length as u64);
        let read = self.handle.as_ref().zip(start).map(|(file, start)| file.read_exact_at(&mut window, start));
        if !matches!(read, Some(Ok(()))) || fnv(&window) != mark.hash {
            return false;
        }
        (self.offset, self.skipping, self.window, self.size) = (mark.offset, mark.skipping, window, mark.offset);
        true
    }

    /// Skips to the beginning of the last line, complete or not.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn skip_to_end(&mut self) -> io::Result<()> {
        let Some(file) = &self.handle else { return Ok(()) };
        let size = file.metadata()?.len();
        let start = size.saturating_sub((limits::LOG_LINE_BYTES + WINDOW) as u64);
        let mut tail = vec![0; (size - start) as usize];
        file.read_exact_at(&mut tail, start)?;
        let (end, skipping) = match memrchr(b'\n', &tail) {
            Some(newline) => (newline + 1, false),
            None if start == 0 => (0, false),
            None => (tail.len(), true),
        };
        self.offset = start + end as u64;
        self.skipping = skipping;
        self.remember(&tail[..end]);
        Ok(())
    }

    /// The file itself; opened again if it was closed for a while.
    ///
    /// # Errors
    /// When it is not at its path any more.
    fn file(&mut self) -> io::Result<&File> {
        let handle = match self.handle.take() {
            Some(handle) => handle,
            None => {
                let path = self.links.first().unwrap_or(&self.path);
                open(path, self.key)?.0
            }
        };
        Ok(self.handle.insert(handle))
    }

    /// Closes the descriptor; the next read opens the file again.
    pub fn close(&mut self) {
        self.handle = None;
    }

    /// Whether a descriptor is held.
    pub fn is_open(&self) -> bool {
        self.handle.is_some()
    }

    /// Takes over a descriptor that was found elsewhere.
    pub fn reopen_at(&mut self, path: &Path) -> bool {
        self.handle = open(path, self.key).ok().map(|(handle, _)| handle);
        self.handle.is_some()
    }

    /// Looks at the file by its descriptor, or by its path while none is held.
    ///
    /// # Errors
    /// When it cannot be looked at, or another file is at its path.
    pub fn stat(&self) -> io::Result<Stat> {
        match &self.handle {
            Some(file) => file.metadata().map(|meta| Stat::of(&meta)),
            None => Stat::of_path(self.links.first().unwrap_or(&self.path)),
        }
    }

    /// Whether this is what the last read saw.
    pub fn is_unchanged(&self, stat: &Stat) -> bool {
        stat.size == self.size && stat.modified == self.modified
    }

    /// Reads on from the offset if the file changed, at most `budget` bytes or a little more. `line` gets each line, and
    /// whether it was cut. Gives the bytes that were taken.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn read(
        &mut self,
        buffer: &mut Vec<u8>,
        budget: usize,
        line: &mut dyn FnMut(&[u8], &str, bool),
    ) -> io::Result<(u64, ReadEnd)> {
        let stat = self.stat()?;
        if stat.key != self.key {
            return Err(io::ErrorKind::NotFound.into());
        }
        if stat.size < self.size {
            return Ok((0, ReadEnd::Truncated));
        }
        if self.is_unchanged(&stat) {
            return Ok((0, ReadEnd::Eof));
        }
        let mut taken = 0;
        loop {
            let start = self.offset - self.window.len() as u64;
            let read = match self.file()?.read_at(buffer, start) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                read => read?,
            };
            let Some(data) = buffer[..read].strip_prefix(self.window.as_slice()) else {
                return Ok((taken, ReadEnd::Truncated));
            };
            let done = split(data, &mut self.skipping, &mut |text, cut| line(text, &self.name, cut));
            let end = self.window.len() + done;
            self.remember(&buffer[..end]);
            self.offset += done as u64;
            taken += done as u64;
            if !grow_when_full(buffer, read) {
                self.size = start + read as u64;
                (self.modified, self.changed) = (stat.modified, stat.changed);
                return Ok((taken, ReadEnd::Eof));
            }
            self.size = self.size.max(self.offset);
            if taken >= budget as u64 {
                return Ok((taken, ReadEnd::More));
            }
        }
    }

    /// Begins again at the start, after a truncation. Gives the bytes that are known to be lost.
    pub fn restart(&mut self) -> u64 {
        let lost = self.size.saturating_sub(self.offset);
        (self.offset, self.size, self.skipping, self.modified) = (0, 0, false, 0);
        self.window.clear();
        lost
    }

    /// Takes an unfinished last line as a line: nothing will be written to this file any more.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn finish(&mut self, buffer: &mut Vec<u8>, line: &mut dyn FnMut(&[u8], &str, bool)) -> io::Result<u64> {
        let offset = self.offset;
        let mut read = self.file()?.read_at(buffer, offset)?;
        if buffer.len() < BUFFER.1 && grow_when_full(buffer, read) {
            read = self.file()?.read_at(buffer, offset)?;
        }
        if read > 0 && !self.skipping {
            line(&buffer[..read.min(limits::LOG_LINE_BYTES)], &self.name, read > limits::LOG_LINE_BYTES);
        }
        self.offset += read as u64;
        let mut before = std::mem::take(&mut self.window);
        before.extend_from_slice(&buffer[..read]);
        self.remember(&before);
        Ok(read as u64)
    }

    /// The file's place, for a checkpoint.
    pub fn mark(&self) -> FileMark {
        FileMark {
            path: self.path.clone(),
            attached: !self.links.is_empty(),
            dev: self.key.dev,
            ino: self.key.ino,
            offset: self.offset,
            marker: self.window.len(),
            hash: fnv(&self.window),
            skipping: self.skipping,
            changed: self.changed,
            done: false,
            born: None,
        }
    }

    fn remember(&mut self, before: &[u8]) {
        self.window.clear();
        self.window.extend_from_slice(&before[before.len().saturating_sub(WINDOW)..]);
    }
}

/// Whether a read filled the buffer, which then has its full size for the next one.
fn grow_when_full(buffer: &mut Vec<u8>, read: usize) -> bool {
    let full = read == buffer.len();
    if full && read < BUFFER.1 {
        buffer.resize(BUFFER.1, 0);
    }
    full
}

fn open(path: &Path, key: Key) -> io::Result<(File, Stat)> {
    // Not blocking: a FIFO that took the file's place must not hold us.
    let flags = rustix::fs::OFlags::NONBLOCK.bits() as i32;
    let file = fs::OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let stat = Stat::of(&file.metadata()?);
    match stat.regular && stat.key == key {
        true => Ok((file, stat)),
        false => Err(io::ErrorKind::NotFound.into()),
    }
}

/// Gives each complete line, and the beginning of one that is too long; says how many bytes are done with.
fn split(data: &[u8], skipping: &mut bool, line: &mut dyn FnMut(&[u8], bool)) -> usize {
    let mut at = 0;
    if *skipping {
        match memchr(b'\n', data) {
            None => return data.len(),
            Some(newline) => at = newline + 1,
        }
        *skipping = false;
    }
    while let Some(length) = memchr(b'\n', &data[at..]) {
        let text = &data[at..at + length];
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        line(&text[..text.len().min(limits::LOG_LINE_BYTES)], text.len() > limits::LOG_LINE_BYTES);
        at += length + 1;
    }
    // One byte more than the limit: a carriage return may be the last.
    if data.len() - at > limits::LOG_LINE_BYTES + 1 {
        line(&data[at..at + limits::LOG_LINE_BYTES], true);
        *skipping = true;
        at = data.len();
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_split_whole_and_long_ones_cut_once() {
        let check = |data: &[u8], skip: bool, expected: &[(&str, bool)], done: usize, skips: bool| {
            let (mut lines, mut skipping) = (Vec::new(), skip);
            let used = split(data, &mut skipping, &mut |text, cut| {
                let shown = if text.len() > 20 {
                    format!("{} bytes", text.len())
                } else {
                    String::from_utf8_lossy(text).into_owned()
                };
                lines.push((shown, cut));
            });
            let expected: Vec<_> = expected.iter().map(|(text, cut)| ((*text).to_owned(), *cut)).collect();
            assert_eq!((lines, used, skipping), (expected, done, skips));
        };
        check(b"", false, &[], 0, false);
        check(b"a\nb\r\n\nhalf", false, &[("a", false), ("b", false), ("", false)], 6, false);
        check(b"rest\nb\n", true, &[("b", false)], 7, false);
        check(b"rest", true, &[], 4, true);
        check(b"a\0\xff\n", false, &[("a\0\u{fffd}", false)], 4, false);
        let whole = format!("{}\r\n", "x".repeat(limits::LOG_LINE_BYTES));
        check(whole.as_bytes(), false, &[("65536 bytes", false)], whole.len(), false);
        let long = format!("{}\n", "x".repeat(limits::LOG_LINE_BYTES + 1));
        check(long.as_bytes(), false, &[("65536 bytes", true)], long.len(), false);
        let endless = "x".repeat(limits::LOG_LINE_BYTES + 2);
        check(endless.as_bytes(), false, &[("65536 bytes", true)], endless.len(), true);
    }
}
