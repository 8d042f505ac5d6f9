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
use crate::series::{Follower, Trail};

/// One float of a window.
pub(super) type Sample = (i64, f64);

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

/// A window over one series, with what is kept of it.
#[derive(Clone, Debug)]
pub(super) struct Slide {
    pub trail: Trail,
    pub kept: Kept,
}

/// What is kept of a window.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub count: usize,
    pub sums: Sums,
}

/// Beside the count.
#[derive(Clone, Debug)]
pub(super) enum Sums {
    Ends {
        last: Sample,
        counter: bool,
        /// The samples before each reset; boxed, because most series have none.
        #[expect(
            clippy::box_collection,
            reason = "most series have none: a pointer instead of four words in each window"
        )]
        resets: Option<Box<VecDeque<Sample>>>,
    },
    Count,
    /// Boxed: it is twice as large as the others.
    Sum(Box<FixedSum>),
    Extreme {
        largest: bool,
        /// NaN and negative zeros, whose order matters.
        odd: u32,
        /// The newest of the best; unknown after it left and until the window is read.
        best: Option<Sample>,
    },
}

/// A sum of floats in fixed point, of the values and of their sizes.
#[derive(Clone, Debug, Default)]
pub(super) struct FixedSum {
    sum: i128,
    sizes: i128,
    /// Values that are no whole numbers; negative zero is none.
    fractions: usize,
    /// Values too large for this, infinite ones and NaN.
    odd: usize,
}

const POINT: f64 = 4_294_967_296.0;
const LARGEST: f64 = 1.152_921_504_606_847e18;
/// Floats hold every whole number up to here.
const WHOLE: i128 = 1 << 53;

impl FixedSum {
    fn add(&mut self, value: f64, sign: i8) {
        let step = |count: &mut usize| *count = count.wrapping_add_signed(isize::from(sign));
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
    pub(super) fn bounds(&self, count: usize) -> Option<(f64, f64)> {
        if self.odd > 0 {
            return None;
        }
        // Cutting off loses less than a step a value; a compensated sum is far better than one part in 1e12.
        let sizes = self.sizes as f64 / POINT + count as f64;
        let error = sizes * 1e-12 + count as f64 / POINT;
        let sum = self.sum as f64 / POINT;
        Some((sum - error, sum + error))
    }
}

impl Slide {
    pub(super) fn new(wanted: Wanted) -> Slide {
        let sums = match wanted {
            Wanted::Ends { counter } => Sums::Ends { last: (0, 0.0), counter, resets: None },
            Wanted::Count => Sums::Count,
            Wanted::Sum => Sums::Sum(Box::default()),
            Wanted::Extreme { largest } => Sums::Extreme { largest, odd: 0, best: None },
        };
        Slide { trail: Trail::default(), kept: Kept { count: 0, sums } }
    }
}

impl Kept {
    /// Takes over what a window that was read says.
    pub(super) fn learn(&mut self, samples: &SeriesSamples) {
        if let Sums::Extreme { largest, odd: 0, best } = &mut self.sums {
            let beats = |now: f64, known: f64| if *largest { now >= known } else { now <= known };
            let newest_best = samples.floats.iter().copied().reduce(|a, b| if beats(b.value, a.value) { b } else { a });
            *best = newest_best.map(|point| (point.at, point.value));
        }
    }
}

fn is_odd(value: f64) -> bool {
    value.is_nan() || (value == 0.0 && value.is_sign_negative())
}

impl Follower for Kept {
    fn clear(&mut self) {
        self.count = 0;
        match &mut self.sums {
            Sums::Ends { resets, .. } => *resets = None,
            Sums::Count => {}
            Sums::Sum(sum) => **sum = FixedSum::default(),
            Sums::Extreme { odd, best, .. } => (*odd, *best) = (0, None),
        }
    }

    fn enter(&mut self, at: i64, value: f64) {
        match &mut self.sums {
            Sums::Ends { last, counter, resets } => {
                if *counter && self.count > 0 && value < last.1 {
                    resets.get_or_insert_default().push_back(*last);
                }
                *last = (at, value);
            }
            Sums::Count => {}
            Sums::Sum(sum) => sum.add(value, 1),
            Sums::Extreme { largest, odd, best } => {
                *odd += u32::from(is_odd(value));
                match best {
                    Some((_, known)) if (if *largest { value < *known } else { value > *known }) => {}
                    Some(known) => *known = (at, value),
                    None if self.count == 0 => *best = Some((at, value)),
                    None => {}
                }
            }
        }
        self.count += 1;
    }

    fn leave(&mut self, at: i64, value: f64) {
        self.count -= 1;
        match &mut self.sums {
            Sums::Ends { resets, .. } => {
                if let Some(list) = resets {
                    list.pop_front_if(|before| before.0 <= at);
                    resets.take_if(|list| list.is_empty());
                }
            }
            Sums::Count => {}
            Sums::Sum(sum) => sum.add(value, -1),
            Sums::Extreme { odd, best, .. } => {
                *odd -= u32::from(is_odd(value));
                best.take_if(|known| known.0 == at);
            }
        }
    }
}
