//! What is left of a file with errors once they are taken out: so that names and files are checked in the same go, and a
//! person does not learn of the second half of the problems after mending the first.

use std::collections::HashSet;
use std::sync::Arc;

use super::root::Root;
use crate::yaml::{Problem, Severity, SourceFile, Span, decode_node, parse};

/// Each round takes out what the one before refused.
const ROUNDS: usize = 32;

/// A configuration without its broken parts.
pub struct Salvaged {
    pub root: Root,
    pub left_out: LeftOut,
}

/// The parts that were taken out.
#[derive(Default)]
pub struct LeftOut {
    spans: Vec<Span>,
    texts: HashSet<String>,
}

impl LeftOut {
    /// Whether a problem may be there only because of what was taken out: it names something that stood there, or is
    /// about a place around it.
    pub fn explains(&self, problem: &Problem, main: &Arc<SourceFile>) -> bool {
        let text = problem.file.text.get(problem.span.clone()).unwrap_or_default();
        let name = text.trim().trim_matches(['"', '\'']);
        let around = |span: &Span| problem.span.start <= span.start && span.end <= problem.span.end;
        let mentioned = |name: &str| problem.message.contains(&format!("`{name}`"));
        let here = Arc::ptr_eq(&problem.file, main) && self.spans.iter().any(around);
        here || self.texts.contains(name) || self.texts.iter().any(|text| mentioned(text))
    }
}

/// Takes out the smallest parts that hold errors, until the rest can be read.
pub fn salvage(file: &Arc<SourceFile>, problems: &[Problem]) -> Option<Salvaged> {
    let mut node = parse(file).ok()?;
    let mut left_out = LeftOut::default();
    let mut problems = problems.to_vec();
    for _ in 0..ROUNDS {
        for problem in problems.iter().filter(|problem| problem.severity == Severity::Error) {
            let place = &problem.span;
            if left_out.spans.iter().any(|span| span.start <= place.start && place.end <= span.end) {
                continue;
            }
            if let Some((span, texts)) = node.prune(place) {
                left_out.texts.extend(texts);
                left_out.spans.push(span);
            }
        }
        match decode_node::<Root>(file, &node) {
            (Some(root), _) => return Some(Salvaged { root, left_out }),
            (None, again) => problems = again,
        }
    }
    None
}
