//! ntfy: a message published as JSON (<https://docs.ntfy.sh/publish/#publish-as-json>).

use serde_json::{Map, Value, json};

use super::Ctx;
use super::ctx::{cut, cut_bytes, put};
use crate::notify::exchange::Request;
use crate::notify::form::Form;
use crate::notify::outcome::Outcome;

/// Bytes of a message; a longer one would become an attachment.
const MESSAGE: usize = 4_096;
const TITLE: usize = 250;
const TAGS: usize = 10;

pub(super) fn build(ctx: &Ctx<'_>) -> Result<Request, Outcome> {
    let markdown = ctx.flag("markdown");
    let form = if markdown { Form::Markdown } else { Form::Text };
    let text = ctx.markup(form, "message", "{{ template \"ntfy.default.message\" . }}")?;
    let mut message = Map::new();
    put(&mut message, "topic", ctx.text("topic", "")?);
    put(&mut message, "title", cut(&ctx.line(Form::Text, "title", "{{ template \"ntfy.default.title\" . }}")?, TITLE));
    put(&mut message, "message", cut_bytes(text.trim(), MESSAGE));
    put(&mut message, "click", ctx.link("click", "{{ template \"ntfy.default.click\" . }}")?);
    put(&mut message, "icon", ctx.link("icon", "")?);
    let level = ctx.text("priority", "{{ if eq .Status \"firing\" }}high{{ else }}default{{ end }}")?;
    message.insert("priority".to_owned(), json!(priority(level.trim())));
    let mut tags = ctx.texts("tags")?;
    if !ctx.settings.fields.contains_key("tags") {
        tags = vec![if ctx.is_firing() { "rotating_light" } else { "white_check_mark" }.to_owned()];
    }
    tags.truncate(TAGS);
    message.insert("tags".to_owned(), json!(tags));
    let view = |(word, link)| json!({"action": "view", "label": word, "url": link});
    let actions: Vec<Value> = ctx.deeds().into_iter().map(view).collect();
    if !actions.is_empty() {
        message.insert("actions".to_owned(), Value::Array(actions));
    }
    if markdown {
        message.insert("markdown".to_owned(), Value::Bool(true));
    }
    let request = Request::json(ctx.url("url", "https://ntfy.sh", ""), &Value::Object(message));
    Ok(match ctx.secret("token")? {
        Some(token) => request.header("authorization", &format!("Bearer {}", token.expose())),
        None => request,
    })
}

/// A number from 1 to 5, or its word; what is neither is usual.
fn priority(word: &str) -> u8 {
    match word {
        "1" | "min" => 1,
        "2" | "low" => 2,
        "4" | "high" => 4,
        "5" | "max" | "urgent" => 5,
        _ => 3,
    }
}
