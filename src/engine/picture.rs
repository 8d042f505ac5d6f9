//! The state as others see it: cheap to take, owned, safe to read on another thread.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::MetricMeta;
use crate::rules::GroupStatus;
use crate::series::View;
use crate::switches::{Decision, Ladder, LadderRule, ScaleMemory, ScaleSettings};
use crate::time::Timestamp;

/// The state at one moment.
#[derive(Clone, Debug)]
pub struct Picture {
    pub now: Timestamp,
    pub view: View,
    /// Type and help of every metric family that a source described, by its name.
    pub meta: Arc<BTreeMap<String, MetricMeta>>,
    pub series_count: usize,
    pub groups: Vec<GroupStatus>,
    pub ladders: Vec<LadderPicture>,
    pub scales: Vec<ScalePicture>,
    /// Oldest first.
    pub decisions: Vec<Decision>,
    pub outbox: OutboxPicture,
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

/// The notifications that are not delivered yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutboxPicture {
    pub waiting: usize,
    /// Repeated messages that were dropped because the outbox was full, since the start.
    pub dropped: u64,
}
