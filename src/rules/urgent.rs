//! Which rules read a series: the rules to evaluate at once when something urgent came in.
//!
//! An index from metric names to rules makes the question cheap; rules that read what those rules write come along, in
//! an order in which a writer is before its readers (where rules read each other in a circle, in the order of the files).

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap};

use super::inputs::Input;
use super::rule::Rule;
use super::spec::RuleSpec;
use crate::model::{Labels, Matcher, NAME, Word};

/// The number of a rule over all groups.
type Number = usize;

/// One selector of one rule. As many as fit 32 bits are many more than there is room for.
#[derive(Clone, Copy, Debug)]
struct Reader {
    rule: u32,
    query: u32,
    input: u32,
}

impl Reader {
    fn rule(self) -> Number {
        self.rule as Number
    }

    fn input(self, rule: &Rule) -> &Input {
        &rule.asked[self.query as usize].inputs.0[self.input as usize]
    }
}

/// The index.
#[derive(Debug, Default)]
pub(crate) struct Index {
    by_name: HashMap<Word, Vec<Reader>>,
    /// Selectors that may match more than a few listed names.
    unnamed: Vec<Reader>,
    /// For each rule: the rules that read what it writes.
    readers: Vec<Box<[u32]>>,
    /// For each rule: its place in the order of evaluation.
    rank: Vec<u32>,
    /// The rules by rank.
    order: Vec<u32>,
}

impl Index {
    /// Indexes all rules; their number is their place here.
    pub fn of(rules: &[&Rule]) -> Index {
        let mut index = Index::default();
        for (number, rule) in rules.iter().enumerate() {
            for (query, asked) in rule.asked.iter().enumerate() {
                for (input, what) in asked.inputs.0.iter().enumerate() {
                    index.add(Reader { rule: number as u32, query: query as u32, input: input as u32 }, what);
                }
            }
        }
        index.by_name.values_mut().for_each(Vec::shrink_to_fit);
        index.readers = rules.iter().map(|rule| index.readers_of(&Output::of(rule), rules)).collect();
        index.order = sort(&index.readers);
        index.rank = vec![0; rules.len()];
        for (rank, number) in index.order.iter().enumerate() {
            index.rank[*number as usize] = rank as u32;
        }
        index
    }

    fn add(&mut self, reader: Reader, input: &Input) {
        let name = input.matchers.iter().filter(|m| m.name == NAME).find_map(Matcher::listed_values);
        match name {
            Some(names) => names.iter().for_each(|name| self.by_name.entry(name.clone()).or_default().push(reader)),
            None => self.unnamed.push(reader),
        }
    }

    fn candidates(&self, name: &str) -> impl Iterator<Item = &Reader> {
        self.by_name.get(name).into_iter().flatten().chain(&self.unnamed)
    }

    fn readers_of(&self, output: &Output<'_>, rules: &[&Rule]) -> Box<[u32]> {
        let mut readers = BTreeSet::new();
        for name in output.names() {
            for reader in self.candidates(name) {
                let input = reader.input(rules[reader.rule()]);
                if output.may_be_read(name, &input.matchers) {
                    readers.insert(reader.rule);
                }
            }
        }
        readers.into_iter().collect()
    }

    /// Marks the ranks of the rules that read one of these series and want that sample, and of those that read what they write.
    pub fn affected<'a>(
        &self,
        rules: &dyn Fn(Number) -> &'a Rule,
        changed: &[(Labels, f64)],
        wants: &dyn Fn(usize, Number) -> bool,
        ranks: &mut BTreeSet<usize>,
    ) {
        let mut found = vec![false; self.rank.len()];
        let mut reached = Vec::new();
        for (sample, (labels, _)) in changed.iter().enumerate() {
            for reader in self.candidates(labels.name()) {
                if found[reader.rule()] || !wants(sample, reader.rule()) {
                    continue;
                }
                let input = reader.input(rules(reader.rule()));
                if input.matchers.iter().all(|matcher| matcher.matches_labels(labels)) {
                    found[reader.rule()] = true;
                    reached.push(reader.rule());
                }
            }
        }
        while let Some(number) = reached.pop() {
            ranks.insert(self.rank(number));
            for reader in self.readers[number].iter().map(|reader| *reader as Number) {
                if !std::mem::replace(&mut found[reader], true) {
                    reached.push(reader);
                }
            }
        }
    }

    /// The rules that write what a rule reads, and those that write what these read, and so on; without itself.
    pub fn writers(&self, number: Number) -> BTreeSet<Number> {
        let (mut found, mut reached) = (BTreeSet::new(), vec![number]);
        while let Some(reader) = reached.pop() {
            let writes = |writer: &Number| self.readers[*writer].contains(&(reader as u32)) && *writer != number;
            let new: Vec<Number> =
                (0..self.readers.len()).filter(writes).filter(|writer| found.insert(*writer)).collect();
            reached.extend(new);
        }
        found
    }

    /// The rank of a rule.
    pub fn rank(&self, number: Number) -> usize {
        self.rank[number] as usize
    }

    /// The rule of a rank.
    pub fn number(&self, rank: usize) -> Option<Number> {
        self.order.get(rank).map(|number| *number as Number)
    }
}

/// What is known beforehand of the series that a rule writes.
struct Output<'a> {
    names: &'static [&'static str],
    record: Option<&'a str>,
    labels: Vec<(&'a str, &'a str)>,
}

impl<'a> Output<'a> {
    fn of(rule: &'a Rule) -> Output<'a> {
        match &rule.spec {
            RuleSpec::Record(spec) => {
                let labels = spec.labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
                Output { names: &[], record: Some(spec.record.as_str()), labels }
            }
            RuleSpec::Alert(spec) => Output {
                names: &["ALERTS", "ALERTS_FOR_STATE"],
                record: None,
                labels: vec![("alertname", spec.alert.as_str())],
            },
            _ => Output { names: &[], record: None, labels: Vec::new() },
        }
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().copied().chain(self.record)
    }

    /// Whether a selector may match: labels that are only known at an evaluation do not speak against it.
    fn may_be_read(&self, name: &str, matchers: &[Matcher]) -> bool {
        matchers.iter().all(|matcher| {
            let known = self.labels.iter().find(|(label, _)| *label == matcher.name);
            match known {
                _ if matcher.name == NAME => matcher.matches(name),
                Some((_, value)) => matcher.matches(value),
                None => true,
            }
        })
    }
}

/// Writers before readers; of those that could come next the first in the files comes first.
fn sort(readers: &[Box<[u32]>]) -> Vec<u32> {
    let readers_of = |number: Number| readers[number].iter().map(|reader| *reader as Number);
    let mut waiting = vec![0_usize; readers.len()];
    for number in 0..readers.len() {
        readers_of(number).filter(|reader| *reader != number).for_each(|reader| waiting[reader] += 1);
    }
    let mut ready: BinaryHeap<Reverse<Number>> =
        (0..readers.len()).filter(|number| waiting[*number] == 0).map(Reverse).collect();
    let mut left: BTreeSet<Number> = (0..readers.len()).filter(|number| waiting[*number] > 0).collect();
    let mut order = Vec::with_capacity(readers.len());
    loop {
        // In a circle nobody is ready: the first of those that are left goes on.
        let Some(number) = ready.pop().map(|Reverse(number)| number).or_else(|| left.pop_first()) else {
            return order;
        };
        order.push(number as u32);
        for reader in readers_of(number).filter(|reader| *reader != number) {
            waiting[reader] = waiting[reader].saturating_sub(1);
            if waiting[reader] == 0 && left.remove(&reader) {
                ready.push(Reverse(reader));
            }
        }
    }
}
