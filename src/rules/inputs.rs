//! What an expression reads: its selectors, how far back each looks, and whether there is anything to read now.
//!
//! # No data
//! An action's condition with an empty result is false only when its inputs were there to say so; otherwise it is "no
//! data". An input is *there* when some series that its selector matches has, within the selector's window (the lookback
//! for an instant selector), a newest point that is no staleness marker, and, below a function that needs two points
//! (`rate` and its like), at least two points. An empty result is "no data" when any input is not there, except for
//!
//! * selectors of `ALERTS` and `ALERTS_FOR_STATE`: without alerts there are no such series;
//! * selectors within `absent()` and `absent_over_time()`: that they are missing is the question;
//! * the right side of `unless` and of `or`: the one can only take away, the other is what to fall back to;
//! * a side of an operation that has a `fill` value.

use std::sync::Arc;
use std::time::Duration;

use crate::model::{Matcher, NAME, is_stale_nan};
use crate::promql::{
    AtModifier, Binary, BinaryOp, Call, DurationExpr, DurationKind, Expr, Kind, Modifiers, RangeSelector, Selector,
    Span, Subquery, WindowMode,
};
use crate::series::{Need, Point, SeriesRef, View};
use crate::time::Timestamp;

/// Functions that give nothing for a window with a single point.
const TWO_POINTS: [&str; 8] =
    ["rate", "irate", "increase", "delta", "idelta", "deriv", "predict_linear", "double_exponential_smoothing"];

/// One selector of an expression, seen from the instant of evaluation.
#[derive(Clone, Debug)]
pub(crate) struct Input {
    pub matchers: Arc<[Matcher]>,
    /// Its place in the expression.
    pub span: Span,
    /// Milliseconds from the oldest point that it may read to the newest.
    window: i64,
    /// The part of the window that brackets ask for, of subqueries around it as well.
    range: i64,
    /// Milliseconds by which the whole window is moved into the past.
    offset: i64,
    /// A fixed instant that takes the place of that of the evaluation.
    at: Option<Timestamp>,
    points: u8,
    /// Whether an empty result is "no data" without it.
    required: bool,
}

/// How old `up` may be and still speak for its target.
pub(crate) const UP_AGE: Duration = Duration::from_secs(300);

impl Input {
    /// Whether an empty result is "no data" without it.
    pub fn required(&self) -> bool {
        self.required
    }

    /// Whether it reads at a fixed instant.
    pub fn is_fixed(&self) -> bool {
        self.at.is_some()
    }

    /// The part of the window that brackets do not ask for.
    pub fn lookback(&self) -> Duration {
        let span = if self.window > self.range { self.window - self.range } else { self.window };
        Duration::from_millis(span.max(0).unsigned_abs())
    }

    /// How far back it reads beyond the lookback.
    pub fn range_and_offset(&self) -> Duration {
        Duration::from_millis(self.range.saturating_add(self.offset).max(0).unsigned_abs())
    }

    /// Whether a series has something to read in the window, and so many points at least.
    pub fn is_alive(&self, view: &View, series: SeriesRef, at: Timestamp, points: usize) -> bool {
        self.window_at(at).is_alive(view, series, points)
    }

    /// Whether any series that it matches goes on now, whatever window and offset it asks for.
    pub fn matches_now(&self, view: &View, at: Timestamp) -> bool {
        let lookback = crate::time::millis(self.lookback()).max(crate::time::millis(UP_AGE));
        let window = Window { newest: at.as_millis(), oldest: at.as_millis().saturating_sub(lookback) };
        view.any(&self.matchers, |series| window.is_alive(view, series, 1))
    }

    fn window_at(&self, at: Timestamp) -> Window {
        let newest = self.at.unwrap_or(at).as_millis().saturating_sub(self.offset);
        Window { newest, oldest: newest.saturating_sub(self.window) }
    }

    /// Whether there is anything to read at an instant.
    pub fn is_there(&self, view: &View, at: Timestamp) -> bool {
        let window = self.window_at(at);
        view.any(&self.matchers, |series| window.is_alive(view, series, self.points.into()))
    }

    /// How far back it reads from the instant of evaluation, the offset included.
    pub fn reach(&self) -> Duration {
        Duration::from_millis(self.window.saturating_add(self.offset.max(0)).max(0) as u64)
    }

    /// Whether the selector reads our own metrics.
    pub fn reads_own(&self) -> bool {
        let name = self.matchers.iter().find(|m| m.name == NAME);
        let listed = name.and_then(Matcher::listed_values);
        listed.is_some_and(|names| names.iter().all(|name| name.starts_with("brownout_")))
    }

    /// Whether the selector reads what alerting rules write.
    pub fn reads_alerts(&self) -> bool {
        let name = self.matchers.iter().find(|m| m.name == NAME);
        let listed = name.and_then(Matcher::listed_values);
        listed.is_some_and(|names| names.iter().all(|name| name == "ALERTS" || name == "ALERTS_FOR_STATE"))
    }
}

/// A window in milliseconds; Prometheus' windows are open on the left.
struct Window {
    newest: i64,
    oldest: i64,
}

impl Window {
    /// Whether the newest point in the window is no staleness marker, and there are so many points that are none.
    fn is_alive(&self, view: &View, series: SeriesRef, wanted: usize) -> bool {
        let (mut seen, mut to) = (0, self.newest);
        while let Some(point) = self.last(view, series, to) {
            let stale = matches!(point, Point::Float(_, value) if is_stale_nan(value));
            if stale && seen == 0 {
                return false;
            }
            seen += usize::from(!stale);
            if seen >= wanted {
                return true;
            }
            to = point.time().as_millis().saturating_sub(1);
        }
        false
    }

    fn last(&self, view: &View, series: SeriesRef, to: i64) -> Option<Point> {
        let room = u64::try_from(to.saturating_sub(self.oldest)).ok()?;
        view.last_before(series, Timestamp::from_millis(to), Duration::from_millis(room))
    }
}

/// Everything that an expression reads.
#[derive(Clone, Debug, Default)]
pub(crate) struct Inputs(pub Box<[Input]>);

impl Inputs {
    /// Reads an expression. `lookback` is how old the newest point of an instant selector may be.
    pub fn of(expr: &Expr, lookback: Duration) -> Inputs {
        let mut found = Vec::new();
        let here = Context { lookback: crate::time::millis(lookback), required: true, points: 1, ..Context::default() };
        collect(expr, &here, &mut found);
        Inputs(found.into())
    }

    /// Whether an empty result means that nothing is known.
    pub fn missing(&self, view: &View, at: Timestamp) -> bool {
        self.missing_now(view, at).next().is_some()
    }

    /// The inputs that are not there and are waited for.
    pub fn missing_now(&self, view: &View, at: Timestamp) -> impl Iterator<Item = &Input> {
        self.0.iter().filter(move |input| input.required && !input.reads_alerts() && !input.is_there(view, at))
    }

    /// The longest range in brackets, subqueries included; zero without any.
    pub fn longest_range(&self) -> Duration {
        Duration::from_millis(self.0.iter().map(|input| input.range).max().unwrap_or(0).max(0) as u64)
    }

    /// What the store must keep for this expression. `margin`: how much later than `at` it may be evaluated.
    pub fn needs(&self, margin: Duration) -> impl Iterator<Item = Need> {
        self.0.iter().map(move |input| Need { matchers: Arc::clone(&input.matchers), window: input.reach() + margin })
    }
}

#[derive(Clone, Default)]
struct Context {
    lookback: i64,
    range: i64,
    offset: i64,
    at: Option<Timestamp>,
    points: u8,
    required: bool,
}

impl Context {
    fn shifted(&self, modifiers: &Modifiers) -> Context {
        let mut here = self.clone();
        if let Some(AtModifier::Time(at)) = &modifiers.at {
            here = Context { at: Some(*at), range: 0, offset: 0, ..here };
        }
        here.offset = here.offset.saturating_add(modifiers.offset.as_deref().map_or(0, to_millis));
        here
    }
}

fn collect(expr: &Expr, here: &Context, found: &mut Vec<Input>) {
    match &expr.kind {
        Kind::Number(_) | Kind::Text(_) => {}
        Kind::Selector(selector) => {
            let extra = here.lookback;
            found.push(input(selector, expr.span, 0, extra, here));
        }
        Kind::Range(range) => found.push(range_input(range, expr.span, here)),
        Kind::Subquery(subquery) => collect_subquery(subquery, here, found),
        Kind::Call(call) => collect_call(call, here, found),
        Kind::Aggregate(aggregate) => {
            collect(&aggregate.expr, here, found);
            aggregate.param.iter().for_each(|param| collect(param, here, found));
        }
        Kind::Negate(inner) | Kind::Paren(inner) => collect(inner, here, found),
        Kind::Binary(binary) => collect_binary(binary, here, found),
    }
}

fn input(selector: &Selector, span: Span, range: i64, extra: i64, here: &Context) -> Input {
    let here = here.shifted(&selector.modifiers);
    let range = here.range.saturating_add(range);
    Input {
        matchers: Arc::clone(&selector.matchers),
        span,
        window: range.saturating_add(extra),
        range,
        offset: here.offset,
        at: here.at,
        points: here.points,
        required: here.required,
    }
}

fn range_input(range: &RangeSelector, span: Span, here: &Context) -> Input {
    // `anchored` and `smoothed` look for a point before the window.
    let extra = if range.mode == WindowMode::Plain { 0 } else { here.lookback };
    input(&range.selector, span, to_millis(&range.range), extra, here)
}

fn collect_subquery(subquery: &Subquery, here: &Context, found: &mut Vec<Input>) {
    let mut inner = here.shifted(&subquery.modifiers);
    inner.range = inner.range.saturating_add(to_millis(&subquery.range));
    inner.points = 1;
    collect(&subquery.expr, &inner, found);
}

fn collect_call(call: &Call, here: &Context, found: &mut Vec<Input>) {
    let mut inner = here.clone();
    match call.function.name {
        "absent" | "absent_over_time" => inner.required = false,
        // The second argument is only matchers for what is joined, not something to wait for.
        "info" => return call.args.iter().take(1).for_each(|arg| collect(arg, here, found)),
        name if TWO_POINTS.contains(&name) => inner.points = 2,
        _ => {}
    }
    call.args.iter().for_each(|arg| collect(arg, &inner, found));
}

fn collect_binary(binary: &Binary, here: &Context, found: &mut Vec<Input>) {
    let filled =
        |fill: fn(&crate::promql::VectorMatching) -> Option<f64>| binary.matching.as_deref().and_then(fill).is_some();
    let guarded = matches!(binary.op, BinaryOp::Or | BinaryOp::Unless);
    let side = |required: bool| Context { required: here.required && required, ..here.clone() };
    collect(&binary.left, &side(!filled(|m| m.fill_left)), found);
    collect(&binary.right, &side(!guarded && !filled(|m| m.fill_right)), found);
}

/// Milliseconds of a duration in an instant query, in which `step()` and `range()` are zero.
fn to_millis(duration: &DurationExpr) -> i64 {
    (seconds(duration) * 1000.0).round() as i64
}

fn seconds(duration: &DurationExpr) -> f64 {
    match &duration.kind {
        DurationKind::Literal(value) => *value,
        DurationKind::Step | DurationKind::Range => 0.0,
        DurationKind::Negate(inner) => -seconds(inner),
        DurationKind::Paren(inner) => seconds(inner),
        DurationKind::Min(a, b) => seconds(a).min(seconds(b)),
        DurationKind::Max(a, b) => seconds(a).max(seconds(b)),
        DurationKind::Binary(op, a, b) => {
            let (a, b) = (seconds(a), seconds(b));
            match op {
                BinaryOp::Add => a + b,
                BinaryOp::Sub => a - b,
                BinaryOp::Mul => a * b,
                BinaryOp::Div => a / b,
                BinaryOp::Mod => a % b,
                BinaryOp::Pow => a.powf(b),
                _ => 0.0,
            }
        }
    }
}
