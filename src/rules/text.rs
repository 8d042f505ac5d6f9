//! A label value or an annotation of an alert: plain text, or a template that was parsed when the file was read.

use std::fmt;
use std::sync::Arc;

use crate::template::{RuleTemplate, RuleVars};
use crate::yaml::{Place, Problem};

/// A text that may be a template.
#[derive(Clone)]
pub struct TemplateText {
    /// As it stands in the file.
    pub source: Arc<str>,
    template: RuleTemplate,
}

impl TemplateText {
    /// Parses a text.
    ///
    /// # Errors
    /// The problem at the offending part of the text.
    pub(crate) fn parse(source: &str, place: &Place) -> Result<TemplateText, Problem> {
        match RuleTemplate::parse(source) {
            Ok(template) => Ok(TemplateText { source: source.into(), template }),
            Err(error) => Err(place.within(source, error.span).error(format!("bad template: {}", error.message), None)),
        }
    }

    /// The text with its actions carried out; a failing one gives Prometheus' `<error expanding template: ...>`.
    pub(crate) fn render(&self, vars: &RuleVars<'_>) -> String {
        let rendered = self.template.render(vars);
        rendered.unwrap_or_else(|error| format!("<error expanding template: {}>", error.message))
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
