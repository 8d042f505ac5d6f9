//! `brownout demo`: trouble and recovery of a real service on this host, within a minute, with nothing left behind.
//!
//! A small HTTP service ([`service`]) with a real capacity, a real daemon beside it ([`child`]) with a real
//! configuration ([`config`]), and a load ([`load`]) that is too much: the [`story`] says what comes when, and the
//! [`screen`] shows it.

mod act;
mod child;
mod config;
mod load;
mod screen;
mod service;
mod story;

pub(super) use act::{DemoArgs, demo};
