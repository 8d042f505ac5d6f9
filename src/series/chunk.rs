//! Compressed runs of floats: Gorilla's scheme (Pelkonen et al., VLDB 2015), with times as deltas of deltas and values
//! as XOR with the one before; but whole numbers, and numbers with up to three digits after the point, as differences of
//! whole numbers, which takes a third of the room. What a number is, reader and writer find out from the values alone.
//!
//! Samples are written some at a time; what is carried from one time to the next is the encoder's state at rest
//! ([`Rest`]), which is small, as every series has one. Values come back bit by bit as they were, staleness markers
//! included. Reading never panics: bytes that are no chunk give fewer samples than announced.

use std::sync::Arc;

/// A chunk has this many samples at the most.
pub(super) const CHUNK: u32 = 240;

/// One float at one time, in milliseconds.
pub(super) type Sample = (i64, f64);

/// A closed run of samples.
#[derive(Clone, Debug)]
pub(super) struct Chunk {
    /// The time of the first sample.
    pub(super) first: i64,
    /// The time of the last sample.
    pub(super) last: i64,
    pub(super) count: u32,
    /// 0 when every sample is here; else the milliseconds of a step for which only some are (see `coarse.rs`).
    pub(super) step: u32,
    pub(super) bytes: Arc<[u8]>,
}

impl Chunk {
    /// A chunk of samples in order of time; `None` when there are none.
    pub(super) fn of(samples: &[Sample], step: u32) -> Option<Chunk> {
        let (first, last) = (samples.first()?.0, samples.last()?.0);
        let (mut encoder, mut bytes) = (Encoder::default(), Vec::new());
        encoder.write(samples.iter().copied(), &mut bytes);
        Some(Chunk { first, last, count: encoder.count, step, bytes: bytes.into() })
    }

    pub(super) fn samples(&self) -> Decoder<'_> {
        Decoder::new(&self.bytes, self.count)
    }
}

/// What the next sample is written against.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Encoder {
    state: State,
    /// Samples written so far.
    pub(super) count: u32,
    /// Bits of the last byte that are not used yet.
    spare: u8,
}

/// A state that is kept: without what follows from the rest of it or is known elsewhere.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rest {
    value: u64,
    step: i64,
    delta: u32,
    /// Samples so far.
    pub(super) count: u8,
    /// The window of differing bits: its leading zeros, and above these the encoder's spare bits.
    lead_and_spare: u8,
    /// Its width, and whether the last difference was one of differences.
    width_and_again: u8,
    /// Digits after the point, what is known of them (see [`OVER`]), the class of the last difference.
    digits_and_class: u8,
}

/// Of the digits after the point: they were given up; the last number is known; that, and the last two differences were
/// the same.
const OVER: u8 = 4;
const KNOWN: u8 = 8;
const QUIET: u8 = 12;

#[derive(Clone, Copy, Debug, Default)]
struct State {
    at: i64,
    delta: i64,
    value: u64,
    decimal: Decimal,
    /// Leading zeros and width of the last window of differing bits; a width of 0 is none.
    lead: u8,
    width: u8,
    /// How the last difference was written: as one of differences, and its class.
    again: bool,
    class: u8,
    /// The last two differences were the same. Only who writes looks at it.
    quiet: bool,
}

/// Numbers with few digits after the point, as whole numbers.
#[derive(Clone, Copy, Debug, Default)]
struct Decimal {
    /// The last number, and by how much it differed from the one before.
    whole: i64,
    step: i64,
    /// Digits after the point; they only grow.
    digits: u8,
    /// There was a number that is none of these: the rest of the chunk does without.
    over: bool,
    known: bool,
}

/// By the digits after the point.
const SCALES: [f64; 4] = [1.0, 10.0, 100.0, 1000.0];
/// Floats hold every whole number below this.
const WHOLE: u64 = 1 << 53;
/// Bits of a difference, by its class.
const WIDTHS: [u32; 16] = [0, 2, 3, 4, 5, 6, 7, 8, 10, 12, 15, 18, 24, 32, 42, 56];
/// So many bits a difference must save before it is written in another way than the last.
const WORTH: u32 = 2;

impl Decimal {
    /// The value as a whole number of the last digit, if that gives back its very bits.
    fn whole(value: f64, digits: u8) -> Option<i64> {
        let scale = SCALES[usize::from(digits)];
        let scaled = value * scale;
        let whole = (scaled + 0.5_f64.copysign(scaled)) as i64;
        let same = (whole as f64 / scale).to_bits() == value.to_bits();
        (same && whole.unsigned_abs() < WHOLE).then_some(whole)
    }

    /// The value of a whole number.
    fn value(&self, whole: i64) -> f64 {
        whole as f64 / SCALES[usize::from(self.digits)]
    }

    /// Takes note of a value that was written in full. Behind one that is no number the next is written in full too.
    fn settle(&mut self, value: f64) {
        self.known = false;
        if self.over || value.is_nan() {
            return;
        }
        let found = (self.digits..SCALES.len() as u8).find_map(|digits| Some((digits, Decimal::whole(value, digits)?)));
        match found {
            Some((digits, whole)) => *self = Decimal { whole, step: 0, digits, over: false, known: true },
            None => self.over = true,
        }
    }

    /// The differences that stand for a value, and its whole number: by how much it differs from the last, and that less
    /// the last difference.
    fn differences(&self, value: f64) -> Option<(i64, [u64; 2])> {
        if self.over || !self.known {
            return None;
        }
        let whole = Decimal::whole(value, self.digits)?;
        let step = whole - self.whole;
        Some((whole, [zigzag(step), zigzag(step - self.step)]))
    }
}

/// The bits that a difference has.
fn used(difference: u64) -> u32 {
    64 - difference.leading_zeros()
}

fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)) as u64
}

fn unzigzag(bits: u64) -> i64 {
    (bits >> 1) as i64 ^ -((bits & 1) as i64)
}

impl Encoder {
    /// Goes on; `at` is the time of the last sample that was written.
    pub(super) fn wake(rest: &Rest, at: i64) -> Encoder {
        Encoder { state: rest.state(at), count: rest.count.into(), spare: rest.lead_and_spare >> 5 }
    }

    /// What is to be kept of it; `None` when the last two samples are too far apart for that.
    pub(super) fn rest(&self) -> Option<Rest> {
        self.state.rest(self.count, self.spare)
    }

    /// Writes samples behind those that are in `out`.
    pub(super) fn write(&mut self, samples: impl Iterator<Item = Sample>, out: &mut Vec<u8>) {
        let mut bits = BitWriter::behind(out, self.spare);
        for (at, value) in samples {
            if self.count == 0 {
                bits.put(at as u64, 64);
                bits.put(value.to_bits(), 64);
                self.state = State { at, value: value.to_bits(), ..State::default() };
                self.state.decimal.settle(value);
            } else {
                self.state.put_time(at, &mut bits);
                self.state.put_value(value.to_bits(), &mut bits);
            }
            self.count += 1;
        }
        self.spare = bits.end();
    }
}

impl Rest {
    fn state(&self, at: i64) -> State {
        let (digits, kind) = (self.digits_and_class & 3, self.digits_and_class & 12);
        let (over, known) = (kind == OVER, kind == KNOWN || kind == QUIET);
        let whole = if known { Decimal::whole(f64::from_bits(self.value), digits) } else { None };
        State {
            at,
            delta: self.delta.into(),
            value: self.value,
            decimal: Decimal { whole: whole.unwrap_or(0), step: self.step, digits, over, known },
            lead: self.lead_and_spare & 31,
            width: self.width_and_again & 0x7f,
            again: self.width_and_again & 0x80 != 0,
            class: self.digits_and_class >> 4,
            quiet: kind == QUIET,
        }
    }
}

impl State {
    fn rest(&self, count: u32, spare: u8) -> Option<Rest> {
        let decimal = &self.decimal;
        let kind = match (decimal.over, decimal.known, self.quiet) {
            (true, ..) => OVER,
            (_, false, _) => 0,
            (_, true, false) => KNOWN,
            (_, true, true) => QUIET,
        };
        Some(Rest {
            value: self.value,
            step: decimal.step,
            delta: u32::try_from(self.delta).ok()?,
            count: u8::try_from(count).ok()?,
            lead_and_spare: (self.lead & 31) | (spare << 5),
            width_and_again: (self.width & 0x7f) | (u8::from(self.again) << 7),
            digits_and_class: (decimal.digits & 3) | kind | (self.class << 4),
        })
    }

    fn put_time(&mut self, at: i64, bits: &mut BitWriter<'_>) {
        let delta = at.wrapping_sub(self.at);
        let change = delta.wrapping_sub(self.delta);
        match change {
            0 => bits.put(0, 1),
            -32..32 => bits.put((0b10 << 6) | (change as u64 & 0x3f), 8),
            -4096..4096 => bits.put((0b110 << 13) | (change as u64 & 0x1fff), 16),
            -524_288..524_288 => bits.put((0b1110 << 20) | (change as u64 & 0xf_ffff), 24),
            _ => {
                bits.put(0b1111, 4);
                bits.put(change as u64, 64);
            }
        }
        (self.at, self.delta) = (at, delta);
    }

    fn put_value(&mut self, value: u64, bits: &mut BitWriter<'_>) {
        let change = value ^ self.value;
        self.value = value;
        if change == 0 {
            self.decimal.step = 0;
            return bits.put(0, 1);
        }
        let float = f64::from_bits(value);
        if let Some((whole, differences)) = self.decimal.differences(float) {
            (self.decimal.step, self.decimal.whole) = (whole - self.decimal.whole, whole);
            return self.put_difference(differences, bits);
        }
        self.quiet = false;
        let (known_lead, known_width) = (u32::from(self.lead), u32::from(self.width));
        let lead = change.leading_zeros().min(31);
        let trail = change.trailing_zeros();
        let fits = known_width > 0 && lead >= known_lead && trail >= 64 - known_lead - known_width;
        // A window much wider than the difference is worth its 11 bits again.
        if fits && known_width <= 64 - lead - trail + 11 {
            bits.put(0b110, 3);
            bits.put(change >> (64 - known_lead - known_width), known_width);
        } else {
            let width = 64 - lead - trail;
            (self.lead, self.width) = (lead as u8, width as u8);
            bits.put(0b111, 3);
            bits.put(u64::from(lead), 5);
            bits.put(u64::from(width - 1), 6);
            bits.put(change >> (64 - lead - width), width);
        }
        self.decimal.settle(float);
    }

    /// Writes the smaller of two differences, or the one that can be written as the last was, where that takes no more.
    fn put_difference(&mut self, differences: [u64; 2], bits: &mut BitWriter<'_>) {
        let again = differences[1] < differences[0];
        let smaller = used(differences[usize::from(again)]);
        let class = WIDTHS.iter().position(|width| smaller <= *width).unwrap_or(WIDTHS.len() - 1);
        let (known, width) = (differences[usize::from(self.again)], WIDTHS[usize::from(self.class)]);
        // A steady series needs no bits for its differences of differences.
        let before = std::mem::replace(&mut self.quiet, differences[1] == 0);
        let steady = before && self.quiet && width > 0;
        let worth = steady || width > WIDTHS[class] + 5 + WORTH;
        if used(known) <= width && !worth {
            bits.put(0b101, 3);
            return bits.put(known, width);
        }
        (self.again, self.class) = (again, class as u8);
        bits.put(0b1000_0000 | (u64::from(again) << 4) | class as u64, 8);
        bits.put(differences[usize::from(again)], WIDTHS[class]);
    }

    fn take_time(&mut self, bits: &mut BitReader<'_>) -> Option<()> {
        let word = bits.peek();
        let ones = word.leading_ones().min(4);
        let change = if ones < 4 {
            let width = [0, 6, 13, 20][ones as usize];
            bits.skip(ones + 1 + width)?;
            // Shifted in two steps, for a width of 0.
            (((word << (ones + 1)) as i64) >> (63 - width)) >> 1
        } else {
            bits.skip(4)?;
            bits.take(64)? as i64
        };
        self.delta = self.delta.wrapping_add(if ones == 0 { 0 } else { change });
        self.at = self.at.wrapping_add(self.delta);
        Some(())
    }

    fn take_value(&mut self, bits: &mut BitReader<'_>) -> Option<()> {
        let word = bits.peek();
        if word >> 63 == 0 {
            self.decimal.step = 0;
            return bits.skip(1);
        }
        if (word >> 62) & 1 == 0 {
            return self.take_difference(word, bits);
        }
        let mut header = 3;
        if (word >> 61) & 1 == 1 {
            self.lead = ((word << 3) >> 59) as u8;
            self.width = ((word << 8) >> 58) as u8 + 1;
            header = 14;
        }
        let (lead, width) = (u32::from(self.lead), u32::from(self.width));
        if width == 0 || lead + width > 64 {
            return None;
        }
        let change = bits.behind(word, header, width)?;
        self.value ^= change << (64 - lead - width);
        self.decimal.settle(f64::from_bits(self.value));
        Some(())
    }

    fn take_difference(&mut self, word: u64, bits: &mut BitReader<'_>) -> Option<()> {
        let mut header = 3;
        if (word >> 61) & 1 == 0 {
            (self.again, self.class) = ((word >> 60) & 1 == 1, (word >> 56) as u8 & 15);
            header = 8;
        }
        let width = WIDTHS[usize::from(self.class)];
        let difference = if width == 0 {
            bits.skip(header)?;
            0
        } else {
            unzigzag(bits.behind(word, header, width)?)
        };
        let decimal = &mut self.decimal;
        decimal.step = if self.again { decimal.step.wrapping_add(difference) } else { difference };
        decimal.whole = decimal.whole.wrapping_add(decimal.step);
        self.value = decimal.value(decimal.whole).to_bits();
        Some(())
    }
}

/// Reads the samples of a chunk back.
#[derive(Clone, Debug)]
pub(super) struct Decoder<'b> {
    bits: BitReader<'b>,
    state: State,
    read: u32,
    count: u32,
}

/// How far a chunk was read: what a [`Decoder`] of the same bytes, or of more of them, goes on from. The default stands
/// in no chunk.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cursor {
    /// The time of the chunk's first sample.
    pub(super) chunk: i64,
    pub(super) rest: Rest,
    /// The milliseconds from there to the last sample that was read.
    pub(super) since: u32,
    /// The next bit: a chunk of 255 samples, which is what a rest can count, has fewer than this can.
    pub(super) bit: u16,
}

impl Cursor {
    /// The time of the first sample of the chunk in which it stands.
    pub(super) fn chunk(&self) -> Option<i64> {
        (self.rest.count > 0).then_some(self.chunk)
    }
}

impl<'b> Decoder<'b> {
    /// Goes on where another decoder stopped.
    pub(super) fn resume(bytes: &'b [u8], count: u32, cursor: &Cursor) -> Decoder<'b> {
        let bits = BitReader { bytes, at: cursor.bit.into() };
        let state = cursor.rest.state(cursor.chunk.wrapping_add(cursor.since.into()));
        Decoder { bits, state, read: cursor.rest.count.into(), count }
    }

    /// Where to go on later; `chunk`: the time of the first sample. The default when that would be too far away.
    pub(super) fn cursor(&self, chunk: i64) -> Cursor {
        let found = || {
            let since = u32::try_from(self.state.at.wrapping_sub(chunk)).ok()?;
            Some(Cursor { chunk, rest: self.state.rest(self.read, 0)?, since, bit: u16::try_from(self.bits.at).ok()? })
        };
        found().unwrap_or_default()
    }

    pub(super) fn new(bytes: &'b [u8], count: u32) -> Decoder<'b> {
        Decoder { bits: BitReader { bytes, at: 0 }, state: State::default(), read: 0, count }
    }

    fn read_one(&mut self) -> Option<()> {
        if self.read == 0 {
            self.state.at = self.bits.take(64)? as i64;
            self.state.value = self.bits.take(64)?;
            self.state.decimal.settle(f64::from_bits(self.state.value));
            return Some(());
        }
        self.state.take_time(&mut self.bits)?;
        self.state.take_value(&mut self.bits)
    }
}

impl Iterator for Decoder<'_> {
    type Item = Sample;

    fn next(&mut self) -> Option<Sample> {
        if self.read >= self.count {
            return None;
        }
        self.read_one()?;
        self.read += 1;
        Some((self.state.at, f64::from_bits(self.state.value)))
    }
}

struct BitWriter<'o> {
    out: &'o mut Vec<u8>,
    acc: u64,
    bits: u32,
}

impl<'o> BitWriter<'o> {
    /// Goes on in the last byte, of which so many bits are not used.
    fn behind(out: &'o mut Vec<u8>, spare: u8) -> BitWriter<'o> {
        match out.pop_if(|_| spare > 0) {
            Some(last) => BitWriter { out, acc: u64::from(last >> spare), bits: 8 - u32::from(spare) },
            None => BitWriter { out, acc: 0, bits: 0 },
        }
    }

    /// Writes the lowest `width` bits, highest first; at most 64.
    fn put(&mut self, value: u64, width: u32) {
        if width > 32 {
            self.put(value >> 32, width - 32);
            return self.put(value & 0xffff_ffff, 32);
        }
        let mask = (1_u64 << width) - 1;
        self.acc = (self.acc << width) | (value & mask);
        self.bits += width;
        while self.bits >= 8 {
            self.bits -= 8;
            self.out.push((self.acc >> self.bits) as u8);
        }
    }

    /// Fills the last byte up; gives how many of its bits are not used.
    fn end(mut self) -> u8 {
        let spare = (8 - self.bits) % 8;
        if spare > 0 {
            self.put(0, spare);
        }
        spare as u8
    }
}

#[derive(Clone, Debug)]
struct BitReader<'b> {
    bytes: &'b [u8],
    /// The next bit.
    at: usize,
}

impl BitReader<'_> {
    /// So many bits of a peek are always good.
    const PEEKED: u32 = 57;

    /// The bits from here on, highest first; zeros past the end.
    fn peek(&self) -> u64 {
        let byte = self.at / 8;
        let word = match self.bytes.get(byte..byte + 8) {
            Some(eight) => u64::from_be_bytes(eight.try_into().unwrap_or_default()),
            None => {
                let rest = self.bytes.get(byte..).unwrap_or_default();
                let mut eight = [0; 8];
                eight[..rest.len()].copy_from_slice(rest);
                u64::from_be_bytes(eight)
            }
        };
        word << (self.at % 8)
    }

    /// The `width` bits (1 to 64) behind the first `header` bits of a peek, and passes over all of them.
    fn behind(&mut self, peeked: u64, header: u32, width: u32) -> Option<u64> {
        if header + width <= BitReader::PEEKED {
            self.skip(header + width)?;
            return Some((peeked << header) >> (64 - width));
        }
        self.skip(header)?;
        self.take(width)
    }

    /// Passes over bits; `None` past the end.
    fn skip(&mut self, bits: u32) -> Option<()> {
        let end = self.at + bits as usize;
        if end > self.bytes.len() * 8 {
            return None;
        }
        self.at = end;
        Some(())
    }

    /// The next `width` bits, 1 to 64; `None` past the end.
    fn take(&mut self, width: u32) -> Option<u64> {
        if width > 32 {
            let high = self.take(width - 32)?;
            return Some((high << 32) | self.take(32)?);
        }
        let word = self.peek();
        self.skip(width)?;
        Some(word >> (64 - width))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bits(samples: impl IntoIterator<Item = Sample>) -> Vec<(i64, u64)> {
        samples.into_iter().map(|(at, value)| (at, value.to_bits())).collect()
    }

    #[test]
    fn a_steady_series_takes_few_bytes() {
        let gauge: Vec<Sample> = (0..120).map(|i| (1_700_000_000_000 + i * 1000, 5.0)).collect();
        let counter: Vec<Sample> = (0..120).map(|i| (1_700_000_000_000 + i * 1000, (1000 + i * 7) as f64)).collect();
        let size = |samples: &[Sample]| Chunk::of(samples, 0).expect("samples").bytes.len();
        let cents: Vec<Sample> =
            gauge.iter().map(|(at, _)| (*at, (at / 1000 * 7919 % 10_007) as f64 / 100.0)).collect();
        assert!(size(&gauge) <= 60, "{}", size(&gauge));
        assert!(size(&counter) <= 80, "{}", size(&counter));
        assert!(size(&cents) <= 310, "{}", size(&cents));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn samples_come_back_bit_by_bit(
            samples in prop::collection::vec((any::<i64>(), any::<u64>().prop_map(f64::from_bits)), 1..300),
            steady in prop::collection::vec((-50_i64..50, 0_u32..5), 1..300),
        ) {
            let chunk = Chunk::of(&samples, 0).expect("samples");
            prop_assert_eq!(bits(chunk.samples()), bits(samples));
            let mut at = 0;
            let steady: Vec<Sample> = steady.iter().map(|(jitter, value)| {
                at += 1000;
                (at + jitter, f64::from(*value) * 0.1)
            }).collect();
            let chunk = Chunk::of(&steady, 0).expect("samples");
            prop_assert_eq!(bits(chunk.samples()), bits(steady));
        }

        #[test]
        fn numbers_of_all_kinds_come_back_bit_by_bit(
            whats in prop::collection::vec((0_u8..24, any::<i32>(), any::<i64>()), 1..400),
        ) {
            let value = |(what, small, large): (u8, i32, i64)| match what {
                0 => f64::from_bits(large as u64),
                1 => crate::model::stale_nan(),
                2 => -0.0,
                3 => large as f64,
                4..=7 => f64::from(small) / 1000.0,
                8..=12 => f64::from(small % 100) / 10.0,
                13 => 9_007_199_254_740_991.0 - f64::from(small % 3),
                14 => -9_007_199_254_740_991.0,
                _ => f64::from(small % 1000),
            };
            let samples: Vec<Sample> = whats.into_iter().zip(0..).map(|(what, at)| (at, value(what))).collect();
            let chunk = Chunk::of(&samples, 0).expect("samples");
            prop_assert_eq!(bits(chunk.samples()), bits(samples.iter().copied()));
            // What is written in pieces, with a rest after each, is the same.
            let (mut rest, mut before, mut bytes) = (Rest::default(), 0, Vec::new());
            for piece in samples.chunks(3).take(80) {
                let mut encoder = Encoder::wake(&rest, before);
                encoder.write(piece.iter().copied(), &mut bytes);
                (rest, before) = (encoder.rest().expect("small gaps"), piece[piece.len() - 1].0);
            }
            let whole = Chunk::of(&samples[..samples.len().min(240)], 0).expect("samples");
            prop_assert_eq!(&bytes[..], &whole.bytes[..]);
            // What is read in pieces as well.
            let (mut cursor, mut read) = (Cursor::default(), Vec::new());
            while read.len() < samples.len().min(240) {
                let mut decoder = match cursor.chunk() {
                    Some(_) => Decoder::resume(&whole.bytes, whole.count, &cursor),
                    None => Decoder::new(&whole.bytes, whole.count),
                };
                read.extend(decoder.by_ref().take(7));
                cursor = decoder.cursor(0);
            }
            prop_assert_eq!(bits(read), bits(samples.into_iter().take(240)));
        }

        #[test]
        fn other_bytes_give_fewer_samples_and_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(Decoder::new(&bytes, 1000).count() <= 1000);
        }
    }
}
