//! Silences: what is not to be notified for a while, by whom and why. Follows Alertmanager's API: a silence whose
//! matchers or past start would change gets a new id, and one that is removed is kept, expired, for a time.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::interval::TimeInterval;
use super::recur::{RECURRING, Recurring};
use super::remind::reminds_of;
use super::route::matches_all;
use super::shared::SCOPE;
use crate::limits;
use crate::model::{Labels, MatchOp, Matcher};
use crate::rng::Rng;
use crate::time::Timestamp;

/// Where a silence stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SilenceState {
    Pending,
    Active,
    Expired,
}

/// A silence as the API gives it.
#[derive(Clone, Debug, PartialEq)]
pub struct Silence {
    pub id: String,
    pub matchers: Vec<Matcher>,
    pub starts_at: Timestamp,
    pub ends_at: Timestamp,
    pub updated_at: Timestamp,
    pub created_by: String,
    pub comment: String,
    /// With the annotation [`RECURRING`] it mutes only within those times.
    pub annotations: BTreeMap<String, String>,
    pub(super) recurring: Option<Recurring>,
}

/// A silence as the API takes it.
#[derive(Clone, Debug, PartialEq)]
pub struct SilenceIn {
    /// The silence to change; `None` or empty for a new one.
    pub id: Option<String>,
    pub matchers: Vec<Matcher>,
    pub starts_at: Timestamp,
    pub ends_at: Timestamp,
    pub created_by: String,
    pub comment: String,
    pub annotations: BTreeMap<String, String>,
}

/// Why a silence is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SilenceError {
    /// The API answers 404.
    #[error("silence {0} not found")]
    NotFound(String),
    #[error("silence {0} already expired")]
    AlreadyExpired(String),
    #[error("invalid silence: at least one matcher required")]
    NoMatchers,
    #[error("invalid silence: at least one matcher must not match the empty string, or it would cover every alert")]
    MatchesEverything,
    #[error("Failed to create silence: start time must be before end time")]
    EndsBeforeStart,
    #[error("Failed to create silence: end time can't be in the past")]
    EndsInThePast,
    #[error("invalid silence: annotation `recurring`: {0}")]
    Recurring(String),
    #[error("there are {0} silences already: expire some, or wait until expired ones are removed")]
    TooMany(usize),
}

impl Silence {
    /// Its state at a time, its recurrence aside.
    pub fn state(&self, now: Timestamp) -> SilenceState {
        match now {
            now if now < self.starts_at => SilenceState::Pending,
            now if now >= self.ends_at => SilenceState::Expired,
            _ => SilenceState::Active,
        }
    }

    /// Its state at a time: a recurring silence between its times is pending.
    pub(super) fn state_within(&self, now: Timestamp, intervals: &[TimeInterval]) -> SilenceState {
        match (self.state(now), &self.recurring) {
            (SilenceState::Active, Some(recurring)) if !recurring.holds(now, intervals) => SilenceState::Pending,
            (state, _) => state,
        }
    }

    fn mutes(&self, labels: &Labels, now: Timestamp, intervals: &[TimeInterval]) -> bool {
        self.state_within(now, intervals) == SilenceState::Active
            && matches_all(&self.matchers, labels)
            && !reminds_of(labels, &self.id)
    }
}

/// All silences, by id.
#[derive(Clone, Debug, Default)]
pub(super) struct Silences {
    pub all: BTreeMap<String, Silence>,
}

impl Silences {
    /// The ids of the active silences that cover a label set.
    pub fn covering(&self, labels: &Labels, now: Timestamp, intervals: &[TimeInterval]) -> Vec<String> {
        let covers = |silence: &&Silence| silence.mutes(labels, now, intervals);
        self.all.values().filter(covers).map(|silence| silence.id.clone()).collect()
    }

    /// Creates or changes a silence; gives its id, and the ids of all records that changed.
    pub fn set(
        &mut self,
        input: SilenceIn,
        now: Timestamp,
        intervals: &[TimeInterval],
        rng: &mut Rng,
    ) -> Result<(String, Vec<String>), SilenceError> {
        if input.matchers.is_empty() {
            return Err(SilenceError::NoMatchers);
        }
        if input.matchers.iter().all(Matcher::matches_empty) {
            return Err(SilenceError::MatchesEverything);
        }
        if input.starts_at >= input.ends_at {
            return Err(SilenceError::EndsBeforeStart);
        }
        if input.ends_at < now {
            return Err(SilenceError::EndsInThePast);
        }
        let recurring = input.annotations.get(RECURRING).filter(|text| !text.trim().is_empty());
        let recurring = recurring.map(|text| Recurring::parse(text, intervals)).transpose();
        let recurring = recurring.map_err(SilenceError::Recurring)?;
        let before = match input.id.as_deref().filter(|id| !id.is_empty()) {
            Some(id) => Some(self.all.get(id).cloned().ok_or_else(|| SilenceError::NotFound(id.to_owned()))?),
            None => None,
        };
        let mut silence = Silence {
            id: String::new(),
            matchers: input.matchers,
            starts_at: input.starts_at,
            ends_at: input.ends_at,
            updated_at: now,
            created_by: input.created_by,
            comment: input.comment,
            annotations: input.annotations,
            recurring,
        };
        // Whoever changes it need not know of the fleet.
        if before.as_ref().is_some_and(Silence::is_fleets) {
            silence.annotations.insert(SCOPE.0.to_owned(), SCOPE.1.to_owned());
        }
        let mut changed = Vec::new();
        match before {
            Some(before) if may_change(&before, &silence, now) => silence.id = before.id,
            before => {
                if self.all.len() >= limits::SILENCES {
                    return Err(SilenceError::TooMany(self.all.len()));
                }
                if let Some(before) = before.filter(|before| before.state(now) != SilenceState::Expired) {
                    self.expire(&before.id, now)?;
                    changed.push(before.id);
                }
                silence.starts_at = silence.starts_at.max(now);
                silence.id = self.new_id(rng);
            }
        }
        let id = silence.id.clone();
        self.all.insert(id.clone(), silence);
        changed.push(id.clone());
        Ok((id, changed))
    }

    /// Ends a silence now.
    pub fn expire(&mut self, id: &str, now: Timestamp) -> Result<(), SilenceError> {
        let silence = self.all.get_mut(id).ok_or_else(|| SilenceError::NotFound(id.to_owned()))?;
        match silence.state(now) {
            SilenceState::Expired => return Err(SilenceError::AlreadyExpired(id.to_owned())),
            SilenceState::Active => silence.ends_at = now,
            SilenceState::Pending => (silence.starts_at, silence.ends_at) = (now, now),
        }
        silence.updated_at = now;
        Ok(())
    }

    /// Forgets silences that expired long ago; gives their ids.
    pub fn sweep(&mut self, now: Timestamp) -> Vec<String> {
        let gone = |silence: &Silence| silence.ends_at + limits::ALERT_RETENTION < now;
        let ids: Vec<String> = self.all.values().filter(|s| gone(s)).map(|s| s.id.clone()).collect();
        for id in &ids {
            self.all.remove(id);
        }
        ids
    }

    /// A random UUID (version 4) that no silence has.
    fn new_id(&self, rng: &mut Rng) -> String {
        loop {
            let (high, low) = (rng.next_u64(), rng.next_u64());
            let id = format!(
                "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
                high >> 32,
                (high >> 16) & 0xffff,
                high & 0xfff,
                0x8000 | ((low >> 48) & 0x3fff),
                low & 0xffff_ffff_ffff
            );
            if !self.all.contains_key(&id) {
                return id;
            }
        }
    }
}

/// Whether a silence can take the new values under its old id.
fn may_change(before: &Silence, after: &Silence, now: Timestamp) -> bool {
    before.matchers == after.matchers
        && match before.state(now) {
            SilenceState::Active => after.starts_at == before.starts_at && after.ends_at >= now,
            SilenceState::Pending => after.starts_at >= now,
            SilenceState::Expired => false,
        }
}

/// A silence as the journal keeps it, and as hosts of a fleet give it to each other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SilenceRecord {
    matchers: Vec<(String, String, String)>,
    starts_at: Timestamp,
    ends_at: Timestamp,
    updated_at: Timestamp,
    created_by: String,
    comment: String,
    annotations: BTreeMap<String, String>,
}

impl From<&Silence> for SilenceRecord {
    fn from(silence: &Silence) -> SilenceRecord {
        let matcher = |m: &Matcher| (m.name.to_string(), m.op.as_str().to_owned(), m.value.to_string());
        SilenceRecord {
            matchers: silence.matchers.iter().map(matcher).collect(),
            starts_at: silence.starts_at,
            ends_at: silence.ends_at,
            updated_at: silence.updated_at,
            created_by: silence.created_by.clone(),
            comment: silence.comment.clone(),
            annotations: silence.annotations.clone(),
        }
    }
}

impl SilenceRecord {
    pub(super) fn ends_at(&self) -> Timestamp {
        self.ends_at
    }

    /// The silence again; `None` when a matcher cannot be read.
    pub(super) fn silence(self, id: &str) -> Option<Silence> {
        let ops = [MatchOp::Equal, MatchOp::NotEqual, MatchOp::Matches, MatchOp::NotMatches];
        let matcher = |(name, op, value): (String, String, String)| {
            let op = ops.into_iter().find(|known| known.as_str() == op)?;
            Matcher::new(op, &name, &value).ok()
        };
        Some(Silence {
            id: id.to_owned(),
            matchers: self.matchers.into_iter().map(matcher).collect::<Option<_>>()?,
            starts_at: self.starts_at,
            ends_at: self.ends_at,
            updated_at: self.updated_at,
            created_by: self.created_by,
            comment: self.comment,
            recurring: self.annotations.get(RECURRING).map(|text| Recurring::kept(text)),
            annotations: self.annotations,
        })
    }
}
