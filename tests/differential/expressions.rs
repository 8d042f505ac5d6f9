//! Random PromQL from a seed: every function and aggregator, matching, subqueries, offsets, `@`, ranges.

use brownout::promql::{Function, ValueType};
use brownout::rng::Rng;

use super::data::{INTERVAL, SAMPLES, START};

const FLOATS: [&str; 8] = ["walk", "few", "wild", "hits_total", "lat_bucket", "lat_sum", "lat_count", "build_info"];
const HISTOGRAMS: [&str; 4] = ["nh", "nhg", "nhcb", "mixed"];
const LABELS: [&str; 6] = ["job", "inst", "le", "kind", "version", "nothing"];

/// One question: an expression, and an instant or a range.
#[derive(Clone, Debug)]
pub struct Question {
    pub expr: String,
    /// Milliseconds since the epoch.
    pub start: i64,
    /// `None` for an instant.
    pub range: Option<(i64, i64)>,
}

/// Makes questions. `known` are the functions that both sides have.
pub struct Generator {
    rng: Rng,
    known: Vec<&'static Function>,
}

impl Generator {
    pub fn new(seed: u64, known: Vec<&'static Function>) -> Generator {
        Generator { rng: Rng::seeded(seed), known }
    }

    pub fn question(&mut self) -> Question {
        let depth = 1 + self.rng.below(3);
        let expr = match self.rng.below(20) {
            0 => self.scalar(depth),
            1 => self.matrix(depth),
            2 => self.broken(),
            _ => self.vector(depth),
        };
        let start = START + self.rng.below((SAMPLES * INTERVAL) as u64 + 400_000) as i64 - 100_000;
        // Instants that samples have, too: the ends of windows are where mistakes are.
        let start = if self.chance(3) { start / INTERVAL * INTERVAL + START % INTERVAL } else { start };
        let range = (self.chance(3)).then(|| {
            let step = [15_000, 30_000, 60_000, 7_000, 123_456][self.rng.below(5) as usize];
            (start + step * self.rng.below(20) as i64, step)
        });
        Question { expr, start, range }
    }

    fn chance(&mut self, one_in: u64) -> bool {
        self.rng.below(one_in) == 0
    }

    fn pick<'a>(&mut self, list: &[&'a str]) -> &'a str {
        list[self.rng.below(list.len() as u64) as usize]
    }

    fn metric(&mut self) -> &'static str {
        if self.chance(4) { self.pick(&HISTOGRAMS) } else { self.pick(&FLOATS) }
    }

    fn selector(&mut self) -> String {
        let name = self.metric();
        let mut matchers = Vec::new();
        for _ in 0..self.rng.below(3) {
            matchers.push(
                self.pick(&[
                    "job=\"a\"",
                    "job!=\"a\"",
                    "inst=\"1\"",
                    "inst=~\"0|1\"",
                    "inst!~\"[12]\"",
                    "kind=\"x\"",
                    "le=\"1\"",
                    "le=~\"0.*|.Inf\"",
                    "nothing=\"\"",
                    "job=~\".+\"",
                    "version!=\"v1\"",
                    "inst=\"7\"",
                ])
                .to_owned(),
            );
        }
        match self.rng.below(12) {
            0 => {
                format!("{{__name__=~\"{name}|few\"{}}}", matchers.iter().map(|m| format!(",{m}")).collect::<String>())
            }
            1 => format!("{{\"{name}\"{}}}", matchers.iter().map(|m| format!(",{m}")).collect::<String>()),
            _ if matchers.is_empty() => name.to_owned(),
            _ => format!("{name}{{{}}}", matchers.join(",")),
        }
    }

    fn modifiers(&mut self) -> String {
        let mut text = String::new();
        if self.chance(6) {
            text += self.pick(&[" offset 1m", " offset -1m", " offset 7s", " offset 20m", " offset 15s"]);
        }
        if self.chance(9) {
            let at = START / 1000 + self.rng.below(2_600) as i64;
            text += &match self.rng.below(3) {
                0 => " @ start()".to_owned(),
                1 => " @ end()".to_owned(),
                _ => format!(" @ {at}.{}", self.rng.below(1000)),
            };
        }
        text
    }

    fn window(&mut self) -> &'static str {
        self.pick(&["15s", "30s", "1m", "1m1s", "2m30s", "5m", "10m", "1h", "14999ms", "15001ms", "1s"])
    }

    fn matrix(&mut self, depth: u64) -> String {
        if depth > 0 && self.chance(4) {
            let step = self.pick(&["", "15s", "10s", "1m", "7s"]);
            let (inner, window, modifiers) = (self.vector(depth - 1), self.window(), self.modifiers());
            let inner = if self.chance(2) { inner } else { format!("({inner})") };
            // A subquery binds tighter than an operator.
            return format!("({inner})[{window}:{step}]{modifiers}");
        }
        format!("{}[{}]{}", self.selector(), self.window(), self.modifiers())
    }

    fn number(&mut self) -> String {
        self.pick(&[
            "0", "1", "2", "-1", "0.5", "0.9", "3.7", "100", "NaN", "Inf", "-Inf", "1e-3", "0x1f", "5m", "-0.25",
            "1e300",
        ])
        .to_owned()
    }

    fn scalar(&mut self, depth: u64) -> String {
        if depth == 0 {
            return self.number();
        }
        match self.rng.below(6) {
            0 => "time()".into(),
            1 => "pi()".into(),
            2 => format!("scalar({})", self.vector(depth - 1)),
            3 => {
                let (left, right) = (self.scalar(depth - 1), self.scalar(depth - 1));
                let op = self.pick(&["+", "-", "*", "/", "%", "^", "atan2", "== bool", "> bool", "<= bool"]);
                format!("({left} {op} {right})")
            }
            4 => format!("-({})", self.scalar(depth - 1)),
            _ => self.number(),
        }
    }

    fn vector(&mut self, depth: u64) -> String {
        if depth == 0 {
            return format!("{}{}", self.selector(), self.modifiers());
        }
        match self.rng.below(12) {
            0..=4 => self.call(depth),
            5..=7 => self.aggregation(depth),
            8 | 9 => self.binary(depth),
            10 => format!("-{}", self.wrapped(depth - 1)),
            _ => format!("{}{}", self.selector(), self.modifiers()),
        }
    }

    fn wrapped(&mut self, depth: u64) -> String {
        format!("({})", self.vector(depth))
    }

    fn call(&mut self, depth: u64) -> String {
        let function = self.known[self.rng.below(self.known.len() as u64) as usize];
        match function.name {
            "label_replace" => {
                let (inner, to, from) = (self.vector(depth - 1), self.pick(&LABELS), self.pick(&LABELS));
                let regex = self.pick(&["(.*)", "(.)", "", "v(\\\\d)", "(?P<x>[ab])"]);
                let value = self.pick(&["$1", "x-$1", "", "$x", "${1}y"]);
                return format!("label_replace({inner}, \"{to}\", \"{value}\", \"{from}\", \"{regex}\")");
            }
            "label_join" => {
                let (inner, to, a, b) =
                    (self.vector(depth - 1), self.pick(&LABELS), self.pick(&LABELS), self.pick(&LABELS));
                return format!("label_join({inner}, \"{to}\", \"-\", \"{a}\", \"{b}\")");
            }
            "sort_by_label" | "sort_by_label_desc" => {
                let (inner, label) = (self.vector(depth - 1), self.pick(&LABELS));
                return format!("{}({inner}, \"{label}\")", function.name);
            }
            "histogram_quantile" if self.chance(2) => {
                return format!("histogram_quantile({}, rate(lat_bucket[{}]))", self.scalar(0), self.window());
            }
            // A newer version gives NaN where there is one.
            "mad_over_time" => {
                return format!("mad_over_time({}[{}])", self.pick(&["walk", "few", "lat_sum"]), self.window());
            }
            // Of large numbers the last digit decides.
            "sin" | "cos" | "tan" => {
                return format!("{}(clamp({}, -100, 100))", function.name, self.vector(depth - 1));
            }
            "info" => return format!("info({})", self.vector(depth - 1)),
            _ => {}
        }
        let mut args: Vec<String> = Vec::new();
        let optional = if function.variadic > 0 { self.rng.below(2) as usize } else { 0 };
        let count = if function.variadic > 0 { function.args.len() - 1 + optional } else { function.args.len() };
        for kind in &function.args[..count] {
            args.push(match kind {
                ValueType::Matrix => self.matrix(depth - 1),
                ValueType::Scalar => self.scalar(depth - 1),
                ValueType::String => "\"x\"".into(),
                _ if function.name.starts_with("histogram_") && self.chance(2) => {
                    format!("{}{}", self.pick(&HISTOGRAMS), self.modifiers())
                }
                _ => self.vector(depth - 1),
            });
        }
        format!("{}({})", function.name, args.join(", "))
    }

    fn grouping(&mut self) -> String {
        let word = self.pick(&["by", "by", "without"]);
        let mut names: Vec<&str> = (0..self.rng.below(3)).map(|_| self.pick(&LABELS)).collect();
        names.dedup();
        if self.chance(15) {
            names.push("__name__");
        }
        format!("{word} ({})", names.join(", "))
    }

    fn aggregation(&mut self, depth: u64) -> String {
        let op = self.pick(&[
            "sum",
            "avg",
            "min",
            "max",
            "count",
            "group",
            "stddev",
            "stdvar",
            "topk",
            "bottomk",
            "count_values",
            "quantile",
            "limitk",
            "limit_ratio",
        ]);
        let inner = match op {
            // The text of a number shows its last digit, and that of a histogram those of its bounds.
            "count_values" => self.pick(&FLOATS).to_owned(),
            _ => self.vector(depth - 1),
        };
        let parameter = match op {
            "topk" | "bottomk" | "limitk" => {
                self.pick(&["1, ", "2, ", "3, ", "0, ", "100, ", "1.9, ", "-1, "]).to_owned()
            }
            "limit_ratio" => self.pick(&["0.5, ", "-0.3, ", "1, ", "1.5, ", "0, "]).to_owned(),
            "quantile" => format!("{}, ", self.scalar(0)),
            "count_values" => self.pick(&["\"value\", ", "\"job\", "]).to_owned(),
            _ => String::new(),
        };
        if op == "limitk" {
            // Which ones is left open.
            return format!("count(limitk {} ({parameter}{inner}))", self.grouping());
        }
        match self.rng.below(4) {
            0 => format!("{op}({parameter}{inner})"),
            1 => format!("{op}({parameter}{inner}) {}", self.grouping()),
            _ => format!("{op} {} ({parameter}{inner})", self.grouping()),
        }
    }

    fn binary(&mut self, depth: u64) -> String {
        let arithmetic = ["+", "-", "*", "/", "%", "^", "atan2"];
        let comparisons = ["==", "!=", ">", "<", ">=", "<="];
        if self.chance(4) {
            let op = self.pick(&["and", "or", "unless"]);
            let on = self.matching();
            return format!("{} {op} {on}{}", self.wrapped(depth - 1), self.wrapped(depth - 1));
        }
        let op = if self.chance(2) { self.pick(&arithmetic).to_owned() } else { self.pick(&comparisons).to_owned() };
        let is_comparison = comparisons.contains(&op.as_str());
        let bool_word = if is_comparison && self.chance(2) { " bool" } else { "" };
        match self.rng.below(5) {
            0 => format!("{} {op}{bool_word} {}", self.wrapped(depth - 1), self.scalar(depth - 1)),
            1 => format!("{} {op}{bool_word} {}", self.scalar(depth - 1), self.wrapped(depth - 1)),
            2 => {
                // The same on both sides, so that something matches.
                let (left, right) = (self.wrapped(depth - 1), self.wrapped(0));
                format!("{left} {op}{bool_word} {}{right}", self.matching())
            }
            3 => {
                let side = self.pick(&["group_left", "group_right"]);
                let labels = self.pick(&["", "(version)", "()", "(kind)"]);
                let (left, right) = match side {
                    "group_left" => (self.selector(), "build_info".to_owned()),
                    _ => ("build_info".to_owned(), self.selector()),
                };
                format!("{left} {op}{bool_word} on (job, inst) {side}{labels} {right}")
            }
            _ => {
                let same = self.wrapped(depth - 1);
                format!("{same} {op}{bool_word} {same}")
            }
        }
    }

    fn matching(&mut self) -> String {
        self.pick(&["", "", "on (job, inst) ", "on (inst) ", "ignoring (le) ", "ignoring (kind, version) ", "on () "])
            .to_owned()
    }

    /// What must be refused, or be an error of the evaluation.
    fn broken(&mut self) -> String {
        let (inner, selector) = (self.vector(1), self.selector());
        match self.rng.below(10) {
            0 => format!("rate({selector})"),
            1 => format!("sum({inner}"),
            2 => format!("{selector}[5m"),
            3 => format!("{selector} + [5m]"),
            4 => format!("{selector} and 1"),
            5 => format!("label_replace({selector}, \"a\", \"b\", \"job\", \"(\")"),
            6 => "{__name__=~\"few|walk\"} + on (job) {__name__=~\"few|walk\"}".into(),
            7 => format!("{selector} == == 1"),
            8 => "label_replace({__name__=~\"few|walk\"}, \"kind\", \"\", \"kind\", \".*\") * 1".into(),
            _ => format!("nofunction({selector})"),
        }
    }
}
