//! Everything that crosses rooms, as one test binary.

mod bad_configs;
mod dashboards;
mod generated;
mod house;
mod promqltest;
