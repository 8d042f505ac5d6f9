//! The services and programs of a receiver, for `notify`.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::client::client;
use crate::config::alertmanager::{self as written, Alertmanager, Given, ServiceConfig, Values};
use crate::config::checker::Checker;
use crate::net::SecretSource;
use crate::notify::{ExecSettings, FieldValue, Integration, Kind, Service, ServiceSettings};
use crate::yaml::Spanned;

/// Adds what a receiver has of them, each kind counted by itself.
pub(super) fn add(
    check: &mut Checker<'_>,
    section: &Alertmanager,
    receiver: &written::Receiver,
    integrations: &mut Vec<Integration>,
) {
    let mut counts: BTreeMap<Service, usize> = BTreeMap::new();
    for config in &receiver.services {
        let count = counts.entry(config.service).or_default();
        let name = format!("{}[{count}]", config.service.as_str());
        *count += 1;
        let send_resolved = config.send_resolved.unwrap_or(config.service.sends_resolved());
        let kind = Kind::Service(Box::new(service(check, section, config)));
        integrations.push(Integration { name, send_resolved, kind });
    }
    for (index, exec) in receiver.exec_configs.iter().enumerate() {
        if !section.allow_exec {
            let help = "add `allow_exec: true` to `alertmanager`, if whoever writes this file may start programs";
            check.error(&exec.place, "`exec_configs` is not allowed", help);
        }
        let exec = &exec.value;
        let settings = ExecSettings {
            command: exec.command.clone(),
            timeout: Some(exec.timeout.0).filter(|span| !span.is_zero()),
            max_alerts: exec.max_alerts,
        };
        let (name, kind) = (format!("exec[{index}]"), Kind::Exec(Box::new(settings)));
        integrations.push(Integration { name, send_resolved: exec.send_resolved, kind });
    }
}

fn service(check: &mut Checker<'_>, section: &Alertmanager, config: &ServiceConfig) -> ServiceSettings {
    let mut settings = ServiceSettings::new(config.service);
    let global = section.global.as_ref();
    if let Some(http) = config.client.as_ref().or(global.and_then(|global| global.http_config.as_ref())) {
        settings.http = client(check, http);
        // A key in a header of its own would go along to wherever the answer points.
        (settings.http.follow_redirects, settings.http.refuse_link_local) = (false, true);
    }
    let none = Values::new();
    let values = config.complete(global.map_or(&none, |global| &global.services));
    for (key, value) in &values {
        // The file of a field stands under the field's own name.
        if let Some(field) = key.strip_suffix("_file")
            && let Some(field) = known_field(config, field)
        {
            if let Given::Text(file) = value
                && !file.value.is_empty()
            {
                let source = SecretSource::File(check.file("the secret file", file));
                settings.fields.insert(field, FieldValue::Secret(source));
            }
            continue;
        }
        match value {
            Given::Tree(tree) if *key == "sigv4" => sigv4(check, config, tree, &mut settings),
            value => {
                if let Some(value) = field(check, key, value) {
                    // A file that was seen before is the same field.
                    settings.fields.entry(key).or_insert(value);
                }
            }
        }
    }
    settings
}

/// A field of the same entry by its name; the table has every `x` beside its `x_file`.
fn known_field(config: &ServiceConfig, name: &str) -> Option<&'static str> {
    config.field_names().find(|known| *known == name)
}

fn field(check: &mut Checker<'_>, key: &str, value: &Given) -> Option<FieldValue> {
    Some(match value {
        Given::Text(text) => FieldValue::Text(text.value.clone()),
        Given::Secret(secret) if secret.value.expose().is_empty() => return None,
        Given::Secret(secret) => {
            if key.ends_with("url") && secret.value.expose().contains("{{") {
                let help = "write the address out; use one receiver for each address";
                let message = "an address cannot be a template here: an alert could choose where it goes";
                check.error(&secret.place, message, help);
            }
            FieldValue::Secret(SecretSource::Inline(secret.value.clone()))
        }
        Given::Flag(flag) => FieldValue::Flag(*flag),
        Given::Number(number) => FieldValue::Number(*number),
        Given::Span(span) => FieldValue::Span(*span),
        Given::Texts(texts) => FieldValue::Texts(texts.clone()),
        Given::Tree(tree) => FieldValue::Tree(tree.clone()),
    })
}

/// `sigv4`, taken apart: its key is a secret.
fn sigv4(check: &mut Checker<'_>, config: &ServiceConfig, tree: &Json, settings: &mut ServiceSettings) {
    let text = |key: &str| tree[key].as_str().unwrap_or_default().to_owned();
    for key in ["profile", "role_arn"] {
        if !text(key).is_empty() {
            let help = "write `access_key` and `secret_key` (or `secret_key_file`) under `sigv4`";
            check.error(&config.place, format!("`sigv4.{key}` is not supported in this version"), help);
        }
    }
    if text("access_key").is_empty() || (text("secret_key").is_empty() && text("secret_key_file").is_empty()) {
        let help = "write `access_key` and `secret_key` (or `secret_key_file`): the environment's are not used";
        check.error(&config.place, "`sigv4` has no credentials", help);
    }
    if text("region").is_empty() {
        let help = "write `region: eu-central-1` or the like";
        check.error(&config.place, "`sigv4` has no region", help);
    }
    let secret = match text("secret_key_file") {
        file if file.is_empty() => SecretSource::Inline(text("secret_key").into()),
        file => {
            let file = Spanned { value: file, place: config.place.clone() };
            SecretSource::File(check.file("the secret file", &file))
        }
    };
    settings.fields.insert("sigv4_region", FieldValue::Text(text("region")));
    settings.fields.insert("sigv4_access_key", FieldValue::Text(text("access_key")));
    settings.fields.insert("sigv4_secret_key", FieldValue::Secret(secret));
}
