//! WeCom's group robots (<https://developer.work.weixin.qq.com/document/path/91770>). They answer 200 with `errcode`.

use serde_json::{Value, json};

use super::ctx::cut_bytes;
use super::{Ctx, chat};
use crate::notify::exchange::{Answer, Request};
use crate::notify::form::Form;
use crate::notify::outcome::Outcome;

/// Bytes of a markdown and of a text message.
const MARKDOWN: usize = 4_096;
const TEXT: usize = 2_048;
/// The system is busy; more than 20 messages in a minute; too many at one time.
const LATER: [i64; 3] = [-1, 45_009, 45_033];

pub(super) fn build(ctx: &Ctx<'_>) -> Result<Request, Outcome> {
    let text = ctx.markup(Form::Chat, "message", "{{ template \"wecom.default.message\" . }}")?;
    let (people, mobiles) = (ctx.texts("mentioned_list")?, ctx.texts("mentioned_mobile_list")?);
    let message: Value = if ctx.raw("message_type", "markdown") == "text" {
        json!({"msgtype": "text", "text": {"content": cut_bytes(&text, TEXT), "mentioned_list": people,
            "mentioned_mobile_list": mobiles}})
    } else {
        let called: String = people.iter().map(|id| format!("<@{id}>")).collect();
        let text = if called.is_empty() { text } else { format!("{called}\n{text}") };
        json!({"msgtype": "markdown", "markdown": {"content": cut_bytes(&text, MARKDOWN)}})
    };
    Ok(Request::json(ctx.need("webhook_url")?.expose(), &message))
}

pub(super) fn check(answer: &Answer) -> Result<(), Outcome> {
    chat::judge(answer, ["errcode", "errmsg"], &LATER)
}
