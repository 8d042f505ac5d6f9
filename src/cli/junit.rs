//! The results of unit tests as JUnit XML, for the build servers that read it.

use std::fmt::Write as _;

use super::test::{Tested, place_text};
use crate::yaml::Severity;

/// One suite a file, one case a test; what is wrong with a file itself is a case of its own.
pub(super) fn render(all: &[Tested]) -> String {
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n");
    for tested in all {
        let errors: Vec<String> = tested
            .report
            .problems
            .iter()
            .filter(|problem| problem.severity == Severity::Error)
            .map(|problem| problem.one_line())
            .collect();
        let tests = &tested.report.tests;
        let failed = tests.iter().filter(|test| !test.failures.is_empty()).count();
        let cases = tests.len() + usize::from(!errors.is_empty());
        // Writing to a text cannot fail.
        let _ = writeln!(
            text,
            "  <testsuite name=\"{}\" tests=\"{cases}\" failures=\"{failed}\" errors=\"{}\">",
            escaped(&tested.name),
            usize::from(!errors.is_empty())
        );
        if !errors.is_empty() {
            let _ = writeln!(
                text,
                "    <testcase name=\"{}\"><error message=\"the file is not usable\">{}</error></testcase>",
                escaped(&tested.name),
                escaped(&errors.join("\n"))
            );
        }
        for test in tests {
            let _ = write!(text, "    <testcase name=\"{}\"", escaped(&test.name));
            if test.failures.is_empty() {
                text.push_str("/>\n");
                continue;
            }
            text.push_str(">\n");
            for missed in &test.failures {
                let _ = writeln!(
                    text,
                    "      <failure message=\"{}: {}\">{}</failure>",
                    escaped(&place_text(missed)),
                    escaped(&missed.what),
                    escaped(&missed.message())
                );
            }
            text.push_str("    </testcase>\n");
        }
        text.push_str("  </testsuite>\n");
    }
    text.push_str("</testsuites>\n");
    text
}

/// Text as XML allows it.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' => out.push_str("&#10;"),
            c if c.is_control() && c != '\t' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}
