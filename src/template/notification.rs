//! Templates of notifications: a set of named templates with Alertmanager's names, data and functions.
//!
//! The set starts with the default templates (`default.tmpl`); users' files are added on top and may replace any of them.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use super::TemplateError;
use super::exec::{Env, run};
use super::funcs::Dialect;
use super::gotime::GoTime;
use super::parse::{Source, parse};
use super::text::quote_meta;
use super::tree::{Block, Node};
use super::value::{Field, ListKind, Value};
use crate::time::Timestamp;

const DEFAULT: &str = include_str!("default.tmpl");

/// One alert, as templates see it.
#[derive(Clone, Copy, Debug)]
pub struct AlertData<'a> {
    /// `firing` or `resolved`.
    pub status: &'a str,
    pub labels: &'a BTreeMap<String, String>,
    pub annotations: &'a BTreeMap<String, String>,
    pub starts_at: Timestamp,
    /// `None` while it fires; templates then see Go's zero time.
    pub ends_at: Option<Timestamp>,
    pub generator_url: &'a str,
    pub fingerprint: &'a str,
    /// Not in the group's last message, or in another state there.
    pub is_new: bool,
}

/// Alertmanager's `Data`: what templates of a notification see as their dot.
#[derive(Clone, Debug)]
pub struct NotificationData<'a> {
    pub receiver: &'a str,
    /// `firing` when any alert fires, else `resolved`.
    pub status: &'a str,
    pub alerts: Vec<AlertData<'a>>,
    /// Alertmanager's text for why it is sent now.
    pub reason: &'a str,
    pub group_labels: &'a BTreeMap<String, String>,
    pub common_labels: &'a BTreeMap<String, String>,
    pub common_annotations: &'a BTreeMap<String, String>,
    pub route_labels: &'a BTreeMap<String, String>,
    pub external_url: &'a str,
    /// Links that act, by what they do: `silence`, `acknowledge`.
    pub links: &'a BTreeMap<String, String>,
}

/// The named templates. Cheap to clone; can be shared between threads.
#[derive(Clone, Debug)]
pub struct NotificationTemplates {
    named: BTreeMap<String, Arc<Block>>,
}

impl Default for NotificationTemplates {
    fn default() -> NotificationTemplates {
        NotificationTemplates::new()
    }
}

impl NotificationTemplates {
    /// The default templates alone.
    pub fn new() -> NotificationTemplates {
        let mut templates = NotificationTemplates { named: BTreeMap::new() };
        let added = templates.add(DEFAULT);
        debug_assert!(added.is_ok(), "the default templates parse: {added:?}");
        templates
    }

    /// Adds the templates that a file defines; those of the same name are replaced.
    ///
    /// # Errors
    /// When the text is no template; nothing is added then.
    pub fn add(&mut self, text: &str) -> Result<(), TemplateError> {
        let source = parse(text, Dialect::Notification, &["$"])?;
        self.named.extend(source.defined);
        Ok(())
    }

    /// Whether the set has a template of this name.
    pub fn has(&self, name: &str) -> bool {
        self.named.contains_key(name)
    }

    /// Checks the text of a field: that it parses, and that the templates it calls exist.
    ///
    /// # Errors
    /// The first problem, with its place in `text`.
    pub fn check(&self, text: &str) -> Result<(), TemplateError> {
        let source = parse(text, Dialect::Notification, &["$"])?;
        let known = |name: &str| source.defined.contains_key(name) || self.named.contains_key(name);
        std::iter::once(&source.main)
            .chain(source.defined.values().map(|b| &**b))
            .try_for_each(|b| calls_exist(b, &known))
    }

    /// Renders a text: the field of a receiver, for example `{{ template "slack.default.title" . }}`.
    ///
    /// # Errors
    /// When it does not parse, a template it calls does not exist, a function fails, or a limit is passed.
    pub fn text(&self, text: &str, data: &NotificationData<'_>, now: Timestamp) -> Result<String, TemplateError> {
        self.render(text, data, now, false, None)
    }

    /// Renders HTML: every inserted value is escaped, unless it went through `safeHtml`.
    ///
    /// # Errors
    /// As [`NotificationTemplates::text`].
    pub fn html(&self, text: &str, data: &NotificationData<'_>, now: Timestamp) -> Result<String, TemplateError> {
        self.render(text, data, now, true, None)
    }

    /// Renders for a service with a markup of its own: `escape` makes each inserted value harmless; what went through
    /// `safeHtml` stays as it is. With `html`, HTML's escaping comes after it.
    ///
    /// # Errors
    /// As [`NotificationTemplates::text`].
    pub fn escaped(
        &self,
        text: &str,
        data: &NotificationData<'_>,
        now: Timestamp,
        html: bool,
        escape: &dyn Fn(&str) -> String,
    ) -> Result<String, TemplateError> {
        self.render(text, data, now, html, Some(escape))
    }

    fn render(
        &self,
        text: &str,
        data: &NotificationData<'_>,
        now: Timestamp,
        html: bool,
        escape: Option<&dyn Fn(&str) -> String>,
    ) -> Result<String, TemplateError> {
        if !text.contains("{{") {
            return Ok(text.to_owned());
        }
        let Source { main, defined } = parse(text, Dialect::Notification, &["$"])?;
        let env = Env {
            now,
            external_url: data.external_url,
            query: &|_| Err("notifications have no queries".to_owned()),
            html,
            escape,
            own: &defined,
            shared: &self.named,
        };
        run(&main, data.value(), &[], &env)
    }
}

fn calls_exist(block: &Block, known: &dyn Fn(&str) -> bool) -> Result<(), TemplateError> {
    block.iter().try_for_each(|node| match node {
        Node::Call { name, span, .. } if !known(name) => {
            Err(TemplateError::new(span.clone(), format!("template {name:?} not defined")))
        }
        Node::If { then, otherwise, .. } | Node::With { then, otherwise, .. } => {
            calls_exist(then, known)?;
            calls_exist(otherwise, known)
        }
        Node::Range { body, otherwise, .. } => {
            calls_exist(body, known)?;
            calls_exist(otherwise, known)
        }
        _ => Ok(()),
    })
}

impl NotificationData<'_> {
    fn value(&self) -> Value {
        let alerts = self.alerts.iter().map(AlertData::value).collect();
        // Texts in maps in structs in a list: never too deep.
        let alerts = Value::list(ListKind::Alerts, alerts).unwrap_or(Value::Nil);
        let field = |name, json, value| Field { name, json, value };
        Value::structure(
            "*template.Data",
            vec![
                // Alertmanager gives the receiver quoted for a regular expression, for the link to its page.
                field("Receiver", "receiver", Value::text(quote_meta(self.receiver))),
                field("Status", "status", Value::text(self.status)),
                field("Alerts", "alerts", alerts),
                field("NotificationReason", "notification_reason", Value::text(self.reason)),
                field("GroupLabels", "groupLabels", kv(self.group_labels)),
                field("CommonLabels", "commonLabels", kv(self.common_labels)),
                field("CommonAnnotations", "commonAnnotations", kv(self.common_annotations)),
                field("RouteLabels", "routeLabels", kv(self.route_labels)),
                field("ExternalURL", "externalURL", Value::text(self.external_url)),
                field("Links", "", kv(self.links)),
            ],
        )
    }
}

impl AlertData<'_> {
    fn value(&self) -> Value {
        let field = |name, json, value| Field { name, json, value };
        let time = |time: GoTime| Value::Time(Rc::new(time));
        Value::structure(
            "template.Alert",
            vec![
                field("Status", "status", Value::text(self.status)),
                field("Labels", "labels", kv(self.labels)),
                field("Annotations", "annotations", kv(self.annotations)),
                field("StartsAt", "startsAt", time(GoTime::utc(self.starts_at))),
                field("EndsAt", "endsAt", time(self.ends_at.map_or_else(GoTime::zero, GoTime::utc))),
                field("GeneratorURL", "generatorURL", Value::text(self.generator_url)),
                field("Fingerprint", "fingerprint", Value::text(self.fingerprint)),
                field("IsNew", "", Value::Bool(self.is_new)),
            ],
        )
    }
}

fn kv(pairs: &BTreeMap<String, String>) -> Value {
    Value::kv(pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())))
}
