//! The links in messages: a page that asks, and the form on it that acts.
//!
//! Looking (GET, HEAD) changes nothing, so that mail scanners and previews that follow links do no harm; only the form's POST
//! acts, once. The link's token is the permission: the form needs no header that a browser's form cannot send.

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;

use super::Shared;
use crate::alerts::{LinkDeed, LinkError, LinkView};
use crate::engine::{Command, Reply};
use crate::time::format_duration;

/// Where the links lead.
pub(super) const PATH: &str = "/act/";

/// What the form may be given as a name, in bytes.
const NAME_BYTES: usize = 200;

pub(super) fn routes() -> Router<Shared> {
    Router::new().route("/act/{token}", get(show).post(act))
}

async fn show(State(shared): State<Shared>, Path(token): Path<String>) -> Response {
    let Some(alerts) = shared.alerts().await else { return closing() };
    match alerts.link(shared.clock.now(), &token) {
        Ok(LinkView { spent: Some("used"), .. }) => sentence(StatusCode::GONE, &LinkError::Used.to_string()),
        Ok(LinkView { spent: Some(_), .. }) => sentence(StatusCode::GONE, &LinkError::Expired.to_string()),
        Ok(view) => page(StatusCode::OK, &form(&view)),
        Err(error) => sentence(StatusCode::FORBIDDEN, &error.to_string()),
    }
}

async fn act(State(shared): State<Shared>, Path(token): Path<String>, body: Bytes) -> Response {
    let by = name(&body);
    match shared.command(Command::UseLink { token, by }).await {
        Some(Reply::Said(said)) => sentence(StatusCode::OK, &said),
        Some(Reply::Refused(why) | Reply::NotFound(why)) => sentence(StatusCode::GONE, &why),
        Some(Reply::Unsaved) => {
            sentence(StatusCode::INTERNAL_SERVER_ERROR, "done, but it could not be saved: a restart would lose it")
        }
        Some(Reply::Done | Reply::Made(_)) => sentence(StatusCode::OK, "done"),
        None => closing(),
    }
}

fn closing() -> Response {
    sentence(StatusCode::SERVICE_UNAVAILABLE, "the daemon is shutting down; the link can be used again later")
}

/// The form's `by`.
fn name(body: &[u8]) -> String {
    let read = |mut url: reqwest::Url| {
        url.set_query(Some(&String::from_utf8_lossy(body)));
        url.query_pairs().find(|(name, _)| name == "by").map(|(_, value)| value.trim().to_owned())
    };
    let name = reqwest::Url::parse("http://x/").ok().and_then(read).unwrap_or_default();
    let name: String = name.chars().filter(|c| !c.is_control()).take(NAME_BYTES).collect();
    if name.is_empty() { "somebody with a link".to_owned() } else { name }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}

fn form(view: &LinkView) -> String {
    let lasts = format_duration(view.lasts);
    let what = match view.deed {
        LinkDeed::Silence => {
            let whose = if view.fleet { " on all hosts of the fleet" } else { "" };
            format!("Silence everything with these labels{whose} for {lasts}")
        }
        LinkDeed::Acknowledge => format!("Acknowledge: no repeats about this for {lasts}, unless something changes"),
    };
    let labels: String =
        view.labels.iter().map(|(name, value)| format!("<li>{}={}</li>", escape(name), escape(value))).collect();
    format!(
        "<p>{}</p><ul>{labels}</ul><form method=\"post\"><p><label>Your name <input name=\"by\" maxlength=\"100\"></label> \
         <button>{}</button></p></form><p>This link works once, until {}.</p>",
        escape(&what),
        if view.deed == LinkDeed::Silence { "Silence" } else { "Acknowledge" },
        view.expires.to_rfc3339(),
    )
}

fn sentence(code: StatusCode, text: &str) -> Response {
    page(code, &format!("<p>{}</p><p><a href=\"/\">To the page</a></p>", escape(text)))
}

fn page(code: StatusCode, body: &str) -> Response {
    let text = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>Brownout</title>\
         <meta name=\"viewport\" content=\"width=device-width\"><meta name=\"robots\" content=\"noindex\">\
         <link rel=\"stylesheet\" href=\"/app.css\"></head><body><main>{body}</main></body></html>\n"
    );
    let policy = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";
    let headers = [(header::CONTENT_SECURITY_POLICY, policy), (header::CACHE_CONTROL, "no-store")];
    (code, headers, Html(text)).into_response()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::time::Timestamp;

    #[test]
    fn the_page_asks_and_shows_foreign_text_as_text() {
        let view = LinkView {
            deed: LinkDeed::Silence,
            group_key: String::new(),
            labels: vec![("alertname".to_owned(), "<script>\"x\"&".to_owned())],
            expires: Timestamp::from_millis(1_700_000_000_000),
            lasts: Duration::from_secs(4 * 3600),
            fleet: true,
            spent: None,
        };
        let text = form(&view);
        assert!(
            text.contains("on all hosts of the fleet for 4h")
                && text.contains("method=\"post\"")
                && text.contains("2023-11-14T22:13:20.000Z")
        );
        assert!(text.contains("alertname=&lt;script&gt;&quot;x&quot;&amp;") && !text.contains("<script"), "{text}");
    }

    #[test]
    fn whoever_acts_has_a_name() {
        assert_eq!(name(b"by=Ann+B%0a&x=y"), "Ann B");
        for body in [&b""[..], b"by=", b"by=%20", b"\xff\xfe"] {
            assert_eq!(name(body), "somebody with a link");
        }
        assert_eq!(name(format!("by={}", "x".repeat(1000)).as_bytes()).len(), NAME_BYTES);
    }
}
