//! The laws held against their test vectors, and against simulated plants.

mod plants;
mod vectors;
