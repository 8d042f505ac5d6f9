//! What is wrong with a file, where, and what to write instead.

use std::ops::Range;
use std::sync::Arc;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

/// A text and the name it is known by in messages.
#[derive(Debug, PartialEq, Eq)]
pub struct SourceFile {
    pub name: String,
    pub text: String,
    /// How bad it is that the file has a field that nobody knows.
    pub unknown_fields: Severity,
}

impl SourceFile {
    /// A file of this name with this text.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Arc<SourceFile> {
        Arc::new(SourceFile { name: name.into(), text: text.into(), unknown_fields: Severity::Error })
    }

    /// The same, but a field that nobody knows is only warned of: the file may be for a newer version.
    pub fn tolerant(name: impl Into<String>, text: impl Into<String>) -> Arc<SourceFile> {
        Arc::new(SourceFile { name: name.into(), text: text.into(), unknown_fields: Severity::Warning })
    }

    /// Line and column of a byte offset, both from 1; the column counts characters.
    pub fn line_column(&self, offset: usize) -> (usize, usize) {
        let before = &self.text.as_bytes()[..offset.min(self.text.len())];
        let line_start = before.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        let line = before.iter().filter(|b| **b == b'\n').count() + 1;
        (line, String::from_utf8_lossy(&before[line_start..]).chars().count() + 1)
    }
}

/// How bad a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The file is refused.
    Error,
    /// It works, but probably not as meant.
    Warning,
}

/// One problem in one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub severity: Severity,
    pub file: Arc<SourceFile>,
    /// The offending text, in bytes.
    pub span: Range<usize>,
    /// What is wrong, as a fragment in lower case.
    pub message: String,
    /// What to write instead.
    pub help: Option<String>,
}

impl Problem {
    /// `file:line:column: message`, in one line, for logs and APIs.
    pub fn one_line(&self) -> String {
        let (line, column) = self.file.line_column(self.span.start);
        let help = self.help.as_ref().map(|help| format!(" ({help})")).unwrap_or_default();
        format!("{}:{line}:{column}: {}{help}", self.file.name, self.message)
    }

    /// The message with the line it is about, a caret and the help, for terminals. No colours.
    pub fn render(&self) -> String {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let span = visible_span(&self.file.text, &self.span);
        let mut mark = AnnotationKind::Primary.span(span);
        if let Some(help) = &self.help {
            mark = mark.label(help.as_str());
        }
        let snippet = Snippet::source(self.file.text.as_str()).path(self.file.name.as_str()).annotation(mark);
        let report = [level.primary_title(self.message.as_str()).element(snippet)];
        Renderer::plain().render(&report).to_string()
    }
}

/// A span on character boundaries, within the text, on one line, and at least one character wide where there is one.
fn visible_span(text: &str, span: &Range<usize>) -> Range<usize> {
    let floor = |at: usize| (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    let start = floor(span.start);
    let line_end = text[start..].find('\n').map_or(text.len(), |at| start + at);
    let mut end = floor(span.end).clamp(start, line_end);
    if end == start {
        end = text[start..line_end].chars().next().map_or(start, |c| start + c.len_utf8());
    }
    let trimmed = text[start..end].trim_end().len();
    start..(start + trimmed.max(1)).min(end.max(start))
}

/// All problems rendered, in the order of their files and places, with a closing count.
pub fn render_problems(problems: &[Problem]) -> String {
    let mut text = String::new();
    for problem in problems {
        text.push_str(&problem.render());
        text.push_str("\n\n");
    }
    let errors = problems.iter().filter(|p| p.severity == Severity::Error).count();
    let warnings = problems.len() - errors;
    let count = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    match (errors, warnings) {
        (0, 0) => {}
        (0, _) => text.push_str(&count(warnings, "warning")),
        (_, 0) => text.push_str(&count(errors, "error")),
        _ => text.push_str(&format!("{}, {}", count(errors, "error"), count(warnings, "warning"))),
    }
    text
}

/// The candidate that a person most probably meant, if one is close enough (edit distance with swaps, at most a third
/// of the length).
pub fn nearest<'a>(text: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = (text.chars().count() / 3).clamp(1, 3);
    candidates
        .into_iter()
        .map(|candidate| (distance(text, candidate), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.to_lowercase().chars().collect(), b.to_lowercase().chars().collect());
    if a.len().abs_diff(b.len()) > 3 {
        return usize::MAX;
    }
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let change = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = change.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typo_finds_its_word_and_nonsense_does_not() {
        let words = ["for", "expr", "group_wait", "labels"];
        assert_eq!(nearest("fro", words), Some("for"));
        assert_eq!(nearest("group_wiat", words), Some("group_wait"));
        assert_eq!(nearest("Labels", words), Some("labels"));
        assert_eq!(nearest("zebra", words), None);
    }

    #[test]
    fn a_problem_shows_its_line_with_a_caret() {
        let file = SourceFile::new("rules.yaml", "groups:\n  - nmae: x\n");
        let problem = Problem {
            severity: Severity::Error,
            file,
            span: 12..16,
            message: "unknown field `nmae`".into(),
            help: Some("did you mean `name`?".into()),
        };
        assert_eq!(problem.one_line(), "rules.yaml:2:5: unknown field `nmae` (did you mean `name`?)");
        let text = problem.render();
        assert!(text.contains("--> rules.yaml:2:5"), "{text}");
        assert!(text.contains("^^^^ did you mean `name`?"), "{text}");
    }

    #[test]
    fn odd_spans_never_panic() {
        let file = SourceFile::new("x", "é\n");
        for span in [0..0, 1..1, 1..2, 3..3, 9..20, 0..3] {
            let problem =
                Problem { severity: Severity::Warning, file: Arc::clone(&file), span, message: "m".into(), help: None };
            assert!(problem.render().contains("warning"));
            assert!(problem.one_line().starts_with("x:"));
        }
    }
}
