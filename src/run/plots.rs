//! What a mail shows of an alert's expression: its last hour, or as much of it as is kept, worked out on the blocking pool.
//!
//! A comparison with a number is drawn as what is compared, with the number as a line; so the picture also shows when it was
//! well. A mail never waits long for it, and goes without it when it cannot be had.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::alerts::Notification;
use crate::limits;
use crate::model::Labels;
use crate::notify::{Plot, Plots};
use crate::promql::{self, BinaryOp, Expr, Interrupt, Kind, MatrixSeries, Options, Value, ValueType};
use crate::series::{Point, View};
use crate::serve::Ask;
use crate::time::{Clock, Timestamp};

const SPAN: Duration = Duration::from_secs(3_600);
const STEP: Duration = Duration::from_secs(15);
/// How long a mail waits for its picture.
const PATIENCE: Duration = Duration::from_secs(1);
/// Lines in one picture.
const LINES: usize = 6;

/// Draws from the engine's series.
pub(super) fn plots(asks: mpsc::Sender<Ask>, clock: Clock) -> Arc<Plots> {
    // One at a time: in a storm most mails go without, and nothing else waits for them.
    let turns = Arc::new(Semaphore::new(1));
    Arc::new(move |notification: &Notification| {
        let job = job(notification);
        let (asks, turns) = (asks.clone(), Arc::clone(&turns));
        Box::pin(async move {
            let (text, alerts) = job?;
            let work = async {
                let place = turns.acquire_owned().await.ok()?;
                let (reply, answer) = oneshot::channel();
                asks.send(Ask::View(reply)).await.ok()?;
                let view = answer.await.ok()?;
                let drawn = tokio::task::spawn_blocking(move || {
                    let plot = draw(&view, &text, &alerts, clock).and_then(Plot::draw);
                    drop(place);
                    plot
                });
                drawn.await.ok().flatten()
            };
            tokio::time::timeout(PATIENCE, work).await.ok().flatten()
        })
    })
}

type AlertLabels = Vec<Vec<(String, String)>>;

/// The expression of the first alert, and the labels of all that have the same.
fn job(notification: &Notification) -> Option<(String, AlertLabels)> {
    let first = notification.alerts.first()?;
    let same = notification.alerts.iter().filter(|alert| alert.generator_url == first.generator_url);
    let labels = |labels: &std::collections::BTreeMap<String, String>| {
        labels.iter().map(|(name, value)| (name.clone(), value.clone())).collect()
    };
    Some((expression(notification, &first.generator_url)?, same.map(|alert| labels(&alert.labels)).collect()))
}

/// The expression in a link to our own page; alerts from outside have links elsewhere.
fn expression(notification: &Notification, link: &str) -> Option<String> {
    let query = link.strip_prefix(notification.external_url.as_str())?.strip_prefix("/graph?")?;
    let url = reqwest::Url::parse(&format!("http://link.invalid/?{query}")).ok()?;
    url.query_pairs().find(|(key, _)| key == "g0.expr").map(|(_, text)| text.into_owned())
}

/// The side of a comparison that changes, and the number that it is compared with.
fn compared(expr: Expr) -> (Expr, Option<f64>) {
    match expr.kind {
        Kind::Paren(inner) => compared(*inner),
        Kind::Binary(binary) if matches!(binary.op, BinaryOp::And | BinaryOp::Unless) => compared(binary.left),
        Kind::Binary(binary) if binary.op.is_comparison() => match (number(&binary.left), number(&binary.right)) {
            (None, Some(limit)) => (bare(binary.left), Some(limit)),
            (Some(limit), None) => (bare(binary.right), Some(limit)),
            _ => (Expr { kind: Kind::Binary(binary), span: expr.span }, None),
        },
        kind => (Expr { kind, span: expr.span }, None),
    }
}

/// Without the parentheses around it.
fn bare(expr: Expr) -> Expr {
    match expr.kind {
        Kind::Paren(inner) => bare(*inner),
        kind => Expr { kind, span: expr.span },
    }
}

fn number(expr: &Expr) -> Option<f64> {
    match &expr.kind {
        Kind::Number(number) => Some(*number),
        Kind::Negate(inner) => number(inner).map(|number| -number),
        Kind::Paren(inner) => number(inner),
        _ => None,
    }
}

fn draw(view: &View, text: &str, alerts: &AlertLabels, clock: Clock) -> Option<Plot> {
    let (expr, threshold) = compared(promql::parse(text).ok()?);
    if !matches!(expr.value_type(), ValueType::Vector | ValueType::Scalar) {
        return None;
    }
    let end = clock.now();
    let start = Timestamp::from_millis(end.as_millis() - crate::time::millis(SPAN));
    let deadline = end + PATIENCE;
    let interrupt = || (clock.now() >= deadline).then_some(Interrupt::Timeout);
    let options = Options { interrupt: Some(&interrupt), max_samples: limits::QUERY_SAMPLES / 4, ..Options::default() };
    let outcome = promql::range(view, &expr, start, end, STEP, &options).ok()?;
    let Value::Matrix(mut series) = outcome.value else { return None };
    // Those that the alerts are about come first.
    series.sort_by_cached_key(|series| !alerts.iter().any(|alert| is_about(alert, &series.labels)));
    let about = series.iter().filter(|series| alerts.iter().any(|alert| is_about(alert, &series.labels))).count();
    if about > 0 {
        series.truncate(about);
    }
    let more = series.len().saturating_sub(LINES);
    series.truncate(LINES);
    let lines = series.iter().map(line).collect();
    Some(Plot { expression: expr.to_string(), threshold, lines, gap_millis: crate::time::millis(STEP) * 2, more })
}

/// Whether every label of the series but its name is the alert's too.
fn is_about(alert: &[(String, String)], series: &Labels) -> bool {
    let has = |name: &str, value: &str| alert.iter().any(|(own, text)| own == name && text == value);
    series.iter().all(|(name, value)| name == "__name__" || has(name, value))
}

fn line(series: &MatrixSeries) -> Vec<(Timestamp, f64)> {
    let floats = series.points.iter().filter_map(|point| match point {
        Point::Float(at, value) => Some((*at, *value)),
        Point::Histogram(..) => None,
    });
    floats.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comparison_with_a_number_is_drawn_with_its_limit() {
        let check = |text: &str, shown: &str, limit: Option<f64>| {
            let (expr, found) = compared(promql::parse(text).unwrap());
            assert_eq!((expr.to_string().as_str(), found), (shown, limit), "{text}");
        };
        check("up == 0", "up", Some(0.0));
        check("0.8 < (rate(a[5m]))", "rate(a[5m])", Some(0.8));
        check("(a > -1) and on (job) b", "a", Some(-1.0));
        check("a > b", "a > b", None);
        check("absent(up)", "absent(up)", None);
    }
}
