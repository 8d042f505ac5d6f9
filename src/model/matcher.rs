//! One condition on one label: `name="value"`, `!=`, `=~`, `!~`. Regular expressions are anchored at both ends.

use std::fmt;
use std::sync::Arc;

use regex::Regex;

use super::labels::{Labels, NAME, Quoted, is_label_name};
use super::word::{Word, Words};
use crate::limits;

/// Characters of a pattern that a message shows.
const PATTERN_SHOWN: usize = 200;

/// How a matcher compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MatchOp {
    Equal,
    NotEqual,
    Matches,
    NotMatches,
}

impl MatchOp {
    /// The operator as it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            MatchOp::Equal => "=",
            MatchOp::NotEqual => "!=",
            MatchOp::Matches => "=~",
            MatchOp::NotMatches => "!~",
        }
    }
}

/// A label matcher. A label that a series does not have counts as the empty text.
#[derive(Clone)]
pub struct Matcher {
    pub name: Word,
    pub op: MatchOp,
    pub value: Word,
    /// Of a pattern.
    pattern: Option<Arc<Pattern>>,
}

enum Pattern {
    /// Only an alternation of plain texts.
    OneOf(Box<[Word]>),
    Regex(Regex),
}

/// The regular expression of a matcher is not valid, or too large.
#[derive(Clone, Debug, thiserror::Error)]
#[error("invalid regular expression {:?}: {reason}", shorten(.pattern))]
pub struct MatcherError {
    pub pattern: String,
    pub reason: String,
}

impl Matcher {
    /// Builds a matcher.
    ///
    /// # Errors
    /// When `op` is a pattern operator and `value` is no regular expression of RE2's kind, or compiles to more than
    /// [`limits::REGEX_BYTES`].
    pub fn new(op: MatchOp, name: &str, value: &str) -> Result<Matcher, MatcherError> {
        let pattern = match op {
            MatchOp::Equal | MatchOp::NotEqual => None,
            MatchOp::Matches | MatchOp::NotMatches => Some(Arc::new(match plain_alternatives(value) {
                Some(texts) => Pattern::OneOf(texts),
                None => Pattern::Regex(anchored(value)?),
            })),
        };
        Ok(Matcher { name: name.into(), op, value: value.into(), pattern })
    }

    /// `name="value"`: the one kind that cannot fail.
    pub fn equal(name: &str, value: &str) -> Matcher {
        Matcher { name: name.into(), op: MatchOp::Equal, value: value.into(), pattern: None }
    }

    /// Has its texts in common with other matchers.
    pub fn share(&mut self, words: &mut Words) {
        words.share(&mut self.name);
        words.share(&mut self.value);
    }

    /// Whether a label's value satisfies this matcher.
    pub fn matches(&self, value: &str) -> bool {
        let hit = match self.pattern.as_deref() {
            None => value == self.value,
            Some(Pattern::OneOf(texts)) => texts.iter().any(|t| t == value),
            Some(Pattern::Regex(regex)) => regex.is_match(value),
        };
        hit == matches!(self.op, MatchOp::Equal | MatchOp::Matches)
    }

    /// Whether a label set satisfies this matcher.
    pub fn matches_labels(&self, labels: &Labels) -> bool {
        self.matches(labels.value(&self.name))
    }

    /// Whether a series without this label satisfies it.
    pub fn matches_empty(&self) -> bool {
        self.matches("")
    }

    /// The values that satisfy this matcher, where they can be listed: for an index look-up.
    pub fn listed_values(&self) -> Option<&[Word]> {
        match (&self.op, self.pattern.as_deref()) {
            (MatchOp::Equal, _) => Some(std::slice::from_ref(&self.value)),
            (MatchOp::Matches, Some(Pattern::OneOf(texts))) => Some(texts),
            _ => None,
        }
    }
}

fn anchored(pattern: &str) -> Result<Regex, MatcherError> {
    let fail = |reason: String| MatcherError { pattern: pattern.to_owned(), reason };
    regex::RegexBuilder::new(&format!("^(?s:{pattern})$"))
        .size_limit(limits::REGEX_BYTES)
        .dfa_size_limit(limits::REGEX_BYTES)
        .build()
        .map_err(|error| fail(last_line(&error.to_string())))
}

fn last_line(text: &str) -> String {
    let line = text.lines().last().unwrap_or(text);
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}

fn plain_alternatives(pattern: &str) -> Option<Box<[Word]>> {
    let special = |c: char| r"\.+*?()[]{}^$".contains(c);
    (!pattern.contains(special)).then(|| pattern.split('|').map(Word::from).collect())
}

impl PartialEq for Matcher {
    fn eq(&self, other: &Matcher) -> bool {
        (&self.name, self.op, &self.value) == (&other.name, other.op, &other.value)
    }
}

impl Eq for Matcher {}

impl std::hash::Hash for Matcher {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        (&self.name, self.op, &self.value).hash(state);
    }
}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if is_label_name(&self.name) || self.name == NAME {
            write!(f, "{}{}{}", self.name, self.op.as_str(), Quoted(&self.value))
        } else {
            write!(f, "{}{}{}", Quoted(&self.name), self.op.as_str(), Quoted(&self.value))
        }
    }
}

impl fmt::Debug for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// As much of a pattern as a message shows.
fn shorten(pattern: &str) -> std::borrow::Cow<'_, str> {
    match pattern.char_indices().nth(PATTERN_SHOWN) {
        Some((end, _)) => format!("{}...", &pattern[..end]).into(),
        None => pattern.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(op: MatchOp, pattern: &str, value: &str, expected: bool) {
        let matcher = Matcher::new(op, "l", pattern).expect("valid pattern");
        assert_eq!(matcher.matches(value), expected, "{matcher} on {value:?}");
    }

    #[test]
    fn patterns_are_anchored_and_a_dot_takes_a_newline() {
        check(MatchOp::Equal, "a", "a", true);
        check(MatchOp::NotEqual, "a", "", true);
        check(MatchOp::Matches, "a|b", "b", true);
        check(MatchOp::Matches, "a|b", "ab", false);
        check(MatchOp::Matches, "a.*", "a\nb", true);
        check(MatchOp::Matches, "b", "abc", false);
        check(MatchOp::NotMatches, "a.*", "ba", true);
        check(MatchOp::Matches, "", "", true);
        check(MatchOp::Matches, "(a|b)c", "xac", false);
    }

    #[test]
    fn a_bad_or_huge_pattern_is_an_error() {
        assert!(Matcher::new(MatchOp::Matches, "l", "(").is_err());
        assert!(Matcher::new(MatchOp::Matches, "l", r"(\w{1000}){1000}").is_err());
    }
}
