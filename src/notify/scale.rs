//! The scale webhook: asks an autoscaler for a capacity.
//!
//! The wish is absolute, carries a growing generation and an end, and repeats its idempotency key with every try, so that
//! a late or doubled call does no harm.

use serde::{Deserialize, Serialize};

use super::cloud_events;
use super::outcome::Outcome;
use super::settings::{CallFormat, SettingsError, WebhookSettings};
use super::webhook::Poster;
use crate::limits;
use crate::net::{self, SecretSource, sign};
use crate::time::Timestamp;

/// One wish for capacity.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScaleCall {
    /// The delivery's name, the same over all tries.
    pub id: String,
    /// What to scale.
    pub target: String,
    pub desired: i64,
    /// What there is now, where that is known.
    pub current: Option<i64>,
    pub min: i64,
    pub max: i64,
    /// The most that one call changes; `None` means any.
    pub step: Option<i64>,
    /// For people.
    pub reason: String,
    pub rule: String,
    pub expression: String,
    /// The expression's value; not a number becomes `null`.
    pub value: f64,
    /// Grows with every new wish for a target: a receiver drops what is older than what it has.
    pub generation: u64,
    /// Past this the wish must not be fulfilled any more.
    pub not_after: Timestamp,
    pub idempotency_key: String,
    /// The receiver is to check and answer, and to change nothing.
    pub dry_run: bool,
    /// When it was decided.
    pub at: Timestamp,
}

#[derive(Serialize)]
struct Body<'a> {
    version: &'static str,
    id: &'a str,
    target: &'a str,
    desired: i64,
    current: Option<i64>,
    min: i64,
    max: i64,
    step: Option<i64>,
    reason: &'a str,
    rule: &'a str,
    expression: &'a str,
    value: f64,
    generation: u64,
    not_after: String,
    idempotency_key: &'a str,
    dry_run: bool,
    at: String,
}

impl ScaleCall {
    /// The JSON body; times are RFC 3339.
    pub fn to_json(&self) -> Vec<u8> {
        let body = Body {
            version: "1",
            id: &self.id,
            target: &self.target,
            desired: self.desired,
            current: self.current,
            min: self.min,
            max: self.max,
            step: self.step,
            reason: &self.reason,
            rule: &self.rule,
            expression: &self.expression,
            value: self.value,
            generation: self.generation,
            not_after: self.not_after.to_rfc3339(),
            idempotency_key: &self.idempotency_key,
            dry_run: self.dry_run,
            at: self.at.to_rfc3339(),
        };
        // Texts and numbers always have a JSON form.
        serde_json::to_vec(&body).unwrap_or_default()
    }
}

/// A scale webhook that can be called.
#[derive(Debug)]
pub struct ScaleTarget {
    poster: Poster,
    format: CallFormat,
    /// Who asks: the source of a CloudEvent.
    host: String,
}

impl ScaleTarget {
    /// Checks what can be checked without reading files.
    ///
    /// # Errors
    /// A signing secret that is none.
    pub fn new(settings: &WebhookSettings) -> Result<ScaleTarget, SettingsError> {
        for secret in &settings.signing_secrets {
            if let SecretSource::Inline(secret) = secret {
                sign::check_secret(secret).map_err(|error| SettingsError("secret", error.to_string()))?;
            }
        }
        Ok(ScaleTarget { poster: Poster::new(settings), format: settings.format, host: net::host_name() })
    }
}

/// Calls once, within [`limits::DELIVERY_TIME`] and before the wish's end. A wish past its end is refused unsent.
pub async fn call_scale(target: &ScaleTarget, call: &ScaleCall, now: Timestamp) -> Outcome {
    let left = call.not_after.since(now).min(limits::DELIVERY_TIME);
    if left.is_zero() {
        return Outcome::refused("too late: the wish for capacity ended before it could be sent");
    }
    let envelope = cloud_events::envelope(target.format, call, &target.host);
    let mut headers = vec![("idempotency-key", call.idempotency_key.as_str())];
    headers.extend(envelope.headers.iter().map(|(name, value)| (*name, value.as_str())));
    let posted = target.poster.post_as(envelope.content_type, &call.id, envelope.body, &headers, now);
    match tokio::time::timeout(left, posted).await {
        Ok(outcome) => outcome,
        Err(_) => Outcome::retry(format!("no answer within {left:?}")),
    }
}
