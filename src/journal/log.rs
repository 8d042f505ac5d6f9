//! The file: one record a line, `crc32 json`, where the JSON is a list of `[key, value]` and a null removes the key.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write as _};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::limits;

/// A change of one key; `None` removes it.
pub type Entry = (String, Option<Value>);

/// The journal could not be opened or written.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    #[error("journal {path}: cannot {action}: {error}")]
    Io { path: PathBuf, action: &'static str, error: std::io::Error },
    #[error("journal {0} is in use by another brownout process: stop it, or give this one another data directory")]
    Locked(PathBuf),
    #[error("a journal record of {0} bytes is larger than the limit")]
    TooLarge(usize),
}

/// What was found when the journal was opened.
#[derive(Debug)]
pub struct Opened {
    pub journal: Journal,
    /// The state that the log leads to.
    pub state: BTreeMap<String, Value>,
    /// Bytes at the end that were no whole record; they were moved to a file beside the journal.
    pub torn_bytes: u64,
    /// When the journal was last written before now, in milliseconds since the epoch; `None` for a new one.
    pub last_written_millis: Option<i64>,
}

/// The open journal. Its calls block on the disk.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: Option<File>,
    bytes: u64,
    /// The size right after the last rewrite: the next is due at twice that, past the limit.
    rewritten_bytes: u64,
    /// Each value as its JSON: a tree takes ten times as much.
    state: BTreeMap<String, Box<str>>,
    _lock: File,
}

impl Journal {
    /// Opens or makes the journal in `folder`, reads its state and cuts a torn tail.
    ///
    /// # Errors
    /// When the folder or file cannot be made, read or locked. A damaged file is no error.
    pub fn open(folder: &Path) -> Result<Opened, JournalError> {
        let path = folder.join("journal.log");
        let fail = |action| move |error| JournalError::Io { path: folder.join("journal.log"), action, error };
        std::fs::create_dir_all(folder).map_err(fail("make its folder"))?;
        let lock_path = folder.join("lock");
        let lock =
            OpenOptions::new().create(true).truncate(false).write(true).open(&lock_path).map_err(fail("lock"))?;
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| JournalError::Locked(path.clone()))?;
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(&path).map_err(fail("open"))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(fail("read"))?;
        let last_written_millis = (!bytes.is_empty()).then(|| modified_millis(&file)).flatten();
        let (state, good) = read_records(&bytes);
        let torn = &bytes[good..];
        if !torn.is_empty() {
            let aside = folder.join(format!("journal.torn-{}", crc32fast::hash(torn)));
            std::fs::write(&aside, torn).map_err(fail("set a torn tail aside"))?;
            file.set_len(good as u64).map_err(fail("cut a torn tail"))?;
            file.sync_all().map_err(fail("sync"))?;
        }
        sync_folder(folder).map_err(fail("sync its folder"))?;
        let size = good as u64;
        let texts = state.iter().map(|(key, value)| (key.clone(), text(value))).collect();
        let journal = Journal { path, file: Some(file), bytes: size, rewritten_bytes: 0, state: texts, _lock: lock };
        Ok(Opened { journal, state, torn_bytes: torn.len() as u64, last_written_millis })
    }

    /// Writes one record and waits until it is on the disk. Past the size limit, and when the record is too large, the file is
    /// rewritten from the state.
    ///
    /// After an error nothing more is written to the same file: the next append rewrites everything into a new one, so
    /// nothing that was handed in is lost once the disk is well again.
    ///
    /// # Errors
    /// When the disk does not take it. When a single value is too large: it is not kept, and everything else is.
    pub fn append(&mut self, entries: &[Entry]) -> Result<(), JournalError> {
        let mut line = Line::new();
        let mut too_large = None;
        for (key, value) in entries {
            let value = value.as_ref().map(text);
            if let Some(value) = value.as_ref().filter(|value| value.len() > limits::JOURNAL_RECORD_BYTES) {
                too_large = Some(JournalError::TooLarge(value.len()));
                line.push(key, None);
                self.state.remove(key);
                continue;
            }
            line.push(key, value.as_deref());
            match value {
                Some(value) => drop(self.state.insert(key.clone(), value)),
                None => drop(self.state.remove(key)),
            }
        }
        let due = self.bytes > limits::JOURNAL_BYTES && self.bytes > 2 * self.rewritten_bytes;
        let done = if self.file.is_none() || due || line.json.len() > limits::JOURNAL_RECORD_BYTES {
            self.rewrite()
        } else {
            self.append_line(&line.finish())
        };
        done.and(too_large.map_or(Ok(()), Err))
    }

    fn append_line(&mut self, line: &[u8]) -> Result<(), JournalError> {
        let result = self.write_line(line);
        match result {
            Ok(()) => {
                self.bytes += line.len() as u64;
                Ok(())
            }
            Err(error) => {
                self.file = None;
                Err(self.io("write", error))
            }
        }
    }

    fn write_line(&mut self, line: &[u8]) -> std::io::Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        file.write_all(line)?;
        file.sync_data()
    }

    /// Writes the whole state into a new file and puts it in the old one's place.
    ///
    /// # Errors
    /// When the disk does not take it; the old file stays.
    pub fn rewrite(&mut self) -> Result<(), JournalError> {
        let new_path = self.path.with_extension("log.new");
        let result = self.rewrite_into(&new_path);
        result.map_err(|error| {
            self.file = None;
            self.io("rewrite", error)
        })
    }

    fn rewrite_into(&mut self, new_path: &Path) -> std::io::Result<()> {
        let mut text = Vec::new();
        for (key, value) in &self.state {
            let mut line = Line::new();
            line.push(key, Some(value));
            text.extend_from_slice(&line.finish());
        }
        let mut file = OpenOptions::new().create(true).truncate(true).write(true).open(new_path)?;
        file.write_all(&text)?;
        file.sync_all()?;
        std::fs::rename(new_path, &self.path)?;
        if let Some(folder) = self.path.parent() {
            sync_folder(folder)?;
        }
        self.file = Some(OpenOptions::new().append(true).open(&self.path)?);
        (self.bytes, self.rewritten_bytes) = (text.len() as u64, text.len() as u64);
        Ok(())
    }

    /// The size of the file in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    fn io(&self, action: &'static str, error: std::io::Error) -> JournalError {
        JournalError::Io { path: self.path.clone(), action, error }
    }
}

fn text(value: &Value) -> Box<str> {
    value.to_string().into_boxed_str()
}

/// A record that is being put together.
struct Line {
    json: Vec<u8>,
}

impl Line {
    fn new() -> Line {
        Line { json: b"[".to_vec() }
    }

    fn push(&mut self, key: &str, value: Option<&str>) {
        if self.json.len() > 1 {
            self.json.push(b',');
        }
        self.json.push(b'[');
        self.json.extend_from_slice(Value::from(key).to_string().as_bytes());
        self.json.push(b',');
        self.json.extend_from_slice(value.unwrap_or("null").as_bytes());
        self.json.push(b']');
    }

    fn finish(mut self) -> Vec<u8> {
        self.json.push(b']');
        let mut line = format!("{:08x} ", crc32fast::hash(&self.json)).into_bytes();
        line.extend_from_slice(&self.json);
        line.push(b'\n');
        line
    }
}

/// The state that the whole records lead to, and where the first record that is not whole begins.
fn read_records(bytes: &[u8]) -> (BTreeMap<String, Value>, usize) {
    let (mut state, mut at) = (BTreeMap::new(), 0);
    while let Some(length) = memchr::memchr(b'\n', &bytes[at..]) {
        let Some(entries) = read_record(&bytes[at..at + length]) else { break };
        for (key, value) in entries {
            match value {
                Some(value) => drop(state.insert(key, value)),
                None => drop(state.remove(&key)),
            }
        }
        at += length + 1;
    }
    (state, at)
}

fn read_record(line: &[u8]) -> Option<Vec<Entry>> {
    let (crc, json) = (line.get(..8)?, line.get(9..)?);
    let crc = u32::from_str_radix(std::str::from_utf8(crc).ok()?, 16).ok()?;
    if line[8] != b' ' || crc != crc32fast::hash(json) {
        return None;
    }
    serde_json::from_slice(json).ok()
}

pub(crate) fn sync_folder(folder: &Path) -> std::io::Result<()> {
    File::open(folder)?.sync_all()
}

fn modified_millis(file: &File) -> Option<i64> {
    let modified = file.metadata().ok()?.modified().ok()?;
    let since = modified.duration_since(std::time::UNIX_EPOCH).ok()?;
    i64::try_from(since.as_millis()).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("brownout-journal-{name}-{}", std::process::id()));
        drop(std::fs::remove_dir_all(&folder));
        folder
    }

    fn put(key: &str, value: i64) -> Entry {
        (key.to_owned(), Some(json!(value)))
    }

    fn keys(state: &BTreeMap<String, Value>) -> String {
        state.iter().map(|(key, value)| format!("{key}={value} ")).collect()
    }

    #[test]
    fn what_was_appended_is_there_again() {
        let folder = folder("again");
        let mut opened = Journal::open(&folder).expect("opens");
        assert_eq!(opened.last_written_millis, None);
        opened.journal.append(&[put("a", 1), put("b", 2)]).expect("writes");
        opened.journal.append(&[put("a", 3), ("b".into(), None)]).expect("writes");
        assert!(matches!(Journal::open(&folder), Err(JournalError::Locked(_))), "one process at a time");
        drop(opened);
        let opened = Journal::open(&folder).expect("opens");
        assert_eq!(keys(&opened.state), "a=3 ");
        assert!(opened.last_written_millis.is_some());
        std::fs::remove_dir_all(&folder).expect("removed");
    }

    #[test]
    fn cut_at_any_byte_it_opens_with_the_whole_records_before() {
        let folder = folder("torn");
        let mut opened = Journal::open(&folder).expect("opens");
        let mut ends = vec![0];
        for i in 0..5 {
            opened.journal.append(&[put("n", i), put(&format!("k{i}"), i)]).expect("writes");
            ends.push(opened.journal.bytes());
        }
        drop(opened);
        let path = folder.join("journal.log");
        let whole = std::fs::read(&path).expect("reads");
        for cut in 0..=whole.len() {
            std::fs::write(&path, &whole[..cut]).expect("writes");
            let opened = Journal::open(&folder).expect("opens");
            let records = ends.iter().filter(|end| **end <= cut as u64).count() - 1;
            assert_eq!(opened.state.get("n"), (records > 0).then(|| json!(records - 1)).as_ref(), "cut at {cut}");
            assert_eq!(opened.torn_bytes, cut as u64 - ends[records], "cut at {cut}");
        }
        std::fs::remove_dir_all(&folder).expect("removed");
    }

    #[test]
    fn a_flipped_bit_ends_the_state_there_and_the_rest_is_set_aside() {
        let folder = folder("bit");
        let mut opened = Journal::open(&folder).expect("opens");
        for i in 0..3 {
            opened.journal.append(&[put("n", i)]).expect("writes");
        }
        drop(opened);
        let path = folder.join("journal.log");
        let whole = std::fs::read(&path).expect("reads");
        let line = whole.len() / 3;
        for at in line..2 * line {
            let mut bytes = whole.clone();
            bytes[at] ^= 4;
            std::fs::write(&path, &bytes).expect("writes");
            let opened = Journal::open(&folder).expect("opens");
            assert_eq!(keys(&opened.state), "n=0 ", "bit at {at}");
            assert_eq!(opened.torn_bytes as usize, 2 * line);
        }
        assert!(std::fs::read_dir(&folder).expect("lists").count() > 2, "torn tails are kept beside it");
        std::fs::remove_dir_all(&folder).expect("removed");
    }

    #[test]
    fn past_its_limit_it_is_rewritten_from_the_state() {
        let folder = folder("rewrite");
        let mut opened = Journal::open(&folder).expect("opens");
        let big = "x".repeat(1 << 20);
        for i in 0..8 {
            opened.journal.append(&[("big".into(), Some(json!(format!("{i}{big}"))))]).expect("writes");
        }
        assert!(opened.journal.bytes() < limits::JOURNAL_BYTES + (2 << 20), "{}", opened.journal.bytes());
        drop(opened);
        let opened = Journal::open(&folder).expect("opens");
        assert!(opened.state["big"].as_str().is_some_and(|text| text.starts_with('7')));
        std::fs::remove_dir_all(&folder).expect("removed");
    }

    #[test]
    fn what_is_too_large_for_a_record_is_kept_and_a_value_that_is_stops_nothing_else() {
        let folder = folder("large");
        let mut opened = Journal::open(&folder).expect("opens");
        let text = |bytes: usize| Some(json!("x".repeat(bytes)));
        let half = limits::JOURNAL_RECORD_BYTES / 2;
        opened.journal.append(&[put("a", 1), ("b".into(), text(half)), ("c".into(), text(half))]).expect("rewritten");
        let whole = [("b".into(), text(limits::JOURNAL_RECORD_BYTES)), ("c".into(), None), put("d", 2)];
        assert!(matches!(opened.journal.append(&whole), Err(JournalError::TooLarge(_))));
        opened.journal.append(&[put("e\"\n", 3)]).expect("writes");
        drop(opened);
        assert_eq!(keys(&Journal::open(&folder).expect("opens").state), "a=1 d=2 e\"\n=3 ");
        std::fs::remove_dir_all(&folder).expect("removed");
    }

    #[test]
    fn after_a_failed_write_the_next_append_writes_everything_again() {
        let folder = folder("fail");
        let mut opened = Journal::open(&folder).expect("opens");
        opened.journal.append(&[put("a", 1)]).expect("writes");
        opened.journal.file = Some(File::open("/dev/null").expect("a file that cannot be written"));
        assert!(opened.journal.append(&[put("b", 2)]).is_err());
        opened.journal.append(&[put("c", 3)]).expect("writes");
        drop(opened);
        assert_eq!(keys(&Journal::open(&folder).expect("opens").state), "a=1 b=2 c=3 ");
        std::fs::remove_dir_all(&folder).expect("removed");
    }
}
