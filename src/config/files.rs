//! What the configuration asks of the world around it: texts of files, names behind a pattern, environment variables.
//!
//! The room itself touches neither the disk nor the environment; whoever loads a configuration answers these questions.

use std::path::{Path, PathBuf};

/// The world, as far as a configuration may look at it.
pub trait Files {
    /// The text of a file.
    ///
    /// # Errors
    /// Why it cannot be read, as a lowercase fragment: `no such file or directory`.
    fn read(&self, path: &Path) -> Result<String, String>;

    /// The files that a pattern names, sorted. `*`, `?` and `[...]` stand for parts of one name.
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
    pub files: std::collections::BTreeMap<PathBuf, String>,
    pub env: std::collections::BTreeMap<String, String>,
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
        let matches = |path: &&PathBuf| {
            let (wanted, parts): (Vec<_>, Vec<_>) = (pattern.components().collect(), path.components().collect());
            let text = |part: &std::path::Component<'_>| part.as_os_str().to_string_lossy().into_owned();
            wanted.len() == parts.len() && wanted.iter().zip(&parts).all(|(w, p)| name_matches(&text(w), &text(p)))
        };
        self.files.keys().filter(matches).cloned().collect()
    }

    fn env(&self, name: &str) -> Option<String> {
        self.env.get(name).cloned()
    }
}

/// Whether one name of a path matches one part of a pattern: `*` any run, `?` any character, `[a-z]` and `[^a-z]` a
/// class, `\` takes the next character as it is (Go's `path.Match`).
pub fn name_matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    // Where to go on after the last star when the rest does not match.
    let (mut p, mut n, mut retry) = (0, 0, None);
    loop {
        if pattern.get(p) == Some(&'*') {
            retry = Some((p + 1, n));
            p += 1;
            continue;
        }
        if p == pattern.len() && n == name.len() {
            return true;
        }
        match name.get(n).and_then(|c| one_matches(&pattern[p..], *c)) {
            Some(taken) => (p, n) = (p + taken, n + 1),
            None => match retry {
                Some((after, at)) if at < name.len() => {
                    (p, n, retry) = (after, at + 1, Some((after, at + 1)));
                }
                _ => return false,
            },
        }
    }
}

/// How many characters of the pattern stand for this one character, if they match it.
fn one_matches(pattern: &[char], c: char) -> Option<usize> {
    match pattern.first()? {
        '?' => Some(1),
        '\\' => (*pattern.get(1)? == c).then_some(2),
        '[' => {
            let negated = pattern.get(1) == Some(&'^');
            let start = if negated { 2 } else { 1 };
            let end = start + pattern.get(start..)?.iter().position(|x| *x == ']')?;
            let (mut at, mut found) = (start, false);
            while at < end {
                if at + 2 < end && pattern[at + 1] == '-' {
                    found |= (pattern[at]..=pattern[at + 2]).contains(&c);
                    at += 3;
                } else {
                    found |= pattern[at] == c;
                    at += 1;
                }
            }
            (found != negated).then_some(end + 1)
        }
        literal => (*literal == c).then_some(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_their_patterns() {
        let check = |pattern: &str, name: &str, expected: bool| {
            assert_eq!(name_matches(pattern, name), expected, "{pattern} {name}");
        };
        check("*.yaml", "a.yaml", true);
        check("*.yaml", "a.yml", false);
        check("a*b*c", "aXbbYc", true);
        check("a*b*c", "aXbbY", false);
        check("?", "é", true);
        check("?", "", false);
        check("[a-c]x", "bx", true);
        check("[^a-c]x", "bx", false);
        check("[ab", "a", false);
        check("\\*", "*", true);
        check("\\*", "a", false);
        check("*", "", true);
        check("", "a", false);
    }

    #[test]
    fn a_pattern_finds_files_of_its_own_directory_only() {
        let files = FilesInMemory::new([("/r/a.yaml", ""), ("/r/b.yaml", ""), ("/r/x/c.yaml", ""), ("/r/d.txt", "")]);
        assert_eq!(files.glob(Path::new("/r/*.yaml")), [PathBuf::from("/r/a.yaml"), PathBuf::from("/r/b.yaml")]);
        assert_eq!(files.glob(Path::new("/*/x/*")), [PathBuf::from("/r/x/c.yaml")]);
    }
}
