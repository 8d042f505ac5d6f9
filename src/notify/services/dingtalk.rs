//! DingTalk's custom robots (<https://open.dingtalk.com/document/robots/custom-robot-access>). With a secret the address is
//! signed: HMAC-SHA256 over the milliseconds, a line feed and the secret. It answers 200 with `errcode`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Url;
use ring::hmac;
use serde_json::{Value, json};

use super::ctx::{cut, fitted};
use super::{Ctx, chat};
use crate::notify::exchange::{Answer, Request};
use crate::notify::form::Form;
use crate::notify::outcome::Outcome;

/// A message may have 20,000 bytes.
const BYTES: usize = 19_500;
const TITLE: usize = 200;
/// The system is busy; more than 20 messages in a minute.
const LATER: [i64; 5] = [-1, 130_101, 130_102, 410_100, 660_026];

pub(super) fn build(ctx: &Ctx<'_>) -> Result<Request, Outcome> {
    let title = cut(&ctx.line(Form::Chat, "title", "{{ template \"dingtalk.default.title\" . }}")?, TITLE);
    let mut text = ctx.markup(Form::Chat, "message", "{{ template \"dingtalk.default.message\" . }}")?;
    let mobiles = ctx.texts("at_mobiles")?;
    // Who is to be called must stand in the text too.
    let called: String = mobiles.iter().map(|mobile| format!(" @{mobile}")).collect();
    if !called.is_empty() {
        text = format!("{}\n\n{text}", called.trim());
    }
    let message = |text: &str| -> Value {
        json!({"msgtype": "markdown", "markdown": {"title": title, "text": text},
            "at": {"atMobiles": mobiles, "isAtAll": ctx.flag("at_all")}})
    };
    let url = ctx.need("webhook_url")?;
    let mut url = url.expose().to_owned();
    if let Some(secret) = ctx.secret("secret")? {
        url = signed(&url, secret.expose(), ctx.now.as_millis()).ok_or_else(|| {
            Outcome::retry("the URL is none: write https://oapi.dingtalk.com/robot/send?access_token=...")
        })?;
    }
    Ok(Request::json(url, &fitted(&text, BYTES, message)))
}

fn signed(url: &str, secret: &str, millis: i64) -> Option<String> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let sign = STANDARD.encode(hmac::sign(&key, format!("{millis}\n{secret}").as_bytes()));
    let mut url = Url::parse(url).ok()?;
    url.query_pairs_mut().append_pair("timestamp", &millis.to_string()).append_pair("sign", &sign);
    Some(url.into())
}

pub(super) fn check(answer: &Answer) -> Result<(), Outcome> {
    chat::judge(answer, ["errcode", "errmsg"], &LATER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_signed_as_the_documentation_does_it() {
        // By Python's hmac, base64 and urllib.parse.quote_plus, as in the documentation's own example.
        assert_eq!(
            signed("https://oapi.dingtalk.com/robot/send?access_token=x", "this is secret", 1_577_262_236_757).unwrap(),
            "https://oapi.dingtalk.com/robot/send?access_token=x&timestamp=1577262236757&sign=hmPWwU%2B7lVdm3ZZz0r9tSfx0L4Q26jWOZr9%2BGs6EZQM%3D"
        );
    }
}
