//! `brownout record`: a daemon's samples into one file of OpenMetrics text, for `brownout replay` and `brownout query --data`.
//!
//! It asks the daemon's query API for the raw samples of one stretch of time after the other: first what the daemon still
//! has, then, with `--for`, what comes. Interrupted, it ends the file properly.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::time::Duration;

use super::client::{Daemon, ServerArgs};
use super::failure::Failure;
use super::human::count;
use super::out::Out;
use super::times;
use super::values::{self, Found, Metric, NAME};
use crate::promql;
use crate::time::{Clock, Timestamp, format_duration};

/// How much time is asked for at once, while the answers are small enough.
const STRETCH: Duration = Duration::from_secs(60);
/// How often what is new is asked for.
const FOLLOW: Duration = Duration::from_secs(5);
/// Samples may come in a little later than their time says.
const LATE: Duration = Duration::from_secs(2);
/// What stands for every series.
const EVERYTHING: &str = "{__name__!=\"\"}";

/// Write a daemon's recent samples to a file, for replay and query --data
#[derive(Clone, Debug, clap::Args)]
pub struct RecordArgs {
    /// The file to write: OpenMetrics text, compressed when the name ends with .gz; - is the standard output
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
    /// How far back to begin
    #[arg(long, value_name = "SPAN", default_value = "15m")]
    last: String,
    /// How long to go on recording after that; by default not at all
    #[arg(long = "for", value_name = "SPAN")]
    hold: Option<String>,
    /// Only series that this selector matches, such as '{job="node"}'; may be given more than once
    #[arg(long = "match", value_name = "SELECTOR")]
    selectors: Vec<String>,
    #[command(flatten)]
    server: ServerArgs,
}

pub(super) async fn record(args: &RecordArgs, out: &mut Out) -> Result<(), Failure> {
    let last = times::span(&args.last).map_err(Failure::Usage)?;
    let hold = args.hold.as_deref().map(times::span).transpose().map_err(Failure::Usage)?;
    let selectors = selectors(&args.selectors)?;
    let daemon = Daemon::of(&args.server)?;
    let clock = Clock::start();
    let began = clock.now();
    let mut recording =
        Recording { daemon, selectors, stretch: STRETCH, done: began - last, samples: 0, to: Target::open(&args.to)? };
    let captured = tokio::select! {
        captured = recording.capture(&clock, began, hold) => captured,
        _ = tokio::signal::ctrl_c() => Ok(()),
    };
    // What was written is a whole file, whatever happened.
    recording.to.finish(&args.to)?;
    captured?;
    let samples = usize::try_from(recording.samples).unwrap_or(usize::MAX);
    out.aside(&format!(
        "{} until {} written to {}",
        count(samples, "sample", "samples"),
        recording.done.to_rfc3339(),
        args.to.display()
    ));
    Ok(())
}

fn selectors(given: &[String]) -> Result<Vec<String>, Failure> {
    if given.is_empty() {
        return Ok(vec![EVERYTHING.to_owned()]);
    }
    for text in given {
        promql::parse_selector(text).map_err(|error| {
            Failure::said(format!("this is no selector such as up{{job=\"node\"}}\n{}", error.render(text)))
        })?;
    }
    Ok(given.to_vec())
}

struct Recording {
    daemon: Daemon,
    selectors: Vec<String>,
    stretch: Duration,
    /// Everything until then, that time included, is written.
    done: Timestamp,
    samples: u64,
    to: Target,
}

impl Recording {
    async fn capture(&mut self, clock: &Clock, began: Timestamp, hold: Option<Duration>) -> Result<(), Failure> {
        let Some(hold) = hold else { return self.until(began).await };
        let end = began + hold;
        loop {
            self.until((clock.now() - LATE).min(end)).await?;
            if self.done >= end {
                return Ok(());
            }
            tokio::time::sleep(FOLLOW).await;
        }
    }

    /// Writes everything after what is done, until a time.
    async fn until(&mut self, end: Timestamp) -> Result<(), Failure> {
        while self.done < end {
            let to = (self.done + self.stretch).min(end);
            match self.part(to).await {
                Ok(text) => {
                    self.to.write(&text)?;
                    self.done = to;
                }
                // It may be too much for one answer.
                Err(_) if self.stretch > Duration::from_secs(1) => self.stretch /= 4,
                Err(failure) => return Err(failure),
            }
        }
        Ok(())
    }

    async fn part(&mut self, to: Timestamp) -> Result<String, Failure> {
        let window = format_duration(to.since(self.done));
        let at = format!("{:.3}", to.as_secs_f64());
        let (mut text, mut samples) = (String::new(), 0);
        for selector in &self.selectors {
            let form = [("query", format!("{selector}[{window}]")), ("time", at.clone())];
            let json = self.daemon.json_of_form(&["api", "v1", "query"], &form).await?;
            let answer = values::read(&json);
            let answer = answer.map_err(|error| Failure::said(format!("cannot read the answer: {error}")))?;
            let Found::Matrix(series) = answer.result else { continue };
            for (metric, points) in &series {
                let name = series_name(metric);
                for point in points.iter().filter(|point| point.number().is_some()) {
                    text.push_str(&format!("{name} {} {}\n", point.value, seconds(point.at)));
                    samples += 1;
                }
            }
        }
        self.samples += samples;
        Ok(text)
    }
}

/// Seconds that are read back as this very millisecond: whoever reads them multiplies by 1,000 and cuts off the rest.
fn seconds(at: Timestamp) -> String {
    let text = format!("{}", at.as_secs_f64());
    let back = text.parse::<f64>().map(|secs| (secs * 1000.0) as i64);
    match back == Ok(at.as_millis()) {
        true => text,
        false if at.as_millis() < 0 => text,
        false => format!("{:.3}1", at.as_secs_f64()),
    }
}

/// A series as OpenMetrics writes it.
fn series_name(metric: &Metric) -> String {
    let plain = |name: &str, colon: bool| {
        name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || (colon && b == b':'))
            && name.bytes().next().is_some_and(|b| !b.is_ascii_digit())
    };
    let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"));
    let name = metric.get(NAME).map_or("", String::as_str);
    let head = if plain(name, true) { None } else { Some(quoted(name)) };
    let labels = metric.iter().filter(|(label, _)| *label != NAME).map(|(label, value)| {
        let label = if plain(label, false) { label.clone() } else { quoted(label) };
        format!("{label}={}", quoted(value))
    });
    let is_plain = head.is_none();
    let inner: Vec<String> = head.into_iter().chain(labels).collect();
    match (is_plain, inner.is_empty()) {
        (true, true) => name.to_owned(),
        (true, false) => format!("{name}{{{}}}", inner.join(",")),
        (false, _) => format!("{{{}}}", inner.join(",")),
    }
}

/// Where a recording goes.
enum Target {
    Plain(BufWriter<Box<dyn Write>>),
    Zipped(flate2::write::GzEncoder<BufWriter<File>>),
}

impl Target {
    fn open(path: &std::path::Path) -> Result<Target, Failure> {
        if path == std::path::Path::new("-") {
            return Ok(Target::Plain(BufWriter::new(Box::new(std::io::stdout()))));
        }
        let file = File::create(path);
        let file = file.map_err(|error| Failure::said(format!("cannot write {}: {error}", path.display())))?;
        Ok(match path.extension().is_some_and(|ending| ending == "gz") {
            true => Target::Zipped(flate2::write::GzEncoder::new(BufWriter::new(file), flate2::Compression::default())),
            false => Target::Plain(BufWriter::new(Box::new(file))),
        })
    }

    fn write(&mut self, text: &str) -> Result<(), Failure> {
        let written = match self {
            Target::Plain(to) => to.write_all(text.as_bytes()),
            Target::Zipped(to) => to.write_all(text.as_bytes()),
        };
        written.map_err(|error| Failure::said(format!("cannot write the recording: {error}")))
    }

    fn finish(&mut self, path: &std::path::Path) -> Result<(), Failure> {
        self.write("# EOF\n")?;
        let done = match self {
            Target::Plain(to) => to.flush(),
            Target::Zipped(to) => to.try_finish().and_then(|()| to.get_mut().flush()),
        };
        done.map_err(|error| Failure::said(format!("cannot write {}: {error}", path.display())))
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::{self, Sample};
    use super::*;
    use crate::signals::scrape::Format;

    #[test]
    fn what_is_written_is_read_back_to_the_millisecond_and_the_character() {
        let metric = |pairs: &[(&str, &str)]| -> Metric {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        for (pairs, expected) in [
            (&[(NAME, "up")][..], "up"),
            (&[(NAME, "a:b"), ("job", "x\"\\\ny")], "a:b{job=\"x\\\"\\\\\\ny\"}"),
            (&[(NAME, "a.b"), ("c d", "1")], "{\"a.b\",\"c d\"=\"1\"}"),
            (&[(NAME, "1a")], "{\"1a\"}"),
        ] {
            let written = series_name(&metric(pairs));
            assert_eq!(written, expected);
            let mut seen = Vec::new();
            let mut each = |sample: &Sample<'_>| {
                seen.extend(sample.labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())));
                Ok(())
            };
            let line = format!("{written} 1 2\n# EOF\n");
            samples::read(&mut line.as_bytes(), Format::OpenMetrics, &mut each).expect("readable");
            let wanted: Vec<_> = pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
            assert_eq!(seen, wanted);
        }
        for millis in (1_700_000_000_000_i64..1_700_000_002_000).chain([0, 1, 999, 1_001]) {
            let text = seconds(Timestamp::from_millis(millis));
            assert_eq!((text.parse::<f64>().expect("a number") * 1000.0) as i64, millis, "{text}");
        }
    }

    #[test]
    fn a_selector_that_is_none_is_shown_with_its_place() {
        assert!(selectors(&["up{".into()]).expect_err("bad").to_string().contains('^'));
        assert_eq!(selectors(&[]).expect("all"), [EVERYTHING]);
    }
}
