//! Prepared expressions that move on through time give what the same expression gives when it is asked once.

use std::time::Duration;

use proptest::prelude::*;

use super::{Options, Prepared, SharedParts, Value, instant};
use crate::model::{Labels, NAME, stale_nan};
use crate::promql::parse;
use crate::series::{Need, Settings, Store};
use crate::time::Timestamp;

const EXPRESSIONS: [&str; 26] = [
    "rate(m[30s])",
    "rate(m[30s]) > 0.5",
    "1 < rate(m[7s] offset 5s)",
    "increase(m[10m])",
    "increase(m[2m]) == 0",
    "delta(m[1m]) < -1",
    "sum by (n) (rate(m[1m])) > 1",
    "count_over_time(m[90s]) < 50",
    "present_over_time(m[3s])",
    "sum_over_time(m[1m])",
    "sum_over_time(m[1m]) > 100",
    "avg_over_time(m[1m])",
    "avg_over_time(m[5m]) > 2.5",
    "avg_over_time(m[5m]) == 3",
    "avg_over_time(m[20s]) != 3",
    "-2 >= avg_over_time(m[20s])",
    "min_over_time(m[1m])",
    "max_over_time(m[1m]) > 3",
    "max_over_time(m[40s] @ 100)",
    "min_over_time(m[1m]) < -1",
    "max_over_time(m[10m])",
    "m > 2",
    "-1 == m",
    "rate({__name__=~\"m|k\"}[30s]) > 0",
    "max_over_time({n=\"0\"}[1m]) > 1",
    "sum(avg_over_time(m[1m]) > 1)",
];

/// The kinds of values that a series may have.
fn value(kind: u8, what: u8, second: i64) -> f64 {
    let wave = f64::from(what);
    match (kind, what) {
        (_, 0) => stale_nan(),
        (0, _) => (second * 3 % 400) as f64,
        (1, _) => wave - 4.0,
        (2, _) => (wave - 4.0) * 0.1 + second as f64 * 0.001,
        (3, 1) => f64::NAN,
        (3, 2) => f64::INFINITY,
        (3, 3) => -0.0,
        (3, _) => wave * 1e300,
        (4, _) => 3.0,
        _ => {
            if what < 4 {
                0.0
            } else {
                -0.0
            }
        }
    }
}

/// The answer, floats by their bits.
fn shown(value: Result<Value, String>) -> Result<Vec<(Labels, u64)>, String> {
    let Value::Vector(vector) = value? else { return Err("no vector".into()) };
    let mut shown: Vec<_> = vector.into_iter().map(|s| (s.labels, s.value.float().map_or(0, f64::to_bits))).collect();
    shown.sort();
    Ok(shown)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 6, ..ProptestConfig::default() })]

    #[test]
    fn a_window_that_is_followed_gives_what_a_window_that_is_read_gives(
        seconds in prop::collection::vec((prop::array::uniform6(0_u8..40), 1_i64..3), 50..250),
        back in 0_i64..4,
    ) {
        let mut store = Store::new(Settings { retention: Duration::from_secs(200), ..Settings::default() });
        let options = Options::default();
        let parsed = || EXPRESSIONS.iter().map(|text| parse(text).expect("a valid expression"));
        let mut prepared: Vec<Prepared> = parsed().map(Prepared::new).collect();
        let mut parts = SharedParts::default();
        let mut beside: Vec<Prepared> = parsed().map(|expr| Prepared::sharing(expr, &mut parts)).collect();
        let matchers = vec![crate::model::Matcher::equal(NAME, "m")];
        store.retain(&[Need { matchers: matchers.into(), window: Duration::from_secs(600) }]);
        let labels: Vec<Labels> =
            (0..6).map(|n: u8| Labels::from_pairs([(NAME, "m"), ("n", n.to_string().as_str())])).collect();
        let mut second = 0;
        for (index, (whats, step)) in seconds.into_iter().enumerate() {
            second += step;
            let now = Timestamp::from_millis(second * 1000 + i64::from(whats[1]));
            for (kind, (labels, what)) in labels.iter().zip(whats).enumerate() {
                // Most of the time the usual values; a sample is left out now and then.
                let what = if what < 9 { what } else { 4 + what % 3 };
                if what != 8 {
                    store.append(labels, now, value(kind as u8, what, second));
                }
            }
            if index % 97 == 96 {
                store.append(&Labels::from_pairs([(NAME, "k"), ("n", index.to_string().as_str())]), now, 1.0);
                store.collect_garbage(now);
            }
            let view = store.view();
            let at = now + Duration::from_millis(250) - Duration::from_secs(if index % 31 == 30 { back as u64 } else { 0 });
            for ((text, prepared), beside) in EXPRESSIONS.iter().zip(&mut prepared).zip(&mut beside) {
                let shared = beside.instant_beside(&mut parts, &view, at, &options);
                let whole = instant(&view, prepared.expr(), at, &options);
                let moved = prepared.instant(&view, at, &options);
                let touched = (whole.as_ref().map(|o| o.samples_touched).ok(), moved.as_ref().map(|o| o.samples_touched).ok());
                prop_assert_eq!(touched.0, touched.1, "{}", text);
                let notes = |o: &super::Outcome| o.annotations.clone();
                prop_assert_eq!(whole.as_ref().map(notes).ok(), moved.as_ref().map(notes).ok(), "{}", text);
                let whole = shown(whole.map(|o| o.value).map_err(|error| error.to_string()));
                let moved = shown(moved.map(|o| o.value).map_err(|error| error.to_string()));
                prop_assert_eq!(&whole, &moved, "{} at {:?}", text, at);
                let shared = shown(shared.map(|o| o.value).map_err(|error| error.to_string()));
                prop_assert_eq!(whole, shared, "{} beside others at {:?}", text, at);
            }
        }
    }
}
