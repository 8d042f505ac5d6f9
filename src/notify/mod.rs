//! Delivers notifications: email, webhook, the chat and on-call services, programs; calls scale webhooks. Rendering is pure, delivery is I/O. Retry policy is the engine's.
//!
//! One delivery is one try with one deadline ([`crate::limits::DELIVERY_TIME`]) and one [`Outcome`]; it never waits and
//! never tries again by itself. What labels and annotations say is foreign text: it never becomes a header, markup or a
//! control sequence.

mod cloud_events;
mod deliver;
mod email;
mod exchange;
mod exec;
mod form;
mod forward;
mod heartbeat;
mod outcome;
mod payload;
pub mod render;
mod scale;
mod services;
mod settings;
mod smtp;
mod webhook;

pub use deliver::{Plots, Prepared, Render, deliver};
pub use form::Form;
pub use forward::{ForwardTarget, Forwarder};
pub use heartbeat::{HeartbeatSettings, heartbeat};
pub use outcome::Outcome;
pub use render::{Drawn, Plot};
pub use scale::{ScaleCall, ScaleTarget, call_scale};
pub use settings::{
    CallFormat, EmailSettings, ExecSettings, FieldValue, Integration, Kind, Receiver, Service, ServiceSettings,
    SettingsError, Smarthost, Threading, WebhookSettings,
};

#[cfg(test)]
mod tests;
