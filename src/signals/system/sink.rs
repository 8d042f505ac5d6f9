//! Where a collector puts its values, and the memory of its series.
//!
//! A collector gives names and label values as texts each time; the sink finds the [`Labels`] built for them before. As
//! kernel files keep their order, the series expected next is nearly always the right one, so a steady host costs one
//! comparison a value and no allocation. A series given twice in one run counts once, the first time.

use std::collections::{HashMap, HashSet};
use std::hash::BuildHasherDefault;
use std::sync::Arc;

use crate::limits;
use crate::model::{Labels, LabelsBuilder, MetricKind, MetricMeta, NAME, PassThrough};

/// A metric family that is known when the program is built.
pub(crate) struct Family {
    pub(crate) name: &'static str,
    pub(crate) kind: MetricKind,
    pub(crate) help: &'static str,
}

impl Family {
    /// A family of counters.
    pub(crate) const fn counter(name: &'static str, help: &'static str) -> Family {
        Family { name, kind: MetricKind::Counter, help }
    }

    /// A family of gauges.
    pub(crate) const fn gauge(name: &'static str, help: &'static str) -> Family {
        Family { name, kind: MetricKind::Gauge, help }
    }
}

/// One series: what it is called, and its last value.
struct Entry {
    key: Arc<[u8]>,
    labels: Labels,
    value: f64,
    /// The run that gave the value.
    run: u64,
}

/// See the head of this file.
pub(crate) struct Sink {
    base: LabelsBuilder,
    entries: Vec<Entry>,
    index: HashMap<Arc<[u8]>, usize, BuildHasherDefault<PassThrough>>,
    families: HashSet<Box<str>>,
    unannounced: Vec<MetricMeta>,
    scratch: Vec<u8>,
    /// Where the next value is expected.
    next: usize,
    run: u64,
    live: usize,
    refused: usize,
}

impl Sink {
    /// A sink whose series all carry these labels.
    pub(crate) fn new(base: &Labels) -> Sink {
        Sink {
            base: base.to_builder(),
            entries: Vec::new(),
            index: HashMap::default(),
            families: HashSet::new(),
            unannounced: Vec::new(),
            scratch: Vec::new(),
            next: 0,
            run: 0,
            live: 0,
            refused: 0,
        }
    }

    /// Begins a run: what was given before no longer counts.
    pub(crate) fn begin(&mut self) {
        if self.entries.len() > 64 + 2 * self.live {
            self.forget_ended();
        }
        self.run += 1;
        self.next = 0;
        self.live = 0;
    }

    /// Gives one value of a family.
    pub(crate) fn put(&mut self, family: &Family, labels: &[(&str, &str)], value: f64) {
        self.put_as(&[family.name], family.kind, &[family.help], labels, value);
    }

    /// Gives one value of a family whose name and help are put together from parts.
    pub(crate) fn put_as(
        &mut self,
        name: &[&str],
        kind: MetricKind,
        help: &[&str],
        labels: &[(&str, &str)],
        value: f64,
    ) {
        let expected = self.entries.get(self.next).is_some_and(|entry| is_key(&entry.key, name, labels));
        let at = if expected { Some(self.next) } else { self.find(name, labels) };
        let at = match at {
            Some(at) => at,
            None => match self.add(name, kind, help, labels) {
                Some(at) => at,
                None => {
                    self.refused += 1;
                    return;
                }
            },
        };
        let entry = &mut self.entries[at];
        if entry.run != self.run {
            entry.run = self.run;
            entry.value = value;
            self.live += 1;
        }
        self.next = at + 1;
    }

    /// Adds the values of the last run to a batch.
    pub(crate) fn emit(&self, samples: &mut Vec<(Labels, f64)>) {
        let now = self.entries.iter().filter(|entry| entry.run == self.run);
        samples.extend(now.map(|entry| (entry.labels.clone(), entry.value)));
    }

    /// Families that were not announced yet.
    pub(crate) fn take_meta(&mut self, meta: &mut Vec<MetricMeta>) {
        meta.append(&mut self.unannounced);
    }

    /// How many values were refused since the last call: too many series, or labels too long.
    pub(crate) fn take_refused(&mut self) -> usize {
        std::mem::take(&mut self.refused)
    }

    fn find(&mut self, name: &[&str], labels: &[(&str, &str)]) -> Option<usize> {
        self.scratch.clear();
        write_key(&mut self.scratch, name, labels);
        self.index.get(self.scratch.as_slice()).copied()
    }

    fn add(&mut self, name: &[&str], kind: MetricKind, help: &[&str], labels: &[(&str, &str)]) -> Option<usize> {
        if self.live >= limits::COLLECTOR_SERIES || self.scratch.len() > limits::LABELS_BYTES {
            return None;
        }
        if self.entries.len() >= 2 * limits::COLLECTOR_SERIES {
            self.forget_ended();
        }
        let name = name.concat();
        let mut builder = self.base.clone();
        for (label, value) in labels {
            builder.set(label, value);
        }
        builder.set(NAME, &name);
        let key: Arc<[u8]> = self.scratch.as_slice().into();
        self.index.insert(key.clone(), self.entries.len());
        self.entries.push(Entry { key, labels: builder.build(), value: 0.0, run: 0 });
        if self.families.insert(name.as_str().into()) {
            let help = help.concat().into();
            self.unannounced.push(MetricMeta { family: name.into(), kind, help, unit: "".into() });
        }
        Some(self.entries.len() - 1)
    }

    fn forget_ended(&mut self) {
        let run = self.run;
        self.entries.retain(|entry| entry.run == run);
        self.index = self.entries.iter().enumerate().map(|(at, entry)| (entry.key.clone(), at)).collect();
    }
}

/// No byte of UTF-8 text, so it separates the parts of a key.
const BREAK: u8 = 0xff;

fn write_key(key: &mut Vec<u8>, name: &[&str], labels: &[(&str, &str)]) {
    for part in name {
        key.extend_from_slice(part.as_bytes());
    }
    for (label, value) in labels {
        key.push(BREAK);
        key.extend_from_slice(label.as_bytes());
        key.push(BREAK);
        key.extend_from_slice(value.as_bytes());
    }
}

fn is_key(mut key: &[u8], name: &[&str], labels: &[(&str, &str)]) -> bool {
    let mut step = |part: &[u8]| match key.strip_prefix(part) {
        Some(rest) => {
            key = rest;
            true
        }
        None => false,
    };
    let matches = name.iter().all(|part| step(part.as_bytes()))
        && labels
            .iter()
            .all(|(label, value)| step(&[BREAK]) && step(label.as_bytes()) && step(&[BREAK]) && step(value.as_bytes()));
    matches && key.is_empty()
}

/// For the tests of collectors: what `give` puts, each as `name{labels} value`.
#[cfg(test)]
pub(crate) fn lines_of(give: impl FnOnce(&mut Sink)) -> Vec<String> {
    let mut sink = Sink::new(&Labels::empty());
    sink.begin();
    give(&mut sink);
    let mut samples = Vec::new();
    sink.emit(&mut samples);
    samples.iter().map(|(labels, value)| format!("{labels} {value}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Family = Family::gauge("a", "First.");
    const B: Family = Family::counter("b_total", "Second.");

    fn run(sink: &mut Sink, values: &[(&Family, &str, f64)]) -> Vec<String> {
        sink.begin();
        for (family, device, value) in values {
            sink.put(family, &[("device", device)], *value);
        }
        let mut samples = Vec::new();
        sink.emit(&mut samples);
        samples.iter().map(|(labels, value)| format!("{labels} {value}")).collect()
    }

    #[test]
    fn series_come_go_and_return_with_the_same_labels() {
        let mut sink = Sink::new(&Labels::from_pairs([("job", "node")]));
        let all = [(&A, "x", 1.0), (&B, "x", 2.0), (&A, "y", 3.0)];
        let expected = [
            r#"a{device="x", job="node"} 1"#,
            r#"b_total{device="x", job="node"} 2"#,
            r#"a{device="y", job="node"} 3"#,
        ];
        assert_eq!(run(&mut sink, &all), expected);
        assert_eq!(run(&mut sink, &[(&A, "y", 4.0)]), [r#"a{device="y", job="node"} 4"#]);
        assert_eq!(run(&mut sink, &[all[2], all[0], all[1]]).len(), 3);
        assert_eq!(run(&mut sink, &all), expected);
    }

    #[test]
    fn one_series_given_twice_counts_once() {
        let mut sink = Sink::new(&Labels::empty());
        assert_eq!(run(&mut sink, &[(&A, "x", 1.0), (&A, "x", 2.0)]), [r#"a{device="x"} 1"#]);
    }

    #[test]
    fn keys_do_not_run_into_each_other() {
        let mut sink = Sink::new(&Labels::empty());
        let values = [(&A, "x", 1.0), (&A, "xy", 2.0), (&A, "", 3.0)];
        assert_eq!(run(&mut sink, &values), [r#"a{device="x"} 1"#, r#"a{device="xy"} 2"#, "a 3"]);
        assert_eq!(run(&mut sink, &[values[1], values[0]]).len(), 2);
    }

    #[test]
    fn each_family_is_announced_once() {
        let mut sink = Sink::new(&Labels::empty());
        run(&mut sink, &[(&A, "x", 1.0), (&A, "y", 2.0), (&B, "x", 2.0)]);
        let mut meta = Vec::new();
        sink.take_meta(&mut meta);
        assert_eq!(meta.iter().map(|m| &*m.family).collect::<Vec<_>>(), ["a", "b_total"]);
        run(&mut sink, &[(&A, "z", 1.0)]);
        sink.take_meta(&mut meta);
        assert_eq!(meta.len(), 2);
    }

    #[test]
    fn ended_series_are_forgotten_and_too_many_are_refused() {
        let mut sink = Sink::new(&Labels::empty());
        let names: Vec<String> = (0..=limits::COLLECTOR_SERIES).map(|i| i.to_string()).collect();
        let all: Vec<_> = names.iter().map(|name| (&A, name.as_str(), 0.0)).collect();
        assert_eq!(run(&mut sink, &all).len(), limits::COLLECTOR_SERIES);
        assert_eq!(sink.take_refused(), 1);
        run(&mut sink, &all[..1]);
        run(&mut sink, &all[..1]);
        assert_eq!(sink.entries.len(), 1);
    }
}
