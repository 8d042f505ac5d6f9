//! The language of the test files: `load`, `clear`, `eval`, line by line.

use brownout::model::Labels;
use brownout::promql::series_notation::{self, Noted};
use brownout::time::{millis, parse_duration};

/// One command with its place.
pub struct Command {
    pub line: usize,
    pub text: String,
    pub kind: Result<Kind, String>,
}

pub enum Kind {
    Clear,
    Load(Load),
    Eval(Box<Eval>),
}

/// Series to be loaded.
pub struct Load {
    pub interval: i64,
    /// Build native histograms with custom buckets from classic ones, too.
    pub with_nhcb: bool,
    pub series: Vec<LoadedSeries>,
}

pub struct LoadedSeries {
    pub labels: Labels,
    pub values: Vec<Noted>,
    /// Start timestamps relative to the samples.
    pub starts: Vec<Option<i64>>,
}

/// When an expression is evaluated, in milliseconds.
#[derive(Clone, Copy)]
pub enum When {
    Instant(i64),
    Range { from: i64, to: i64, step: i64 },
}

/// How a text is to look.
pub enum Pattern {
    Any,
    Exact(String),
    Regex(regex::Regex),
}

/// An evaluation and what is expected of it.
pub struct Eval {
    pub expr: String,
    pub when: When,
    pub fail: Option<Pattern>,
    pub warnings: Vec<Pattern>,
    pub infos: Vec<Pattern>,
    pub no_warning: bool,
    pub no_info: bool,
    pub ordered: bool,
    pub string: Option<String>,
    pub range_vector: Option<(i64, i64, i64)>,
    pub scalar: Option<f64>,
    pub metrics: Vec<(Labels, Vec<Noted>)>,
}

/// All commands of a file; what cannot be read is an error in its place.
pub fn commands(text: &str) -> Vec<Command> {
    let lines: Vec<&str> =
        text.lines().map(str::trim).map(|line| if line.starts_with('#') { "" } else { line }).collect();
    let mut commands = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        let line = lines[at];
        if line.is_empty() {
            at += 1;
            continue;
        }
        let length = lines[at + 1..].iter().take_while(|line| !line.is_empty()).count();
        let word = line.split_whitespace().next().unwrap_or_default().to_lowercase();
        let (kind, used) = if word == "clear" {
            (Ok(Kind::Clear), 0)
        } else if word.starts_with("load") {
            (load(line, &lines[at + 1..=at + length]).map(Kind::Load), length)
        } else if word.starts_with("eval") {
            let (eval, used) = eval(line, &lines[at + 1..=at + length]);
            (eval.map(|eval| Kind::Eval(Box::new(eval))), used)
        } else {
            (Err(format!("invalid command {line:?}")), 0)
        };
        commands.push(Command { line: at + 1, text: line.to_owned(), kind });
        at += used + 1;
    }
    commands
}

fn duration(text: &str) -> Result<i64, String> {
    parse_duration(text).map(millis).map_err(|error| error.to_string())
}

fn load(line: &str, lines: &[&str]) -> Result<Load, String> {
    let (command, interval) = line.split_once(char::is_whitespace).ok_or("load without interval")?;
    let with_nhcb = match command {
        "load" => false,
        "load_with_nhcb" => true,
        _ => return Err(format!("invalid load command {command:?}")),
    };
    let mut series: Vec<LoadedSeries> = Vec::new();
    let mut starts = None;
    for line in lines {
        let (labels, rest) = series_notation::metric(line).map_err(|error| error.to_string())?;
        if let Some(offsets) = rest.strip_prefix("@st") {
            starts = Some(series_notation::start_offsets(offsets).map_err(|error| error.to_string())?);
            continue;
        }
        let values = series_notation::values(rest).map_err(|error| error.to_string())?;
        let starts = starts.take().unwrap_or_default();
        series.retain(|known| known.labels != labels);
        series.push(LoadedSeries { labels, values, starts });
    }
    Ok(Load { interval: duration(interval.trim())?, with_nhcb, series })
}

/// The next word and what follows it.
fn word(text: &str) -> (&str, &str) {
    let text = text.trim_start();
    text.split_at(text.find(char::is_whitespace).unwrap_or(text.len()))
}

/// Reads `from A to B step C`, and gives what follows.
fn span(text: &str) -> Result<((i64, i64, i64), &str), String> {
    let mut rest = text;
    let mut times = [0; 3];
    for (keyword, time) in ["from", "to", "step"].iter().zip(&mut times) {
        let (found, after) = word(rest);
        if found != *keyword {
            return Err(format!("expected {keyword:?} in {text:?}"));
        }
        let (value, after) = word(after);
        *time = duration(value)?;
        rest = after;
    }
    Ok(((times[0], times[1], times[2]), rest.trim_start()))
}

/// The evaluation, and how many of the following lines belong to it.
fn eval(line: &str, lines: &[&str]) -> (Result<Eval, String>, usize) {
    let mut eval = match head(line) {
        Ok(eval) => eval,
        Err(why) => return (Err(why), lines.len()),
    };
    for (index, line) in lines.iter().enumerate() {
        match expectation(&mut eval, line) {
            Ok(false) => {}
            Ok(true) => return (Ok(eval), index + 1),
            Err(why) => return (Err(why), lines.len()),
        }
    }
    (Ok(eval), lines.len())
}

fn head(line: &str) -> Result<Eval, String> {
    let (command, rest) = word(line);
    let mode = command.strip_prefix("eval").unwrap_or_default();
    let (kind, rest) = word(rest);
    let (when, expr) = match kind {
        "instant" => match word(rest) {
            ("at", after) => {
                let (at, expr) = word(after);
                (When::Instant(duration(at)?), expr.trim_start())
            }
            _ => (When::Instant(0), rest.trim_start()),
        },
        "range" => {
            let ((from, to, step), expr) = span(rest)?;
            (When::Range { from, to, step }, expr)
        }
        _ => return Err(format!("expected instant or range in {line:?}")),
    };
    let mut eval = Eval {
        expr: expr.to_owned(),
        when,
        fail: None,
        warnings: Vec::new(),
        infos: Vec::new(),
        no_warning: false,
        no_info: false,
        ordered: false,
        string: None,
        range_vector: None,
        scalar: None,
        metrics: Vec::new(),
    };
    match mode {
        "" => {}
        "_fail" => eval.fail = Some(Pattern::Any),
        "_warn" => eval.warnings.push(Pattern::Any),
        "_info" => eval.infos.push(Pattern::Any),
        "_ordered" => eval.ordered = true,
        _ => return Err(format!("invalid command {command:?}")),
    }
    Ok(eval)
}

/// Reads one line below an eval; true when it ends the block.
fn expectation(eval: &mut Eval, line: &str) -> Result<bool, String> {
    if let Some(message) = line.strip_prefix("expected_fail_message") {
        eval.fail = Some(Pattern::Exact(message.trim().to_owned()));
        return Ok(false);
    }
    if let Some(pattern) = line.strip_prefix("expected_fail_regexp") {
        eval.fail = Some(regex(pattern.trim())?);
        return Ok(false);
    }
    if let ("expect", rest) = word(line) {
        return expect(eval, rest.trim()).map(|()| false);
    }
    if let Ok(values) = series_notation::values(line)
        && let [noted] = values.as_slice()
        && !line.contains(['x', '{', '_'])
        && line != "stale"
    {
        eval.scalar = noted.value.as_ref().and_then(|value| value.float());
        return Ok(true);
    }
    let (labels, values) = series_notation::series(line).map_err(|error| error.to_string())?;
    eval.metrics.push((labels, values));
    Ok(false)
}

fn expect(eval: &mut Eval, text: &str) -> Result<(), String> {
    let (what, rest) = word(text);
    match what {
        "range" => {
            let rest = rest.trim_start().strip_prefix("vector").ok_or("expected `range vector`")?;
            eval.range_vector = Some(span(rest)?.0);
        }
        "string" => eval.string = Some(unquote(rest.trim())),
        "ordered" => eval.ordered = true,
        "fail" => eval.fail = Some(pattern(rest)?),
        "warn" => eval.warnings.push(pattern(rest)?),
        "info" => eval.infos.push(pattern(rest)?),
        "no_warn" => eval.no_warning = true,
        "no_info" => eval.no_info = true,
        _ => return Err(format!("invalid expectation {text:?}")),
    }
    Ok(())
}

fn pattern(text: &str) -> Result<Pattern, String> {
    let text = text.trim();
    if let Some(message) = text.strip_prefix("msg:") {
        Ok(Pattern::Exact(message.trim().to_owned()))
    } else if let Some(pattern) = text.strip_prefix("regex:") {
        regex(pattern.trim())
    } else if text.is_empty() {
        Ok(Pattern::Any)
    } else {
        Err(format!("invalid pattern {text:?}"))
    }
}

fn regex(text: &str) -> Result<Pattern, String> {
    regex::Regex::new(text).map(Pattern::Regex).map_err(|error| error.to_string())
}

/// A string is written as PromQL writes it.
fn unquote(text: &str) -> String {
    match brownout::promql::parse(text).map(|expr| expr.kind) {
        Ok(brownout::promql::Kind::Text(text)) => text,
        _ => text.to_owned(),
    }
}
