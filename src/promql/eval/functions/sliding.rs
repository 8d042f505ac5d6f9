//! Range functions of prepared expressions: from what is kept of a window that moves ([`crate::promql::eval::slide`])
//! where that gives the same answer to the last bit, else from the window itself.

use super::range_call::RangeCall;
use super::rates::{Ends, Meaning};
use crate::model::Labels;
use crate::promql::ast::{Call, Expr, Kind, RangeSelector, WindowMode};
use crate::promql::eval::binary::Filter;
use crate::promql::eval::error::EvalError;
use crate::promql::eval::evaluator::{Element, Evaluator, Frame, bare, key};
use crate::promql::eval::selector::{Bounds, SeriesSamples};
use crate::promql::eval::slide::{Keeper, Slide, Wanted};
use crate::series::Course;

/// A range function that can be followed.
#[derive(Clone, Copy)]
struct Followed {
    name: &'static str,
    wanted: Wanted,
    meaning: Meaning,
}

fn followed(name: &'static str) -> Option<Followed> {
    let wanted = match name {
        "rate" | "increase" => Wanted::Ends { counter: true },
        "delta" => Wanted::Ends { counter: false },
        "count_over_time" | "present_over_time" => Wanted::Count,
        "sum_over_time" | "avg_over_time" => Wanted::Sum,
        "min_over_time" => Wanted::Extreme { largest: false },
        "max_over_time" => Wanted::Extreme { largest: true },
        _ => return None,
    };
    let meaning = Meaning { counter: name != "delta", per_second: name == "rate" };
    Some(Followed { name, wanted, meaning })
}

/// What is known of a function's value without reading its window.
enum Known {
    Value(f64),
    /// There is none.
    Nothing,
    /// It lies within these bounds.
    Between(f64, f64),
    Unknown,
}

impl Followed {
    fn known(&self, slide: &Slide, course: &Course, bounds: &Bounds) -> Known {
        let kept = &slide.kept;
        let number = f64::from(kept.count);
        match self.wanted {
            Wanted::Ends { .. } => {
                let Some(first) = slide.trail.first() else { return Known::Nothing };
                let last = kept.last();
                let result = kept.before_resets().fold(last.1 - first.1, |result, before| result + before);
                let [first, last] = [first, last].map(|(at, value)| (course.time(at), value));
                let ends = Ends { first, last, count: kept.count as usize, result };
                ends.stretched(bounds, self.meaning, &[]).map_or(Known::Nothing, Known::Value)
            }
            Wanted::Count => Known::Value(if self.name == "count_over_time" { number } else { 1.0 }),
            Wanted::Sum => {
                let Some(sum) = kept.sum() else { return Known::Unknown };
                let divisor = if self.name == "avg_over_time" { number } else { 1.0 };
                match (sum.exact(), sum.bounds(kept.count)) {
                    (Some(sum), _) => Known::Value(sum / divisor),
                    (None, Some((low, high))) => Known::Between(low / divisor, high / divisor),
                    (None, None) => Known::Unknown,
                }
            }
            Wanted::Extreme { .. } => kept.best().map_or(Known::Unknown, Known::Value),
        }
    }
}

impl Evaluator<'_> {
    /// A call of a function over a range selector, its windows followed from evaluation to evaluation; `None` where that
    /// cannot be. Values that do not pass `filter` may be left out.
    pub(in crate::promql::eval) fn sliding_call(
        &mut self,
        expr: &Expr,
        call: &Call,
        frame: &Frame,
        at: i64,
        filter: Option<Filter>,
    ) -> Result<Option<Vec<Element>>, EvalError> {
        let usual = self.options.start_times.is_none() && !self.options.delayed_name_removal;
        if !self.cache.slides || !frame.is_single() || !usual {
            return Ok(None);
        }
        let [source] = &call.args[..] else { return Ok(None) };
        let source = bare(source);
        let (Kind::Range(range), Some(function)) = (&source.kind, followed(call.function.name)) else {
            return Ok(None);
        };
        if range.mode != WindowMode::Plain {
            return Ok(None);
        }
        let Some(running) = RangeCall::plain(function.name, at, source.span, expr.span) else { return Ok(None) };
        self.follow_all(
            source,
            range,
            frame,
            Following { function, running, filter, at, noted: None, same_name: false },
        )
    }

    fn follow_all(
        &mut self,
        source: &Expr,
        range: &RangeSelector,
        frame: &Frame,
        mut following: Following<'_>,
    ) -> Result<Option<Vec<Element>>, EvalError> {
        let (extent, bounds) = self.range_extent(source, range, frame, following.at)?;
        let (matchers, wanted) = (&range.selector.matchers, following.function.wanted);
        let Some(mut windows) = self.cache.take_windows(key(source), self.view, matchers) else {
            return Ok(None);
        };
        let view = self.view;
        if !windows.advance(view, bounds.after, bounds.until) {
            self.cache.put_windows(key(source), windows);
            return Ok(None);
        }
        following.same_name = windows.same_name;
        if !windows.unique {
            following.filter = None;
        }
        let (course, mut samples) = (&windows.course, None);
        for (one, slide) in windows.found.iter().zip(&mut windows.slides) {
            let known = view.follow(*one, &mut slide.trail, course, &mut Keeper { wanted, kept: &mut slide.kept });
            if known && slide.kept.count == 0 {
                continue;
            }
            let Some(labels) = view.labels(*one) else { continue };
            if known && following.is_settled(self, labels, slide, course, &bounds)? {
                continue;
            }
            let samples = samples.get_or_insert_with(|| SeriesSamples::new(labels.clone()));
            self.read(*one, extent, samples)?;
            following.running.apply(self, samples, &bounds)?;
            if known {
                slide.kept.learn(wanted, course, samples);
            }
        }
        self.cache.put_windows(key(source), windows);
        Ok(Some(following.running.out))
    }
}

/// A call on its way through the series.
struct Following<'c> {
    function: Followed,
    running: RangeCall<'c>,
    filter: Option<Filter>,
    at: i64,
    /// The series about whose name something was said last.
    noted: Option<Labels>,
    same_name: bool,
}

impl Following<'_> {
    /// Puts the element of one series into the result, or leaves it out; false when its window has to be read for that.
    fn is_settled(
        &mut self,
        evaluator: &mut Evaluator<'_>,
        labels: &Labels,
        slide: &Slide,
        course: &Course,
        bounds: &Bounds,
    ) -> Result<bool, EvalError> {
        let value = match self.function.known(slide, course, bounds) {
            Known::Value(value) => Some(value),
            Known::Nothing => None,
            Known::Between(low, high) => match self.filter {
                Some(filter) if filter.refuses_all(low, high) => None,
                _ => return Ok(false),
            },
            Known::Unknown => return Ok(false),
        };
        evaluator.touch(slide.kept.count as usize)?;
        let Some(value) = value else { return Ok(true) };
        let noted = self.noted.as_ref().is_some_and(|noted| self.same_name || noted.name() == labels.name());
        if matches!(self.function.name, "rate" | "increase") && !noted {
            evaluator.note_non_counter(labels, self.running.span);
            self.noted = Some(labels.clone());
        }
        if self.filter.is_none_or(|filter| filter.passes(value)) {
            let mut element = Element::float(labels.clone(), value);
            evaluator.drop_name(&mut element);
            self.running.out.push(element);
        }
        Ok(true)
    }
}
