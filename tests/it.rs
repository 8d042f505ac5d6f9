//! Everything that crosses rooms, as one test binary.

mod bad_configs;
mod command_line;
mod dashboards;
mod deploy;
mod differential;
mod fleet;
mod generated;
mod good_config;
mod hostile;
mod house;
mod promqltest;
