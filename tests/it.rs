//! Everything that crosses rooms, as one test binary.

mod promqltest;
mod house;
