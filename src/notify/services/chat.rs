//! What chat services share: lists of fields and buttons, and answers with an error's number in them.

use serde_json::{Map, Value, json};

use super::Ctx;
use super::ctx::put;
use crate::notify::exchange::Answer;
use crate::notify::form::Form;
use crate::notify::outcome::Outcome;
use crate::notify::render::{is_web_link, one_line};

/// The `fields` of an attachment: title, value, and whether two stand side by side.
pub(super) fn fields(ctx: &Ctx<'_>, form: Form, tree: Option<&Value>, short: bool) -> Result<Vec<Value>, Outcome> {
    let items = tree.and_then(Value::as_array).into_iter().flatten();
    items
        .map(|item| {
            let short = item["short"].as_bool().unwrap_or(short);
            let item = ctx.expanded_tree(form, "fields", item)?;
            Ok(json!({"title": item["title"], "value": item["value"], "short": short}))
        })
        .collect()
}

/// The `actions` of an attachment: only the keys that are known, and only web links.
pub(super) fn actions(ctx: &Ctx<'_>, form: Form, keys: &[&str]) -> Result<Vec<Value>, Outcome> {
    let items = ctx.tree("actions").and_then(Value::as_array).into_iter().flatten();
    items
        .map(|item| {
            let mut action = Map::new();
            for key in keys {
                let Some(given) = item.get(*key) else { continue };
                let form = if *key == "url" { Form::Text } else { form };
                let value = ctx.expanded_tree(form, "actions", given)?;
                if *key != "url" || value.as_str().is_some_and(|url| is_web_link(url.trim())) {
                    action.insert((*key).to_owned(), value);
                }
            }
            Ok(Value::Object(action))
        })
        .collect()
}

/// Puts texts of an attachment in, each under its own name: those in `markup` in the service's markup, links as links.
pub(super) fn attachment(
    ctx: &Ctx<'_>,
    form: Form,
    markup: &[(&str, &str)],
    links: &[(&str, &str)],
) -> Result<Map<String, Value>, Outcome> {
    let mut object = Map::new();
    for (key, default) in markup {
        put(&mut object, key, ctx.markup(form, key, default)?);
    }
    for (key, default) in links {
        put(&mut object, key, ctx.link(key, default)?);
    }
    Ok(object)
}

/// Judges an answer of the form `{"errcode": 0, "errmsg": "ok"}`: zero is success, `later` is worth another try.
pub(super) fn judge(answer: &Answer, names: [&str; 2], later: &[i64]) -> Result<(), Outcome> {
    let body = answer.json()?;
    let Some(code) = body[names[0]].as_i64() else {
        return Err(Outcome::retry(format!("answered {:?}, without {}", answer.said(), names[0])));
    };
    let reason = format!("answered {} {code}: {}", names[0], one_line(body[names[1]].as_str().unwrap_or_default()));
    match code {
        0 => Ok(()),
        code if later.contains(&code) => Err(Outcome::retry(reason)),
        _ => Err(Outcome::refused(reason)),
    }
}
