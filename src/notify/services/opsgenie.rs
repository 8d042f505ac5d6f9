//! Opsgenie's Alert API (<https://docs.opsgenie.com/docs/alert-api>). The alias is the incident's name, so creating it again
//! only counts, and closing needs no memory.

use reqwest::Method;
use serde_json::{Map, Value, json};

use super::ctx::{cut, put};
use super::{Ctx, Line};
use crate::notify::exchange::Request;
use crate::notify::form::Form;
use crate::notify::outcome::Outcome;

/// Opsgenie's limits, in characters and items.
const MESSAGE: usize = 130;
const DESCRIPTION: usize = 15_000;
const SOURCE: usize = 100;
const ENTITY: usize = 512;
const NOTE: usize = 25_000;
const DETAIL: usize = 2_000;
const LISTED: usize = 50;
const TAGS: usize = 20;
const ACTIONS: usize = 10;

pub(super) async fn deliver(line: &Line, ctx: &Ctx<'_>) -> Result<(), Outcome> {
    let key = format!("GenieKey {}", ctx.need_expanded("api_key")?.trim());
    for request in requests(ctx)? {
        line.exchange.post(request.header("authorization", &key), ctx.now).await?;
    }
    Ok(())
}

fn requests(ctx: &Ctx<'_>) -> Result<Vec<Request>, Outcome> {
    let alias = ctx.incident();
    let url = |path: &str| ctx.url("api_url", "https://api.opsgenie.com", path);
    let of_alias = |what: &str| url(&format!("v2/alerts/{alias}/{what}?identifierType=alias"));
    let source = cut(&ctx.line(Form::Text, "source", "{{ template \"opsgenie.default.source\" . }}")?, SOURCE);
    if !ctx.is_firing() {
        return Ok(vec![Request::json(of_alias("close"), &json!({"source": source}))]);
    }
    let message = ctx.line(Form::Text, "message", "{{ template \"opsgenie.default.message\" . }}")?;
    let message = cut(&message, MESSAGE);
    let description = ctx.text("description", "{{ template \"opsgenie.default.description\" . }}")?;
    let description = cut(&description, DESCRIPTION);
    let mut details = ctx.notification.common_labels.clone();
    details.extend(ctx.pairs("details", &[])?);
    details.values_mut().for_each(|value| *value = cut(&crate::notify::render::plain(value), DETAIL));
    let mut alert = Map::new();
    put(&mut alert, "alias", alias.clone());
    put(&mut alert, "message", message.clone());
    put(&mut alert, "description", description.clone());
    put(&mut alert, "source", source);
    put(&mut alert, "note", cut(&ctx.text("note", "")?, NOTE));
    put(&mut alert, "priority", ctx.text("priority", "")?);
    put(&mut alert, "entity", cut(&ctx.text("entity", "")?, ENTITY));
    alert.insert("details".to_owned(), json!(details));
    for (key, most) in [("tags", TAGS), ("actions", ACTIONS)] {
        let list = split(&ctx.text(key, "")?, most);
        if !list.is_empty() {
            alert.insert(key.to_owned(), json!(list));
        }
    }
    let responders = responders(ctx)?;
    if !responders.is_empty() {
        alert.insert("responders".to_owned(), Value::Array(responders));
    }
    let mut requests = vec![Request::json(url("v2/alerts"), &Value::Object(alert))];
    if ctx.flag("update_alerts") {
        requests.push(Request::json(of_alias("message"), &json!({"message": message})).by(Method::PUT));
        requests.push(Request::json(of_alias("description"), &json!({"description": description})).by(Method::PUT));
    }
    Ok(requests)
}

fn split(text: &str, most: usize) -> Vec<String> {
    let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
    items.take(most).map(|item| cut(item, LISTED)).collect()
}

/// Those that are not empty; `teams` is a list of teams in one.
fn responders(ctx: &Ctx<'_>) -> Result<Vec<Value>, Outcome> {
    let mut all = Vec::new();
    for item in ctx.tree("responders").and_then(Value::as_array).into_iter().flatten() {
        let item = ctx.expanded_tree(Form::Text, "responders", item)?;
        let text = |key: &str| item[key].as_str().unwrap_or_default().to_owned();
        if text("type") == "teams" {
            all.extend(split(&text("name"), usize::MAX).into_iter().map(|name| json!({"name": name, "type": "team"})));
            continue;
        }
        let mut one = Map::new();
        for key in ["id", "name", "username"] {
            put(&mut one, key, text(key));
        }
        if !one.is_empty() {
            put(&mut one, "type", text("type"));
            all.push(Value::Object(one));
        }
    }
    Ok(all)
}
