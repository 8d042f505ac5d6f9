//! Everything that crosses rooms, as one test binary.

mod house;
mod promqltest;
