//! A group: its rules in their order, evaluated at one instant, each one writing before the next asks.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::id::RuleId;
use super::rule::Rule;
use super::ruler::Shared;
use super::schedule::Slots;
use super::spec::GroupSpec;
use crate::model::Labels;
use crate::time::Timestamp;

/// A group with its state.
pub(crate) struct Group {
    pub file: Arc<str>,
    pub name: Arc<str>,
    pub interval: Duration,
    pub query_offset: Duration,
    pub limit: usize,
    pub slots: Slots,
    /// The next slot.
    pub next: Timestamp,
    pub rules: Vec<Rule>,
    pub last_evaluation: Option<Timestamp>,
    /// How long the evaluation at the last slot took.
    pub took: Duration,
    pub missed: u64,
}

impl Group {
    pub fn new(spec: GroupSpec, shared: &Shared, now: Timestamp) -> Group {
        let interval = spec.interval.unwrap_or(shared.evaluation_interval);
        let slots = match shared.aligned {
            true => Slots::aligned(interval),
            false => Slots::new(&spec.file, &spec.name, interval),
        };
        let mut counts: HashMap<RuleId, u32> = HashMap::new();
        let mut rules: Vec<Rule> = Vec::with_capacity(spec.rules.len());
        let name: Arc<str> = spec.name.as_str().into();
        for rule in &spec.rules {
            let mut rule = Rule::new(&spec, rule.clone(), 0, shared);
            rule.id.group = Arc::clone(&name);
            // Neighbours often have the same labels.
            if let Some(before) = rules.last().filter(|before| before.id.labels == rule.id.labels) {
                rule.id.labels = Arc::clone(&before.id.labels);
            }
            let count = counts.entry(rule.id.clone()).or_default();
            rule.id.nth = *count;
            *count += 1;
            rules.push(rule);
        }
        Group {
            file: Arc::clone(&spec.file),
            name,
            interval,
            query_offset: spec.query_offset.unwrap_or(shared.query_offset),
            limit: spec.limit,
            slots,
            next: slots.after(now),
            rules,
            last_evaluation: None,
            took: Duration::ZERO,
            missed: 0,
        }
    }

    /// Takes over the state of the same group from before a reload; gives the rules that are no more.
    pub fn inherit(&mut self, old: Group) -> Vec<Rule> {
        if self.slots == old.slots {
            self.next = old.next;
        }
        self.last_evaluation = old.last_evaluation;
        self.took = old.took;
        self.missed = old.missed;
        let mut before: HashMap<RuleId, Rule> = old.rules.into_iter().map(|rule| (rule.id.clone(), rule)).collect();
        for rule in &mut self.rules {
            if let Some(old) = before.remove(&rule.id) {
                rule.inherit(old);
            }
        }
        let mut vanished: Vec<Rule> = before.into_values().collect();
        vanished.sort_by(|a, b| a.id.cmp(&b.id));
        vanished
    }

    /// Whether one of its rules wrote this series at its last evaluation.
    pub fn writes(&self, labels: &Labels) -> bool {
        self.rules.iter().any(|rule| rule.writes(labels))
    }

    /// The system's clock was set: the slots of the new time count, and what was measured from the old one moves along.
    pub fn clock_stepped(&mut self, now: Timestamp, by_millis: i64) {
        self.next = self.slots.after(now);
        self.last_evaluation = self.last_evaluation.map(|at| at.shifted(by_millis));
        self.rules.iter_mut().for_each(|rule| rule.clock_stepped(by_millis));
    }

    /// The slot to evaluate now, if it is time; slots in between count as missed.
    pub fn due(&mut self, now: Timestamp) -> Option<Timestamp> {
        if now < self.next {
            return None;
        }
        let slot = self.slots.at_or_before(now);
        self.missed += self.slots.missed(self.next, slot);
        self.next = self.slots.after(now);
        Some(slot)
    }
}
