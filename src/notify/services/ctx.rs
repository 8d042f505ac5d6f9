//! What the services share: fields, templates, secrets, the name of the incident.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use ring::digest;
use serde_json::Value;

use crate::alerts::{AlertStatus, Notification};
use crate::net::Secret;
use crate::notify::deliver::Render;
use crate::notify::form::Form;
use crate::notify::outcome::Outcome;
use crate::notify::render::{is_web_link, one_line, plain};
use crate::notify::settings::{FieldValue, ServiceSettings};
use crate::time::Timestamp;

/// One message to one service.
pub(in crate::notify) struct Ctx<'a> {
    pub settings: &'a ServiceSettings,
    pub notification: &'a Notification,
    pub render: Option<&'a Render>,
    /// The wall time, for signatures and stamps.
    pub now: Timestamp,
}

impl Ctx<'_> {
    pub fn is_firing(&self) -> bool {
        self.notification.status == AlertStatus::Firing
    }

    /// The incident's name at services that keep one: Alertmanager's hash of the group key, so that an incident opened by
    /// an Alertmanager is closed by us.
    pub fn incident(&self) -> String {
        hex(digest::digest(&digest::SHA256, self.notification.group_key.as_bytes()).as_ref())
    }

    /// Expands a template. One that fails over all alerts, because they are too many or their labels too long, is expanded
    /// over fewer and shorter ones. One that fails even so is refused: trying again does not help, a newer message may.
    pub fn expand(&self, form: Form, field: &str, template: &str) -> Result<String, Outcome> {
        let text = match self.render {
            _ if !template.contains("{{") => template.to_owned(),
            None => return Err(Outcome::refused(format!("template of {field}: no templates are at hand"))),
            Some(render) => render(template, self.notification, form)
                .or_else(|_| render(template, &shorter(self.notification, 100, 2_000), form))
                .or_else(|_| render(template, &shorter(self.notification, 10, 200), form))
                .map_err(|problem| Outcome::refused(format!("template of {field}: {problem}")))?,
        };
        Ok(plain(&text))
    }

    /// A field's text as it is written, or the default where the field is missing.
    pub fn raw<'b>(&'b self, key: &str, default: &'b str) -> &'b str {
        match self.settings.fields.get(key) {
            Some(FieldValue::Text(text)) => text,
            _ => default,
        }
    }

    /// A field of the protocol: no markup.
    pub fn text(&self, key: &str, default: &str) -> Result<String, Outcome> {
        self.expand(Form::Text, key, self.raw(key, default))
    }

    /// A field in the service's markup.
    pub fn markup(&self, form: Form, key: &str, default: &str) -> Result<String, Outcome> {
        self.expand(form, key, self.raw(key, default))
    }

    /// As [`Ctx::markup`], on one line.
    pub fn line(&self, form: Form, key: &str, default: &str) -> Result<String, Outcome> {
        Ok(one_line(&self.markup(form, key, default)?))
    }

    /// A web address; anything else becomes the empty text: a label cannot make `javascript:` a link.
    pub fn link(&self, key: &str, default: &str) -> Result<String, Outcome> {
        let text = self.text(key, default)?;
        let text = text.trim();
        Ok(if is_web_link(text) { text.to_owned() } else { String::new() })
    }

    /// Links that act on what the message is about, and the runbook beside them, each with its word; none where the
    /// configuration asks for no links.
    pub fn deeds(&self) -> Vec<(&'static str, String)> {
        let it = self.notification;
        let words = [("silence", "Silence"), ("acknowledge", "Acknowledge")];
        let links = words.into_iter().filter_map(|(name, word)| Some((word, it.links.get(name)?)));
        let mut deeds: Vec<_> = links.map(|(word, link)| (word, one_line(link))).collect();
        let runbook = it.common_annotations.get("runbook_url").filter(|_| !deeds.is_empty());
        deeds.extend(runbook.map(|link| ("Runbook", one_line(link))));
        deeds.retain(|(_, link)| is_web_link(link));
        deeds
    }

    pub fn flag(&self, key: &str) -> bool {
        matches!(self.settings.fields.get(key), Some(FieldValue::Flag(true)))
    }

    pub fn number(&self, key: &str) -> Option<i64> {
        match self.settings.fields.get(key) {
            Some(FieldValue::Number(number)) => Some(*number),
            _ => None,
        }
    }

    /// Whole seconds of a span, or the default.
    pub fn seconds(&self, key: &str, default: u64) -> u64 {
        match self.settings.fields.get(key) {
            Some(FieldValue::Span(span)) => span.as_secs(),
            _ => default,
        }
    }

    /// A list of templates, expanded.
    pub fn texts(&self, key: &str) -> Result<Vec<String>, Outcome> {
        let Some(FieldValue::Texts(texts)) = self.settings.fields.get(key) else { return Ok(Vec::new()) };
        texts.iter().map(|text| self.expand(Form::Text, key, text)).collect()
    }

    /// A secret, read where it is used.
    pub fn secret(&self, key: &str) -> Result<Option<Secret>, Outcome> {
        match self.settings.fields.get(key) {
            Some(FieldValue::Secret(source)) => {
                source.read().map(Some).map_err(|error| Outcome::retry(error.to_string()))
            }
            Some(FieldValue::Text(text)) => Ok(Some(Secret::from(text.as_str()))),
            _ => Ok(None),
        }
    }

    /// A secret that must be there and not be empty.
    pub fn need(&self, key: &str) -> Result<Secret, Outcome> {
        let secret = self.secret(key)?.filter(|secret| !secret.expose().is_empty());
        secret.ok_or_else(|| Outcome::refused(format!("{key} is empty")))
    }

    /// A secret that Alertmanager expands as a template.
    pub fn need_expanded(&self, key: &str) -> Result<String, Outcome> {
        let text = self.expand(Form::Text, key, self.need(key)?.expose())?;
        if text.is_empty() { Err(Outcome::refused(format!("{key} is empty"))) } else { Ok(text) }
    }

    /// A service's address with a path added to it.
    pub fn url(&self, key: &str, default: &str, path: &str) -> String {
        format!("{}/{path}", self.raw(key, default).trim_end_matches('/'))
    }

    /// A tree as it is written.
    pub fn tree(&self, key: &str) -> Option<&Value> {
        match self.settings.fields.get(key) {
            Some(FieldValue::Tree(tree)) => Some(tree),
            _ => None,
        }
    }

    /// A tree with its texts expanded.
    pub fn expanded_tree(&self, form: Form, field: &str, tree: &Value) -> Result<Value, Outcome> {
        Ok(match tree {
            Value::String(text) => Value::String(self.expand(form, field, text)?),
            Value::Array(items) => {
                let items = items.iter().map(|item| self.expanded_tree(form, field, item));
                Value::Array(items.collect::<Result<_, _>>()?)
            }
            Value::Object(entries) => {
                let entries = entries
                    .iter()
                    .map(|(key, value)| self.expanded_tree(form, field, value).map(|value| (key.clone(), value)));
                Value::Object(entries.collect::<Result<_, _>>()?)
            }
            other => other.clone(),
        })
    }

    /// A mapping of templates, with the defaults for keys that it lacks.
    pub fn pairs(&self, key: &str, defaults: &[(&str, &str)]) -> Result<BTreeMap<String, String>, Outcome> {
        let mut pairs = BTreeMap::new();
        for (name, template) in defaults {
            pairs.insert((*name).to_owned(), self.expand(Form::Text, key, template)?);
        }
        for (name, value) in self.tree(key).and_then(Value::as_object).into_iter().flatten() {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            pairs.insert(name.clone(), self.expand(Form::Text, key, &text)?);
        }
        Ok(pairs)
    }
}

/// The notification with at most `most` alerts, and texts of at most `chars` characters.
fn shorter(notification: &Notification, most: usize, chars: usize) -> Notification {
    let mut shorter = notification.clone();
    shorter.truncated_alerts += shorter.alerts.len().saturating_sub(most) as u64;
    shorter.alerts.truncate(most);
    let of_alerts = shorter.alerts.iter_mut().flat_map(|alert| [&mut alert.labels, &mut alert.annotations]);
    let of_all = [&mut shorter.group_labels, &mut shorter.common_labels, &mut shorter.common_annotations];
    for text in of_alerts.chain(of_all).flat_map(BTreeMap::values_mut) {
        *text = cut(text, chars);
    }
    shorter
}

/// Lower-case hexadecimal digits.
pub(in crate::notify) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// Puts a text into an object unless it is empty: most services read an empty text as a wish.
pub(super) fn put(object: &mut serde_json::Map<String, Value>, key: &str, text: String) {
    if !text.is_empty() {
        object.insert(key.to_owned(), Value::String(text));
    }
}

/// At most this many characters, the last of them `…` where something is missing.
pub(super) fn cut(text: &str, most: usize) -> String {
    if text.chars().nth(most).is_none() {
        return text.to_owned();
    }
    text.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}

/// At most this many bytes in UTF-8, cut between characters; ends with `…` where something is missing.
pub(super) fn cut_bytes(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let mark = '…'.len_utf8();
    match most.checked_sub(mark) {
        Some(room) => format!("{}…", &text[..text.floor_char_boundary(room)]),
        None => text[..text.floor_char_boundary(most)].to_owned(),
    }
}

/// Cuts a text so that the message around it has at most `most` bytes as JSON. `message` builds the message with the text.
pub(super) fn fitted(text: &str, most: usize, message: impl Fn(&str) -> Value) -> Value {
    let whole = message(&cut_bytes(text, most));
    if whole.to_string().len() <= most {
        return whole;
    }
    // Escapes make it longer, by how much only the message tells.
    let (mut fits, mut over) = (0, text.len().min(most));
    while over - fits > 1 {
        let middle = fits.midpoint(over);
        let size = message(&cut_bytes(text, middle)).to_string().len();
        if size <= most {
            fits = middle;
        } else {
            over = middle;
        }
    }
    message(&cut_bytes(text, fits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_between_characters() {
        assert_eq!((cut("äöü", 3), cut("äöüx", 3)), ("äöü".to_owned(), "äö…".to_owned()));
        assert_eq!((cut_bytes("äöü", 6), cut_bytes("äöüx", 6)), ("äöü".to_owned(), "ä…".to_owned()));
        assert_eq!(cut_bytes("äöü", 2), "ä");
        let long = "\"".repeat(500);
        let built = fitted(&long, 200, |text| serde_json::json!({"text": text}));
        let size = built.to_string().len();
        assert!((100..=200).contains(&size), "{size}");
        assert!(built["text"].as_str().unwrap().ends_with('…'));
        assert_eq!(fitted("abc", 200, |text| serde_json::json!({"text": text}))["text"], "abc");
    }
}
