//! Rocket.Chat's `chat.postMessage` (<https://developer.rocket.chat/apidocs/post-message>). It may answer 200 with
//! `"success": false`.

use serde_json::{Map, Value, json};

use super::Ctx;
use super::chat;
use super::ctx::{cut, put};
use crate::notify::exchange::{Answer, Request};
use crate::notify::form::Form;
use crate::notify::outcome::Outcome;

/// Characters of a title, as Alertmanager cuts it.
const TITLE: usize = 1_024;

pub(super) fn build(ctx: &Ctx<'_>) -> Result<Request, Outcome> {
    let markup = [
        ("title", "{{ template \"rocketchat.default.title\" . }}"),
        ("text", "{{ template \"rocketchat.default.text\" . }}"),
        ("color", "{{ if eq .Status \"firing\" }}red{{ else }}green{{ end }}"),
    ];
    let links =
        [("title_link", "{{ template \"rocketchat.default.titlelink\" . }}"), ("image_url", ""), ("thumb_url", "")];
    let mut attachment = chat::attachment(ctx, Form::Chat, &markup, &links)?;
    if let Some(Value::String(title)) = attachment.get_mut("title") {
        *title = cut(title, TITLE);
    }
    let fields = chat::fields(ctx, Form::Chat, ctx.tree("fields"), ctx.flag("short_fields"))?;
    if !fields.is_empty() {
        attachment.insert("fields".to_owned(), Value::Array(fields));
    }
    let mut actions = chat::actions(ctx, Form::Chat, &["text", "url", "msg"])?;
    for action in &mut actions {
        // There is no other kind.
        action["type"] = "button".into();
    }
    if !actions.is_empty() {
        attachment.insert("actions".to_owned(), Value::Array(actions));
    }
    let mut message = Map::new();
    put(&mut message, "channel", ctx.text("channel", "")?);
    put(&mut message, "emoji", ctx.text("emoji", "{{ template \"rocketchat.default.emoji\" . }}")?);
    put(&mut message, "avatar", ctx.link("icon_url", "{{ template \"rocketchat.default.iconurl\" . }}")?);
    message.insert("attachments".to_owned(), json!([attachment]));
    let url = ctx.url("api_url", "https://open.rocket.chat", "api/v1/chat.postMessage");
    let request = Request::json(url, &Value::Object(message));
    let request = request.header("x-auth-token", ctx.need("token")?.expose());
    Ok(request.header("x-user-id", ctx.need("token_id")?.expose()))
}

pub(super) fn check(answer: &Answer) -> Result<(), Outcome> {
    let body = answer.json()?;
    if body["success"] == true {
        return Ok(());
    }
    Err(Outcome::refused(format!("answered success=false: {}", body["error"].as_str().unwrap_or_default())))
}
