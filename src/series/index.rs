//! From matchers to series: for every label name and value the sorted list of the series that have it.
//!
//! A selection starts from the shortest list that a matcher names, or, where only patterns are given, from the values
//! of one label that satisfy the pattern. All series are looked through only when every matcher is satisfied by a
//! series without labels.

use std::collections::HashMap;
use std::sync::Arc;

use crate::model::{Labels, Matcher, NAME};

/// The place of a series in the store's table.
pub(super) type Slot = u32;

/// Series by label.
#[derive(Clone, Debug, Default)]
pub(super) struct Index {
    names: HashMap<Arc<str>, Arc<Values>>,
    /// By metric name: when a series of it last began or was dropped.
    changed: HashMap<Arc<str>, u64>,
}

#[derive(Clone, Debug, Default)]
struct Values {
    by_value: HashMap<Arc<str>, Posting>,
}

/// The series with one label, sorted. Most values of identifying labels have one series only.
#[derive(Clone, Debug)]
enum Posting {
    One(Slot),
    Many(Arc<Vec<Slot>>),
}

impl Posting {
    fn slots(&self) -> &[Slot] {
        match self {
            Posting::One(slot) => std::slice::from_ref(slot),
            Posting::Many(slots) => slots,
        }
    }

    fn insert(&mut self, slot: Slot) {
        match self {
            Posting::One(one) => {
                let mut both = vec![*one, slot];
                both.sort_unstable();
                both.dedup();
                *self = Posting::Many(Arc::new(both));
            }
            Posting::Many(slots) => {
                if let Err(at) = slots.binary_search(&slot) {
                    Arc::make_mut(slots).insert(at, slot);
                }
            }
        }
    }
}

/// What a selection starts from.
pub(super) enum Start {
    /// Every series that can match is among these, sorted.
    Among(Vec<Slot>),
    /// Nothing narrows it down.
    Anywhere,
}

impl Index {
    /// Takes a series in; `generation` counts the changes.
    pub(super) fn insert(&mut self, labels: &Labels, slot: Slot, generation: u64) {
        let name = labels.name();
        match self.changed.get_mut(name) {
            Some(changed) => *changed = generation,
            None => drop(self.changed.insert(name.into(), generation)),
        }
        for (name, value) in labels {
            if !self.names.contains_key(name) {
                self.names.insert(name.into(), Arc::default());
            }
            let Some(values) = self.names.get_mut(name) else { continue };
            let by_value = &mut Arc::make_mut(values).by_value;
            match by_value.get_mut(value) {
                Some(posting) => posting.insert(slot),
                None => drop(by_value.insert(value.into(), Posting::One(slot))),
            }
        }
    }

    /// Takes series out; `gone` is sorted by slot.
    pub(super) fn remove(&mut self, gone: &[(Slot, Labels)], generation: u64) {
        for name in gone.iter().map(|(_, labels)| labels.name()) {
            if let Some(changed) = self.changed.get_mut(name) {
                *changed = generation;
            }
        }
        let mut touched: Vec<(&str, &str)> = gone.iter().flat_map(|(_, labels)| labels).collect();
        touched.sort_unstable();
        touched.dedup();
        let is_gone = |slot: &Slot| gone.binary_search_by_key(slot, |(slot, _)| *slot).is_ok();
        for pairs in touched.chunk_by(|a, b| a.0 == b.0) {
            let name = pairs[0].0;
            let Some(values) = self.names.get_mut(name) else { continue };
            let by_value = &mut Arc::make_mut(values).by_value;
            for (_, value) in pairs {
                let empty = by_value.get_mut(*value).is_some_and(|posting| match posting {
                    Posting::One(slot) => is_gone(slot),
                    Posting::Many(slots) => {
                        let list = Arc::make_mut(slots);
                        list.retain(|slot| !is_gone(slot));
                        list.shrink_to_fit();
                        list.is_empty()
                    }
                });
                if empty {
                    by_value.remove(*value);
                }
            }
            if by_value.capacity() > 4 * by_value.len() + 16 {
                by_value.shrink_to_fit();
            }
            if by_value.is_empty() {
                self.names.remove(name);
            }
        }
        let names = self.names.get(NAME);
        self.changed.retain(|name, _| name.is_empty() || names.is_some_and(|known| known.by_value.contains_key(name)));
    }

    /// When a series of this metric name last began or was dropped; 0 when there is none.
    pub(super) fn changed_at(&self, name: &str) -> u64 {
        self.changed.get(name).copied().unwrap_or(0)
    }

    /// Where to look for the series that satisfy all matchers.
    pub(super) fn start(&self, matchers: &[Matcher]) -> Start {
        let narrowing = || matchers.iter().filter(|matcher| !matcher.matches_empty());
        let mut listed: Vec<(usize, &Matcher)> =
            narrowing().filter_map(|matcher| Some((self.listed_count(matcher)?, matcher))).collect();
        listed.sort_by_key(|(count, _)| *count);
        if let Some((_, shortest)) = listed.first() {
            let mut slots = self.union(shortest, shortest.listed_values().unwrap_or_default().iter());
            for (_, matcher) in &listed[1..] {
                if let Some([value]) = matcher.listed_values()
                    && let Some(posting) = self.posting(&matcher.name, value)
                {
                    intersect(&mut slots, posting.slots());
                }
            }
            return Start::Among(slots);
        }
        let values = |matcher: &Matcher| self.names.get(matcher.name.as_str()).map_or(0, |v| v.by_value.len());
        let Some(pattern) = narrowing().min_by_key(|matcher| values(matcher)) else { return Start::Anywhere };
        let known = self.names.get(pattern.name.as_str());
        let satisfying = known.iter().flat_map(|v| v.by_value.keys()).filter(|value| pattern.matches(value));
        Start::Among(self.union(pattern, satisfying))
    }

    fn posting(&self, name: &str, value: &str) -> Option<&Posting> {
        self.names.get(name)?.by_value.get(value)
    }

    fn listed_count(&self, matcher: &Matcher) -> Option<usize> {
        let values = matcher.listed_values()?;
        Some(values.iter().filter_map(|v| self.posting(&matcher.name, v)).map(|p| p.slots().len()).sum())
    }

    fn union<T: AsRef<str>>(&self, matcher: &Matcher, values: impl Iterator<Item = T>) -> Vec<Slot> {
        let mut slots = Vec::new();
        let mut lists = 0;
        for posting in values.filter_map(|value| self.posting(&matcher.name, value.as_ref())) {
            slots.extend_from_slice(posting.slots());
            lists += 1;
        }
        if lists > 1 {
            slots.sort_unstable();
            slots.dedup();
        }
        slots
    }

    /// The label names in use, sorted.
    pub(super) fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.names.keys().map(|name| &**name).collect();
        names.sort_unstable();
        names
    }

    /// The values of a label, sorted.
    pub(super) fn values(&self, name: &str) -> Vec<&str> {
        let known = self.names.get(name);
        let mut values: Vec<&str> = known.iter().flat_map(|v| v.by_value.keys()).map(|value| &**value).collect();
        values.sort_unstable();
        values
    }

    /// An estimate of the bytes it takes.
    pub(super) fn bytes(&self) -> usize {
        let entry = |text: usize, value: usize| text + 16 + size_of::<Arc<str>>() + value + 2;
        let posting = |posting: &Posting| match posting {
            Posting::One(_) => 0,
            Posting::Many(slots) => 40 + 4 * slots.capacity(),
        };
        let values = |values: &Values| {
            let each = |(text, p): (&Arc<str>, &Posting)| entry(text.len(), size_of::<Posting>()) + posting(p);
            values.by_value.iter().map(each).sum::<usize>()
        };
        self.names.iter().map(|(name, v)| entry(name.len(), 64) + values(v)).sum()
    }
}

/// Leaves in `slots` what is in `other` as well; both are sorted.
fn intersect(slots: &mut Vec<Slot>, other: &[Slot]) {
    let mut rest = other;
    slots.retain(|slot| {
        // Doubling steps, then halving: short lists meet long ones in few comparisons.
        let mut step = 1;
        while step < rest.len() && rest[step] < *slot {
            step *= 2;
        }
        let within = &rest[..rest.len().min(step + 1)];
        rest = &rest[within.partition_point(|other| other < slot)..];
        rest.first() == Some(slot)
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::MatchOp;

    fn index(series: &[&[(&str, &str)]]) -> Index {
        let mut index = Index::default();
        for (slot, pairs) in series.iter().enumerate() {
            index.insert(&Labels::from_pairs(pairs.iter().copied()), slot as Slot, 1 + slot as u64);
        }
        index
    }

    fn among(index: &Index, matchers: &[(MatchOp, &str, &str)]) -> Option<Vec<Slot>> {
        let matchers: Vec<Matcher> =
            matchers.iter().map(|(op, name, value)| Matcher::new(*op, name, value).expect("a matcher")).collect();
        match index.start(&matchers) {
            Start::Among(slots) => Some(slots),
            Start::Anywhere => None,
        }
    }

    #[test]
    fn a_selection_starts_from_the_shortest_list() {
        use MatchOp::*;
        let index =
            index(&[&[("a", "1"), ("b", "x")], &[("a", "1"), ("b", "y")], &[("a", "2"), ("b", "y")], &[("a", "3")]]);
        let check = |matchers: &[(MatchOp, &str, &str)], expected: Option<&[Slot]>| {
            assert_eq!(among(&index, matchers).as_deref(), expected, "{matchers:?}");
        };
        check(&[(Equal, "a", "1")], Some(&[0, 1]));
        check(&[(Equal, "a", "1"), (Equal, "b", "y")], Some(&[1]));
        check(&[(Equal, "a", "2"), (Equal, "b", "x")], Some(&[]));
        check(&[(Matches, "a", "1|3|none")], Some(&[0, 1, 3]));
        check(&[(Matches, "a", "[23]")], Some(&[2, 3]));
        check(&[(NotEqual, "b", "")], Some(&[0, 1, 2]));
        check(&[(Equal, "none", "1")], Some(&[]));
        check(&[(Matches, "none", ".+")], Some(&[]));
        check(&[(Equal, "b", "")], None);
        check(&[(NotEqual, "a", "1")], None);
        check(&[(Equal, "b", ""), (Equal, "a", "3")], Some(&[3]));
    }

    #[test]
    fn what_is_taken_out_leaves_nothing_behind() {
        let series: [&[(&str, &str)]; 3] = [&[("a", "1"), ("b", "x")], &[("a", "1")], &[("a", "2"), ("c", "z")]];
        let mut index = index(&series);
        let gone = |slots: &[Slot]| -> Vec<(Slot, Labels)> {
            slots.iter().map(|slot| (*slot, Labels::from_pairs(series[*slot as usize].iter().copied()))).collect()
        };
        index.remove(&gone(&[0, 2]), 4);
        assert_eq!(index.names(), ["a"]);
        assert_eq!(index.values("a"), ["1"]);
        assert_eq!(among(&index, &[(MatchOp::Equal, "a", "1")]), Some(vec![1]));
        index.remove(&gone(&[1]), 5);
        assert!(index.names().is_empty());
    }

    #[test]
    fn sorted_lists_meet() {
        let check = |a: &[Slot], b: &[Slot], expected: &[Slot]| {
            let mut slots = a.to_vec();
            intersect(&mut slots, b);
            assert_eq!(slots, expected, "{a:?} {b:?}");
        };
        check(&[], &[1], &[]);
        check(&[1], &[], &[]);
        check(&[1, 5, 9], &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10], &[1, 5, 9]);
        check(&[0, 2, 4, 100], &[1, 3, 4, 99, 100, 101], &[4, 100]);
        check(&[7, 8], &[1, 2, 3], &[]);
    }
}
