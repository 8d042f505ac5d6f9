//! Projections: the switches written out in forms that consumers already read, as files and as keys of the shared store.
//!
//! What is promised: a file is replaced whole (a new file, fsync, rename), and only when its content changed; a folder of
//! Envoy's runtime is swapped by one rename of a link; a file that somebody else changed or removed is put back within
//! [`keeper::LOOK_AGAIN`]; a reload command is a fixed list of words without a shell, runs once for changes that come
//! together, never twice at one time, and is ended at its deadline.
//! A key is written by the host that counts, and put back when it is found to be different, after an outage of the store too.
//! What to write is pure ([`render`], [`sentinel`]); when a projection fails the others go on, and it is tried again.

mod keeper;
mod keys;
mod render;
mod sentinel;
mod write;

use std::path::PathBuf;

pub use keeper::keep;
pub use keys::keep_keys;
pub use sentinel::{Kind as SentinelKind, Rule as SentinelRule};

/// The form of a projection.
#[derive(Clone, Debug, PartialEq)]
pub enum Format {
    /// A folder with a file for each switch.
    Files,
    Json,
    /// `BROWNOUT_NAME=value` lines.
    Env,
    /// Lines for nginx's `map`.
    NginxMap,
    Flagd,
    /// A folder whose link `current` leads to Envoy's runtime values.
    EnvoyRuntime,
    Sentinel(SentinelKind, Vec<SentinelRule>),
}

/// All projections.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Projections {
    pub files: Vec<Projection>,
    pub keys: Vec<KeyProjection>,
}

/// One that is a key of the shared store.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyProjection {
    /// The whole key; the fleet's prefix is not put before it.
    pub key: String,
    /// One of those that make one text.
    pub format: Format,
}

/// One that is a file or a folder.
#[derive(Clone, Debug, PartialEq)]
pub struct Projection {
    /// The file, or the folder.
    pub path: PathBuf,
    pub format: Format,
    /// Permissions of the files.
    pub mode: u32,
    /// `user`, `user:group` or `:group`, by name or number; `None` leaves them to this daemon's own.
    pub owner: Option<String>,
    /// What is run after a change; empty for nothing.
    pub reload: Vec<String>,
}
