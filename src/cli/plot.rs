//! Curves and bars in a terminal: dots of braille characters, two by four in each cell.
//!
//! Several curves are told apart by colour; where there are no colours each is drawn with a letter of its own.

use super::human::{Zone, number};
use super::query::nothing;
use super::text::{Style, Text};
use super::values::{Found, Metric, Point, series_text, split_labels};
use crate::time::Timestamp;

/// Curves drawn; further ones are only counted.
const CURVES: usize = 12;
/// Bars drawn.
const BARS: usize = 40;

/// How large a picture is, in characters, without legend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size {
    width: usize,
    height: usize,
}

impl Size {
    /// What fits a terminal of this width.
    pub(super) fn fitting(columns: usize) -> Size {
        Size { width: columns.clamp(40, 240), height: 16 }
    }
}

/// Draws an answer: curves of a range, bars of an instant.
pub(super) fn plot(found: &Found, size: &Size, zone: &Zone, colours: bool) -> Vec<Text> {
    match found {
        Found::One(value) => vec![value.as_str().into()],
        Found::Vector(samples) if samples.is_empty() => vec![nothing()],
        Found::Vector(samples) => bars(samples, size.width),
        Found::Matrix(series) => curves(series, size, zone, colours),
    }
}

fn bars(samples: &[(Metric, Point)], width: usize) -> Vec<Text> {
    let metrics: Vec<&Metric> = samples.iter().map(|(metric, _)| metric).collect();
    let names = names(&metrics);
    let shown: Vec<(Text, String, f64)> = samples
        .iter()
        .zip(names)
        .take(BARS)
        .map(|((_, point), name)| {
            let value = point.number().unwrap_or(f64::NAN);
            (Text::from(name).cut(width * 2 / 5), number(value), value)
        })
        .collect();
    let label_width = shown.iter().map(|(name, ..)| name.width()).max().unwrap_or(0);
    let value_width = shown.iter().map(|(_, text, _)| text.chars().count()).max().unwrap_or(0);
    let room = width.saturating_sub(label_width + value_width + 3).max(8);
    let most = shown.iter().map(|(.., value)| value.abs()).filter(|v| v.is_finite()).fold(0.0, f64::max);
    let line = |(name, text, value): (Text, String, f64)| {
        let share = if most > 0.0 && value.is_finite() { value.abs() / most } else { 0.0 };
        let style = if value < 0.0 { Style::Bad } else { Style::Curve(0) };
        let gap = " ".repeat(label_width - name.width() + 1);
        let bar = bar(share, room);
        let line = name.then(format!("{gap}{text:>value_width$}"));
        if bar.is_empty() { line } else { line.and(style, format!(" {bar}")) }
    };
    let mut lines: Vec<Text> = shown.into_iter().map(line).collect();
    if samples.len() > BARS {
        lines.push(Text::styled(Style::Dim, format!("and {} more", samples.len() - BARS)));
    }
    lines
}

/// A bar of a share of the room, to an eighth of a character.
pub(super) fn bar(share: f64, room: usize) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let eighths = (share.clamp(0.0, 1.0) * room as f64 * 8.0).round() as usize;
    format!("{}{}", "█".repeat(eighths / 8), EIGHTHS[eighths % 8])
}

/// Small columns, one a value, between zero and `top`.
pub(super) fn sparkline(values: impl IntoIterator<Item = f64>, top: f64) -> String {
    const STEPS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let step = |value: f64| match value.is_finite() {
        true => STEPS[((value / top).clamp(0.0, 1.0) * 7.0).round() as usize],
        false => ' ',
    };
    values.into_iter().map(step).collect()
}

/// What tells series apart, or all of it when there is one only.
fn names(metrics: &[&Metric]) -> Vec<String> {
    let (telling, _) = split_labels(metrics);
    let only = |metric: &&Metric| -> String {
        let kept: Metric = metric
            .iter()
            .filter(|(label, _)| telling.contains(&label.as_str()))
            .map(|(l, v)| (l.clone(), v.clone()))
            .collect();
        series_text(&kept)
    };
    match metrics {
        [one] => vec![series_text(one)],
        many => many.iter().map(only).collect(),
    }
}

/// A curve's finite points.
type Curve = Vec<(i64, f64)>;

fn curves(series: &[(Metric, Vec<Point>)], size: &Size, zone: &Zone, colours: bool) -> Vec<Text> {
    let finite = |points: &Vec<Point>| -> Curve {
        let pair = |point: &Point| Some((point.at.as_millis(), point.number().filter(|value| value.is_finite())?));
        points.iter().filter_map(pair).collect()
    };
    let drawn: Vec<Curve> = series.iter().take(CURVES).map(|(_, points)| finite(points)).collect();
    let all = || drawn.iter().flatten();
    let Some((first, last)) = all().map(|(at, _)| *at).min().zip(all().map(|(at, _)| *at).max()) else {
        return vec![nothing()];
    };
    let low = all().map(|(_, value)| *value).fold(f64::INFINITY, f64::min);
    let high = all().map(|(_, value)| *value).fold(f64::NEG_INFINITY, f64::max);
    let scale = Scale::around(low, high);
    let ticks: Vec<(f64, String)> = scale.ticks().into_iter().map(|value| (value, number(value))).collect();
    let margin = ticks.iter().map(|(_, text)| text.chars().count()).max().unwrap_or(0);
    let columns = size.width.saturating_sub(margin + 2).max(10);
    let mut canvas = Canvas::new(columns, size.height);
    let span = (last - first).max(1) as f64;
    let place = |(at, value): &(i64, f64)| {
        let x = (at - first) as f64 / span * (columns * 2 - 1) as f64;
        let y = (scale.top - value) / (scale.top - scale.bottom) * (size.height * 4 - 1) as f64;
        (x.round() as i64, y.round() as i64)
    };
    for (index, curve) in drawn.iter().enumerate() {
        canvas.curve(index, curve, place);
    }
    let letters = series.len() > 1 && !colours;
    let mut lines = Vec::new();
    for row in 0..size.height {
        let at_row = |value: f64| place(&(first, value)).1 / 4 == row as i64;
        let tick = ticks.iter().find(|(value, _)| at_row(*value));
        let (label, mark) = tick.map_or(("", "│"), |(_, text)| (text.as_str(), "┤"));
        let axis = Text::styled(Style::Dim, format!("{label:>margin$} {mark}"));
        lines.push(canvas.row(row, axis, letters));
    }
    lines.push(Text::styled(Style::Dim, format!("{:margin$} └{}", "", "─".repeat(columns))));
    lines.push(Text::styled(Style::Dim, times_line(margin + 2, columns, first, last, zone)));
    lines.extend(legend(series, letters, size.width));
    lines
}

fn times_line(indent: usize, columns: usize, first: i64, last: i64, zone: &Zone) -> String {
    let [start, middle, end] = [first, i64::midpoint(first, last), last].map(Timestamp::from_millis);
    let far = last - first > 24 * 3_600_000;
    let text = |at| if far { zone.full(at) } else { zone.clock(at) };
    let (start, middle, end) = (text(start), text(middle), text(end));
    let free = columns.saturating_sub(start.len() + middle.len() + end.len());
    let left = (columns / 2).saturating_sub(start.len() + middle.len() / 2).min(free);
    format!("{:indent$}{start}{:left$}{middle}{:right$}{end}", "", "", "", right = free - left)
}

fn legend(series: &[(Metric, Vec<Point>)], letters: bool, width: usize) -> Vec<Text> {
    let metrics: Vec<&Metric> = series.iter().map(|(metric, _)| metric).collect();
    let last =
        |points: &[Point]| points.last().map_or(String::new(), |point| point.number().map_or(String::new(), number));
    let line = |(index, ((_, points), name)): (usize, (&(Metric, Vec<Point>), String))| {
        let mark = if letters { letter(index).to_string() } else { "━".to_owned() };
        let text = Text::styled(Style::Curve(index), mark).then(format!(" {name}"));
        text.and(Style::Dim, format!("  now {}", last(points))).cut(width)
    };
    let mut lines: Vec<Text> = series.iter().zip(names(&metrics)).take(CURVES).enumerate().map(line).collect();
    if series.len() > CURVES {
        lines.push(Text::styled(Style::Dim, format!("and {} more that are not drawn", series.len() - CURVES)));
    }
    lines
}

fn letter(index: usize) -> char {
    char::from(b'a' + (index % 26) as u8)
}

/// The vertical axis: round numbers around all values.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Scale {
    bottom: f64,
    top: f64,
    step: f64,
}

impl Scale {
    fn around(low: f64, high: f64) -> Scale {
        // Zero belongs to the picture when the values come near it; equal values get room around them.
        let low = if low > 0.0 && low < high / 2.0 { 0.0 } else { low };
        let room = if high > low { 0.0 } else { (high.abs() / 10.0).max(1e-9) };
        let (low, high) = (low - room, high + room);
        let raw = (high - low) / 4.0;
        let power = 10_f64.powf(raw.log10().floor());
        let step = [1.0, 2.0, 2.5, 5.0, 10.0].map(|factor| factor * power).into_iter().find(|step| *step >= raw);
        let step = step.unwrap_or(raw);
        Scale { bottom: (low / step).floor() * step, top: (high / step).ceil() * step, step }
    }

    fn ticks(&self) -> Vec<f64> {
        let count = ((self.top - self.bottom) / self.step).round() as usize;
        let tick = |index: usize| self.bottom + index as f64 * self.step;
        // What should be zero and is not for lack of digits is zero.
        (0..=count).map(tick).map(|value| if value.abs() < self.step / 1e6 { 0.0 } else { value }).collect()
    }
}

/// Cells of two by four dots, each with the curve that was last in it.
struct Canvas {
    columns: usize,
    cells: Vec<(u8, usize)>,
}

impl Canvas {
    fn new(columns: usize, rows: usize) -> Canvas {
        Canvas { columns, cells: vec![(0, 0); columns * rows] }
    }

    fn dot(&mut self, curve: usize, x: i64, y: i64) {
        // Unicode numbers the dots of a braille cell in this order.
        const DOTS: [[u8; 2]; 4] = [[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]];
        let (Ok(x), Ok(y)) = (usize::try_from(x), usize::try_from(y)) else { return };
        if x / 2 >= self.columns {
            return;
        }
        if let Some(cell) = self.cells.get_mut(y / 4 * self.columns + x / 2) {
            *cell = (cell.0 | DOTS[y % 4][x % 2], curve);
        }
    }

    /// Draws a curve; a gap of more than twice the usual distance stays a gap.
    fn curve(&mut self, index: usize, curve: &Curve, place: impl Fn(&(i64, f64)) -> (i64, i64)) {
        let usual = curve.windows(2).map(|pair| pair[1].0 - pair[0].0).min().unwrap_or(0);
        if let Some(first) = curve.first() {
            let (x, y) = place(first);
            self.dot(index, x, y);
        }
        for pair in curve.windows(2) {
            let (from, to) = (place(&pair[0]), place(&pair[1]));
            if pair[1].0 - pair[0].0 > 2 * usual {
                self.dot(index, to.0, to.1);
                continue;
            }
            let steps = (to.0 - from.0).abs().max((to.1 - from.1).abs()).max(1);
            for step in 0..=steps {
                let between = |a: i64, b: i64| a + ((b - a) as f64 * step as f64 / steps as f64).round() as i64;
                self.dot(index, between(from.0, to.0), between(from.1, to.1));
            }
        }
    }

    fn row(&self, row: usize, mut line: Text, letters: bool) -> Text {
        let cells = &self.cells[row * self.columns..(row + 1) * self.columns];
        let used = cells.iter().rposition(|(dots, _)| *dots != 0).map_or(0, |last| last + 1);
        for group in cells[..used].chunk_by(|a, b| a.1 == b.1) {
            let text: String = group
                .iter()
                .map(|(dots, curve)| match dots {
                    0 => ' ',
                    _ if letters => letter(*curve),
                    dots => char::from_u32(0x2800 + u32::from(*dots)).unwrap_or('.'),
                })
                .collect();
            line.push(Style::Curve(group[0].1), text);
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metric(value: &str) -> Metric {
        [("__name__", "load"), ("host", value)].into_iter().map(|(l, v)| (l.to_owned(), v.to_owned())).collect()
    }

    fn series(host: &str, value: impl Fn(i64) -> f64) -> (Metric, Vec<Point>) {
        let point =
            |n: i64| Point { at: Timestamp::from_millis(1_700_000_000_000 + n * 5_000), value: value(n).to_string() };
        (metric(host), (0..60).map(point).collect())
    }

    fn drawn(found: &Found) -> String {
        let size = Size { width: 60, height: 8 };
        let lines = plot(found, &size, &Zone::utc(), false);
        lines.iter().map(|line| line.render(false)).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_ramp_goes_from_corner_to_corner() {
        insta::assert_snapshot!(drawn(&Found::Matrix(vec![series("a", |n| n as f64)])));
    }

    #[test]
    fn two_curves_without_colours_have_letters() {
        let (up, down) = (series("up", |n| n as f64 * 10.0), series("down", |n| 600.0 - n as f64 * 10.0));
        insta::assert_snapshot!(drawn(&Found::Matrix(vec![up, down])));
    }

    #[test]
    fn bars_show_shares_of_the_largest() {
        let sample = |host: &str, value: &str| (metric(host), Point { at: Timestamp::ZERO, value: value.into() });
        let samples = vec![sample("one", "1"), sample("two", "2"), sample("none", "NaN"), sample("less", "-1.5")];
        insta::assert_snapshot!(drawn(&Found::Vector(samples)));
    }

    #[test]
    fn gaps_stay_gaps_and_hostile_numbers_do_no_harm() {
        let mut gap = series("a", |_| 1.0);
        gap.1.drain(20..40);
        assert!(drawn(&Found::Matrix(vec![gap])).contains("      "));
        for values in [[f64::NAN; 2], [f64::INFINITY; 2], [1e308, -1e308], [5e-324, 0.0], [0.0; 2]] {
            drawn(&Found::Matrix(vec![series("x", |n| values[(n % 2) as usize])]));
        }
        drawn(&Found::Matrix(vec![]));
    }

    #[test]
    fn the_axis_has_round_numbers() {
        for (low, high, bottom, top, step) in [
            (0.0, 59.0, 0.0, 60.0, 20.0),
            (0.2, 0.93, 0.0, 1.0, 0.25),
            (95.0, 99.0, 95.0, 99.0, 1.0),
            (-3.0, 3.0, -4.0, 4.0, 2.0),
        ] {
            assert_eq!(Scale::around(low, high), Scale { bottom, top, step }, "{low} {high}");
        }
    }

    #[test]
    fn a_sparkline_shows_what_is_over_the_top_as_full() {
        assert_eq!(sparkline([0.0, 0.5, 1.0, 9.0, f64::NAN], 1.0), "▁▅██ ");
        assert_eq!(bar(0.5, 3), "█▌");
    }
}
