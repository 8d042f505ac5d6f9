//! Native histograms as text: `{count:2, sum:3, (1,2]:2}`, as Prometheus prints them.

use std::fmt;

use super::layout::Bucket;
use crate::model::FloatHistogram;
use crate::promql::numbers::GoFloat;

impl fmt::Display for FloatHistogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{count:{}, sum:{}", GoFloat(self.count), GoFloat(self.sum))?;
        let mut negative: Vec<Bucket> = self.negative().filter(|bucket| bucket.count != 0.0).collect();
        negative.reverse();
        let zero = (self.zero_count != 0.0).then(|| self.zero_bucket());
        let positive = self.positive().filter(|bucket| bucket.count != 0.0);
        for bucket in negative.into_iter().chain(zero).chain(positive) {
            write!(f, ", {bucket}")?;
        }
        f.write_str("}")
    }
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let open = if self.lower_inclusive { '[' } else { '(' };
        let close = if self.upper_inclusive { ']' } else { ')' };
        write!(f, "{open}{},{}{close}:{}", GoFloat(self.lower), GoFloat(self.upper), GoFloat(self.count))
    }
}
