//! Discord webhooks (<https://discord.com/developers/docs/resources/webhook#execute-webhook>).
//!
//! Only mentions that the configuration itself spells out in `content` are allowed to notify.

use serde_json::{Map, Value, json};

use super::Ctx;
use super::ctx::{cut, put};
use crate::notify::exchange::Request;
use crate::notify::form::Form;
use crate::notify::outcome::Outcome;

/// <https://discord.com/developers/docs/resources/message#embed-object-embed-limits>, in characters.
const TITLE: usize = 256;
const DESCRIPTION: usize = 4_096;
const CONTENT: usize = 2_000;
const USERNAME: usize = 80;
const RED: u32 = 0x99_2d_22;
const GREEN: u32 = 0x2e_cc_71;

pub(super) fn build(ctx: &Ctx<'_>) -> Result<Request, Outcome> {
    let title = ctx.line(Form::Markdown, "title", "{{ template \"discord.default.title\" . }}")?;
    let text = ctx.markup(Form::Markdown, "message", "{{ template \"discord.default.message\" . }}")?;
    let mut message = Map::new();
    let default = "{{ template \"discord.default.content\" . }}";
    put(&mut message, "content", cut(&ctx.markup(Form::Markdown, "content", default)?, CONTENT));
    put(&mut message, "username", cut(&ctx.line(Form::Chat, "username", "")?, USERNAME));
    put(&mut message, "avatar_url", ctx.link("avatar_url", "")?);
    let colour = if ctx.is_firing() { RED } else { GREEN };
    let embed = json!({"title": cut(&title, TITLE), "description": cut(&text, DESCRIPTION), "color": colour});
    message.insert("embeds".to_owned(), json!([embed]));
    message.insert("allowed_mentions".to_owned(), json!({"parse": mentions(ctx.raw("content", ""))}));
    Ok(Request::json(ctx.need("webhook_url")?.expose(), &Value::Object(message)))
}

/// The kinds of mentions that stand in the template itself.
fn mentions(template: &str) -> Vec<&'static str> {
    let everyone = template.contains("@everyone") || template.contains("@here");
    let roles = template.contains("<@&");
    let users = template.replace("<@&", "").contains("<@");
    [("everyone", everyone), ("roles", roles), ("users", users)]
        .into_iter()
        .filter_map(|(kind, there)| there.then_some(kind))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_mentions_of_the_template_itself_are_allowed() {
        assert_eq!(mentions("{{ .CommonLabels.team }}"), Vec::<&str>::new());
        assert_eq!(mentions("@here <@&12>"), ["everyone", "roles"]);
        assert_eq!(mentions("<@34>"), ["users"]);
    }
}
