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

/// A ring grows by so many places.
const STEP: usize = 8;

/// An evaluation as it is kept: most find nothing, and there are many thousands of them.
#[derive(Debug)]
struct Kept {
    at: Timestamp,
    /// In microseconds; more than an hour is shown as what fits.
    took: u32,
    urgent: bool,
    /// Whether there is a [`More`] of it.
    more: bool,
}

/// What only an evaluation has that found something, or of which there is something else to say.
#[derive(Debug)]
struct More {
    elements: u32,
    written: u32,
    alerts: u32,
    values: Box<[(Labels, f64)]>,
    error: Option<Box<str>>,
}

/// Of those evaluations in a ring that have more to say, what it is, oldest first.
#[derive(Debug, Default)]
struct Said(VecDeque<More>);

fn split(evaluation: Evaluation) -> (Kept, Option<More>) {
    let Evaluation { at, urgent, took, elements, written, alerts, values, error } = evaluation;
    let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let worth = elements + written + alerts > 0 || !values.is_empty() || error.is_some();
    let more = || More {
        elements: count(elements),
        written: count(written),
        alerts: count(alerts),
        values: values.into(),
        error: error.map(String::into_boxed_str),
    };
    (Kept { at, took: u32::try_from(took.as_micros()).unwrap_or(u32::MAX), urgent, more: worth }, worth.then(more))
}

fn shown(kept: &Kept, more: Option<&More>) -> Evaluation {
    let count = |of: fn(&More) -> u32| more.map_or(0, of) as usize;
    Evaluation {
        at: kept.at,
        urgent: kept.urgent,
        took: Duration::from_micros(kept.took.into()),
        elements: count(|more| more.elements),
        written: count(|more| more.written),
        alerts: count(|more| more.alerts),
        values: more.map(|more| more.values.to_vec()).unwrap_or_default(),
        error: more.and_then(|more| more.error.as_deref()).map(str::to_owned),
    }
}

/// The last evaluations, oldest first; as many as there is room for.
#[derive(Debug)]
pub(crate) struct Ring {
    kept: VecDeque<Kept>,
    said: Option<Box<Said>>,
    room: usize,
}

impl Ring {
    /// For one of `rules` rules: they share the room there is.
    pub fn among(rules: usize) -> Ring {
        let share = limits::EVALUATIONS_IN_ALL / rules.max(1);
        let room = share.clamp(limits::EVALUATIONS_LEAST, limits::EVALUATIONS_PER_RULE);
        Ring { kept: VecDeque::new(), said: None, room }
    }

    /// Keeps an evaluation, instead of the oldest when the ring is full.
    pub fn push(&mut self, evaluation: Evaluation) {
        if self.kept.len() >= self.room {
            self.drop_oldest();
        } else if self.kept.len() == self.kept.capacity() {
            // Small rings are given just the room that they need.
            self.kept.reserve_exact((self.room - self.kept.len()).min(STEP));
        }
        let (kept, more) = split(evaluation);
        self.kept.push_back(kept);
        if let Some(more) = more {
            self.said.get_or_insert_default().0.push_back(more);
        }
    }

    fn drop_oldest(&mut self) {
        if !self.kept.pop_front().is_some_and(|oldest| oldest.more) {
            return;
        }
        if let Some(said) = &mut self.said {
            said.0.pop_front();
            if said.0.is_empty() {
                self.said = None;
            }
        }
    }

    /// Takes over what another ring has, as far as there is room.
    pub fn inherit(&mut self, mut old: Ring) {
        while old.kept.len() > self.room {
            old.drop_oldest();
        }
        *self = Ring { room: self.room, ..old };
    }

    /// How long the newest took.
    pub fn last_took(&self) -> Option<Duration> {
        self.kept.back().map(|kept| Duration::from_micros(kept.took.into()))
    }

    /// All of them, oldest first.
    pub fn all(&self) -> impl Iterator<Item = Evaluation> {
        let mut said = self.said.iter().flat_map(|said| &said.0);
        self.kept.iter().map(move |kept| shown(kept, if kept.more { said.next() } else { None }))
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
            ring.push(Evaluation { at: Timestamp::from_millis(second), ..Evaluation::default() });
        }
        let kept: Vec<i64> = ring.all().map(|kept| kept.at.as_millis()).collect();
        assert_eq!(kept, (20 - limits::EVALUATIONS_LEAST as i64..20).collect::<Vec<_>>());
        assert_eq!(Ring::among(1).room, limits::EVALUATIONS_PER_RULE);
        let mut wide = Ring::among(1);
        wide.inherit(ring);
        assert_eq!(wide.all().last().map(|kept| kept.at.as_millis()), Some(19));
    }

    #[test]
    fn what_was_found_comes_back() {
        let quiet = Evaluation { at: Timestamp::from_millis(1), elements: 3, ..Evaluation::default() };
        let found = Evaluation {
            at: Timestamp::from_millis(2),
            urgent: true,
            took: Duration::from_micros(17),
            elements: 4,
            written: 2,
            alerts: 1,
            values: vec![(Labels::named("up"), 1.0)],
            error: Some("why".to_owned()),
        };
        let mut ring = Ring::among(1);
        ring.push(quiet.clone());
        ring.push(found.clone());
        assert_eq!(ring.last_took(), Some(found.took));
        assert_eq!(ring.all().collect::<Vec<_>>(), [quiet.clone(), found.clone()]);
        let mut narrow = Ring { room: 3, ..Ring::among(1) };
        for evaluation in [&found, &quiet, &Evaluation::default(), &found, &quiet] {
            narrow.push(evaluation.clone());
        }
        assert_eq!(narrow.all().collect::<Vec<_>>(), [Evaluation::default(), found, quiet]);
    }
}
