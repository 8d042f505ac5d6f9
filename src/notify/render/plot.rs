//! A small picture of an expression's last hour, as PNG: mail clients show no SVG.
//!
//! There is no text in it, and no background: the lines are of colours that can be read on light and on dark, and what must
//! be read stands beside it as text.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::ZlibEncoder;

use crate::time::Timestamp;

/// The picture's size in CSS pixels; it has twice as many of its own.
pub const WIDTH: usize = 560;
pub const HEIGHT: usize = 120;
const SCALE: usize = 2;
/// Half of a line's width, and a border that nothing is drawn into, in the picture's pixels.
const HALF: f64 = 1.9;
const BORDER: f64 = 6.0;

const RED: [u8; 3] = [0xd9, 0x30, 0x25];
const GREY: [u8; 3] = [0x80, 0x86, 0x8b];
const LINES: [[u8; 3]; 6] = [
    [0x42, 0x85, 0xf4],
    [0xe3, 0x74, 0x00],
    [0x1e, 0x8e, 0x3e],
    [0x9c, 0x5b, 0xd6],
    [0x12, 0x9e, 0xaf],
    [0xb0, 0x60, 0x70],
];

/// What is drawn.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plot {
    /// What is compared with the threshold, in PromQL.
    pub expression: String,
    pub threshold: Option<f64>,
    /// A line for each series, in order of time. Gaps longer than `gap_millis` stay open.
    pub lines: Vec<Vec<(Timestamp, f64)>>,
    pub gap_millis: i64,
    /// Series that are not drawn, because there are too many.
    pub more: usize,
}

/// A picture, and what stands beside it.
#[derive(Clone, Debug, PartialEq)]
pub struct Drawn {
    pub png: Vec<u8>,
    pub plot: Plot,
    pub summary: Summary,
}

/// The limits of the data.
struct Frame {
    from: i64,
    to: i64,
    low: f64,
    high: f64,
}

impl Plot {
    /// The points that can be drawn.
    fn points(&self) -> impl Iterator<Item = (Timestamp, f64)> {
        self.lines.iter().flatten().copied().filter(|(_, value)| value.is_finite())
    }

    fn frame(&self) -> Option<Frame> {
        let (from, to) = (self.points().map(|(at, _)| at).min()?, self.points().map(|(at, _)| at).max()?);
        let values = || self.points().map(|(_, value)| value).chain(self.threshold.filter(|value| value.is_finite()));
        let (low, high) = (values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max));
        (to > from).then_some(Frame { from: from.as_millis(), to: to.as_millis(), low, high })
    }

    /// From when to when, lowest, highest and newest value. `None` when there is nothing to draw.
    pub fn summary(&self) -> Option<Summary> {
        let frame = self.frame()?;
        let low = self.points().map(|(_, value)| value).fold(f64::INFINITY, f64::min);
        let high = self.points().map(|(_, value)| value).fold(f64::NEG_INFINITY, f64::max);
        let newest = self.lines.first()?.last()?.1;
        let span = std::time::Duration::from_millis(u64::try_from(frame.to - frame.from).unwrap_or(0));
        Some(Summary { span, low, high, newest })
    }

    /// Draws it, which takes some milliseconds. `None` when there is nothing to draw.
    pub fn draw(self) -> Option<Drawn> {
        Some(Drawn { png: self.png()?, summary: self.summary()?, plot: self })
    }

    /// The picture. `None` when there is nothing to draw.
    pub fn png(&self) -> Option<Vec<u8>> {
        let frame = self.frame()?;
        let mut canvas = Canvas::new(WIDTH * SCALE, HEIGHT * SCALE);
        let (width, height) = (canvas.width as f64 - 2.0 * BORDER, canvas.height as f64 - 2.0 * BORDER);
        let span = (frame.to - frame.from).max(1) as f64;
        let x = |at: Timestamp| BORDER + (at.as_millis() - frame.from) as f64 / span * width;
        // A level line stands in the middle.
        let range = frame.high - frame.low;
        let y = |value: f64| match range > 0.0 {
            true => BORDER + (1.0 - (value - frame.low) / range) * height,
            false => BORDER + height / 2.0,
        };
        for quarter in 0..=4 {
            let at = BORDER + height * f64::from(quarter) / 4.0;
            canvas.line((BORDER, at), (BORDER + width, at), 0.6, GREY, 0.35);
        }
        for (line, colour) in self.lines.iter().zip(LINES.iter().cycle()) {
            for pair in line.windows(2) {
                let [(from, a), (to, b)] = [pair[0], pair[1]];
                if a.is_finite() && b.is_finite() && to.as_millis() - from.as_millis() <= self.gap_millis {
                    canvas.line((x(from), y(a)), (x(to), y(b)), HALF, *colour, 1.0);
                }
            }
        }
        if let Some(threshold) = self.threshold.filter(|value| value.is_finite()) {
            let at = y(threshold);
            let mut left = BORDER;
            while left < BORDER + width {
                canvas.line((left, at), ((left + 10.0).min(BORDER + width), at), 1.2, RED, 1.0);
                left += 18.0;
            }
        }
        Some(canvas.png())
    }
}

/// What stands beside the picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    pub span: std::time::Duration,
    pub low: f64,
    pub high: f64,
    /// Of the first series.
    pub newest: f64,
}

/// Pixels in red, green, blue and opacity.
struct Canvas {
    width: usize,
    height: usize,
    pixels: Vec<[u8; 4]>,
}

impl Canvas {
    fn new(width: usize, height: usize) -> Canvas {
        Canvas { width, height, pixels: vec![[0; 4]; width * height] }
    }

    /// A line with soft edges.
    fn line(&mut self, from: (f64, f64), to: (f64, f64), half: f64, colour: [u8; 3], opacity: f64) {
        let reach = half + 1.0;
        let clamp = |value: f64, most: usize| value.max(0.0).min(most as f64 - 1.0) as usize;
        let columns = clamp(from.0.min(to.0) - reach, self.width)..=clamp(from.0.max(to.0) + reach, self.width);
        let rows = clamp(from.1.min(to.1) - reach, self.height)..=clamp(from.1.max(to.1) + reach, self.height);
        for row in rows {
            for column in columns.clone() {
                let away = distance((column as f64 + 0.5, row as f64 + 0.5), from, to);
                let cover = (half + 0.5 - away).clamp(0.0, 1.0) * opacity;
                let pixel = &mut self.pixels[row * self.width + column];
                let alpha = (cover * 255.0).round() as u8;
                if alpha > pixel[3] || (alpha > 0 && alpha == 255) {
                    *pixel = [colour[0], colour[1], colour[2], alpha];
                }
            }
        }
    }

    fn png(&self) -> Vec<u8> {
        let mut rows = Vec::with_capacity(self.pixels.len() * 4 + self.height);
        for row in self.pixels.chunks(self.width) {
            // No filter: large parts are empty.
            rows.push(0);
            rows.extend(row.iter().flatten());
        }
        let mut packed = ZlibEncoder::new(Vec::new(), Compression::default());
        // Writing into memory does not fail.
        let packed = packed.write_all(&rows).and_then(|()| packed.finish()).unwrap_or_default();
        let mut out = b"\x89PNG\r\n\x1a\n".to_vec();
        let mut head = Vec::with_capacity(13);
        head.extend((self.width as u32).to_be_bytes());
        head.extend((self.height as u32).to_be_bytes());
        // Eight bits each of red, green, blue and opacity.
        head.extend([8, 6, 0, 0, 0]);
        chunk(&mut out, *b"IHDR", &head);
        chunk(&mut out, *b"IDAT", &packed);
        chunk(&mut out, *b"IEND", &[]);
        out
    }
}

fn chunk(out: &mut Vec<u8>, kind: [u8; 4], data: &[u8]) {
    out.extend((data.len() as u32).to_be_bytes());
    let start = out.len();
    out.extend(kind);
    out.extend(data);
    let sum = crc32fast::hash(&out[start..]);
    out.extend(sum.to_be_bytes());
}

/// How far a point is from a line's piece.
fn distance(point: (f64, f64), from: (f64, f64), to: (f64, f64)) -> f64 {
    let (dx, dy) = (to.0 - from.0, to.1 - from.1);
    let length = dx * dx + dy * dy;
    let along = if length > 0.0 { ((point.0 - from.0) * dx + (point.1 - from.1) * dy) / length } else { 0.0 };
    let along = along.clamp(0.0, 1.0);
    (point.0 - from.0 - along * dx).hypot(point.1 - from.1 - along * dy)
}

#[cfg(test)]
pub(in crate::notify) mod tests {
    use std::io::Read as _;

    use super::*;

    /// Two series over an hour, one of them with a gap.
    pub(in crate::notify) fn plot() -> Plot {
        let at = |second: i64| Timestamp::from_millis(1_700_000_000_000 + second * 1_000);
        let wave = |second: i64| 0.5 + 0.4 * (second as f64 / 500.0).sin() + second as f64 / 9_000.0;
        let one = (0..240).map(|step| (at(step * 15), wave(step * 15))).collect();
        let two = (0..240).filter(|step| !(80..120).contains(step)).map(|step| (at(step * 15), 0.3)).collect();
        let expression = "job:latency:p99{job=\"checkout\"}".to_owned();
        Plot { expression, threshold: Some(0.8), lines: vec![one, two], gap_millis: 60_000, more: 0 }
    }

    fn pixels(png: &[u8]) -> Vec<u8> {
        let start = png.windows(4).position(|name| name == b"IDAT").unwrap();
        let length = u32::from_be_bytes(png[start - 4..start].try_into().unwrap()) as usize;
        let mut out = Vec::new();
        flate2::read::ZlibDecoder::new(&png[start + 4..start + 4 + length]).read_to_end(&mut out).unwrap();
        out
    }

    #[test]
    fn the_picture_has_its_size_its_lines_and_no_background() {
        let png = plot().png().unwrap();
        assert!(png.starts_with(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR") && png.len() < 20_000, "{}", png.len());
        let (width, height) = (WIDTH * SCALE, HEIGHT * SCALE);
        let pixels = pixels(&png);
        assert_eq!(pixels.len(), height * (width * 4 + 1));
        let at = |column: usize, row: usize| &pixels[row * (width * 4 + 1) + 1 + column * 4..][..4];
        assert_eq!(at(0, 0), [0, 0, 0, 0]);
        let count = |colour: [u8; 3]| {
            (0..height)
                .flat_map(|row| (0..width).map(move |column| (column, row)))
                .filter(|(column, row)| at(*column, *row)[..3] == colour && at(*column, *row)[3] == 255)
                .count()
        };
        assert!(count(RED) > 500 && count(LINES[0]) > 2_000 && count(LINES[1]) > 1_000);
        // The gap of the second is not drawn over.
        let gap = (width as f64 * 100.0 / 239.0) as usize;
        assert!((0..height).all(|row| at(gap, row)[..3] != LINES[1]));
    }

    #[test]
    fn nothing_is_drawn_of_nothing() {
        assert_eq!(Plot::default().png(), None);
        let mut plot = plot();
        plot.lines = vec![vec![(Timestamp::from_millis(0), 1.0)]];
        assert_eq!((plot.png(), plot.summary()), (None, None));
        plot.lines = vec![(0..9).map(|at| (Timestamp::from_millis(at), f64::NAN)).collect()];
        assert_eq!(plot.png(), None);
        plot.lines = vec![(0..9).map(|at| (Timestamp::from_millis(at), f64::MAX)).collect()];
        assert!(plot.png().is_some());
    }
}
