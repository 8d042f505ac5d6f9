//! Slack: incoming webhooks (<https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks>) and
//! `chat.postMessage` with a bot's token (<https://docs.slack.dev/reference/methods/chat.postMessage>).
//!
//! A webhook answers `ok` in plain text; the Web API answers 200 with `"ok": false` and an error's name. With
//! `update_message` the group's message is updated in place; which message that is, is kept in memory only, so after a
//! restart a group gets a new one.

use serde_json::{Map, Value, json};

use super::chat;
use super::ctx::{cut, put};
use super::{Ctx, Line};
use crate::notify::exchange::{Answer, Request};
use crate::notify::form::Form;
use crate::notify::outcome::Outcome;
use std::sync::PoisonError;

/// Characters of a title, as Alertmanager cuts it.
const TITLE: usize = 1_024;
/// Characters of a text: Slack cuts longer ones itself (<https://docs.slack.dev/changelog/2018-truncating-really-long-messages>).
const TEXT: usize = 40_000;
/// Messages that are remembered for updates.
const REMEMBERED: usize = 10_000;
const POST: &str = "https://slack.com/api/chat.postMessage";

/// A message that was sent.
#[derive(Clone, Debug)]
pub(in crate::notify) struct Sent {
    channel: String,
    ts: String,
}

pub(super) async fn deliver(line: &Line, ctx: &Ctx<'_>) -> Result<(), Outcome> {
    let updates = ctx.flag("update_message");
    let remembered = || line.memory.sent.lock().unwrap_or_else(PoisonError::into_inner);
    let group = &ctx.notification.group_key;
    let sent = if updates { remembered().get(group).cloned() } else { None };
    let answer = line.exchange.ask(build(ctx, sent.as_ref())?, ctx.now).await?;
    let checked = check(&answer);
    if !updates {
        return checked;
    }
    let mut remembered = remembered();
    if checked.is_err() || !ctx.is_firing() {
        // Deleted by somebody, perhaps: the next try sends a new one.
        remembered.remove(group);
    } else if let Ok(body) = answer.json()
        && let (Some(channel), Some(ts)) = (body["channel"].as_str(), body["ts"].as_str())
        && remembered.len() < REMEMBERED
    {
        remembered.insert(group.clone(), Sent { channel: channel.to_owned(), ts: ts.to_owned() });
    }
    checked
}

fn build(ctx: &Ctx<'_>, sent: Option<&Sent>) -> Result<Request, Outcome> {
    let mut message = Map::new();
    put(&mut message, "channel", ctx.text("channel", "")?);
    put(&mut message, "username", ctx.line(Form::Chat, "username", "{{ template \"slack.default.username\" . }}")?);
    put(&mut message, "icon_emoji", ctx.text("icon_emoji", "{{ template \"slack.default.iconemoji\" . }}")?);
    put(&mut message, "icon_url", ctx.link("icon_url", "{{ template \"slack.default.iconurl\" . }}")?);
    put(&mut message, "text", cut(&ctx.markup(Form::Slack, "message_text", "")?, TEXT));
    if ctx.flag("link_names") {
        message.insert("link_names".to_owned(), Value::Bool(true));
    }
    message.insert("attachments".to_owned(), json!([attachment(ctx)?]));
    let token = ctx.secret("app_token")?;
    let url = match (ctx.secret("api_url")?, &token) {
        (Some(url), _) => url.expose().to_owned(),
        (None, Some(_)) => ctx.raw("app_url", POST).to_owned(),
        (None, None) => return Err(Outcome::refused("neither api_url nor app_token")),
    };
    let url = match sent {
        Some(sent) => {
            put(&mut message, "ts", sent.ts.clone());
            put(&mut message, "channel", sent.channel.clone());
            url.replace("chat.postMessage", "chat.update")
        }
        None => url,
    };
    let request = Request::json(url, &Value::Object(message));
    Ok(match token {
        Some(token) => request.header("authorization", &format!("Bearer {}", token.expose())),
        None => request,
    })
}

fn attachment(ctx: &Ctx<'_>) -> Result<Map<String, Value>, Outcome> {
    let markup = [
        ("title", "{{ template \"slack.default.title\" . }}"),
        ("pretext", "{{ template \"slack.default.pretext\" . }}"),
        ("text", "{{ template \"slack.default.text\" . }}"),
        ("fallback", "{{ template \"slack.default.fallback\" . }}"),
        ("callback_id", "{{ template \"slack.default.callbackid\" . }}"),
        ("footer", "{{ template \"slack.default.footer\" . }}"),
        ("color", "{{ if eq .Status \"firing\" }}danger{{ else }}good{{ end }}"),
    ];
    let links = [("title_link", "{{ template \"slack.default.titlelink\" . }}"), ("image_url", ""), ("thumb_url", "")];
    let mut object = chat::attachment(ctx, Form::Slack, &markup, &links)?;
    for (key, most) in [("title", TITLE), ("text", TEXT), ("fallback", TEXT)] {
        let text = object.get(key).and_then(Value::as_str).unwrap_or_default();
        // Slack asks for a text and a fallback, be they empty.
        let text = cut(text, most);
        object.insert(key.to_owned(), Value::String(text));
    }
    let fields = chat::fields(ctx, Form::Slack, ctx.tree("fields"), ctx.flag("short_fields"))?;
    if !fields.is_empty() {
        object.insert("fields".to_owned(), Value::Array(fields));
    }
    let keys = ["type", "text", "url", "style", "name", "value", "confirm"];
    let mut actions = chat::actions(ctx, Form::Slack, &keys)?;
    if actions.is_empty() {
        let button = |(word, link)| json!({"type": "button", "text": word, "url": link});
        actions = ctx.deeds().into_iter().map(button).collect();
    }
    if !actions.is_empty() {
        object.insert("actions".to_owned(), Value::Array(actions));
    }
    let markdown = ctx.texts("mrkdwn_in")?;
    let markdown = if markdown.is_empty() { json!(["fallback", "pretext", "text"]) } else { json!(markdown) };
    object.insert("mrkdwn_in".to_owned(), markdown);
    Ok(object)
}

/// Errors of the Web API that pass by themselves.
const LATER: [&str; 6] =
    ["ratelimited", "rate_limited", "internal_error", "fatal_error", "service_unavailable", "request_timeout"];

fn check(answer: &Answer) -> Result<(), Outcome> {
    if !answer.is_json {
        let said = answer.said();
        return if said == "ok" { Ok(()) } else { Err(Outcome::refused(format!("answered 200: {said}"))) };
    }
    let body = answer.json()?;
    if body["ok"] == true {
        return Ok(());
    }
    let error = body["error"].as_str().unwrap_or("no error's name");
    let reason = format!("answered ok=false: {error}");
    Err(if LATER.contains(&error) { Outcome::retry(reason) } else { Outcome::refused(reason) })
}
