//! Mattermost's incoming webhooks (<https://developers.mattermost.com/integrate/webhooks/incoming/>).

use serde_json::{Map, Value, json};

use super::Ctx;
use super::chat;
use super::ctx::{cut, put};
use crate::notify::exchange::Request;
use crate::notify::form::Form;
use crate::notify::outcome::Outcome;

/// Characters of one message; a longer one would be split.
const TEXT: usize = 16_383;
const TEXTS: [&str; 7] = ["fallback", "color", "pretext", "text", "author_name", "title", "footer"];
const LINKS: [&str; 6] = ["author_link", "author_icon", "title_link", "thumb_url", "image_url", "footer_icon"];

pub(super) fn build(ctx: &Ctx<'_>) -> Result<Request, Outcome> {
    let mut message = Map::new();
    let text = ctx.markup(Form::Markdown, "text", "{{ template \"mattermost.default.text\" . }}")?;
    message.insert("text".to_owned(), Value::String(cut(&text, TEXT)));
    put(&mut message, "channel", ctx.text("channel", "")?);
    put(
        &mut message,
        "username",
        ctx.line(Form::Chat, "username", "{{ template \"mattermost.default.username\" . }}")?,
    );
    put(&mut message, "icon_url", ctx.link("icon_url", "")?);
    put(&mut message, "icon_emoji", ctx.text("icon_emoji", "")?);
    put(&mut message, "type", ctx.text("type", "")?);
    let mut attachments = Vec::new();
    if let Some(own) = own_attachment(ctx)? {
        attachments.push(own);
    }
    for tree in ctx.tree("attachments").and_then(Value::as_array).into_iter().flatten() {
        attachments.push(given_attachment(ctx, tree)?);
    }
    if !attachments.is_empty() {
        message.insert("attachments".to_owned(), Value::Array(attachments));
    }
    if let Some(props) = ctx.tree("props") {
        message.insert("props".to_owned(), ctx.expanded_tree(Form::Markdown, "props", props)?);
    }
    if let Some(priority) = priority(ctx)? {
        message.insert("priority".to_owned(), priority);
    }
    Ok(Request::json(ctx.need("webhook_url")?.expose(), &Value::Object(message)))
}

/// The attachment of fields that stand beside `text`: there when one of them was written.
fn own_attachment(ctx: &Ctx<'_>) -> Result<Option<Value>, Outcome> {
    let written = |key: &&str| ctx.settings.fields.contains_key(*key);
    let beside = TEXTS.iter().filter(|key| **key != "text").chain(&LINKS).any(written);
    if !beside && ctx.tree("fields").is_none() {
        return Ok(None);
    }
    let texts = TEXTS.map(|key| match key {
        "fallback" => (key, "{{ template \"mattermost.default.fallback\" . }}"),
        "color" => (key, "{{ template \"mattermost.default.color\" . }}"),
        "title" => (key, "{{ template \"mattermost.default.title\" . }}"),
        key => (key, ""),
    });
    let links = LINKS.map(|key| match key {
        "title_link" => (key, "{{ template \"mattermost.default.titlelink\" . }}"),
        key => (key, ""),
    });
    let mut object = chat::attachment(ctx, Form::Markdown, &texts, &links)?;
    // It is the message itself.
    object.remove("text");
    let fields = chat::fields(ctx, Form::Markdown, ctx.tree("fields"), false)?;
    if !fields.is_empty() {
        object.insert("fields".to_owned(), Value::Array(fields));
    }
    Ok(Some(Value::Object(object)))
}

fn given_attachment(ctx: &Ctx<'_>, tree: &Value) -> Result<Value, Outcome> {
    let mut object = Map::new();
    for key in TEXTS {
        let template = tree[key].as_str().unwrap_or_default();
        put(&mut object, key, cut(&ctx.expand(Form::Markdown, "attachments", template)?, TEXT));
    }
    for key in LINKS {
        let link = ctx.expand(Form::Text, "attachments", tree[key].as_str().unwrap_or_default())?;
        if crate::notify::render::is_web_link(link.trim()) {
            put(&mut object, key, link);
        }
    }
    let fields = chat::fields(ctx, Form::Markdown, tree.get("fields"), false)?;
    if !fields.is_empty() {
        object.insert("fields".to_owned(), Value::Array(fields));
    }
    Ok(Value::Object(object))
}

/// What Mattermost takes: an acknowledgement goes with `important` and `urgent`, repetition with `urgent`.
fn priority(ctx: &Ctx<'_>) -> Result<Option<Value>, Outcome> {
    let Some(tree) = ctx.tree("priority") else { return Ok(None) };
    let word = ctx.expand(Form::Text, "priority", tree["priority"].as_str().unwrap_or_default())?.to_lowercase();
    if word.is_empty() {
        return Ok(None);
    }
    let word = if ["urgent", "important"].contains(&word.as_str()) { word } else { "standard".to_owned() };
    Ok(Some(json!({
        "priority": word,
        "requested_ack": tree["requested_ack"] == true && word != "standard",
        "persistent_notifications": tree["persistent_notifications"] == true && word == "urgent",
    })))
}
