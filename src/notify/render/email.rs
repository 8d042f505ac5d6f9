//! A mail that somebody reads at three in the morning: what, where, how bad, since when, what to do, in that order.
//!
//! The HTML part carries its few styles in its elements, sets no background, and takes colours that can be read on light
//! and on dark.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use super::plot::{Drawn, HEIGHT, Plot, Summary, WIDTH};
use super::{escape_html, is_web_link, one_line, plain, shortened};
use crate::alerts::{AlertStatus, Notification, NotifiedAlert, NotifyReason};
use crate::limits;
use crate::time::format_duration;

/// A rendered mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Email {
    /// One line without control characters.
    pub subject: String,
    pub text: String,
    pub html: String,
    /// A PNG that the HTML part refers to as `cid:plot`.
    pub picture: Option<Vec<u8>>,
}

/// The picture's name within the mail.
pub(in crate::notify) const PICTURE: &str = "plot";

/// Renders our own mail, with a picture of the expression where there is one.
pub fn email(notification: &Notification, drawn: Option<&Drawn>) -> Email {
    let beside = drawn.map(|drawn| beside(&drawn.plot, &drawn.summary));
    Email {
        subject: subject(notification),
        text: text(notification, beside.as_deref()),
        html: html(notification, beside.as_deref()),
        picture: drawn.map(|drawn| drawn.png.clone()),
    }
}

/// Where an alert can be silenced: the page with a silence that has the alert's labels filled in.
pub fn silence_url(external_url: &str, labels: &BTreeMap<String, String>) -> String {
    let pairs: Vec<String> = labels.iter().map(|(name, value)| format!("{}={value:?}", one_line(name))).collect();
    let mut filter = String::new();
    for byte in format!("{{{}}}", pairs.join(",")).bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            filter.push(char::from(byte));
        } else {
            let _ = write!(filter, "%{byte:02X}");
        }
    }
    format!("{}/#/silences/new?filter={filter}", external_url.trim_end_matches('/'))
}

/// What stands below the picture: `rate(x[5m]), the last 1h: 0.1 to 0.9, now 0.85; the dashed line is 0.8`.
fn beside(plot: &Plot, summary: &Summary) -> String {
    let number = |value: f64| {
        let size = value.abs();
        if size != 0.0 && !(1e-3..1e6).contains(&size) { format!("{value:.3e}") } else { trimmed(value) }
    };
    let (low, high, newest) = (number(summary.low), number(summary.high), number(summary.newest));
    let expression = shortened(&one_line(&plot.expression), limits::EMAIL_SUBJECT_CHARS);
    let mut text = format!("{expression}, the last {}: {low} to {high}, now {newest}", span(summary.span));
    if let Some(threshold) = plot.threshold {
        let _ = write!(text, "; the dashed line is {}", number(threshold));
    }
    if plot.more > 0 {
        let _ = write!(text, "; {} more series are not drawn", plot.more);
    }
    text
}

/// At most three digits behind the point, without zeros at the end.
fn trimmed(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// `[FIRING:2] CheckoutDown on web-1 (critical)`.
fn subject(notification: &Notification) -> String {
    let firing = notification.alerts.iter().filter(|alert| alert.status == AlertStatus::Firing).count() as u64;
    let state = match notification.status {
        AlertStatus::Firing => format!("[FIRING:{}]", firing + notification.truncated_alerts),
        AlertStatus::Resolved => "[RESOLVED]".to_owned(),
    };
    let mut subject = format!("{state} {}", headline(notification));
    if let Some(severity) = shared(notification, "severity") {
        let _ = write!(subject, " ({severity})");
    }
    shortened(&one_line(&subject), limits::EMAIL_SUBJECT_CHARS)
}

/// What and where: `CheckoutDown on web-1`.
fn headline(notification: &Notification) -> String {
    let what = match shared(notification, "alertname") {
        Some(name) => name.to_owned(),
        None => format!("{} alerts", notification.alerts.len()),
    };
    match place(notification) {
        Some(place) => format!("{what} on {place}"),
        None => what,
    }
}

/// A label that all alerts of the message share.
fn shared<'a>(notification: &'a Notification, label: &str) -> Option<&'a str> {
    let of_group = notification.common_labels.get(label).or_else(|| notification.group_labels.get(label));
    of_group.map(String::as_str).filter(|value| !value.is_empty())
}

const PLACES: [&str; 7] = ["instance", "host", "node", "service", "job", "cluster", "zone"];

/// Where: the most exact place that all alerts share, or how many instances there are.
fn place(notification: &Notification) -> Option<String> {
    let mut instances: Vec<&str> =
        notification.alerts.iter().filter_map(|alert| Some(alert.labels.get("instance")?.as_str())).collect();
    instances.sort_unstable();
    instances.dedup();
    if instances.len() > 1 {
        return Some(format!("{} instances", instances.len()));
    }
    PLACES.iter().find_map(|label| shared(notification, label)).map(str::to_owned)
}

/// The alerts in the order in which they matter, each part with its title.
fn parts(notification: &Notification) -> Vec<(&'static str, Vec<&NotifiedAlert>)> {
    let pick = |status: AlertStatus, news: Option<bool>| -> Vec<&NotifiedAlert> {
        let fits = |alert: &&NotifiedAlert| alert.status == status && news.is_none_or(|news| alert.is_news == news);
        notification.alerts.iter().filter(fits).collect()
    };
    let parts = [
        ("New", pick(AlertStatus::Firing, Some(true))),
        ("Still firing", pick(AlertStatus::Firing, Some(false))),
        ("Resolved", pick(AlertStatus::Resolved, None)),
    ];
    parts.into_iter().filter(|(_, alerts)| !alerts.is_empty()).collect()
}

fn why(reason: NotifyReason) -> &'static str {
    match reason {
        NotifyReason::FirstNotification => "This is the first message about it.",
        NotifyReason::NewAlerts => "New alerts joined those that were firing.",
        NotifyReason::SomeResolved => "Some alerts are over, others still fire.",
        NotifyReason::AllResolved => "It is over.",
        NotifyReason::RepeatInterval => "This is a reminder: it still fires.",
    }
}

fn span(span: Duration) -> String {
    format_duration(Duration::from_secs(span.as_secs()))
}

/// `since 2023-11-14 22:13:20 UTC (5m)`, or for how long it was.
fn when(alert: &NotifiedAlert, notification: &Notification) -> String {
    let stamp = |at: crate::time::Timestamp| {
        let text = at.to_rfc3339();
        format!("{} {} UTC", text.get(..10).unwrap_or_default(), text.get(11..19).unwrap_or_default())
    };
    match alert.ends_at {
        Some(end) => {
            format!("{} to {} ({})", stamp(alert.starts_at), stamp(end), span(end.since(alert.starts_at)))
        }
        None => {
            let lasted = span(notification.created_at.since(alert.starts_at));
            format!("since {} ({lasted})", stamp(alert.starts_at))
        }
    }
}

/// An alert's own headline: its name, and the place when it has one.
fn title(alert: &NotifiedAlert) -> String {
    let name = alert.labels.get("alertname").map_or("alert", String::as_str);
    let place = PLACES.iter().find_map(|label| alert.labels.get(*label));
    let severity = alert.labels.get("severity").map(|severity| format!(" ({severity})")).unwrap_or_default();
    one_line(&place.map_or_else(|| format!("{name}{severity}"), |place| format!("{name} on {place}{severity}")))
}

/// Annotations, those first that people write for people.
fn annotations(alert: &NotifiedAlert) -> Vec<(String, String)> {
    let rank = |name: &str| match name {
        "summary" => 0,
        "message" => 1,
        "description" => 2,
        "value" | "current" => 3,
        "runbook_url" | "runbook" => 4,
        _ => 5,
    };
    let mut found: Vec<(&String, &String)> = alert.annotations.iter().filter(|(_, value)| !value.is_empty()).collect();
    found.sort_by_key(|(name, _)| rank(name));
    found.iter().map(|(name, value)| (one_line(name), shown(value))).collect()
}

fn labels(labels: &BTreeMap<String, String>) -> Vec<(String, String)> {
    labels.iter().map(|(name, value)| (one_line(name), one_line(&shown(value)))).collect()
}

fn shown(value: &str) -> String {
    shortened(plain(value).trim_end(), limits::EMAIL_VALUE_CHARS)
}

fn left_out(notification: &Notification) -> Option<String> {
    let hidden = notification.alerts.len().saturating_sub(limits::EMAIL_ALERTS) as u64 + notification.truncated_alerts;
    (hidden > 0).then(|| format!("{hidden} more alerts are not shown here."))
}

/// What can be done about it by a link.
fn links(notification: &Notification) -> Vec<(&'static str, String)> {
    let words = [("acknowledge", "Acknowledge"), ("silence", "Silence")];
    let link = |(name, word)| Some((word, one_line(notification.links.get(name)?)));
    words.into_iter().filter_map(link).collect()
}

fn text(notification: &Notification, beside: Option<&str>) -> String {
    let mut out = format!("{}\n{}\n", one_line(&headline(notification)), why(notification.reason));
    if let Some(beside) = beside {
        let _ = write!(out, "\n{beside}\n");
    }
    let mut room = limits::EMAIL_ALERTS;
    for (part, alerts) in parts(notification) {
        let _ = write!(out, "\n{} ({})\n", part.to_uppercase(), alerts.len());
        for alert in alerts.iter().take(room) {
            let _ = write!(out, "\n* {}\n  {}\n", title(alert), when(alert, notification));
            for (name, value) in annotations(alert) {
                let _ = writeln!(out, "  {name}: {}", value.replace('\n', "\n    "));
            }
            for (name, value) in labels(&alert.labels) {
                let _ = writeln!(out, "    {name} = {value}");
            }
            if !alert.generator_url.is_empty() {
                let _ = writeln!(out, "  expression: {}", one_line(&alert.generator_url));
            }
            if let Some(link) = silence(alert, notification) {
                let _ = writeln!(out, "  silence: {link}");
            }
        }
        room -= room.min(alerts.len());
    }
    if let Some(line) = left_out(notification) {
        let _ = write!(out, "\n{line}\n");
    }
    for (what, link) in links(notification) {
        let _ = write!(out, "\n{what}: {link}\n");
    }
    let _ = write!(out, "\n-- \nAll alerts: {}\n", one_line(&notification.external_url));
    let _ = writeln!(out, "Receiver: {}, message {}", one_line(&notification.receiver), one_line(&notification.id.0));
    out
}

/// The link that silences an alert; what is over needs none.
fn silence(alert: &NotifiedAlert, notification: &Notification) -> Option<String> {
    let link = silence_url(&notification.external_url, &alert.labels);
    let fits = link.len() <= limits::EMAIL_VALUE_CHARS && is_web_link(&link);
    (alert.status == AlertStatus::Firing && fits).then_some(link)
}

const RED: &str = "#d93025";
const GREEN: &str = "#1e8e3e";
const GREY: &str = "#80868b";

/// Colours come from the client where it has a dark mode; what is coloured here can be read on light and on dark.
const HEAD: &str = concat!(
    "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">",
    "<meta name=\"viewport\" content=\"width=device-width\">",
    "<meta name=\"color-scheme\" content=\"light dark\"><meta name=\"supported-color-schemes\" content=\"light dark\">",
    "<style>:root{color-scheme:light dark}a{color:#1a73e8}@media (prefers-color-scheme:dark){a{color:#8ab4f8}}</style>",
    "</head>\n<body style=\"margin:0;padding:16px;font-family:system-ui,-apple-system,Segoe UI,sans-serif;",
    "font-size:15px;line-height:1.45\">\n<div style=\"max-width:600px;margin:0 auto\">\n",
);

fn html(notification: &Notification, beside: Option<&str>) -> String {
    let firing = notification.status == AlertStatus::Firing;
    let (colour, state) = if firing { (RED, "Firing") } else { (GREEN, "Resolved") };
    let mut out = String::from(HEAD);
    let _ = write!(
        out,
        "<div style=\"border-left:6px solid {colour};padding:2px 0 2px 14px\"><div style=\"color:{colour};font-size:13px;\
         font-weight:600\">{state}</div>\n<h1 style=\"font-size:21px;line-height:1.25;margin:2px 0\">{}</h1>\n\
         <div style=\"color:{GREY}\">{}</div></div>\n",
        escape_html(&one_line(&headline(notification))),
        why(notification.reason)
    );
    if let Some(beside) = beside {
        let beside = escape_html(beside);
        let _ = writeln!(
            out,
            "<p style=\"margin:18px 0 0\"><img src=\"cid:{PICTURE}\" alt=\"{beside}\" width=\"{WIDTH}\" \
             height=\"{HEIGHT}\" style=\"max-width:100%;height:auto;border:0\"><br>\
             <span style=\"color:{GREY};font-size:12px\">{beside}</span></p>"
        );
    }
    let mut room = limits::EMAIL_ALERTS;
    for (part, alerts) in parts(notification) {
        let colour = if part == "Resolved" { GREEN } else { RED };
        let _ = writeln!(
            out,
            "<h2 style=\"font-size:15px;color:{colour};margin:22px 0 8px\">{part} ({})</h2>",
            alerts.len()
        );
        for alert in alerts.iter().take(room) {
            html_alert(alert, notification, colour, &mut out);
        }
        room -= room.min(alerts.len());
    }
    if let Some(line) = left_out(notification) {
        let _ = writeln!(out, "<p>{line}</p>");
    }
    for (what, link) in links(notification) {
        let _ = writeln!(out, "<p>{}</p>", html_value(&link, what));
    }
    let page = one_line(&notification.external_url);
    let _ = write!(
        out,
        "<p style=\"color:{GREY};font-size:12px;border-top:1px solid {GREY}55;padding-top:10px;margin-top:24px\">{} \
         &middot; receiver {} &middot; message {}</p>\n</div></body></html>\n",
        html_value(&page, "All alerts"),
        escape_html(&one_line(&notification.receiver)),
        escape_html(&one_line(&notification.id.0))
    );
    out
}

fn html_alert(alert: &NotifiedAlert, notification: &Notification, colour: &str, out: &mut String) {
    let _ = writeln!(
        out,
        "<div style=\"border:1px solid {GREY}55;border-left:3px solid {colour};border-radius:4px;padding:10px 14px;\
         margin:0 0 12px\"><b>{}</b><div style=\"color:{GREY};font-size:13px\">{}</div>",
        escape_html(&title(alert)),
        escape_html(&when(alert, notification))
    );
    let is_runbook = |name: &str, value: &str| name.starts_with("runbook") && is_web_link(value);
    for (name, value) in annotations(alert).iter().filter(|(name, value)| !is_runbook(name, value)) {
        let link = html_value(value, value);
        match name.as_str() {
            "summary" | "message" => drop(writeln!(out, "<div style=\"margin-top:6px\">{link}</div>")),
            name => {
                let name = escape_html(name);
                let _ = writeln!(
                    out,
                    "<div style=\"margin-top:6px\"><span style=\"color:{GREY}\">{name}:</span> {link}</div>"
                );
            }
        }
    }
    let _ = write!(out, "<div style=\"color:{GREY};font-size:12px;margin-top:8px\">");
    for (name, value) in labels(&alert.labels) {
        let _ = write!(out, "{}=<b>{}</b> ", escape_html(&name), escape_html(&value));
    }
    out.push_str("</div>");
    let runbook = annotations(alert).into_iter().find(|(name, value)| is_runbook(name, value));
    let links = [
        runbook.map(|(_, link)| (link, "Runbook")),
        Some((one_line(&alert.generator_url), "Expression")).filter(|(link, _)| is_web_link(link)),
        silence(alert, notification).map(|link| (link, "Silence")),
    ];
    let links: Vec<String> = links.into_iter().flatten().map(|(link, label)| html_value(&link, label)).collect();
    if !links.is_empty() {
        let _ =
            write!(out, "<div style=\"margin-top:8px;font-size:14px\">{}</div>", links.join(" &nbsp;&middot;&nbsp; "));
    }
    out.push_str("</div>\n");
}

/// A link when the text is a web address, else the escaped text with its line breaks.
fn html_value(text: &str, label: &str) -> String {
    if is_web_link(text) {
        format!("<a href=\"{}\">{}</a>", escape_html(text), escape_html(label))
    } else {
        escape_html(text).replace('\n', "<br>")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::render::plot::tests::plot;
    use crate::notify::tests::notification;

    #[test]
    fn the_subject_says_what_where_and_how_bad() {
        let check = |change: &dyn Fn(&mut Notification), expected: &str| {
            let mut notification = notification();
            change(&mut notification);
            assert_eq!(email(&notification, None).subject, expected);
        };
        check(&|_| {}, "[FIRING:2] CheckoutDown on 2 instances (critical)");
        let one = |it: &mut Notification| {
            it.alerts.truncate(1);
            it.common_labels.insert("instance".to_owned(), "web-1".to_owned());
        };
        check(&one, "[FIRING:1] CheckoutDown on web-1 (critical)");
        let over = |it: &mut Notification| {
            one(it);
            it.status = AlertStatus::Resolved;
        };
        check(&over, "[RESOLVED] CheckoutDown on web-1 (critical)");
        let mixed = |it: &mut Notification| {
            it.common_labels.clear();
            it.group_labels.clear();
        };
        check(&mixed, "[FIRING:2] 3 alerts on 2 instances");
        let nasty = |it: &mut Notification| {
            one(it);
            let text = "x\r\nBcc: all@test\u{202e}\u{1b}]0;t\u{7}";
            it.common_labels.insert("alertname".to_owned(), text.to_owned());
        };
        check(&nasty, "[FIRING:1] x Bcc: all@test\u{fffd}\u{fffd}]0;t\u{fffd} on web-1 (critical)");
    }

    #[test]
    fn the_text_tells_new_from_old_and_since_when() {
        insta::assert_snapshot!(email(&notification(), plot().draw().as_ref()).text);
    }

    #[test]
    fn links_that_act_are_in_both_parts() {
        let mut notification = notification();
        assert!(!email(&notification, None).text.contains("Silence:"));
        notification.links.insert("silence".to_owned(), "http://host.test/act/a.b".to_owned());
        let mail = email(&notification, None);
        assert!(mail.text.contains("\nSilence: http://host.test/act/a.b\n"), "{}", mail.text);
        assert!(mail.html.contains("<a href=\"http://host.test/act/a.b\">Silence</a>"), "{}", mail.html);
    }

    #[test]
    fn the_html_says_the_same() {
        insta::assert_snapshot!(email(&notification(), plot().draw().as_ref()).html);
    }

    #[test]
    fn a_silence_is_filled_in_with_the_alerts_labels() {
        let labels = BTreeMap::from([("job".to_owned(), "a \"b\"&c".to_owned()), ("x".to_owned(), "y".to_owned())]);
        let expected = "http://h/#/silences/new?filter=%7Bjob%3D%22a%20%5C%22b%5C%22%26c%22%2Cx%3D%22y%22%7D";
        assert_eq!(silence_url("http://h/", &labels), expected);
    }

    #[test]
    fn foreign_text_is_no_markup_and_long_messages_are_cut_and_counted() {
        let mut notification = notification();
        let alert = notification.alerts[0].clone();
        notification.alerts = vec![alert; limits::EMAIL_ALERTS + 5];
        let nasty = "<script>alert(1)</script>\u{1b}[2J";
        notification.alerts[0].labels.insert(nasty.to_owned(), nasty.to_owned());
        notification.alerts[0].annotations.insert("runbook_url".to_owned(), "javascript:alert(1)".to_owned());
        notification.alerts[0].annotations.insert("summary".to_owned(), "x".repeat(limits::EMAIL_VALUE_CHARS + 1));
        notification.alerts[0].generator_url = "https://h/\"onclick=\"x".to_owned();
        let mail = email(&notification, None);
        assert!(!mail.html.contains("<script") && mail.html.contains("&lt;script&gt;"), "{}", mail.html);
        assert!(!mail.html.contains("href=\"javascript") && !mail.html.contains("\"onclick"), "{}", mail.html);
        assert!(!mail.html.contains('\u{1b}') && !mail.text.contains('\u{1b}'));
        assert!(mail.text.contains("5 more alerts are not shown here.") && mail.text.contains("x…"));
        assert_eq!(mail.text.matches("* CheckoutDown").count(), limits::EMAIL_ALERTS);
    }
}
