//! The table of functions and aggregators: names and signatures of Prometheus 3.14, experimental ones included.
//!
//! Follows `docs/querying/functions.md`. What the functions compute is not here.

use super::ast::ValueType::{Matrix, Scalar, String, Vector};
use super::ast::{AggregateOp, Function, ValueType};

const fn stable(name: &'static str, args: &'static [ValueType], returns: ValueType) -> Function {
    Function { name, args, variadic: 0, returns, experimental: false }
}

const fn variadic(name: &'static str, args: &'static [ValueType], variadic: i32) -> Function {
    Function { name, args, variadic, returns: Vector, experimental: false }
}

const fn experimental(name: &'static str, args: &'static [ValueType], variadic: i32, returns: ValueType) -> Function {
    Function { name, args, variadic, returns, experimental: true }
}

/// Every function, sorted by name.
pub static FUNCTIONS: &[Function] = &[
    stable("abs", &[Vector], Vector),
    stable("absent", &[Vector], Vector),
    stable("absent_over_time", &[Matrix], Vector),
    stable("acos", &[Vector], Vector),
    stable("acosh", &[Vector], Vector),
    stable("asin", &[Vector], Vector),
    stable("asinh", &[Vector], Vector),
    stable("atan", &[Vector], Vector),
    stable("atanh", &[Vector], Vector),
    stable("avg_over_time", &[Matrix], Vector),
    stable("ceil", &[Vector], Vector),
    stable("changes", &[Matrix], Vector),
    stable("clamp", &[Vector, Scalar, Scalar], Vector),
    stable("clamp_max", &[Vector, Scalar], Vector),
    stable("clamp_min", &[Vector, Scalar], Vector),
    stable("cos", &[Vector], Vector),
    stable("cosh", &[Vector], Vector),
    stable("count_over_time", &[Matrix], Vector),
    variadic("day_of_month", &[Vector], 1),
    variadic("day_of_week", &[Vector], 1),
    variadic("day_of_year", &[Vector], 1),
    variadic("days_in_month", &[Vector], 1),
    stable("deg", &[Vector], Vector),
    stable("delta", &[Matrix], Vector),
    stable("deriv", &[Matrix], Vector),
    experimental("double_exponential_smoothing", &[Matrix, Scalar, Scalar], 0, Vector),
    experimental("end", &[], 0, Scalar),
    stable("exp", &[Vector], Vector),
    experimental("first_over_time", &[Matrix], 0, Vector),
    stable("floor", &[Vector], Vector),
    stable("histogram_avg", &[Vector], Vector),
    stable("histogram_count", &[Vector], Vector),
    stable("histogram_fraction", &[Scalar, Scalar, Vector], Vector),
    stable("histogram_quantile", &[Scalar, Vector], Vector),
    experimental("histogram_quantiles", &[Vector, String, Scalar, Scalar], 9, Vector),
    stable("histogram_stddev", &[Vector], Vector),
    stable("histogram_stdvar", &[Vector], Vector),
    stable("histogram_sum", &[Vector], Vector),
    variadic("hour", &[Vector], 1),
    stable("idelta", &[Matrix], Vector),
    stable("increase", &[Matrix], Vector),
    experimental("info", &[Vector, Vector], 1, Vector),
    stable("irate", &[Matrix], Vector),
    variadic("label_join", &[Vector, String, String, String], -1),
    stable("label_replace", &[Vector, String, String, String, String], Vector),
    stable("last_over_time", &[Matrix], Vector),
    stable("ln", &[Vector], Vector),
    stable("log10", &[Vector], Vector),
    stable("log2", &[Vector], Vector),
    experimental("mad_over_time", &[Matrix], 0, Vector),
    experimental("max_of", &[Scalar, Scalar], 0, Scalar),
    stable("max_over_time", &[Matrix], Vector),
    experimental("min_of", &[Scalar, Scalar], 0, Scalar),
    stable("min_over_time", &[Matrix], Vector),
    variadic("minute", &[Vector], 1),
    variadic("month", &[Vector], 1),
    stable("pi", &[], Scalar),
    stable("predict_linear", &[Matrix, Scalar], Vector),
    stable("present_over_time", &[Matrix], Vector),
    stable("quantile_over_time", &[Scalar, Matrix], Vector),
    stable("rad", &[Vector], Vector),
    experimental("range", &[], 0, Scalar),
    stable("rate", &[Matrix], Vector),
    stable("resets", &[Matrix], Vector),
    variadic("round", &[Vector, Scalar], 1),
    stable("scalar", &[Vector], Scalar),
    stable("sgn", &[Vector], Vector),
    stable("sin", &[Vector], Vector),
    stable("sinh", &[Vector], Vector),
    stable("sort", &[Vector], Vector),
    experimental("sort_by_label", &[Vector, String], -1, Vector),
    experimental("sort_by_label_desc", &[Vector, String], -1, Vector),
    stable("sort_desc", &[Vector], Vector),
    stable("sqrt", &[Vector], Vector),
    experimental("start", &[], 0, Scalar),
    experimental("start_timestamp", &[Vector], 0, Vector),
    stable("stddev_over_time", &[Matrix], Vector),
    stable("stdvar_over_time", &[Matrix], Vector),
    experimental("step", &[], 0, Scalar),
    stable("sum_over_time", &[Matrix], Vector),
    stable("tan", &[Vector], Vector),
    stable("tanh", &[Vector], Vector),
    stable("time", &[], Scalar),
    stable("timestamp", &[Vector], Vector),
    experimental("ts_of_first_over_time", &[Matrix], 0, Vector),
    experimental("ts_of_last_over_time", &[Matrix], 0, Vector),
    experimental("ts_of_max_over_time", &[Matrix], 0, Vector),
    experimental("ts_of_min_over_time", &[Matrix], 0, Vector),
    stable("vector", &[Scalar], Vector),
    variadic("year", &[Vector], 1),
];

/// The function of that name. Names are lower case.
pub fn function(name: &str) -> Option<&'static Function> {
    FUNCTIONS.binary_search_by(|f| f.name.cmp(name)).ok().map(|at| &FUNCTIONS[at])
}

impl Function {
    /// The signature for messages: `round(instant vector[, scalar])`.
    pub fn signature(&self) -> std::string::String {
        let required = if self.variadic == 0 { self.args.len() } else { self.args.len() - 1 };
        let mut out = format!("{}(", self.name);
        for (at, arg) in self.args.iter().enumerate() {
            out.push_str(if at >= required { "[" } else { "" });
            out.push_str(if at > 0 { ", " } else { "" });
            out.push_str(arg.documented());
            if at >= required {
                out.push_str(if self.variadic == 1 { "]" } else { ", ...]" });
            }
        }
        out.push(')');
        out
    }
}

const AGGREGATORS: [(&str, AggregateOp); 14] = [
    ("sum", AggregateOp::Sum),
    ("avg", AggregateOp::Avg),
    ("min", AggregateOp::Min),
    ("max", AggregateOp::Max),
    ("count", AggregateOp::Count),
    ("group", AggregateOp::Group),
    ("stddev", AggregateOp::Stddev),
    ("stdvar", AggregateOp::Stdvar),
    ("topk", AggregateOp::Topk),
    ("bottomk", AggregateOp::Bottomk),
    ("count_values", AggregateOp::CountValues),
    ("quantile", AggregateOp::Quantile),
    ("limitk", AggregateOp::LimitK),
    ("limit_ratio", AggregateOp::LimitRatio),
];

/// The aggregator of that name, in any case.
pub(crate) fn aggregator(word: &str) -> Option<AggregateOp> {
    AGGREGATORS.iter().find(|(name, _)| name.eq_ignore_ascii_case(word)).map(|(_, op)| *op)
}

/// The names of all aggregators.
pub(crate) fn aggregator_names() -> impl Iterator<Item = &'static str> {
    AGGREGATORS.iter().map(|(name, _)| *name)
}

impl AggregateOp {
    /// The operator as it is written.
    pub fn as_str(self) -> &'static str {
        AGGREGATORS.iter().find(|(_, op)| *op == self).map_or("", |(name, _)| name)
    }

    /// The type of the parameter before the vector, for those that take one.
    pub fn param_type(self) -> Option<ValueType> {
        match self {
            AggregateOp::CountValues => Some(String),
            AggregateOp::Topk
            | AggregateOp::Bottomk
            | AggregateOp::Quantile
            | AggregateOp::LimitK
            | AggregateOp::LimitRatio => Some(Scalar),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_every_function_is_found() {
        assert!(FUNCTIONS.is_sorted_by(|a, b| a.name < b.name));
        for entry in FUNCTIONS {
            assert_eq!(function(entry.name), Some(entry));
        }
        assert_eq!(function("RATE"), None);
        assert_eq!(FUNCTIONS.len(), 90);
    }

    #[test]
    fn signatures_show_what_may_be_left_out() {
        let check = |name: &str, expected: &str| {
            assert_eq!(function(name).expect(name).signature(), expected);
        };
        check("rate", "rate(range vector)");
        check("time", "time()");
        check("hour", "hour([instant vector])");
        check("round", "round(instant vector[, scalar])");
        check("label_join", "label_join(instant vector, string, string[, string, ...])");
    }

    #[test]
    fn aggregators_are_known_in_any_case() {
        assert_eq!(aggregator("SUM"), Some(AggregateOp::Sum));
        assert_eq!(aggregator("sums"), None);
        assert_eq!(AggregateOp::LimitRatio.as_str(), "limit_ratio");
    }
}
