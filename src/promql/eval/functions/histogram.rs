//! Functions of histograms, native and classic.

use super::classic::{self, ClassicBucket, le_bound};
use super::text_arg;
use crate::model::{FloatHistogram, Labels, LabelsMap, NAME};
use crate::promql::ast::{Call, Span};
use crate::promql::eval::annotations::{Forced, Note};
use crate::promql::eval::error::EvalError;
use crate::promql::eval::evaluator::{Element, Evaluator, Frame, bare, stamp};
use crate::promql::eval::value::SampleValue;
use crate::promql::histogram::{self, Skewed};
use crate::promql::numbers::{GoFloat, Kahan};

/// The label of classic buckets.
const LE: &str = "le";

/// The function of that name, if it reads a number off a native histogram.
pub(super) fn number_of(name: &str) -> Option<fn(&FloatHistogram) -> f64> {
    Some(match name {
        "histogram_count" => |histogram| histogram.count,
        "histogram_sum" => |histogram| histogram.sum,
        "histogram_avg" => |histogram| histogram.sum / histogram.count,
        "histogram_stddev" => |histogram| variance(histogram).sqrt(),
        "histogram_stdvar" => variance,
        _ => return None,
    })
}

/// The variance, each bucket's observations taken to lie at its middle.
fn variance(histogram: &FloatHistogram) -> f64 {
    let mean = histogram.sum / histogram.count;
    let mut total = Kahan::default();
    for bucket in histogram.all_buckets().into_iter().filter(|bucket| bucket.count != 0.0) {
        let middle = if histogram.uses_custom_buckets() {
            (bucket.upper + bucket.lower) / 2.0
        } else if bucket.lower <= 0.0 && bucket.upper >= 0.0 {
            0.0
        } else {
            let geometric = (bucket.upper * bucket.lower).sqrt();
            if bucket.upper < 0.0 { -geometric } else { geometric }
        };
        let delta = middle - mean;
        total.add(bucket.count * delta * delta);
    }
    total.value() / histogram.count
}

/// A vector split into native histograms and classic ones.
#[derive(Default)]
struct Split {
    /// `None` where a classic histogram of the same labels is in the way.
    native: Vec<Option<Element>>,
    classic: Vec<ClassicHistogram>,
}

struct ClassicHistogram {
    /// Without `le`.
    labels: Labels,
    drop_name: bool,
    buckets: Vec<ClassicBucket>,
}

impl Evaluator<'_> {
    pub(super) fn histogram_numbers(
        &mut self,
        call: &Call,
        frame: &Frame,
        at: i64,
        number: fn(&FloatHistogram) -> f64,
    ) -> Result<Vec<Element>, EvalError> {
        let vector = self.vector(&call.args[0], frame, at)?;
        let mut out = Vec::with_capacity(vector.len());
        for mut element in vector {
            let Some(value) = element.value.histogram().map(|histogram| number(histogram)) else { continue };
            element.value = SampleValue::Float(value);
            element.drop_name = true;
            if !self.options.delayed_name_removal {
                // These alone keep `__type__` and `__unit__`, as in Prometheus.
                element.labels = element.labels.without_name();
            }
            out.push(element);
        }
        Ok(out)
    }

    pub(super) fn histogram_quantile(
        &mut self,
        call: &Call,
        frame: &Frame,
        at: i64,
    ) -> Result<Vec<Element>, EvalError> {
        let (q_arg, vector_arg) = (bare(&call.args[0]), bare(&call.args[1]));
        let q = self.scalar(q_arg, frame, at)?;
        let vector = self.vector(vector_arg, frame, at)?;
        self.check_quantile(q, q_arg.span);
        let mut split = self.split(vector, vector_arg.span);
        let mut out = Vec::new();
        for element in split.native.into_iter().flatten() {
            out.extend(self.native_quantile(q, element, vector_arg.span));
        }
        for histogram in &mut split.classic {
            out.push(self.classic_quantile(q, histogram, vector_arg.span, at));
        }
        Ok(out)
    }

    pub(super) fn histogram_quantiles(
        &mut self,
        call: &Call,
        frame: &Frame,
        at: i64,
    ) -> Result<Vec<Element>, EvalError> {
        let vector_arg = bare(&call.args[0]);
        let label = text_arg(&call.args[1]);
        let vector = self.vector(vector_arg, frame, at)?;
        let mut quantiles = Vec::new();
        for arg in &call.args[2..] {
            let q = self.scalar(arg, frame, at)?;
            self.check_quantile(q, bare(arg).span);
            quantiles.push(q);
        }
        let mut split = self.split(vector, vector_arg.span);
        let mut out = Vec::new();
        for q in quantiles {
            let value = quantile_label(q);
            let named = |mut element: Element| {
                element.labels = element.labels.with(label, &value);
                element
            };
            for element in split.native.iter().flatten() {
                out.extend(self.native_quantile(q, element.clone(), vector_arg.span).map(named));
            }
            for histogram in &mut split.classic {
                out.push(named(self.classic_quantile(q, histogram, vector_arg.span, at)));
            }
        }
        Ok(out)
    }

    pub(super) fn histogram_fraction(
        &mut self,
        call: &Call,
        frame: &Frame,
        at: i64,
    ) -> Result<Vec<Element>, EvalError> {
        let lower = self.scalar(&call.args[0], frame, at)?;
        let upper = self.scalar(&call.args[1], frame, at)?;
        let vector_arg = bare(&call.args[2]);
        let vector = self.vector(vector_arg, frame, at)?;
        let mut split = self.split(vector, vector_arg.span);
        let mut out = Vec::new();
        for mut element in split.native.into_iter().flatten() {
            let Some(native) = element.value.histogram() else { continue };
            let (value, skewed) = histogram::fraction(lower, upper, native);
            self.drop_name(&mut element);
            self.note_skewed(&element, skewed, vector_arg.span);
            element.value = SampleValue::Float(value);
            out.push(element);
        }
        for histogram in &mut split.classic {
            let value = classic::fraction(lower, upper, &mut histogram.buckets);
            out.push(self.of_classic(histogram, value));
        }
        Ok(out)
    }

    fn check_quantile(&mut self, q: f64, span: Span) {
        if !(0.0..=1.0).contains(&q) {
            self.note(&Note::InvalidQuantile(q), span);
        }
    }

    fn native_quantile(&mut self, q: f64, mut element: Element, span: Span) -> Option<Element> {
        let (value, skewed) = histogram::quantile(q, element.value.histogram()?);
        self.drop_name(&mut element);
        self.note_skewed(&element, skewed, span);
        element.value = SampleValue::Float(value);
        Some(element)
    }

    fn note_skewed(&mut self, element: &Element, skewed: Option<Skewed>, span: Span) {
        if let Some(skewed) = skewed {
            self.note(&Note::NanObservations { name: element.labels.name(), skewed }, span);
        }
    }

    fn classic_quantile(&mut self, q: f64, histogram: &mut ClassicHistogram, span: Span, at: i64) -> Element {
        let (value, bent) = classic::quantile(q, &mut histogram.buckets);
        if let Some(bent) = bent {
            let forced = Forced {
                first: stamp(at),
                last: stamp(at),
                min_bucket: bent.min_bucket,
                max_bucket: bent.max_bucket,
                max_diff: bent.max_diff,
                samples: 1,
            };
            self.note(&Note::Forced(self.known_name(&histogram.labels), forced), span);
        }
        self.of_classic(histogram, value)
    }

    fn of_classic(&mut self, histogram: &ClassicHistogram, value: f64) -> Element {
        let mut element = Element::float(histogram.labels.clone(), value);
        element.drop_name = histogram.drop_name;
        self.drop_name(&mut element);
        element
    }

    /// The metric name for an annotation: with eager name removal it may be gone, so none is given.
    fn known_name<'l>(&self, labels: &'l Labels) -> &'l str {
        if self.options.delayed_name_removal { labels.value(NAME) } else { "" }
    }

    fn split(&mut self, vector: Vec<Element>, span: Span) -> Split {
        let mut split = Split::default();
        let mut places: LabelsMap<usize> = LabelsMap::default();
        for element in vector {
            let Some(count) = element.value.float() else {
                split.native.push(Some(element));
                continue;
            };
            let label = element.labels.value(LE);
            let Some(upper) = le_bound(label) else {
                let name = self.known_name(&element.labels);
                self.note(&Note::BadBucketLabel { name, label }, span);
                continue;
            };
            let labels = self.cache.derived(LE_NODE, &element.labels, |labels| labels.filtered(|name| name != LE));
            let place = *places.entry(labels).or_insert_with_key(|labels| {
                split.classic.push(ClassicHistogram {
                    labels: labels.clone(),
                    drop_name: element.drop_name,
                    buckets: Vec::new(),
                });
                split.classic.len() - 1
            });
            split.classic[place].buckets.push(ClassicBucket { upper, count });
        }
        for native in &mut split.native {
            let Some(element) = native else { continue };
            if let Some(place) = places.get(&element.labels) {
                let name = self.known_name(&element.labels);
                self.note(&Note::MixedClassicNative(name), span);
                split.classic[*place].buckets.clear();
                *native = None;
            }
        }
        split.classic.retain(|histogram| !histogram.buckets.is_empty());
        split
    }
}

/// Dropping `le` is the same at every node.
const LE_NODE: usize = 0;

/// A quantile as a label's value, as OpenMetrics writes floats.
fn quantile_label(q: f64) -> String {
    let text = GoFloat(q).to_string();
    if q.is_finite() && !text.contains(['e', '.']) { format!("{text}.0") } else { text }
}
