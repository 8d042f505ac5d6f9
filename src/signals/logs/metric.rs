//! Lines to series: the declared metrics of a job, compiled, with the values that they have come to.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use regex::bytes::{CaptureLocations, Regex, RegexSet, RegexSetBuilder};

use super::checkpoint::{MetricState, SeriesState};
use super::desk::QUIET;
use super::fields::{Fields, Origin, Reading, Template};
use super::format::{LineReader, compile};
use super::settings::{Format, JobSettings, Kind, LogError, MetricSettings};
use crate::limits;
use crate::model::{
    Labels, LabelsBuilder, MetricKind, MetricMeta, NAME, is_label_name, is_metric_name, openmetrics_float,
};
use crate::telemetry::{Metric, Telemetry};
use crate::time::Timestamp;

/// From so many expressions on, one pass asks first whether any of them is in the line.
const SET_FROM: usize = 3;
/// Where what is too much is counted.
const OTHER: &str = "_other";

/// What a line was to the metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Absorbed {
    /// The line has the job's format.
    pub parsed: bool,
    /// Metrics that it changed.
    pub hits: usize,
}

/// All metrics of a job.
#[derive(Debug)]
pub struct Metrics {
    reader: LineReader,
    fields: Fields,
    rules: Vec<Rule>,
    families: Vec<Family>,
    set: Option<RegexSet>,
    /// The field that expressions look at, when it is not the whole line.
    subject: Option<usize>,
    base: Labels,
    path_label: bool,
    job: String,
    telemetry: Telemetry,
    key: Vec<u8>,
    scratch: Vec<u8>,
    /// A series changed that was quiet before, since the last samples were taken.
    fresh: bool,
}

/// One declared metric. Several may count into one family.
#[derive(Debug)]
struct Rule {
    family: usize,
    pattern: Option<(Regex, CaptureLocations)>,
    captures: bool,
    needs_format: bool,
    labels: Vec<(String, Template)>,
    value: Option<Template>,
    scale: f64,
    max_series: usize,
    expire: Option<Duration>,
    /// Series that this rule began.
    live: usize,
}

#[derive(Debug)]
struct Family {
    name: Arc<str>,
    help: Arc<str>,
    kind: Kind,
    by_key: HashMap<Box<[u8]>, usize>,
    series: Vec<Option<Series>>,
    free: Vec<usize>,
    dirty: Vec<usize>,
    told: bool,
    limited: u64,
    refused: u64,
}

#[derive(Debug)]
struct Series {
    /// Name, 0xff, value, 0xff ... of the metric's own labels: 0xff is in no UTF-8 text.
    key: Box<[u8]>,
    /// One, or of a histogram: the buckets with `+Inf`, the sum, the count.
    labels: Vec<Labels>,
    values: Vec<f64>,
    met: Timestamp,
    dirty: bool,
    rule: usize,
    /// False for constant labels and `_other`.
    ends: bool,
}

const END: u8 = 0xff;

impl Metrics {
    /// Compiles the metrics of a job; counters and histograms with constant labels begin at 0.
    ///
    /// # Errors
    /// The first setting that cannot be used.
    pub fn new(settings: &JobSettings, telemetry: Telemetry, now: Timestamp) -> Result<Metrics, LogError> {
        let mut reader = LineReader::new(&settings.format)?;
        let subject = if settings.format == Format::Journald { reader.want("MESSAGE") } else { None };
        let (mut families, mut rules, mut patterns) = (Vec::new(), Vec::new(), Vec::new());
        for metric in &settings.metrics {
            check(metric)?;
            let family = family_of(&mut families, metric)?;
            rules.push(Rule::new(metric, family, &settings.format, &mut reader)?);
            patterns.extend(metric.pattern.as_deref());
        }
        // A set that cannot be built (an expression needs Unicode, or all together are too large) is done without.
        let set = RegexSetBuilder::new(&patterns).unicode(false).size_limit(limits::REGEX_BYTES * 4).build();
        let mut metrics = Metrics {
            fields: Fields::new(reader.count()),
            reader,
            rules,
            families,
            set: set.ok().filter(|_| patterns.len() >= SET_FROM),
            subject,
            base: Labels::from_pairs([("job", settings.job_name.as_str()), ("instance", settings.instance.as_str())]),
            path_label: settings.path_label,
            job: settings.job_name.clone(),
            telemetry,
            key: Vec::new(),
            scratch: Vec::new(),
            fresh: false,
        };
        (0..metrics.rules.len()).for_each(|rule| metrics.begin_at_zero(rule, now));
        Ok(metrics)
    }

    fn begin_at_zero(&mut self, index: usize, now: Timestamp) {
        let rule = &self.rules[index];
        let constant: Option<Vec<(&str, &str)>> =
            rule.labels.iter().map(|(name, template)| Some((name.as_str(), template.constant()?))).collect();
        let family = &mut self.families[rule.family];
        if let Some(pairs) = constant.filter(|_| !self.path_label && !matches!(family.kind, Kind::Gauge)) {
            let key = key_of(pairs);
            if !family.by_key.contains_key(&key) {
                family.begin(key, &self.base, index, now, false);
            }
        }
    }

    /// Counts one line. `path` is where it was read.
    pub fn line(&mut self, line: &[u8], path: &str, now: Timestamp) -> Absorbed {
        let parsed = self.reader.read(line, &mut self.fields);
        let mut absorbed = Absorbed { parsed, hits: 0 };
        let Metrics { rules, families, fields, key, scratch, .. } = self;
        let subject = match self.subject {
            Some(field) => fields.get(field, line).unwrap_or_default(),
            None => line,
        };
        let may_match = self.set.as_ref().is_none_or(|set| set.is_match(subject));
        for (index, rule) in rules.iter_mut().enumerate() {
            if (rule.needs_format && !parsed) || (rule.pattern.is_some() && !may_match) || !rule.finds(subject) {
                continue;
            }
            let captures = rule.pattern.as_ref().map(|(_, places)| places);
            let reading = Reading { line, fields, subject, captures };
            let family = &mut families[rule.family];
            let number = match &rule.value {
                None => Some(1.0),
                Some(template) => template.number(&reading, scratch),
            };
            let number = number.map(|number| number * rule.scale);
            let usable = |number: &f64| number.is_finite() && (family.kind != Kind::Counter || *number >= 0.0);
            let Some(number) = number.filter(usable) else {
                family.refused += 1;
                continue;
            };
            let path = self.path_label.then_some(path);
            write_key(&rule.labels, &reading, path, key, scratch);
            let slot = family.slot(key, rule, index, path, &self.base, now);
            self.fresh |= family.take(slot, number, now);
            absorbed.hits += 1;
        }
        absorbed
    }

    /// Whether something changed since the last call of [`Metrics::changed`] or [`Metrics::all`].
    pub fn is_dirty(&self) -> bool {
        self.families.iter().any(|family| !family.dirty.is_empty())
    }

    /// Whether a series is among what changed that is new or was quiet for [`QUIET`].
    pub fn is_fresh(&self) -> bool {
        self.fresh
    }

    /// What changed since the last call of this or [`Metrics::all`].
    pub fn changed(&mut self) -> Vec<(Labels, f64)> {
        self.fresh = false;
        let mut samples = Vec::new();
        for family in &mut self.families {
            for slot in std::mem::take(&mut family.dirty) {
                if let Some(series) = &mut family.series[slot] {
                    series.dirty = false;
                    push_samples(&family.kind, series, &mut samples);
                }
            }
        }
        samples
    }

    /// Every series; those that were not met for their `expire` end here.
    pub fn all(&mut self, now: Timestamp) -> Vec<(Labels, f64)> {
        self.fresh = false;
        let mut samples = Vec::new();
        for family in &mut self.families {
            family.dirty.clear();
            for slot in 0..family.series.len() {
                let Some(series) = &mut family.series[slot] else { continue };
                series.dirty = false;
                let rule = &mut self.rules[series.rule];
                if series.ends && rule.expire.is_some_and(|expire| now.since(series.met) >= expire) {
                    rule.live -= 1;
                    family.by_key.remove(&series.key);
                    family.series[slot] = None;
                    family.free.push(slot);
                    continue;
                }
                push_samples(&family.kind, series, &mut samples);
            }
        }
        samples
    }

    /// Type and help of the families, at the first call only.
    pub fn new_meta(&mut self) -> Vec<MetricMeta> {
        let mut meta = Vec::new();
        for family in self.families.iter_mut().filter(|family| !family.told) {
            family.told = true;
            meta.push(MetricMeta {
                family: Arc::clone(&family.name),
                kind: match family.kind {
                    Kind::Counter => MetricKind::Counter,
                    Kind::Gauge => MetricKind::Gauge,
                    Kind::Histogram(_) => MetricKind::Histogram,
                },
                help: Arc::clone(&family.help),
                unit: "".into(),
            });
        }
        meta
    }

    /// Hands what was refused and limited over to the telemetry.
    pub fn report(&mut self) {
        for family in &mut self.families {
            let labels = [("log", self.job.as_str()), ("metric", &*family.name)];
            for (metric, count) in
                [(Metric::LogSeriesLimited, &mut family.limited), (Metric::LogValuesRefused, &mut family.refused)]
            {
                if *count > 0 {
                    self.telemetry.add(metric, &labels, std::mem::take(count) as f64);
                }
            }
        }
    }

    /// The values, for a checkpoint.
    pub fn state(&self) -> Vec<MetricState> {
        let series = |series: &Series| SeriesState {
            labels: pairs_of(&series.key).map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            values: series.values.clone(),
            met: series.met,
        };
        let family = |family: &Family| MetricState {
            name: family.name.to_string(),
            kind: kind_word(&family.kind).to_owned(),
            buckets: bounds(&family.kind).to_vec(),
            series: family.series.iter().flatten().map(series).collect(),
        };
        self.families.iter().map(family).collect()
    }

    /// Takes over the values of a checkpoint, as far as the metrics are still declared as they were.
    pub fn restore(&mut self, states: &[MetricState]) {
        for state in states {
            let same = |family: &Family| {
                *family.name == *state.name
                    && kind_word(&family.kind) == state.kind
                    && bounds(&family.kind) == state.buckets
            };
            let Some(index) = self.families.iter().position(same) else { continue };
            let width = width(&self.families[index].kind);
            for series in &state.series {
                let fits = |rule: &Rule| rule.family == index && rule.could_write(&series.labels, self.path_label);
                let Some(rule) = self.rules.iter().position(fits) else { continue };
                if series.values.len() != width || series.values.iter().any(|value| !value.is_finite()) {
                    continue;
                }
                let key = self.rules[rule].key_of(&series.labels, self.path_label);
                let family = &mut self.families[index];
                let known = family.by_key.get(&key).copied();
                let slot = known.unwrap_or_else(|| {
                    let ends = !self.rules[rule].is_other(&series.labels);
                    self.rules[rule].live += usize::from(ends);
                    family.begin(key, &self.base, rule, series.met, ends)
                });
                if let Some(place) = &mut family.series[slot] {
                    place.values.clone_from(&series.values);
                    place.met = series.met;
                }
            }
        }
    }
}

impl Rule {
    fn new(metric: &MetricSettings, family: usize, format: &Format, reader: &mut LineReader) -> Result<Rule, LogError> {
        let place = || format!("metric {}", metric.name);
        let pattern = metric.pattern.as_deref().map(|pattern| compile(&place(), pattern)).transpose()?;
        let mut template = |text: &str| {
            let find = |name: &str| {
                let group =
                    pattern.as_ref().and_then(|regex| regex.capture_names().position(|group| group == Some(name)));
                group.map(Origin::Capture).or_else(|| reader.want(name).map(Origin::Format))
            };
            Template::new(text, find).map_err(|unknown| match unknown {
                None => LogError::Template { metric: metric.name.clone(), template: text.to_owned() },
                Some(field) => LogError::Field { metric: metric.name.clone(), field, known: reader.known() },
            })
        };
        let mut labels = Vec::new();
        for (name, text) in &metric.labels {
            labels.push((name.clone(), template(text)?));
        }
        let value = metric.value.as_deref().map(&mut template).transpose()?;
        let templates = || labels.iter().map(|(_, template)| template).chain(&value);
        let reads_format = templates().any(Template::needs_format);
        Ok(Rule {
            family,
            captures: templates().any(Template::needs_captures),
            needs_format: reads_format || (metric.pattern.is_none() && *format != Format::Raw),
            pattern: pattern.map(|regex| {
                let places = regex.capture_locations();
                (regex, places)
            }),
            labels,
            value,
            scale: metric.scale,
            max_series: metric.max_series,
            expire: metric.expire,
            live: 0,
        })
    }

    fn finds(&mut self, subject: &[u8]) -> bool {
        match &mut self.pattern {
            None => true,
            Some((regex, places)) if self.captures => regex.captures_read(places, subject).is_some(),
            Some((regex, _)) => regex.is_match(subject),
        }
    }

    /// Whether this rule can have begun a series with these labels.
    fn could_write(&self, labels: &BTreeMap<String, String>, path_label: bool) -> bool {
        let constants = self.labels.iter().all(|(name, template)| match template.constant() {
            Some(text) => labels.get(name).map_or("", String::as_str) == text,
            None => true,
        });
        let known = |name: &String| self.labels.iter().any(|(own, _)| own == name) || (path_label && name == "path");
        constants && labels.keys().all(known) && labels.contains_key("path") >= path_label
    }

    /// The key that a line with these labels would have had.
    fn key_of(&self, labels: &BTreeMap<String, String>, path_label: bool) -> Box<[u8]> {
        let names = self.labels.iter().map(|(name, _)| name.as_str()).chain(path_label.then_some("path"));
        key_of(names.map(|name| (name, labels.get(name).map_or("", String::as_str))))
    }

    fn is_other(&self, labels: &BTreeMap<String, String>) -> bool {
        let mut open = self.labels.iter().filter(|(_, template)| template.constant().is_none()).peekable();
        open.peek().is_none() || open.all(|(name, _)| labels.get(name).is_some_and(|value| value == OTHER))
    }
}

impl Family {
    /// The series of a key; one that is new begins, or is counted under `_other` when there are too many.
    fn slot(
        &mut self,
        key: &[u8],
        rule: &mut Rule,
        index: usize,
        path: Option<&str>,
        base: &Labels,
        now: Timestamp,
    ) -> usize {
        if let Some(slot) = self.by_key.get(key) {
            return *slot;
        }
        if rule.live < rule.max_series {
            rule.live += 1;
            return self.begin(key.into(), base, index, now, true);
        }
        self.limited += 1;
        let pairs = rule.labels.iter().map(|(name, template)| (name.as_str(), template.constant().unwrap_or(OTHER)));
        let path = path.map(|_| ("path", OTHER));
        let other = key_of(pairs.chain(path));
        match self.by_key.get(&other) {
            Some(slot) => *slot,
            None => self.begin(other, base, index, now, false),
        }
    }

    fn begin(&mut self, key: Box<[u8]>, base: &Labels, rule: usize, now: Timestamp, ends: bool) -> usize {
        let mut own = base.to_builder();
        for (name, value) in pairs_of(&key) {
            own.set(name, value);
        }
        let named = |own: &mut LabelsBuilder, suffix: &str| own.set(NAME, &format!("{}{suffix}", self.name)).build();
        let mut labels = Vec::new();
        if let Kind::Histogram(bounds) = &self.kind {
            for bound in bounds.iter().chain(&[f64::INFINITY]) {
                own.set("le", &openmetrics_float(*bound));
                labels.push(named(&mut own, "_bucket"));
            }
            own.remove("le");
            labels.push(named(&mut own, "_sum"));
            labels.push(named(&mut own, "_count"));
        } else {
            labels.push(named(&mut own, ""));
        }
        let values = vec![0.0; width(&self.kind)];
        let series = Some(Series { key: key.clone(), labels, values, met: now, dirty: false, rule, ends });
        let slot = match self.free.pop() {
            Some(slot) => {
                self.series[slot] = series;
                slot
            }
            None => {
                self.series.push(series);
                self.series.len() - 1
            }
        };
        self.by_key.insert(key, slot);
        slot
    }

    /// Counts a value; true when the series was quiet before.
    fn take(&mut self, slot: usize, number: f64, now: Timestamp) -> bool {
        let Some(series) = &mut self.series[slot] else { return false };
        let (place, bucket) = match &self.kind {
            Kind::Histogram(bounds) => (bounds.len() + 1, Some(bounds.partition_point(|bound| *bound < number))),
            _ => (0, None),
        };
        let sum = if self.kind == Kind::Gauge { number } else { series.values[place] + number };
        if !sum.is_finite() {
            self.refused += 1;
            return false;
        }
        series.values[place] = sum;
        if let Some(bucket) = bucket {
            series.values[bucket] += 1.0;
        }
        let quiet = now == series.met || now.since(series.met) >= QUIET;
        series.met = now;
        if std::mem::replace(&mut series.dirty, true) {
            return false;
        }
        self.dirty.push(slot);
        quiet
    }
}

fn family_of(families: &mut Vec<Family>, metric: &MetricSettings) -> Result<usize, LogError> {
    if let Some(known) = families.iter().position(|family| *family.name == *metric.name) {
        return match families[known].kind == metric.kind {
            true => Ok(known),
            false => Err(LogError::Conflict(metric.name.clone())),
        };
    }
    families.push(Family {
        name: metric.name.as_str().into(),
        help: metric.help.as_str().into(),
        kind: metric.kind.clone(),
        by_key: HashMap::new(),
        series: Vec::new(),
        free: Vec::new(),
        dirty: Vec::new(),
        told: false,
        limited: 0,
        refused: 0,
    });
    Ok(families.len() - 1)
}

fn check(metric: &MetricSettings) -> Result<(), LogError> {
    let name = || metric.name.clone();
    if !is_metric_name(&metric.name) {
        return Err(LogError::MetricName(name()));
    }
    let reserved = |label: &str| label == NAME || (label == "le" && matches!(metric.kind, Kind::Histogram(_)));
    if let Some(label) = metric.labels.keys().find(|label| !is_label_name(label) || reserved(label)) {
        return Err(LogError::LabelName { metric: name(), label: label.clone() });
    }
    if metric.value.is_none() && metric.kind != Kind::Counter {
        return Err(LogError::NoValue(name()));
    }
    if let Kind::Histogram(bounds) = &metric.kind {
        let rising = bounds.windows(2).all(|pair| pair[0] < pair[1]) && bounds.iter().all(|bound| bound.is_finite());
        if bounds.is_empty() || bounds.len() > 200 || !rising {
            return Err(LogError::Buckets(name()));
        }
    }
    if !metric.scale.is_finite() || metric.scale == 0.0 || (metric.kind == Kind::Counter && metric.scale < 0.0) {
        return Err(LogError::Scale(name()));
    }
    Ok(())
}

fn kind_word(kind: &Kind) -> &'static str {
    match kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Histogram(_) => "histogram",
    }
}

fn bounds(kind: &Kind) -> &[f64] {
    if let Kind::Histogram(bounds) = kind { bounds } else { &[] }
}

/// Numbers that a series of this kind keeps.
fn width(kind: &Kind) -> usize {
    if let Kind::Histogram(bounds) = kind { bounds.len() + 2 } else { 1 }
}

fn push_samples(kind: &Kind, series: &Series, samples: &mut Vec<(Labels, f64)>) {
    let Kind::Histogram(bounds) = kind else {
        samples.push((series.labels[0].clone(), series.values[0]));
        return;
    };
    let (buckets, rest) = series.labels.split_at(bounds.len() + 1);
    let mut count = 0.0;
    for (labels, value) in buckets.iter().zip(&series.values) {
        count += value;
        samples.push((labels.clone(), count));
    }
    samples.push((rest[0].clone(), series.values[bounds.len() + 1]));
    samples.push((rest[1].clone(), count));
}

/// Writes the key of a line's series.
fn write_key(
    labels: &[(String, Template)],
    reading: &Reading<'_>,
    path: Option<&str>,
    key: &mut Vec<u8>,
    scratch: &mut Vec<u8>,
) {
    key.clear();
    for (name, template) in labels {
        scratch.clear();
        template.write(reading, scratch);
        match std::str::from_utf8(scratch) {
            Ok(text) => push_pair(key, name, text),
            Err(_) => push_pair(key, name, &String::from_utf8_lossy(scratch)),
        }
    }
    if let Some(path) = path {
        push_pair(key, "path", path);
    }
}

fn key_of<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Box<[u8]> {
    let mut key = Vec::new();
    pairs.into_iter().for_each(|(name, value)| push_pair(&mut key, name, value));
    key.into()
}

/// An empty value is no label, as everywhere.
fn push_pair(key: &mut Vec<u8>, name: &str, value: &str) {
    if !value.is_empty() {
        let end = value.floor_char_boundary(limits::LOG_LABEL_BYTES);
        key.extend_from_slice(name.as_bytes());
        key.push(END);
        key.extend_from_slice(&value.as_bytes()[..end]);
        key.push(END);
    }
}

fn pairs_of(key: &[u8]) -> impl Iterator<Item = (&str, &str)> {
    let mut texts = key.split(|byte| *byte == END).map(|text| std::str::from_utf8(text).unwrap_or_default());
    std::iter::from_fn(move || Some((texts.next().filter(|name| !name.is_empty())?, texts.next()?)))
}

#[cfg(test)]
mod tests;
