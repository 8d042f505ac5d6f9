//! Queries over a file of OpenMetrics text: no daemon, no network.
//!
//! Every sample must carry its time; of series that the expression does not select only the times are looked at. The
//! answer is the daemon's, to the letter.

use std::path::Path;
use std::time::Duration;

use super::failure::Failure;
use super::query::When;
use super::samples::{self, Extent, Sample, Trouble};
use crate::limits;
use crate::model::{Labels, Matcher};
use crate::promql::{self, EvalError, Expr, Kind, Options, ParseError};
use crate::series::{Appended, Refusal, Settings, Store, View};
use crate::serve::query_answer;
use crate::signals::scrape::Format;
use crate::time::Timestamp;

/// A file's series.
pub(super) struct Data {
    pub(super) view: View,
    pub(super) extent: Extent,
    /// What is to be said about the file, though it can be used.
    pub(super) note: Option<String>,
}

/// Decides which series are held.
pub(super) type Wanted<'a> = &'a dyn Fn(&Labels) -> bool;

/// Reads a file.
pub(super) fn load(path: &Path, wanted: Wanted<'_>) -> Result<Data, Failure> {
    let read = |format, each: &mut dyn FnMut(&Sample<'_>) -> Result<(), String>| samples::read_file(path, format, each);
    // What comes through a pipe can be read only once.
    let once = path == Path::new("-");
    let text = || "read as Prometheus' text format, whose times are milliseconds: there is no # EOF".to_owned();
    match load_with(wanted, once, &|each| read(Format::OpenMetrics, each)) {
        Ok((view, extent)) => {
            let cut = || "it does not end with # EOF: it may be cut off".to_owned();
            Ok(Data { view, extent, note: (!extent.ended).then(cut) })
        }
        Err(trouble) if once => Err(trouble.failure(path)),
        Err(trouble) => match load_with(wanted, once, &|each| read(Format::Text, each)) {
            // What looks like seconds is not taken for milliseconds.
            Ok((view, extent)) if matches!(trouble, Trouble::Millis) || of_this_age(extent.last) => {
                Ok(Data { view, extent, note: Some(text()) })
            }
            _ => Err(trouble.failure(path)),
        },
    }
}

/// After 1973 in milliseconds.
fn of_this_age(at: Timestamp) -> bool {
    at.as_millis() >= 100_000_000_000
}

type Source<'a> = &'a dyn Fn(&mut dyn FnMut(&Sample<'_>) -> Result<(), String>) -> Result<Extent, Trouble>;

/// Reads a source: straight into a store when its series are in order of time, and sorted first when they are not.
fn load_with(wanted: Wanted<'_>, once: bool, source: Source<'_>) -> Result<(View, Extent), Trouble> {
    if !once {
        let mut kept = Kept::new(wanted);
        let mut unsorted = false;
        let read = source(&mut |sample| {
            let Some(place) = kept.place(sample) else { return Ok(()) };
            if sample.at < kept.newest[place] {
                unsorted = true;
                return Err("out of order".into());
            }
            kept.newest[place] = sample.at;
            kept.append(sample.labels, sample.at, sample.value)
        });
        if !unsorted {
            return Ok((kept.store.view(), read?));
        }
    }
    let mut kept = Kept::new(wanted);
    let mut all: Vec<(u32, u32, i64, f64)> = Vec::new();
    let extent = source(&mut |sample| {
        let Some(place) = kept.place(sample) else { return Ok(()) };
        if all.len() >= limits::CLI_UNSORTED {
            return Err(format!(
                "more than {} samples are not in order of time: sort the samples of each series",
                limits::CLI_UNSORTED
            ));
        }
        all.push((place as u32, u32::try_from(sample.line).unwrap_or(u32::MAX), sample.at.as_millis(), sample.value));
        Ok(())
    })?;
    all.sort_by_key(|(place, _, at, _)| (*place, *at));
    for (place, line, at, value) in all {
        let labels = kept.labels[place as usize].clone();
        let done = kept.append(&labels, Timestamp::from_millis(at), value);
        done.map_err(|reason| Trouble::Line { line: line as usize, reason, text: format!("{labels}") })?;
    }
    Ok((kept.store.view(), extent))
}

struct Kept<'a> {
    wanted: Wanted<'a>,
    store: Store,
    /// For each series of the file its place below, if it is wanted; `None`: not asked yet.
    places: Vec<Option<Option<usize>>>,
    newest: Vec<Timestamp>,
    labels: Vec<Labels>,
    samples: usize,
}

impl<'a> Kept<'a> {
    fn new(wanted: Wanted<'a>) -> Kept<'a> {
        let settings = Settings { max_series: limits::CLI_SERIES, retention: Duration::MAX, ..Settings::default() };
        let store = Store::new(settings);
        Kept { wanted, store, places: Vec::new(), newest: Vec::new(), labels: Vec::new(), samples: 0 }
    }

    fn place(&mut self, sample: &Sample<'_>) -> Option<usize> {
        if self.places.len() <= sample.series {
            self.places.resize(sample.series + 1, None);
        }
        if let Some(known) = self.places[sample.series] {
            return known;
        }
        let place = (self.wanted)(sample.labels).then_some(self.newest.len());
        if place.is_some() {
            self.newest.push(Timestamp::MIN);
            self.labels.push(sample.labels.clone());
        }
        self.places[sample.series] = Some(place);
        place
    }

    fn append(&mut self, labels: &Labels, at: Timestamp, value: f64) -> Result<(), String> {
        self.samples += 1;
        if self.samples > limits::CLI_SAMPLES {
            return Err(format!("more than {} samples are asked for: ask for fewer series", limits::CLI_SAMPLES));
        }
        match self.store.append(labels, at, value) {
            Appended::Known | Appended::New => Ok(()),
            Appended::Refused(Refusal::OutOfOrder) => {
                Err(format!("this series has another value at the same time, {}", at.to_rfc3339()))
            }
            Appended::Refused(Refusal::TooManySeries | Refusal::TooManySeriesOfSource) => {
                Err(format!("there are more than {} series", limits::CLI_SERIES))
            }
            Appended::Refused(Refusal::LabelsTooLong) => Err("the labels are too long".into()),
        }
    }
}

/// Reads what an expression needs of a file.
pub(super) fn load_for(path: &Path, expr: &Expr) -> Result<Data, Failure> {
    let selectors = selectors(expr);
    let wanted = |labels: &Labels| match &selectors {
        Some(selectors) => selectors.iter().any(|matchers| matchers.iter().all(|m| m.matches_labels(labels))),
        None => true,
    };
    load(path, &wanted)
}

/// What an expression selects; `None`: it may look at anything.
pub(super) fn selectors(expr: &Expr) -> Option<Vec<&[Matcher]>> {
    let (mut found, mut anything) = (Vec::new(), false);
    expr.walk(&mut |expr| match &expr.kind {
        Kind::Selector(selector) => found.push(&selector.matchers[..]),
        Kind::Range(range) => found.push(&range.selector.matchers[..]),
        // It finds its info series itself.
        Kind::Call(call) if call.function.name == "info" => anything = true,
        _ => {}
    });
    (!anything).then_some(found)
}

/// Evaluates an expression; the answer is the daemon's envelope.
pub(super) fn ask(data: &Data, text: &str, expr: &Expr, when: When) -> Result<String, Failure> {
    let options = Options { max_samples: limits::CLI_SAMPLES, ..Options::default() };
    let (at, outcome) = match when {
        When::At(at) => {
            let at = at.unwrap_or(data.extent.last);
            (at, promql::instant(&data.view, expr, at, &options))
        }
        When::Range { start, end, step } => (end, promql::range(&data.view, expr, start, end, step, &options)),
    };
    let outcome = outcome.map_err(|error| Failure::said(failed(&error, text)))?;
    Ok(query_answer(&outcome, at, text))
}

fn failed(error: &EvalError, text: &str) -> String {
    let whole = promql::parse(text).map(|expr| expr.span).unwrap_or_default();
    let marked = ParseError { span: error.span.unwrap_or(whole), message: error.message.clone(), help: None };
    format!("the expression cannot be evaluated\n{}", marked.render(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# TYPE hits counter\nhits_total{host=\"a\"} 10 100\nhits_total{host=\"a\"} 25 115\n\
                        hits_total{host=\"b\"} 0 100\nhits_total{host=\"b\"} 3 115\n# EOF\n";

    fn load_text(file: &str, once: bool) -> Result<Data, String> {
        let source = |each: &mut dyn FnMut(&Sample<'_>) -> Result<(), String>| {
            samples::read(&mut file.as_bytes(), Format::OpenMetrics, each)
        };
        let loaded = load_with(&|_| true, once, &source);
        let (view, extent) = loaded.map_err(|trouble| trouble.failure(Path::new("f")).to_string())?;
        Ok(Data { view, extent, note: None })
    }

    fn asked(file: &str, text: &str, when: When) -> Result<String, String> {
        let data = load_text(file, false)?;
        let expr = promql::parse(text).map_err(|error| error.to_string())?;
        ask(&data, text, &expr, when).map_err(|failure| failure.to_string())
    }

    #[test]
    fn a_file_is_asked_as_a_daemon_is() {
        assert_eq!(
            asked(FILE, "sum(hits_total)", When::At(None)).expect("an answer"),
            r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[115,"28"]}]}}"#
        );
        let range = When::Range {
            start: Timestamp::from_millis(100_000),
            end: Timestamp::from_millis(120_500),
            step: Duration::from_millis(20_500),
        };
        let json = asked(FILE, "hits_total{host=\"b\"}", range).expect("an answer");
        assert!(json.contains(r#"[[100,"0"],[120.500,"3"]]"#), "{json}");
        assert!(super::super::values::read(&json).is_ok());
    }

    #[test]
    fn warnings_and_infos_are_told_apart() {
        let json = asked("a_b 1 1\na_b 2 2\n", "rate(a_b[1m]) + quantile(2, a_b)", When::At(None)).expect("an answer");
        assert!(json.contains(r#""warnings":["PromQL warning: quantile value"#), "{json}");
        assert!(json.contains(r#""infos":["PromQL info: metric might not be a counter"#), "{json}");
    }

    #[test]
    fn series_may_be_mixed_and_out_of_order_but_not_have_two_values_at_one_time() {
        let mixed = "a 3 30\na 1 10\nb 5 30\na 2 20\n# EOF\n";
        for once in [false, true] {
            let data = load_text(mixed, once).expect("good");
            let expr = promql::parse("sum_over_time(a[1m]) + b").expect("good");
            let json = ask(&data, "", &expr, When::At(None)).expect("an answer");
            assert!(json.contains(r#"[30,"11"]"#), "{json}");
            let error = load_text("a 3 30\na 1 10\na 4 30\n", once).map(|_| ()).expect_err("two values");
            assert!(error.starts_with("f:3: this series has another value at the same time"), "{error}");
            assert!(load_text("a 3 30\na 3 30\n", once).is_ok());
        }
    }

    #[test]
    fn only_what_is_selected_is_held() {
        let expr = promql::parse("rate(a[1m]) / on() sum({x=~\"b.*\"})").expect("good");
        assert_eq!(selectors(&expr).map(|found| found.len()), Some(2));
        let expr = promql::parse("info(a)").expect("good");
        assert!(selectors(&expr).is_none());
    }

    #[test]
    fn what_cannot_be_asked_is_said_with_its_place() {
        let many = asked(FILE, "hits_total + on() hits_total", When::At(None)).expect_err("no answer");
        assert!(many.contains('^') && many.contains("cannot be evaluated"), "{many}");
    }
}
