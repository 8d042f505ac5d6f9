//! Templates of rules: label values and annotations, with Prometheus' variables and functions.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::TemplateError;
use super::exec::{Env, run};
use super::funcs::Dialect;
use super::parse::{Source, parse};
use super::value::{Field, Value};
use crate::model::Labels;
use crate::time::Timestamp;

/// A parsed label value or annotation. A text without `{{` is kept as it is and costs nothing to render.
/// Cheap to clone; can be shared between threads.
#[derive(Clone, Debug)]
pub struct RuleTemplate(Form);

#[derive(Clone, Debug)]
enum Form {
    Plain(Arc<str>),
    Parsed(Arc<Source>),
}

/// Runs a PromQL query at the evaluation's time, for the function `query`.
pub type QueryFn<'a> = dyn Fn(&str) -> Result<Vec<(Labels, f64)>, String> + 'a;

/// What a rule's template sees.
#[derive(Clone, Copy)]
pub struct RuleVars<'a> {
    /// The sample's labels: `$labels`, `.Labels`.
    pub labels: &'a Labels,
    /// `$externalLabels`, `.ExternalLabels`.
    pub external_labels: &'a Labels,
    /// `$externalURL`, `.ExternalURL`, and what `externalURL` and `pathPrefix` give.
    pub external_url: &'a str,
    /// The sample's value: `$value`, `.Value`.
    pub value: f64,
    /// The evaluation's time: what `now` gives, in seconds.
    pub now: Timestamp,
    pub query: &'a QueryFn<'a>,
}

const VARIABLES: [&str; 5] = ["$", "$labels", "$externalLabels", "$externalURL", "$value"];

impl RuleTemplate {
    /// Parses a template as Prometheus does at load: unknown functions and variables are errors already here.
    ///
    /// # Errors
    /// When the text is no template, or larger or nested deeper than the limits.
    pub fn parse(text: &str) -> Result<RuleTemplate, TemplateError> {
        if !text.contains("{{") {
            return Ok(RuleTemplate(Form::Plain(text.into())));
        }
        let source = parse(text, Dialect::Rule, &VARIABLES)?;
        Ok(RuleTemplate(Form::Parsed(Arc::new(source))))
    }

    /// The text, when it holds no action.
    pub fn plain(&self) -> Option<&str> {
        match &self.0 {
            Form::Plain(text) => Some(text),
            Form::Parsed(_) => None,
        }
    }

    /// Renders the template.
    ///
    /// # Errors
    /// When a function fails or gets values of another type, or when a limit is passed. Prometheus then uses
    /// `<error expanding template: ...>` as the text; that is the caller's to do.
    pub fn render(&self, vars: &RuleVars<'_>) -> Result<String, TemplateError> {
        let source = match &self.0 {
            Form::Plain(text) => return Ok(text.as_ref().to_owned()),
            Form::Parsed(source) => source,
        };
        let labels = Value::Labels(vars.labels.clone());
        let external = Value::Labels(vars.external_labels.clone());
        let (url, value) = (Value::text(vars.external_url), Value::Float(vars.value));
        let field = |name, value: &Value| Field { name, json: name, value: value.clone() };
        let dot = Value::structure(
            "struct { Labels map[string]string; ExternalLabels map[string]string; ExternalURL string; Value interface {} }",
            vec![
                field("Labels", &labels),
                field("ExternalLabels", &external),
                field("ExternalURL", &url),
                field("Value", &value),
            ],
        );
        let variables = [("$labels", labels), ("$externalLabels", external), ("$externalURL", url), ("$value", value)];
        let shared = BTreeMap::new();
        let env = Env {
            now: vars.now,
            external_url: vars.external_url,
            query: vars.query,
            html: false,
            escape: None,
            own: &source.defined,
            shared: &shared,
        };
        run(&source.main, dot, &variables, &env)
    }
}
