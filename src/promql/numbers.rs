//! Numbers as Go computes and prints them: Kahan sums, `%g`, minima and maxima that keep NaN.

use std::fmt;

/// A sum with Neumaier's variant of Kahan's compensation.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Kahan {
    pub sum: f64,
    pub compensation: f64,
}

impl Kahan {
    /// A sum of one term.
    pub(crate) fn new(first: f64) -> Kahan {
        Kahan { sum: first, compensation: 0.0 }
    }

    /// Adds a term.
    pub(crate) fn add(&mut self, term: f64) {
        let total = self.sum + term;
        if total.is_infinite() {
            self.compensation = 0.0;
        } else if self.sum.abs() >= term.abs() {
            self.compensation += (self.sum - total) + term;
        } else {
            self.compensation += (term - total) + self.sum;
        }
        self.sum = total;
    }

    /// Multiplies both parts.
    pub(crate) fn scale(&mut self, factor: f64) {
        self.sum *= factor;
        self.compensation *= factor;
    }

    /// Divides both parts.
    pub(crate) fn divide(&mut self, divisor: f64) {
        self.sum /= divisor;
        self.compensation /= divisor;
    }

    /// The compensated sum.
    pub(crate) fn value(self) -> f64 {
        self.sum + self.compensation
    }
}

/// The mean of floats: of the compensated sum while that is finite, then incrementally.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Mean {
    total: Kahan,
    count: f64,
    incremental: bool,
}

impl Mean {
    /// Takes in one value.
    pub(crate) fn add(&mut self, value: f64) {
        self.count += 1.0;
        if self.count == 1.0 {
            self.total = Kahan::new(value);
            return;
        }
        if !self.incremental {
            let mut total = self.total;
            total.add(value);
            if !total.sum.is_infinite() {
                self.total = total;
                return;
            }
            self.incremental = true;
            self.total.divide(self.count - 1.0);
        }
        self.total.scale((self.count - 1.0) / self.count);
        self.total.add(value / self.count);
    }

    /// The mean; NaN of nothing.
    pub(crate) fn value(self) -> f64 {
        if self.incremental {
            return self.total.value();
        }
        self.total.sum / self.count + self.total.compensation / self.count
    }
}

/// Go's `math.Max`: NaN wins.
pub(crate) fn go_max(a: f64, b: f64) -> f64 {
    if a.is_infinite() && a > 0.0 || b.is_infinite() && b > 0.0 {
        return f64::INFINITY;
    }
    if a.is_nan() || b.is_nan() { f64::NAN } else { a.max(b) }
}

/// Go's `math.Min`: NaN wins.
pub(crate) fn go_min(a: f64, b: f64) -> f64 {
    -go_max(-a, -b)
}

/// A float as Go's `%g` and `%v` print it: the shortest digits, with an exponent below 1e-4 and from 1e6 on.
pub(crate) struct GoFloat(pub f64);

impl fmt::Display for GoFloat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.0;
        if value.is_nan() {
            return f.write_str("NaN");
        }
        if value.is_infinite() {
            return f.write_str(if value > 0.0 { "+Inf" } else { "-Inf" });
        }
        if value == 0.0 {
            return f.write_str(if value.is_sign_negative() { "-0" } else { "0" });
        }
        let text = format!("{value:e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let exponent: i32 = exponent.parse().unwrap_or(0);
        if (-4..6).contains(&exponent) {
            return write!(f, "{value}");
        }
        let sign = if exponent < 0 { '-' } else { '+' };
        write!(f, "{digits}e{sign}{:02}", exponent.abs())
    }
}

/// A float as plain digits, as Go's `FormatFloat(v, 'f', -1, 64)`.
pub(crate) fn plain_digits(value: f64) -> String {
    if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "+Inf".to_owned() } else { "-Inf".to_owned() }
    } else {
        value.to_string()
    }
}
