//! `remote_write`: Prometheus' grammar.

use std::time::Duration;

use super::client::Client;
use super::targets::Step;
use super::values::{ByteCount, Entries, Interval, SecretUrl, pass_over, refuse};
use crate::net::Secret;
use crate::yaml::{At, Decode, Fields, Problem, Spanned};

/// One of `remote_write`.
#[derive(Clone, Debug)]
pub struct RemoteWrite {
    pub url: Spanned<SecretUrl>,
    pub name: Option<Spanned<String>>,
    pub remote_timeout: Interval,
    pub headers: Entries<Secret>,
    pub write_relabel_configs: Vec<Step>,
    pub client: Client,
    pub queue: Queue,
    pub metadata: Metadata,
    pub refused: Vec<Problem>,
}

impl Decode for RemoteWrite {
    fn decode(at: &mut At<'_>) -> Option<RemoteWrite> {
        let doc = "A program that gets every sample of this host, over Prometheus' remote write 1.0. As in Prometheus.";
        let mut fields = at.record("remote write", doc)?;
        let url: Option<Spanned<SecretUrl>> =
            fields.required("url", "where samples go, for example https://central/api/v1/write");
        let name = fields.optional(
            "name",
            "unique; in our own metrics and in the path of the queue; if missing made of the address",
        );
        let remote_timeout = fields.or("remote_timeout", "30s", "how long a request may take");
        let headers = fields.or("headers", "{}", "further headers");
        let write_relabel_configs =
            fields.or("write_relabel_configs", "[]", "steps that rename, keep or drop samples on their way");
        let client = Client::read(&mut fields);
        let queue = fields.or("queue_config", "{}", "how samples are gathered, kept and sent again");
        let metadata = fields.or("metadata_config", "{}", "types and help texts");
        let mut refused = Vec::new();
        message(&mut fields, &mut refused);
        pass_over(&mut fields, &["send_exemplars", "send_native_histograms", "round_robin_dns"]);
        let help = "use `authorization` with a token, or a proxy that signs";
        let keys = ["sigv4", "azuread", "google_iam"];
        refuse(&mut fields, &keys, "`{}` is not supported in this version", help, &mut refused);
        fields.finish();
        Some(RemoteWrite {
            url: url?,
            name,
            remote_timeout,
            headers,
            write_relabel_configs,
            client,
            queue,
            metadata,
            refused,
        })
    }
}

/// Only version 1.0 is spoken.
fn message(fields: &mut Fields<'_>, refused: &mut Vec<Problem>) {
    let place = fields.place_of("protobuf_message");
    let given: Option<String> = fields.hidden("protobuf_message");
    if given.is_some_and(|given| given != "prometheus.WriteRequest") {
        let help = "remove it: `prometheus.WriteRequest` is what every receiver takes";
        refused.push(place.error("only remote write 1.0 is supported", Some(help.to_owned())));
    }
}

/// `queue_config`.
#[derive(Clone, Copy, Debug)]
pub struct Queue {
    pub max_samples_per_send: Count,
    pub batch_send_deadline: Interval,
    pub min_backoff: Interval,
    pub max_backoff: Interval,
    pub retry_on_http_429: bool,
    pub sample_age_limit: Duration,
    pub max_disk_usage: ByteCount,
}

/// A number from 1 on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count(pub usize);

impl Decode for Count {
    fn decode(at: &mut At<'_>) -> Option<Count> {
        at.scalar("a number", |text| match text.parse() {
            Ok(number) if (1..=100_000).contains(&number) => Ok(Count(number)),
            _ => Err(format!("expected a number from 1 to 100000, found `{text}`")),
        })
    }
}

impl Decode for Queue {
    fn decode(at: &mut At<'_>) -> Option<Queue> {
        let doc = "How samples are gathered, kept on the disk and sent again. Requests go out one at a time, in order.";
        let mut fields = at.record("queue config", doc)?;
        let max_samples_per_send = fields.or("max_samples_per_send", "2000", "samples in one request");
        let batch_send_deadline = fields.or(
            "batch_send_deadline",
            "1s",
            "the longest that a sample waits for others; a killed daemon loses what waits (5s in Prometheus)",
        );
        let min_backoff = fields.or("min_backoff", "30ms", "the pause behind the first failure; it doubles");
        let max_backoff = fields.or("max_backoff", "5s", "the longest pause, unless the receiver asks for more");
        let retry_on_http_429 = fields.or(
            "retry_on_http_429",
            "true",
            "false: samples that come too fast for the receiver are dropped (as in Prometheus)",
        );
        let sample_age_limit =
            fields.or("sample_age_limit", "0s", "older samples are dropped instead of sent; 0s: none");
        let max_disk_usage = fields.or(
            "max_disk_usage",
            "256MB",
            "what the queue may take on the disk while the receiver is away; past it the oldest samples are dropped (Brownout's own)",
        );
        pass_over(&mut fields, &["capacity", "max_shards", "min_shards"]);
        fields.finish();
        Some(Queue {
            max_samples_per_send,
            batch_send_deadline,
            min_backoff,
            max_backoff,
            retry_on_http_429,
            sample_age_limit,
            max_disk_usage,
        })
    }
}

/// `metadata_config`.
#[derive(Clone, Copy, Debug)]
pub struct Metadata {
    pub send: bool,
    pub send_interval: Interval,
    pub max_samples_per_send: Count,
}

impl Decode for Metadata {
    fn decode(at: &mut At<'_>) -> Option<Metadata> {
        let mut fields = at.record("metadata config", "Types and help texts of families, sent now and then.")?;
        let send = fields.or("send", "true", "whether they are sent");
        let send_interval = fields.or("send_interval", "1m", "how often");
        let max_samples_per_send = fields.or("max_samples_per_send", "2000", "families in one request");
        fields.finish();
        Some(Metadata { send, send_interval, max_samples_per_send })
    }
}
