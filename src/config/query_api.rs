//! `query_apis`: central Prometheus-compatible APIs whose answers become series here.

use super::client::Client;
use super::values::{HttpUrl, Interval, LabelPairs};
use crate::model::is_metric_name;
use crate::rules::Query;
use crate::yaml::{At, Decode, Spanned};

/// One of `query_apis`.
#[derive(Clone, Debug)]
pub struct QueryApi {
    pub name: Spanned<String>,
    pub url: Spanned<HttpUrl>,
    pub interval: Spanned<Interval>,
    pub timeout: Spanned<Interval>,
    pub client: Client,
    pub rules: Spanned<Vec<QueryRule>>,
}

impl Decode for QueryApi {
    fn decode(at: &mut At<'_>) -> Option<QueryApi> {
        let doc = "A central Prometheus, Thanos, Mimir or VictoriaMetrics that is asked for what one host cannot know. In a fleet one \
                   host asks, and all get the answer.";
        let mut fields = at.record("query api", doc)?;
        let name: Option<Spanned<String>> = fields.required("name", "unique; for messages and metrics");
        let url: Option<Spanned<HttpUrl>> =
            fields.required("url", "its address, without `/api/v1/query`, for example https://thanos.example.org");
        let interval = fields.or("interval", "15s", "how often it is asked; 1s or more");
        let timeout = fields.or("timeout", "5s", "how long an answer may take; a later one is none");
        let client = Client::read(&mut fields);
        let rules: Option<Spanned<Vec<QueryRule>>> = fields.required("rules", "what it is asked");
        fields.finish();
        Some(QueryApi { name: name?, url: url?, interval, timeout, client, rules: rules? })
    }
}

/// One of its `rules`.
#[derive(Clone, Debug)]
pub struct QueryRule {
    pub record: Spanned<String>,
    pub expr: Query,
    pub labels: LabelPairs,
}

impl Decode for QueryRule {
    fn decode(at: &mut At<'_>) -> Option<QueryRule> {
        let doc =
            "An expression that the API evaluates, and the name of the series that it gives here; as a recording rule.";
        let mut fields = at.record("query rule", doc)?;
        let record: Option<Spanned<String>> = fields.required("record", "the name of the series; other rules read it");
        let expr: Option<Query> = fields.required("expr", "what the API is asked");
        let labels = fields.or("labels", "{}", "labels that are added, or replaced");
        if let Some(record) = record.as_ref().filter(|record| !is_metric_name(&record.value)) {
            fields.push(record.place.error(format!("`{}` is not a metric name", record.value), None));
        }
        fields.finish();
        Some(QueryRule { record: record?, expr: expr?, labels })
    }
}
