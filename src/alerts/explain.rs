//! The way of an alert through routes, inhibition, silences, time intervals and timers, in words: who is told what and when,
//! and what holds it back.

use std::fmt::Write as _;

use super::machine::{Alerts, Group};
use super::route::{Node, group_labels, label_set};
use super::settings::IntegrationSpec;
use crate::model::{Labels, Quoted};
use crate::time::{Timestamp, format_duration};

/// `2026-01-31T12:00:00.000Z (in 25s)`.
fn moment(at: Timestamp, now: Timestamp) -> String {
    let whole = |span: std::time::Duration| format_duration(std::time::Duration::from_secs(span.as_secs()));
    match at {
        at if at > now => format!("{} (in {})", at.to_rfc3339(), whole(at.since(now))),
        at if at == now => format!("{} (now)", at.to_rfc3339()),
        at => format!("{} ({} ago)", at.to_rfc3339(), whole(now.since(at))),
    }
}

impl Alerts {
    /// The way of an alert, known or not, for people to read.
    pub fn explain(&self, labels: &Labels, now: Timestamp) -> String {
        let mut out = self.tree.explain(labels);
        let known = self.alerts.get(labels);
        let state = match known {
            None => "it is not known here: what follows is what would happen if it fired now".to_owned(),
            Some(alert) if alert.resolved(now) => format!("it ended at {}", moment(alert.ends_at, now)),
            Some(alert) => format!("it fires since {}", moment(alert.starts_at, now)),
        };
        let _ = writeln!(out, "\n{state}");
        if let Some(flapping) = self.flaps.flapping(labels, now, self.settings.flapping.as_ref()) {
            let [since, calm] = [flapping.since, flapping.calm_at].map(|at| moment(at, now));
            let _ =
                writeln!(out, "it flaps since {since}: it counts as firing until {calm} if it does not start again");
        }
        let free = !self.explain_hidden(labels, now, &mut out);
        for at in self.tree.matching(labels) {
            self.explain_node(&self.tree.nodes[at], labels, now, free, &mut out);
        }
        out
    }

    /// Silences and inhibition; true when there are any.
    fn explain_hidden(&self, labels: &Labels, now: Timestamp, out: &mut String) -> bool {
        let before = out.len();
        for id in self.silences.covering(labels, now, &self.settings.time_intervals) {
            let _ = write!(out, "silenced by {id}");
            if let Some(silence) = self.silence(&id) {
                let until = moment(silence.ends_at, now);
                let _ = write!(out, " of {} ({}) until {until}", Quoted(&silence.created_by), silence.comment);
            }
            out.push('\n');
        }
        let inhibitor = self.inhibitor(now);
        let name = |fingerprint: &crate::model::Fingerprint| {
            let source = self.alerts.keys().find(|labels| labels.fingerprint() == *fingerprint);
            source.map(|labels| format!(" {}", label_set(labels))).unwrap_or_default()
        };
        for source in inhibitor.inhibiting(&self.settings.inhibit_rules, labels) {
            let _ = writeln!(out, "inhibited by the alert {source}{}", name(&source));
        }
        let mut ladders: Vec<usize> =
            self.tree.matching(labels).into_iter().filter_map(|at| self.tree.nodes[at].ladder).collect();
        ladders.sort_unstable();
        ladders.dedup();
        for ladder in ladders {
            for source in inhibitor.outranking(&self.tree.ladders, Some(ladder), labels) {
                let _ = writeln!(out, "outranked on its severity ladder by the alert {source}{}", name(&source));
            }
        }
        out.len() != before
    }

    fn explain_node(&self, node: &Node, labels: &Labels, now: Timestamp, free: bool, out: &mut String) {
        let text = label_set(&group_labels(node, labels));
        let _ = writeln!(out, "\nreceiver {}, group {text}", Quoted(&node.receiver));
        let quiet = self.muted_by(node, now);
        if let Some(interval) = &quiet {
            let _ = writeln!(out, "  route {} is quiet because of the time interval {interval:?}", node.key);
        }
        let group = self.groups.get(&format!("{}:{text}", node.id));
        let interval = format_duration(node.group_interval);
        let look = group.map_or(now + node.group_wait, |group| group.next_flush);
        let word = if group.is_some() { "is" } else { "would be" };
        let _ = writeln!(out, "  the group {word} looked at {}, then every {interval}", moment(look, now));
        if let Some(wait) = node.resolve_wait {
            let _ = writeln!(out, "  and {} after the end of an alert in it", format_duration(wait));
        }
        self.explain_fleet(node, labels, now, out);
        let receiver = self.settings.receivers.iter().find(|receiver| receiver.name == node.receiver);
        let integrations = receiver.map(|receiver| receiver.integrations.as_slice()).unwrap_or_default();
        if integrations.is_empty() {
            out.push_str("  the receiver has no integration: nobody is told\n");
        }
        for integration in integrations {
            self.explain_integration(node, group, integration, &text, (labels, now), free && quiet.is_none(), out);
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the place in the tree, and where to write")]
    fn explain_integration(
        &self,
        node: &Node,
        group: Option<&Group>,
        to: &IntegrationSpec,
        text: &str,
        (labels, now): (&Labels, Timestamp),
        free: bool,
        out: &mut String,
    ) {
        let group_key = self.group_key(node, text);
        let key = |key: &&super::log::LogKey| {
            key.receiver == node.receiver && key.integration == to.name && key.group_key == group_key
        };
        let entry = self.log.iter().find(|(k, _)| key(k)).map(|(_, entry)| entry);
        let look = group.map_or(now + node.group_wait, |group| group.next_flush);
        let fingerprint = labels.fingerprint().to_string();
        let told = entry.is_some_and(|entry| entry.firing.contains(&fingerprint));
        let next = match entry {
            _ if !free => "is held back: see above".to_owned(),
            Some(entry) if told => {
                let repeat = moment(entry.at + node.repeat_interval, now);
                format!("was told at {}; a repeat at the first look after {repeat}", moment(entry.at, now))
            }
            _ => format!("will be told at {}", moment(look, now)),
        };
        let _ = writeln!(out, "  {}: {next}", to.name);
        if let Some(known) = entry.and_then(|entry| entry.acknowledged.as_ref()).filter(|known| now < known.until) {
            let until = moment(known.until, now);
            let _ = writeln!(out, "  {}: acknowledged by {}: no repeats until {until}", to.name, Quoted(&known.by));
        }
        if !to.send_resolved {
            let _ = writeln!(out, "  {}: is not told the end (send_resolved: false)", to.name);
        }
        let here = |d: &&super::outbox::DeliveryView| {
            d.receiver == node.receiver && d.integration == to.name && d.group_key == group_key
        };
        let reading = self.outbox.deliveries();
        for delivery in self.deliveries.iter().chain(&reading).filter(here) {
            let _ =
                write!(out, "  {}: message {} is on its way, {} tries so far", to.name, delivery.id, delivery.tries);
            if let Some(error) = &delivery.last_error {
                let _ = write!(out, ", the last one: {error}");
            }
            if let Some(at) = delivery.next_try {
                let _ = write!(out, ", next try {}", moment(at, now));
            }
            out.push('\n');
        }
    }
}
