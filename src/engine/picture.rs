//! The state as others see it: cheap to take, owned, safe to read on another thread.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::{MetricMeta, SwitchName};
use crate::rules::GroupStatus;
use crate::series::View;
use crate::switches::{
    ControlView, Decision, Dial, DialRule, Evidence, FleetPicture, Freeze, Ladder, LadderRule, Measured, Published,
    Rollout, RolloutMemory, RolloutRule, ScaleMemory, ScaleSettings, SwitchValue,
};
use crate::time::Timestamp;

/// The state at one moment.
#[derive(Clone, Debug)]
pub struct Picture {
    pub now: Timestamp,
    pub view: View,
    /// Type and help of every metric family that a source described, by its name.
    pub meta: Arc<BTreeMap<String, MetricMeta>>,
    pub series_count: usize,
    /// With those of their rules that were asked for.
    pub groups: Vec<GroupStatus>,
    pub ladders: Vec<LadderPicture>,
    pub scales: Vec<ScalePicture>,
    pub dials: Vec<DialPicture>,
    pub rollouts: Vec<RolloutPicture>,
    /// Why a switch is not where its rules want it.
    pub held_back: BTreeMap<SwitchName, String>,
    pub freeze: Option<Freeze>,
    /// Oldest first.
    pub decisions: Vec<Decision>,
    pub outbox: OutboxPicture,
    /// Of a host of a fleet.
    pub fleet: Option<FleetPicture>,
}

/// A degrade rule and where its ladder stands.
#[derive(Clone, Debug)]
pub struct LadderPicture {
    pub rule: LadderRule,
    /// The level it asks for.
    pub level: String,
    pub next_climb: Option<Timestamp>,
    pub ladder: Ladder,
}

/// A scale rule and what it asked for.
#[derive(Clone, Debug)]
pub struct ScalePicture {
    pub settings: ScaleSettings,
    pub memory: ScaleMemory,
}

/// A rule that gives a dimmer or a limit its value.
#[derive(Clone, Debug)]
pub struct DialPicture {
    pub rule: DialRule,
    pub measured: Measured,
    /// The inside of its law.
    pub view: Option<ControlView>,
    pub published: Option<Published>,
    pub reason: String,
}

impl DialPicture {
    pub(super) fn of(dial: &Dial) -> DialPicture {
        DialPicture {
            rule: dial.rule().clone(),
            measured: *dial.measured(),
            view: dial.view(),
            published: dial.published(),
            reason: dial.reason(),
        }
    }
}

/// A rollout and how far it got.
#[derive(Clone, Debug)]
pub struct RolloutPicture {
    pub rule: RolloutRule,
    pub memory: RolloutMemory,
    pub value: SwitchValue,
    pub evidence: Evidence,
    pub baked_at: Option<Timestamp>,
}

impl RolloutPicture {
    pub(super) fn of(rollout: &Rollout) -> RolloutPicture {
        RolloutPicture {
            rule: rollout.rule().clone(),
            memory: rollout.memory().clone(),
            value: rollout.value(),
            evidence: *rollout.evidence(),
            baked_at: rollout.baked_at(),
        }
    }
}

/// The notifications that are not delivered yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutboxPicture {
    pub waiting: usize,
    /// Repeated messages that were dropped because the outbox was full, since the start.
    pub dropped: u64,
}
