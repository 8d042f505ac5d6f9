//! What the configuration asks of the world around it: texts of files, names behind a pattern, environment variables.
//!
//! The room itself touches neither the disk nor the environment; whoever loads a configuration answers these questions.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::model::Glob;

/// The world, as far as a configuration may look at it.
pub trait Files {
    /// The text of a file.
    ///
    /// # Errors
    /// Why it cannot be read, as a lowercase fragment: `no such file or directory`.
    fn read(&self, path: &Path) -> Result<String, String>;

    /// The files that a pattern ([`Glob`]) names, sorted.
    fn glob(&self, pattern: &Path) -> Vec<PathBuf>;

    /// An environment variable.
    fn env(&self, name: &str) -> Option<String>;
}

/// True when a path is a pattern for [`Files::glob`].
pub fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

/// A world with these files in it and nothing else: for tests, and for checking texts that are not on a disk.
#[derive(Clone, Debug, Default)]
pub struct FilesInMemory {
    pub files: BTreeMap<PathBuf, String>,
    pub env: BTreeMap<String, String>,
}

impl FilesInMemory {
    /// Files by their paths.
    pub fn new<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> FilesInMemory {
        let files = files.into_iter().map(|(path, text)| (PathBuf::from(path), text.to_owned())).collect();
        FilesInMemory { files, ..FilesInMemory::default() }
    }
}

impl Files for FilesInMemory {
    fn read(&self, path: &Path) -> Result<String, String> {
        self.files.get(path).cloned().ok_or_else(|| "no such file or directory".to_owned())
    }

    fn glob(&self, pattern: &Path) -> Vec<PathBuf> {
        match Glob::new(&pattern.to_string_lossy()) {
            Ok(glob) => self.files.keys().filter(|path| glob.matches(path)).cloned().collect(),
            Err(_) => Vec::new(),
        }
    }

    fn env(&self, name: &str) -> Option<String> {
        self.env.get(name).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_finds_files_of_its_own_directory_only() {
        let files = FilesInMemory::new([("/r/a.yaml", ""), ("/r/b.yaml", ""), ("/r/x/c.yaml", ""), ("/r/d.txt", "")]);
        assert_eq!(files.glob(Path::new("/r/*.yaml")), [PathBuf::from("/r/a.yaml"), PathBuf::from("/r/b.yaml")]);
        assert_eq!(files.glob(Path::new("/*/x/*")), [PathBuf::from("/r/x/c.yaml")]);
    }
}
