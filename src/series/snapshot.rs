//! The store as bytes and back: what survives a restart.
//!
//! ```text
//! magic, version, shift of the clock | sources: name | series: 1, labels, creator, source, chunks, histograms | 0 | crc32
//! ```
//!
//! It can be taken piece by piece while the store goes on ([`SnapshotRun`]): each series is as it was when its turn came, and
//! one that ended and began anew in between may be there twice.
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
const VERSION: u8 = 5;

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

/// A snapshot on its way.
#[derive(Debug)]
pub struct SnapshotRun {
    /// The next place.
    next: usize,
    shift: i64,
    /// The sources as the snapshot numbers them.
    numbers: HashMap<u32, usize>,
}

/// What a piece of a snapshot is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    More,
    /// It is the last; the checksum of all pieces follows it ([`SnapshotSum`]).
    Last,
    /// The clock was set in between: what was written so far is of no use.
    Void,
}

/// The checksum that ends a snapshot.
#[derive(Clone, Debug, Default)]
pub struct SnapshotSum(crc32fast::Hasher);

impl SnapshotSum {
    /// Takes in the next piece.
    pub fn add(&mut self, piece: &[u8]) {
        self.0.update(piece);
    }

    /// What comes behind the last piece.
    pub fn bytes(self) -> [u8; 4] {
        self.0.finalize().to_le_bytes()
    }
}

impl Store {
    /// The series with all their samples and sources as bytes.
    pub fn snapshot(&self) -> Vec<u8> {
        let (mut run, mut out) = self.begin_snapshot();
        self.snapshot_piece(&mut run, usize::MAX, &mut out);
        let mut sum = SnapshotSum::default();
        sum.add(&out);
        out.extend_from_slice(&sum.bytes());
        out
    }

    /// Begins a snapshot; gives its first piece.
    pub fn begin_snapshot(&self) -> (SnapshotRun, Vec<u8>) {
        let mut out = Vec::with_capacity(4096);
        out.extend_from_slice(MAGIC);
        out.push(VERSION);
        let mut writer = Writer(&mut out);
        writer.time(self.shared.shift);
        let mut numbers = HashMap::from([(0, 0)]);
        writer.count(self.sources.len());
        for (at, (source, state)) in self.sources.iter().enumerate() {
            numbers.insert(state.number, at + 1);
            writer.text(source.as_str());
        }
        (SnapshotRun { next: 0, shift: self.shared.shift, numbers }, out)
    }

    /// Puts the next piece behind `out`: of so many places at the most.
    pub fn snapshot_piece(&self, run: &mut SnapshotRun, places: usize, out: &mut Vec<u8>) -> Progress {
        if run.shift != self.shared.shift {
            return Progress::Void;
        }
        let number = |source: u32| run.numbers.get(&source).copied().unwrap_or(0);
        let mut out = Writer(out);
        let end = run.next.saturating_add(places).min(self.places.len());
        for slot in run.next..end {
            let Some(series) = &self.shared.pages[slot / PAGE].slots[slot % PAGE] else { continue };
            let place = &self.places[slot];
            out.0.push(1);
            out.series(series, number(place.creator), number(place.source));
        }
        run.next = end.max(run.next);
        if run.next < self.places.len() {
            return Progress::More;
        }
        out.0.push(0);
        Progress::Last
    }

    /// The store of a snapshot, and how many of its series the settings have no room for.
    ///
    /// # Errors
    /// When the bytes are no snapshot of this version, or broken.
    pub fn restore(bytes: &[u8], settings: Settings) -> Result<(Store, usize), SnapshotError> {
        let body = bytes.strip_prefix(MAGIC).ok_or(SnapshotError::NoSnapshot)?;
        let (&version, rest) = body.split_first().ok_or(SnapshotError::NoSnapshot)?;
        if version != VERSION {
            return Err(SnapshotError::Version(version));
        }
        let (content, checksum) = rest.split_last_chunk::<4>().ok_or(SnapshotError::Checksum)?;
        if crc32fast::hash(&bytes[..bytes.len() - 4]) != u32::from_le_bytes(*checksum) {
            return Err(SnapshotError::Checksum);
        }
        let mut input = Reader(content);
        let mut store = Store::new(settings);
        Arc::make_mut(&mut store.shared).shift = input.time()?;
        let mut sources = Vec::new();
        for number in 1..=input.count()? {
            sources.push((Source(input.text()?.into()), SourceState::numbered(number as u32)));
        }
        let mut refused = 0;
        while input.array()? == [1] {
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
        let known = self.slot_of(&labels);
        let slot = match known.map_or_else(|| self.begin(&labels, state), Ok) {
            Ok(slot) => slot as usize,
            Err(why) => return Ok(Err(why)),
        };
        if let Some(series) =
            &mut Arc::make_mut(&mut Arc::make_mut(&mut self.shared).pages[slot / PAGE]).slots[slot % PAGE]
            && series.history.newest() <= history.newest()
        {
            series.history.take_over(history);
        }
        if known.is_some() {
            return Ok(Ok(()));
        }
        if let Some(at) = source.checked_sub(1) {
            self.places[slot].source = sources[at].1.number;
            sources[at].1.listed.push(slot as u32);
        }
        Ok(Ok(()))
    }
}

struct Writer<'o>(&'o mut Vec<u8>);

impl Writer<'_> {
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
