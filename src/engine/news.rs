//! What an urgent batch says that was not known: a rule is not evaluated out of turn because a probe succeeded again.

use std::collections::HashMap;

use crate::limits;
use crate::model::Labels;

/// The last value of each series of urgent batches.
#[derive(Debug, Default)]
pub(crate) struct News {
    last: HashMap<Labels, u64>,
}

impl News {
    /// The samples whose value differs from the one before.
    pub fn of(&mut self, samples: &[(Labels, f64)]) -> Vec<(Labels, f64)> {
        if self.last.len() > limits::URGENT_SERIES {
            // Forgetting costs evaluations, nothing else.
            self.last.clear();
        }
        let is_new = |(labels, value): &&(Labels, f64)| {
            let bits = value.to_bits();
            match self.last.get_mut(labels) {
                Some(last) => std::mem::replace(last, bits) != bits,
                None => self.last.insert(labels.clone(), bits).is_none(),
            }
        };
        samples.iter().filter(is_new).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_values_that_differ_are_news() {
        let mut news = News::default();
        let samples = |a: f64, b: f64| {
            [(Labels::from_pairs([("__name__", "a")]), a), (Labels::from_pairs([("__name__", "b")]), b)]
        };
        let mut names = |a, b| -> Vec<String> {
            news.of(&samples(a, b)).iter().map(|(labels, _)| labels.name().to_owned()).collect()
        };
        assert_eq!(names(1.0, 2.0), ["a", "b"]);
        assert_eq!(names(1.0, 3.0), ["b"]);
        assert_eq!(names(0.0, 3.0), ["a"]);
        assert_eq!(names(0.0, 3.0), [""; 0]);
    }
}
