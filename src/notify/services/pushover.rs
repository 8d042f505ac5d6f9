//! Pushover (<https://pushover.net/api>): a form, so that no secret is in an address.

use super::Ctx;
use super::ctx::cut;
use crate::notify::exchange::{Answer, Request};
use crate::notify::form::Form;
use crate::notify::outcome::Outcome;

/// Pushover's limits, in characters.
const TITLE: usize = 250;
const MESSAGE: usize = 1_024;
const LINK: usize = 512;
const LINK_TITLE: usize = 100;

pub(super) fn build(ctx: &Ctx<'_>) -> Result<Request, Outcome> {
    let html = ctx.flag("html");
    let form = if html { Form::Html } else { Form::Text };
    let message = ctx.markup(form, "message", "{{ template \"pushover.default.message\" . }}")?;
    let message = cut(message.trim(), MESSAGE);
    let priority = ctx.text("priority", "{{ if eq .Status \"firing\" }}2{{ else }}0{{ end }}")?;
    let mut fields = vec![
        ("token", ctx.need_expanded("token")?),
        ("user", ctx.need_expanded("user_key")?),
        ("title", cut(&ctx.line(Form::Text, "title", "{{ template \"pushover.default.title\" . }}")?, TITLE)),
        // An empty message would be refused.
        ("message", if message.is_empty() { "(no details)".to_owned() } else { message }),
        ("priority", priority.trim().to_owned()),
    ];
    if priority.trim() == "2" {
        // An emergency is repeated at least every 30 s and for 3 hours at most.
        fields.push(("retry", ctx.seconds("retry", 60).max(30).to_string()));
        fields.push(("expire", ctx.seconds("expire", 3_600).min(10_800).to_string()));
    }
    for (key, name, most) in [("url", "url", LINK), ("device", "device", LINK), ("sound", "sound", LINK)] {
        let default = if key == "url" { "{{ template \"pushover.default.url\" . }}" } else { "" };
        fields.push((name, cut(&ctx.line(Form::Text, key, default)?, most)));
    }
    fields.push(("url_title", cut(&ctx.line(Form::Text, "url_title", "")?, LINK_TITLE)));
    fields.push(("html", if html { "1" } else { "" }.to_owned()));
    fields.push(("monospace", if ctx.flag("monospace") { "1" } else { "" }.to_owned()));
    let ttl = ctx.seconds("ttl", 0);
    fields.push(("ttl", if ttl > 0 { ttl.to_string() } else { String::new() }));
    fields.retain(|(_, value)| !value.is_empty());
    Ok(Request::form(ctx.raw("api_url", "https://api.pushover.net/1/messages.json"), &fields))
}

pub(super) fn check(answer: &Answer) -> Result<(), Outcome> {
    let body = answer.json()?;
    if body["status"] == 1 { Ok(()) } else { Err(Outcome::refused(format!("answered {}", answer.said()))) }
}
