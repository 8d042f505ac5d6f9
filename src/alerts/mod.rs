//! What to say to whom and when: route, group, inhibit, silence, time intervals, dedup. Pure: knows no HTTP and no SMTP.

mod notification;

pub use notification::{AlertStatus, DeliveryId, Notification, NotifiedAlert, NotifyReason};
