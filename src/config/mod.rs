//! YAML text -> what was written -> what was checked -> each room's own `Settings`.
//!
//! Each part of the file is a plain struct whose `Decode` names its fields once ([`crate::yaml`]); what needs more than one
//! field, another section or a file is checked afterwards, all of it at once. Pure: files and the environment are asked
//! for through [`Files`].
//!
//! The first law is that what people have can be pasted: where Prometheus, blackbox_exporter or Alertmanager have a field,
//! ours has the same name, meaning and default. What they have and this version has not is refused by name.

mod alertmanager;
mod central;
mod checked;
mod checker;
mod client;
mod delivery;
mod edges;
mod files;
mod forward;
mod global;
mod load;
mod log_metric;
mod logs;
mod modules;
mod probes;
mod query_api;
mod redact;
mod reference;
mod remote_write;
mod root;
mod salvage;
mod scrape;
mod settings;
mod shipped;
mod store;
mod switches;
mod system;
mod targets;
mod values;

pub use alertmanager::decode_alertmanager;
pub use central::bundle_problem;
pub use checked::{Checked, default_data_dir};
pub use edges::{Log, LogFormat, LogLevel};
pub use files::{Files, FilesInMemory};
pub use load::{Loaded, load, load_with};
pub use redact::redact;
pub use reference::{config_schema, reference, rules_schema};
pub use settings::alertmanager::Template;
pub use settings::edges::ServeSettings;
pub use settings::forward::ForwardSettings;
pub use settings::store::FleetStore;
pub use settings::switches::SwitchSettings;
pub use switches::Actions;
pub use values::HostPort;
