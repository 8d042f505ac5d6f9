//! The services that Alertmanager can notify and this version cannot: their fields are read and held to Alertmanager's
//! rules, so that a pasted file gets Alertmanager's verdict, and a refusal of its own apart from that.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::config::client::Client;
use crate::config::values::{Anything, GoDuration, HttpUrl, SecretUrl};
use crate::net::Secret;
use crate::yaml::{At, Decode, Fields, Place};

/// What stands in a field.
#[derive(Clone, Copy)]
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

use Kind::{Any, Bool, Map, Secret as Hush, SecretUrl as HushUrl, Span, Text, Texts, Url, Whole};

/// One service.
struct Service {
    key: &'static str,
    record: &'static str,
    fields: &'static [(&'static str, Kind)],
    /// Of each row at least one must be given, here or (second list) in `global`.
    needs: &'static [(&'static [&'static str], &'static [&'static str])],
    /// Pairs that exclude each other.
    exclusive: &'static [[&'static str; 2]],
    /// The only words that a field may have.
    words: &'static [(&'static str, &'static [&'static str])],
}

const SERVICES: [Service; 16] = [
    Service {
        key: "discord_configs",
        record: "discord config",
        fields: &[
            ("webhook_url", HushUrl),
            ("webhook_url_file", Text),
            ("content", Text),
            ("title", Text),
            ("message", Text),
            ("username", Text),
            ("avatar_url", Text),
        ],
        needs: &[(&["webhook_url", "webhook_url_file"], &[])],
        exclusive: &[["webhook_url", "webhook_url_file"]],
        words: &[],
    },
    Service {
        key: "incidentio_configs",
        record: "incidentio config",
        fields: &[
            ("url", HushUrl),
            ("url_file", Text),
            ("alert_source_token", Hush),
            ("alert_source_token_file", Text),
            ("max_alerts", Whole),
            ("timeout", Span),
            ("metadata", Map),
        ],
        needs: &[(&["url", "url_file"], &[])],
        exclusive: &[["url", "url_file"], ["alert_source_token", "alert_source_token_file"]],
        words: &[],
    },
    Service {
        key: "jira_configs",
        record: "jira config",
        fields: &[
            ("api_url", Url),
            ("api_type", Text),
            ("project", Text),
            ("summary", Any),
            ("description", Any),
            ("labels", Texts),
            ("priority", Text),
            ("issue_type", Text),
            ("reopen_transition", Text),
            ("resolve_transition", Text),
            ("wont_fix_resolution", Text),
            ("reopen_duration", Span),
            ("fields", Any),
        ],
        needs: &[(&["project"], &[]), (&["issue_type"], &[]), (&["api_url"], &["jira_api_url"])],
        exclusive: &[],
        words: &[],
    },
    Service {
        key: "mattermost_configs",
        record: "mattermost config",
        fields: &[
            ("webhook_url", HushUrl),
            ("webhook_url_file", Text),
            ("channel", Text),
            ("username", Text),
            ("text", Text),
            ("fallback", Text),
            ("color", Text),
            ("pretext", Text),
            ("author_name", Text),
            ("author_link", Text),
            ("author_icon", Text),
            ("title", Text),
            ("title_link", Text),
            ("fields", Any),
            ("thumb_url", Text),
            ("image_url", Text),
            ("footer", Text),
            ("footer_icon", Text),
            ("icon_url", Text),
            ("icon_emoji", Text),
            ("attachments", Any),
            ("type", Text),
            ("props", Any),
            ("priority", Any),
        ],
        needs: &[(&["webhook_url", "webhook_url_file"], &["mattermost_webhook_url", "mattermost_webhook_url_file"])],
        exclusive: &[["webhook_url", "webhook_url_file"]],
        words: &[],
    },
    Service {
        key: "msteams_configs",
        record: "msteams config",
        fields: &[
            ("webhook_url", HushUrl),
            ("webhook_url_file", Text),
            ("title", Text),
            ("summary", Text),
            ("text", Text),
        ],
        needs: &[(&["webhook_url", "webhook_url_file"], &[])],
        exclusive: &[["webhook_url", "webhook_url_file"]],
        words: &[],
    },
    Service {
        key: "msteamsv2_configs",
        record: "msteamsv2 config",
        fields: &[("webhook_url", HushUrl), ("webhook_url_file", Text), ("title", Text), ("text", Text)],
        needs: &[(&["webhook_url", "webhook_url_file"], &[])],
        exclusive: &[["webhook_url", "webhook_url_file"]],
        words: &[],
    },
    Service {
        key: "opsgenie_configs",
        record: "opsgenie config",
        fields: &[
            ("api_key", Hush),
            ("api_key_file", Text),
            ("api_url", Url),
            ("message", Text),
            ("description", Text),
            ("source", Text),
            ("details", Map),
            ("entity", Text),
            ("responders", Any),
            ("actions", Text),
            ("tags", Text),
            ("note", Text),
            ("priority", Text),
            ("update_alerts", Bool),
        ],
        needs: &[(&["api_key", "api_key_file"], &["opsgenie_api_key", "opsgenie_api_key_file"])],
        exclusive: &[["api_key", "api_key_file"]],
        words: &[],
    },
    Service {
        key: "pagerduty_configs",
        record: "pagerduty config",
        fields: &[
            ("service_key", Hush),
            ("service_key_file", Text),
            ("routing_key", Hush),
            ("routing_key_file", Text),
            ("url", Url),
            ("client", Text),
            ("client_url", Text),
            ("description", Text),
            ("details", Map),
            ("images", Any),
            ("links", Any),
            ("source", Text),
            ("severity", Text),
            ("class", Text),
            ("component", Text),
            ("group", Text),
            ("timeout", Span),
        ],
        needs: &[(&["routing_key", "routing_key_file", "service_key", "service_key_file"], &[])],
        exclusive: &[["routing_key", "routing_key_file"], ["service_key", "service_key_file"]],
        words: &[],
    },
    Service {
        key: "pushover_configs",
        record: "pushover config",
        fields: &[
            ("user_key", Hush),
            ("user_key_file", Text),
            ("token", Hush),
            ("token_file", Text),
            ("title", Text),
            ("message", Text),
            ("url", Text),
            ("url_title", Text),
            ("device", Text),
            ("sound", Text),
            ("priority", Text),
            ("retry", Span),
            ("expire", Span),
            ("ttl", Span),
            ("html", Bool),
            ("monospace", Bool),
        ],
        needs: &[(&["user_key", "user_key_file"], &[]), (&["token", "token_file"], &[])],
        exclusive: &[["user_key", "user_key_file"], ["token", "token_file"], ["html", "monospace"]],
        words: &[],
    },
    Service {
        key: "rocketchat_configs",
        record: "rocketchat config",
        fields: &[
            ("api_url", Url),
            ("channel", Text),
            ("token", Hush),
            ("token_file", Text),
            ("token_id", Hush),
            ("token_id_file", Text),
            ("color", Text),
            ("title", Text),
            ("title_link", Text),
            ("text", Text),
            ("fields", Any),
            ("short_fields", Bool),
            ("emoji", Text),
            ("icon_url", Text),
            ("image_url", Text),
            ("thumb_url", Text),
            ("link_names", Bool),
            ("actions", Any),
        ],
        needs: &[
            (&["token_id", "token_id_file"], &["rocketchat_token_id", "rocketchat_token_id_file"]),
            (&["token", "token_file"], &["rocketchat_token", "rocketchat_token_file"]),
        ],
        exclusive: &[["token", "token_file"], ["token_id", "token_id_file"]],
        words: &[],
    },
    Service {
        key: "slack_configs",
        record: "slack config",
        fields: &[
            ("api_url", HushUrl),
            ("api_url_file", Text),
            ("app_token", Hush),
            ("app_token_file", Text),
            ("app_url", Url),
            ("channel", Text),
            ("username", Text),
            ("color", Text),
            ("title", Text),
            ("title_link", Text),
            ("pretext", Text),
            ("text", Text),
            ("message_text", Text),
            ("fields", Any),
            ("short_fields", Bool),
            ("footer", Text),
            ("fallback", Text),
            ("callback_id", Text),
            ("icon_emoji", Text),
            ("icon_url", Text),
            ("image_url", Text),
            ("thumb_url", Text),
            ("link_names", Bool),
            ("mrkdwn_in", Texts),
            ("actions", Any),
            ("timeout", Span),
            ("update_message", Bool),
        ],
        needs: &[(
            &["api_url", "api_url_file", "app_token", "app_token_file"],
            &["slack_api_url", "slack_api_url_file", "slack_app_token", "slack_app_token_file"],
        )],
        exclusive: &[["api_url", "api_url_file"], ["app_token", "app_token_file"]],
        words: &[],
    },
    Service {
        key: "sns_configs",
        record: "sns config",
        fields: &[
            ("api_url", Text),
            ("sigv4", Any),
            ("topic_arn", Text),
            ("phone_number", Text),
            ("target_arn", Text),
            ("subject", Text),
            ("message", Text),
            ("attributes", Map),
        ],
        needs: &[(&["topic_arn", "target_arn", "phone_number"], &[])],
        exclusive: &[["topic_arn", "target_arn"], ["topic_arn", "phone_number"], ["target_arn", "phone_number"]],
        words: &[],
    },
    Service {
        key: "telegram_configs",
        record: "telegram config",
        fields: &[
            ("api_url", Url),
            ("bot_token", Hush),
            ("bot_token_file", Text),
            ("chat_id", Whole),
            ("chat_id_file", Text),
            ("message_thread_id", Whole),
            ("message", Text),
            ("disable_notifications", Bool),
            ("parse_mode", Text),
        ],
        needs: &[
            (&["bot_token", "bot_token_file"], &["telegram_bot_token", "telegram_bot_token_file"]),
            (&["chat_id", "chat_id_file"], &[]),
        ],
        exclusive: &[["bot_token", "bot_token_file"], ["chat_id", "chat_id_file"]],
        words: &[("parse_mode", &["", "Markdown", "MarkdownV2", "HTML"])],
    },
    Service {
        key: "victorops_configs",
        record: "victorops config",
        fields: &[
            ("api_key", Hush),
            ("api_key_file", Text),
            ("api_url", Url),
            ("routing_key", Text),
            ("message_type", Text),
            ("state_message", Text),
            ("entity_display_name", Text),
            ("monitoring_tool", Text),
            ("custom_fields", Map),
        ],
        needs: &[
            (&["routing_key"], &[]),
            (&["api_key", "api_key_file"], &["victorops_api_key", "victorops_api_key_file"]),
        ],
        exclusive: &[["api_key", "api_key_file"]],
        words: &[],
    },
    Service {
        key: "webex_configs",
        record: "webex config",
        fields: &[("api_url", Url), ("message", Text), ("room_id", Text)],
        needs: &[(&["room_id"], &[]), (&["http_config"], &[])],
        exclusive: &[],
        words: &[],
    },
    Service {
        key: "wechat_configs",
        record: "wechat config",
        fields: &[
            ("api_secret", Hush),
            ("api_secret_file", Text),
            ("corp_id", Text),
            ("message", Text),
            ("api_url", Url),
            ("to_user", Text),
            ("to_party", Text),
            ("to_tag", Text),
            ("agent_id", Text),
            ("message_type", Text),
        ],
        needs: &[
            (&["api_secret", "api_secret_file"], &["wechat_api_secret", "wechat_api_secret_file"]),
            (&["corp_id"], &["wechat_api_corp_id"]),
        ],
        exclusive: &[["api_secret", "api_secret_file"]],
        words: &[("message_type", &["text", "markdown"])],
    },
];

/// The services' fields in `global`.
pub(super) const GLOBAL: [(&str, Kind); 28] = [
    ("jira_api_url", Url),
    ("slack_api_url", HushUrl),
    ("slack_api_url_file", Text),
    ("slack_app_token", Hush),
    ("slack_app_token_file", Text),
    ("slack_app_url", Url),
    ("pagerduty_url", Url),
    ("opsgenie_api_url", Url),
    ("opsgenie_api_key", Hush),
    ("opsgenie_api_key_file", Text),
    ("wechat_api_url", Url),
    ("wechat_api_secret", Hush),
    ("wechat_api_secret_file", Text),
    ("wechat_api_corp_id", Text),
    ("victorops_api_url", Url),
    ("victorops_api_key", Hush),
    ("victorops_api_key_file", Text),
    ("telegram_api_url", Url),
    ("telegram_bot_token", Hush),
    ("telegram_bot_token_file", Text),
    ("webex_api_url", Url),
    ("rocketchat_api_url", Url),
    ("rocketchat_token", Hush),
    ("rocketchat_token_file", Text),
    ("rocketchat_token_id", Hush),
    ("rocketchat_token_id_file", Text),
    ("mattermost_webhook_url", HushUrl),
    ("mattermost_webhook_url_file", Text),
];

/// Pairs in `global` that exclude each other.
pub(super) const GLOBAL_EXCLUSIVE: [[&str; 2]; 11] = [
    ["slack_app_token", "slack_app_token_file"],
    ["slack_api_url", "slack_api_url_file"],
    ["slack_app_token", "slack_api_url"],
    ["opsgenie_api_key", "opsgenie_api_key_file"],
    ["victorops_api_key", "victorops_api_key_file"],
    ["telegram_bot_token", "telegram_bot_token_file"],
    ["rocketchat_token", "rocketchat_token_file"],
    ["rocketchat_token_id", "rocketchat_token_id_file"],
    ["wechat_api_secret", "wechat_api_secret_file"],
    ["mattermost_webhook_url", "mattermost_webhook_url_file"],
    ["slack_app_token_file", "slack_api_url_file"],
];

/// Reads fields by their kinds; gives the keys that hold something.
pub(super) fn read(fields: &mut Fields<'_>, known: &[(&'static str, Kind)]) -> BTreeSet<&'static str> {
    let mut given = BTreeSet::new();
    for (key, kind) in known {
        let holds = match kind {
            Kind::Text => fields.hidden::<String>(key).is_some_and(|text| !text.is_empty()),
            Kind::Secret => fields.hidden::<Secret>(key).is_some_and(|text| !text.expose().is_empty()),
            Kind::Bool => fields.hidden::<bool>(key).is_some(),
            Kind::Url => fields.hidden::<HttpUrl>(key).is_some(),
            Kind::SecretUrl => fields.hidden::<SecretUrl>(key).is_some(),
            Kind::Whole => fields.hidden::<i64>(key).is_some(),
            Kind::Span => fields.hidden::<GoDuration>(key).is_some_and(|span| span.0 > Duration::ZERO),
            Kind::Texts => fields.hidden::<Vec<String>>(key).is_some(),
            Kind::Map => fields.hidden::<std::collections::BTreeMap<String, Anything>>(key).is_some(),
            Kind::Any => fields.hidden::<Anything>(key).is_some(),
        };
        if holds {
            given.insert(*key);
        }
    }
    given
}

/// One entry of a service that this version does not notify.
#[derive(Clone, Debug)]
pub struct OtherIntegration {
    /// For example `slack_configs`.
    pub key: &'static str,
    pub place: Place,
    given: BTreeSet<&'static str>,
    index: usize,
}

impl OtherIntegration {
    /// What it needs and finds neither here nor in `global`: each a list of keys of which one will do, and those of `global`.
    pub(super) fn missing(
        &self,
        global: &BTreeSet<&'static str>,
    ) -> Vec<(&'static [&'static str], &'static [&'static str])> {
        let found = |(here, there): &&(&'static [&'static str], &'static [&'static str])| {
            here.iter().any(|key| self.given.contains(key)) || there.iter().any(|key| global.contains(key))
        };
        SERVICES[self.index].needs.iter().filter(|need| !found(need)).copied().collect()
    }
}

struct Item<const N: usize>(OtherIntegration);

impl<const N: usize> Decode for Item<N> {
    fn decode(at: &mut At<'_>) -> Option<Item<N>> {
        at.node()?;
        let service = &SERVICES[N];
        let place = at.place();
        let mut fields = at.record(service.record, "")?;
        let mut given = read(&mut fields, service.fields);
        let _: Option<bool> = fields.hidden("send_resolved");
        let client: Option<Client> = fields.hidden("http_config");
        let authorized = client.is_some_and(|client| client.authorization.is_some() || !client.bearer.is_empty());
        // Only Webex needs it, and needs a token in it.
        if authorized {
            given.insert("http_config");
        }
        for pair in service.exclusive {
            exclude(&mut fields, &given, *pair);
        }
        for (key, words) in service.words {
            let text: String = fields.hidden(key).unwrap_or_else(|| words[0].to_owned());
            if !words.contains(&text.as_str()) {
                let help = words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ");
                fields.problem(key, format!("unknown value `{text}`"), Some(format!("write one of {help}")));
            }
        }
        if fields.hidden::<bool>("update_message") == Some(true) {
            let url: Option<Secret> = fields.hidden("api_url");
            if url.is_some_and(|url| url.expose() != "https://slack.com/api/chat.postMessage") {
                let help =
                    Some("set `api_url` to https://slack.com/api/chat.postMessage, with a bot's token".to_owned());
                fields.problem("update_message", "a webhook's messages cannot be updated", help);
            }
        }
        fields.finish();
        Some(Item(OtherIntegration { key: service.key, place, given, index: N }))
    }
}

/// Reports the second of two keys that exclude each other.
pub(super) fn exclude(fields: &mut Fields<'_>, given: &BTreeSet<&'static str>, [first, second]: [&str; 2]) {
    if given.contains(first) && given.contains(second) {
        let help = Some(format!("give at most one of `{first}` and `{second}`"));
        fields.problem(second, format!("`{second}` beside `{first}`"), help);
    }
}

fn read_items<const N: usize>(fields: &mut Fields<'_>, all: &mut Vec<OtherIntegration>) {
    let items: Option<Vec<Item<N>>> = fields.hidden(SERVICES[N].key);
    all.extend(items.unwrap_or_default().into_iter().map(|item| item.0));
}

/// Reads all of them among the fields of a receiver.
pub(super) fn read_all(fields: &mut Fields<'_>) -> Vec<OtherIntegration> {
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
    all
}
