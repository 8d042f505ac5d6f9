//! Files of /proc and /sys: kept open and read again from the start, into a buffer that is used again.
//!
//! A kept file that fails (its device went away) is opened anew once. A file larger than
//! [`limits::SYSTEM_FILE_BYTES`] is refused.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::collector::Failure;
use crate::limits;

/// One file that is read again and again.
pub(crate) struct Reader {
    path: PathBuf,
    file: Option<File>,
    buffer: Vec<u8>,
}

impl Reader {
    /// A reader of this path; nothing is opened yet.
    pub(crate) fn new(path: PathBuf) -> Reader {
        Reader { path, file: None, buffer: Vec::new() }
    }

    /// The whole content now.
    pub(crate) fn read(&mut self) -> Result<&[u8], Failure> {
        match self.fill() {
            Ok(length) => Ok(&self.buffer[..length]),
            Err(source) => Err(Failure::read(&self.path, source)),
        }
    }

    /// The whole content now, or `None` when there is no such file or the kernel does not offer it.
    pub(crate) fn read_if_there(&mut self) -> Result<Option<&[u8]>, Failure> {
        match self.fill() {
            Ok(length) => Ok(Some(&self.buffer[..length])),
            Err(source) if is_absent(&source) => Ok(None),
            Err(source) => Err(Failure::read(&self.path, source)),
        }
    }

    fn fill(&mut self) -> io::Result<usize> {
        if let Some(file) = &self.file {
            match fill(file, &mut self.buffer) {
                Ok(length) => return Ok(length),
                Err(_) => self.file = None,
            }
        }
        let file = File::open(&self.path)?;
        let length = fill(&file, &mut self.buffer)?;
        self.file = Some(file);
        Ok(length)
    }
}

/// Nothing there, or a kernel without this feature (`/proc/pressure` on kernels booted with `psi=0`).
fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::Unsupported)
}

fn fill(file: &File, buffer: &mut Vec<u8>) -> io::Result<usize> {
    let mut length = 0;
    loop {
        if length == buffer.len() {
            if length >= limits::SYSTEM_FILE_BYTES {
                return Err(io::Error::new(io::ErrorKind::FileTooLarge, "the file is too large"));
            }
            // It keeps the size that the first reading found: most files have a few numbers.
            buffer.resize((length * 2).max(256), 0);
        }
        match file.read_at(&mut buffer[length..], length as u64) {
            Ok(0) => return Ok(length),
            Ok(more) => length += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Reads small files below changing directories, as sysfs has them.
#[derive(Default)]
pub(crate) struct Small {
    buffer: Vec<u8>,
}

impl Small {
    /// The content without the space at both ends, or `None` when it can't be read: many attributes answer
    /// with an error when their device is down.
    pub(crate) fn bytes(&mut self, path: &Path) -> Option<&[u8]> {
        let file = File::open(path).ok()?;
        let length = fill(&file, &mut self.buffer).ok()?;
        Some(super::bytes::trim(&self.buffer[..length]))
    }

    /// The content as text.
    pub(crate) fn text(&mut self, path: &Path) -> Option<String> {
        self.bytes(path).map(|bytes| super::bytes::text(bytes).into_owned())
    }

    /// The content as a number.
    pub(crate) fn number(&mut self, path: &Path) -> Option<f64> {
        self.bytes(path).and_then(super::bytes::number)
    }
}

/// The names in a directory, sorted by their text.
pub(crate) fn names(path: &Path) -> Result<Vec<String>, Failure> {
    let fail = |source| Failure::read(path, source);
    let mut names = Vec::new();
    for entry in path.read_dir().map_err(fail)? {
        names.push(entry.map_err(fail)?.file_name().to_string_lossy().into_owned());
    }
    names.sort_unstable();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_file_shows_its_new_content_and_a_missing_one_is_no_data() {
        let path = std::env::temp_dir().join(format!("brownout-reader-{}", std::process::id()));
        std::fs::write(&path, "x".repeat(10_000)).unwrap();
        let mut reader = Reader::new(path.clone());
        assert_eq!(reader.read().unwrap().len(), 10_000);
        std::fs::write(&path, "short").unwrap();
        assert_eq!(reader.read().unwrap(), b"short");
        std::fs::remove_file(&path).unwrap();
        let mut reader = Reader::new(path);
        assert!(reader.read_if_there().unwrap().is_none());
        assert!(matches!(reader.read(), Err(Failure::NoData)));
    }
}
