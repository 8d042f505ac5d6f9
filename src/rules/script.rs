//! For tests: an evaluator that answers by a script, and a small world around the rules.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::evaluate::{Evaluate, Reading};
use super::{Outcome, Rules, Settings, Truth, parse_file};
use crate::model::{Labels, NAME};
use crate::promql::{Expr, Kind, SampleValue};
use crate::series::{Point, Store, View};
use crate::time::Timestamp;
use crate::yaml::SourceFile;

type Answers = HashMap<String, Result<Vec<(Labels, f64)>, String>>;

/// Answers by the name of the first selector of an expression; without an answer it reads the newest points.
#[derive(Clone, Default)]
pub(crate) struct Script {
    answers: Arc<Mutex<Answers>>,
    asked: Arc<Mutex<Vec<(String, Timestamp)>>>,
}

impl Evaluate for Script {
    fn instant(&self, view: &View, expr: &Arc<Expr>, at: Timestamp) -> Result<Vec<Reading>, String> {
        let mut found = None;
        expr.walk(&mut |node| match &node.kind {
            Kind::Selector(selector) if found.is_none() => found = Some(&**selector),
            Kind::Range(range) if found.is_none() => found = Some(&range.selector),
            _ => {}
        });
        let selector = found.ok_or("no selector")?;
        let name = selector.name().unwrap_or_default().to_owned();
        self.asked.lock().expect("asked").push((name.clone(), at));
        let answer = match self.answers.lock().expect("answers").get(&name) {
            Some(answer) => answer.clone()?,
            None => newest(view, &selector.matchers, at),
        };
        let reading = |(labels, value)| Reading { labels, value: SampleValue::Float(value) };
        Ok(answer.into_iter().map(reading).collect())
    }

    fn configure(&mut self, _lookback: Duration, _subquery_step: Duration) {}
}

fn newest(view: &View, matchers: &[crate::model::Matcher], at: Timestamp) -> Vec<(Labels, f64)> {
    let series = view.select(matchers, at - Duration::from_secs(300), at);
    let value = |series: crate::series::SeriesData| match series.points.last() {
        Some(Point::Float(_, value)) if !crate::model::is_stale_nan(*value) => Some((series.labels, *value)),
        _ => None,
    };
    series.into_iter().filter_map(value).collect()
}

/// Rules, their store, and what came out.
pub(crate) struct World {
    pub rules: Rules,
    pub store: Store,
    pub script: Script,
    pub now: Timestamp,
    pub out: Vec<Outcome>,
    /// The last value of a trigger.
    told: f64,
}

/// Settings with the groups of one file.
pub(crate) fn settings(yaml: &str) -> Settings {
    let (groups, problems) = parse_file(&SourceFile::new("r.yaml", yaml));
    let groups = groups.unwrap_or_else(|| panic!("{problems:?}"));
    Settings { groups, external_url: "http://b".into(), ..Settings::default() }
}

impl World {
    pub fn new(yaml: &str) -> World {
        World::at(yaml, Timestamp::from_millis(1_000_000))
    }

    pub fn at(yaml: &str, now: Timestamp) -> World {
        let script = Script::default();
        let rules = Rules::with_evaluator(settings(yaml), Box::new(script.clone()), now);
        World { rules, store: Store::default(), script, now, out: Vec::new(), told: 0.0 }
    }

    /// What expressions about `name` give from now on: `label` pairs and a value each.
    pub fn answer(&self, name: &str, answer: Result<&[(&str, f64)], &str>) {
        let element = |(letter, value): &(&str, f64)| (Labels::from_pairs([(NAME, name), ("l", letter)]), *value);
        let answer = answer.map(|list| list.iter().map(element).collect()).map_err(str::to_owned);
        self.script.answers.lock().expect("answers").insert(name.to_owned(), answer);
    }

    /// Appends a sample at the present time.
    pub fn append(&mut self, name: &str, value: f64) {
        self.store.append(&Labels::named(name), self.now, value);
    }

    /// Goes to the next deadline and evaluates what is due; gives what came out.
    pub fn step(&mut self) -> Vec<Outcome> {
        self.now = self.rules.next_deadline().expect("a deadline");
        self.out.clear();
        self.rules.evaluate_due(self.now, &mut self.store, &mut self.out);
        self.out.clone()
    }

    /// Tells of a series that changed.
    pub fn trigger(&mut self, name: &str) -> Vec<Outcome> {
        self.told += 1.0;
        self.tell(name, self.told)
    }

    /// Tells of a value of a series.
    pub fn tell(&mut self, name: &str, value: f64) -> Vec<Outcome> {
        self.out.clear();
        let changed = [(Labels::named(name), value)];
        self.rules.triggered(self.now, &changed, &mut self.store, &mut self.out);
        self.out.clone()
    }

    /// The expressions asked since the last call, by name, in order.
    pub fn asked(&self) -> Vec<String> {
        self.script.asked.lock().expect("asked").drain(..).map(|(name, _)| name).collect()
    }

    /// When the expressions since the last call were asked.
    pub fn asked_at(&self) -> Vec<Timestamp> {
        self.script.asked.lock().expect("asked").drain(..).map(|(_, at)| at).collect()
    }

    /// The points of all series with this name: `labels time value`, time in milliseconds since `self.now`.
    pub fn points(&self, name: &str) -> Vec<String> {
        let matcher = crate::model::Matcher::equal(NAME, name);
        let mut lines = Vec::new();
        for series in self.store.view().select(&[matcher], Timestamp::ZERO, Timestamp::MAX) {
            for point in &series.points {
                let Point::Float(at, value) = point else { continue };
                let ago = at.as_millis() - self.now.as_millis();
                let value = if crate::model::is_stale_nan(*value) { "stale".into() } else { value.to_string() };
                lines.push(format!("{} {ago} {value}", series.labels));
            }
        }
        lines
    }

    /// The alerts that were told: `labels.l:state`.
    pub fn told(&self) -> Vec<String> {
        let told = |outcome: &Outcome| match outcome {
            Outcome::Alert(event) => Some(format!("{}:{}", event.labels.value("l"), event.state.as_str())),
            Outcome::Judged(_) => None,
        };
        self.out.iter().filter_map(told).collect()
    }

    /// The truths of the conditions that were judged.
    pub fn truths(&self) -> Vec<&'static str> {
        self.conditions().iter().map(Truth::as_str).collect()
    }

    /// What the conditions of action rules said in the last step.
    pub fn conditions(&self) -> Vec<Truth> {
        let truths = |outcome: &Outcome| match outcome {
            Outcome::Alert(_) => Vec::new(),
            Outcome::Judged(judgement) => judgement.conditions.iter().map(|c| c.truth.clone()).collect(),
        };
        self.out.iter().flat_map(truths).collect()
    }
}
