//! Amazon SNS: `Publish` (<https://docs.aws.amazon.com/sns/latest/api/API_Publish.html>), signed with Signature Version 4.
//!
//! The credentials are the configuration's: those of the environment, of profiles and of metadata services are not used.

use reqwest::Url;

use super::Ctx;
use super::ctx::{cut, cut_bytes, hex};
use crate::net::sigv4::{Credentials, sign};
use crate::notify::exchange::Request;
use crate::notify::form::Form;
use crate::notify::outcome::Outcome;
use crate::notify::render::plain;

/// Bytes of a message, and characters of one to a telephone and of a subject.
const MESSAGE: usize = 256 << 10;
const PHONE: usize = 1_600;
const SUBJECT: usize = 100;

pub(super) fn build(ctx: &Ctx<'_>) -> Result<Request, Outcome> {
    let region = ctx.raw("sigv4_region", "");
    let url = match ctx.raw("api_url", "") {
        "" => format!("https://sns.{region}.amazonaws.com/"),
        url => url.to_owned(),
    };
    let mut fields: Vec<(String, String)> =
        vec![("Action".into(), "Publish".into()), ("Version".into(), "2010-03-31".into())];
    let mut put = |key: &str, value: String| fields.push((key.to_owned(), value));
    let message = ctx.text("message", "{{ template \"sns.default.message\" . }}")?;
    let (topic, phone) = (ctx.text("topic_arn", "")?, ctx.text("phone_number", "")?);
    let whole = message.len();
    let message = if phone.is_empty() { cut_bytes(&message, MESSAGE) } else { cut(&message, PHONE) };
    let was_cut = message.len() != whole && message.ends_with('…');
    put("Message", if message.trim().is_empty() { "(no details)".to_owned() } else { message });
    for (key, value) in [("TopicArn", &topic), ("PhoneNumber", &phone), ("TargetArn", &ctx.text("target_arn", "")?)] {
        if !value.is_empty() {
            put(key, value.clone());
        }
    }
    let subject = subject(&ctx.line(Form::Text, "subject", "{{ template \"sns.default.subject\" . }}")?);
    if !subject.is_empty() {
        put("Subject", subject);
    }
    if topic.ends_with(".fifo") {
        // The same over all tries of one message, and another for the next.
        put("MessageDeduplicationId", word(&ctx.notification.id.0));
        put("MessageGroupId", ctx.incident());
    }
    let mut attributes = ctx.pairs("attributes", &[])?;
    if was_cut {
        attributes.insert("truncated".to_owned(), "true".to_owned());
    }
    for (at, (name, value)) in attributes.iter().enumerate() {
        let entry = format!("MessageAttributes.entry.{}", at + 1);
        put(&format!("{entry}.Name"), name.clone());
        put(&format!("{entry}.Value.DataType"), "String".to_owned());
        put(&format!("{entry}.Value.StringValue"), plain(value));
    }
    let request = Request::form(&url, &fields);
    signed(request, &url, region, ctx)
}

fn signed(request: Request, url: &str, region: &str, ctx: &Ctx<'_>) -> Result<Request, Outcome> {
    let parsed = Url::parse(url).map_err(|_| Outcome::retry("api_url is no address"))?;
    let host = match (parsed.host_str(), parsed.port()) {
        (Some(host), Some(port)) => format!("{host}:{port}"),
        (Some(host), None) => host.to_owned(),
        (None, _) => return Err(Outcome::retry("api_url is no address")),
    };
    let secret = ctx.need("sigv4_secret_key")?;
    let credentials = Credentials { access_key: ctx.raw("sigv4_access_key", ""), secret_key: &secret };
    let headers = [("content-type", "application/x-www-form-urlencoded"), ("host", host.as_str())];
    let path = parsed.path();
    let (date, authorization) =
        sign(&credentials, region, "sns", "POST", path, &headers, &request.body, ctx.now.as_millis().div_euclid(1_000));
    Ok(request.header("x-amz-date", &date).header("authorization", &authorization))
}

/// ASCII, one line, fewer than 100 characters.
fn subject(text: &str) -> String {
    let ascii: String = text.chars().map(|c| if c.is_ascii() && !c.is_ascii_control() { c } else { '?' }).collect();
    ascii.chars().take(SUBJECT - 1).collect()
}

/// A deduplication's name: letters, digits and a few signs, 128 at most.
fn word(id: &str) -> String {
    hex(ring::digest::digest(&ring::digest::SHA256, id.as_bytes()).as_ref())
}
