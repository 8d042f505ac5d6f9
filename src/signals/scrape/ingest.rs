//! From one body to one batch, for one target: what Prometheus' `scrapeLoop.append` and its scrape cache do.
//!
//! The cache maps the raw text of a series (name and labels as the target writes them) to its final labels, after
//! `honor_labels` and `metric_relabel_configs`. A body whose series are the same, in the same order, as in the last scrape
//! costs one hash per sample, and builds no labels.
//!
//! The first sample of a series wins; a second one is counted and dropped, as in Prometheus.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashTable;

use super::parse::{Entry, Format, ParseError, Parser, series_labels};
use super::settings::Settings;
use super::spellings::{Spellings, tidy};
use crate::model::{Labels, LabelsBuilder, MetricKind, MetricMeta, Relabel, relabel};
use crate::time::Timestamp;

/// Samples further ahead of us than this are refused, as in Prometheus.
const AHEAD: Duration = Duration::from_secs(10 * 60);
/// So many rounds after the last new series the table that is needed for new ones is given back.
const SETTLED: u32 = 10;
/// Cached series past twice the last good scrape's plus this are thrown away even if no scrape succeeds.
const SPARE: usize = 1_000;

/// Why a body was refused as a whole.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IngestError {
    #[error("the exposition is malformed: {0}")]
    Parse(#[from] ParseError),
    #[error("metric_relabel_configs took the name of the series {0}")]
    NameLost(String),
    #[error("there are {found} samples after relabelling, sample_limit is {limit}")]
    SampleLimit { found: usize, limit: usize },
    #[error("{what} of the series {series} is {found}, the limit is {limit}")]
    LabelLimit { what: &'static str, series: String, found: usize, limit: usize },
}

/// What a body came to, as far as it was read.
#[derive(Debug, Default)]
pub struct Ingested {
    pub samples: Vec<(Labels, f64)>,
    pub timed: Vec<(Labels, Timestamp, f64)>,
    pub meta: Vec<MetricMeta>,
    /// `scrape_samples_scraped`.
    pub scraped: usize,
    /// `scrape_samples_post_metric_relabeling`.
    pub kept: usize,
    /// `scrape_series_added`.
    pub added: usize,
    /// Samples of a series that had one already.
    pub duplicates: usize,
    /// Samples with a time too far ahead.
    pub ahead: usize,
    pub error: Option<IngestError>,
}

/// The memory of one target.
#[derive(Debug)]
pub struct Ingest {
    settings: Arc<Settings>,
    steps: Arc<Vec<Relabel>>,
    target: Labels,
    spellings: Spellings,
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// Slots by their labels; only while new series come.
    by_labels: Option<HashTable<u32>>,
    /// The round in which a series came last.
    grew: u32,
    /// Spellings in the order of the last body.
    order: Vec<u32>,
    families: HashMap<String, Family>,
    round: u32,
    /// Cached texts after the last good body.
    settled: usize,
}

#[derive(Debug)]
struct Slot {
    /// `None`: dropped by relabelling.
    labels: Option<Labels>,
    /// The round in which the text was met last.
    met: u32,
    /// The round in which a sample without a time of its own was taken last.
    sampled: u32,
}

#[derive(Debug)]
struct Family {
    meta: MetricMeta,
    met: u32,
}

impl Ingest {
    /// Starts with nothing cached. `target` is what each series carries, `steps` are the `metric_relabel_configs`.
    pub fn new(settings: Arc<Settings>, steps: Arc<Vec<Relabel>>, target: Labels) -> Ingest {
        Ingest {
            settings,
            steps,
            target,
            spellings: Spellings::default(),
            slots: Vec::new(),
            free: Vec::new(),
            by_labels: None,
            grew: 0,
            order: Vec::new(),
            families: HashMap::new(),
            round: 0,
            settled: 0,
        }
    }

    /// Reads a body. On an error the samples are empty, and the counts say how far it came.
    pub fn read(&mut self, format: Format, body: &[u8], now: Timestamp) -> Ingested {
        self.round = self.round.wrapping_add(1).max(1);
        // The caller adds a few of its own.
        let mut out = Ingested { samples: Vec::with_capacity(self.order.len() + 8), ..Ingested::default() };
        let result = self.read_entries(format, body, now, &mut out).and_then(|()| match self.settings.sample_limit {
            limit if limit > 0 && out.kept > limit => Err(IngestError::SampleLimit { found: out.kept, limit }),
            _ => Ok(()),
        });
        match result {
            Ok(()) => self.forget_unmet(),
            Err(error) => {
                out.samples.clear();
                out.timed.clear();
                out.meta.clear();
                out.error = Some(error);
                if self.spellings.len() > self.settled * 2 + SPARE {
                    self.forget_unmet();
                }
            }
        }
        out
    }

    fn read_entries(
        &mut self,
        format: Format,
        body: &[u8],
        now: Timestamp,
        out: &mut Ingested,
    ) -> Result<(), IngestError> {
        let mut parser = Parser::new(format, body);
        let mut position = 0;
        while let Some(entry) = parser.next_entry()? {
            let sample = match entry {
                Entry::Sample(sample) => sample,
                Entry::Type(family, kind) => {
                    self.describe(format, &family, out, |meta| std::mem::replace(&mut meta.kind, kind) != kind);
                    continue;
                }
                Entry::Help(family, text) => {
                    self.describe(format, &family, out, |meta| replace_text(&mut meta.help, &text));
                    continue;
                }
                Entry::Unit(family, unit) => {
                    self.describe(format, &family, out, |meta| replace_text(&mut meta.unit, unit));
                    continue;
                }
            };
            out.scraped += 1;
            let (index, new) = self.slot(&parser, sample.series, position)?;
            position += 1;
            let slot = &mut self.slots[index as usize];
            slot.met = self.round;
            let Some(labels) = &slot.labels else { continue };
            out.kept += 1;
            if self.settings.sample_limit > 0 && out.kept > self.settings.sample_limit {
                continue;
            }
            match sample.at.filter(|_| self.settings.honor_timestamps) {
                Some(at) if at > now + AHEAD => out.ahead += 1,
                Some(at) => out.timed.push((labels.clone(), at, sample.value)),
                None if slot.sampled == self.round => out.duplicates += 1,
                None => {
                    slot.sampled = self.round;
                    out.samples.push((labels.clone(), sample.value));
                }
            }
            out.added += usize::from(new);
        }
        self.order.truncate(position);
        Ok(())
    }

    /// The slot of a series by its raw text, and whether it is new.
    fn slot(&mut self, parser: &Parser<'_>, series: &[u8], position: usize) -> Result<(u32, bool), IngestError> {
        let key = self.spellings.key(series);
        if let Some(spelling) = self.order.get(position)
            && self.spellings.is(*spelling, key)
        {
            return Ok((self.spellings.slot(*spelling), false));
        }
        if let Some(spelling) = self.spellings.find(key) {
            self.remember_order(position, spelling);
            return Ok((self.spellings.slot(spelling), false));
        }
        let mut labels = LabelsBuilder::new();
        series_labels(series, parser.kind(), &mut labels).map_err(|reason| parser.error(reason, series))?;
        let labels = self.final_labels(labels)?;
        self.grew = self.round;
        let known = labels.as_ref().and_then(|labels| self.slot_of(labels));
        let slot = known.unwrap_or_else(|| self.take_slot(labels));
        let spelling = self.spellings.insert(key, slot);
        self.remember_order(position, spelling);
        Ok((slot, known.is_none()))
    }

    fn remember_order(&mut self, position: usize, spelling: u32) {
        match self.order.get_mut(position) {
            Some(place) => *place = spelling,
            None => self.order.push(spelling),
        }
    }

    /// The slot that has these labels.
    fn slot_of(&mut self, labels: &Labels) -> Option<u32> {
        let slots = &self.slots;
        let table = self.by_labels.get_or_insert_with(|| {
            let mut table = HashTable::with_capacity(slots.len() - self.free.len());
            for (index, slot) in slots.iter().enumerate() {
                if let Some(labels) = &slot.labels {
                    table.insert_unique(labels.hash64(), index as u32, |slot| hash_of(slots, *slot));
                }
            }
            table
        });
        table.find(labels.hash64(), |slot| slots[*slot as usize].labels.as_ref() == Some(labels)).copied()
    }

    fn take_slot(&mut self, labels: Option<Labels>) -> u32 {
        let hash = labels.as_ref().map(Labels::hash64);
        let slot = Slot { labels, met: 0, sampled: 0 };
        let index = match self.free.pop() {
            Some(index) => {
                self.slots[index as usize] = slot;
                index
            }
            None => {
                self.slots.push(slot);
                (self.slots.len() - 1) as u32
            }
        };
        if let (Some(hash), Some(table)) = (hash, &mut self.by_labels) {
            let slots = &self.slots;
            table.insert_unique(hash, index, |slot| hash_of(slots, *slot));
        }
        index
    }

    /// Prometheus' `mutateSampleLabels`; `None` when relabelling drops the series.
    fn final_labels(&self, mut labels: LabelsBuilder) -> Result<Option<Labels>, IngestError> {
        if self.settings.honor_labels {
            for (name, value) in &self.target {
                if labels.value(name).is_empty() {
                    labels.set(name, value);
                }
            }
        } else {
            let mut conflicts: Vec<(String, String)> = Vec::new();
            for (name, value) in &self.target {
                if !labels.value(name).is_empty() {
                    conflicts.push((name.to_owned(), labels.value(name).to_owned()));
                }
                labels.set(name, value);
            }
            conflicts.sort_by_key(|(name, _)| name.len());
            for (name, value) in conflicts {
                let mut renamed = format!("exported_{name}");
                while !labels.value(&renamed).is_empty() {
                    renamed.insert_str(0, "exported_");
                }
                labels.set(&renamed, &value);
            }
        }
        let before = (!self.steps.is_empty()).then(|| labels.build());
        if !relabel(&self.steps, &mut labels) {
            return Ok(None);
        }
        let labels = labels.build();
        if labels.is_empty() {
            return Ok(None);
        }
        if labels.name().is_empty() {
            return Err(IngestError::NameLost(before.unwrap_or_default().to_string()));
        }
        self.check_limits(&labels)?;
        Ok(Some(labels))
    }

    fn check_limits(&self, labels: &Labels) -> Result<(), IngestError> {
        let check = |what: &'static str, found: usize, limit: usize| match limit > 0 && found > limit {
            true => Err(IngestError::LabelLimit { what, series: labels.to_string(), found, limit }),
            false => Ok(()),
        };
        check("the number of labels", labels.len(), self.settings.label_limit)?;
        for (name, value) in labels {
            check("the length of a label's name", name.len(), self.settings.label_name_length_limit)?;
            check("the length of a label's value", value.len(), self.settings.label_value_length_limit)?;
        }
        Ok(())
    }

    /// Notes one fact about a family; what changed goes into the batch.
    fn describe(
        &mut self,
        format: Format,
        family: &str,
        out: &mut Ingested,
        set: impl FnOnce(&mut MetricMeta) -> bool,
    ) {
        let round = self.round;
        if !self.families.contains_key(family) {
            let name =
                MetricMeta { family: family.into(), kind: MetricKind::Unknown, help: "".into(), unit: "".into() };
            self.families.insert(family.to_owned(), Family { meta: name, met: 0 });
        }
        let Some(known) = self.families.get_mut(family) else { return };
        let new = known.met == 0;
        known.met = round;
        if set(&mut known.meta) || new {
            let mut meta = known.meta.clone();
            if format == Format::OpenMetrics && meta.kind == MetricKind::Counter && !family.ends_with("_total") {
                meta.family = format!("{family}_total").into();
            }
            // TYPE, HELP and UNIT of one family follow each other: one entry for all three.
            let bare = |name: &str| {
                name.strip_suffix("_total").unwrap_or(name) == family.strip_suffix("_total").unwrap_or(family)
            };
            match out.meta.last_mut().filter(|last| bare(&last.family)) {
                Some(last) => *last = meta,
                None => out.meta.push(meta),
            }
        }
    }

    fn forget_unmet(&mut self) {
        let round = self.round;
        let slots = &mut self.slots;
        if slots.len() > self.free.len() + slots.iter().filter(|slot| slot.met == round).count() {
            let spellings = &self.spellings;
            self.order.retain(|spelling| slots[spellings.slot(*spelling) as usize].met == round);
            self.spellings.retain(|slot| slots[slot as usize].met == round);
            if let Some(table) = &mut self.by_labels {
                table.retain(|slot| slots[*slot as usize].met == round);
            }
            for (index, slot) in slots.iter_mut().enumerate().filter(|(_, slot)| slot.met != 0 && slot.met != round) {
                (slot.labels, slot.met) = (None, 0);
                self.free.push(index as u32);
            }
        }
        self.by_labels.take_if(|_| round.wrapping_sub(self.grew) > SETTLED);
        self.families.retain(|_, family| family.met == round);
        self.settled = self.spellings.len();
        tidy(&mut self.slots);
        tidy(&mut self.order);
        self.spellings.tidy();
    }
}

fn hash_of(slots: &[Slot], slot: u32) -> u64 {
    slots[slot as usize].labels.as_ref().map_or(0, Labels::hash64)
}

fn replace_text(place: &mut Arc<str>, text: &str) -> bool {
    let changed = **place != *text;
    if changed {
        *place = text.into();
    }
    changed
}

#[cfg(test)]
mod tests;
