//! The one state of the daemon: `handle(now, Event, &mut Effects)` and `next_deadline()`. Pure: no clock, no file, no
//! socket, no task.
//!
//! Everything that the world can tell the engine is an [`Event`]; everything that it asks of the world is in [`Effects`].
//! What must survive a restart is in [`Effects::journal`], and must be durable before the other effects of the same call
//! are performed. A restart is [`Engine::restore`] with what the journal kept; `run`, tests and replays are this one
//! engine under different clocks.

mod actions;
mod core;
mod dials;
mod durable;
mod event;
mod fleet;
mod grouped;
mod people;
mod picture;
#[cfg(test)]
mod tests;

pub use self::core::{Engine, Settings};
pub use actions::ActionSettings;
pub use durable::Restored;
pub use event::{Command, DeliveryOutcome, Effects, Entry, Event, Reply};
pub use picture::{DialPicture, LadderPicture, OutboxPicture, Picture, RolloutPicture, ScalePicture};
