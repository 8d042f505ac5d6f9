//! Remote write: everything that the store takes, handed on to other programs.

mod proto;
mod wire;

pub use proto::Message;
pub use wire::{Sample, compress};
