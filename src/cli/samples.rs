//! Files of samples: OpenMetrics text with a timestamp at every sample, plain or compressed by gzip, read part by part.
//!
//! However large a file is, only one part of it is in memory, and what the caller keeps. A file without `# EOF` at its end
//! is read all the same and said to be cut off; where its times can only be milliseconds it is Prometheus' older text
//! format. A malformed line fails the whole file with its number and its text.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::Read;
use std::path::Path;

use super::failure::Failure;
use crate::limits;
use crate::model::{Labels, LabelsBuilder, LabelsMap, MetricKind};
use crate::signals::scrape::{Entry, Format, Parser, series_labels};
use crate::time::Timestamp;

/// How much is read at one time, in bytes.
const PART: usize = 1 << 20;
/// Times from here on can only be milliseconds: as seconds they would lie 3,000 years ahead.
const SURELY_MILLIS: i64 = 100_000_000_000_000;

/// One sample of a file.
pub(super) struct Sample<'a> {
    /// Which series; numbers are given in the order of appearance.
    pub(super) series: usize,
    pub(super) labels: &'a Labels,
    pub(super) at: Timestamp,
    pub(super) value: f64,
    /// From 1.
    pub(super) line: usize,
}

/// What a whole file was like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Extent {
    pub(super) first: Timestamp,
    pub(super) last: Timestamp,
    pub(super) samples: u64,
    /// False when `# EOF` is missing at the end.
    pub(super) ended: bool,
}

/// Why a file cannot be used.
#[derive(Debug)]
pub(super) enum Trouble {
    /// A place of the file and what is wrong there.
    Line {
        line: usize,
        reason: String,
        text: String,
    },
    Other(String),
    /// Its times are those of the older text format.
    Millis,
}

impl Trouble {
    /// For people, with the file's name.
    pub(super) fn failure(self, path: &Path) -> Failure {
        let shown = path.display();
        Failure::said(match self {
            Trouble::Line { line, reason, text } => {
                let gutter = " ".repeat(line.to_string().len());
                let mut message = format!("{shown}:{line}: {reason}\n");
                // Writing to a text cannot fail.
                let _ = write!(message, "{gutter} |\n{line} | {text}");
                message
            }
            Trouble::Other(reason) => format!("{shown}: {reason}"),
            Trouble::Millis => format!("{shown}: its times are no seconds"),
        })
    }
}

/// Reads a file; `-` is the standard input. `each` gets every sample in the order of the file and may refuse it.
pub(super) fn read_file(
    path: &Path,
    format: Format,
    each: &mut dyn FnMut(&Sample<'_>) -> Result<(), String>,
) -> Result<Extent, Trouble> {
    let cannot = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => Trouble::Other("there is no such file".into()),
        std::io::ErrorKind::IsADirectory => Trouble::Other("it is a directory".into()),
        _ => Trouble::Other(format!("cannot be read: {error}")),
    };
    if path == Path::new("-") {
        return read(&mut std::io::stdin().lock(), format, each);
    }
    let mut file = std::fs::File::open(path).map_err(cannot)?;
    let mut magic = [0; 2];
    let zipped = file.read_exact(&mut magic).is_ok() && magic == [0x1f, 0x8b];
    std::io::Seek::rewind(&mut file).map_err(cannot)?;
    match zipped {
        true => read(&mut flate2::read::MultiGzDecoder::new(file), format, each),
        false => read(&mut file, format, each),
    }
}

/// Reads everything from `from`.
pub(super) fn read(
    from: &mut dyn Read,
    format: Format,
    each: &mut dyn FnMut(&Sample<'_>) -> Result<(), String>,
) -> Result<Extent, Trouble> {
    let mut reader = Reader { format, names: Names::default(), extent: None, before: None, each };
    let mut part: Vec<u8> = Vec::with_capacity(PART);
    loop {
        let held = part.len();
        let got = Read::take(&mut *from, PART as u64).read_to_end(&mut part);
        got.map_err(|error| Trouble::Other(format!("cannot be read: {error}")))?;
        let over = part.len() == held;
        let lines = if over { part.len() } else { memchr::memrchr(b'\n', &part).map_or(0, |end| end + 1) };
        if lines == 0 && part.len() > limits::CLI_LINE_BYTES {
            let line = reader.before.as_ref().map_or(0, |parser| parser.lines()) + 1;
            let text = String::from_utf8_lossy(&part[..100]).into_owned();
            return Err(Trouble::Line { line, reason: "the line is too long".into(), text });
        }
        reader.part(&part[..lines])?;
        part.drain(..lines);
        if over {
            break;
        }
    }
    let ended = reader.before.as_ref().is_some_and(|parser| parser.has_ended());
    let Some(extent) = reader.extent else { return Err(Trouble::Other("there is no sample in it".into())) };
    if !ended && format == Format::OpenMetrics && extent.last.as_millis() >= SURELY_MILLIS {
        return Err(Trouble::Millis);
    }
    Ok(Extent { ended, ..extent })
}

struct Reader<'e> {
    format: Format,
    names: Names,
    extent: Option<Extent>,
    /// The parser behind the last part: it knows the line and the kind.
    before: Option<Parser<'static>>,
    each: &'e mut dyn FnMut(&Sample<'_>) -> Result<(), String>,
}

impl Reader<'_> {
    fn part(&mut self, body: &[u8]) -> Result<(), Trouble> {
        let before = self.before.take();
        let mut parser = Parser::part(self.format, body, before.as_ref());
        loop {
            let entry = parser.next_entry().map_err(|error| Trouble::Line {
                line: error.line,
                reason: error.reason.to_owned(),
                text: error.excerpt,
            })?;
            let Some(entry) = entry else { break };
            let Entry::Sample(sample) = entry else { continue };
            let line = parser.lines();
            let at_line = |reason: String| Trouble::Line {
                line,
                reason,
                text: String::from_utf8_lossy(parser.line_text()).chars().take(200).collect(),
            };
            let series = self.names.number(sample.series, parser.kind()).map_err(|why| at_line(why.to_owned()))?;
            let Some(at) = sample.at else {
                return Err(at_line("the sample has no timestamp, and there is nobody to ask when it was".into()));
            };
            let value = sample.value;
            let extent = self.extent.get_or_insert(Extent { first: at, last: at, samples: 0, ended: false });
            (extent.first, extent.last) = (extent.first.min(at), extent.last.max(at));
            extent.samples += 1;
            let labels = &self.names.labels[series];
            (self.each)(&Sample { series, labels, at, value, line }).map_err(at_line)?;
        }
        self.before = Some(Parser::part(self.format, b"", Some(&parser)));
        Ok(())
    }
}

/// Series by the text that they are written as.
#[derive(Default)]
struct Names {
    /// For each way in which bounds are written.
    by_text: [HashMap<Box<[u8]>, usize>; 3],
    by_labels: LabelsMap<usize>,
    labels: Vec<Labels>,
}

impl Names {
    fn number(&mut self, text: &[u8], kind: MetricKind) -> Result<usize, &'static str> {
        let class = match kind {
            MetricKind::Histogram | MetricKind::GaugeHistogram => 1,
            MetricKind::Summary => 2,
            _ => 0,
        };
        if let Some(number) = self.by_text[class].get(text) {
            return Ok(*number);
        }
        let mut builder = LabelsBuilder::new();
        series_labels(text, kind, &mut builder)?;
        let labels = builder.build();
        let number = match self.by_labels.get(&labels) {
            Some(number) => *number,
            None if self.labels.len() >= limits::CLI_SERIES => return Err("there are too many series in this file"),
            None => {
                self.by_labels.insert(labels.clone(), self.labels.len());
                self.labels.push(labels);
                self.labels.len() - 1
            }
        };
        if self.by_text[class].len() < 2 * limits::CLI_SERIES {
            self.by_text[class].insert(text.into(), number);
        }
        Ok(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> Result<(Vec<String>, Extent), String> {
        let mut seen = Vec::new();
        let mut each = |sample: &Sample<'_>| {
            seen.push(format!("{} {} @{}", sample.labels, sample.value, sample.at.as_millis()));
            Ok(())
        };
        let read = read(&mut text.as_bytes(), Format::OpenMetrics, &mut each);
        let extent = read.map_err(|trouble| trouble.failure(Path::new("f.om")).to_string())?;
        Ok((seen, extent))
    }

    #[test]
    fn samples_come_in_the_order_of_the_file_with_fractions_escapes_and_quoted_names() {
        let text = "# TYPE h histogram\nh_bucket{le=\"1\"} 3 1.5 # {trace=\"x\"} 0.5 1\n\
                    {\"a.b\",\"c d\"=\"q\\\"\\\\\\n\"} NaN 100.123\na_created 1e3 0.007\n# EOF\n";
        let (seen, extent) = all(text).expect("good");
        assert_eq!(
            seen,
            [r#"h_bucket{le="1.0"} 3 @1500"#, r#"{"a.b", "c d"="q\"\\\n"} NaN @100123"#, "a_created 1000 @7",]
        );
        assert_eq!((extent.first.as_millis(), extent.last.as_millis(), extent.ended), (7, 100_123, true));
    }

    #[test]
    fn lines_are_the_same_wherever_a_part_ends() {
        let mut text = String::new();
        for number in 0..60_000 {
            text.push_str(&format!("some_metric_with_a_name{{series=\"{}\"}} {number} {number}\n", number % 7));
        }
        assert!(text.len() > 2 * PART);
        let whole = all(&format!("{text}# EOF\n")).expect("good");
        assert_eq!((whole.0.len(), whole.1.samples, whole.1.ended), (60_000, 60_000, true));
        let broken = all(&format!("{text}oh no\n# EOF\n")).expect_err("bad");
        assert_eq!(broken, "f.om:60001: the value is no number\n      |\n60001 | oh no");
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        for (text, expected) in [
            (
                "a 1\n# EOF\n",
                "f.om:1: the sample has no timestamp, and there is nobody to ask when it was\n  |\n1 | a 1",
            ),
            ("a 1 1\na{b=\"c} 1 2\n", "f.om:2: a quote is not closed\n  |\n2 | a{b=\"c} 1 2"),
            ("# EOF\n", "f.om: there is no sample in it"),
            ("", "f.om: there is no sample in it"),
            ("a 1 1\n# EOF\na 1 2\n", "f.om:3: there is text after # EOF\n  |\n3 | a 1 2"),
            ("a{b=\"1\",b=\"2\"} 1 1\n", "f.om:1: a label is there twice\n  |\n1 | a{b=\"1\",b=\"2\"} 1 1"),
            ("a 1 1700000000000\n", "f.om: its times are no seconds"),
        ] {
            assert_eq!(all(text).expect_err("bad"), expected, "{text}");
        }
    }

    #[test]
    fn a_file_that_is_cut_off_is_read_and_known_to_be() {
        let (seen, extent) = all("a 1 1\na 2 2").expect("good");
        assert_eq!((seen.len(), extent.ended), (2, false));
    }
}
