//! Random expressions over random series: ours against a real Prometheus 3.x on the same samples.
//!
//! `BROWNOUT_PROMETHEUS` names its program (`tests/e2e/peers/prometheus3.sh` fetches one); `BROWNOUT_DIFFERENTIAL` says
//! how many expressions (300 when it is missing), `BROWNOUT_DIFFERENTIAL_SEED` from which seed (1). Values and times
//! must be equal within 1e-9, errors must be errors on both sides, and warnings and infos must come from both or neither.
//! What is known to differ is counted by its reason (`explained.rs`); anything else fails the test.

mod answer;
mod data;
mod explained;
mod expressions;
mod peer;

use std::collections::BTreeMap;
use std::time::Duration;

use answer::{Answer, Said, difference};
use brownout::promql::{self, FUNCTIONS, Function, Options};
use brownout::series::{Appended, Settings, Store, View};
use brownout::time::Timestamp;
use expressions::{Generator, Question};
use peer::Peer;

#[expect(clippy::disallowed_methods, reason = "what to compare with is said by the environment")]
fn env(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

#[test]
fn random_expressions_give_what_prometheus_gives() {
    let Some(program) = env("BROWNOUT_PROMETHEUS") else {
        println!("skipped: BROWNOUT_PROMETHEUS is not set");
        return;
    };
    let number = |name, default| env(name).map_or(default, |text| text.parse().expect("a number"));
    let (count, seed) = (number("BROWNOUT_DIFFERENTIAL", 300), number("BROWNOUT_DIFFERENTIAL_SEED", 1));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let differences = runtime.block_on(compare(&program, count, seed));
    assert_eq!(differences, 0, "{differences} of {count} expressions differ");
}

async fn compare(program: &str, count: u64, seed: u64) -> usize {
    let series = data::series(seed);
    let view = store(&series).view();
    let peer = Peer::start(program).await;
    peer.fill(&series).await;
    let known = known(&peer).await;
    let mut generator = Generator::new(seed, known);
    let (mut differences, mut errors, mut empty, mut notes) = (0, 0, 0, 0);
    let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
    for index in 0..count {
        let question = generator.question();
        let ours = ours(&view, &question);
        let theirs = theirs(&peer, &question).await;
        let empty_answer = match &theirs.answer {
            Answer::Vector(samples) => samples.is_empty(),
            Answer::Matrix(series) => series.is_empty(),
            _ => false,
        };
        errors += usize::from(matches!(theirs.answer, Answer::Error(_)));
        empty += usize::from(empty_answer);
        notes += usize::from(!theirs.warnings.is_empty() || !theirs.infos.is_empty());
        if let Some(what) = difference(&ours, &theirs, sorted(&question.expr)) {
            if let Some(reason) = explained::explained(&question, &ours, &theirs) {
                *reasons.entry(reason).or_insert(0) += 1;
                continue;
            }
            differences += 1;
            println!("#{index} {} at {} {:?}\n    {what}", question.expr, question.start, question.range);
        }
    }
    for (reason, times) in &reasons {
        println!("{times:4} explained: {reason}");
    }
    println!(
        "{count} expressions, seed {seed}: {differences} differ ({errors} errors, {empty} empty, {notes} with notes)"
    );
    differences
}

/// True where the order of the answer is fixed. By labels it is not quite: an absent label has no place in Prometheus.
fn sorted(expr: &str) -> bool {
    expr.starts_with("sort(") || expr.starts_with("sort_desc(")
}

fn store(series: &[data::Series]) -> Store {
    let mut store = Store::new(Settings { retention: Duration::from_secs(1_000_000), ..Settings::default() });
    for one in series {
        for (at, value) in &one.samples {
            let appended = match value {
                data::Value::Float(value) => store.append(&one.labels, *at, *value),
                data::Value::Histogram(value) => store.append_histogram(&one.labels, *at, value.clone()),
            };
            assert!(!matches!(appended, Appended::Refused(_)), "{}: {appended:?}", one.labels);
        }
    }
    store
}

/// The functions that the peer has too; ours are those of a newer version.
async fn known(peer: &Peer) -> Vec<&'static Function> {
    let (mut known, mut unknown) = (Vec::new(), Vec::new());
    for function in FUNCTIONS {
        let answer = peer.ask("query", &[("query", format!("{}()", function.name))]).await;
        match answer["error"].as_str() {
            Some(error) if error.contains("unknown function") || error.contains("unexpected") => {
                unknown.push(function.name)
            }
            _ => known.push(function),
        }
    }
    println!("{} functions, not compared: {unknown:?}", known.len());
    known
}

fn ours(view: &View, question: &Question) -> Said {
    let expr = match promql::parse(&question.expr) {
        Ok(expr) => expr,
        Err(error) => return Said::error(error.to_string()),
    };
    let (at, options) = (Timestamp::from_millis, Options::default());
    let outcome = match question.range {
        None => promql::instant(view, &expr, at(question.start), &options),
        Some((end, step)) => promql::range(
            view,
            &expr,
            at(question.start),
            at(end),
            Duration::from_millis(step.unsigned_abs()),
            &options,
        ),
    };
    Said::of_outcome(outcome, &question.expr)
}

async fn theirs(peer: &Peer, question: &Question) -> Said {
    let seconds = |millis: i64| format!("{}.{:03}", millis / 1000, millis % 1000);
    let query = ("query", question.expr.clone());
    let answer = match question.range {
        None => peer.ask("query", &[query, ("time", seconds(question.start))]).await,
        Some((end, step)) => {
            let form = [query, ("start", seconds(question.start)), ("end", seconds(end)), ("step", seconds(step))];
            peer.ask("query_range", &form).await
        }
    };
    Said::of_json(&answer)
}
