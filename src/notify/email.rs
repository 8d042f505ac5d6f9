//! From a notification to a MIME message: headers, plain part, HTML part.
//!
//! Every header value is one line without control characters before lettre encodes it, so that no label can add a header.
//! The message's id comes from the delivery's, and is the same over all tries.

use std::time::{Duration, UNIX_EPOCH};

use lettre::Message;
use lettre::address::Envelope;
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Attachment, Mailboxes, MultiPart, SinglePart};
use ring::digest;

use super::deliver::Render;
use super::form::Form;
use super::render::{self, Drawn};
use super::services::hex;
use super::settings::{EmailSettings, Threading};
use crate::alerts::Notification;
use crate::time::Timestamp;

/// A message and whom it goes to.
#[derive(Debug)]
pub(super) struct Mail {
    pub envelope: Envelope,
    pub bytes: Vec<u8>,
}

pub(super) fn is_template(text: &str) -> bool {
    text.contains("{{")
}

/// A header's name: printable ASCII without a colon.
pub(super) fn is_header_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':')
}

/// Reads a list of addresses, which must not be empty.
pub(super) fn addresses(text: &str) -> Result<Mailboxes, String> {
    let wrong = || format!("{text:?} is no list of mail addresses");
    let found: Mailboxes = text.trim().parse().map_err(|_| wrong())?;
    if found.iter().next().is_none() { Err(wrong()) } else { Ok(found) }
}

/// Builds the message.
pub(super) fn build(
    settings: &EmailSettings,
    notification: &Notification,
    drawn: Option<&Drawn>,
    render: Option<&Render>,
    now: Timestamp,
) -> Result<Mail, String> {
    let expand_as = |form: Form, field: &str, text: &str| -> Result<String, String> {
        match render {
            _ if !is_template(text) => Ok(text.to_owned()),
            Some(render) => {
                render(text, notification, form).map_err(|problem| format!("template of {field}: {problem}"))
            }
            None => Err(format!("template of {field}: no templates are at hand")),
        }
    };
    let expand = |field: &str, text: &str| expand_as(Form::Text, field, text);
    let own = render::email(notification, drawn);
    let to = addresses(&render::one_line(&expand("to", &settings.to)?))?;
    let from = addresses(&render::one_line(&expand("from", &settings.from)?))?.into_single();
    let from = from.ok_or("from must be one address")?;
    let recipients = to.iter().map(|mailbox| mailbox.email.clone()).collect();
    let envelope = Envelope::new(Some(from.email.clone()), recipients).map_err(|error| error.to_string())?;
    let domain = from.email.domain().to_owned();
    let mut builder = Message::builder()
        .envelope(envelope.clone())
        .date(UNIX_EPOCH + Duration::from_millis(u64::try_from(now.as_millis()).unwrap_or(0)))
        .message_id(Some(format!("<{}@{domain}>", id_word(&notification.id.0))))
        .from(from)
        .mailbox(lettre::message::header::To::from(to))
        .subject(own.subject)
        .raw_header(HeaderValue::new(HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated".to_owned()));
    if let Some(threading) = settings.threading {
        // The mail that it names never was: readers make a place for it, and put the mails of the group there.
        let root = format!("<{}@{domain}>", thread_root(notification, threading));
        for name in ["References", "In-Reply-To"] {
            let name = HeaderName::new_from_ascii_str(name);
            builder = builder.raw_header(HeaderValue::new(name, root.clone()));
        }
    }
    for (name, value) in &settings.headers {
        let value = render::one_line(&expand(name, value)?);
        let name = HeaderName::new_from_ascii(name.clone()).map_err(|_| format!("{name:?} is no name of a header"))?;
        builder = builder.raw_header(HeaderValue::new(name, value));
    }
    let part = |form: Form, field: &str, given: &Option<String>, own: String| match given.as_deref() {
        None => Ok(Some(own)),
        Some("") => Ok(None),
        Some(template) => expand_as(form, field, template).map(|text| Some(render::plain(&text))),
    };
    let text = part(Form::Text, "text", &settings.text, own.text)?;
    let html = part(Form::Html, "html", &settings.html, own.html)?;
    let picture = own.picture.filter(|_| settings.html.is_none());
    let message = match (text, html) {
        (Some(text), Some(html)) => {
            let parts = MultiPart::alternative().singlepart(SinglePart::plain(text));
            builder.multipart(match picture {
                Some(picture) => parts.multipart(with_picture(html, picture)?),
                None => parts.singlepart(SinglePart::html(html)),
            })
        }
        (None, Some(html)) if picture.is_some() => builder.multipart(with_picture(html, picture.unwrap_or_default())?),
        (Some(text), None) => builder.singlepart(SinglePart::plain(text)),
        (None, Some(html)) => builder.singlepart(SinglePart::html(html)),
        (None, None) => builder.singlepart(SinglePart::plain(String::new())),
    };
    let message = message.map_err(|error| format!("build the mail: {error}"))?;
    Ok(Mail { envelope, bytes: message.formatted() })
}

/// The HTML part and the picture in it.
fn with_picture(html: String, picture: Vec<u8>) -> Result<MultiPart, String> {
    let kind = ContentType::parse("image/png").map_err(|error| error.to_string())?;
    let name = "plot.png".to_owned();
    let inline = Attachment::new_inline_with_name(render::PICTURE.to_owned(), name).body(picture, kind);
    Ok(MultiPart::related().singlepart(SinglePart::html(html)).singlepart(inline))
}

/// What the mails of one thread have in common: the group, by its hash, and the day on which the message was decided.
fn thread_root(notification: &Notification, threading: Threading) -> String {
    let hash = hex(digest::digest(&digest::SHA256, notification.group_key.as_bytes()).as_ref());
    let date = notification.created_at.to_rfc3339();
    let day = match threading {
        Threading::Group => "",
        Threading::GroupAndDay => date.get(..10).unwrap_or_default(),
    };
    format!("alert-{}-{day}", &hash[..16])
}

/// What of a delivery's id can stand in a message id.
fn id_word(id: &str) -> String {
    id.chars().map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' }).collect()
}
