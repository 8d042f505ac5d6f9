//! Telegram's `sendMessage` (<https://core.telegram.org/bots/api#sendmessage>).
//!
//! A message that is too long loses its markup with what is cut: half a tag would be refused.

use serde_json::{Map, Value, json};

use super::Ctx;
use super::ctx::put;
use crate::notify::exchange::{Answer, Request};
use crate::notify::form::Form;
use crate::notify::outcome::Outcome;

/// Characters of a message, counted in UTF-16 as Telegram does.
const TEXT: usize = 4_096;

pub(super) fn build(ctx: &Ctx<'_>) -> Result<Request, Outcome> {
    let mut mode = ctx.raw("parse_mode", "HTML");
    let form = match mode {
        "HTML" => Form::ChatHtml,
        "Markdown" => Form::TelegramMarkdown,
        "MarkdownV2" => Form::TelegramMarkdownV2,
        _ => Form::Chat,
    };
    let mut text = ctx.markup(form, "message", "{{ template \"telegram.default.message\" . }}")?;
    if text.encode_utf16().count() > TEXT {
        if mode == "HTML" {
            text = without_tags(&text);
        }
        (text, mode) = (cut_utf16(&text, TEXT), "");
    }
    let chat = match ctx.number("chat_id") {
        Some(number) => Value::from(number),
        None => {
            let chat = ctx.need("chat_id")?;
            chat.expose().parse::<i64>().map_or_else(|_| Value::from(chat.expose()), Value::from)
        }
    };
    let mut message = Map::new();
    message.insert("chat_id".to_owned(), chat);
    message.insert("text".to_owned(), Value::String(text));
    message.insert("disable_notification".to_owned(), Value::Bool(ctx.flag("disable_notifications")));
    message.insert("link_preview_options".to_owned(), json!({"is_disabled": true}));
    let buttons: Vec<Value> = ctx.deeds().into_iter().map(|(word, link)| json!({"text": word, "url": link})).collect();
    if !buttons.is_empty() {
        message.insert("reply_markup".to_owned(), json!({"inline_keyboard": [buttons]}));
    }
    put(&mut message, "parse_mode", mode.to_owned());
    if let Some(thread) = ctx.number("message_thread_id").filter(|thread| *thread != 0) {
        message.insert("message_thread_id".to_owned(), Value::from(thread));
    }
    let path = format!("bot{}/sendMessage", ctx.need("bot_token")?.expose());
    Ok(Request::json(ctx.url("api_url", "https://api.telegram.org", &path), &Value::Object(message)))
}

pub(super) fn check(answer: &Answer) -> Result<(), Outcome> {
    let body = answer.json()?;
    if body["ok"] == true {
        return Ok(());
    }
    let said = body["description"].as_str().unwrap_or_default();
    Err(Outcome::refused(format!("answered ok=false {}: {said}", body["error_code"])))
}

/// The text that HTML shows.
fn without_tags(html: &str) -> String {
    let (mut out, mut inside) = (String::with_capacity(html.len()), false);
    for c in html.chars() {
        match c {
            '<' => inside = true,
            '>' if inside => inside = false,
            c if !inside => out.push(c),
            _ => {}
        }
    }
    let entities = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#34;", "\""), ("&#39;", "'"), ("&#43;", "+")];
    for (entity, plain) in entities {
        out = out.replace(entity, plain);
    }
    out.replace("&amp;", "&")
}

fn cut_utf16(text: &str, most: usize) -> String {
    let mut room = most.saturating_sub(1);
    let kept = text.chars().take_while(|c| match room.checked_sub(c.len_utf16()) {
        Some(left) => {
            room = left;
            true
        }
        None => false,
    });
    kept.collect::<String>() + "…"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_loses_its_markup() {
        assert_eq!(without_tags("<b>a &lt;b&gt; &amp;amp; it&#39;s</b>"), "a <b> &amp; it's");
        assert_eq!(cut_utf16("a😀😀b", 4), "a😀…");
        assert_eq!(cut_utf16("😀😀😀", 5).encode_utf16().count(), 5);
    }
}
