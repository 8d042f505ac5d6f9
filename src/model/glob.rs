//! Path patterns: `*`, `?`, `[a-z]`, `[!a-z]` within one part of a path, `**` for any number of directories.
//!
//! As in a shell, a leading dot must be written out: `*` finds no hidden file. The pattern does not touch the disk;
//! [`Glob::expand`] asks its caller to list directories.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

/// How deep `**` goes.
const DEPTH: usize = 32;

/// Why a text is no path pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GlobError {
    #[error("{0:?} is not an absolute path: begin it with /")]
    Relative(String),
    #[error("{0:?} has a [ without its ]: close it, or write [[] for the character itself")]
    Unclosed(String),
    #[error("{0:?} goes through ..: write the path without it")]
    Parent(String),
}

/// One entry of a directory.
#[derive(Clone, Debug)]
pub struct GlobEntry {
    pub name: OsString,
    pub directory: bool,
    pub symlink: bool,
}

/// A path pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob {
    text: String,
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Plain(OsString),
    Wild(Vec<Token>),
    AnyDirectories,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Byte(u8),
    One,
    Many,
    Class { inverted: bool, ranges: Vec<(u8, u8)> },
}

impl Glob {
    /// Reads a pattern.
    ///
    /// # Errors
    /// When it is not absolute, goes through `..`, or has an unclosed class.
    pub fn new(text: &str) -> Result<Glob, GlobError> {
        if !text.starts_with('/') {
            return Err(GlobError::Relative(text.to_owned()));
        }
        let mut parts = Vec::new();
        for part in text.split('/').filter(|part| !part.is_empty() && *part != ".") {
            parts.push(match part {
                ".." => return Err(GlobError::Parent(text.to_owned())),
                "**" => Part::AnyDirectories,
                _ if !part.contains(['*', '?', '[']) => Part::Plain(part.into()),
                _ => Part::Wild(tokens(part.as_bytes()).ok_or_else(|| GlobError::Unclosed(text.to_owned()))?),
            });
        }
        Ok(Glob { text: text.to_owned(), parts })
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// True when the pattern is a path without any wildcard.
    pub fn is_plain(&self) -> bool {
        self.parts.iter().all(|part| matches!(part, Part::Plain(_)))
    }

    /// Whether a path satisfies the pattern.
    pub fn matches(&self, path: &Path) -> bool {
        let mut names = Vec::new();
        for component in path.components() {
            match component {
                Component::Normal(name) => names.push(name.as_bytes()),
                Component::RootDir => {}
                _ => return false,
            }
        }
        path_matches(&self.parts, &names)
    }

    /// The paths that satisfy the pattern, files and whatever else is not a directory. `list` gives the entries of a
    /// directory (nothing when it cannot be read). A path without wildcards is given whether it exists or not.
    pub fn expand(&self, list: &mut dyn FnMut(&Path) -> Vec<GlobEntry>) -> Vec<PathBuf> {
        let mut found = Vec::new();
        expand(&self.parts, Path::new("/"), 0, list, &mut found);
        found
    }
}

fn expand(
    parts: &[Part],
    at: &Path,
    depth: usize,
    list: &mut dyn FnMut(&Path) -> Vec<GlobEntry>,
    found: &mut Vec<PathBuf>,
) {
    let Some((part, rest)) = parts.split_first() else {
        return;
    };
    match part {
        Part::Plain(name) if rest.is_empty() => found.push(at.join(name)),
        Part::Plain(name) => expand(rest, &at.join(name), depth, list, found),
        Part::Wild(tokens) => {
            for entry in list(at).into_iter().filter(|entry| name_matches(tokens, entry.name.as_bytes())) {
                match rest.is_empty() {
                    true if !entry.directory => found.push(at.join(entry.name)),
                    false if entry.directory || entry.symlink => {
                        expand(rest, &at.join(entry.name), depth, list, found);
                    }
                    _ => {}
                }
            }
        }
        Part::AnyDirectories => {
            expand(rest, at, depth, list, found);
            for entry in list(at).into_iter().filter(|entry| !hidden(entry.name.as_bytes())) {
                // A link is not followed here: it could lead back up.
                if entry.directory && !entry.symlink && depth < DEPTH {
                    expand(parts, &at.join(entry.name), depth + 1, list, found);
                } else if !entry.directory && rest.is_empty() {
                    found.push(at.join(entry.name));
                }
            }
        }
    }
}

fn hidden(name: &[u8]) -> bool {
    name.first() == Some(&b'.')
}

fn path_matches(parts: &[Part], names: &[&[u8]]) -> bool {
    let Some((part, rest)) = parts.split_first() else {
        return names.is_empty();
    };
    match part {
        Part::AnyDirectories if rest.is_empty() => !names.is_empty() && names.iter().all(|name| !hidden(name)),
        Part::AnyDirectories => {
            let open = names.iter().take_while(|name| !hidden(name)).count();
            (0..=open.min(DEPTH)).any(|skip| path_matches(rest, &names[skip..]))
        }
        Part::Plain(plain) => names.first() == Some(&plain.as_bytes()) && path_matches(rest, &names[1..]),
        Part::Wild(tokens) => {
            names.first().is_some_and(|name| name_matches(tokens, name)) && path_matches(rest, &names[1..])
        }
    }
}

fn tokens(part: &[u8]) -> Option<Vec<Token>> {
    let (mut tokens, mut at) = (Vec::new(), 0);
    while at < part.len() {
        let token = match part[at] {
            b'*' if tokens.last() == Some(&Token::Many) => {
                at += 1;
                continue;
            }
            b'*' => Token::Many,
            b'?' => Token::One,
            b'[' => {
                let inverted = matches!(part.get(at + 1), Some(b'!' | b'^'));
                let start = at + 1 + usize::from(inverted);
                // A ] directly after the opening is a member.
                let end = start + 1 + part.get(start + 1..)?.iter().position(|b| *b == b']')?;
                at = end;
                Token::Class { inverted, ranges: ranges(&part[start..end]) }
            }
            byte => Token::Byte(byte),
        };
        tokens.push(token);
        at += 1;
    }
    Some(tokens)
}

fn ranges(members: &[u8]) -> Vec<(u8, u8)> {
    let (mut ranges, mut at) = (Vec::new(), 0);
    while at < members.len() {
        match members.get(at + 1..at + 3) {
            Some([b'-', high]) => {
                ranges.push((members[at], *high));
                at += 3;
            }
            _ => {
                ranges.push((members[at], members[at]));
                at += 1;
            }
        }
    }
    ranges
}

/// Linear in the name for each star: on a mismatch only the last star takes one more byte.
fn name_matches(tokens: &[Token], name: &[u8]) -> bool {
    if hidden(name) && tokens.first() != Some(&Token::Byte(b'.')) {
        return false;
    }
    let (mut token, mut at, mut star) = (0, 0, None);
    while at < name.len() {
        let fits = match tokens.get(token) {
            Some(Token::Many) => {
                star = Some((token + 1, at));
                token += 1;
                continue;
            }
            Some(Token::One) => true,
            Some(Token::Byte(byte)) => *byte == name[at],
            Some(Token::Class { inverted, ranges }) => {
                ranges.iter().any(|(low, high)| (*low..=*high).contains(&name[at])) != *inverted
            }
            None => false,
        };
        match (fits, star) {
            (true, _) => (token, at) = (token + 1, at + 1),
            (false, Some((after, from))) => {
                (token, at) = (after, from + 1);
                star = Some((after, from + 1));
            }
            (false, None) => return false,
        }
    }
    tokens[token..].iter().all(|rest| *rest == Token::Many)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_a_shell() {
        let check = |pattern: &str, path: &str, expected: bool| {
            assert_eq!(Glob::new(pattern).expect(pattern).matches(Path::new(path)), expected, "{pattern} on {path}");
        };
        check("/var/log/*.log", "/var/log/a.log", true);
        check("/var/log/*.log", "/var/log/a.log.1", false);
        check("/var/log/*.log", "/var/log/x/a.log", false);
        check("/var/log/*", "/var/log/.a.swp", false);
        check("/var/log/.*", "/var/log/.a", true);
        check("/var/*/a?c*e", "/var/x/abcde", true);
        check("/var/*a*b*", "/var/xxaayybb", true);
        check("/var/*a*b", "/var/xxaaybbc", false);
        check("/v/[a-c]x[!0-9]", "/v/bxz", true);
        check("/v/[a-c]x[!0-9]", "/v/bx7", false);
        check("/v/[]]", "/v/]", true);
        check("/v/**/a.log", "/v/a.log", true);
        check("/v/**/a.log", "/v/x/y/a.log", true);
        check("/v/**/a.log", "/v/.git/a.log", false);
        check("/v/**", "/v/x/y", true);
        check("/v/**", "/v", false);
        check("/v/**/x/*.log", "/v/x/x/b.log", true);
        check("/v/", "/v", true);
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        assert_eq!(Glob::new("a/b"), Err(GlobError::Relative("a/b".into())));
        assert_eq!(Glob::new("/a/[b"), Err(GlobError::Unclosed("/a/[b".into())));
        assert_eq!(Glob::new("/a/../b"), Err(GlobError::Parent("/a/../b".into())));
    }

    #[test]
    fn expanding_lists_only_what_it_must_and_agrees_with_matching() {
        let files = ["/l/a.log", "/l/b.txt", "/l/d/a.log", "/l/d/e/c.log", "/m/a.log"];
        let list = |at: &Path| {
            let mut names: Vec<GlobEntry> = Vec::new();
            for file in files {
                if let Some(first) = Path::new(file).strip_prefix(at).ok().and_then(|rest| rest.components().next()) {
                    let name = first.as_os_str().to_owned();
                    let directory = at.join(&name) != Path::new(file);
                    if names.iter().all(|entry| entry.name != name) {
                        names.push(GlobEntry { name, directory, symlink: false });
                    }
                }
            }
            names
        };
        for pattern in ["/l/*.log", "/l/**/*.log", "/l/*/*.log", "/**", "/l/**/e/?.log", "/m/a.log"] {
            let glob = Glob::new(pattern).expect(pattern);
            let mut asked = Vec::new();
            let mut found = glob.expand(&mut |at: &Path| {
                asked.push(at.to_owned());
                list(at)
            });
            found.sort();
            found.dedup();
            let expected: Vec<PathBuf> = files.iter().map(PathBuf::from).filter(|file| glob.matches(file)).collect();
            assert_eq!(found, expected, "{pattern}");
            assert!(pattern.starts_with("/**") || asked.iter().all(|at| at.starts_with("/l")), "{pattern}: {asked:?}");
        }
    }
}
