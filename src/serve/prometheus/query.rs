//! `query` and `query_range`: a view of the series, worked out on the blocking pool within limits.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use serde_json::json;

use super::answer::{Answer, ApiError, Placed, data, whole};
use super::envelope::{Extra, answer};
use super::params::Params;
use crate::limits;
use crate::promql::{self, EvalError, EvalErrorKind, Expr, Interrupt, Options, Outcome};
use crate::serve::Shared;
use crate::time::{Clock, Timestamp};

pub(super) async fn instant(State(shared): State<Shared>, params: Params) -> Answer {
    let (text, expr) = params.expression()?;
    let at = params.time("time")?.unwrap_or_else(|| shared.clock.now());
    let job = move |view: &_, expr: &Expr, options: &Options<'_>| promql::instant(view, expr, at, options);
    run(&shared, &params, text, expr, at, job).await
}

pub(super) async fn range(State(shared): State<Shared>, params: Params) -> Answer {
    let (text, expr) = params.expression()?;
    let needed = |name| {
        params.time(name)?.ok_or_else(|| ApiError::BadData(format!("invalid parameter \"{name}\": it is missing")))
    };
    let (start, end) = (needed("start")?, needed("end")?);
    let step = params.duration("step")?.unwrap_or_default();
    if end < start {
        return Err(ApiError::BadData("invalid parameter \"end\": end timestamp must not be before start time".into()));
    }
    if step < Duration::from_millis(1) {
        return Err(ApiError::BadData(
            "invalid parameter \"step\": zero or negative query resolution step widths are not accepted. Try a positive integer".into(),
        ));
    }
    if end.since(start).as_millis() / step.as_millis() > limits::QUERY_POINTS as u128 {
        return Err(ApiError::BadData(format!(
            "exceeded maximum resolution of {} points per timeseries. Try decreasing the query resolution (?step=XX)",
            limits::QUERY_POINTS
        )));
    }
    let job = move |view: &_, expr: &Expr, options: &Options<'_>| promql::range(view, expr, start, end, step, options);
    run(&shared, &params, text, expr, end, job).await
}

async fn run(
    shared: &Shared,
    params: &Params,
    text: String,
    expr: Expr,
    at: Timestamp,
    job: impl FnOnce(&crate::series::View, &Expr, &Options<'_>) -> Result<Outcome, EvalError> + Send + 'static,
) -> Answer {
    let limit = params.limit()?;
    let stats = params.get("stats").is_some();
    let time = params.duration("timeout")?.unwrap_or(limits::QUERY_TIME).min(limits::QUERY_TIME);
    let lookback = params.duration("lookback_delta")?;
    let waiting = tokio::time::timeout(time, Arc::clone(&shared.queries).acquire_owned()).await;
    let place = match waiting {
        Ok(Ok(place)) => place,
        Ok(Err(_)) => return Err(ApiError::Unavailable),
        Err(_) => return Err(ApiError::Timeout("query timed out while it waited for other queries".into())),
    };
    let view = shared.view().await.ok_or(ApiError::Unavailable)?;
    let clock = shared.clock;
    let began = clock.now();
    let work = tokio::task::spawn_blocking(move || {
        let result = evaluate(clock, time, lookback, |options| job(&view, &expr, options));
        drop(place);
        result.and_then(|mut outcome| {
            let cut = truncate(&mut outcome, limit);
            let stats = stats.then(|| query_stats(&outcome, clock.now().since(began)));
            // Numbers become ten times their size as text.
            if size(&outcome.value) > limits::QUERY_ANSWER_POINTS {
                return Err(too_large());
            }
            let extra = Extra { stats, warning: cut.then_some(TRUNCATED) };
            Ok(answer(&outcome, at, &text, &extra))
        })
    });
    match work.await {
        Ok(Ok(answer)) => Ok(whole(answer)),
        Ok(Err(error)) => Err(api_error(&error)),
        Err(_) => Err(ApiError::Internal("the query made the evaluator panic; please report it".into())),
    }
}

fn evaluate(
    clock: Clock,
    time: Duration,
    lookback: Option<Duration>,
    job: impl FnOnce(&Options<'_>) -> Result<Outcome, EvalError>,
) -> Result<Outcome, EvalError> {
    let deadline = clock.now() + time;
    let interrupt = || (clock.now() >= deadline).then_some(Interrupt::Timeout);
    let mut options = Options { interrupt: Some(&interrupt), ..Options::default() };
    if let Some(lookback) = lookback {
        options.lookback = lookback;
    }
    job(&options)
}

/// True when something was cut off.
fn truncate(outcome: &mut Outcome, limit: usize) -> bool {
    match &mut outcome.value {
        promql::Value::Vector(samples) => {
            let cut = samples.len() > limit;
            samples.truncate(limit);
            cut
        }
        promql::Value::Matrix(series) => {
            let cut = series.len() > limit;
            series.truncate(limit);
            cut
        }
        promql::Value::Scalar(_) | promql::Value::String(_) => false,
    }
}

/// What an answer says when `limit` cut it, as Prometheus does.
pub(super) const TRUNCATED: &str = "results truncated due to limit";

/// Points in an answer.
fn size(value: &promql::Value) -> usize {
    match value {
        promql::Value::Vector(samples) => samples.len(),
        promql::Value::Matrix(series) => series.iter().map(|one| one.points.len()).sum(),
        promql::Value::Scalar(_) | promql::Value::String(_) => 1,
    }
}

fn too_large() -> EvalError {
    let message = format!(
        "the answer has more than {} points: narrow the selector or lengthen the step",
        limits::QUERY_ANSWER_POINTS
    );
    EvalError { kind: EvalErrorKind::TooManySamples, message, span: None }
}

/// The part of Prometheus' statistics that there is here.
fn query_stats(outcome: &Outcome, took: Duration) -> serde_json::Value {
    let seconds = took.as_secs_f64();
    json!({
        "timings": {
            "evalTotalTime": seconds,
            "resultSortTime": 0,
            "queryPreparationTime": 0,
            "innerEvalTime": seconds,
            "execQueueTime": 0,
            "execTotalTime": seconds,
        },
        "samples": { "totalQueryableSamples": outcome.samples_touched, "peakSamples": outcome.samples_touched },
    })
}

fn api_error(error: &EvalError) -> ApiError {
    let message = error.to_string();
    match error.kind {
        EvalErrorKind::Timeout => ApiError::Timeout(message),
        EvalErrorKind::Canceled => ApiError::Canceled(message),
        EvalErrorKind::Execution | EvalErrorKind::TooManySamples => {
            ApiError::Execution(Placed { message, span: error.span, help: None })
        }
    }
}

pub(super) async fn format(params: Params) -> Answer {
    let (_, expr) = params.expression()?;
    Ok(data(&json!(expr.to_string()).to_string()))
}

/// There are none; the parameters are checked all the same.
pub(super) async fn exemplars(params: Params) -> Answer {
    params.expression()?;
    if let (Some(start), Some(end)) = (params.time("start")?, params.time("end")?)
        && end < start
    {
        return Err(ApiError::BadData("end timestamp must not be before start timestamp".into()));
    }
    Ok(data("[]"))
}

pub(super) async fn parse(params: Params) -> Answer {
    let (_, expr) = params.expression()?;
    Ok(data(&super::tree::tree(&expr).to_string()))
}
