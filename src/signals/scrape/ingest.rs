//! From one body to one batch, for one target: what Prometheus' `scrapeLoop.append` and its scrape cache do.
//!
//! The cache maps the raw text of a series (name and labels as the target writes them) to its final labels, after
//! `honor_labels` and `metric_relabel_configs`. A body whose series are the same, in the same order, as in the last scrape
//! costs one comparison of bytes per sample, and builds no labels.
//!
//! The first sample of a series wins; a second one is counted and dropped, as in Prometheus.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::parse::{Entry, Format, ParseError, Parser, series_labels};
use super::settings::Settings;
use crate::model::{Labels, LabelsBuilder, LabelsMap, MetricKind, MetricMeta, Relabel, relabel};
use crate::time::Timestamp;

/// Samples further ahead of us than this are refused, as in Prometheus.
const AHEAD: Duration = Duration::from_secs(10 * 60);
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
    by_text: HashMap<Arc<[u8]>, usize>,
    by_labels: LabelsMap<usize>,
    slots: Vec<Slot>,
    free: Vec<usize>,
    /// Series in the order of the last body.
    order: Vec<(Arc<[u8]>, usize)>,
    families: HashMap<String, Family>,
    round: u64,
    /// Cached texts after the last good body.
    settled: usize,
}

#[derive(Debug)]
struct Slot {
    /// `None`: dropped by relabelling.
    labels: Option<Labels>,
    /// The round in which the text was met last.
    met: u64,
    /// The round in which a sample without a time of its own was taken last.
    sampled: u64,
}

#[derive(Debug)]
struct Family {
    meta: MetricMeta,
    met: u64,
}

impl Ingest {
    /// Starts with nothing cached. `target` is what each series carries, `steps` are the `metric_relabel_configs`.
    pub fn new(settings: Arc<Settings>, steps: Arc<Vec<Relabel>>, target: Labels) -> Ingest {
        Ingest {
            settings,
            steps,
            target,
            by_text: HashMap::new(),
            by_labels: LabelsMap::default(),
            slots: Vec::new(),
            free: Vec::new(),
            order: Vec::new(),
            families: HashMap::new(),
            round: 0,
            settled: 0,
        }
    }

    /// Reads a body. On an error the samples are empty, and the counts say how far it came.
    pub fn read(&mut self, format: Format, body: &[u8], now: Timestamp) -> Ingested {
        self.round += 1;
        let mut out = Ingested { samples: Vec::with_capacity(self.order.len()), ..Ingested::default() };
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
                if self.by_text.len() > self.settled * 2 + SPARE {
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
            let slot = &mut self.slots[index];
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
    fn slot(&mut self, parser: &Parser<'_>, series: &[u8], position: usize) -> Result<(usize, bool), IngestError> {
        if let Some((text, slot)) = self.order.get(position)
            && **text == *series
        {
            return Ok((*slot, false));
        }
        if let Some((text, slot)) = self.by_text.get_key_value(series) {
            let (text, slot) = (Arc::clone(text), *slot);
            self.remember_order(position, text, slot);
            return Ok((slot, false));
        }
        let mut labels = LabelsBuilder::new();
        series_labels(series, parser.kind(), &mut labels).map_err(|reason| parser.error(reason, series))?;
        let labels = self.final_labels(labels)?;
        let known = labels.as_ref().and_then(|labels| self.by_labels.get(labels)).copied();
        let index = known.unwrap_or_else(|| self.take_slot(labels));
        let text: Arc<[u8]> = series.into();
        self.by_text.insert(Arc::clone(&text), index);
        self.remember_order(position, text, index);
        Ok((index, known.is_none()))
    }

    fn remember_order(&mut self, position: usize, text: Arc<[u8]>, slot: usize) {
        match self.order.get_mut(position) {
            Some(place) => *place = (text, slot),
            None => self.order.push((text, slot)),
        }
    }

    fn take_slot(&mut self, labels: Option<Labels>) -> usize {
        let slot = Slot { labels, met: 0, sampled: 0 };
        let index = match self.free.pop() {
            Some(index) => {
                self.slots[index] = slot;
                index
            }
            None => {
                self.slots.push(slot);
                self.slots.len() - 1
            }
        };
        if let Some(labels) = &self.slots[index].labels {
            self.by_labels.insert(labels.clone(), index);
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
        let (slots, by_labels, free) = (&mut self.slots, &mut self.by_labels, &mut self.free);
        if slots.len() > free.len() + slots.iter().filter(|slot| slot.met == round).count() {
            self.by_text.retain(|_, slot| slots[*slot].met == round);
            self.order.retain(|(_, slot)| slots[*slot].met == round);
            for (index, slot) in slots.iter_mut().enumerate().filter(|(_, slot)| slot.met != 0 && slot.met != round) {
                if let Some(labels) = slot.labels.take() {
                    by_labels.remove(&labels);
                }
                slot.met = 0;
                free.push(index);
            }
        }
        self.families.retain(|_, family| family.met == round);
        self.settled = self.by_text.len();
    }
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
