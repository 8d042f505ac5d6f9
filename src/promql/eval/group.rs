//! One group of an aggregation, reduced to one value.

use super::annotations::{Note, Operation};
use super::evaluator::Element;
use super::statistics::{HistogramMean, quantile_of};
use super::value::SampleValue;
use crate::model::{CounterResetHint, FloatHistogram};
use crate::promql::ast::AggregateOp;
use crate::promql::histogram::{Combined, HistogramSum, IncompatibleSchema};
use crate::promql::numbers::{Kahan, Mean};

/// Where annotations go.
type Notes<'n> = dyn FnMut(Note<'_>) + 'n;

/// The state of one group.
pub(super) struct Group {
    op: AggregateOp,
    floats: Floats,
    histograms: Option<Histograms>,
    has_floats: bool,
    /// A histogram came after floats.
    mixed: bool,
    /// Exponential and custom buckets met: no result.
    incompatible: bool,
    saw_reset: bool,
    saw_no_reset: bool,
    /// Elements of any kind.
    count: f64,
}

enum Floats {
    Sum(Kahan),
    Mean(Mean),
    Extreme(f64),
    /// Welford's running mean and sum of squares.
    Spread {
        count: f64,
        mean: f64,
        squares: f64,
    },
    All(Vec<f64>),
    Nothing,
}

enum Histograms {
    Sum(HistogramSum),
    Mean(HistogramMean),
}

impl Group {
    pub(super) fn new(op: AggregateOp) -> Group {
        let floats = match op {
            AggregateOp::Sum => Floats::Sum(Kahan::default()),
            AggregateOp::Avg => Floats::Mean(Mean::default()),
            AggregateOp::Min | AggregateOp::Max => Floats::Extreme(f64::NAN),
            AggregateOp::Stddev | AggregateOp::Stdvar => Floats::Spread { count: 0.0, mean: 0.0, squares: 0.0 },
            AggregateOp::Quantile => Floats::All(Vec::new()),
            _ => Floats::Nothing,
        };
        Group {
            op,
            floats,
            histograms: None,
            has_floats: false,
            mixed: false,
            incompatible: false,
            saw_reset: false,
            saw_no_reset: false,
            count: 0.0,
        }
    }

    /// Takes in one element.
    pub(super) fn add(&mut self, element: &Element, notes: &mut Notes<'_>) {
        self.count += 1.0;
        match &element.value {
            SampleValue::Float(_) if self.incompatible => {}
            SampleValue::Float(value) => {
                let first = !std::mem::replace(&mut self.has_floats, true);
                self.floats.add(self.op, *value, first);
            }
            SampleValue::Histogram(histogram) => match self.op {
                AggregateOp::Sum | AggregateOp::Avg => self.add_histogram(element, histogram, notes),
                AggregateOp::Count | AggregateOp::Group => {}
                op => notes(Note::HistogramIgnored(op.as_str())),
            },
        }
    }

    fn add_histogram(&mut self, element: &Element, histogram: &FloatHistogram, notes: &mut Notes<'_>) {
        if self.incompatible {
            return;
        }
        if self.has_floats && self.histograms.is_none() {
            // A mix has no value anyway.
            self.mixed = true;
            return;
        }
        match histogram.hint {
            CounterResetHint::Reset => self.saw_reset = true,
            CounterResetHint::NotReset => self.saw_no_reset = true,
            CounterResetHint::Unknown | CounterResetHint::Gauge => {}
        }
        let added: Result<Combined, IncompatibleSchema> = match &mut self.histograms {
            Some(Histograms::Sum(sum)) => sum.add(histogram),
            Some(Histograms::Mean(mean)) => mean.add(histogram),
            None => {
                self.histograms = Some(match self.op {
                    AggregateOp::Avg => Histograms::Mean(HistogramMean::new(histogram)),
                    _ => Histograms::Sum(HistogramSum::new(histogram)),
                });
                Ok(Combined::default())
            }
        };
        match added {
            Ok(combined) if combined.bounds_reconciled => notes(Note::BoundsReconciled(Operation::Aggregation)),
            Ok(_) => {}
            Err(IncompatibleSchema) => {
                notes(Note::MixedExponentialCustom(element.labels.name()));
                self.incompatible = true;
            }
        }
    }

    /// The value of the group; `None` when there is none.
    pub(super) fn finish(self, param: f64, notes: &mut Notes<'_>) -> Option<SampleValue> {
        match self.op {
            AggregateOp::Count => return Some(SampleValue::Float(self.count)),
            AggregateOp::Group => return Some(SampleValue::Float(1.0)),
            _ => {}
        }
        if self.mixed || (self.has_floats && self.histograms.is_some()) {
            notes(Note::MixedFloatsHistogramsAggregation);
            return None;
        }
        if let Some(histograms) = self.histograms {
            if self.incompatible {
                return None;
            }
            if self.saw_reset && self.saw_no_reset {
                notes(Note::ResetCollision(Operation::Aggregation));
            }
            let mut result = match histograms {
                Histograms::Sum(sum) => sum.finish(),
                Histograms::Mean(mean) => mean.finish(),
            };
            result.compact();
            return Some(result.into());
        }
        self.has_floats.then(|| SampleValue::Float(self.floats.finish(self.op, param)))
    }
}

impl Floats {
    fn add(&mut self, op: AggregateOp, value: f64, first: bool) {
        match self {
            Floats::Sum(sum) if first => *sum = Kahan::new(value),
            Floats::Sum(sum) => sum.add(value),
            Floats::Mean(mean) => mean.add(value),
            Floats::Extreme(best) => {
                let better = if op == AggregateOp::Min { value < *best } else { value > *best };
                if first || better || best.is_nan() {
                    *best = value;
                }
            }
            Floats::Spread { count, mean, squares } => {
                *count += 1.0;
                if first {
                    *mean = value;
                    *squares = if value.is_finite() { 0.0 } else { f64::NAN };
                } else {
                    let delta = value - *mean;
                    *mean += delta / *count;
                    *squares += delta * (value - *mean);
                }
            }
            Floats::All(values) => values.push(value),
            Floats::Nothing => {}
        }
    }

    fn finish(self, op: AggregateOp, param: f64) -> f64 {
        match self {
            Floats::Sum(sum) => sum.value(),
            Floats::Mean(mean) => mean.value(),
            Floats::Extreme(best) => best,
            Floats::Spread { count, squares, .. } if op == AggregateOp::Stddev => (squares / count).sqrt(),
            Floats::Spread { count, squares, .. } => squares / count,
            Floats::All(mut values) => quantile_of(param, &mut values),
            Floats::Nothing => f64::NAN,
        }
    }
}
