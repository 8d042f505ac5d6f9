//! One decision by many hosts. Pure: takes `now`, knows no store and no network.
//!
//! Every host runs the same rules on its own signals. What an enforcing rule of scope `zone` or `fleet` wants is a **vote**,
//! which hangs on the host's lease in the shared store. One host is elected to **count**: where enough hosts agree
//! ([`Quorum`]) it writes the switch, under its office. Every host keeps a copy of all records, and of all votes, and serves
//! its applications from that copy.
//!
//! | file | what |
//! | --- | --- |
//! | `quorum.rs` | how many hosts must agree |
//! | `tally.rs` | counting: what a body of hosts agrees on |
//! | `known.rs` | the hosts that are there and lately were, their votes, their clocks |
//! | `state.rs` | what a host of a fleet knows, and what it does with every word of the store |
//! | `voting.rs` | this host's votes and presence |
//! | `counting.rs` | what the host that counts decides |
//! | `people.rs` | pins and words to rollouts, which are written by any host |
//! | `stage.rs` | the fleet's configuration: which revision is for whom, and what people say to that |
//! | `staging.rs` | what the host that counts does with a candidate: the next step, or back |
//! | `runs.rs` | what this host runs of it |
//! | `parts.rs` | a limit for the whole fleet, shared out by demand |
//! | `told.rs` | what applications read: the deepest of the host's, the zone's and the fleet's |
//!
//! **Out of reach.** While the store does not answer, what is known holds and is stale; rules of scope `host` go on;
//! nothing is kept for later. When it answers again, pins and records come first, then votes as they are then, each host
//! after a little time of its own.
//!
//! **Silence.** What the votes decided carries an end, [`DECISION_LIFE`] ahead, and the host that counts renews it. Past it
//! a switch does what its declaration says (`on_silence`), on every host by itself.

mod counting;
mod known;
mod parts;
mod people;
mod picture;
mod quorum;
mod runs;
mod stage;
mod staging;
mod state;
mod tally;
#[cfg(test)]
mod tests;
mod told;
mod voting;
mod whole;

pub use parts::{LimitPicture, Shares};
pub use picture::{ConfigPicture, FleetPicture, HostPicture, RulePicture, VotePicture};
pub use quorum::{Quorum, ZonesNeeded};
pub use stage::{
    Baking, Bundle, BundleFile, Candidate, Happened, Locked, Passed, Push, Stage, StageRefused, StageWord, StageWrite,
    Staged,
};
pub use state::{Asked, DECISION_LIFE, Fleet};
pub use told::Told;
