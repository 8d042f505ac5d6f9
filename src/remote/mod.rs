//! Remote write: everything that the store takes, handed on to other programs.
//!
//! Follows Prometheus' remote write 1.0. Samples are gathered for a moment, written to a bounded queue on the disk, and
//! sent from there in order, one request at a time: so an outage of the receiver loses nothing that the queue can hold,
//! and the samples of a series never overtake each other. Nothing here runs unless a receiver is configured.

mod backlog;
mod proto;
mod queue;
mod sender;
mod settings;
mod wire;
mod writer;

pub use proto::Message;
pub use settings::{QueueSettings, Settings};
pub use wire::{Sample, compress};
pub use writer::{Meta, Writer};
