//! A map by label sets of which there are many thousands, most of them empty: an empty one has no room beyond a pointer.

use crate::model::{Labels, LabelsMap};

/// Values by label sets, most often none.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Few<V>(Option<Box<LabelsMap<V>>>);

impl<V> Default for Few<V> {
    fn default() -> Few<V> {
        Few(None)
    }
}

impl<V> Few<V> {
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |map| map.len())
    }

    pub fn get(&self, labels: &Labels) -> Option<&V> {
        self.0.as_ref()?.get(labels)
    }

    pub fn get_mut(&mut self, labels: &Labels) -> Option<&mut V> {
        self.0.as_mut()?.get_mut(labels)
    }

    pub fn contains_key(&self, labels: &Labels) -> bool {
        self.get(labels).is_some()
    }

    pub fn insert(&mut self, labels: Labels, value: V) {
        self.0.get_or_insert_default().insert(labels, value);
    }

    pub fn iter(&self) -> impl Iterator<Item = (&Labels, &V)> {
        self.0.iter().flat_map(|map| map.iter())
    }

    pub fn keys(&self) -> impl Iterator<Item = &Labels> {
        self.iter().map(|(labels, _)| labels)
    }

    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }

    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.0.iter_mut().flat_map(|map| map.values_mut())
    }

    /// Keeps those that are wanted.
    pub fn retain(&mut self, wanted: impl FnMut(&Labels, &mut V) -> bool) {
        let Some(map) = &mut self.0 else { return };
        map.retain(wanted);
        if map.is_empty() {
            self.0 = None;
        }
    }

    /// Takes all of them out.
    pub fn take(&mut self) -> Few<V> {
        Few(self.0.take())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_empty_again_has_no_room() {
        let mut few = Few::default();
        let labels = |name: &str| Labels::named(name);
        assert!(few.is_empty() && few.keys().next().is_none() && few.get(&labels("a")).is_none());
        few.insert(labels("a"), 1);
        few.insert(labels("b"), 2);
        few.values_mut().for_each(|value| *value += 10);
        few.retain(|_, value| *value == 12);
        assert_eq!((few.len(), few.get(&labels("b")), few.contains_key(&labels("a"))), (1, Some(&12), false));
        few.retain(|_, _| false);
        assert!(few.0.is_none());
        few.insert(labels("c"), 3);
        assert_eq!(few.take().keys().collect::<Vec<_>>(), [&labels("c")]);
        assert!(few.is_empty());
    }
}
