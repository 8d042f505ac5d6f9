//! What to say to whom and when: route, group, inhibit, silence, time intervals, dedup, and the outbox in which
//! messages wait until they were accepted. Alertmanager's behaviour as a state machine in the caller's time.
//! Pure: knows no HTTP, no SMTP and no clock.
//!
//! Use: [`Alerts::put`] what fires and resolves; sleep until [`Alerts::next_deadline`]; [`Alerts::tick`] gives the
//! messages to send; write [`Alerts::take_changes`] to the journal, then send; report each with [`Alerts::delivered`].
//! After a restart [`Alerts::restore`] goes on from the journal's records.

mod alert;
mod counter;
mod durable;
mod explain;
mod flap;
mod forward;
mod inhibit;
mod interval;
mod links;
mod log;
mod machine;
mod matchers;
mod member;
mod message;
mod noise;
mod notification;
mod outbox;
mod pace;
mod recur;
mod remind;
mod route;
mod settings;
mod shared;
mod silence;
mod speak;
mod step;
#[cfg(test)]
mod tests;
mod view;

pub use alert::{AlertError, AlertIn};
pub use counter::FleetAlerts;
pub use forward::{ForwardQueue, Forwarded};
pub use interval::{
    Location, TimeEntry, TimeInterval, TimeRange, parse_days_of_month, parse_months, parse_times, parse_weekdays,
    parse_years,
};
pub use links::{LinkDeed, LinkError, LinkKey, LinkView};
pub use machine::Alerts;
pub use matchers::{MatcherSyntaxError, parse_matchers};
pub use member::{Mark, Marks, Report, Reported};
pub use noise::NoisyRule;
pub use notification::{AlertStatus, DeliveryId, Notification, NotifiedAlert, NotifyReason};
pub use outbox::{DeliveryView, Outbox, OutboxCounts, Outcome, Settled};
pub use pace::RateLimit;
pub use recur::RECURRING;
pub use settings::{
    DigestSettings, FlapSettings, GroupBy, InhibitRule, IntegrationSpec, LinkSettings, Part, ReceiverSpec,
    ReminderSettings, Route, Settings,
};
pub use shared::SCOPE;
pub use silence::{Silence, SilenceError, SilenceIn, SilenceState};
pub use view::{AlertState, AlertView, GroupView};
