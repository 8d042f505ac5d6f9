//! An integration made ready, and one delivery by it.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use super::exec;
use super::form::Form;
use super::outcome::Outcome;
use super::render::Drawn;
use super::services::{self, Ctx, Line};
use super::settings::{EmailSettings, Integration, Kind, SettingsError};
use super::webhook::Poster;
use super::{email, payload, render, smtp};
use crate::alerts::Notification;
use crate::limits;
use crate::net::{Resolver, SecretSource, sign};
use crate::time::Timestamp;

/// Expands a template over a notification: Alertmanager's templates, brought by the shell.
pub type Render = dyn Fn(&str, &Notification, Form) -> Result<String, String> + Send + Sync;

/// Draws an alert's expression for a mail, brought by the shell; `None` when there is nothing to draw.
pub type Plots = dyn Fn(&Notification) -> Pin<Box<dyn Future<Output = Option<Drawn>> + Send>> + Send + Sync;

/// An integration that can deliver. It keeps what is worth keeping from one delivery to the next.
pub struct Prepared {
    integration: Integration,
    render: Option<Arc<Render>>,
    plots: Option<Arc<Plots>>,
    poster: Option<Poster>,
    line: Option<Line>,
    resolver: Resolver,
}

impl fmt::Debug for Prepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prepared").field("integration", &self.integration).finish_non_exhaustive()
    }
}

impl Prepared {
    /// Checks what can be checked without reading files. Without `render`, texts that are templates fail.
    ///
    /// # Errors
    /// The first setting that cannot work.
    pub fn new(integration: Integration, render: Option<Arc<Render>>) -> Result<Prepared, SettingsError> {
        let poster = match &integration.kind {
            Kind::Webhook(webhook) => {
                for secret in &webhook.signing_secrets {
                    if let SecretSource::Inline(secret) = secret {
                        sign::check_secret(secret).map_err(|error| SettingsError("secret", error.to_string()))?;
                    }
                }
                Some(Poster::new(webhook))
            }
            Kind::Email(settings) => {
                check_email(settings)?;
                None
            }
            Kind::Service(_) | Kind::Exec(_) => None,
        };
        let line = match &integration.kind {
            Kind::Service(settings) => Some(Line::new(settings)),
            _ => None,
        };
        Ok(Prepared { integration, render, plots: None, poster, line, resolver: Resolver::new() })
    }

    /// The same, with pictures in its mails.
    #[must_use]
    pub fn with_plots(mut self, plots: Arc<Plots>) -> Prepared {
        self.plots = Some(plots);
        self
    }

    /// The settings it was made from.
    pub fn integration(&self) -> &Integration {
        &self.integration
    }
}

fn check_email(settings: &EmailSettings) -> Result<(), SettingsError> {
    for (field, text) in [("to", &settings.to), ("from", &settings.from)] {
        if !email::is_template(text) {
            email::addresses(text).map_err(|problem| SettingsError(field, problem))?;
        }
    }
    let proof = settings.auth_password.is_some() || settings.auth_secret.is_some();
    if settings.auth_username.is_some() != proof {
        let text = "goes with auth_username: give both or none (for CRAM-MD5, auth_secret)";
        return Err(SettingsError("auth_password", text.to_owned()));
    }
    let hello = &settings.hello;
    if hello.is_empty() || !hello.chars().all(|c| c.is_ascii_alphanumeric() || ".-_[]:".contains(c)) {
        return Err(SettingsError("hello", format!("{hello:?} is no host name")));
    }
    match settings.headers.keys().find(|name| !email::is_header_name(name)) {
        Some(name) => Err(SettingsError("headers", format!("{name:?} is no name of a header"))),
        None => Ok(()),
    }
}

/// Delivers once, within [`limits::DELIVERY_TIME`] all in all. `now` is the wall time, for the message's date and signature.
pub async fn deliver(prepared: &Prepared, notification: &Notification, now: Timestamp) -> Outcome {
    let work = async {
        match (&prepared.integration.kind, &prepared.poster) {
            (Kind::Service(settings), _) => {
                let Some(line) = &prepared.line else { return Outcome::retry("the service is not ready") };
                let shorter = cut(notification, settings.max_alerts());
                let notification = shorter.as_ref().unwrap_or(notification);
                let ctx = Ctx { settings, notification, render: prepared.render.as_deref(), now };
                services::deliver(line, &ctx).await.err().unwrap_or(Outcome::Accepted)
            }
            (Kind::Exec(settings), _) => {
                let shorter = cut(notification, settings.max_alerts);
                exec::run(settings, shorter.as_ref().unwrap_or(notification)).await
            }
            (Kind::Webhook(settings), Some(poster)) => {
                let id = &notification.id.0;
                let shorter = cut(notification, settings.max_alerts);
                let notification = shorter.as_ref().unwrap_or(notification);
                let body = match &settings.payload {
                    Some(tree) => payload::body(tree, notification, prepared.render.as_deref()),
                    None => Ok(render::webhook_json(notification)),
                };
                let body = match body {
                    Ok(body) => body,
                    Err(problem) => return Outcome::refused(problem),
                };
                poster.post(id, body, now).await
            }
            (Kind::Email(settings), _) => {
                // Whoever writes the HTML part chooses what it shows.
                let plot = match &prepared.plots {
                    Some(plots) if settings.html.is_none() => plots(notification).await,
                    _ => None,
                };
                let render = prepared.render.as_deref();
                let message = match email::build(settings, notification, plot.as_ref(), render, now) {
                    Ok(message) => message,
                    Err(problem) => return Outcome::retry(problem),
                };
                smtp::send(settings, &prepared.resolver, message).await
            }
            (Kind::Webhook(_), None) => Outcome::retry("the webhook is not ready"),
        }
    };
    match tokio::time::timeout(limits::DELIVERY_TIME, work).await {
        Ok(outcome) => outcome,
        Err(_) => Outcome::retry(format!("no answer within {:?}", limits::DELIVERY_TIME)),
    }
}

/// The notification with at most `most` alerts, when it has more; 0 means any number.
fn cut(notification: &Notification, most: u64) -> Option<Notification> {
    let left_out = (notification.alerts.len() as u64).saturating_sub(most);
    if most == 0 || left_out == 0 {
        return None;
    }
    let mut shorter = notification.clone();
    shorter.alerts.truncate(most as usize);
    shorter.truncated_alerts += left_out;
    Some(shorter)
}
