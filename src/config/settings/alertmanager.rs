//! `alertmanager`: the tree of routes for `alerts`, the receivers for `notify`.

use std::path::PathBuf;

use super::client::{client, secret, tls};
use super::edges::address;
use crate::alerts::{
    DigestSettings, FlapSettings, GroupBy, InhibitRule, IntegrationSpec, LinkKey, LinkSettings, RateLimit,
    ReceiverSpec, ReminderSettings, Route, Settings, TimeInterval,
};
use crate::config::alertmanager as written;
use crate::config::alertmanager::Alertmanager;
use crate::config::checker::Checker;
use crate::config::files::is_pattern;
use crate::notify::{EmailSettings, Integration, Kind, Receiver, Smarthost, Threading, WebhookSettings};
use crate::yaml::Spanned;

/// What the section gives.
pub struct Told {
    pub alerts: Settings,
    pub receivers: Vec<Receiver>,
    pub templates: Vec<Template>,
}

/// A file of templates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    pub path: PathBuf,
    pub text: String,
}

/// Everything of the section.
pub fn settings(check: &mut Checker<'_>, external_url: &str, section: Option<&Alertmanager>) -> Told {
    let external_url = external_url.to_owned();
    let Some(section) = section else {
        let alerts = Settings { external_url, ..Settings::default() };
        return Told { alerts, receivers: Vec::new(), templates: Vec::new() };
    };
    check.refused(&section.refused);
    let receivers: Vec<Receiver> =
        section.receivers.iter().map(|receiver| one_receiver(check, section, receiver)).collect();
    let intervals = section.time_intervals.iter();
    let usual = Settings::default();
    let alerts = Settings {
        route: route(check, &section.route),
        receivers: section
            .receivers
            .iter()
            .zip(&receivers)
            .map(|(written, receiver)| spec(written, receiver))
            .collect(),
        inhibit_rules: section.inhibit_rules.iter().map(|rule| inhibit(check, rule)).collect(),
        time_intervals: intervals
            .map(|named| TimeInterval { name: named.name.value.clone(), entries: named.entries.clone() })
            .collect(),
        external_url,
        resolve_timeout: section.global.as_ref().map_or(usual.resolve_timeout, |global| global.resolve_timeout),
        resolve_when_muted: section.resolve_when_muted,
        flapping: section.flapping.as_ref().map(|flapping| FlapSettings {
            count: usize::try_from(flapping.count.value).unwrap_or(2),
            window: flapping.window.value,
            repeat: flapping.repeat.value,
            longest: flapping.longest.value,
        }),
        // The key is the host's own: the shell puts it in.
        links: section.links.as_ref().map(|links| LinkSettings {
            key: LinkKey([0; 32]),
            valid_for: links.valid_for,
            silence_for: links.silence_for.value,
            acknowledge_for: links.acknowledge_for.value,
        }),
        silence_reminders: section
            .silence_reminders
            .as_ref()
            .map(|reminders| ReminderSettings { before_end: reminders.before_end, muted_for: reminders.muted_for }),
        digest: section
            .digest
            .as_ref()
            .map(|digest| DigestSettings { receiver: digest.receiver.value.clone(), every: digest.every.value }),
        forward: false,
        tell_alone_after: section.tell_alone_after.value,
        ..Settings::default()
    };
    let templates = templates(check, &section.templates);
    Told { alerts, receivers, templates }
}

fn route(check: &mut Checker<'_>, node: &written::Route) -> Route {
    check.refused(&node.refused);
    let names = |list: &[Spanned<String>]| list.iter().map(|name| name.value.clone()).collect::<Vec<_>>();
    Route {
        receiver: node.receiver.as_ref().map(|name| name.value.clone()),
        group_by: node.group_by.as_ref().map(|labels| match &labels[..] {
            [one] if one.value == "..." => GroupBy::All,
            labels => GroupBy::Labels(names(labels)),
        }),
        go_on: node.go_on,
        matchers: node.matchers.0.clone(),
        group_wait: node.group_wait,
        group_interval: node.group_interval.as_ref().map(|span| span.value),
        repeat_interval: node.repeat_interval.as_ref().map(|span| span.value),
        resolve_wait: node.resolve_wait,
        severity_ladder: node.severity_ladder.as_deref().map(names),
        fleet: node.fleet,
        labels: node.labels.0.iter().cloned().collect(),
        mute_time_intervals: names(&node.mute_time_intervals),
        active_time_intervals: names(&node.active_time_intervals),
        routes: node.routes.iter().map(|child| route(check, child)).collect(),
    }
}

fn inhibit(check: &mut Checker<'_>, rule: &written::InhibitRule) -> InhibitRule {
    check.refused(&rule.refused);
    InhibitRule {
        name: rule.name.clone().unwrap_or_default(),
        source_matchers: rule.source.0.clone(),
        target_matchers: rule.target.0.clone(),
        equal: rule.equal.iter().map(|label| label.value.clone()).collect(),
    }
}

fn spec(written: &written::Receiver, receiver: &Receiver) -> ReceiverSpec {
    let rate_limit = written.rate_limit.as_ref().map(|limit| RateLimit {
        notifications: usize::try_from(limit.notifications.value).unwrap_or(usize::MAX),
        every: limit.every.value,
    });
    let integration = |integration: &Integration| IntegrationSpec {
        name: integration.name.clone(),
        send_resolved: integration.send_resolved,
        max_alerts: match &integration.kind {
            Kind::Webhook(webhook) => usize::try_from(webhook.max_alerts).unwrap_or(usize::MAX),
            Kind::Service(service) => usize::try_from(service.max_alerts()).unwrap_or(usize::MAX),
            Kind::Exec(exec) => usize::try_from(exec.max_alerts).unwrap_or(usize::MAX),
            Kind::Email(_) => 0,
        },
        rate_limit,
    };
    ReceiverSpec { name: receiver.name.clone(), integrations: receiver.integrations.iter().map(integration).collect() }
}

fn one_receiver(check: &mut Checker<'_>, section: &Alertmanager, receiver: &written::Receiver) -> Receiver {
    check.refused(&receiver.refused);
    let mut integrations = Vec::new();
    for (index, email) in receiver.email_configs.iter().enumerate() {
        let kind = Kind::Email(Box::new(one_email(check, section, &email.value)));
        integrations.push(Integration {
            name: format!("email[{index}]"),
            send_resolved: email.value.send_resolved,
            kind,
        });
    }
    for (index, webhook) in receiver.webhook_configs.iter().enumerate() {
        let Some(settings) = one_webhook(check, section, &webhook.value) else { continue };
        let (name, kind) = (format!("webhook[{index}]"), Kind::Webhook(Box::new(settings)));
        integrations.push(Integration { name, send_resolved: webhook.value.send_resolved, kind });
    }
    super::services::add(check, section, receiver, &mut integrations);
    Receiver { name: receiver.name.value.clone(), integrations }
}

fn one_email(check: &mut Checker<'_>, section: &Alertmanager, email: &written::Email) -> EmailSettings {
    check.refused(&email.refused);
    let none = written::Smtp::default();
    let smtp = email.smtp.or(section.global.as_ref().map_or(&none, |global| &global.smtp));
    // Both were found to be there when the section was read.
    let smarthost = smtp.smarthost.clone().map_or_else(
        || Smarthost { host: String::new(), port: 0 },
        |address| Smarthost { host: address.host, port: address.port },
    );
    let mut settings = EmailSettings::new(&email.to.value, smtp.from.as_deref().unwrap_or_default(), smarthost);
    settings.hello = smtp.hello.clone().unwrap_or(settings.hello);
    settings.auth_username = smtp.auth_username.clone();
    settings.auth_password = secret(check, &smtp.auth_password);
    settings.auth_secret = secret(check, &smtp.auth_secret);
    settings.auth_identity = smtp.auth_identity.clone().unwrap_or_default();
    settings.require_tls = smtp.require_tls.unwrap_or(settings.require_tls);
    settings.force_implicit_tls = smtp.force_implicit_tls;
    settings.tls = smtp.tls_config.as_ref().map(|config| tls(check, config)).unwrap_or_default();
    settings.headers = email.headers.0.iter().map(|(name, text)| (name.value.clone(), text.value.clone())).collect();
    settings.html = email.html.as_ref().map(|text| text.value.clone());
    settings.text = email.text.as_ref().map(|text| text.value.clone());
    settings.threading = email.threading.as_ref().filter(|threading| threading.enabled).map(|threading| {
        if threading.thread_by_date.value == "none" { Threading::Group } else { Threading::GroupAndDay }
    });
    settings
}

fn one_webhook(check: &mut Checker<'_>, section: &Alertmanager, webhook: &written::Webhook) -> Option<WebhookSettings> {
    let url = address(check, &webhook.url, &webhook.url_file)?;
    let mut settings = WebhookSettings::new(url);
    let global = section.global.as_ref().and_then(|global| global.http_config.as_ref());
    if let Some(config) = webhook.http_config.as_ref().or(global) {
        let refuse_link_local = settings.http.refuse_link_local;
        settings.http = client(check, config);
        settings.http.refuse_link_local = refuse_link_local;
    }
    settings.signing_secrets.extend(secret(check, &webhook.secret));
    settings.max_alerts = webhook.max_alerts;
    settings.payload = webhook.payload.clone();
    settings.timeout = Some(webhook.timeout.0).filter(|span| !span.is_zero());
    Some(settings)
}

fn templates(check: &mut Checker<'_>, patterns: &[Spanned<String>]) -> Vec<Template> {
    let mut all: Vec<Template> = Vec::new();
    for pattern in patterns {
        let path = check.path(&pattern.value);
        check.watched.extend(path.parent().map(ToOwned::to_owned));
        let paths = if is_pattern(&pattern.value) { check.files.glob(&path) } else { vec![path.clone()] };
        if paths.is_empty() {
            let message = format!("no file is called {}", path.display());
            check.warning(&pattern.place, message, "no templates come from here");
        }
        for path in paths {
            match check.files.read(&path) {
                Ok(text) if all.iter().all(|known| known.path != path) => {
                    all.push(Template { path: path.clone(), text })
                }
                Ok(_) => {}
                Err(why) => {
                    let message = format!("cannot read the templates {}: {why}", path.display());
                    check.error(&pattern.place, message, "correct the path; it begins at the directory of this file");
                }
            }
            check.watched.insert(path);
        }
    }
    all
}
