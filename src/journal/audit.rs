//! The audit log: JSON lines, each chained to the one before by its hash, so that a changed, removed or inserted line shows.
//!
//! A line is `{"seq":N,"prev":"<hash>","record":{...},"hash":"<hash>"}`. The hash is SHA-256, in hexadecimal, over the text of
//! the line before `,"hash":` (so over the hash of the line before, too); the first line's `prev` is 64 zeros. What it cannot
//! show by itself is that the end was cut off: [`Verified`] gives the last number and hash, to be kept elsewhere.
//!
//! A line that a crash tore is set aside when the log is opened: the next one goes on from the last whole line, and the
//! torn one is kept behind `#` so that nothing is lost in silence.

use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};

use ring::digest;

/// The `prev` of the first line.
const BEGINNING: &str = "0000000000000000000000000000000000000000000000000000000000000000";
/// Between the text that is hashed and its hash.
const SEAL: &str = ",\"hash\":\"";

/// Something is wrong with the log.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    #[error("audit log {path}: cannot {action}: {error}")]
    Io { path: PathBuf, action: &'static str, error: std::io::Error },
    #[error("audit log {path}, line {line}: {what}")]
    Broken { path: PathBuf, line: usize, what: String },
}

/// What a whole log leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// How many records there are.
    pub records: u64,
    /// The hash of the last one.
    pub hash: String,
    /// Lines that a crash tore.
    pub torn: u64,
}

/// The log, open for more.
#[derive(Debug)]
pub struct AuditLog {
    path: PathBuf,
    file: File,
    next: u64,
    last: String,
}

fn hash(text: &str) -> String {
    digest::digest(&digest::SHA256, text.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The number and hash of a line, if it is whole and its hash is right.
fn read(line: &str, prev: &str) -> Result<(u64, String), String> {
    let (text, seal) = line.rsplit_once(SEAL).ok_or("it is not whole")?;
    let said = seal.strip_suffix("\"}").ok_or("it is not whole")?;
    if hash(text) != said {
        return Err("its hash is not that of its text: it was changed".to_owned());
    }
    let head = text.strip_prefix("{\"seq\":").and_then(|rest| rest.split_once(",\"prev\":\""));
    let (seq, rest) = head.ok_or("it has no number")?;
    let (before, _) = rest.split_once('"').ok_or("it is not chained")?;
    if before != prev {
        return Err("it is not chained to the line before: one was removed, inserted or moved".to_owned());
    }
    Ok((seq.parse().map_err(|_| "it has no number".to_owned())?, said.to_owned()))
}

/// Checks a whole log.
///
/// # Errors
/// The first line that is not as it was written.
pub fn verify(path: &Path) -> Result<Verified, AuditError> {
    let fail = |action| move |error| AuditError::Io { path: path.to_owned(), action, error };
    let file = File::open(path).map_err(fail("open it"))?;
    let mut verified = Verified { records: 0, hash: BEGINNING.to_owned(), torn: 0 };
    for (index, line) in BufReader::new(file).lines().enumerate() {
        let line = line.map_err(fail("read it"))?;
        if line.starts_with('#') {
            verified.torn += 1;
            continue;
        }
        let broken = |what| AuditError::Broken { path: path.to_owned(), line: index + 1, what };
        let (seq, hash) = read(&line, &verified.hash).map_err(broken)?;
        if seq != verified.records {
            return Err(broken(format!("it has the number {seq}, not {}", verified.records)));
        }
        (verified.records, verified.hash) = (seq + 1, hash);
    }
    Ok(verified)
}

impl AuditLog {
    /// Opens the log at this path, or begins one. A torn last line is set aside.
    ///
    /// # Errors
    /// When it cannot be read or written. A log that was tampered with is opened all the same: it goes on from its last whole
    /// line, and [`verify`] says where it is broken.
    pub fn open(path: &Path) -> Result<AuditLog, AuditError> {
        let fail = |action| move |error| AuditError::Io { path: path.to_owned(), action, error };
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(fail("read it")(error)),
        };
        let torn = text.rsplit('\n').next().unwrap_or_default();
        let kept = &text[..text.len() - torn.len()];
        let whole = |line: &&str| !line.starts_with('#') && line.contains(SEAL) && line.ends_with("\"}");
        let seal = kept.lines().rev().find(whole).and_then(|line| line.rsplit_once(SEAL));
        let last = seal.map_or(BEGINNING, |(_, seal)| &seal[..seal.len() - 2]).to_owned();
        let seq = seal.and_then(|(text, _)| text.strip_prefix("{\"seq\":")?.split_once(',')?.0.parse::<u64>().ok());
        let mut file = OpenOptions::new().append(true).create(true).open(path).map_err(fail("open it"))?;
        if !torn.is_empty() {
            // What is not whole becomes a remark: the file is written anew up to there, since its beginning must say so.
            let new_path = path.with_extension("jsonl.new");
            std::fs::write(&new_path, format!("{kept}# torn by a crash: {torn}\n"))
                .map_err(fail("set a torn line aside"))?;
            std::fs::rename(&new_path, path).map_err(fail("set a torn line aside"))?;
            file = OpenOptions::new().append(true).open(path).map_err(fail("open it"))?;
        }
        Ok(AuditLog { path: path.to_owned(), file, next: seq.map_or(0, |seq| seq + 1), last })
    }

    /// Appends records, and waits until they are durable.
    ///
    /// # Errors
    /// When the disk does not take them; the log then goes on from where it was.
    pub fn append(&mut self, records: &[serde_json::Value]) -> Result<(), AuditError> {
        let (mut next, mut last, mut lines) = (self.next, self.last.clone(), String::new());
        for record in records {
            let text = format!("{{\"seq\":{next},\"prev\":\"{last}\",\"record\":{record}");
            last = hash(&text);
            lines.push_str(&format!("{text}{SEAL}{last}\"}}\n"));
            next += 1;
        }
        let written = self.file.write_all(lines.as_bytes()).and_then(|()| self.file.sync_data());
        written.map_err(|error| AuditError::Io { path: self.path.clone(), action: "append to it", error })?;
        (self.next, self.last) = (next, last);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn path(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("brownout-audit-{name}-{}.jsonl", std::process::id()));
        drop(std::fs::remove_file(&path));
        path
    }

    fn written(name: &str) -> (PathBuf, String) {
        let path = path(name);
        let mut log = AuditLog::open(&path).expect("opens");
        log.append(&[json!({"a": 1, "reason": "x\",\"hash\":\"y"}), json!({"a": 2})]).expect("appended");
        let mut log = AuditLog::open(&path).expect("opens again");
        log.append(&[json!({"a": 3})]).expect("appended");
        let text = std::fs::read_to_string(&path).expect("text");
        (path, text)
    }

    #[test]
    fn a_log_that_nobody_touched_is_whole_over_restarts() {
        let (path, text) = written("whole");
        let verified = verify(&path).expect("whole");
        assert_eq!((verified.records, verified.torn), (3, 0));
        assert!(text.ends_with(&format!("{SEAL}{}\"}}\n", verified.hash)));
        for line in text.lines() {
            assert!(serde_json::from_str::<serde_json::Value>(line).is_ok(), "{line}");
        }
        std::fs::remove_file(&path).expect("removed");
    }

    #[test]
    fn a_changed_removed_or_moved_line_is_found() {
        let (path, text) = written("tampered");
        let lines: Vec<&str> = text.lines().collect();
        let changed = text.replace("\"a\":2", "\"a\":7");
        let cases = [
            (changed.clone(), "line 2: its hash is not"),
            ([lines[0], lines[2]].join("\n"), "line 2: it is not chained"),
            ([lines[1], lines[0], lines[2]].join("\n"), "line 1: it is not chained"),
            ([lines[0], lines[0], lines[1], lines[2]].join("\n"), "line 2: it is not chained"),
            (text[..text.len() - 20].to_owned(), "line 3: it is not whole"),
        ];
        for (text, expected) in cases {
            std::fs::write(&path, text).expect("written");
            let error = verify(&path).expect_err(expected).to_string();
            assert!(error.contains(expected), "{error}");
        }
        std::fs::remove_file(&path).expect("removed");
    }

    #[test]
    fn a_line_that_a_crash_tore_is_set_aside_and_the_chain_goes_on() {
        let (path, text) = written("torn");
        for cut in 1..60 {
            std::fs::write(&path, &text[..text.len() - cut]).expect("written");
            AuditLog::open(&path).expect("opens").append(&[json!({"a": 4})]).expect("appended");
            let verified = verify(&path).unwrap_or_else(|error| panic!("cut {cut}: {error}"));
            assert!(verified.torn <= 1 && verified.records >= 3, "cut {cut}: {verified:?}");
        }
        std::fs::remove_file(&path).expect("removed");
    }
}
