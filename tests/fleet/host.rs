//! One host: a real engine, its journal, and the words of the store that are on their way to it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use brownout::alerts::{DeliveryId, GroupBy, IntegrationSpec, Notification, ReceiverSpec, Route};
use brownout::engine::{ActionSettings, Command, DeliveryOutcome, Effects, Engine, Event, Restored, Settings};
use brownout::model::{Batch, Labels, NAME, Source, SwitchName};
use brownout::store::{Memory, Mine, Reach, Store as _, StoreError, Table, World};
use brownout::switches::{
    Census, Decision, Declaration, FleetSettings, HandOver, Mode, OnSilence, PinRequest, Place, Shelf, StageWord,
    StageWrite, Staged, SwitchKind, Tables, Term,
};
use brownout::time::Timestamp;
use brownout::yaml::SourceFile;
use brownout::{alerts, rules, series};
use serde_json::Value;
use tokio::sync::watch;

pub const LADDER: [&str; 3] = ["full", "cached", "off"];

pub fn switch() -> SwitchName {
    SwitchName::new("recs").expect("a name")
}

/// What every host of a test runs.
#[derive(Clone)]
pub struct Plan {
    pub rules: String,
    pub on_silence: OnSilence,
    pub alerts: alerts::Settings,
}

impl Plan {
    /// One alert, on a route of scope `fleet`: told after 5 s, and then every 10.
    pub fn of_alerts() -> Plan {
        let rules = "groups: [{name: g, interval: 1s, rules: [{alert: Trouble, expr: 'trouble > 0'}]}]".to_owned();
        let secs = |secs| Some(Duration::from_secs(secs));
        let hook = IntegrationSpec { name: "webhook[0]".into(), send_resolved: true, max_alerts: 0, rate_limit: None };
        let route = Route {
            receiver: Some("r".into()),
            group_by: Some(GroupBy::Labels(vec!["alertname".into()])),
            group_wait: secs(5),
            group_interval: secs(10),
            fleet: Some(true),
            ..Route::default()
        };
        let receivers = vec![ReceiverSpec { name: "r".into(), integrations: vec![hook] }];
        let alerts = alerts::Settings { route, receivers, ..alerts::Settings::default() };
        Plan { rules, on_silence: OnSilence::Hold, alerts }
    }

    /// One rule for the switch, with this scope and quorum.
    pub fn of(scope_and_quorum: &str) -> Plan {
        let rules = format!(
            "\
groups:
- name: g
  interval: 1s
  rules:
  - degrade: recs
    levels:
    - {{level: cached, when: 'trouble > 0', for: 1s}}
    - {{level: 'off', when: 'trouble > 1', for: 1s}}
    recover: {{for: 2s}}
    min_hold: 2s
    {scope_and_quorum}
  - alert: BrownoutWrong
    expr: wrong > 0
"
        );
        Plan { rules, on_silence: OnSilence::Hold, alerts: alerts::Settings::default() }
    }
}

pub struct Host {
    pub name: String,
    pub zone: String,
    /// How far its clock is from the true time, in milliseconds.
    pub clock: i64,
    /// 0 is well.
    pub trouble: f64,
    pub engine: Option<Engine>,
    plan: Plan,
    journal: BTreeMap<String, Value>,
    view: Option<View>,
    /// When each word arrives.
    inbox: Vec<(u64, Word)>,
    sample_due: u64,
    seed: u64,
    /// The revision of the fleet's configuration that it runs, also over a restart, and all that it ran.
    pub runs: u64,
    pub ran: BTreeSet<u64>,
    /// A revision whose rules are wrong.
    pub bad: u64,
    /// Messages it has sent.
    pub messages: Vec<(u64, Notification)>,
    /// Scale calls it has made.
    pub calls: Vec<String>,
    /// Under which offices it wrote what rules decided.
    pub offices: Vec<Option<u64>>,
}

struct View {
    memory: Memory,
    table: watch::Receiver<Arc<Table>>,
    census: watch::Receiver<Arc<Census>>,
    term: watch::Receiver<Option<Term>>,
    reach: watch::Receiver<Reach>,
    staged: watch::Receiver<Arc<Staged>>,
}

/// An event that can be said twice.
#[derive(Clone)]
enum Word {
    Tables(Tables),
    Census(Arc<Census>),
    Elected(Option<Term>),
    Reach(bool),
    Refused(Place, SwitchName, bool),
    Outbox(BTreeMap<String, Value>),
    Staged(Arc<Staged>),
    NotHandedOver(Vec<(Shelf, String)>),
    Decisions(Vec<Decision>),
    Delivered(DeliveryId, DeliveryOutcome),
}

impl Host {
    pub fn new(name: String, zone: &str, plan: Plan, seed: u64) -> Host {
        Host {
            name,
            zone: zone.to_owned(),
            clock: 0,
            trouble: 0.0,
            engine: None,
            plan,
            journal: BTreeMap::new(),
            view: None,
            inbox: Vec::new(),
            sample_due: 0,
            seed,
            runs: 0,
            ran: BTreeSet::new(),
            bad: 0,
            messages: Vec::new(),
            calls: Vec::new(),
            offices: Vec::new(),
        }
    }

    fn settings(&self) -> Settings {
        let (groups, problems) = rules::parse_file(&SourceFile::new("r.yaml", &self.plan.rules));
        Settings {
            series: series::Settings::default(),
            rules: rules::Settings { groups: groups.unwrap_or_else(|| panic!("{problems:?}")), ..Default::default() },
            alerts: self.plan.alerts.clone(),
            actions: ActionSettings {
                declarations: vec![Declaration {
                    name: switch(),
                    description: String::new(),
                    kind: SwitchKind::Feature,
                    ladder: LADDER.map(str::to_owned).to_vec(),
                    on_silence: self.plan.on_silence,
                }],
                mode: Mode::Enforce,
                ..ActionSettings::default()
            },
            fleet: Some(FleetSettings { host: self.name.clone(), zone: self.zone.clone(), version: "1".into() }),
            record: false,
        }
    }

    fn local(&self, at: u64) -> Timestamp {
        Timestamp::from_millis(at as i64 + self.clock)
    }

    /// Starts, or starts again with what the journal kept.
    pub fn start(&mut self, at: u64, world: &World) {
        let memory = world.host(&self.name);
        let view = View {
            table: memory.watch(),
            census: memory.census(),
            term: memory.term(),
            reach: memory.reach(),
            staged: memory.staged(),
            memory,
        };
        self.inbox.clear();
        self.view = Some(view);
        let restored = Restored { entries: self.journal.clone(), ..Restored::default() };
        let mut out = Effects::default();
        let engine = Engine::restore(self.local(at), self.settings(), restored, self.seed, &mut out);
        self.engine = Some(engine);
        self.sample_due = at;
        self.perform(at, out);
        self.give(at, Event::RunsConfig { revision: self.runs, refused: None });
        self.hear(at, &mut |_| 0, true);
        let past = self.view.as_ref().and_then(|view| ready(view.memory.decisions(100))).and_then(Result::ok);
        self.inbox.extend(past.map(|past| (at, Word::Decisions(past))));
    }

    pub fn kill(&mut self, world: &World) {
        world.kill(&self.name);
        (self.engine, self.view) = (None, None);
        self.inbox.clear();
    }

    /// What the store says now goes on its way. `delays` gives for each word how long it takes, and below zero never.
    pub fn hear(&mut self, at: u64, delays: &mut dyn FnMut(bool) -> u64, all: bool) {
        let Some(view) = &mut self.view else { return };
        let mut words = Vec::new();
        let reach_news = view.reach.has_changed().unwrap_or(false) || all;
        if reach_news {
            words.push(Word::Reach(view.reach.borrow_and_update().is_connected()));
        }
        let connected = view.reach.borrow().is_connected();
        if connected && (view.table.has_changed().unwrap_or(false) || reach_news) {
            let table = view.table.borrow_and_update().clone();
            let (revision, fleet, zones) = (table.revision, table.switches.clone(), table.zones.clone());
            words.push(Word::Tables(Tables { revision, fleet, zones }));
        }
        if connected && (view.staged.has_changed().unwrap_or(false) || reach_news) {
            words.push(Word::Staged(view.staged.borrow_and_update().clone()));
        }
        let term_news = view.term.has_changed().unwrap_or(false) || all;
        if term_news {
            let term = view.term.borrow_and_update().clone();
            words.push(Word::Elected(term.clone()));
            if term.is_some()
                && let Some(outbox) = ready(view.memory.outbox()).and_then(Result::ok)
            {
                words.push(Word::Outbox(outbox));
            }
        }
        if connected && (view.census.has_changed().unwrap_or(false) || reach_news || term_news) {
            words.push(Word::Census(view.census.borrow_and_update().clone()));
        }
        for word in words {
            // What the session says of itself comes at once and in order; what others wrote may be late, or come twice.
            let told_late = matches!(word, Word::Tables(_) | Word::Census(_));
            let delay = if told_late { delays(false) } else { 0 };
            self.inbox.push((at + delay, word.clone()));
            let again = if told_late { delays(true) } else { 0 };
            if again > 0 {
                self.inbox.push((at + again, word));
            }
        }
    }

    /// Everything that is due at this moment.
    pub fn step(&mut self, at: u64) {
        if self.engine.is_none() {
            return;
        }
        let mut due = Vec::new();
        self.inbox.retain(|(when, word)| {
            if *when <= at {
                due.push(word.clone());
            }
            *when > at
        });
        for word in due {
            if let Word::Staged(staged) = &word {
                self.take_revision(at, staged);
            }
            self.give(
                at,
                match word {
                    Word::Tables(tables) => Event::StoreChanged(tables),
                    Word::Census(census) => Event::Census(census),
                    Word::Elected(term) => Event::Elected(term),
                    Word::Reach(reach) => Event::StoreReach(reach),
                    Word::Refused(place, name, moved) => Event::StoreRefused { place, name, moved },
                    Word::Outbox(outbox) => Event::Outbox(outbox),
                    Word::Staged(staged) => Event::Staged(staged),
                    Word::Decisions(past) => Event::Decisions(past),
                    Word::NotHandedOver(ids) => Event::NotHandedOver(ids),
                    Word::Delivered(id, outcome) => Event::Delivered(id, outcome),
                },
            );
        }
        if at >= self.sample_due {
            self.sample_due = at + 1000;
            let labels = Labels::from_pairs([(NAME, "trouble")]);
            let wrong = f64::from(u8::from(self.bad > 0 && self.runs == self.bad));
            let samples = vec![(labels, self.trouble), (Labels::from_pairs([(NAME, "wrong")]), wrong)];
            let batch = Batch { samples, ..Batch::ended(Source::new("sim", "x"), self.local(at)) };
            self.give(at, Event::Samples(batch));
        }
        let due = self.engine.as_ref().and_then(Engine::next_deadline);
        if due.is_some_and(|due| due <= self.local(at)) {
            self.give(at, Event::Tick);
        }
    }

    /// As the daemon does: it runs what the stage wants of it.
    fn take_revision(&mut self, at: u64, staged: &Staged) {
        let wanted = staged.stage.wanted(&self.name);
        if staged.stage.last > 0 && wanted != self.runs {
            self.runs = wanted;
            self.ran.insert(wanted);
            self.give(at, Event::RunsConfig { revision: wanted, refused: None });
        }
    }

    /// A person says this by the host; true when the store took it.
    pub fn say(&mut self, at: u64, word: &StageWord) -> bool {
        let Some(view) = &self.view else { return false };
        let staged = Arc::clone(&view.staged.borrow());
        let Ok(stage) = staged.stage.say(self.local(at), word) else { return false };
        view.memory.stage(StageWrite { expected: staged.revision, stage, bundle: None, term: None }).is_ok()
    }

    /// The stage as this host has heard of it.
    pub fn stage(&self) -> Option<Arc<Staged>> {
        Some(Arc::clone(&self.view.as_ref()?.staged.borrow()))
    }

    pub fn pin(&mut self, at: u64, level: &str, lasts: Duration) {
        let until = self.local(at) + lasts;
        let request = PinRequest {
            switch: "recs".into(),
            level: level.into(),
            until,
            reason: "simulated".into(),
            by: self.name.clone(),
        };
        self.give(at, Event::Command(1, Command::Pin(request)));
    }

    /// The system's clock is set.
    pub fn set_clock(&mut self, at: u64, clock: i64) {
        let by = clock - self.clock;
        self.clock = clock;
        if self.engine.is_some() {
            self.give(at, Event::ClockStepped(by));
        }
    }

    pub fn give(&mut self, at: u64, event: Event) {
        let now = self.local(at);
        let mut out = Effects::default();
        let Some(engine) = &mut self.engine else { return };
        engine.handle(now, event, &mut out);
        self.perform(at, out);
    }

    fn perform(&mut self, at: u64, out: Effects) {
        for (key, value) in out.journal {
            match value {
                Some(value) => drop(self.journal.insert(key, value)),
                None => drop(self.journal.remove(&key)),
            }
        }
        let Some(view) = &self.view else { return };
        for (rule, vote) in out.votes {
            view.memory.put_mine(Mine::Vote(rule, vote));
        }
        if let Some(report) = out.report {
            view.memory.put_mine(Mine::Alerts(Arc::new(report)));
        }
        if let Some(member) = out.presence {
            view.memory.put_mine(Mine::Presence(member));
        }
        let mut refused = Vec::new();
        for write in out.writes {
            if !write.record.asks.is_empty() && write.record.pin.is_none() {
                self.offices.push(write.term.as_ref().map(|term| term.number));
            }
            match view.memory.put(&write) {
                Ok(_) => {}
                Err(StoreError::NotShared(name)) => {
                    panic!("{name}: a host's own record was given to the fleet's store")
                }
                Err(error) => {
                    let moved = matches!(error, StoreError::Conflict { .. });
                    refused.push(Word::Refused(write.place, write.name, moved));
                }
            }
        }
        if let Some(write) = out.stage {
            // What is not taken is decided anew.
            drop(view.memory.stage(write));
        }
        let mut messages = out.notifications;
        match self.hand_over(&out.hand_over) {
            Ok(()) => {
                self.calls.extend(out.calls.into_iter().map(|call| call.id));
                messages.extend(out.grouped);
            }
            Err(StoreError::Deposed { .. }) => {}
            Err(_) => {
                let ids = out.hand_over.into_iter().map(|what| (what.shelf, what.id)).collect();
                refused.push(Word::NotHandedOver(ids));
                let retry = DeliveryOutcome::Retry { reason: "no store".into(), after: None };
                refused.extend(out.grouped.into_iter().map(|message| Word::Delivered(message.id, retry.clone())));
            }
        }
        for message in messages {
            self.inbox.push((at + 100, Word::Delivered(message.id.clone(), DeliveryOutcome::Accepted)));
            self.messages.push((at, message));
        }
        self.inbox.extend(refused.into_iter().map(|word| (at, word)));
    }

    fn hand_over(&self, what: &[HandOver]) -> Result<(), StoreError> {
        let Some(view) = self.view.as_ref().filter(|_| !what.is_empty()) else { return Ok(()) };
        ready(view.memory.hand_over(what.to_vec())).expect("it waits for nothing")
    }

    /// The level that this host's own rule wants.
    pub fn opinion(&self) -> Option<usize> {
        Some(self.engine.as_ref()?.switches().ladders().map(|(_, ladder)| ladder.memory().depth).max().unwrap_or(0))
    }

    /// The levels that its decisions led to, oldest first.
    pub fn decisions(&self, at: u64) -> Vec<String> {
        let picture = self.engine.as_ref().map(|engine| engine.picture(self.local(at), rules::Listed::Nothing));
        picture.map(|picture| picture.decisions.into_iter().map(|decision| decision.to).collect()).unwrap_or_default()
    }

    /// What applications on this host read.
    pub fn told(&self) -> Option<String> {
        let fleet = self.engine.as_ref()?.fleet()?;
        Some(fleet.told().switches.get(&switch())?.level.clone())
    }

    pub fn is_stale(&self) -> bool {
        let fleet = self.engine.as_ref().and_then(Engine::fleet);
        fleet.is_none_or(|fleet| fleet.told().stale_since.is_some())
    }
}

/// The value of a future that waits for nothing.
fn ready<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match std::pin::pin!(future).poll(&mut context) {
        std::task::Poll::Ready(value) => Some(value),
        std::task::Poll::Pending => None,
    }
}
