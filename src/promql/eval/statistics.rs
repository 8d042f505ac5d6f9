//! Statistics that aggregations and range functions share.

use crate::model::FloatHistogram;
use crate::promql::histogram::{Combined, HistogramSum, IncompatibleSchema};

/// The `q`-quantile of some floats, which it sorts; between two of them, in proportion. NaN sorts first.
pub(super) fn quantile_of(q: f64, values: &mut [f64]) -> f64 {
    if values.is_empty() || q.is_nan() {
        return f64::NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    values.sort_by(|a, b| match (a.is_nan(), b.is_nan()) {
        (false, false) => a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal),
        (a, b) => b.cmp(&a),
    });
    let last = values.len() - 1;
    let rank = q * last as f64;
    let lower = rank.floor().max(0.0) as usize;
    let upper = (lower + 1).min(last);
    let weight = rank - rank.floor();
    values[lower] * (1.0 - weight) + values[upper] * weight
}

/// The mean of histograms: of the compensated sum while that stays finite, then incrementally.
pub(super) struct HistogramMean {
    total: HistogramSum,
    count: f64,
    incremental: bool,
}

impl HistogramMean {
    /// A mean of one.
    pub(super) fn new(first: &FloatHistogram) -> HistogramMean {
        HistogramMean { total: HistogramSum::new(first), count: 1.0, incremental: false }
    }

    /// Takes in one more.
    pub(super) fn add(&mut self, value: &FloatHistogram) -> Result<Combined, IncompatibleSchema> {
        self.count += 1.0;
        if !self.incremental {
            let mut total = self.total.clone();
            let combined = total.add(value)?;
            if !total.has_overflow() {
                self.total = total;
                return Ok(combined);
            }
            self.incremental = true;
            self.total.divide(self.count - 1.0);
        }
        self.total.scale((self.count - 1.0) / self.count);
        let mut share = value.clone();
        share.divide(self.count);
        self.total.add(&share)
    }

    /// The mean.
    pub(super) fn finish(mut self) -> FloatHistogram {
        if !self.incremental {
            self.total.divide(self.count);
        }
        self.total.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_lie_between_neighbours() {
        let check = |q: f64, values: &[f64], expected: f64| {
            let value = quantile_of(q, &mut values.to_vec());
            assert!(value == expected || (value.is_nan() && expected.is_nan()), "{q} {values:?}: {value}");
        };
        check(0.5, &[3.0, 1.0], 2.0);
        check(0.25, &[4.0, 1.0, 2.0, 3.0, 5.0], 2.0);
        check(1.0, &[1.0, 9.0], 9.0);
        check(-0.1, &[1.0], f64::NEG_INFINITY);
        check(0.5, &[], f64::NAN);
        check(1.0, &[f64::NAN, 1.0], 1.0);
    }
}
