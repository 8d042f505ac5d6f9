//! Windows that move: what a prepared expression keeps of the windows of its range functions from one evaluation to the
//! next, so that an evaluation costs the samples that came and went and not the window.
//!
//! Only where the answer is the same to the last bit:
//!
//! * `rate`, `increase`, `delta`: the first and the last sample, and the values before resets in their order;
//! * `count_over_time`, `present_over_time`;
//! * `sum_over_time`, `avg_over_time`: while every partial sum is a whole number that a float holds exactly. For other
//!   values a sum in fixed point says whether a comparison can hold at all; if it can, the window is read.
//! * `min_over_time`, `max_over_time`: the best so far; when it leaves, the window is read.

use std::collections::VecDeque;

use super::selector::SeriesSamples;
use crate::series::{Course, Follower, Trail};

/// One float of a window, its time that of the window's course.
pub(super) type Sample = (u32, f64);

/// What a range function needs to know of its window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// First, last, and resets if it is for counters.
    Ends {
        counter: bool,
    },
    Count,
    Sum,
    Extreme {
        largest: bool,
    },
}

/// A window over one series, with what is kept of it. What all windows of a selector have in common stands beside
/// their list.
#[derive(Clone, Debug, Default)]
pub(super) struct Slide {
    pub trail: Trail,
    pub kept: Kept,
}

/// What is kept of a window.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub count: u32,
    /// For the ends: the last sample. For extremes: the newest of the best; its time is [`Course::NEVER`] after it left
    /// and until the window is read.
    at: u32,
    value: f64,
    more: Option<Box<More>>,
}

/// What most windows have none of, or what is large.
#[derive(Clone, Debug)]
enum More {
    /// The samples before each reset.
    Resets(VecDeque<Sample>),
    Sum(FixedSum),
    /// How many NaN and negative zeros there are, whose order matters.
    Odd(u32),
}

/// A sum of floats in fixed point, of the values and of their sizes. Packed, as the alignment of its large numbers would
/// take eight bytes more than it has, and sixteen beside others.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, packed(8))]
pub(super) struct FixedSum {
    sum: i128,
    sizes: i128,
    /// Values that are no whole numbers; negative zero is none.
    fractions: u32,
    /// Values too large for this, infinite ones and NaN.
    odd: u32,
}

const POINT: f64 = 4_294_967_296.0;
const LARGEST: f64 = 1.152_921_504_606_847e18;
/// Floats hold every whole number up to here.
const WHOLE: i128 = 1 << 53;

impl FixedSum {
    fn add(&mut self, value: f64, sign: i8) {
        let step = |count: &mut u32| *count = count.wrapping_add_signed(i32::from(sign));
        if value.is_nan() || value.abs() >= LARGEST {
            return step(&mut self.odd);
        }
        if value.fract() != 0.0 || (value == 0.0 && value.is_sign_negative()) {
            step(&mut self.fractions);
        }
        let fixed = (value * POINT) as i128;
        self.sum += fixed * i128::from(sign);
        self.sizes += fixed.abs() * i128::from(sign);
    }

    /// The sum as any order of adding gives it, if all partial sums are exact.
    pub(super) fn exact(&self) -> Option<f64> {
        let whole = self.odd == 0 && self.fractions == 0 && (self.sizes >> 32) < WHOLE;
        whole.then_some((self.sum >> 32) as f64)
    }

    /// Bounds of a compensated sum of the values; `None` when nothing can be said.
    pub(super) fn bounds(&self, count: u32) -> Option<(f64, f64)> {
        if self.odd > 0 {
            return None;
        }
        // Cutting off loses less than a step a value; a compensated sum is far better than one part in 1e12.
        let sizes = self.sizes as f64 / POINT + f64::from(count);
        let error = sizes * 1e-12 + f64::from(count) / POINT;
        let sum = self.sum as f64 / POINT;
        Some((sum - error, sum + error))
    }
}

impl Default for Kept {
    fn default() -> Kept {
        Kept { count: 0, at: Course::NEVER, value: 0.0, more: None }
    }
}

impl Kept {
    /// The last sample of a window that is not empty, followed for its ends.
    pub(super) fn last(&self) -> Sample {
        (self.at, self.value)
    }

    /// The values before resets, in their order.
    pub(super) fn before_resets(&self) -> impl Iterator<Item = f64> {
        let list = match self.more.as_deref() {
            Some(More::Resets(list)) => Some(list),
            _ => None,
        };
        list.into_iter().flatten().map(|(_, value)| *value)
    }

    pub(super) fn sum(&self) -> Option<&FixedSum> {
        match self.more.as_deref() {
            Some(More::Sum(sum)) => Some(sum),
            _ => None,
        }
    }

    /// The extreme; `None` when the window has to be read for it.
    pub(super) fn best(&self) -> Option<f64> {
        (self.at != Course::NEVER && self.odd() == 0).then_some(self.value)
    }

    fn odd(&self) -> u32 {
        match self.more.as_deref() {
            Some(More::Odd(odd)) => *odd,
            _ => 0,
        }
    }

    fn set_odd(&mut self, odd: u32) {
        self.more = (odd > 0).then(|| Box::new(More::Odd(odd)));
    }

    /// Takes over what a window that was read says.
    pub(super) fn learn(&mut self, wanted: Wanted, course: &Course, samples: &SeriesSamples) {
        let Wanted::Extreme { largest } = wanted else { return };
        if self.odd() > 0 {
            return;
        }
        let beats = |now: f64, known: f64| if largest { now >= known } else { now <= known };
        let newest_best = samples.floats.iter().copied().reduce(|a, b| if beats(b.value, a.value) { b } else { a });
        (self.at, self.value) = newest_best.map_or((Course::NEVER, 0.0), |best| (course.offset(best.at), best.value));
    }

    /// Notes a value before a reset.
    fn reset(&mut self, before: Sample) {
        match self.more.as_deref_mut() {
            Some(More::Resets(list)) => list.push_back(before),
            _ => self.more = Some(Box::new(More::Resets(VecDeque::from([before])))),
        }
    }

    fn add(&mut self, value: f64, sign: i8) {
        match self.more.get_or_insert_with(|| Box::new(More::Sum(FixedSum::default()))).as_mut() {
            More::Sum(sum) => sum.add(value, sign),
            More::Resets(_) | More::Odd(_) => {}
        }
    }
}

fn is_odd(value: f64) -> bool {
    value.is_nan() || (value == 0.0 && value.is_sign_negative())
}

/// Keeps of a window what is wanted.
pub(super) struct Keeper<'k> {
    pub wanted: Wanted,
    pub kept: &'k mut Kept,
}

impl Follower for Keeper<'_> {
    fn clear(&mut self) {
        *self.kept = Kept::default();
    }

    fn enter(&mut self, at: u32, value: f64) {
        let kept = &mut *self.kept;
        match self.wanted {
            Wanted::Ends { counter } => {
                if counter && kept.count > 0 && value < kept.value {
                    kept.reset(kept.last());
                }
                (kept.at, kept.value) = (at, value);
            }
            Wanted::Count => {}
            Wanted::Sum => kept.add(value, 1),
            Wanted::Extreme { largest } => {
                if is_odd(value) {
                    kept.set_odd(kept.odd() + 1);
                }
                let beaten = if largest { value < kept.value } else { value > kept.value };
                let taken = if kept.at == Course::NEVER { kept.count == 0 } else { !beaten };
                if taken {
                    (kept.at, kept.value) = (at, value);
                }
            }
        }
        kept.count += 1;
    }

    fn leave(&mut self, at: u32, value: f64) {
        let kept = &mut *self.kept;
        kept.count -= 1;
        match self.wanted {
            Wanted::Ends { .. } => {
                if let Some(More::Resets(list)) = kept.more.as_deref_mut() {
                    list.pop_front_if(|before| before.0 <= at);
                    if list.is_empty() {
                        kept.more = None;
                    }
                }
            }
            Wanted::Count => {}
            Wanted::Sum => kept.add(value, -1),
            Wanted::Extreme { .. } => {
                if is_odd(value) {
                    kept.set_odd(kept.odd() - 1);
                }
                if kept.at == at {
                    kept.at = Course::NEVER;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_takes_little() {
        // 10,000 rules over 100,000 series have 70,000 of these and more.
        assert!(size_of::<Slide>() <= 96, "{}", size_of::<Slide>());
        assert!(size_of::<More>() <= 48, "{}", size_of::<More>());
    }
}
