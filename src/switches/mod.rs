//! Switches and what moves them. Pure: takes `now`, knows no store and no network.
//!
//! Who wins, from the strongest:
//!
//! 1. a person's pin;
//! 2. a freeze (a person's, or the file's): what is in force stays;
//! 3. the guards: the most switches degraded at once, the most decisions an hour;
//! 4. what the enforcing rules ask for: the deepest level, the smallest share, threshold and limit;
//! 5. the healthy value.
//!
//! Rules that only observe ask nothing: their decisions are recorded and shown.

mod arbiter;
mod audit;
mod control;
mod dial;
mod fleet;
mod freeze;
mod guards;
mod ladder;
mod rollout;
mod scale;
mod state;
mod value;
mod votes;

pub use arbiter::{FreezeRequest, Judged, LadderJudged, LadderRule, PinRequest, Refused, Settings, Switches};
pub use audit::Audited;
pub use control::{ControlMemory, ControlSettings, ControlView, Law, Published};
pub use dial::{Dial, DialRule, DialSource, Measured};
pub use fleet::{
    Asked, Baking, Bundle, BundleFile, Candidate, ConfigPicture, DECISION_LIFE, Fleet, FleetPicture, Happened,
    HostPicture, LimitPicture, Locked, Passed, Push, Quorum, RulePicture, Shares, Stage, StageRefused, StageWord,
    StageWrite, Staged, Told, VotePicture, ZonesNeeded,
};
pub use freeze::{Freeze, Freezes};
pub use guards::{Guards, HeldBack};
pub use ladder::{Clear, Ladder, LadderMemory, LadderSettings, Level, Move, Said, Truth};
pub use rollout::{Compare, Evidence, Rollout, RolloutMemory, RolloutRule, RolloutWord};
pub use scale::{ScaleCall, ScaleMemory, ScaleRule, ScaleSettings, ScaleVerdict};
pub use state::{Actor, Agreement, Ask, Decision, Declaration, Mode, OnSilence, Pin, Record, Write};
pub use value::{LimitUnit, RolloutState, SwitchKind, SwitchValue, read_share};
pub use votes::{Census, ConfigRefused, FleetSettings, HandOver, Member, Place, RunsConfig, Shelf, Tables, Term, Vote};
