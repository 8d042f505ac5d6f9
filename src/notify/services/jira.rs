//! Jira issues (<https://developer.atlassian.com/cloud/jira/platform/rest/v2/>): one open issue a group, found again by a
//! label with the incident's name; closed and opened again by transitions.

use reqwest::{Method, Url};
use serde_json::{Map, Value, json};

use super::ctx::cut;
use super::{Ctx, Line};
use crate::notify::exchange::Request;
use crate::notify::form::Form;
use crate::notify::outcome::Outcome;
use crate::notify::render::one_line;

/// Jira's limits, in characters.
const SUMMARY: usize = 255;
const DESCRIPTION: usize = 32_767;

/// An issue that was found.
struct Issue {
    key: String,
    is_done: bool,
}

pub(super) async fn deliver(line: &Line, ctx: &Ctx<'_>) -> Result<(), Outcome> {
    let found = search(line, ctx).await?;
    let Some(issue) = found else {
        // Nobody wants a new issue about what is over.
        if !ctx.is_firing() {
            return Ok(());
        }
        return line.exchange.post(request(ctx, Method::POST, "issue", Some(&body(ctx, false)?)), ctx.now).await;
    };
    let path = format!("issue/{}", issue.key);
    line.exchange.post(request(ctx, Method::PUT, &path, Some(&body(ctx, true)?)), ctx.now).await?;
    let transition = match (ctx.is_firing(), issue.is_done) {
        (true, true) => ctx.raw("reopen_transition", ""),
        (false, false) => ctx.raw("resolve_transition", ""),
        _ => "",
    };
    if transition.is_empty() {
        return Ok(());
    }
    let path = format!("{path}/transitions");
    let known = line.exchange.ask(request(ctx, Method::GET, &path, None), ctx.now).await?.json()?;
    let wanted = known["transitions"].as_array().into_iter().flatten().find(|one| one["name"] == transition);
    let Some(wanted) = wanted else {
        return Err(Outcome::refused(format!("issue {} has no transition {transition:?} now", one_line(&issue.key))));
    };
    let wanted = json!({"transition": {"id": wanted["id"]}});
    line.exchange.post(request(ctx, Method::POST, &path, Some(&wanted)), ctx.now).await
}

fn request(ctx: &Ctx<'_>, method: Method, path: &str, body: Option<&Value>) -> Request {
    to(ctx.url("api_url", "", path), method, body)
}

fn to(url: String, method: Method, body: Option<&Value>) -> Request {
    let request = match body {
        Some(body) => Request::json(url, body).by(method),
        None => Request::get(url),
    };
    request.header("accept-language", "en")
}

fn label(ctx: &Ctx<'_>) -> String {
    format!("ALERT{{{}}}", ctx.incident())
}

async fn search(line: &Line, ctx: &Ctx<'_>) -> Result<Option<Issue>, Outcome> {
    let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    let mut jql = String::new();
    let wont_fix = ctx.raw("wont_fix_resolution", "");
    if !wont_fix.is_empty() {
        jql += &format!("resolution != {} and ", quoted(wont_fix));
    }
    let minutes = ctx.seconds("reopen_duration", 0) / 60;
    jql += &match (ctx.is_firing(), ctx.raw("reopen_transition", "")) {
        (true, transition) if !transition.is_empty() && minutes > 0 => {
            format!("(resolutiondate is EMPTY OR resolutiondate >= -{minutes}m) and ")
        }
        _ => "statusCategory != Done and ".to_owned(),
    };
    let project = ctx.text("project", "")?;
    let tail = "order by status ASC,resolutiondate DESC";
    jql += &format!("project={} and labels={} {tail}", quoted(&one_line(&project)), quoted(&label(ctx)));
    let body = json!({"jql": jql, "maxResults": 2, "fields": ["status"]});
    let answer = line.exchange.ask(to(search_url(ctx), Method::POST, Some(&body)), ctx.now).await?.json()?;
    let first = &answer["issues"][0];
    let Some(key) = first["key"].as_str() else { return Ok(None) };
    if !key.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_') {
        return Err(Outcome::refused("the issue's key is none"));
    }
    let is_done = first["fields"]["status"]["statusCategory"]["key"] == "done";
    Ok(Some(Issue { key: key.to_owned(), is_done }))
}

/// Jira Cloud no longer has `search`, Data Center does not yet have `search/jql`.
fn search_url(ctx: &Ctx<'_>) -> String {
    let at_cloud = || {
        let url = Url::parse(ctx.raw("api_url", "")).ok();
        url.and_then(|url| url.host_str().map(|host| host.ends_with("atlassian.net"))).unwrap_or(false)
    };
    match ctx.raw("api_type", "auto") {
        "cloud" => {}
        "auto" if at_cloud() => {}
        _ => return ctx.url("api_url", "", "search"),
    }
    ctx.url("api_url", "", "search/jql").replacen("/rest/api/2/", "/rest/api/3/", 1)
}

/// A field that is a template, or `{template, enable_update}`. `None` when it is not to be touched by an update.
fn updatable(ctx: &Ctx<'_>, form: Form, key: &str, default: &str, updates: bool) -> Result<Option<String>, Outcome> {
    let tree = ctx.tree(key);
    if updates && tree.is_some_and(|tree| tree["enable_update"] == false) {
        return Ok(None);
    }
    let template = tree.and_then(|tree| tree.as_str().or_else(|| tree["template"].as_str()));
    ctx.expand(form, key, template.unwrap_or(ctx.raw(key, default))).map(Some)
}

fn body(ctx: &Ctx<'_>, updates: bool) -> Result<Value, Outcome> {
    let mut fields = Map::new();
    if let Some(tree) = ctx.tree("fields")
        && let Value::Object(given) = ctx.expanded_tree(Form::Text, "fields", tree)?
    {
        fields = given;
    }
    let mut set = |key: &str, value: Value| drop(fields.insert(key.to_owned(), value));
    set("project", json!({"key": ctx.text("project", "")?}));
    set("issuetype", json!({"name": ctx.text("issue_type", "")?}));
    let mut labels = ctx.texts("labels")?;
    labels.push(label(ctx));
    labels.sort();
    set("labels", json!(labels));
    if let Some(summary) = updatable(ctx, Form::Text, "summary", "{{ template \"jira.default.summary\" . }}", updates)?
    {
        set("summary", Value::String(cut(&one_line(&summary), SUMMARY)));
    }
    let version_3 = ctx.raw("api_url", "").trim_end_matches('/').ends_with("/3");
    let form = if version_3 { Form::Text } else { Form::JiraWiki };
    if let Some(text) = updatable(ctx, form, "description", "{{ template \"jira.default.description\" . }}", updates)? {
        let text = cut(&text, DESCRIPTION);
        set("description", if version_3 { document(text) } else { Value::String(text) });
    }
    let priority = ctx.text("priority", "{{ template \"jira.default.priority\" . }}")?;
    if !priority.is_empty() {
        set("priority", json!({"name": priority}));
    }
    Ok(json!({"fields": fields}))
}

/// Version 3 takes a document only: the template's own, or one paragraph around its text.
fn document(text: String) -> Value {
    match serde_json::from_str(&text) {
        Ok(document @ Value::Object(_)) => document,
        _ => json!({"type": "doc", "version": 1, "content": [
            {"type": "paragraph", "content": [{"type": "text", "text": if text.is_empty() { " ".to_owned() } else { text }}]}]}),
    }
}
