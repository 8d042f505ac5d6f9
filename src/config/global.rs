//! `global`: what holds for every job and rule group that does not say otherwise. Prometheus' section; intervals are 1 s.

use std::time::Duration;

use super::values::{ByteCount, Interval, LabelPairs, pass_over, refuse};
use crate::yaml::{At, Decode, Fields, Problem, Spanned};

/// Prometheus' limits of one target: 0 means none.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Limits {
    pub body_size: Option<ByteCount>,
    pub samples: Option<u64>,
    pub labels: Option<u64>,
    pub label_name_length: Option<u64>,
    pub label_value_length: Option<u64>,
}

impl Limits {
    /// Reads the fields among the others of a section.
    pub fn read(fields: &mut Fields<'_>) -> Limits {
        Limits {
            body_size: fields
                .optional("body_size_limit", "a larger answer fails the scrape; 0 for the house's own limit"),
            samples: fields.optional("sample_limit", "more samples than this fail the scrape; 0 for no limit"),
            labels: fields.optional("label_limit", "more labels on a sample than this fail the scrape; 0 for no limit"),
            label_name_length: fields
                .optional("label_name_length_limit", "a longer label name fails the scrape; 0 for no limit"),
            label_value_length: fields
                .optional("label_value_length_limit", "a longer label value fails the scrape; 0 for no limit"),
        }
    }

    /// This, and where it says nothing, the other.
    pub fn or(&self, other: &Limits) -> Limits {
        Limits {
            body_size: self.body_size.or(other.body_size),
            samples: self.samples.or(other.samples),
            labels: self.labels.or(other.labels),
            label_name_length: self.label_name_length.or(other.label_name_length),
            label_value_length: self.label_value_length.or(other.label_value_length),
        }
    }
}

/// `global`.
#[derive(Clone, Debug)]
pub struct Global {
    pub scrape_interval: Spanned<Interval>,
    pub scrape_timeout: Option<Spanned<Interval>>,
    pub evaluation_interval: Spanned<Interval>,
    pub rule_query_offset: Duration,
    pub external_labels: LabelPairs,
    pub limits: Limits,
    pub refused: Vec<Problem>,
}

impl Decode for Global {
    fn decode(at: &mut At<'_>) -> Option<Global> {
        let doc = "What holds for every job and rule group that does not say otherwise. As in Prometheus, but intervals are 1 s.";
        let mut fields = at.record("global", doc)?;
        let scrape_interval =
            fields.or("scrape_interval", "1s", "time between two collections, probes or scrapes of the same thing");
        let scrape_timeout =
            fields.optional("scrape_timeout", "how long one of them may take; if missing the interval, at most 10 s");
        let evaluation_interval =
            fields.or("evaluation_interval", "1s", "time between two evaluations of a rule group");
        let rule_query_offset = fields.or("rule_query_offset", "0s", "rules look at the state of this long ago");
        let external_labels = fields.or(
            "external_labels",
            "{}",
            "labels added to every alert that leaves this host, and to what other programs are given",
        );
        let limits = Limits::read(&mut fields);
        let mut refused = Vec::new();
        pass_over(&mut fields, &["scrape_protocols", "metric_name_validation_scheme"]);
        pass_over(&mut fields, &["metric_name_escaping_scheme", "keep_dropped_targets"]);
        let keys = ["query_log_file", "scrape_failure_log_file", "runtime", "target_limit"];
        refuse(&mut fields, &keys, "`{}` is not supported in this version", "remove it", &mut refused);
        fields.finish();
        Some(Global {
            scrape_interval,
            scrape_timeout,
            evaluation_interval,
            rule_query_offset,
            external_labels,
            limits,
            refused,
        })
    }
}
