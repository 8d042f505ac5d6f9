//! WeCom's applications, in Alertmanager `wechat` (<https://developer.work.weixin.qq.com/document/path/90236>): a token,
//! then a message with it. The token lasts two hours and is kept; one that has ended early is fetched anew once.

use std::sync::PoisonError;
use std::time::Duration;

use reqwest::Url;
use serde_json::{Map, Value, json};

use super::ctx::{cut_bytes, put};
use super::{Ctx, Line, chat};
use crate::net::Secret;
use crate::notify::exchange::{Answer, Request};
use crate::notify::form::Form;
use crate::notify::outcome::Outcome;
use crate::time::Timestamp;

/// Bytes of a message.
const MESSAGE: usize = 2_048;
/// How long before its end a token is given up.
const EARLY: Duration = Duration::from_secs(60);
/// No token, one of somebody else's, one that has ended.
const STALE: [i64; 4] = [40_001, 40_014, 41_001, 42_001];
/// The system is busy; too many in a minute; too many at one time.
const LATER: [i64; 3] = [-1, 45_009, 45_033];
const URL: &str = "https://qyapi.weixin.qq.com/cgi-bin";

/// A token and its end.
#[derive(Clone, Debug)]
pub(in crate::notify) struct Token {
    text: Secret,
    until: Timestamp,
}

pub(super) async fn deliver(line: &Line, ctx: &Ctx<'_>) -> Result<(), Outcome> {
    let kept = || line.memory.token.lock().unwrap_or_else(PoisonError::into_inner);
    let known = kept().clone().filter(|token| ctx.now < token.until);
    let fresh = known.is_none();
    let token = match known {
        Some(token) => token.text,
        None => fetch(line, ctx).await?,
    };
    let answer = line.exchange.ask(message(ctx, &token)?, ctx.now).await?;
    if !is_stale(&answer)? {
        return check(&answer);
    }
    *kept() = None;
    if fresh {
        return Err(Outcome::retry(format!("answered {}: a new token did not help", answer.said())));
    }
    let token = fetch(line, ctx).await?;
    check(&line.exchange.ask(message(ctx, &token)?, ctx.now).await?)
}

async fn fetch(line: &Line, ctx: &Ctx<'_>) -> Result<Secret, Outcome> {
    let (secret, corp) = (ctx.need_expanded("api_secret")?, ctx.text("corp_id", "")?);
    let url = address(ctx, "gettoken", &[("corpid", &corp), ("corpsecret", &secret)])?;
    let answer = line.exchange.ask(Request::get(url), ctx.now).await?;
    check(&answer)?;
    let body = answer.json()?;
    let text = body["access_token"].as_str().filter(|text| !text.is_empty());
    let text = Secret::from(text.ok_or_else(|| Outcome::refused("no token for this corp_id and api_secret"))?);
    let lasts = Duration::from_secs(body["expires_in"].as_u64().unwrap_or(7_200).clamp(60, 7_200));
    let token = Token { text: text.clone(), until: ctx.now + lasts.saturating_sub(EARLY) };
    *line.memory.token.lock().unwrap_or_else(PoisonError::into_inner) = Some(token);
    Ok(text)
}

fn message(ctx: &Ctx<'_>, token: &Secret) -> Result<Request, Outcome> {
    let text = ctx.markup(Form::Chat, "message", "{{ template \"wechat.default.message\" . }}")?;
    let kind = ctx.raw("message_type", "text");
    let mut message = Map::new();
    for (key, field, default) in [
        ("touser", "to_user", "{{ template \"wechat.default.to_user\" . }}"),
        ("toparty", "to_party", "{{ template \"wechat.default.to_party\" . }}"),
        ("totag", "to_tag", "{{ template \"wechat.default.to_tag\" . }}"),
        ("agentid", "agent_id", "{{ template \"wechat.default.agent_id\" . }}"),
    ] {
        put(&mut message, key, ctx.text(field, default)?);
    }
    put(&mut message, "msgtype", kind.to_owned());
    put(&mut message, "safe", "0".to_owned());
    message.insert(kind.to_owned(), json!({"content": cut_bytes(&text, MESSAGE)}));
    Ok(Request::json(address(ctx, "message/send", &[("access_token", token.expose())])?, &Value::Object(message)))
}

fn address(ctx: &Ctx<'_>, path: &str, query: &[(&str, &str)]) -> Result<String, Outcome> {
    let url = Url::parse_with_params(&ctx.url("api_url", URL, path), query);
    url.map(String::from).map_err(|_| Outcome::retry("api_url is no address"))
}

fn is_stale(answer: &Answer) -> Result<bool, Outcome> {
    Ok(answer.json()?["errcode"].as_i64().is_some_and(|code| STALE.contains(&code)))
}

fn check(answer: &Answer) -> Result<(), Outcome> {
    chat::judge(answer, ["errcode", "errmsg"], &LATER)
}
