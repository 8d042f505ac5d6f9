//! The room's configuration as plain data; `config` builds it from YAML, with Alertmanager's fields and defaults.

use std::collections::BTreeMap;
use std::time::Duration;

use super::interval::TimeInterval;
use super::links::LinkKey;
use super::pace::RateLimit;
use crate::model::Matcher;

/// Everything the room needs to know.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    pub route: Route,
    pub receivers: Vec<ReceiverSpec>,
    pub inhibit_rules: Vec<InhibitRule>,
    pub time_intervals: Vec<TimeInterval>,
    /// Our own page, for links in messages.
    pub external_url: String,
    /// How long an alert without an end counts as firing when its source says nothing more (default 5 min).
    pub resolve_timeout: Duration,
    /// An addition to Alertmanager, off by default: an alert that was notified is told to be resolved even while it is
    /// silenced, inhibited or muted, so that no incident stays open elsewhere.
    pub resolve_when_muted: bool,
    /// Additions to Alertmanager, all off by default.
    pub flapping: Option<FlapSettings>,
    pub links: Option<LinkSettings>,
    pub silence_reminders: Option<ReminderSettings>,
    pub digest: Option<DigestSettings>,
    /// Whether alerts of our own rules go to real Alertmanagers too.
    pub forward: bool,
    /// What this machine does with routes of scope `fleet`.
    pub part: Part,
    /// How long after its time a host waits for the fleet to tell its alerts, and then tells them by itself.
    pub tell_alone_after: Duration,
}

/// What a machine does with routes of scope `fleet`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Part {
    /// The same as with all others: there is no fleet.
    #[default]
    Alone,
    /// A host of a fleet: it waits for the fleet to tell its alerts (see `member.rs`).
    Member { host: String },
    /// The host that counts, for all: it does these routes and no others (see `counter.rs`).
    Counter,
}

/// When an alert flaps, and how often that is told (see `flap.rs`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlapSettings {
    /// Starts within `window`; at least 2.
    pub count: usize,
    pub window: Duration,
    /// The wait for the second message; each further one doubles it.
    pub repeat: Duration,
    /// The longest wait.
    pub longest: Duration,
}

/// Links in messages (see `links.rs`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkSettings {
    pub key: LinkKey,
    /// How long a link can be used.
    pub valid_for: Duration,
    pub silence_for: Duration,
    pub acknowledge_for: Duration,
}

/// When people are reminded of silences (see `remind.rs`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReminderSettings {
    pub before_end: Duration,
    pub muted_for: Duration,
}

/// The digest of the noisiest rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DigestSettings {
    pub receiver: String,
    pub every: Duration,
}

impl Settings {
    /// The rate limits, by receiver and integration.
    pub(super) fn rate_limits(&self) -> Vec<((String, String), RateLimit)> {
        let of = |receiver: &ReceiverSpec| {
            let limited = receiver.integrations.iter().filter_map(|to| Some((to.name.clone(), to.rate_limit?)));
            limited.map(|(to, limit)| ((receiver.name.clone(), to), limit)).collect::<Vec<_>>()
        };
        self.receivers.iter().flat_map(of).collect()
    }
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            route: Route::default(),
            receivers: Vec::new(),
            inhibit_rules: Vec::new(),
            time_intervals: Vec::new(),
            external_url: String::new(),
            resolve_timeout: Duration::from_secs(300),
            resolve_when_muted: false,
            flapping: None,
            links: None,
            silence_reminders: None,
            digest: None,
            forward: false,
            part: Part::Alone,
            tell_alone_after: Duration::from_secs(30),
        }
    }
}

/// A node of the routing tree. What is `None` is taken from the parent, at the root from Alertmanager's defaults.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Route {
    pub receiver: Option<String>,
    pub group_by: Option<GroupBy>,
    /// Whether later siblings are tried too.
    pub go_on: bool,
    pub matchers: Vec<Matcher>,
    /// Default 30 s.
    pub group_wait: Option<Duration>,
    /// Default 5 min.
    pub group_interval: Option<Duration>,
    /// Default 4 h.
    pub repeat_interval: Option<Duration>,
    /// An addition to Alertmanager: how soon after an alert's end its group is flushed, where that is before the next
    /// `group_interval`. Default: no such flush.
    pub resolve_wait: Option<Duration>,
    /// An addition to Alertmanager: values of the label `severity`, mildest first. An alert is not notified while another
    /// fires that differs from it in nothing but a higher severity. An empty one ends what a parent began.
    pub severity_ladder: Option<Vec<String>>,
    /// An addition to Alertmanager: with `true` the alerts of all hosts of a fleet are told together. `None`: as the parent;
    /// at the root `false`.
    pub fleet: Option<bool>,
    /// Not inherited.
    pub mute_time_intervals: Vec<String>,
    /// Not inherited.
    pub active_time_intervals: Vec<String>,
    /// Labels of the route itself, shown with its groups; a child's win over its parent's.
    pub labels: BTreeMap<String, String>,
    pub routes: Vec<Route>,
}

/// What alerts are grouped by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupBy {
    /// `...`: every label; each alert is a group.
    All,
    /// These labels; none of them puts all alerts into one group.
    Labels(Vec<String>),
}

/// A receiver and its integrations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiverSpec {
    pub name: String,
    pub integrations: Vec<IntegrationSpec>,
}

/// What the room must know of one integration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IntegrationSpec {
    /// Its kind and place, for example `email[0]`.
    pub name: String,
    pub send_resolved: bool,
    /// Alerts in one message at most; 0 is without limit.
    pub max_alerts: usize,
    /// How often it may be called; an addition to Alertmanager. Default: at any time.
    pub rate_limit: Option<RateLimit>,
}

/// While a source fires, targets with the same values of the `equal` labels are not notified.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct InhibitRule {
    pub name: String,
    pub source_matchers: Vec<Matcher>,
    pub target_matchers: Vec<Matcher>,
    pub equal: Vec<String>,
}
