//! The store as bytes and back: what survives a restart.
//!
//! ```text
//! magic, version, shift of the clock | sources: name | series: labels, creator, source, chunks, histograms | crc32 of all before
//! ```
//!
//! Numbers are little-endian; texts and lists are preceded by their length. Reading checks the magic, the version and
//! the checksum, and then every length and every chunk, so that a broken snapshot is an error and never a panic.
//! What rules and pages need is not in it: they say it again.

use std::collections::HashMap;
use std::sync::Arc;

use super::chunk::Chunk;
use super::history::{HistogramAt, History};
use super::store::{Refusal, Settings, SourceState, Store};
use super::view::{PAGE, Series};
use crate::model::{BucketSpan, CounterResetHint, FloatHistogram, Labels, LabelsBuilder, Source};

const MAGIC: &[u8; 16] = b"brownout series\n";
const VERSION: u8 = 2;

/// Why bytes are no snapshot.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    #[error("the bytes are no snapshot of series")]
    NoSnapshot,
    #[error("the snapshot of series has version {0}, this program reads version {VERSION}")]
    Version(u8),
    #[error("the snapshot of series is broken: its checksum is wrong")]
    Checksum,
    #[error("the snapshot of series is broken: {0}")]
    Broken(&'static str),
}

impl Store {
    /// The series with all their samples and sources as bytes.
    pub fn snapshot(&self) -> Vec<u8> {
        let mut out = Writer(Vec::with_capacity(4096));
        out.0.extend_from_slice(MAGIC);
        out.0.push(VERSION);
        out.time(self.shared.shift);
        let mut numbers = HashMap::from([(0, 0)]);
        out.count(self.sources.len());
        for (at, (source, state)) in self.sources.iter().enumerate() {
            numbers.insert(state.number, at + 1);
            out.text(source.as_str());
        }
        let number = |source: u32| numbers.get(&source).copied().unwrap_or(0);
        out.count(self.series_count());
        for (slot, place) in self.places.iter().enumerate() {
            let Some(series) = &self.shared.pages[slot / PAGE].slots[slot % PAGE] else { continue };
            out.series(series, number(place.creator), number(place.source));
        }
        let checksum = crc32fast::hash(&out.0);
        out.0.extend_from_slice(&checksum.to_le_bytes());
        out.0
    }

    /// The store of a snapshot, and how many of its series the settings have no room for.
    ///
    /// # Errors
    /// When the bytes are no snapshot of this version, or broken.
    pub fn restore(bytes: &[u8], settings: Settings) -> Result<(Store, usize), SnapshotError> {
        let body = bytes.strip_prefix(MAGIC).ok_or(SnapshotError::NoSnapshot)?;
        let (&version, rest) = body.split_first().ok_or(SnapshotError::NoSnapshot)?;
        if !(1..=VERSION).contains(&version) {
            return Err(SnapshotError::Version(version));
        }
        let (content, checksum) = rest.split_last_chunk::<4>().ok_or(SnapshotError::Checksum)?;
        if crc32fast::hash(&bytes[..bytes.len() - 4]) != u32::from_le_bytes(*checksum) {
            return Err(SnapshotError::Checksum);
        }
        let mut input = Reader(content);
        let mut store = Store::new(settings);
        // Version 1 knew no steps of the clock.
        Arc::make_mut(&mut store.shared).shift = if version == 1 { 0 } else { input.time()? };
        let mut sources = Vec::new();
        for number in 1..=input.count()? {
            sources.push((Source(input.text()?.into()), SourceState::numbered(number as u32)));
        }
        let mut refused = 0;
        for _ in 0..input.count()? {
            refused += usize::from(store.restore_series(&mut input, &mut sources)?.is_err());
        }
        if !input.0.is_empty() {
            return Err(SnapshotError::Broken("something follows its end"));
        }
        store.restore_sources(sources);
        Ok((store, refused))
    }

    fn restore_series(
        &mut self,
        input: &mut Reader<'_>,
        sources: &mut [(Source, SourceState)],
    ) -> Result<Result<(), Refusal>, SnapshotError> {
        let labels = input.labels()?;
        let (creator, source) = (input.count()?, input.count()?);
        let history = input.history()?;
        if creator > sources.len() || source > sources.len() {
            return Err(SnapshotError::Broken("a series has a source that is not there"));
        }
        let state = creator.checked_sub(1).map(|at| &mut sources[at].1);
        let slot = match self.begin(&labels, state) {
            Ok(slot) => slot as usize,
            Err(why) => return Ok(Err(why)),
        };
        if self.series_count() != slot + 1 {
            return Err(SnapshotError::Broken("a series is there twice"));
        }
        if let Some(series) =
            &mut Arc::make_mut(&mut Arc::make_mut(&mut self.shared).pages[slot / PAGE]).slots[slot % PAGE]
        {
            Arc::make_mut(series).history = history;
        }
        if let Some(at) = source.checked_sub(1) {
            self.places[slot].source = sources[at].1.number;
            sources[at].1.listed.push(slot as u32);
        }
        Ok(Ok(()))
    }
}

struct Writer(Vec<u8>);

impl Writer {
    fn count(&mut self, count: usize) {
        self.0.extend_from_slice(&(count as u32).to_le_bytes());
    }

    fn time(&mut self, at: i64) {
        self.0.extend_from_slice(&at.to_le_bytes());
    }

    fn float(&mut self, value: f64) {
        self.0.extend_from_slice(&value.to_bits().to_le_bytes());
    }

    fn floats(&mut self, values: &[f64]) {
        self.count(values.len());
        values.iter().for_each(|value| self.float(*value));
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.count(bytes.len());
        self.0.extend_from_slice(bytes);
    }

    fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    fn series(&mut self, series: &Series, creator: usize, source: usize) {
        self.count(series.labels.len());
        for (name, value) in &series.labels {
            self.text(name);
            self.text(value);
        }
        self.count(creator);
        self.count(source);
        let chunks = series.history.chunks();
        self.count(chunks.len());
        for chunk in chunks {
            self.time(chunk.first);
            self.time(chunk.last);
            self.count(chunk.count as usize);
            self.count(chunk.step as usize);
            self.bytes(&chunk.bytes);
        }
        let histograms = series.history.histograms();
        self.count(histograms.len());
        histograms.iter().for_each(|(at, histogram)| self.histogram(*at, histogram));
    }

    fn histogram(&mut self, at: i64, histogram: &FloatHistogram) {
        self.time(at);
        let hint = HINTS.iter().position(|hint| *hint == histogram.hint).unwrap_or(0);
        self.0.extend_from_slice(&[hint as u8, histogram.schema.cast_unsigned()]);
        let h = histogram;
        [h.zero_threshold, h.zero_count, h.count, h.sum].into_iter().for_each(|value| self.float(value));
        for spans in [&h.positive_spans, &h.negative_spans] {
            self.count(spans.len());
            for span in spans {
                self.count(span.offset.cast_unsigned() as usize);
                self.count(span.length as usize);
            }
        }
        [&h.positive_buckets, &h.negative_buckets, &h.custom_values].into_iter().for_each(|list| self.floats(list));
    }
}

const HINTS: [CounterResetHint; 4] =
    [CounterResetHint::Unknown, CounterResetHint::Reset, CounterResetHint::NotReset, CounterResetHint::Gauge];

struct Reader<'b>(&'b [u8]);

type Read<T> = Result<T, SnapshotError>;

impl<'b> Reader<'b> {
    fn take(&mut self, bytes: usize) -> Read<&'b [u8]> {
        let (taken, rest) = self.0.split_at_checked(bytes).ok_or(SnapshotError::Broken("it ends too early"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Read<[u8; N]> {
        self.take(N)?.try_into().map_err(|_| SnapshotError::Broken("it ends too early"))
    }

    fn number(&mut self) -> Read<u32> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn count(&mut self) -> Read<usize> {
        Ok(self.number()? as usize)
    }

    fn time(&mut self) -> Read<i64> {
        Ok(i64::from_le_bytes(self.array()?))
    }

    fn float(&mut self) -> Read<f64> {
        Ok(f64::from_bits(u64::from_le_bytes(self.array()?)))
    }

    /// A list; nothing is reserved for a length that may be a lie.
    fn list<T>(&mut self, mut one: impl FnMut(&mut Self) -> Read<T>) -> Read<Vec<T>> {
        (0..self.count()?).map(|_| one(self)).collect()
    }

    fn text(&mut self) -> Read<&'b str> {
        let length = self.count()?;
        std::str::from_utf8(self.take(length)?).map_err(|_| SnapshotError::Broken("a text is not UTF-8"))
    }

    fn labels(&mut self) -> Read<Labels> {
        let mut labels = LabelsBuilder::new();
        for _ in 0..self.count()? {
            let (name, value) = (self.text()?, self.text()?);
            labels.set(name, value);
        }
        Ok(labels.build())
    }

    fn history(&mut self) -> Read<History> {
        let chunks = self.list(|input| {
            let (first, last) = (input.time()?, input.time()?);
            let (count, step, length) = (input.number()?, input.number()?, input.count()?);
            Ok(Chunk { first, last, count, step, bytes: input.take(length)?.into() })
        })?;
        let histograms = self.list(Reader::histogram)?;
        History::restored(chunks, histograms).ok_or(SnapshotError::Broken("samples are not in order"))
    }

    fn histogram(&mut self) -> Read<HistogramAt> {
        let at = self.time()?;
        let [hint, schema] = self.array()?;
        let hint = *HINTS.get(usize::from(hint)).ok_or(SnapshotError::Broken("a histogram has no such hint"))?;
        let [zero_threshold, zero_count, count, sum] = [self.float()?, self.float()?, self.float()?, self.float()?];
        let span = |input: &mut Self| Ok(BucketSpan { offset: input.number()?.cast_signed(), length: input.number()? });
        let (positive_spans, negative_spans) = (self.list(span)?, self.list(span)?);
        let histogram = FloatHistogram {
            hint,
            schema: schema.cast_signed(),
            zero_threshold,
            zero_count,
            count,
            sum,
            positive_spans,
            negative_spans,
            positive_buckets: self.list(Reader::float)?,
            negative_buckets: self.list(Reader::float)?,
            custom_values: self.list(Reader::float)?,
        };
        Ok((at, Arc::new(histogram)))
    }
}
