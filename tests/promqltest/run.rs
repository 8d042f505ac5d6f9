//! One evaluation, in all the ways in which it must give the same answer.

use std::time::Duration;

use brownout::promql::{
    AnnotationKind, AtModifier, Expr, Kind, Modifiers, Options, Outcome, Prepared, Value, VectorSample,
    depends_on_time, instant, parse, range,
};
use brownout::time::Timestamp;

use super::compare;
use super::script::{Eval, When};
use super::storage::Storage;

pub fn eval(storage: &Storage, eval: &Eval) -> Result<(), String> {
    let expr = parse(&eval.expr).map_err(|error| format!("does not parse: {error}"))?;
    match eval.when {
        When::Range { from, to, step } => over_range(storage, eval, &expr, from, to, step),
        When::Instant(at) => {
            at_instant(storage, eval, &expr, at).map_err(|why| format!("at {at}: {why}"))?;
            for (expr, time) in pinned_variants(&expr, at) {
                at_instant(storage, eval, &expr, time).map_err(|why| format!("as {expr} at {time}: {why}"))?;
            }
            Ok(())
        }
    }
}

fn options(storage: &Storage) -> Options<'_> {
    Options {
        lookback: Duration::from_secs(300),
        delayed_name_removal: true,
        default_subquery_step: Duration::from_secs(60),
        start_times: Some(storage),
        ..Options::default()
    }
}

fn over_range(storage: &Storage, eval: &Eval, expr: &Expr, from: i64, to: i64, step: i64) -> Result<(), String> {
    let stamp = Timestamp::from_millis;
    let step = Duration::from_millis(step.unsigned_abs());
    let result = range(&storage.store.view(), expr, stamp(from), stamp(to), step, &options(storage));
    let Some(outcome) = failed_as_expected(eval, result.map_err(|error| error.to_string()))? else { return Ok(()) };
    check_annotations(eval, &outcome)?;
    compare::value(eval, &outcome.value)
}

/// `None` when the evaluation had to fail and did.
fn failed_as_expected(eval: &Eval, result: Result<Outcome, String>) -> Result<Option<Outcome>, String> {
    match (&eval.fail, result) {
        (None, Ok(outcome)) => Ok(Some(outcome)),
        (None, Err(error)) => Err(format!("failed: {error}")),
        (Some(_), Ok(_)) => Err("expected a failure".to_owned()),
        (Some(pattern), Err(error)) if compare::matches(pattern, &error) => Ok(None),
        (Some(pattern), Err(error)) => Err(format!("expected failure {}, got {error:?}", compare::describe(pattern))),
    }
}

fn check_annotations(eval: &Eval, outcome: &Outcome) -> Result<(), String> {
    let texts = |kind: AnnotationKind| -> Vec<String> {
        let of_kind = outcome.annotations.iter().filter(|annotation| annotation.kind == kind);
        of_kind.map(|annotation| annotation.text(&eval.expr)).collect()
    };
    compare::annotations("warning", &eval.warnings, eval.no_warning, &texts(AnnotationKind::Warning))?;
    compare::annotations("info", &eval.infos, eval.no_info, &texts(AnnotationKind::Info))
}

fn at_instant(storage: &Storage, eval: &Eval, expr: &Expr, at: i64) -> Result<(), String> {
    let stamp = Timestamp::from_millis(at);
    let view = storage.store.view();
    let result = instant(&view, expr, stamp, &options(storage));
    let Some(outcome) = failed_as_expected(eval, result.map_err(|error| error.to_string()))? else { return Ok(()) };
    check_annotations(eval, &outcome)?;
    compare::value(eval, &outcome.value)?;
    prepared_agrees(storage, eval, expr, stamp).map_err(|why| format!("prepared: {why}"))?;
    let bounds = ["start()", "end()", "range()", "step()"].iter().any(|word| eval.expr.contains(word));
    if bounds || eval.ordered || matches!(outcome.value, Value::String(_) | Value::Matrix(_)) {
        return Ok(());
    }
    let minute = Duration::from_secs(60);
    let matrix = range(&view, expr, stamp - minute, stamp + minute, minute, &options(storage))
        .map_err(|error| format!("in range mode: failed: {error}"))?;
    let Value::Matrix(series) = matrix.value else { return Err("in range mode: no matrix".to_owned()) };
    let middle: Vec<VectorSample> = series
        .iter()
        .filter_map(|series| {
            let mut points = series.points.iter().map(compare::timed);
            let (_, value) = points.find(|(time, _)| *time == at)?;
            Some(VectorSample { labels: series.labels.clone(), at: stamp, value })
        })
        .collect();
    let compared = match (&outcome.value, middle.as_slice()) {
        (Value::Scalar(_), [one]) => compare::value(eval, &Value::Scalar(one.value.float().unwrap_or(f64::NAN))),
        (Value::Scalar(_), _) => Err(format!("expected one scalar, got {middle:?}")),
        _ => compare::vector(eval, &middle, false),
    };
    compared.map_err(|why| format!("in range mode: {why}"))
}

/// A prepared expression gives the same answer, at first and with what it remembers then.
fn prepared_agrees(storage: &Storage, eval: &Eval, expr: &Expr, at: Timestamp) -> Result<(), String> {
    let mut prepared = Prepared::new(expr.clone());
    let view = storage.store.view();
    for _ in 0..2 {
        let outcome = prepared.instant(&view, at, &options(storage)).map_err(|error| error.to_string())?;
        check_annotations(eval, &outcome)?;
        compare::value(eval, &outcome.value)?;
    }
    Ok(())
}

/// The expression with `@ at` on every selector that has none, at times at which the answer must be the same.
fn pinned_variants(expr: &Expr, at: i64) -> Vec<(Expr, i64)> {
    let mut unsafe_function = false;
    let mut pinned = expr.clone();
    pin(&mut pinned, at, &mut unsafe_function);
    if unsafe_function {
        return Vec::new();
    }
    let times = if at == 0 { vec![-1000, 0, 1000] } else { vec![-10 * at, 0, at / 5, at, 10 * at] };
    times.into_iter().map(|time| (pinned.clone(), time)).collect()
}

fn pin(expr: &mut Expr, at: i64, unsafe_function: &mut bool) {
    let set = |modifiers: &mut Modifiers| {
        if !matches!(modifiers.at, Some(AtModifier::Time(_))) {
            modifiers.at = Some(AtModifier::Time(Timestamp::from_millis(at)));
        }
    };
    match &mut expr.kind {
        Kind::Number(_) | Kind::Text(_) => {}
        Kind::Selector(selector) => set(&mut selector.modifiers),
        Kind::Range(range) => set(&mut range.selector.modifiers),
        // What is within a pinned subquery is pinned with it; calls in it do not matter.
        Kind::Subquery(subquery) => set(&mut subquery.modifiers),
        Kind::Call(call) => {
            *unsafe_function |= depends_on_time(call.function.name);
            call.args.iter_mut().for_each(|arg| pin(arg, at, unsafe_function));
        }
        Kind::Aggregate(aggregate) => {
            pin(&mut aggregate.expr, at, unsafe_function);
            aggregate.param.iter_mut().for_each(|param| pin(param, at, unsafe_function));
        }
        Kind::Negate(inner) | Kind::Paren(inner) => pin(inner, at, unsafe_function),
        Kind::Binary(binary) => {
            pin(&mut binary.left, at, unsafe_function);
            pin(&mut binary.right, at, unsafe_function);
        }
    }
}
