//! What an urgent batch says that was not known: a rule that is evaluated each second anyway is not evaluated out of turn
//! because a probe succeeded, or failed, once more.

use crate::limits;
use crate::model::{Labels, LabelsMap};

/// The last value of each series of urgent batches.
#[derive(Debug, Default)]
pub(crate) struct News {
    last: LabelsMap<u64>,
}

impl News {
    /// Whether the value differs from the one before.
    pub fn take(&mut self, labels: &Labels, value: f64) -> bool {
        if self.last.len() > limits::URGENT_SERIES {
            // Forgetting costs evaluations, nothing else.
            self.last.clear();
        }
        let bits = value.to_bits();
        match self.last.get_mut(labels) {
            Some(last) => std::mem::replace(last, bits) != bits,
            None => self.last.insert(labels.clone(), bits).is_none(),
        }
    }
}
