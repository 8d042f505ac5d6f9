//! What people say besides pins: freeze, unfreeze, and words to rollouts. And the file that freezes.

use super::super::audit::Audited;
use super::super::freeze::{Freeze, Freezes};
use super::super::rollout::RolloutWord;
use super::super::state::{Actor, Write};
use super::Switches;
use super::dials::rollout_key;
use crate::limits;
use crate::time::{Timestamp, format_duration};

/// The journal's key of the freeze that somebody ordered.
pub(super) const FREEZE_KEY: &str = "freeze";

/// A person's wish for a switch.
#[derive(Clone, Debug, PartialEq)]
pub struct PinRequest {
    pub switch: String,
    pub level: String,
    pub until: Timestamp,
    pub reason: String,
    pub by: String,
}

/// Why a person's wish was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("there is no switch `{0}`; declared are: {1}")]
    UnknownSwitch(String, String),
    #[error("switch `{switch}` has no level `{level}`; {help}")]
    BadLevel { switch: String, level: String, help: String },
    #[error("a pin needs a reason: say why, for whoever finds it later")]
    NoReason,
    #[error("a pin must end in the future, within {}", format_duration(limits::PIN_TIME))]
    BadEnd,
    #[error("switch `{0}` is not pinned")]
    NotPinned(String),
    #[error("nothing is frozen")]
    NotFrozen,
    #[error("frozen by the file `freeze` in the data directory: remove it")]
    FrozenByFile,
    #[error(
        "the shared store is out of reach: nothing can be changed for the fleet, and nothing was kept for later; say it again"
    )]
    OutOfReach,
    #[error("no rule leads a rollout of a switch `{0}`")]
    NoRollout(String),
    #[error("rollout `{switch}`: {help}")]
    BadWord { switch: String, help: String },
}

/// A person's wish that no rule moves anything.
#[derive(Clone, Debug, PartialEq)]
pub struct FreezeRequest {
    pub reason: String,
    pub by: String,
    /// `None`: until somebody ends it.
    pub until: Option<Timestamp>,
}

impl Switches {
    /// The freeze in force.
    pub fn frozen(&self) -> Option<&Freeze> {
        self.freezes.now()
    }

    /// Both kinds of freezes.
    pub fn freezes(&self) -> &Freezes {
        &self.freezes
    }

    /// Holds everything that rules move where it is.
    ///
    /// # Errors
    /// Without a reason, or with an end that is not in the future.
    pub fn freeze(&mut self, now: Timestamp, request: FreezeRequest) -> Result<(), Refused> {
        let FreezeRequest { reason, by, until } = request;
        let result = if reason.trim().is_empty() {
            Err(Refused::NoReason)
        } else if until.is_some_and(|until| until <= now || until.since(now) > limits::PIN_TIME) {
            Err(Refused::BadEnd)
        } else {
            Ok(())
        };
        self.audit_command(now, &by, "freeze".into(), &reason, result.as_ref().err());
        result?;
        let since = self.freezes.ordered.as_ref().map_or(now, |freeze| freeze.since);
        self.freezes.ordered = Some(Freeze { reason, by, since, until });
        self.touched.insert(FREEZE_KEY.to_owned());
        Ok(())
    }

    /// Ends a freeze that somebody ordered.
    ///
    /// # Errors
    /// When there is none, or when the file holds it.
    pub fn unfreeze(&mut self, now: Timestamp, by: &str) -> Result<(), Refused> {
        let result = match (&self.freezes.ordered, &self.freezes.file) {
            (None, Some(_)) => Err(Refused::FrozenByFile),
            (None, None) => Err(Refused::NotFrozen),
            (Some(_), _) => Ok(()),
        };
        self.audit_command(now, by, "unfreeze".into(), "", result.as_ref().err());
        result?;
        self.thaw(now, |freezes| freezes.ordered = None);
        Ok(())
    }

    /// The file in the data directory appeared (with its text, the reason) or is gone.
    pub fn freeze_file(&mut self, now: Timestamp, text: Option<String>) {
        match (text, &self.freezes.file) {
            (Some(text), None) => {
                let reason = text.trim().chars().take(200).collect::<String>();
                let reason = if reason.is_empty() { "the file does not say".to_owned() } else { reason };
                self.audit_command(now, "file", "freeze".into(), &reason, None);
                self.freezes.file = Some(Freeze { reason, by: "file".into(), since: now, until: None });
            }
            (None, Some(_)) => {
                self.audit_command(now, "file", "unfreeze".into(), "", None);
                self.thaw(now, |freezes| freezes.file = None);
            }
            _ => {}
        }
    }

    /// A freeze that was ordered until now ends.
    pub(super) fn end_freeze(&mut self, now: Timestamp) {
        let until = self.freezes.ordered.as_ref().and_then(|freeze| freeze.until);
        if until.is_some_and(|until| until <= now) {
            self.audit_command(now, "brownout", "unfreeze".into(), "its time is over", None);
            self.thaw(now, |freezes| freezes.ordered = None);
        }
    }

    fn thaw(&mut self, now: Timestamp, end: impl FnOnce(&mut Freezes)) {
        let since = self.freezes.since();
        end(&mut self.freezes);
        self.touched.insert(FREEZE_KEY.to_owned());
        let Some(since) = since.filter(|_| self.freezes.now().is_none()) else { return };
        for (rule, rollout) in &mut self.dials.rollouts {
            rollout.shift(now.since(since));
            self.touched.insert(rollout_key(rule));
        }
    }

    /// A person's word to a rollout. It is heard in a freeze, too.
    ///
    /// # Errors
    /// When no rule leads such a rollout, or it is not in a state for that word.
    pub fn say_to_rollout(
        &mut self,
        now: Timestamp,
        switch: &str,
        word: RolloutWord,
        by: &str,
    ) -> Result<Option<Write>, Refused> {
        let found = self.dials.rollouts.iter_mut().find(|(_, rollout)| rollout.rule().switch.as_str() == switch);
        let said = match found {
            Some((rule, rollout)) => {
                let before = rollout.value();
                match rollout.say(now, word, by) {
                    Ok(why) => Ok((rule.clone(), before, why)),
                    Err(help) => Err(Refused::BadWord { switch: switch.to_owned(), help }),
                }
            }
            None => Err(Refused::NoRollout(switch.to_owned())),
        };
        self.audit_command(now, by, format!("rollout {} {switch}", word.as_str()), "", said.as_ref().err());
        let (rule, before, why) = said?;
        self.touched.insert(rollout_key(&rule));
        Ok(self.rolled(now, &rule, &before, Actor::Person { name: by.to_owned() }, Some(why)))
    }

    pub(super) fn audit_command(
        &mut self,
        at: Timestamp,
        by: &str,
        command: String,
        reason: &str,
        refused: Option<&Refused>,
    ) {
        let (by, reason, refused) = (by.to_owned(), reason.to_owned(), refused.map(ToString::to_string));
        self.audit.push(Audited::Command { at, by, command, reason, refused });
    }

    /// What the audit log is to be told since the last call.
    pub fn take_audit(&mut self) -> Vec<Audited> {
        std::mem::take(&mut self.audit)
    }
}
