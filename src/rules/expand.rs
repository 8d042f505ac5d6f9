//! The elements of a result as alerts: their templates carried out, and not again while nothing changed that they see.
//!
//! An element keeps its alert's labels from one evaluation to the next when these follow from its own labels alone, and its
//! annotations when its value is the same as well. Templates that ask for the time or for series are carried out each time.

use std::sync::Arc;

use super::alerting::{AlertContext, Found};
use super::evaluate::Reading;
use super::few::Few;
use super::spec::AlertSpec;
use super::text::{TemplateText, Texts};
use crate::model::{Labels, LabelsMap, NAME, TextMap};
use crate::promql::SampleValue;
use crate::template::RuleVars;
use crate::time::Timestamp;

/// What became of the elements of the last result, by their labels.
#[derive(Debug, Default)]
pub(crate) struct Expanded {
    known: Few<Known>,
    round: u64,
}

#[derive(Debug)]
struct Known {
    labels: Labels,
    annotations: Arc<TextMap>,
    value: SampleValue,
    round: u64,
}

impl Expanded {
    /// The alerts of a result.
    ///
    /// # Errors
    /// When two elements become the same alert.
    pub(super) fn expand(
        &mut self,
        spec: &AlertSpec,
        result: &[Reading],
        at: Timestamp,
        context: &AlertContext<'_>,
    ) -> Result<LabelsMap<Found>, String> {
        let (name, texts) = (spec.alert.as_str(), (&spec.labels, &spec.annotations));
        let mut found = LabelsMap::default();
        if result.is_empty() {
            self.known = Few::default();
            return Ok(found);
        }
        self.round += 1;
        let all = |texts: &Texts, fits: fn(&TemplateText) -> bool| texts.iter().all(|(_, text)| fits(text));
        let steady = all(texts.0, TemplateText::is_steady) && all(texts.1, TemplateText::is_steady);
        let labels_stay = all(texts.0, TemplateText::is_of_labels);
        for reading in result {
            let known = self.known.get_mut(&reading.labels);
            let (labels, annotations) = match known {
                Some(known) if steady && is_same(&known.value, &reading.value) => {
                    known.round = self.round;
                    (known.labels.clone(), Arc::clone(&known.annotations))
                }
                known => {
                    let labels = known.filter(|_| labels_stay).map(|known| known.labels.clone());
                    let (labels, annotations) = carry_out(name, texts, labels, reading, at, context);
                    let (value, round) = (reading.value.clone(), self.round);
                    let new = Known { labels: labels.clone(), annotations: Arc::clone(&annotations), value, round };
                    self.known.insert(reading.labels.clone(), new);
                    (labels, annotations)
                }
            };
            if found.insert(labels, Found { annotations, value: reading.float() }).is_some() {
                return Err("vector contains metrics with the same labelset after applying alert labels".into());
            }
        }
        if self.known.len() > result.len() {
            let round = self.round;
            self.known.retain(|_, known| known.round == round);
        }
        Ok(found)
    }
}

/// Whether two values look the same to a template.
fn is_same(a: &SampleValue, b: &SampleValue) -> bool {
    match (a, b) {
        (SampleValue::Float(a), SampleValue::Float(b)) => a.to_bits() == b.to_bits(),
        (SampleValue::Histogram(a), SampleValue::Histogram(b)) => Arc::ptr_eq(a, b),
        _ => false,
    }
}

/// Carries out the templates for one element; `labels` are the alert's where they are known already.
fn carry_out(
    name: &str,
    texts: (&Texts, &Texts),
    labels: Option<Labels>,
    reading: &Reading,
    at: Timestamp,
    context: &AlertContext<'_>,
) -> (Labels, Arc<TextMap>) {
    let histogram = match &reading.value {
        SampleValue::Float(_) => None,
        SampleValue::Histogram(histogram) => Some(histogram.to_string()),
    };
    let vars = RuleVars {
        histogram: histogram.as_deref(),
        labels: &reading.labels,
        external_labels: context.external_labels,
        external_url: context.external_url,
        value: reading.float(),
        now: at,
        query: context.query,
    };
    let labels = labels.unwrap_or_else(|| {
        let mut builder = reading.labels.to_builder();
        builder.remove(NAME);
        for (name, text) in texts.0.iter() {
            builder.set(name, &text.render(&vars));
        }
        builder.set("alertname", name);
        builder.build()
    });
    let annotations: TextMap = texts.1.iter().map(|(name, text)| (name.clone(), text.render(&vars))).collect();
    (labels, Arc::new(annotations))
}
