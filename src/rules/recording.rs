//! Recording rules: a result under a new name.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::evaluate::Reading;
use super::few::Few;
use super::spec::RecordSpec;
use crate::limits;
use crate::model::{Labels, LabelsMap, NAME};
use crate::promql::SampleValue;

/// A recording rule.
#[derive(Debug)]
pub(crate) struct RecordRule {
    /// What the file says.
    spec: Arc<RecordSpec>,
    /// The names of the results, by the labels that they come with: made once, not at every tick.
    names: Few<Labels>,
}

impl RecordRule {
    pub fn new(spec: Arc<RecordSpec>) -> RecordRule {
        RecordRule { spec, names: Few::default() }
    }

    /// Names a result's elements.
    ///
    /// # Errors
    /// When two of them get the same name, or there are more than the group's limit (0: none).
    pub fn evaluate(&mut self, result: Vec<Reading>, limit: usize) -> Result<Vec<(Labels, SampleValue)>, String> {
        if self.names.len() > limits::RECORDED_NAMES.max(2 * result.len()) {
            self.names = Few::default();
        }
        let mut seen = LabelsMap::with_capacity_and_hasher(result.len(), Default::default());
        let mut named = Vec::with_capacity(result.len());
        for Reading { labels, value } in result {
            let name = match self.names.get(&labels) {
                Some(name) => name.clone(),
                None => {
                    let name = rename(&labels, &self.spec.record, &self.spec.labels);
                    self.names.insert(labels, name.clone());
                    name
                }
            };
            if seen.insert(name.clone(), ()).is_some() {
                return Err("vector contains metrics with the same labelset after applying rule labels".into());
            }
            named.push((name, value));
        }
        if limit > 0 && named.len() > limit {
            return Err(format!("exceeded limit of {limit} with {} series", named.len()));
        }
        Ok(named)
    }
}

fn rename(labels: &Labels, record: &str, extra: &BTreeMap<String, String>) -> Labels {
    let mut builder = labels.to_builder();
    builder.set(NAME, record);
    for (name, value) in extra {
        builder.set(name, value);
    }
    builder.build()
}
