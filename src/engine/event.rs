//! What goes into the engine and what comes out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::core::Settings;
use crate::alerts::{AlertIn, DeliveryId, Notification, SilenceIn};
use crate::model::{Batch, Labels, Source, SwitchName};
use crate::series::Refusal;
use crate::switches::{
    Audited, Census, ConfigRefused, Decision, FreezeRequest, HandOver, Member, PinRequest, Place, RolloutWord,
    ScaleCall, Shares, Shelf, StageWrite, Staged, Tables, Term, Vote, Write,
};
use crate::time::Timestamp;

/// Everything that the world can tell the engine. Closed on purpose.
#[derive(Debug)]
pub enum Event {
    /// A source has been observed.
    Samples(Batch),
    /// The deadline that [`super::Engine::next_deadline`] named has come.
    Tick,
    /// A person wants something; the number comes back with the reply.
    Command(u64, Command),
    /// What became of a notification or a scale call.
    Delivered(DeliveryId, DeliveryOutcome),
    /// The store's tables changed, by us or by others.
    StoreChanged(Tables),
    /// Who is there in the fleet and what everybody thinks; whenever that changes.
    Census(Arc<Census>),
    /// This host is elected to count the votes, under this office; or it is not any more.
    Elected(Option<Term>),
    /// Whether the shared store answers. While it does not, what is known of it is stale.
    StoreReach(bool),
    /// The store did not take keys that [`Effects::hand_over`] gave it: they are given again.
    NotHandedOver(Vec<(Shelf, String)>),
    /// The latest decisions that the shared store has, oldest first; after a start.
    Decisions(Vec<Decision>),
    /// What the outbox holds: told to a host with or after its election.
    Outbox(BTreeMap<String, Value>),
    /// The stage of the fleet's configuration, as the store has it.
    Staged(Arc<Staged>),
    /// What this host runs of the fleet's configuration, and what it should run and does not take.
    RunsConfig { revision: u64, refused: Option<ConfigRefused> },
    /// How limits are shared out, for hosts that are not told who is in the fleet.
    Shares(Arc<Shares>),
    /// How many requests have come for limits that are shared out, since this was told last.
    AskedFor(BTreeMap<SwitchName, f64>),
    /// The file that freezes appeared, with its text, or is gone.
    FreezeFile(Option<String>),
    /// The store did not take a write. `moved`: because somebody else wrote the switch since.
    StoreRefused { place: Place, name: SwitchName, moved: bool },
    /// The system's clock was set by so many milliseconds, back when below zero. The time of this event is the new one.
    ClockStepped(i64),
    /// The configuration was loaded again, and is good.
    Reloaded(Box<Settings>),
}

/// What became of a delivery.
#[derive(Clone, Debug, PartialEq)]
pub enum DeliveryOutcome {
    Accepted,
    /// Try again, not before `after` if it is given.
    Retry {
        reason: String,
        after: Option<Duration>,
    },
    /// Not wanted, for good.
    Refused {
        reason: String,
    },
}

/// What a person can want.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    Pin(PinRequest),
    Unpin {
        switch: String,
        by: String,
    },
    Freeze(FreezeRequest),
    Unfreeze {
        by: String,
    },
    Rollout {
        switch: String,
        word: RolloutWord,
        by: String,
    },
    /// Alerts of others: those that are valid are taken even when others are not.
    PutAlerts(Vec<AlertIn>),
    SetSilence(Box<SilenceIn>),
    ExpireSilence(String),
    /// Does what a link of a message says.
    UseLink {
        token: String,
        by: String,
    },
}

/// The answer to a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    Done,
    /// Why not, and what to do instead.
    Refused(String),
    /// There is nothing of this name.
    NotFound(String),
    /// The id of what was made or changed.
    Made(String),
    /// What was done, in words.
    Said(String),
    /// It was done, but the disk has not taken it: a restart would lose it. The shell says this, not the engine.
    Unsaved,
}

/// A change of one durable key; `None` removes it.
pub type Entry = (String, Option<Value>);

/// Everything that the engine asks of the world. `journal` comes first: when it is durable, the rest may be seen.
#[derive(Debug, Default)]
pub struct Effects {
    pub journal: Vec<Entry>,
    pub notifications: Vec<Notification>,
    /// What our own rules say of their alerts, for real Alertmanagers.
    pub forward: Vec<AlertIn>,
    pub writes: Vec<Write>,
    /// This host's votes that changed or must be renewed, by their keys; `None` withdraws one. They are put before
    /// `presence`, so that a host that comes back is not counted as one that has no opinion.
    pub votes: Vec<(String, Option<Vote>)>,
    /// This host's presence, when it must be put.
    pub presence: Option<Member>,
    /// The next stage of the fleet's configuration.
    pub stage: Option<StageWrite>,
    /// How limits are shared out, and under which office.
    pub shares: Option<(Shares, Term)>,
    /// This host's alerts for the fleet, when they must be put.
    pub report: Option<Value>,
    /// Keys of the outbox: put before `calls` and `grouped` are sent.
    pub hand_over: Vec<HandOver>,
    /// Messages for the whole fleet.
    pub grouped: Vec<Notification>,
    pub calls: Vec<ScaleCall>,
    /// For the audit log.
    pub audit: Vec<Audited>,
    pub replies: Vec<(u64, Reply)>,
    /// Samples that the store of series did not take, by who gave them and why.
    pub refused: BTreeMap<(Source, Refusal), u64>,
    /// Records of the journal that could not be read, in words; only at a start.
    pub damaged: Vec<String>,
    /// Alerts that have no name or a label that is none.
    pub alerts_refused: u64,
    /// Samples that it took.
    pub appended: u64,
    /// These samples, when somebody wants them; staleness markers and what rules record among them.
    pub recorded: Vec<(Labels, Timestamp, f64)>,
}

impl Effects {
    /// True when there is nothing to perform.
    pub fn is_empty(&self) -> bool {
        self.journal.is_empty()
            && self.notifications.is_empty()
            && self.forward.is_empty()
            && self.writes.is_empty()
            && self.votes.is_empty()
            && self.presence.is_none()
            && self.stage.is_none()
            && self.shares.is_none()
            && self.report.is_none()
            && self.hand_over.is_empty()
            && self.grouped.is_empty()
            && self.calls.is_empty()
            && self.audit.is_empty()
            && self.replies.is_empty()
    }
}
