//! The disk and the environment as the configuration asks about them.

use std::path::{Path, PathBuf};

use crate::config::Files;
use crate::limits;
use crate::model::{Glob, GlobEntry};

/// The real disk and environment.
#[derive(Clone, Copy, Debug, Default)]
pub struct DiskFiles;

impl Files for DiskFiles {
    fn read(&self, path: &Path) -> Result<String, String> {
        let size = std::fs::metadata(path).map_err(|error| words(&error))?.len();
        if size > limits::CONFIG_FILE_BYTES as u64 {
            return Err(format!("it is larger than {} bytes", limits::CONFIG_FILE_BYTES));
        }
        let bytes = std::fs::read(path).map_err(|error| words(&error))?;
        String::from_utf8(bytes)
            .map_err(|error| format!("it is no UTF-8 text (byte {})", error.utf8_error().valid_up_to()))
    }

    fn glob(&self, pattern: &Path) -> Vec<PathBuf> {
        let absolute = std::path::absolute(pattern).unwrap_or_else(|_| pattern.to_owned());
        let Ok(glob) = Glob::new(&absolute.to_string_lossy()) else { return Vec::new() };
        let mut found = glob.expand(&mut entries);
        found.truncate(limits::RULE_FILES);
        found.sort();
        found
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the environment is a value of the configuration, asked for here alone"
    )]
    fn env(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }
}

fn entries(folder: &Path) -> Vec<GlobEntry> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let entry = |entry: std::fs::DirEntry| {
        let kind = entry.file_type().ok()?;
        // A link to a directory is entered too: Kubernetes mounts rule folders that way.
        let directory = kind.is_dir() || (kind.is_symlink() && entry.path().is_dir());
        Some(GlobEntry { name: entry.file_name(), directory, symlink: kind.is_symlink() })
    };
    entries.flatten().filter_map(entry).collect()
}

fn words(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "no such file or directory".to_owned(),
        std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        std::io::ErrorKind::IsADirectory => "it is a directory".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_find_files_and_errors_are_words() {
        let folder = std::env::temp_dir().join(format!("brownout-disk-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("sub")).expect("made");
        for name in ["b.yaml", "a.yaml", "c.txt", "sub/d.yaml"] {
            std::fs::write(folder.join(name), "x").expect("written");
        }
        let found = DiskFiles.glob(&folder.join("*.yaml"));
        assert_eq!(found, [folder.join("a.yaml"), folder.join("b.yaml")]);
        assert_eq!(DiskFiles.glob(&folder.join("**/*.yaml")).len(), 3);
        assert_eq!(DiskFiles.read(&folder.join("none")), Err("no such file or directory".into()));
        assert_eq!(DiskFiles.read(&folder.join("a.yaml")), Ok("x".into()));
        std::fs::remove_dir_all(&folder).expect("removed");
    }
}
