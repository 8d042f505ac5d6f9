//! Splunk On-Call, once VictorOps: its REST endpoint
//! (<https://help.victorops.com/knowledge-base/rest-endpoint-integration-guide/>). It answers with `result`.

use serde_json::{Map, Value};

use super::Ctx;
use super::ctx::cut;
use crate::notify::exchange::{Answer, Request};
use crate::notify::form::Form;
use crate::notify::outcome::Outcome;

/// Characters of a state message.
const MESSAGE: usize = 20_480;
const URL: &str = "https://alert.victorops.com/integrations/generic/20131114/alert";

pub(super) fn build(ctx: &Ctx<'_>) -> Result<Request, Outcome> {
    let kind = ctx.text("message_type", "CRITICAL")?;
    let kind = match kind.as_str() {
        _ if !ctx.is_firing() => "RECOVERY",
        "INFO" | "WARNING" => &kind,
        _ => "CRITICAL",
    };
    let state = ctx.text("state_message", "{{ template \"victorops.default.state_message\" . }}")?;
    let name =
        ctx.line(Form::Text, "entity_display_name", "{{ template \"victorops.default.entity_display_name\" . }}")?;
    let tool = ctx.line(Form::Text, "monitoring_tool", "{{ template \"victorops.default.monitoring_tool\" . }}")?;
    let mut message: Map<String, Value> =
        ctx.pairs("custom_fields", &[])?.into_iter().map(|(key, value)| (key, Value::String(value))).collect();
    for (key, text) in [
        ("message_type", kind.to_owned()),
        ("entity_id", ctx.incident()),
        ("entity_display_name", name),
        ("state_message", cut(&state, MESSAGE)),
        ("monitoring_tool", tool),
    ] {
        message.insert(key.to_owned(), Value::String(text));
    }
    let route = ctx.text("routing_key", "")?;
    let path = format!("{}/{}", path_word(ctx.need("api_key")?.expose()), path_word(&route));
    Ok(Request::json(ctx.url("api_url", URL, &path), &Value::Object(message)))
}

pub(super) fn check(answer: &Answer) -> Result<(), Outcome> {
    // What is no JSON came with a 2xx, which is all that is promised.
    match answer.json() {
        Ok(body) if body["result"] == "failure" => {
            let said = body["message"].as_str().unwrap_or_default();
            Err(Outcome::refused(format!("answered result=failure: {said}")))
        }
        _ => Ok(()),
    }
}

/// One part of a path: a label cannot lead elsewhere.
pub(super) fn path_word(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}
