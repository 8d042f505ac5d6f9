//! A label value or an annotation of an alert: plain text, or a template that was checked when the file was read.
//!
//! Of most rules no alert is ever active, so a template's tree is built again when it is first carried out, and kept then.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, OnceLock};

use crate::template::{RuleTemplate, RuleVars};
use crate::yaml::{Place, Problem};

/// A text that may be a template. Cheap to clone.
#[derive(Clone)]
pub struct TemplateText {
    /// As it stands in the file.
    pub source: Arc<str>,
    /// `None` for a plain text.
    template: Option<Arc<OnceLock<RuleTemplate>>>,
}

impl TemplateText {
    /// Checks a text.
    ///
    /// # Errors
    /// The problem at the offending part of the text.
    pub(crate) fn parse(source: &str, place: &Place) -> Result<TemplateText, Problem> {
        match RuleTemplate::parse(source) {
            Ok(template) => {
                let template = template.plain().is_none().then(Arc::default);
                Ok(TemplateText { source: source.into(), template })
            }
            Err(error) => Err(place.within(source, error.span).error(format!("bad template: {}", error.message), None)),
        }
    }

    /// The text with its actions carried out; a failing one gives Prometheus' `<error expanding template: ...>`.
    pub(crate) fn render(&self, vars: &RuleVars<'_>) -> String {
        let Some(place) = &self.template else { return self.source.to_string() };
        let rendered = match place.get() {
            Some(template) => template.render(vars),
            None => RuleTemplate::parse(&self.source).and_then(|template| place.get_or_init(|| template).render(vars)),
        };
        rendered.unwrap_or_else(|error| format!("<error expanding template: {}>", error.message))
    }

    /// Whether it gives the same for the same labels and the same value: nothing in it asks for the time or for series.
    pub(crate) fn is_steady(&self) -> bool {
        self.template.is_none() || !["query", "now"].iter().any(|word| self.source.contains(word))
    }

    /// Whether it gives the same for the same labels, whatever the value is. Where that is hard to see it says no.
    pub(crate) fn is_of_labels(&self) -> bool {
        let rest =
            || ["$labels.", ".Labels."].iter().fold(self.source.to_string(), |text, known| text.replace(known, " "));
        self.template.is_none() || self.is_steady() && !rest().contains(['$', '.'])
    }
}

impl fmt::Debug for TemplateText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.source, f)
    }
}

impl PartialEq for TemplateText {
    fn eq(&self, other: &TemplateText) -> bool {
        self.source == other.source
    }
}

/// Texts by their names and sources.
pub(crate) type Known = HashMap<Vec<(String, Arc<str>)>, Texts>;

/// Texts by their names. Cheap to clone.
#[derive(Clone, Default, PartialEq)]
pub struct Texts(Arc<[(String, TemplateText)]>);

impl Texts {
    /// The texts in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&String, &TemplateText)> {
        self.0.iter().map(|(name, text)| (name, text))
    }

    /// The text of a name.
    pub fn get(&self, name: &str) -> Option<&TemplateText> {
        self.0.binary_search_by(|(known, _)| known.as_str().cmp(name)).ok().map(|at| &self.0[at].1)
    }

    /// Takes the ones that are known already instead, if they are the same: many rules have the same labels.
    pub(crate) fn share(&mut self, known: &mut Known) {
        let sources = self.iter().map(|(name, text)| (name.clone(), Arc::clone(&text.source))).collect();
        *self = known.entry(sources).or_insert_with(|| self.clone()).clone();
    }

    /// These and one more.
    pub(crate) fn with(&self, name: &str, text: TemplateText) -> Texts {
        self.0.iter().cloned().chain([(name.to_owned(), text)]).collect()
    }
}

/// Of several texts of one name the last counts.
impl FromIterator<(String, TemplateText)> for Texts {
    fn from_iter<I: IntoIterator<Item = (String, TemplateText)>>(texts: I) -> Texts {
        let sorted: std::collections::BTreeMap<String, TemplateText> = texts.into_iter().collect();
        Texts(sorted.into_iter().collect())
    }
}

impl fmt::Debug for Texts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::SourceFile;

    #[test]
    fn what_a_text_depends_on_is_seen_in_it() {
        let check = |source: &str, steady: bool, of_labels: bool| {
            let place = Place { file: SourceFile::new("t", source), span: 0..source.len() };
            let text = TemplateText::parse(source, &place).expect("a template");
            assert_eq!((text.is_steady(), text.is_of_labels()), (steady, of_labels), "{source}");
        };
        check("plain. now, $5", true, true);
        check("{{ $labels.zone }} of {{ .Labels.job }}", true, true);
        check("{{ $value }}", true, false);
        check("{{ .Value }}", true, false);
        check("{{ $labels.zone }} is at {{ . }}", true, false);
        check("{{ with $ }}{{ . }}{{ end }}", true, false);
        check("{{ $labels }}", true, false);
        check("{{ query \"up\" | len }}", false, false);
        check("{{ now }}", false, false);
    }
}
