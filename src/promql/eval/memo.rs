//! Label sets derived from others, remembered over the steps of a range query.

use std::collections::HashMap;

use crate::model::{Labels, LabelsMap, NAME};

/// Derived label sets, by the node that derives them.
#[derive(Debug, Default)]
pub(super) struct Memos {
    /// Off for instant queries, where every set is asked for once.
    pub enabled: bool,
    unnamed: LabelsMap<Labels>,
    by_node: HashMap<usize, LabelsMap<Labels>>,
    by_pair: HashMap<usize, HashMap<(Labels, Labels), Labels>>,
}

impl Memos {
    /// The labels without `__name__`, `__type__` and `__unit__`.
    pub(super) fn without_metadata(&mut self, labels: &Labels) -> Labels {
        if !self.enabled {
            return without_metadata(labels);
        }
        if let Some(known) = self.unnamed.get(labels) {
            return known.clone();
        }
        let derived = without_metadata(labels);
        self.unnamed.insert(labels.clone(), derived.clone());
        derived
    }

    /// What `derive` makes of the labels at a node.
    pub(super) fn derived(&mut self, node: usize, labels: &Labels, derive: impl FnOnce(&Labels) -> Labels) -> Labels {
        if !self.enabled {
            return derive(labels);
        }
        let known = self.by_node.entry(node).or_default();
        if let Some(found) = known.get(labels) {
            return found.clone();
        }
        let derived = derive(labels);
        known.insert(labels.clone(), derived.clone());
        derived
    }

    /// What `derive` makes of two label sets at a node.
    pub(super) fn derived_from_two(
        &mut self,
        node: usize,
        left: &Labels,
        right: &Labels,
        derive: impl FnOnce(&Labels, &Labels) -> Labels,
    ) -> Labels {
        if !self.enabled {
            return derive(left, right);
        }
        let known = self.by_pair.entry(node).or_default();
        known.entry((left.clone(), right.clone())).or_insert_with(|| derive(left, right)).clone()
    }
}

/// Labels that describe the metric rather than the series.
pub(super) fn is_metadata(name: &str) -> bool {
    matches!(name, NAME | "__type__" | "__unit__")
}

pub(super) fn without_metadata(labels: &Labels) -> Labels {
    if labels.iter().any(|(name, _)| is_metadata(name)) {
        labels.filtered(|name| !is_metadata(name))
    } else {
        labels.clone()
    }
}
