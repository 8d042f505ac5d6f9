//! The last evaluations of a rule: when, how long, what came out. For people; nothing is decided by it.

use std::collections::VecDeque;
use std::time::Duration;

use super::evaluate::Reading;
use crate::limits;
use crate::model::Labels;
use crate::time::Timestamp;

/// One evaluation of one rule.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Evaluation {
    /// The instant that was asked for: a slot of the group, or the time of an evaluation out of turn.
    pub at: Timestamp,
    /// Out of turn, because something urgent came in.
    pub urgent: bool,
    pub took: Duration,
    /// Elements of the results of all of the rule's expressions.
    pub elements: usize,
    /// Series that were written.
    pub written: usize,
    /// Of an alerting rule: pending and firing alerts after it.
    pub alerts: usize,
    /// The first elements, at most [`limits::EVALUATION_VALUES`].
    pub values: Vec<(Labels, f64)>,
    pub error: Option<String>,
}

impl Evaluation {
    /// Takes note of a result.
    pub(crate) fn saw(&mut self, result: &[Reading]) {
        self.elements += result.len();
        let room = limits::EVALUATION_VALUES.saturating_sub(self.values.len());
        self.values.extend(result.iter().take(room).map(|reading| (reading.labels.clone(), reading.float())));
    }
}

/// The last evaluations, oldest first; as many as there is room for.
#[derive(Debug)]
pub(crate) struct Ring {
    kept: VecDeque<Evaluation>,
    room: usize,
}

impl Ring {
    /// For one of `rules` rules: they share the room there is.
    pub fn among(rules: usize) -> Ring {
        let share = limits::EVALUATIONS_IN_ALL / rules.max(1);
        Ring { kept: VecDeque::new(), room: share.clamp(limits::EVALUATIONS_LEAST, limits::EVALUATIONS_PER_RULE) }
    }

    /// An empty note, made of the oldest when the ring is full.
    pub fn blank(&mut self) -> Evaluation {
        if self.kept.len() < self.room {
            return Evaluation::default();
        }
        let mut values = self.kept.pop_front().unwrap_or_default().values;
        values.clear();
        Evaluation { values, ..Evaluation::default() }
    }

    /// Keeps an evaluation.
    pub fn push(&mut self, evaluation: Evaluation) {
        self.kept.push_back(evaluation);
    }

    /// Takes over what another ring has, as far as there is room.
    pub fn inherit(&mut self, mut old: Ring) {
        let surplus = old.kept.len().saturating_sub(self.room);
        old.kept.drain(..surplus);
        self.kept = old.kept;
    }

    /// The newest.
    pub fn last(&self) -> Option<&Evaluation> {
        self.kept.back()
    }

    /// All of them, oldest first.
    pub fn all(&self) -> impl Iterator<Item = &Evaluation> {
        self.kept.iter()
    }

    /// The system's clock was set.
    pub fn clock_stepped(&mut self, by_millis: i64) {
        self.kept.iter_mut().for_each(|kept| kept.at = kept.at.shifted(by_millis));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_kept_and_rules_share_the_room() {
        let mut ring = Ring::among(limits::EVALUATIONS_IN_ALL);
        for second in 0..20 {
            let mut note = ring.blank();
            note.at = Timestamp::from_millis(second);
            ring.push(note);
        }
        let kept: Vec<i64> = ring.all().map(|kept| kept.at.as_millis()).collect();
        assert_eq!(kept, (20 - limits::EVALUATIONS_LEAST as i64..20).collect::<Vec<_>>());
        assert_eq!(Ring::among(1).room, limits::EVALUATIONS_PER_RULE);
        let mut wide = Ring::among(1);
        wide.inherit(ring);
        assert_eq!(wide.last().map(|kept| kept.at.as_millis()), Some(19));
    }
}
