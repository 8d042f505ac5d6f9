//! Trying a job out on a text, without files: what its metrics would be, and which lines nothing matched.

use super::metric::Metrics;
use super::settings::{JobSettings, LogError};
use crate::model::Labels;
use crate::telemetry::Telemetry;
use crate::time::Timestamp;

/// Lines that are shown.
const SHOWN: usize = 1_000;

/// What a text came to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DryRun {
    pub lines: u64,
    /// Every series with its value at the end.
    pub samples: Vec<(Labels, f64)>,
    /// Numbers (from 1) and texts of the lines that do not have the format; the first thousand.
    pub unparsed: Vec<(u64, String)>,
    /// The same of the lines that have it, but that no metric took.
    pub unmatched: Vec<(u64, String)>,
}

/// Counts the lines of a text as a job would.
///
/// # Errors
/// When a setting cannot be used. Paths are not looked at.
pub fn dry_run(settings: &JobSettings, text: &[u8], now: Timestamp) -> Result<DryRun, LogError> {
    let mut metrics = Metrics::new(settings, Telemetry::new(), now)?;
    let mut run = DryRun::default();
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    for line in text.split(|byte| *byte == b'\n').filter(|_| !text.is_empty()) {
        run.lines += 1;
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let absorbed = metrics.line(line, "", now);
        let place = match (absorbed.parsed, absorbed.hits) {
            (false, _) => &mut run.unparsed,
            (true, 0) => &mut run.unmatched,
            _ => continue,
        };
        if place.len() < SHOWN {
            place.push((run.lines, String::from_utf8_lossy(line).into_owned()));
        }
    }
    run.samples = metrics.all(now);
    Ok(run)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signals::logs::{Format, Kind, MetricSettings};

    #[test]
    fn a_dry_run_shows_samples_and_what_nothing_matched() {
        let metric = MetricSettings { pattern: Some("a=1".into()), ..MetricSettings::named(Kind::Counter, "x_total") };
        let settings = JobSettings { format: Format::Logfmt, metrics: vec![metric], ..JobSettings::named("j", "h") };
        let run = dry_run(&settings, b"a=1\na=2\r\nplain\na=1\n", Timestamp::ZERO).expect("settings");
        assert_eq!((run.lines, run.samples[0].1), (4, 2.0));
        assert_eq!(run.unmatched, [(2, "a=2".to_owned())]);
        assert_eq!(run.unparsed, [(3, "plain".to_owned())]);
        assert_eq!(dry_run(&settings, b"", Timestamp::ZERO).expect("settings").lines, 0);
    }
}
