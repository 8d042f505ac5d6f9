//! Everything that crosses rooms, as one test binary.

mod bad_configs;
mod generated;
mod dashboards;
mod house;
mod promqltest;
