//! Rules of kind `dim` and `limit`: what a control law is told, and the expressions that feed it.
//!
//! A law wants rates and shares. They are written out as PromQL from the names of a service's metrics, so that they can be
//! looked at and tried, and each can be an expression of one's own. A share of requests above a bucket's bound is used for
//! the latency, not a quantile: it needs no interpolation, and adds up over hosts.

use std::time::Duration;

use super::query::Query;
use super::spec::{Mode, QuorumSpec, Scope};
use crate::model::SwitchName;
use crate::promql;
use crate::yaml::{At, Decode, Fields, Place, Spanned};

/// A law by its name in rule files. What each does is the switches' business.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum LawName {
    FeedForward,
    #[default]
    WithLimit,
    FeedForwardArmed,
    Armed,
    Klein,
    Aimd,
}

impl LawName {
    const WORDS: [(&'static str, LawName); 6] = [
        ("ff", LawName::FeedForward),
        ("ff+lim", LawName::WithLimit),
        ("ff+armed", LawName::FeedForwardArmed),
        ("armed", LawName::Armed),
        ("klein", LawName::Klein),
        ("aimd", LawName::Aimd),
    ];

    /// The name in rule files.
    pub fn as_str(self) -> &'static str {
        Self::WORDS.iter().find(|(_, law)| *law == self).map_or("ff+lim", |(word, _)| word)
    }
}

impl Decode for LawName {
    fn decode(at: &mut At<'_>) -> Option<LawName> {
        at.one_of(&LawName::WORDS)
    }
}

/// What one expression of a law gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Input {
    /// Requests a second that come, rejected ones included.
    Arrivals,
    /// Full and degraded answers a second.
    Full,
    Degraded,
    /// Answers a second, where full and degraded ones cannot be told apart.
    Answers,
    /// The share of answers slower than half the objective.
    Slow,
    /// The use of the capacity, 0 to 1.
    Utilisation,
    /// Requests in flight.
    InFlight,
    /// The 95th percentile of the latency in seconds.
    Latency,
    /// The share of time in which somebody waits for a processor, for when everything else is gone.
    Pressure,
}

impl Input {
    /// The field of the rule, and the name in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Input::Arrivals => "arrivals",
            Input::Full => "full",
            Input::Degraded => "degraded",
            Input::Answers => "answers",
            Input::Slow => "slow",
            Input::Utilisation => "utilisation",
            Input::InFlight => "in_flight",
            Input::Latency => "latency",
            Input::Pressure => "pressure",
        }
    }
}

/// A law and what it is told.
#[derive(Clone, Debug, PartialEq)]
pub struct ControlSpec {
    pub law: LawName,
    /// What a request may take.
    pub objective: Duration,
    /// A degraded answer's cost against a full one's.
    pub cost_ratio: f64,
    /// The use of the capacity to aim for.
    pub target: f64,
    /// The share of answers that may be slower than half the objective.
    pub slow_share: f64,
    /// How long full service must fit before the return to it.
    pub hold: Duration,
    /// Answers below which nothing is concluded.
    pub min_samples: u32,
    pub inputs: Vec<(Input, Query)>,
}

/// A rule that rules a dimmer, or walks a ladder by the same law.
#[derive(Clone, Debug, PartialEq)]
pub struct DimSpec {
    pub switch: Spanned<SwitchName>,
    pub control: ControlSpec,
    /// The limit behind it; `None` when the rule says `limit: none`.
    pub limit: Option<Spanned<SwitchName>>,
    /// Of a feature: the share that each level below the first stands for; empty: evenly down to 0.
    pub shares: Vec<f64>,
    pub scope: Scope,
    /// `None`: half of the hosts that run the rule.
    pub quorum: Option<QuorumSpec>,
    /// `None`: what `actions.mode` says.
    pub mode: Option<Mode>,
}

/// A rule that rules a limit by itself.
#[derive(Clone, Debug, PartialEq)]
pub struct LimitSpec {
    pub switch: Spanned<SwitchName>,
    pub source: LimitSource,
    pub scope: Scope,
    /// `None`: half of the hosts that run the rule.
    pub quorum: Option<QuorumSpec>,
    /// `None`: what `actions.mode` says.
    pub mode: Option<Mode>,
}

/// Where a limit comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum LimitSource {
    /// The law of the standing limit: so many seconds of work in flight.
    Law(ControlSpec),
    /// An expression that gives the limit.
    Value(Query),
}

/// The names of a service's metrics.
#[derive(Clone, Debug)]
pub(super) struct ServiceSpec {
    selector: String,
    requests: Option<Spanned<String>>,
    duration: Option<Spanned<String>>,
    in_flight: Option<Spanned<String>>,
    mode_label: Option<Spanned<String>>,
    window: Duration,
    place: Place,
}

impl Decode for ServiceSpec {
    fn decode(at: &mut At<'_>) -> Option<ServiceSpec> {
        let place = at.place();
        let mut fields = at.record("service", "The metrics of the service that is ruled.")?;
        let selector = fields.or("selector", "''", "matchers of its series, without braces: 'job=\"checkout\"'");
        let requests = fields.optional("requests", "a counter of all requests, rejected ones included");
        let duration =
            fields.optional("duration", "a classic histogram of the durations of answers, without `_bucket`");
        let in_flight = fields.optional("in_flight", "a gauge of the requests being worked on");
        let mode_label = fields.optional(
            "mode_label",
            "the label of `duration` that is `full` or `degraded`; without it answers are split by the share in force",
        );
        let window =
            fields.or("window", "2s", "the window of rates: two scrapes, so that there are two points in each");
        fields.finish();
        Some(ServiceSpec { selector, requests, duration, in_flight, mode_label, window, place })
    }
}

/// The fields of `dim` and `limit` rules.
pub(super) struct RawControl {
    pub law: LawName,
    pub objective: Option<Duration>,
    pub cost_ratio: f64,
    pub target: f64,
    pub slow_share: f64,
    pub hold: Duration,
    pub min_samples: u32,
    pub service: Option<ServiceSpec>,
    pub own: Vec<(Input, Option<Query>)>,
    pub shares: Vec<f64>,
    pub value: Option<Query>,
}

/// A number between two others.
struct Share(f64);

impl Decode for Share {
    fn decode(at: &mut At<'_>) -> Option<Share> {
        at.scalar("a share (30%)", |text| {
            let (number, whole) = text.strip_suffix('%').map_or((text, 1.0), |number| (number.trim_end(), 100.0));
            match number.parse::<f64>() {
                Ok(value) if (0.0..=whole).contains(&value) => Ok(Share(value / whole)),
                _ => Err(format!("`{text}` is no share: write 0% to 100%, or 0 to 1")),
            }
        })
    }
}

impl RawControl {
    pub fn read(fields: &mut Fields<'_>) -> RawControl {
        let share = |fields: &mut Fields<'_>, key, default, doc| fields.or::<Share>(key, default, doc).0;
        RawControl {
            law: fields.or("law", "ff+lim", "how the share is found; see docs/switches.md (dim)"),
            objective: fields.optional("objective", "what a request may take (dim, limit)"),
            cost_ratio: share(
                fields,
                "cost_ratio",
                "0.3",
                "a degraded answer's cost against a full one's: measure it, and set it rather too low than too high (dim)",
            ),
            target: share(fields, "target", "0.75", "the use of the capacity to aim for, 50% to 90% (dim, limit)"),
            slow_share: share(
                fields,
                "slow_share",
                "5%",
                "the share of answers that may take longer than half the objective (dim, limit)",
            ),
            hold: fields.or("hold", "10s", "how long full service must fit before the return to it, 2s to 2m (dim)"),
            min_samples: fields.or(
                "min_samples",
                "10",
                "answers below which nothing is concluded (dim, limit, degrade)",
            ),
            service: fields.optional("service", "the names of the service's metrics (dim, limit)"),
            own: [
                (Input::Arrivals, "PromQL for all requests a second, rejected ones included (dim, limit)"),
                (Input::Full, "PromQL for full answers a second (dim, limit)"),
                (Input::Degraded, "PromQL for degraded answers a second (dim)"),
                (Input::Slow, "PromQL for the share of answers slower than half the objective (dim, limit)"),
                (
                    Input::Utilisation,
                    "PromQL for the use of what runs out first, 0 to 1; default: the host's processors (dim, limit)",
                ),
                (Input::InFlight, "PromQL for the requests in flight (dim, limit)"),
                (
                    Input::Latency,
                    "PromQL for the 95th percentile of the latency in seconds, for `klein` and `aimd` (dim)",
                ),
                (
                    Input::Pressure,
                    "PromQL for the share of time in which somebody waits for a processor: only while all else is \
                     gone, and only downwards (dim)",
                ),
            ]
            .into_iter()
            .map(|(input, doc)| (input, fields.optional(input.as_str(), doc)))
            .collect(),
            shares: fields
                .optional::<Vec<Share>>(
                    "shares",
                    "of a feature: the share that each level below the first stands for; default: evenly to 0% (dim)",
                )
                .unwrap_or_default()
                .into_iter()
                .map(|share| share.0)
                .collect(),
            value: fields.optional("value", "PromQL that gives the limit, instead of a law (limit)"),
        }
    }

    /// The law with every input; reports what is missing at the key that names the rule.
    pub fn control(self, kind: &str, fields: &mut Fields<'_>) -> Option<ControlSpec> {
        let Some(objective) = self.objective.filter(|objective| !objective.is_zero()) else {
            fields.problem(
                kind,
                format!("missing field `objective` in this {kind} rule"),
                Some("add `objective: 1s`: what a request may take".into()),
            );
            return None;
        };
        for (key, value, low, high) in [
            ("cost_ratio", self.cost_ratio, 0.02, 1.0),
            ("target", self.target, 0.5, 0.9),
            ("slow_share", self.slow_share, 0.001, 0.5),
        ] {
            if !(low..=high).contains(&value) {
                fields.problem(
                    key,
                    format!("`{key}` is {value}"),
                    Some(format!("write a number from {low} to {high}")),
                );
            }
        }
        if !(2.0..=120.0).contains(&self.hold.as_secs_f64()) {
            fields.problem("hold", "the hold is out of its bounds", Some("write a time from 2s to 2m".into()));
        }
        let inputs = self.inputs(kind, objective, fields)?;
        Some(ControlSpec {
            law: self.law,
            objective,
            cost_ratio: self.cost_ratio,
            target: self.target,
            slow_share: self.slow_share,
            hold: self.hold,
            min_samples: self.min_samples,
            inputs,
        })
    }

    fn inputs(&self, kind: &str, objective: Duration, fields: &mut Fields<'_>) -> Option<Vec<(Input, Query)>> {
        let written = self.service.as_ref().map(|service| service.written(objective)).unwrap_or_default();
        let own = |input: Input| self.own.iter().find(|(known, _)| *known == input)?.1.clone();
        let by_latency = matches!(self.law, LawName::Klein | LawName::Aimd);
        let place = self.service.as_ref().map_or_else(|| fields.place_of(kind), |service| service.place.clone());
        let mut inputs = Vec::new();
        let mut good = true;
        let split = own(Input::Full).is_some() || written.iter().any(|(input, _)| *input == Input::Full);
        for input in [
            Input::Arrivals,
            Input::Full,
            Input::Degraded,
            Input::Answers,
            Input::Slow,
            Input::Utilisation,
            Input::InFlight,
            Input::Latency,
            Input::Pressure,
        ] {
            let wanted = match input {
                Input::Answers => !split,
                Input::Latency => by_latency,
                _ => true,
            };
            let text = written.iter().find(|(known, _)| *known == input).map(|(_, text)| text.as_str());
            let text = text.or((input == Input::Utilisation).then_some(PROCESSORS));
            match (own(input), text) {
                _ if !wanted => {}
                (Some(query), _) => {
                    if let Some(why) = query.useless() {
                        fields.push(
                            query.place.error(why, Some("give one number, for example sum(rate(...[2s]))".into())),
                        );
                    }
                    inputs.push((input, query));
                }
                (None, Some(text)) => match promql::parse(text) {
                    Ok(expr) => inputs.push((input, Query::of(text, expr, place.clone()))),
                    Err(error) => {
                        let message =
                            format!("the names under `service` give no expression: {}: {text}", error.message);
                        fields.push(place.error(message, Some("check `selector` and the names".into())));
                        good = false;
                    }
                },
                (None, None) => {
                    if matches!(input, Input::Arrivals | Input::Answers | Input::Slow | Input::Latency) {
                        let (message, help) = missing_input(input, kind);
                        fields.problem(kind, message, Some(help));
                        good = false;
                    }
                }
            }
        }
        good.then_some(inputs)
    }
}

fn missing_input(input: Input, kind: &str) -> (String, String) {
    let (name, from) = match input {
        Input::Arrivals => ("arrivals", "requests: http_requests_total"),
        Input::Answers => ("full", "duration: http_request_duration_seconds"),
        Input::Slow => ("slow", "duration: http_request_duration_seconds"),
        _ => ("latency", "duration: http_request_duration_seconds"),
    };
    (
        format!("this {kind} rule does not know `{name}`"),
        format!("add `service: {{selector: 'job=\"...\"', {from}}}`, or `{name}: <PromQL>`"),
    )
}

/// The host's processors; steal counts as busy.
const PROCESSORS: &str = "1 - avg(rate(node_cpu_seconds_total{mode=\"idle\"}[2s]))";

impl ServiceSpec {
    /// The expressions that the names lead to.
    fn written(&self, objective: Duration) -> Vec<(Input, String)> {
        let window = crate::time::format_duration(self.window);
        let series = |name: &str, more: &str| {
            let matchers: Vec<&str> =
                [self.selector.trim(), more].into_iter().filter(|part| !part.is_empty()).collect();
            if matchers.is_empty() { name.to_owned() } else { format!("{name}{{{}}}", matchers.join(", ")) }
        };
        let rate = |name: &str, more: &str| format!("sum(rate({}[{window}]))", series(name, more));
        let mut written = Vec::new();
        if let Some(requests) = &self.requests {
            written.push((Input::Arrivals, rate(requests, "")));
        }
        if let Some(duration) = &self.duration {
            let (count, bucket) = (format!("{}_count", duration.value), format!("{}_bucket", duration.value));
            // Answers that were rejected are none: only full and degraded ones are looked at where they can be told apart.
            let answered = self.mode_label.as_ref().map(|label| format!("{}=~\"full|degraded\"", label.value));
            let answered = answered.as_deref().unwrap_or("");
            if let Some(label) = &self.mode_label {
                for (input, mode) in [(Input::Full, "full"), (Input::Degraded, "degraded")] {
                    // A mode in which nothing was answered yet has no series.
                    let of_mode = rate(&count, &format!("{}=\"{mode}\"", label.value));
                    written.push((input, format!("{of_mode} or vector(0)")));
                }
            } else {
                written.push((Input::Answers, rate(&count, "")));
            }
            let bound = bucket_matcher(objective / 2);
            let joined = if answered.is_empty() { bound } else { format!("{answered}, {bound}") };
            written.push((Input::Slow, format!("1 - {} / {}", rate(&bucket, &joined), rate(&count, answered))));
            let buckets = format!("sum by (le) (rate({}[{window}]))", series(&bucket, answered));
            written.push((Input::Latency, format!("histogram_quantile(0.95, {buckets})")));
        }
        if let Some(in_flight) = &self.in_flight {
            written.push((Input::InFlight, format!("sum({})", series(in_flight, ""))));
        }
        written
    }
}

/// The bucket of this bound, however its library writes whole numbers.
fn bucket_matcher(bound: Duration) -> String {
    let text = bound.as_secs_f64().to_string();
    if text.contains('.') { format!("le=\"{text}\"") } else { format!("le=~\"{text}|{text}\\\\.0\"") }
}

#[cfg(test)]
mod tests {
    use super::super::{RuleSpec, parse_file};
    use super::*;
    use crate::yaml::SourceFile;

    fn parse(rule: &str) -> Result<RuleSpec, Vec<String>> {
        let text = format!("groups:\n- name: g\n  rules:\n  - {rule}\n");
        let (groups, problems) = parse_file(&SourceFile::new("rules.yaml", text));
        let messages: Vec<String> = problems.iter().map(|problem| problem.message.clone()).collect();
        match groups {
            Some(mut groups) if messages.is_empty() => Ok(groups.remove(0).rules.remove(0)),
            _ => Err(messages),
        }
    }

    #[test]
    fn the_names_of_a_services_metrics_become_expressions() {
        let rule = parse(
            "{dim: related, objective: 1s, limit: checkout, service: {selector: 'job=\"c\"', requests: r_total, duration: d, \
             in_flight: f, mode_label: mode}}",
        );
        let Ok(RuleSpec::Dim(rule)) = rule else { panic!("{rule:?}") };
        let texts: Vec<(Input, &str)> =
            rule.control.inputs.iter().map(|(input, query)| (*input, &*query.text)).collect();
        assert_eq!(
            texts,
            [
                (Input::Arrivals, "sum(rate(r_total{job=\"c\"}[2s]))"),
                (Input::Full, "sum(rate(d_count{job=\"c\", mode=\"full\"}[2s])) or vector(0)"),
                (Input::Degraded, "sum(rate(d_count{job=\"c\", mode=\"degraded\"}[2s])) or vector(0)"),
                (
                    Input::Slow,
                    "1 - sum(rate(d_bucket{job=\"c\", mode=~\"full|degraded\", le=\"0.5\"}[2s])) / \
                     sum(rate(d_count{job=\"c\", mode=~\"full|degraded\"}[2s]))"
                ),
                (Input::Utilisation, "1 - avg(rate(node_cpu_seconds_total{mode=\"idle\"}[2s]))"),
                (Input::InFlight, "sum(f{job=\"c\"})"),
            ]
        );
    }

    #[test]
    fn an_expression_of_ones_own_wins_and_whole_bounds_match_both_spellings() {
        let rule = parse(
            "{dim: x, objective: 2s, limit: none, law: klein, utilisation: busy / 8, service: {requests: r, duration: d}}",
        );
        let Ok(RuleSpec::Dim(rule)) = rule else { panic!("{rule:?}") };
        let text = |input| {
            rule.control.inputs.iter().find(|(known, _)| *known == input).map(|(_, query)| query.text.to_string())
        };
        assert_eq!(text(Input::Utilisation).as_deref(), Some("busy / 8"));
        assert_eq!(text(Input::Answers).as_deref(), Some("sum(rate(d_count[2s]))"));
        assert_eq!(
            text(Input::Slow).as_deref(),
            Some("1 - sum(rate(d_bucket{le=~\"1|1\\\\.0\"}[2s])) / sum(rate(d_count[2s]))")
        );
        assert!(text(Input::Latency).is_some_and(|text| text.starts_with("histogram_quantile(0.95, ")));
        assert_eq!((rule.limit.clone(), rule.control.law), (None, LawName::Klein));
    }

    #[test]
    fn what_is_missing_or_out_of_bounds_is_said() {
        for (rule, expected) in [
            (
                "{dim: x, limit: none, service: {requests: r, duration: d}}",
                "missing field `objective` in this dim rule",
            ),
            ("{dim: x, objective: 1s, service: {requests: r, duration: d}}", "a dimmer needs a limit behind it"),
            ("{dim: x, objective: 1s, limit: none, service: {duration: d}}", "this dim rule does not know `arrivals`"),
            (
                "{dim: x, objective: 1s, limit: none, cost_ratio: 0, service: {requests: r, duration: d}}",
                "`cost_ratio` is 0",
            ),
            ("{limit: x}", "missing field `objective` in this limit rule"),
            ("{limit: x, value: up, objective: 1s}", "`objective` has no meaning beside `value`"),
            (
                "{dim: x, objective: 1s, limit: none, value: up, service: {requests: r, duration: d}}",
                "`value` does not belong in a dim rule",
            ),
            ("{alert: X, expr: up == 0, objective: 1s}", "`objective` does not belong in an alerting rule"),
            (
                "{dim: x, objective: 1s, limit: none, service: {requests: 'r{', duration: d}}",
                "the names under `service` give no expression",
            ),
        ] {
            let problems = parse(rule).expect_err(rule);
            assert!(problems.iter().any(|problem| problem.starts_with(expected)), "{rule}: {problems:?}");
        }
    }
}
