//! A fleet in one process and in simulated time: real engines, the store's model, seeded faults.
//!
//! The seed chooses the hosts, what they suffer from and when, and what breaks: hosts are killed and started again, cut
//! off (one or many), the store loses its quorum, leases end, the host that counts is killed, words of the store are late,
//! doubled and out of order, answers to writes are lost, clocks are wrong by minutes. What must hold is in `judge.rs`.
//! `BROWNOUT_FLEET_SEEDS=10000` runs that many seeds.

mod alerts;
mod host;
mod judge;
mod scenarios;
mod seeds;
mod stages;
mod world;
