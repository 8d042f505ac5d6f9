//! What one probe found: samples under their families, and the probe's account of what it did.

use crate::limits;
use crate::model::{Labels, LabelsBuilder, MetricKind, MetricMeta, NAME};

/// One sample of a probe, before the target's labels are added.
#[derive(Clone, Debug, PartialEq)]
pub struct ProbeSample {
    pub family: &'static str,
    pub labels: Vec<(String, String)>,
    pub value: f64,
}

/// The outcome of one probe.
#[derive(Clone, Debug, PartialEq)]
pub struct ProbeResult {
    pub success: bool,
    /// Each series once, `probe_success` and `probe_duration_seconds` among them.
    pub samples: Vec<ProbeSample>,
    /// What the probe did and why it failed, in order.
    pub log: Vec<String>,
}

impl ProbeResult {
    /// The value of the only series of a family, or of the one with this label value.
    pub fn value(&self, family: &str, label_value: Option<&str>) -> Option<f64> {
        let fits = |sample: &&ProbeSample| {
            let labelled = |wanted: &str| sample.labels.iter().any(|(_, value)| value == wanted);
            sample.family == family && label_value.is_none_or(labelled)
        };
        self.samples.iter().find(fits).map(|sample| sample.value)
    }
}

/// A probe failed; why is on the sheet.
#[derive(Debug)]
pub(super) struct Failed;

/// The sheet that a running probe writes on. It lives outside of the probe's future, so that what was written before a
/// timeout stays.
#[derive(Debug, Default)]
pub(super) struct Sheet {
    pub samples: Vec<ProbeSample>,
    pub log: Vec<String>,
}

impl Sheet {
    /// Sets a series without labels of its own.
    pub fn set(&mut self, family: &'static str, value: f64) {
        self.set_with(family, &[], value);
    }

    /// Sets a series.
    pub fn set_with(&mut self, family: &'static str, labels: &[(&str, &str)], value: f64) {
        *self.slot(family, labels) = value;
    }

    /// Adds to a series, which starts at zero.
    pub fn add_with(&mut self, family: &'static str, labels: &[(&str, &str)], amount: f64) {
        *self.slot(family, labels) += amount;
    }

    fn slot(&mut self, family: &'static str, labels: &[(&str, &str)]) -> &mut f64 {
        let same = |sample: &ProbeSample| {
            let pairs = sample.labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
            sample.family == family && pairs.eq(labels.iter().copied())
        };
        let at = self.samples.iter().position(same).unwrap_or_else(|| {
            let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            self.samples.push(ProbeSample { family, labels, value: 0.0 });
            self.samples.len() - 1
        });
        &mut self.samples[at].value
    }

    /// Writes a line of the account; control characters are escaped.
    pub fn say(&mut self, line: impl AsRef<str>) {
        if self.log.len() < limits::PROBE_LOG_LINES {
            self.log.push(line.as_ref().chars().flat_map(escaped).collect());
        }
    }

    /// Writes why the probe failed.
    pub fn fail(&mut self, line: impl AsRef<str>) -> Failed {
        self.say(line);
        Failed
    }
}

fn escaped(c: char) -> Box<dyn Iterator<Item = char>> {
    if c.is_control() { Box::new(c.escape_default()) } else { Box::new(std::iter::once(c)) }
}

/// The full name of a series: the target's labels and the sample's own. A label that both have keeps the target's value,
/// the sample's goes to `exported_...` (as a scrape without `honor_labels`).
pub(super) fn series(target: &Labels, sample: &ProbeSample) -> Labels {
    let mut builder: LabelsBuilder = target.to_builder();
    for (name, value) in &sample.labels {
        if builder.value(name).is_empty() {
            builder.set(name, value);
        } else {
            builder.set(&format!("exported_{name}"), value);
        }
    }
    builder.set(NAME, sample.family);
    builder.build()
}

/// All families with their help.
const FAMILIES: [(&str, &str); 30] = [
    ("probe_dns_additional_rrs", "Records in the additional section of the answer."),
    ("probe_dns_answer_rrs", "Records in the answer section of the answer."),
    ("probe_dns_authority_rrs", "Records in the authority section of the answer."),
    ("probe_dns_duration_seconds", "Time of the DNS query by phase, in seconds."),
    ("probe_dns_lookup_time_seconds", "Time of the lookup of the target's name, in seconds."),
    ("probe_dns_query_succeeded", "1 when the DNS query was answered, else 0."),
    ("probe_dns_serial", "The serial number of the zone."),
    ("probe_duration_seconds", "Time of the whole probe, in seconds."),
    ("probe_expect_info", "Always 1; the labels hold what the dialogue's expression found."),
    ("probe_failed_due_to_bytes", "1 when the probe failed because of unexpected bytes, else 0."),
    ("probe_failed_due_to_regex", "1 when the probe failed because of a regular expression, else 0."),
    ("probe_http_content_length", "The length that the answer announced, in bytes; -1 when it did not."),
    ("probe_http_duration_seconds", "Time of the HTTP request by phase, summed over all redirects, in seconds."),
    ("probe_http_last_modified_timestamp_seconds", "The answer's Last-Modified header, seconds since the epoch."),
    ("probe_http_redirects", "Redirects that the probe met."),
    ("probe_http_ssl", "1 when the final request went over TLS, else 0."),
    ("probe_http_status_code", "The status code of the answer; 0 when there was none."),
    ("probe_http_uncompressed_body_length", "The length of the body after decompression, in bytes."),
    ("probe_http_version", "The HTTP version of the answer."),
    ("probe_icmp_duration_seconds", "Time of the ICMP echo by phase, in seconds."),
    ("probe_icmp_reply_hop_limit", "The hop limit (TTL) of the reply."),
    ("probe_ip_addr_hash", "A hash of the target's address: it changes when the address does."),
    ("probe_ip_protocol", "4 or 6."),
    ("probe_ssl_earliest_cert_expiry", "When the first certificate of the chain expires, seconds since the epoch."),
    (
        "probe_ssl_last_chain_expiry_timestamp_seconds",
        "When the last verified chain expires, seconds since the epoch; -62135596800 when none was verified.",
    ),
    ("probe_ssl_last_chain_info", "Always 1; the labels describe the server's certificate."),
    ("probe_success", "1 when the probe succeeded, else 0."),
    ("probe_tls_cipher_info", "Always 1; the label is the cipher suite."),
    ("probe_tls_version_info", "Always 1; the label is the TLS version."),
    ("up", "1 when the collector itself worked, else 0."),
];

/// Type and help of a family.
pub(super) fn meta(family: &str) -> MetricMeta {
    let help = FAMILIES.iter().find(|(name, _)| *name == family).map_or("", |(_, help)| help);
    let unit = if family.ends_with("_seconds") { "seconds" } else { "" };
    MetricMeta { family: family.into(), kind: MetricKind::Gauge, help: help.into(), unit: unit.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_carry_the_targets_labels_and_keep_both_of_a_conflict() {
        let target = Labels::from_pairs([("job", "links"), ("phase", "mine")]);
        let sample = ProbeSample {
            family: "probe_http_duration_seconds",
            labels: vec![("phase".to_owned(), "tls".to_owned())],
            value: 1.0,
        };
        let text = r#"probe_http_duration_seconds{exported_phase="tls", job="links", phase="mine"}"#;
        assert_eq!(series(&target, &sample).to_string(), text);
    }

    #[test]
    fn the_account_is_bounded_and_escaped() {
        let mut sheet = Sheet::default();
        for _ in 0..limits::PROBE_LOG_LINES + 5 {
            sheet.say("a\x1b[31m\nb");
        }
        assert_eq!(sheet.log.len(), limits::PROBE_LOG_LINES);
        assert_eq!(sheet.log[0], "a\\u{1b}[31m\\nb");
    }

    #[test]
    fn adding_and_setting_meet_in_one_series() {
        let mut sheet = Sheet::default();
        sheet.add_with("probe_http_duration_seconds", &[("phase", "tls")], 1.0);
        sheet.add_with("probe_http_duration_seconds", &[("phase", "tls")], 2.0);
        sheet.set("probe_success", 1.0);
        sheet.set("probe_success", 0.0);
        let values: Vec<f64> = sheet.samples.iter().map(|sample| sample.value).collect();
        assert_eq!(values, [3.0, 0.0]);
    }
}
