//! YAML text -> what was written -> what was checked -> each room's own `Settings`.
//!
//! Each part of the file is a plain struct whose `Decode` names its fields once ([`crate::yaml`]); what needs more than one
//! field, another section or a file is checked afterwards, all of it at once. Pure: files and the environment are asked
//! for through [`Files`].
//!
//! The first law is that what people have can be pasted: where Prometheus, blackbox_exporter or Alertmanager have a field,
//! ours has the same name, meaning and default. What they have and this version has not is refused by name.

mod alertmanager;
mod client;
mod edges;
mod files;
mod global;
mod logs;
mod modules;
mod probes;
mod root;
mod scrape;
mod switches;
mod system;
mod targets;
mod values;

pub use files::{Files, FilesInMemory};
