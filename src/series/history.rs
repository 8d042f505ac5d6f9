//! The samples of one series: the newest as they are, the older ones compressed, the oldest thinned out.
//!
//! ```text
//! oldest  sealed chunks, thinned | sealed chunks | stream, still growing | tail, not compressed  newest
//! ```
//!
//! The tail holds up to [`TAIL`] samples; when it is full all but the newest go into the stream, and a stream that is long
//! enough becomes a sealed chunk. So an append allocates nothing but now and then, and the newest samples are found
//! without decoding. Histograms stand in a list of their own. What a young series has none of stands together behind one
//! pointer: there may be a hundred thousand of these, which is why the tail has its times as gaps.

use std::sync::Arc;

use super::chunk::{CHUNK, Chunk, Cursor, Decoder, Encoder, Rest, Sample};
use super::coarse;
use super::store::{Point, Refusal};
use crate::model::FloatHistogram;
use crate::time::Timestamp;

/// Samples that are compressed at one time.
const GROUP: usize = 2;
/// Samples that stand uncompressed: a group, and those that must be at hand without decoding.
pub(super) const TAIL: usize = GROUP + 2;
/// What a group seldom takes more of than.
const GROUP_BYTES: usize = 8;
/// A stream has room for so many bytes, or for a multiple of [`STEP`] more: what allocators have in any case.
const FIRST: usize = 24;
const STEP: usize = 16;
/// A stream of so many samples is sealed when it spans so many milliseconds: a chunk is dropped as a whole.
const LONG: (u8, i64) = (120, 600_000);

/// Thinning waits for at least so much, in milliseconds.
const THIN_BATCH_MILLIS: i64 = 600_000;

/// One histogram at one time, in milliseconds.
pub(super) type HistogramAt = (i64, Arc<FloatHistogram>);

/// All samples of one series, in order of time.
#[derive(Clone, Debug)]
pub(super) struct History {
    old: Option<Arc<Old>>,
    /// The room of the stream, of which `written` bytes are used.
    stream: Box<[u8]>,
    encoder: Rest,
    /// The values of the tail, and by how many milliseconds each is behind the float before it.
    tail: [f64; TAIL],
    gaps: [u32; TAIL],
    /// The time of the newest sample of either kind.
    newest: i64,
    /// Which of the series that stood in this place of the table it is. Not of this room's business, but here is a gap
    /// that it fits into.
    birth: u32,
    written: u16,
    tail_len: u8,
    /// The newest sample is a histogram.
    lags: bool,
}

/// What only a series of some age has, or one with histograms.
#[derive(Clone, Debug)]
struct Old {
    /// The thinned ones first.
    sealed: Vec<Chunk>,
    histograms: Vec<HistogramAt>,
    /// How far the newest float is behind the newest sample, when that is a histogram.
    behind: u32,
    /// How often samples were dropped or thinned out, and the time up to which that may have been.
    changes: u32,
    changed_until: i64,
}

impl Default for Old {
    fn default() -> Old {
        Old { sealed: Vec::new(), histograms: Vec::new(), behind: 0, changes: 0, changed_until: i64::MIN }
    }
}

impl Old {
    fn changed(&mut self, until: i64) {
        self.changes = self.changes.wrapping_add(1);
        self.changed_until = self.changed_until.max(until);
    }
}

impl Default for History {
    fn default() -> History {
        History {
            old: None,
            stream: Box::default(),
            encoder: Rest::default(),
            tail: [0.0; TAIL],
            gaps: [0; TAIL],
            newest: i64::MIN,
            birth: 0,
            written: 0,
            tail_len: 0,
            lags: false,
        }
    }
}

/// The room for a stream of so many bytes.
fn room(bytes: usize) -> usize {
    FIRST + bytes.saturating_sub(FIRST).next_multiple_of(STEP)
}

impl History {
    /// An empty one.
    pub(super) fn born(birth: u32) -> History {
        History { birth, ..History::default() }
    }

    /// Which of the series that stood in its place it is.
    pub(super) fn birth(&self) -> u32 {
        self.birth
    }

    /// Has the samples of another from now on.
    pub(super) fn take_over(&mut self, other: History) {
        *self = History { birth: self.birth, ..other };
    }

    /// The time of the newest sample, in milliseconds.
    pub(super) fn newest(&self) -> i64 {
        self.newest
    }

    /// The time of the newest float. Without one it means nothing.
    fn newest_float(&self) -> i64 {
        self.newest.wrapping_sub(self.behind().into())
    }

    fn behind(&self) -> u32 {
        self.old.as_ref().filter(|_| self.lags).map_or(0, |old| old.behind)
    }

    /// The tail, newest first.
    fn tail_back(&self) -> impl Iterator<Item = Sample> {
        let mut at = self.newest_float();
        (0..usize::from(self.tail_len)).rev().map(move |place| {
            let sample = (at, self.tail[place]);
            at = at.wrapping_sub(self.gaps[place].into());
            sample
        })
    }

    /// The tail, oldest first.
    fn tail(&self) -> impl Iterator<Item = Sample> + Clone {
        let mut at = self.before_tail();
        self.tail[..usize::from(self.tail_len)].iter().zip(&self.gaps).map(move |(value, gap)| {
            at = at.wrapping_add((*gap).into());
            (at, *value)
        })
    }

    /// The time of the last float that is not in the tail, if there is one.
    fn before_tail(&self) -> i64 {
        let gaps = &self.gaps[..usize::from(self.tail_len)];
        let all: i64 = gaps.iter().map(|gap| i64::from(*gap)).sum();
        self.newest_float().wrapping_sub(all)
    }

    fn sealed(&self) -> &[Chunk] {
        self.old.as_ref().map_or(&[], |old| &old.sealed)
    }

    pub(super) fn histograms(&self) -> &[HistogramAt] {
        self.old.as_ref().map_or(&[], |old| &old.histograms)
    }

    /// Forgets everything, and lets who follows it know.
    pub(super) fn restart(&mut self) {
        let changes = self.changes().0.wrapping_add(1);
        let old = Old { changes, changed_until: self.newest, ..Old::default() };
        *self = History { old: Some(Arc::new(old)), ..History::born(self.birth) };
    }

    /// Appends a float. The newest sample once more is taken and changes nothing.
    pub(super) fn push(&mut self, at: i64, value: f64) -> Result<(), Refusal> {
        if at <= self.newest && !self.is_empty() {
            let same = |(t, v): Sample| t == at && v.to_bits() == value.to_bits();
            return if self.tail_back().next().is_some_and(same) { Ok(()) } else { Err(Refusal::OutOfOrder) };
        }
        if usize::from(self.tail_len) == TAIL {
            self.compress();
        }
        let newest = self.newest_float();
        let mut gap = 0;
        if self.tail_len > 0 {
            match u32::try_from(at.saturating_sub(newest)) {
                Ok(near) => gap = near,
                Err(_) => self.seal_tail(),
            }
        }
        let place = usize::from(self.tail_len);
        (self.tail[place], self.gaps[place]) = (value, gap);
        self.tail_len += 1;
        (self.newest, self.lags) = (at, false);
        Ok(())
    }

    /// Appends a histogram. The newest sample once more is taken and changes nothing.
    pub(super) fn push_histogram(&mut self, at: i64, value: Arc<FloatHistogram>) -> Result<(), Refusal> {
        if at <= self.newest && !self.is_empty() {
            let same = |(t, h): &HistogramAt| *t == at && **h == *value;
            return if self.histograms().last().is_some_and(same) { Ok(()) } else { Err(Refusal::OutOfOrder) };
        }
        self.old_mut().histograms.push((at, value));
        self.move_newest(at);
        Ok(())
    }

    /// The newest sample is a histogram of this time.
    fn move_newest(&mut self, at: i64) {
        if self.tail_len > 0 {
            let behind = at.saturating_sub(self.newest).saturating_add(self.behind().into());
            match u32::try_from(behind) {
                Ok(behind) => {
                    self.old_mut().behind = behind;
                    self.lags = true;
                }
                Err(_) => self.seal_tail(),
            }
        }
        self.newest = at;
    }

    fn old_mut(&mut self) -> &mut Old {
        Arc::make_mut(self.old.get_or_insert_default())
    }

    fn is_empty(&self) -> bool {
        self.newest == i64::MIN
    }

    /// Moves a group from the tail into the stream.
    fn compress(&mut self) {
        let last = self.write(GROUP);
        self.tail.copy_within(GROUP.., 0);
        self.gaps.copy_within(GROUP.., 0);
        self.tail_len -= GROUP as u8;
        let first = || self.written().first_chunk().map_or(last, |first| i64::from_be_bytes(*first));
        let long = self.encoder.count >= LONG.0 && last.saturating_sub(first()) >= LONG.1;
        if long || u32::from(self.encoder.count) >= CHUNK {
            self.seal(last);
        }
    }

    /// Writes the first samples of the tail to the stream; gives the time of the last of them.
    fn write(&mut self, samples: usize) -> i64 {
        let mut encoder = Encoder::wake(&self.encoder, self.before_tail());
        let mut group = [(0, 0.0); TAIL];
        group.iter_mut().zip(self.tail()).for_each(|(place, sample)| *place = sample);
        let group = &group[..samples];
        let mut stream = std::mem::take(&mut self.stream).into_vec();
        stream.truncate(self.written.into());
        if stream.capacity() - stream.len() < GROUP_BYTES {
            stream.reserve_exact(room(stream.len() + GROUP_BYTES) - stream.len());
        }
        encoder.write(group.iter().copied(), &mut stream);
        self.keep_stream(stream);
        // Gaps of the tail fit, and a chunk has few samples.
        self.encoder = encoder.rest().unwrap_or_default();
        group.last().map_or(self.newest, |(at, _)| *at)
    }

    /// Puts the stream back, its room as it is: the allocation stays the same.
    fn keep_stream(&mut self, mut stream: Vec<u8>) {
        // A chunk has less than 64 KiB.
        self.written = stream.len() as u16;
        let wanted = room(stream.len());
        if stream.capacity() > wanted + STEP {
            stream.shrink_to(wanted);
        }
        stream.resize(stream.capacity(), 0);
        self.stream = stream.into();
    }

    /// What the stream has.
    fn written(&self) -> &[u8] {
        &self.stream[..usize::from(self.written)]
    }

    /// Seals everything, for a sample too far ahead of the tail.
    fn seal_tail(&mut self) {
        let last = self.write(usize::from(self.tail_len));
        (self.tail_len, self.lags) = (0, false);
        self.seal(last);
    }

    /// Makes a chunk of the stream, which ends at `last`.
    fn seal(&mut self, last: i64) {
        let bytes = std::mem::take(&mut self.stream);
        let bytes = &bytes[..std::mem::take(&mut self.written).into()];
        let count = std::mem::take(&mut self.encoder).count.into();
        if let Some(first) = bytes.first_chunk() {
            let chunk = Chunk { first: i64::from_be_bytes(*first), last, count, step: 0, bytes: bytes.into() };
            let sealed = &mut self.old_mut().sealed;
            // A chunk is made every few minutes at the most: no room is held for the next.
            sealed.reserve_exact(1);
            sealed.push(chunk);
        }
    }

    /// Calls `take` for each float with `from <= time <= to`, in order of time.
    pub(super) fn floats(&self, from: i64, to: i64, mut take: impl FnMut(i64, f64)) {
        let tail = self.tail();
        if tail.clone().next().is_none_or(|(first, _)| from < first) {
            let sealed = self.sealed();
            let start = sealed.partition_point(|chunk| chunk.last < from);
            for chunk in sealed[start..].iter().take_while(|chunk| chunk.first <= to) {
                chunk.samples().skip_while(|s| s.0 < from).take_while(|s| s.0 <= to).for_each(|s| take(s.0, s.1));
            }
            let stream = self.stream();
            stream.skip_while(|s| s.0 < from).take_while(|s| s.0 <= to).for_each(|s| take(s.0, s.1));
        }
        tail.skip_while(|s| s.0 < from).take_while(|s| s.0 <= to).for_each(|s| take(s.0, s.1));
    }

    fn stream(&self) -> Decoder<'_> {
        Decoder::new(self.written(), self.encoder.count.into())
    }

    /// The histograms with `from <= time <= to`.
    pub(super) fn histograms_between(&self, from: i64, to: i64) -> &[HistogramAt] {
        let all = self.histograms();
        let start = all.partition_point(|(at, _)| *at < from);
        let end = all.partition_point(|(at, _)| *at <= to).max(start);
        &all[start..end]
    }

    /// Puts all points with `from <= time <= to` behind those in `out`, in order of time.
    pub(super) fn points(&self, from: i64, to: i64, out: &mut Vec<Point>) {
        let mut histograms = self.histograms_between(from, to).iter().peekable();
        let histogram = |(at, value): &HistogramAt| Point::Histogram(Timestamp::from_millis(*at), Arc::clone(value));
        self.floats(from, to, |at, value| {
            while let Some(earlier) = histograms.next_if(|(time, _)| *time < at) {
                out.push(histogram(earlier));
            }
            out.push(Point::Float(Timestamp::from_millis(at), value));
        });
        out.extend(histograms.map(histogram));
    }

    /// The newest point at or before a time.
    pub(super) fn last_before(&self, at: i64) -> Option<Point> {
        let float = self.last_float_before(at);
        let histograms = self.histograms();
        let histogram = histograms[..histograms.partition_point(|(time, _)| *time <= at)].last();
        match (float, histogram) {
            (float, Some((time, value))) if float.is_none_or(|(t, _)| t < *time) => {
                Some(Point::Histogram(Timestamp::from_millis(*time), Arc::clone(value)))
            }
            (float, _) => float.map(|(time, value)| Point::Float(Timestamp::from_millis(time), value)),
        }
    }

    fn last_float_before(&self, at: i64) -> Option<Sample> {
        if let Some(found) = self.tail_back().find(|(time, _)| *time <= at) {
            return Some(found);
        }
        if let Some(found) = self.stream().take_while(|(time, _)| *time <= at).last() {
            return Some(found);
        }
        let sealed = self.sealed();
        let before = sealed.partition_point(|chunk| chunk.first <= at);
        sealed[..before].last()?.samples().take_while(|(time, _)| *time <= at).last()
    }

    /// Whether there is work for [`History::forget`].
    pub(super) fn is_overdue(&self, now: i64, keep: i64) -> bool {
        let oldest = now.saturating_sub(keep);
        self.sealed().first().is_some_and(|chunk| chunk.last < oldest)
            || self.histograms().first().is_some_and(|(at, _)| *at < oldest)
            || coarse::step(keep).is_some_and(|step| self.thin_until(now, step).is_some())
    }

    /// Drops what is older than `keep` milliseconds, and thins out what is older than the exact hour.
    pub(super) fn forget(&mut self, now: i64, keep: i64) {
        let oldest = now.saturating_sub(keep);
        let gone = self.sealed().partition_point(|chunk| chunk.last < oldest);
        if let Some(last) = self.sealed()[..gone].last().map(|chunk| chunk.last) {
            let old = self.old_mut();
            old.sealed.drain(..gone);
            old.changed(last);
        }
        let gone = self.histograms().partition_point(|(at, _)| *at < oldest);
        if gone > 0 {
            self.old_mut().histograms.drain(..gone);
        }
        if let Some(step) = coarse::step(keep)
            && let Some(until) = self.thin_until(now, step)
        {
            self.thin(until, step);
        }
    }

    /// Up to where samples are to be thinned out now: an end of a step. `None` when too few are waiting.
    fn thin_until(&self, now: i64, step: u32) -> Option<i64> {
        let until = coarse::bucket(now.saturating_sub(coarse::EXACT_MILLIS), step) * i64::from(step);
        let waiting = until.saturating_sub(THIN_BATCH_MILLIS.max(i64::from(step)));
        let fine = self.sealed().iter().find(|chunk| chunk.step == 0).map(|chunk| chunk.first);
        let first = fine.or_else(|| self.first_whole_histogram(step));
        first.filter(|first| *first < waiting).map(|_| until)
    }

    /// The first of two histograms that stand in one step.
    fn first_whole_histogram(&self, step: u32) -> Option<i64> {
        let pairs = self.histograms().windows(2);
        pairs
            .map(|pair| (pair[0].0, pair[1].0))
            .find(|(a, b)| coarse::bucket(*a, step) == coarse::bucket(*b, step))
            .map(|(a, _)| a)
    }

    fn thin(&mut self, until: i64, step: u32) {
        let Some(old) = &mut self.old else { return };
        let old = Arc::make_mut(old);
        if !old.histograms.is_empty() {
            let mut later: Option<i64> = None;
            let list = &mut old.histograms;
            list.reverse();
            list.retain(|(at, _)| {
                let keeps = *at >= until || later != Some(coarse::bucket(*at, step));
                later = Some(coarse::bucket(*at, step));
                keeps
            });
            list.reverse();
        }
        let sealed = &mut old.sealed;
        if sealed.is_empty() {
            return;
        }
        let mut thinned = sealed.partition_point(|chunk| chunk.step > 0);
        let end = thinned + sealed[thinned..].partition_point(|chunk| chunk.first < until);
        let samples: Vec<Sample> = sealed[thinned..end].iter().flat_map(Chunk::samples).collect();
        let (before, after) = samples.split_at(samples.partition_point(|(at, _)| *at < until));
        let mut kept = Vec::new();
        // The last thinned chunk is filled up first.
        if let Some(open) = sealed[..thinned].last().filter(|chunk| chunk.count < CHUNK) {
            kept.extend(open.samples());
            thinned -= 1;
        }
        kept.extend(coarse::thin(before, step));
        let pieces = kept.chunks(CHUNK as usize).map(|piece| (piece, step)).chain([(after, 0)]);
        let chunks: Vec<Chunk> = pieces.filter_map(|(piece, step)| Chunk::of(piece, step)).collect();
        sealed.splice(thinned..end, chunks);
        sealed.shrink_to_fit();
        old.changed(until);
    }

    /// How often samples were dropped or thinned out, and the time up to which that may have been.
    pub(super) fn changes(&self) -> (u32, i64) {
        self.old.as_ref().map_or((0, i64::MIN), |old| (old.changes, old.changed_until))
    }

    /// Reads the next floats behind `after`, oldest first, all from one chunk or from the tail; gives how many. `cursor` is where the reading before stopped, if that was in a chunk.
    pub(super) fn read_ahead(&self, cursor: &mut Cursor, after: i64, out: &mut [Sample]) -> usize {
        let mut read = 0;
        if let Some((first, bytes, count)) = self.chunk_behind(after) {
            let mut decoder = match cursor.chunk() == Some(first) {
                true => Decoder::resume(bytes, count, cursor),
                false => Decoder::new(bytes, count),
            };
            while read < out.len()
                && let Some(sample) = decoder.next()
            {
                if sample.0 > after {
                    out[read] = sample;
                    read += 1;
                }
            }
            *cursor = decoder.cursor(first);
            if read > 0 {
                return read;
            }
        }
        for (place, sample) in out.iter_mut().zip(self.tail().skip_while(|(at, _)| *at <= after)) {
            *place = sample;
            read += 1;
        }
        read
    }

    /// The compressed samples among which the first one behind `after` is: their first time, bytes and count.
    fn chunk_behind(&self, after: i64) -> Option<(i64, &[u8], u32)> {
        if self.tail().next().is_some_and(|(first, _)| first <= after) {
            return None;
        }
        let count = self.encoder.count.into();
        let stream = self.written().first_chunk().map(|first| (i64::from_be_bytes(*first), self.written(), count));
        if stream.is_some_and(|(first, ..)| first <= after) {
            return stream;
        }
        let sealed = self.sealed();
        let chunk = sealed.get(sealed.partition_point(|chunk| chunk.last <= after));
        chunk.map(|chunk| (chunk.first, &*chunk.bytes, chunk.count)).or(stream)
    }

    /// Every chunk, the samples that are not sealed yet as one more.
    pub(super) fn chunks(&self) -> Vec<Chunk> {
        let mut chunks = self.sealed().to_vec();
        let mut open: Vec<Sample> = self.stream().collect();
        open.extend(self.tail());
        chunks.extend(Chunk::of(&open, 0));
        chunks
    }

    /// The history of those chunks and histograms; `None` when they are not in order of time, or no chunks.
    pub(super) fn restored(mut chunks: Vec<Chunk>, histograms: Vec<HistogramAt>) -> Option<History> {
        let mut history = History::default();
        let mut before = i64::MIN;
        for chunk in &chunks {
            let times: Vec<i64> = chunk.samples().map(|(at, _)| at).collect();
            let whole = times.len() == chunk.count as usize && times.first() == Some(&chunk.first);
            let ordered = times.is_sorted_by(|a, b| a < b) && times.last() == Some(&chunk.last);
            if !whole || !ordered || (chunk.first <= before && before != i64::MIN) {
                return None;
            }
            before = chunk.last;
        }
        if !histograms.is_sorted_by(|a, b| a.0 < b.0) || !chunks.is_sorted_by_key(|chunk| chunk.step == 0) {
            return None;
        }
        // The last chunk is written again, so that the newest samples stand in the tail.
        let last = chunks.pop_if(|chunk| chunk.step == 0);
        if !chunks.is_empty() {
            history.old_mut().sealed = chunks;
        }
        history.newest = before;
        if let Some(last) = last {
            history.newest = i64::MIN;
            last.samples().try_for_each(|(at, value)| history.push(at, value)).ok()?;
        }
        if let Some((newest, _)) = histograms.last() {
            if *newest > history.newest {
                history.move_newest(*newest);
            }
            history.old_mut().histograms = histograms;
        }
        Some(history)
    }

    /// Floats and histograms, and the bytes they take beside the struct itself.
    pub(super) fn size(&self) -> (usize, usize) {
        let sealed = self.sealed();
        let floats = sealed.iter().map(|chunk| chunk.count as usize).sum::<usize>();
        let chunk_bytes = sealed.iter().map(|chunk| size_of::<Chunk>() + chunk.bytes.len() + 16).sum::<usize>();
        let histogram_bytes = |(_, h): &HistogramAt| {
            let buckets = h.positive_buckets.len() + h.negative_buckets.len() + h.custom_values.len();
            let spans = h.positive_spans.len() + h.negative_spans.len();
            size_of::<HistogramAt>() + size_of::<FloatHistogram>() + 16 + 8 * (buckets + spans)
        };
        let open = usize::from(self.encoder.count) + usize::from(self.tail_len);
        let samples = floats + open + self.histograms().len();
        let old = self.old.as_ref().map_or(0, |_| size_of::<Old>() + 16);
        let bytes =
            old + chunk_bytes + self.stream.len() + self.histograms().iter().map(histogram_bytes).sum::<usize>();
        (samples, bytes)
    }
}
