//! Webex messages (<https://developer.webex.com/docs/api/v1/messages/create-a-message>). The token is `http_config`'s.

use serde_json::json;

use super::Ctx;
use super::ctx::cut_bytes;
use crate::notify::exchange::Request;
use crate::notify::form::Form;
use crate::notify::outcome::Outcome;

/// Bytes of a message.
const MESSAGE: usize = 7_439;

pub(super) fn build(ctx: &Ctx<'_>) -> Result<Request, Outcome> {
    let text = ctx.markup(Form::Markdown, "message", "{{ template \"webex.default.message\" . }}")?;
    let body = json!({"markdown": cut_bytes(&text, MESSAGE), "roomId": ctx.text("room_id", "")?});
    Ok(Request::json(ctx.raw("api_url", "https://webexapis.com/v1/messages"), &body))
}
