//! Microsoft Teams: adaptive cards to a workflow
//! (<https://learn.microsoft.com/en-us/connectors/teams/#microsoft-teams-webhook>), and the older message cards to a
//! connector (<https://learn.microsoft.com/en-us/outlook/actionable-messages/message-card-reference>).
//!
//! A connector answers 200 with the failure in words, among them its rate limit.

use serde_json::{Value, json};

use super::Ctx;
use super::ctx::{cut, fitted};
use crate::notify::exchange::{Answer, Request};
use crate::notify::form::Form;
use crate::notify::outcome::Outcome;

/// A message may have 28 KB; some of it is theirs.
const BYTES: usize = 26_000;
/// Characters of a title.
const TITLE: usize = 1_024;

/// An adaptive card.
pub(super) fn build(ctx: &Ctx<'_>) -> Result<Request, Outcome> {
    let title = ctx.line(Form::Markdown, "title", "{{ template \"msteamsv2.default.title\" . }}")?;
    let text = ctx.markup(Form::Markdown, "text", "{{ template \"msteamsv2.default.text\" . }}")?;
    let (title, colour) = (cut(&title, TITLE), if ctx.is_firing() { "Attention" } else { "Good" });
    let card = |text: &str| -> Value {
        json!({"type": "message", "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive",
            "contentUrl": null,
            "content": {
                "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                "type": "AdaptiveCard",
                "version": "1.4",
                "body": [
                    {"type": "TextBlock", "text": title, "weight": "Bolder", "size": "Medium", "wrap": true,
                        "style": "heading", "color": colour},
                    {"type": "TextBlock", "text": text, "wrap": true},
                ],
                "msteams": {"width": "full"},
            },
        }]})
    };
    Ok(Request::json(ctx.need("webhook_url")?.expose(), &fitted(&text, BYTES, card)))
}

/// A message card.
pub(super) fn build_card(ctx: &Ctx<'_>) -> Result<Request, Outcome> {
    let title = cut(&ctx.line(Form::Markdown, "title", "{{ template \"msteams.default.title\" . }}")?, TITLE);
    let summary = cut(&ctx.line(Form::Markdown, "summary", "{{ template \"msteams.default.summary\" . }}")?, TITLE);
    let text = ctx.markup(Form::Markdown, "text", "{{ template \"msteams.default.text\" . }}")?;
    let colour = if ctx.is_firing() { "8C1A1A" } else { "2DC72D" };
    let card = |text: &str| -> Value {
        json!({"@context": "http://schema.org/extensions", "@type": "MessageCard", "title": title, "summary": summary,
            "text": text, "themeColor": colour})
    };
    Ok(Request::json(ctx.need("webhook_url")?.expose(), &fitted(&text, BYTES, card)))
}

pub(super) fn check(answer: &Answer) -> Result<(), Outcome> {
    let said = answer.said();
    if !said.contains("delivery failed") && !said.contains("HTTP error") {
        return Ok(());
    }
    let reason = format!("answered 200: {said}");
    let wrong = ["HTTP error 400", "HTTP error 401", "HTTP error 403", "HTTP error 404", "HTTP error 413"];
    Err(if wrong.iter().any(|wrong| said.contains(wrong)) { Outcome::refused(reason) } else { Outcome::retry(reason) })
}
