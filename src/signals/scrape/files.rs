//! Discovery files: looked at in turns, read when they changed. A file that cannot be read or understood keeps its last
//! good groups; a file that is gone has none.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::settings::{FileDiscovery, TargetGroup};
use super::target::read_groups;
use crate::limits;
use crate::model::{Glob, GlobEntry};

/// The groups of all files of a job.
#[derive(Debug, Default)]
pub struct DiscoveryFiles {
    files: BTreeMap<PathBuf, Known>,
}

#[derive(Debug, Default)]
struct Known {
    stamp: Option<(SystemTime, u64)>,
    groups: Vec<TargetGroup>,
    problem: Option<String>,
}

impl DiscoveryFiles {
    /// Looks at all files; true when groups or problems changed. It blocks on the disk.
    pub fn refresh(&mut self, configs: &[FileDiscovery]) -> bool {
        let mut paths: Vec<PathBuf> = Vec::new();
        for pattern in configs.iter().flat_map(|config| &config.files) {
            match Glob::new(&pattern.to_string_lossy()) {
                Ok(glob) => paths.extend(glob.expand(&mut list).into_iter().filter(|path| path.exists())),
                Err(_) => paths.push(pattern.clone()),
            }
        }
        let before = self.files.len();
        self.files.retain(|path, _| paths.contains(path));
        let mut changed = self.files.len() != before;
        for path in paths {
            changed |= self.files.entry(path.clone()).or_default().refresh(&path);
        }
        changed
    }

    /// All groups, in the order of the paths.
    pub fn groups(&self) -> impl Iterator<Item = &TargetGroup> {
        self.files.values().flat_map(|file| &file.groups)
    }

    /// What is wrong with the files now.
    pub fn problems(&self) -> Vec<String> {
        self.files.values().filter_map(|file| file.problem.clone()).collect()
    }
}

impl Known {
    fn refresh(&mut self, path: &Path) -> bool {
        let stamp = fs::metadata(path).and_then(|meta| Ok((meta.modified()?, meta.len()))).ok();
        if stamp.is_some() && stamp == self.stamp {
            return false;
        }
        self.stamp = stamp;
        let read = read_text(path).and_then(|text| read_groups(path, &text));
        match read {
            Ok(groups) => {
                let changed = groups != self.groups || self.problem.is_some();
                (self.groups, self.problem) = (groups, None);
                changed
            }
            Err(problem) => {
                let changed = self.problem.as_ref() != Some(&problem);
                self.problem = Some(problem);
                changed
            }
        }
    }
}

fn read_text(path: &Path) -> Result<String, String> {
    let fail = |error: &dyn std::fmt::Display| format!("cannot read {}: {error}", path.display());
    let file = fs::File::open(path).map_err(|error| fail(&error))?;
    let mut text = String::new();
    let limit = limits::CONFIG_FILE_BYTES as u64;
    match file.take(limit + 1).read_to_string(&mut text) {
        Ok(size) if size as u64 > limit => Err(fail(&format!("it is larger than {limit} bytes"))),
        Ok(_) => Ok(text),
        Err(error) => Err(fail(&error)),
    }
}

fn list(path: &Path) -> Vec<GlobEntry> {
    let Ok(entries) = fs::read_dir(path) else {
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
    entries.filter_map(Result::ok).map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_change_is_seen_and_a_broken_file_keeps_its_last_groups() {
        let dir = std::env::temp_dir().join(format!("brownout-sd-{}", std::process::id()));
        fs::create_dir_all(&dir).expect("directory");
        let path = dir.join("t.json");
        let configs = [FileDiscovery { files: vec![dir.join("*.json")], refresh_interval: Duration::from_secs(5) }];
        let mut files = DiscoveryFiles::default();
        assert!(!files.refresh(&configs));
        let mut check = |text: &str, changed: bool, targets: &[&str], problems: usize| {
            fs::write(&path, text).expect("write");
            assert_eq!(files.refresh(&configs), changed, "{text}");
            let found: Vec<_> = files.groups().flat_map(|group| group.targets.clone()).collect();
            assert_eq!((found, files.problems().len()), (targets.iter().map(|t| (*t).to_owned()).collect(), problems));
        };
        check(r#"[{"targets": ["a:1"]}]"#, true, &["a:1"], 0);
        check(r#"[{"targets": ["b:1", "c:1"]}]"#, true, &["b:1", "c:1"], 0);
        check("[{", true, &["b:1", "c:1"], 1);
        check(r#"[{"targets": ["b:1"]}]"#, true, &["b:1"], 0);
        fs::remove_file(&path).expect("remove");
        assert!(files.refresh(&configs));
        assert_eq!(files.groups().count(), 0);
        fs::remove_dir_all(&dir).expect("clean up");
    }
}
