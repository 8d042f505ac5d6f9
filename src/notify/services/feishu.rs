//! Feishu's and Lark's custom bots (<https://open.feishu.cn/document/client-docs/bot-v3/add-custom-bot>): a card. With a
//! secret the body is signed: the key is the seconds, a line feed and the secret, and what is signed is nothing. It answers
//! 200 with `code`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use serde_json::{Value, json};

use super::ctx::{cut, fitted};
use super::{Ctx, chat};
use crate::notify::exchange::{Answer, Request};
use crate::notify::form::Form;
use crate::notify::outcome::Outcome;

/// A request may have 20 KB.
const BYTES: usize = 19_500;
const TITLE: usize = 200;
/// Too many at one time; an error of theirs.
const LATER: [i64; 4] = [11_232, 11_233, 1_500, 1_551];

pub(super) fn build(ctx: &Ctx<'_>) -> Result<Request, Outcome> {
    let title = cut(&ctx.line(Form::Chat, "title", "{{ template \"feishu.default.title\" . }}")?, TITLE);
    let text = ctx.markup(Form::Chat, "message", "{{ template \"feishu.default.message\" . }}")?;
    let seconds = ctx.now.as_millis().div_euclid(1_000);
    let signature = ctx.secret("secret")?.map(|secret| sign(secret.expose(), seconds));
    let colour = if ctx.is_firing() { "red" } else { "green" };
    let button = |(word, link): (&str, String)| json!({"tag": "button", "type": "default", "text": {"tag": "plain_text", "content": word}, "url": link});
    let buttons: Vec<Value> = ctx.deeds().into_iter().map(button).collect();
    let message = |text: &str| -> Value {
        let mut elements = vec![json!({"tag": "markdown", "content": text})];
        if !buttons.is_empty() {
            elements.push(json!({"tag": "action", "actions": buttons}));
        }
        let mut message = json!({"msg_type": "interactive", "card": {
            "config": {"wide_screen_mode": true},
            "header": {"title": {"tag": "plain_text", "content": title}, "template": colour},
            "elements": elements,
        }});
        if let Some(signature) = &signature {
            message["timestamp"] = seconds.to_string().into();
            message["sign"] = signature.as_str().into();
        }
        message
    };
    Ok(Request::json(ctx.need("webhook_url")?.expose(), &fitted(&text, BYTES, message)))
}

fn sign(secret: &str, seconds: i64) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, format!("{seconds}\n{secret}").as_bytes());
    STANDARD.encode(hmac::sign(&key, b""))
}

pub(super) fn check(answer: &Answer) -> Result<(), Outcome> {
    // An older form of the same answer.
    if answer.json()?["StatusCode"] == 0 {
        return Ok(());
    }
    chat::judge(answer, ["code", "msg"], &LATER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_that_of_the_documentation() {
        // By Python's hmac and base64, as in the documentation's own example.
        assert_eq!(sign("demo", 1_599_360_473), "l1N0gAcBjdwBvGm1xMjOF0XSyaLRpR7tuO5dHfhAYc8=");
    }
}
