//! Switches and what moves them. Pure: takes `now`, knows no store and no network.
//!
//! Who wins, from the strongest: a person's pin; then the deepest level that any enforcing rule asks for; then the
//! healthy end of the ladder. Rules that only observe ask nothing: their decisions are recorded and shown.

mod arbiter;
mod guards;
mod ladder;
mod scale;
mod state;
mod value;

pub use arbiter::{Judged, LadderRule, PinRequest, Refused, Settings, Switches};
pub use guards::{Guards, HeldBack};
pub use ladder::{Ladder, LadderMemory, LadderSettings, Level, Move, Truth};
pub use scale::{ScaleCall, ScaleMemory, ScaleRule, ScaleSettings, ScaleVerdict};
pub use state::{Actor, Ask, Decision, Declaration, Mode, OnSilence, Pin, Record, Write};
pub use value::{LimitUnit, RolloutState, SwitchKind, SwitchValue, read_share};
