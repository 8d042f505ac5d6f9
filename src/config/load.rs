//! From the main file to [`Checked`]: every problem of the main file and of all rule files at once.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::central::{self, Central};
use super::checked::Checked;
use super::checker::Checker;
use super::files::Files;
use super::redact::redact;
use super::root::Root;
use super::salvage::{Salvaged, salvage};
use super::settings::rules;
use crate::switches::Bundle;
use crate::yaml::{Node, Place, Problem, Severity, SourceFile, Spanned, Value, decode_text, parse};

/// What became of a configuration.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// `None` when there was an error.
    pub checked: Option<Box<Checked>>,
    /// Errors and warnings, by file and place; without secrets in the lines that they show.
    pub problems: Vec<Problem>,
    /// Every file and directory whose change must reload.
    pub watched: Vec<PathBuf>,
    /// The files as they were read, the main one first, secrets masked.
    pub sources: Vec<Arc<SourceFile>>,
}

impl Loaded {
    /// How many problems are errors.
    pub fn errors(&self) -> usize {
        self.problems.iter().filter(|problem| problem.severity == Severity::Error).count()
    }
}

/// Loads a configuration; without a main file the defaults.
pub fn load(main: Option<&Path>, files: &dyn Files) -> Loaded {
    load_with(main, files, None)
}

/// The same with a revision of the fleet's configuration beside it: all of it, or there was an error.
pub fn load_with(main: Option<&Path>, files: &dyn Files, bundle: Option<&Bundle>) -> Loaded {
    let base = main.and_then(Path::parent).unwrap_or_else(|| Path::new(""));
    let mut check = Checker::new(files, base);
    let file = match main {
        None => SourceFile::new("(defaults)", ""),
        Some(path) => {
            check.watched.insert(path.to_owned());
            let name = path.display().to_string();
            match files.read(path) {
                Ok(text) => SourceFile::new(name, text),
                Err(why) => {
                    let place = Place { file: SourceFile::new(name, ""), span: 0..0 };
                    check.error(&place, format!("cannot read the configuration: {why}"), "check the path");
                    return finish(check, None, &place.file, Vec::new());
                }
            }
        }
    };
    let (root, problems) = decode_text::<Root>(&file);
    check.problems.extend(problems);
    let Some(root) = root else {
        let sources = check_the_rest(&mut check, &file);
        return finish(check, None, &file, sources);
    };
    let mut rules = rules::read(&mut check, &root.rule_files, root.shipped_rules);
    let read = |bundle| central::read(&mut check, bundle, &rules.groups, &root.switches);
    let mut central = bundle.map(read).unwrap_or_default();
    rules.groups.append(&mut central.groups);
    rules.sources.append(&mut central.sources);
    let checked = Checked::build(&mut check, &root, rules.groups, &central);
    finish(check, Some(checked), &file, rules.sources)
}

/// Checks what can be checked of a file with errors, so that they are all told at once. Gives the rule files.
fn check_the_rest(check: &mut Checker<'_>, file: &Arc<SourceFile>) -> Vec<Arc<SourceFile>> {
    let Some(Salvaged { root, left_out }) = salvage(file, &check.problems) else {
        // The sections cannot be trusted, but the rule files can still be read for their own problems.
        let patterns = rule_patterns(file);
        return rules::read(check, &patterns, false).sources;
    };
    let known = check.problems.len();
    let rules = rules::read(check, &root.rule_files, root.shipped_rules);
    Checked::build(check, &root, rules.groups, &Central::default());
    let found = check.problems.split_off(known);
    check.problems.extend(found.into_iter().filter(|problem| !left_out.explains(problem, file)));
    rules.sources
}

/// `rule_files` of a file with problems elsewhere.
fn rule_patterns(file: &Arc<SourceFile>) -> Vec<Spanned<String>> {
    let Ok(node) = parse(file) else { return Vec::new() };
    let Some(Node { value: Value::Seq(items), .. }) = node.get("rule_files") else { return Vec::new() };
    let text = |item: &Node| match &item.value {
        Value::Scalar { text, .. } => {
            Some(Spanned { value: text.clone(), place: Place { file: Arc::clone(file), span: item.span.clone() } })
        }
        _ => None,
    };
    items.iter().filter_map(text).collect()
}

fn finish(check: Checker<'_>, checked: Option<Checked>, main: &Arc<SourceFile>, rules: Vec<Arc<SourceFile>>) -> Loaded {
    let Checker { mut problems, watched, .. } = check;
    let shown = redact(main);
    let order = |problem: &Problem| {
        let file = rules.iter().position(|file| Arc::ptr_eq(file, &problem.file)).map_or(0, |at| at + 1);
        (file, problem.span.start)
    };
    problems.sort_by_key(order);
    for problem in &mut problems {
        if Arc::ptr_eq(&problem.file, main) {
            problem.file = Arc::clone(&shown);
        }
    }
    let refused = problems.iter().any(|problem| problem.severity == Severity::Error);
    Loaded {
        checked: checked.filter(|_| !refused).map(Box::new),
        problems,
        watched: watched.into_iter().collect(),
        sources: std::iter::once(shown).chain(rules).collect(),
    }
}
