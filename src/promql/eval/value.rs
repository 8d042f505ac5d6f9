//! What an evaluation gives.

use std::sync::Arc;

use super::annotations::Annotation;
use crate::model::{FloatHistogram, Labels};
use crate::series::Point;
use crate::time::Timestamp;

/// A float or a native histogram.
#[derive(Clone, Debug, PartialEq)]
pub enum SampleValue {
    Float(f64),
    Histogram(Arc<FloatHistogram>),
}

impl SampleValue {
    /// The float, if it is one.
    pub fn float(&self) -> Option<f64> {
        match self {
            SampleValue::Float(value) => Some(*value),
            SampleValue::Histogram(_) => None,
        }
    }

    pub(crate) fn histogram(&self) -> Option<&Arc<FloatHistogram>> {
        match self {
            SampleValue::Float(_) => None,
            SampleValue::Histogram(histogram) => Some(histogram),
        }
    }
}

impl From<FloatHistogram> for SampleValue {
    fn from(histogram: FloatHistogram) -> SampleValue {
        SampleValue::Histogram(Arc::new(histogram))
    }
}

/// One element of an instant vector.
#[derive(Clone, Debug, PartialEq)]
pub struct VectorSample {
    pub labels: Labels,
    pub at: Timestamp,
    pub value: SampleValue,
}

/// One series of a range query's answer, or of a range vector.
#[derive(Clone, Debug, PartialEq)]
pub struct MatrixSeries {
    pub labels: Labels,
    /// In order of time.
    pub points: Vec<Point>,
}

/// The value of an expression.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Scalar(f64),
    String(String),
    /// In the order that the expression gives: by value behind `sort`, otherwise not to be relied on.
    Vector(Vec<VectorSample>),
    /// Sorted by labels.
    Matrix(Vec<MatrixSeries>),
}

/// A value and what is to be said about it.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub value: Value,
    pub annotations: Vec<Annotation>,
    /// How many samples were read to get there.
    pub samples_touched: usize,
}
