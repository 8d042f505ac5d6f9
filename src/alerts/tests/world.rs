//! A world in virtual time: a machine, a receiver that takes everything, and a script of what happens.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::alerts::*;
use crate::model::Labels;
use crate::time::Timestamp;

pub fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// Where the scripts start: 2023-11-14T22:13:20Z, a Tuesday.
pub const START: i64 = 1_700_000_000_000;

pub fn at(seconds: u64) -> Timestamp {
    Timestamp::from_millis(START) + secs(seconds)
}

pub fn labels(text: &str) -> Labels {
    Labels::from_pairs(text.split_whitespace().map(|pair| pair.split_once('=').unwrap_or(("alertname", pair))))
}

/// One receiver `r` with a webhook that takes resolved alerts; 30 s, 5 min and 1 h; grouped by nothing.
pub fn settings() -> Settings {
    let hook = IntegrationSpec { name: "webhook[0]".to_owned(), send_resolved: true, max_alerts: 0, rate_limit: None };
    Settings {
        route: Route { receiver: Some("r".to_owned()), repeat_interval: Some(secs(3600)), ..Route::default() },
        receivers: vec![ReceiverSpec { name: "r".to_owned(), integrations: vec![hook] }],
        external_url: "http://page".to_owned(),
        ..Settings::default()
    }
}

pub fn report(text: &str, starts_at: Timestamp, ends_at: Option<Timestamp>) -> AlertIn {
    let annotations = BTreeMap::from([("summary".to_owned(), format!("about {text}"))]);
    let (labels, generator_url) = (labels(text), "http://expr".to_owned());
    AlertIn { labels, annotations, starts_at: Some(starts_at), ends_at, generator_url }
}

/// `first_notification firing Down/a resolved Down/b`, each alert by its label values.
pub fn line(message: &Notification) -> String {
    let name = |alert: &NotifiedAlert| {
        let mut values: Vec<&str> = vec![alert.labels.get("alertname").map_or("", String::as_str)];
        values.extend(alert.labels.iter().filter(|(name, _)| *name != "alertname").map(|(_, value)| value.as_str()));
        values.join("/")
    };
    let of = |status| {
        let alerts = message.alerts.iter().filter(|a| a.status == status).map(name);
        alerts.collect::<Vec<_>>().join(" ")
    };
    let reason = serde_json::to_value(message.reason).expect("a reason");
    let mut line = format!("{} {}", message.integration, reason.as_str().expect("a text"));
    for (word, names) in [("firing", of(AlertStatus::Firing)), ("resolved", of(AlertStatus::Resolved))] {
        if !names.is_empty() {
            line.push_str(&format!(" {word} {names}"));
        }
    }
    line
}

pub struct World {
    pub machine: Alerts,
    pub now: u64,
    /// What was received, each with its second.
    pub heard: Vec<String>,
    /// The journal.
    pub disk: BTreeMap<String, serde_json::Value>,
}

impl World {
    pub fn new(settings: Settings) -> World {
        World { machine: Alerts::new(settings, 1), now: 0, heard: Vec::new(), disk: BTreeMap::new() }
    }

    /// Lets time go by; every message is accepted.
    pub fn run_to(&mut self, second: u64) {
        while let Some(next) = self.machine.next_deadline().filter(|next| *next <= at(second)) {
            let next = next.max(at(self.now));
            self.now = next.since(at(0)).as_secs();
            let mut out = Vec::new();
            self.machine.tick(next, &mut out);
            self.save();
            for message in out {
                self.heard.push(format!("{} {}", self.now, line(&message)));
                assert_eq!(self.machine.delivered(next, &message.id, Outcome::Accepted), Settled::Done);
            }
            self.save();
        }
        self.now = second;
    }

    pub fn save(&mut self) {
        for (key, value) in self.machine.take_changes() {
            match value {
                Some(value) => drop(self.disk.insert(key, value)),
                None => drop(self.disk.remove(&key)),
            }
        }
    }

    /// The process dies and starts again from the journal.
    pub fn crash(&mut self) {
        let settings = self.machine.settings.clone();
        self.machine = Alerts::new(settings, self.now);
        let bad = self.machine.restore(self.disk.clone(), at(self.now));
        assert_eq!(bad, Vec::<String>::new());
        self.save();
    }

    pub fn fire(&mut self, text: &str) {
        let now = at(self.now);
        let known = self.machine.alerts.get(&labels(text)).map(|alert| alert.starts_at);
        self.machine.put(now, report(text, known.unwrap_or(now), Some(now + secs(86_400)))).expect("a valid alert");
        self.save();
    }

    pub fn resolve(&mut self, text: &str) {
        let now = at(self.now);
        let known = self.machine.alerts.get(&labels(text)).map(|alert| alert.starts_at);
        self.machine.put(now, report(text, known.unwrap_or(now), Some(now))).expect("a valid alert");
        self.save();
    }
}
