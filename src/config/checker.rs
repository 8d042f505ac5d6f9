//! What is carried along while the written configuration becomes settings: problems found, files asked for, and where
//! relative paths begin.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::files::Files;
use crate::yaml::{Place, Problem, Spanned, nearest};

/// Collects problems and watched paths while settings are built.
pub struct Checker<'a> {
    pub files: &'a dyn Files,
    base: PathBuf,
    pub problems: Vec<Problem>,
    pub watched: BTreeSet<PathBuf>,
}

impl<'a> Checker<'a> {
    /// `base` is the directory of the main file: relative paths begin there.
    pub fn new(files: &'a dyn Files, base: &Path) -> Checker<'a> {
        Checker { files, base: base.to_owned(), problems: Vec::new(), watched: BTreeSet::new() }
    }

    /// Reports an error.
    pub fn error(&mut self, place: &Place, message: impl Into<String>, help: impl Into<String>) {
        let help = help.into();
        self.problems.push(place.error(message, (!help.is_empty()).then_some(help)));
    }

    /// Reports a warning.
    pub fn warning(&mut self, place: &Place, message: impl Into<String>, help: impl Into<String>) {
        let help = help.into();
        self.problems.push(place.warning(message, (!help.is_empty()).then_some(help)));
    }

    /// Takes over what was refused while reading.
    pub fn refused(&mut self, problems: &[Problem]) {
        self.problems.extend_from_slice(problems);
    }

    /// A path as it is meant: from the main file's directory.
    pub fn path(&self, text: &str) -> PathBuf {
        self.base.join(text)
    }

    /// The path of a file that must be readable now; it is watched.
    pub fn file(&mut self, what: &str, text: &Spanned<String>) -> PathBuf {
        let path = self.path(&text.value);
        if let Err(why) = self.files.read(&path) {
            let message = format!("cannot read {what} {}: {why}", path.display());
            self.error(&text.place, message, "check that the file is there and that this daemon's user may read it");
        }
        self.watched.insert(path.clone());
        path
    }

    /// Reports a name that must exist among others.
    pub fn unknown<'n>(&mut self, what: &str, name: &Spanned<String>, known: impl IntoIterator<Item = &'n str>) {
        let known: Vec<&str> = known.into_iter().collect();
        let help = match (nearest(&name.value, known.iter().copied()), known.is_empty()) {
            (Some(word), _) => format!("did you mean `{word}`?"),
            (None, true) => format!("this configuration declares no {what}: add it"),
            (None, false) => format!("declared: {}", known.join(", ")),
        };
        self.error(&name.place, format!("there is no {what} `{}`", name.value), help);
    }
}
