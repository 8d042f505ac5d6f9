//! What is posted: alerts and silences, from JSON to what the engine takes, with Alertmanager's rules.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::answer::ApiError;
use crate::alerts::{AlertIn, SilenceIn};
use crate::model::{Labels, MatchOp, Matcher};
use crate::time::Timestamp;

/// Go's zero time, which clients send for a time that is not set.
const ZERO: Timestamp = Timestamp::from_millis(-62_135_596_800_000);

/// `postableAlert`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PostedAlert {
    labels: Option<BTreeMap<String, String>>,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
    #[serde(default)]
    starts_at: Option<String>,
    #[serde(default)]
    ends_at: Option<String>,
    #[serde(default, rename = "generatorURL")]
    generator_url: Option<String>,
}

/// `postableSilence`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PostedSilence {
    #[serde(default)]
    id: Option<String>,
    matchers: Option<Vec<PostedMatcher>>,
    starts_at: Option<String>,
    ends_at: Option<String>,
    created_by: Option<String>,
    comment: Option<String>,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PostedMatcher {
    name: Option<String>,
    value: Option<String>,
    is_regex: Option<bool>,
    #[serde(default)]
    is_equal: Option<bool>,
}

fn parsed<T: DeserializeOwned>(what: &str, body: &[u8]) -> Result<T, ApiError> {
    let unreadable = |error: serde_json::Error| {
        ApiError::Unreadable(format!("parsing {what} body from \"\" failed, because {error}"))
    };
    serde_json::from_slice(body).map_err(unreadable)
}

fn required<T>(value: Option<T>, name: &str) -> Result<T, ApiError> {
    value.ok_or_else(|| ApiError::Invalid(format!("{name} in body is required")))
}

/// A time; the zero time is none.
fn time(text: Option<&str>, name: &str) -> Result<Option<Timestamp>, ApiError> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
    match Timestamp::from_rfc3339(text) {
        Some(at) if at <= ZERO => Ok(None),
        Some(at) => Ok(Some(at)),
        None if text.starts_with("0001-") || text.starts_with("0000-") => Ok(None),
        None => Err(ApiError::Unreadable(format!("{name} {text:?} is no time such as 2026-01-31T12:00:00Z"))),
    }
}

/// Alerts that can be handed on, and what is wrong with the others.
#[derive(Debug, PartialEq)]
pub(super) struct PostedAlerts {
    pub good: Vec<AlertIn>,
    pub refused: Vec<String>,
}

/// Reads `postableAlerts`.
pub(super) fn alerts(body: &[u8]) -> Result<PostedAlerts, ApiError> {
    let posted: Vec<PostedAlert> = parsed("alerts", body)?;
    let mut out = PostedAlerts { good: Vec::new(), refused: Vec::new() };
    for (index, alert) in posted.into_iter().enumerate() {
        let labels = required(alert.labels, &format!("{index}.labels"))?;
        let (starts_at, ends_at) =
            (time(alert.starts_at.as_deref(), "startsAt")?, time(alert.ends_at.as_deref(), "endsAt")?);
        let annotations = alert.annotations.unwrap_or_default();
        let unnamed =
            |pairs: &BTreeMap<String, String>| pairs.iter().any(|(name, value)| name.is_empty() && !value.is_empty());
        if unnamed(&labels) {
            out.refused.push("invalid label set: invalid name \"\"".to_owned());
        } else if unnamed(&annotations) {
            out.refused.push("invalid annotations: invalid name \"\"".to_owned());
        } else {
            let generator_url = alert.generator_url.unwrap_or_default();
            let labels = Labels::from_pairs(&labels);
            out.good.push(AlertIn { labels, annotations, starts_at, ends_at, generator_url });
        }
    }
    Ok(out)
}

/// Reads `postableSilence`; what is missing in it is judged here, what contradicts itself by the engine.
pub(super) fn silence(body: &[u8]) -> Result<SilenceIn, ApiError> {
    let posted: PostedSilence = parsed("silence", body)?;
    let matchers = required(posted.matchers, "matchers")?;
    if matchers.is_empty() {
        return Err(ApiError::Invalid("matchers in body should have at least 1 items".to_owned()));
    }
    let matchers = matchers.into_iter().enumerate().map(|(index, posted)| matcher(index, posted));
    let time = |text: Option<String>, name: &str| required(time(text.as_deref(), name)?, name);
    Ok(SilenceIn {
        id: posted.id.filter(|id| !id.is_empty()),
        matchers: matchers.collect::<Result<_, _>>()?,
        starts_at: time(posted.starts_at, "startsAt")?,
        ends_at: time(posted.ends_at, "endsAt")?,
        created_by: required(posted.created_by, "createdBy")?,
        comment: required(posted.comment, "comment")?,
        annotations: posted.annotations.unwrap_or_default(),
    })
}

fn matcher(index: usize, posted: PostedMatcher) -> Result<Matcher, ApiError> {
    let name = required(posted.name, &format!("matchers.{index}.name"))?;
    let value = required(posted.value, &format!("matchers.{index}.value"))?;
    let op = match (required(posted.is_regex, &format!("matchers.{index}.isRegex"))?, posted.is_equal.unwrap_or(true)) {
        (false, true) => MatchOp::Equal,
        (false, false) => MatchOp::NotEqual,
        (true, true) => MatchOp::Matches,
        (true, false) => MatchOp::NotMatches,
    };
    if name.is_empty() {
        return Err(ApiError::Bad("invalid silence: invalid label matcher: invalid label name \"\"".to_owned()));
    }
    Matcher::new(op, &name, &value)
        .map_err(|error| ApiError::Bad(format!("invalid silence: invalid label matcher: {error}")))
}
