//! `brownout query`: one PromQL expression, asked of a daemon or of a file.

use std::path::PathBuf;
use std::time::Duration;

use super::client::{Daemon, ServerArgs};
use super::failure::Failure;
use super::human::{Zone, count};
use super::out::Out;
use super::table::Table;
use super::text::{Style, Text};
use super::values::{self, Answer, Found, Metric, NAME, Point, series_text, split_labels};
use super::{offline, plot, times};
use crate::limits;
use crate::promql::{self, ValueType};
use crate::time::{Clock, Timestamp};

/// Up to so many series, a range is shown as a table with a row an instant; beyond, as one row a series.
const COLUMNS: usize = 6;
/// What `--output plot` shows when no time is given.
const PLOTTED: Duration = Duration::from_secs(300);
/// Points of a range query when no step is given.
const POINTS: u32 = 200;

/// Evaluate a PromQL expression, now or over a range of time
#[derive(Clone, Debug, clap::Args)]
pub struct QueryArgs {
    /// The expression, for example 'rate(node_cpu_seconds_total{mode="idle"}[10s])'
    expr: String,
    /// The instant: now (the default; the last sample's time with --data), -5m, seconds since the epoch, or 2026-01-31T12:00:00Z
    #[arg(long, allow_hyphen_values = true, conflicts_with_all = ["start", "end", "step"])]
    time: Option<String>,
    /// The first instant of a range; by default 1h before its end
    #[arg(long, allow_hyphen_values = true)]
    start: Option<String>,
    /// The last instant of a range; by default now
    #[arg(long, allow_hyphen_values = true)]
    end: Option<String>,
    /// How far apart the instants of a range are; by default what gives about 200
    #[arg(long)]
    step: Option<String>,
    /// How the answer is shown; json is what /api/v1/query and /api/v1/query_range give
    #[arg(long, short, value_enum, default_value_t = Output::Table)]
    output: Output,
    /// Ask this file instead of a daemon: OpenMetrics text with a timestamp at every sample, plain or gzip; - is the standard input
    #[arg(long, value_name = "FILE", conflicts_with = "server")]
    data: Option<PathBuf>,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    Table,
    Json,
    Plot,
}

/// When to evaluate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum When {
    /// `None`: now, as the daemon has it.
    At(Option<Timestamp>),
    Range {
        start: Timestamp,
        end: Timestamp,
        step: Duration,
    },
}

pub(super) async fn query(args: &QueryArgs, out: &mut Out) -> Result<(), Failure> {
    let expr = promql::parse(&args.expr)
        .map_err(|error| Failure::said(format!("this is no PromQL expression\n{}", error.render(&args.expr))))?;
    let json = match &args.data {
        Some(path) => {
            let data = offline::load_for(path, &expr)?;
            if let Some(note) = &data.note {
                out.aside(&format!("{}: {note}", path.display()));
            }
            let when = when(args, expr.value_type(), data.extent.last)?;
            offline::ask(&data, &args.expr, &expr, when)?
        }
        None => {
            let when = when(args, expr.value_type(), Clock::start().now())?;
            ask(&Daemon::of(&args.server)?, &args.expr, when).await?
        }
    };
    if args.output == Output::Json {
        return out.json(&json);
    }
    let answer = values::read(&json).map_err(|error| Failure::said(format!("cannot read the answer: {error}")))?;
    let zone = Zone::system();
    let lines = match args.output {
        Output::Plot => plot::plot(&answer.result, &plot::Size::fitting(out.width()), &zone, out.colours()),
        Output::Table | Output::Json => table(&answer.result, &zone, out.edge()),
    };
    out.lines(&lines)?;
    out.lines(&notes(&answer))
}

fn when(args: &QueryArgs, kind: ValueType, now: Timestamp) -> Result<When, Failure> {
    let instant = |text: &str| times::instant(text, now).map_err(Failure::Said);
    let given = |text: &Option<String>| text.as_deref().map(instant).transpose();
    let ranged = args.start.is_some() || args.end.is_some() || args.step.is_some();
    let curve = args.output == Output::Plot && args.time.is_none() && kind != ValueType::Matrix;
    if !ranged && !curve {
        let at = given(&args.time)?;
        // A file's "now" is its end.
        return Ok(When::At(if args.data.is_some() { at.or(Some(now)) } else { at }));
    }
    let end = given(&args.end)?.unwrap_or(now);
    let span = if ranged { Duration::from_secs(3600) } else { PLOTTED };
    let start = given(&args.start)?.unwrap_or(end - span);
    if start > end {
        return Err(Failure::said("the range ends before it starts: --end must be later than --start"));
    }
    let whole = end.since(start);
    let step = match &args.step {
        Some(text) => times::span(text).map_err(Failure::Said)?,
        None => Duration::from_secs((whole / POINTS).as_secs().max(1)),
    };
    let points = whole.as_millis() / step.as_millis().max(1);
    if points > limits::QUERY_POINTS as u128 {
        let message =
            format!("{points} instants are too many (at most {}): give a longer --step", limits::QUERY_POINTS);
        return Err(Failure::Said(message));
    }
    Ok(When::Range { start, end, step })
}

async fn ask(daemon: &Daemon, expr: &str, when: When) -> Result<String, Failure> {
    let seconds = |at: Timestamp| format!("{:.3}", at.as_secs_f64());
    let mut form = vec![("query", expr.to_owned())];
    let call = match when {
        When::At(at) => {
            form.extend(at.map(|at| ("time", seconds(at))));
            "query"
        }
        When::Range { start, end, step } => {
            form.extend([("start", seconds(start)), ("end", seconds(end)), ("step", step.as_secs_f64().to_string())]);
            "query_range"
        }
    };
    daemon.json_of_query(&["api", "v1", call], &form, expr).await
}

fn notes(answer: &Answer) -> Vec<Text> {
    answer.notes.iter().map(|note| Text::styled(Style::Warn, "note: ").then(note.as_str())).collect()
}

/// An answer as a table.
fn table(found: &Found, zone: &Zone, edge: usize) -> Vec<Text> {
    match found {
        Found::One(value) => vec![value.as_str().into()],
        Found::Vector(samples) if samples.is_empty() => vec![nothing()],
        Found::Matrix(series) if series.is_empty() => vec![nothing()],
        Found::Vector(samples) => vector_table(samples, edge),
        Found::Matrix(series) if series.len() <= COLUMNS => instants_table(series, zone, edge),
        Found::Matrix(series) => summary_table(series, edge),
    }
}

pub(super) fn nothing() -> Text {
    Text::styled(Style::Dim, "no series: nothing has these labels at this time")
}

/// What all series have in common, above the table.
fn shared_line(shared: &Metric) -> Option<Text> {
    (!shared.is_empty()).then(|| Text::styled(Style::Dim, format!("all: {}", series_text(shared))))
}

fn labels_head(label: &str) -> String {
    if label == NAME { "name".to_owned() } else { label.to_owned() }
}

fn vector_table(samples: &[(Metric, Point)], edge: usize) -> Vec<Text> {
    let metrics: Vec<&Metric> = samples.iter().map(|(metric, _)| metric).collect();
    let (telling, shared) = split_labels(&metrics);
    if let [(metric, point)] = samples {
        return vec![Text::from(format!("{}  {}", series_text(metric), point.value)).cut(edge)];
    }
    let mut table = Table::new(telling.iter().map(|label| labels_head(label)).chain(["VALUE>".to_owned()]));
    for (metric, point) in samples {
        let cell = |label: &&str| Text::from(metric.get(*label).map_or("", String::as_str));
        table.row(telling.iter().map(cell).chain([point.value.as_str().into()]).collect());
    }
    shared_line(&shared).map(|line| line.cut(edge)).into_iter().chain(table.render(edge)).collect()
}

fn instants_table(series: &[(Metric, Vec<Point>)], zone: &Zone, edge: usize) -> Vec<Text> {
    let metrics: Vec<&Metric> = series.iter().map(|(metric, _)| metric).collect();
    let (telling, shared) = split_labels(&metrics);
    let head = |metric: &Metric| -> String {
        let differing = metric.iter().filter(|(label, _)| telling.contains(&label.as_str()));
        let text = differing.map(|(_, value)| value.as_str()).collect::<Vec<_>>().join(" ");
        format!("{}>", if text.is_empty() { "VALUE" } else { &text })
    };
    let mut table = Table::new(std::iter::once("TIME".to_owned()).chain(metrics.iter().map(|metric| head(metric))));
    let mut instants: Vec<Timestamp> = series.iter().flat_map(|(_, points)| points).map(|point| point.at).collect();
    instants.sort_unstable();
    instants.dedup();
    for at in instants {
        let value = |(_, points): &(Metric, Vec<Point>)| -> Text {
            let place = points.binary_search_by_key(&at, |point| point.at);
            place.map_or("", |place| points[place].value.as_str()).into()
        };
        table.row(std::iter::once(zone.full(at).into()).chain(series.iter().map(value)).collect());
    }
    shared_line(&shared).map(|line| line.cut(edge)).into_iter().chain(table.render(edge)).collect()
}

fn summary_table(series: &[(Metric, Vec<Point>)], edge: usize) -> Vec<Text> {
    let mut table = Table::new(["POINTS>", "LEAST>", "MEAN>", "MOST>", "LAST>", "SERIES"]);
    for (metric, points) in series {
        let numbers: Vec<f64> = points.iter().filter_map(Point::number).filter(|value| !value.is_nan()).collect();
        let shown = |value: Option<f64>| Text::from(value.map(super::human::number).unwrap_or_default());
        let mean = (!numbers.is_empty()).then(|| numbers.iter().sum::<f64>() / numbers.len() as f64);
        table.row(vec![
            points.len().to_string().into(),
            shown(numbers.iter().copied().reduce(f64::min)),
            shown(mean),
            shown(numbers.iter().copied().reduce(f64::max)),
            shown(numbers.last().copied()),
            series_text(metric).into(),
        ]);
    }
    let head = Text::styled(Style::Dim, format!("{}; each in one line", count(series.len(), "series", "series")));
    std::iter::once(head).chain(table.render(edge)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(json: &str) -> String {
        let answer = values::read(json).expect("an answer");
        let lines = table(&answer.result, &Zone::utc(), usize::MAX);
        lines.iter().chain(&notes(&answer)).map(|line| line.render(false)).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn one_series_is_one_line() {
        let json =
            r#"{"data":{"resultType":"vector","result":[{"metric":{"__name__":"up","job":"node"},"value":[1,"1"]}]}}"#;
        assert_eq!(shown(json), r#"up{job="node"}  1"#);
    }

    #[test]
    fn a_vector_shows_what_differs_in_columns() {
        insta::assert_snapshot!(shown(
            r#"{"status":"success","data":{"resultType":"vector","result":[
            {"metric":{"__name__":"node_filesystem_avail_bytes","device":"/dev/sda1","mountpoint":"/","instance":"h1"},"value":[1700000000,"16500000000"]},
            {"metric":{"__name__":"node_filesystem_avail_bytes","device":"tmpfs","mountpoint":"/run","instance":"h1"},"value":[1700000000,"42"]},
            {"metric":{"__name__":"node_filesystem_avail_bytes","device":"\u001b[31mred","instance":"h1"},"value":[1700000000,"NaN"]}]},
            "warnings":["PromQL warning: careful"]}"#
        ), @r#"
        all: node_filesystem_avail_bytes{instance="h1"}
        device         mountpoint        VALUE
        /dev/sda1      /           16500000000
        tmpfs          /run                 42
        \u{1b}[31mred                      NaN
        note: PromQL warning: careful
        "#);
    }

    #[test]
    fn a_range_of_few_series_has_a_row_an_instant() {
        insta::assert_snapshot!(shown(
            r#"{"data":{"resultType":"matrix","result":[
            {"metric":{"mode":"user"},"values":[[1700000000,"0.25"],[1700000015,"0.5"]]},
            {"metric":{"mode":"idle"},"values":[[1700000015,"0.123456"]]}]}}"#
        ), @r"
        TIME                 user      idle
        2023-11-14 22:13:20  0.25
        2023-11-14 22:13:35   0.5  0.123456
        ");
    }

    #[test]
    fn a_range_of_many_series_has_a_row_a_series() {
        let one = |n: u32| format!(r#"{{"metric":{{"n":"{n}"}},"values":[[1,"{n}"],[2,"{}"]]}}"#, n * 3);
        let series: Vec<String> = (0..8).map(one).collect();
        let text = shown(&format!(r#"{{"data":{{"resultType":"matrix","result":[{}]}}}}"#, series.join(",")));
        insta::assert_snapshot!(text.lines().take(4).collect::<Vec<_>>().join("\n"), @r#"
        8 series; each in one line
        POINTS  LEAST  MEAN  MOST  LAST  SERIES
             2      0     0     0     0  {n="0"}
             2      1     2     3     3  {n="1"}
        "#);
    }

    #[test]
    fn nothing_found_is_said() {
        assert!(shown(r#"{"data":{"resultType":"vector","result":[]}}"#).starts_with("no series"));
    }

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(flatten)]
        query: QueryArgs,
    }

    fn asked(arguments: &[&str]) -> Result<When, Failure> {
        let line = <Line as clap::Parser>::try_parse_from([&["query", "up"], arguments].concat()).expect("arguments");
        when(&line.query, ValueType::Vector, Timestamp::from_millis(10_000_000))
    }

    #[test]
    fn the_time_is_an_instant_or_a_range_with_defaults() {
        let at = Timestamp::from_millis;
        let range =
            |start, end, step| When::Range { start: at(start), end: at(end), step: Duration::from_millis(step) };
        for (arguments, expected) in [
            (&[][..], When::At(None)),
            (&["--time", "-5m"], When::At(Some(at(9_700_000)))),
            (&["--start", "-1000s"], range(9_000_000, 10_000_000, 5_000)),
            (&["--start", "-10s", "--end", "-4s"], range(9_990_000, 9_996_000, 1_000)),
            (&["--step", "1m"], range(6_400_000, 10_000_000, 60_000)),
            (&["--output", "plot"], range(9_700_000, 10_000_000, 1_000)),
            (&["--output", "plot", "--time", "5"], When::At(Some(at(5_000)))),
            (&["--data", "x"], When::At(Some(at(10_000_000)))),
        ] {
            assert_eq!(asked(arguments).expect("good"), expected, "{arguments:?}");
        }
        for bad in [&["--start", "-1s", "--end", "-2s"][..], &["--start", "0", "--step", "10ms"], &["--time", "x"]] {
            assert!(matches!(asked(bad), Err(Failure::Said(_))), "{bad:?}");
        }
    }
}
