//! The disk and the environment as the configuration asks about them.

use std::path::{Path, PathBuf};

use crate::config::Files;
use crate::limits;
use crate::model::Glob;

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
        String::from_utf8(bytes).map_err(|error| format!("it is no UTF-8 text (byte {})", error.utf8_error().valid_up_to()))
    }

    fn glob(&self, pattern: &Path) -> Vec<PathBuf> {
        let text = pattern.to_string_lossy();
        let Ok(glob) = Glob::new(&text) else { return Vec::new() };
        let mut found = Vec::new();
        walk(&base(pattern), &glob, &mut found, 0);
        found.sort();
        found
    }

    #[expect(clippy::disallowed_methods, reason = "the environment is a value of the configuration, asked for here alone")]
    fn env(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }
}

/// The part of a pattern before its first wildcard.
fn base(pattern: &Path) -> PathBuf {
    pattern.iter().take_while(|part| !part.to_string_lossy().contains(['*', '?', '['])).collect()
}

fn walk(folder: &Path, glob: &Glob, found: &mut Vec<PathBuf>, depth: usize) {
    let Ok(entries) = std::fs::read_dir(if folder.as_os_str().is_empty() { Path::new(".") } else { folder }) else {
        return;
    };
    for path in entries.flatten().map(|entry| entry.path()) {
        let path = path.strip_prefix("./").map(Path::to_owned).unwrap_or(path);
        if path.is_dir() {
            // Deep enough for any rule folder; a loop of links ends here.
            if depth < 16 {
                walk(&path, glob, found, depth + 1);
            }
        } else if glob.matches(&path.to_string_lossy()) && found.len() < limits::RULE_FILES {
            found.push(path);
        }
    }
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
