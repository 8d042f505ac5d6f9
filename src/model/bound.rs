//! How Prometheus 3 writes the numbers in `le` and `quantile`, whatever the exposition said.

/// A float in OpenMetrics' canonical form (`formatOpenMetricsFloat`): `1.0`, `0.005`, `1e+06`, `+Inf`.
pub fn openmetrics_float(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    // Go's 'g' with the shortest precision: an exponent below 1e-4 and from 1e6 on.
    let scientific = format!("{value:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if value != 0.0 && !(-4..6).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{digits}e{sign}{:02}", exponent.abs());
    }
    let plain = value.to_string();
    if plain.contains('.') { plain } else { plain + ".0" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_are_written_as_prometheus_3_writes_them() {
        let check = |value: f64, text: &str| assert_eq!(openmetrics_float(value), text);
        check(1.0, "1.0");
        check(0.0, "0.0");
        check(-1.0, "-1.0");
        check(0.005, "0.005");
        check(0.0001, "0.0001");
        check(0.00001, "1e-05");
        check(100_000.0, "100000.0");
        check(1e6, "1e+06");
        check(1_234_567.0, "1.234567e+06");
        check(1e100, "1e+100");
        check(f64::INFINITY, "+Inf");
        check(f64::NEG_INFINITY, "-Inf");
        check(f64::NAN, "NaN");
    }
}
