//! PagerDuty's Events API v2 (<https://developer.pagerduty.com/docs/send-alert-event>), and v1 where there is a
//! `service_key`. `dedup_key` is the incident's: the same over all tries, all messages, and Alertmanager.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::Ctx;
use super::ctx::{cut, put};
use crate::notify::exchange::Request;
use crate::notify::form::Form;
use crate::notify::outcome::Outcome;
use crate::notify::render::is_web_link;

/// An event, in bytes.
const EVENT: usize = 512_000;
/// Characters of a summary.
const SUMMARY: usize = 1_024;
const V1: &str = "https://events.pagerduty.com/generic/2010-04-15/create_event.json";
const V2: &str = "https://events.pagerduty.com/v2/enqueue";
const SEVERITIES: [&str; 4] = ["critical", "error", "warning", "info"];
const DETAILS: [(&str, &str); 4] = [
    ("firing", "{{ template \"pagerduty.default.instances\" .Alerts.Firing }}"),
    ("resolved", "{{ template \"pagerduty.default.instances\" .Alerts.Resolved }}"),
    ("num_firing", "{{ .Alerts.Firing | len }}"),
    ("num_resolved", "{{ .Alerts.Resolved | len }}"),
];

pub(super) fn build(ctx: &Ctx<'_>) -> Result<Request, Outcome> {
    let details = ctx.pairs("details", &DETAILS)?;
    if ctx.settings.fields.contains_key("routing_key") { v2(ctx, &details) } else { v1(ctx, &details) }
}

fn summary(ctx: &Ctx<'_>) -> Result<String, Outcome> {
    Ok(cut(&ctx.line(Form::Text, "description", "{{ template \"pagerduty.default.description\" . }}")?, SUMMARY))
}

fn client(ctx: &Ctx<'_>, event: &mut Map<String, Value>) -> Result<(), Outcome> {
    put(event, "client", ctx.line(Form::Text, "client", "{{ template \"pagerduty.default.client\" . }}")?);
    put(event, "client_url", ctx.link("client_url", "{{ template \"pagerduty.default.clientURL\" . }}")?);
    Ok(())
}

fn v2(ctx: &Ctx<'_>, details: &BTreeMap<String, String>) -> Result<Request, Outcome> {
    let mut payload = Map::new();
    payload.insert("summary".to_owned(), Value::String(summary(ctx)?));
    let source = ctx.raw("source", ctx.raw("client", "{{ template \"pagerduty.default.client\" . }}"));
    payload.insert("source".to_owned(), Value::String(ctx.expand(Form::Text, "source", source)?));
    let severity = ctx.text("severity", "error")?.to_lowercase();
    // Another word would be refused, and the event with it.
    let severity = if SEVERITIES.contains(&severity.as_str()) { severity } else { "error".to_owned() };
    payload.insert("severity".to_owned(), Value::String(severity));
    for key in ["class", "component", "group"] {
        put(&mut payload, key, ctx.text(key, "")?);
    }
    let mut event = Map::new();
    event.insert("routing_key".to_owned(), Value::String(ctx.need_expanded("routing_key")?));
    event.insert("event_action".to_owned(), if ctx.is_firing() { "trigger" } else { "resolve" }.into());
    event.insert("dedup_key".to_owned(), Value::String(ctx.incident()));
    client(ctx, &mut event)?;
    event.insert("images".to_owned(), listed(ctx, "images", "src")?);
    let mut links = listed(ctx, "links", "href")?;
    if let Some(links) = links.as_array_mut() {
        links.extend(ctx.deeds().into_iter().map(|(word, link)| json!({"href": link, "text": word})));
    }
    event.insert("links".to_owned(), links);
    let event = within(details, |details| {
        let (mut event, mut payload) = (event.clone(), payload.clone());
        payload.insert("custom_details".to_owned(), details);
        event.insert("payload".to_owned(), Value::Object(payload));
        Value::Object(event)
    });
    Ok(Request::json(ctx.raw("url", V2), &event))
}

fn v1(ctx: &Ctx<'_>, details: &BTreeMap<String, String>) -> Result<Request, Outcome> {
    let mut event = Map::new();
    event.insert("service_key".to_owned(), Value::String(ctx.need_expanded("service_key")?));
    event.insert("event_type".to_owned(), if ctx.is_firing() { "trigger" } else { "resolve" }.into());
    event.insert("incident_key".to_owned(), Value::String(ctx.incident()));
    event.insert("description".to_owned(), Value::String(summary(ctx)?));
    if ctx.is_firing() {
        client(ctx, &mut event)?;
    }
    let event = within(details, |details| {
        let mut event = event.clone();
        event.insert("details".to_owned(), details);
        Value::Object(event)
    });
    let mut request = Request::json(ctx.raw("url", V1), &event);
    // Its rate limit.
    request.later = &[403];
    Ok(request)
}

/// `images` or `links`: those whose address is one.
fn listed(ctx: &Ctx<'_>, key: &str, address: &str) -> Result<Value, Outcome> {
    let mut list = Vec::new();
    for item in ctx.tree(key).and_then(Value::as_array).into_iter().flatten() {
        let item = ctx.expanded_tree(Form::Text, key, item)?;
        if item[address].as_str().is_some_and(is_web_link) {
            list.push(item);
        }
    }
    Ok(Value::Array(list))
}

/// The event with its details, or where they are too long with a word about them.
fn within(details: &BTreeMap<String, String>, event: impl Fn(Value) -> Value) -> Value {
    let whole = event(json!(details));
    if whole.to_string().len() <= EVENT {
        return whole;
    }
    event(json!({"error": format!("the details are left out: with them the event had more than {EVENT} bytes")}))
}
