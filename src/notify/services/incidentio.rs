//! incident.io's alert source for Alertmanager
//! (<https://api-docs.incident.io/tag/Alert-Events-V2>): the webhook's body with a version of its own.

use crate::notify::exchange::Request;
use crate::notify::outcome::Outcome;
use crate::notify::render;
use reqwest::Method;

use super::Ctx;

/// A body, in bytes.
const BODY: usize = 512 << 10;

pub(super) fn build(ctx: &Ctx<'_>) -> Result<Request, Outcome> {
    let mut body = render::versioned_json(ctx.notification, "1");
    if body.len() > BODY && ctx.notification.alerts.len() > 1 {
        let mut first = ctx.notification.clone();
        first.truncated_alerts += first.alerts.len() as u64 - 1;
        first.alerts.truncate(1);
        body = render::versioned_json(&first, "1");
    }
    let mut headers = vec![("content-type", "application/json".to_owned())];
    if let Some(token) = ctx.secret("alert_source_token")? {
        headers.push(("authorization", render::one_line(&format!("Bearer {}", token.expose()))));
    }
    let url = ctx.need("url")?.expose().to_owned();
    Ok(Request { method: Method::POST, url, headers, body, later: &[] })
}
