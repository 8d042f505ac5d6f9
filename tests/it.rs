//! Everything that crosses rooms, as one test binary.

mod dashboards;
mod house;
mod promqltest;
