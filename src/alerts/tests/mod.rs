//! The room's tests that need a whole machine: a world in virtual time, timelines in it, and crashes.

mod beyond;
mod crash;
mod fleet;
mod outbox;
mod timeline;
mod world;
