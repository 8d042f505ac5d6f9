//! What stands in the fields of a service: reading it by the table, and `global`'s for what is missing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value as Json;

use super::services::{GLOBAL, Need, Row, SERVICES};
use crate::config::client::Client;
use crate::config::values::{GoDuration, HttpUrl, SecretUrl};
use crate::net::Secret;
use crate::notify::Service;
use crate::yaml::{At, Decode, Fields, Node, Place, Spanned, Value};

/// What stands in a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Secret,
    Bool,
    Url,
    SecretUrl,
    Whole,
    Span,
    Texts,
    Map,
    Any,
}

/// A field as it was written.
#[derive(Clone, Debug)]
pub enum Given {
    Text(Spanned<String>),
    Secret(Spanned<Secret>),
    Flag(bool),
    Number(i64),
    Span(Duration),
    Texts(Vec<String>),
    Tree(Json),
}

impl Given {
    /// An empty text, and a span of nothing, count as missing where something must be there.
    fn holds(&self) -> bool {
        match self {
            Given::Text(text) => !text.value.is_empty(),
            Given::Secret(secret) => !secret.value.expose().is_empty(),
            Given::Span(span) => !span.is_zero(),
            _ => true,
        }
    }
}

/// Fields by their names.
pub type Values = BTreeMap<&'static str, Given>;

/// A value of any shape, as JSON; plain scalars become numbers, booleans or texts, as YAML has it.
pub(super) struct Tree(pub Json);

impl Decode for Tree {
    fn decode(at: &mut At<'_>) -> Option<Tree> {
        at.node().map(|node| Tree(json(node)))
    }
}

fn json(node: &Node) -> Json {
    match &node.value {
        Value::Null => Json::Null,
        Value::Seq(items) => items.iter().map(json).collect(),
        Value::Map(entries) => entries.iter().map(|(key, _, value)| (key.clone(), json(value))).collect(),
        Value::Scalar { text, quoted: true } => Json::from(text.as_str()),
        Value::Scalar { text, quoted: false } => match text.as_str() {
            "true" => true.into(),
            "false" => false.into(),
            text => {
                let whole = text.parse::<i64>().ok().map(Json::from);
                let number = whole.or_else(|| text.parse::<f64>().ok().filter(|n| n.is_finite()).map(Json::from));
                number.unwrap_or_else(|| Json::from(text))
            }
        },
    }
}

/// A mapping of any values.
struct TreeMap(Json);

impl Decode for TreeMap {
    fn decode(at: &mut At<'_>) -> Option<TreeMap> {
        let entries = at.entries::<Tree>()?;
        Some(TreeMap(entries.into_iter().map(|(key, value)| (key.value, value.0)).collect()))
    }
}

/// Reads fields by their kinds.
pub(super) fn read(fields: &mut Fields<'_>, known: &[(&'static str, Kind)]) -> Values {
    let mut values = Values::new();
    for &(key, kind) in known {
        let doc = doc(key, kind);
        let value = match kind {
            Kind::Text => fields.optional::<Spanned<String>>(key, doc).map(Given::Text),
            Kind::Secret => fields.optional::<Spanned<Secret>>(key, doc).map(Given::Secret),
            Kind::Bool => fields.optional::<bool>(key, doc).map(Given::Flag),
            Kind::Url => fields.optional::<Spanned<HttpUrl>>(key, doc).map(|url| {
                let Spanned { value, place } = url;
                Given::Text(Spanned { value: value.0, place })
            }),
            Kind::SecretUrl => fields.optional::<Spanned<SecretUrl>>(key, doc).map(|url| {
                let Spanned { value, place } = url;
                Given::Secret(Spanned { value: value.0, place })
            }),
            Kind::Whole => fields.optional::<i64>(key, doc).map(Given::Number),
            Kind::Span => fields.optional::<GoDuration>(key, doc).map(|span| Given::Span(span.0)),
            Kind::Texts => fields.optional::<Vec<String>>(key, doc).map(Given::Texts),
            Kind::Map => fields.optional::<TreeMap>(key, doc).map(|tree| Given::Tree(tree.0)),
            Kind::Any => fields.optional::<Tree>(key, doc).map(|tree| Given::Tree(tree.0)),
        };
        values.extend(value.map(|value| (key, value)));
    }
    values
}

/// The keys that hold something.
pub(super) fn holding(values: &Values) -> BTreeSet<&'static str> {
    values.iter().filter(|(_, value)| value.holds()).map(|(key, _)| *key).collect()
}

/// One line for the reference.
fn doc(key: &'static str, kind: Kind) -> &'static str {
    match (key, kind) {
        (key, Kind::Text) if key.ends_with("_file") => "a file that holds it; it is read when it is used",
        ("api_url" | "url" | "app_url", Kind::Url) => "the service's address, if it is not the usual one",
        (_, Kind::Url) => "the service's address for all receivers that do not say otherwise",
        (_, Kind::SecretUrl) => "where the request goes; it counts as a secret",
        ("chat_id", _) => "the chat's number",
        ("max_alerts", _) => "the most alerts in one message, the rest is counted; 0 for all",
        ("timeout", _) => "how long a request may take; 0 for the house's own limit",
        ("send_resolved", _) => "whether the end of alerts is told too",
        ("secret", _) => "what the service signs with",
        (_, Kind::Secret) => "a key of the service's; a secret",
        ("parse_mode" | "message_type", _) => "the markup of the message",
        ("message" | "text" | "description" | "state_message" | "content" | "message_text", _) => {
            "the message, a template; labels in it are text, without markup or mentions"
        }
        ("title" | "summary" | "subject" | "entity_display_name" | "fallback" | "pretext", _) => "a line, a template",
        ("update_message", _) => "whether a group's message is changed in place",
        ("update_alerts", _) => "whether message and description of an open alert are changed too",
        ("at_mobiles" | "mentioned_list" | "mentioned_mobile_list", _) => "whom to call",
        ("at_all", _) => "whether everybody is called",
        ("topic", _) => "the topic, a template",
        ("sigv4", _) => "`region`, `access_key`, and `secret_key` or `secret_key_file`",
        (_, Kind::Span) => "a duration",
        (_, Kind::Bool) => "as in Alertmanager",
        (_, Kind::Text | Kind::Texts) => "a template; as in Alertmanager",
        _ => "as in Alertmanager; texts in it are templates",
    }
}

/// One entry of a service.
#[derive(Clone, Debug)]
pub struct ServiceConfig {
    pub service: Service,
    /// For example `slack_configs`.
    pub key: &'static str,
    pub place: Place,
    pub send_resolved: Option<bool>,
    pub client: Option<Client>,
    pub values: Values,
    given: BTreeSet<&'static str>,
    index: usize,
}

impl ServiceConfig {
    /// The names of all fields that it may have.
    pub fn field_names(&self) -> impl Iterator<Item = &'static str> {
        self.row().fields.iter().map(|(key, _)| *key)
    }

    fn row(&self) -> &'static Row {
        &SERVICES[self.index]
    }

    /// What it needs and finds neither here nor in `global`: each a list of keys of which one will do, and those of `global`.
    pub(super) fn missing(&self, global: &BTreeSet<&'static str>) -> Vec<Need> {
        let found = |(here, there): &&Need| {
            here.iter().any(|key| self.given.contains(key)) || there.iter().any(|key| global.contains(key))
        };
        self.row().needs.iter().filter(|need| !found(need)).copied().collect()
    }

    /// Its fields in the table's order, each with what stands here, or else in `global`. A field whose like is given here
    /// (an address where `global` has a token) is not looked for there.
    pub fn complete(&self, global: &Values) -> Values {
        let mut all = self.values.clone();
        for (key, _) in self.row().fields {
            let group = self.row().needs.iter().find(|(here, _)| here.contains(key));
            let chosen = group.is_some_and(|(here, _)| here.iter().any(|key| self.given.contains(key)));
            if chosen || all.contains_key(key) {
                continue;
            }
            let word = self.service.as_str();
            let name = if *key == "corp_id" { "wechat_api_corp_id".to_owned() } else { format!("{word}_{key}") };
            if let Some(value) =
                GLOBAL.iter().find(|(known, _)| **known == name).and_then(|(known, _)| global.get(known))
            {
                all.insert(key, value.clone());
            }
        }
        all
    }
}

const DOC: &str = "One message to this service for each notification. Fields that Alertmanager has mean what they mean there; \
                   texts are templates.";

struct Item<const N: usize>(ServiceConfig);

impl<const N: usize> Decode for Item<N> {
    fn decode(at: &mut At<'_>) -> Option<Item<N>> {
        let row = &SERVICES[N];
        let place = at.place();
        let mut fields = at.record(row.record, DOC)?;
        let send_resolved = fields.optional("send_resolved", doc("send_resolved", Kind::Bool));
        let client: Option<Client> =
            fields.optional("http_config", "how requests are made; redirects are not followed");
        let values = read(&mut fields, row.fields);
        let mut given = holding(&values);
        let authorized =
            client.as_ref().is_some_and(|client| client.authorization.is_some() || !client.bearer.is_empty());
        // Only Webex needs it, and needs a token in it.
        if authorized {
            given.insert("http_config");
        }
        for pair in row.exclusive {
            exclude(&mut fields, &given, *pair);
        }
        for (key, words) in row.words {
            let Some(Given::Text(text)) = values.get(key) else { continue };
            if !words.contains(&text.value.as_str()) {
                let help = words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ");
                fields.problem(key, format!("unknown value `{}`", text.value), Some(format!("write one of {help}")));
            }
        }
        if matches!(values.get("update_message"), Some(Given::Flag(true)))
            && let Some(Given::Secret(url)) = values.get("api_url")
            && url.value.expose() != "https://slack.com/api/chat.postMessage"
        {
            let help = Some("set `api_url` to https://slack.com/api/chat.postMessage, with a bot's token".to_owned());
            fields.problem("update_message", "a webhook's messages cannot be updated", help);
        }
        fields.finish();
        let (service, key) = (row.service, row.key);
        Some(Item(ServiceConfig { service, key, place, send_resolved, client, values, given, index: N }))
    }
}

/// Reports the second of two keys that exclude each other.
pub(super) fn exclude(fields: &mut Fields<'_>, given: &BTreeSet<&'static str>, [first, second]: [&str; 2]) {
    if given.contains(first) && given.contains(second) {
        let help = Some(format!("give at most one of `{first}` and `{second}`"));
        fields.problem(second, format!("`{second}` beside `{first}`"), help);
    }
}

fn read_items<const N: usize>(fields: &mut Fields<'_>, all: &mut Vec<ServiceConfig>) {
    let items: Vec<Item<N>> = fields.or(SERVICES[N].key, "[]", "messages to this service");
    all.extend(items.into_iter().map(|item| item.0));
}

/// Reads all of them among the fields of a receiver.
pub(super) fn read_all(fields: &mut Fields<'_>) -> Vec<ServiceConfig> {
    let mut all = Vec::new();
    read_items::<0>(fields, &mut all);
    read_items::<1>(fields, &mut all);
    read_items::<2>(fields, &mut all);
    read_items::<3>(fields, &mut all);
    read_items::<4>(fields, &mut all);
    read_items::<5>(fields, &mut all);
    read_items::<6>(fields, &mut all);
    read_items::<7>(fields, &mut all);
    read_items::<8>(fields, &mut all);
    read_items::<9>(fields, &mut all);
    read_items::<10>(fields, &mut all);
    read_items::<11>(fields, &mut all);
    read_items::<12>(fields, &mut all);
    read_items::<13>(fields, &mut all);
    read_items::<14>(fields, &mut all);
    read_items::<15>(fields, &mut all);
    read_items::<16>(fields, &mut all);
    read_items::<17>(fields, &mut all);
    read_items::<18>(fields, &mut all);
    read_items::<19>(fields, &mut all);
    all
}
