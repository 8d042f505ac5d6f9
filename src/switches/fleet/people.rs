//! What people say to a switch of the fleet. Any host writes it, under nobody's office; when another host wrote the switch
//! at the same moment it is said again on top of that, a few times. Without the store it is refused at once: nothing is kept
//! for later.

use std::time::Duration;

use super::super::arbiter::{PinRequest, Refused, Switches};
use super::super::rollout::RolloutWord;
use super::super::state::Write;
use super::super::votes::Place;
use super::state::{Asked, Fleet};
use crate::model::SwitchName;
use crate::time::Timestamp;

/// How often a person's word is said again after the store has refused it.
const TRIES: u32 = 5;
/// And how long after that: what another host wrote must have come here.
const AGAIN: Duration = Duration::from_millis(300);

/// A person's word that the store has not taken yet.
#[derive(Clone, Debug)]
pub(super) struct Intent {
    what: Said,
    tries: u32,
    /// When the store is asked again, since it has refused.
    again_at: Option<Timestamp>,
}

#[derive(Clone, Debug)]
enum Said {
    Pin(PinRequest),
    Unpin { by: String },
    Rollout { word: RolloutWord, by: String },
}

impl Fleet {
    /// Overrides a switch of the fleet.
    ///
    /// # Errors
    /// As of a switch of one host; and when the store is out of reach.
    pub fn pin(&mut self, now: Timestamp, request: PinRequest, out: &mut Asked) -> Result<(), Refused> {
        let name = request.switch.clone();
        self.say(now, &name, Said::Pin(request), out)
    }

    /// Ends a pin early.
    ///
    /// # Errors
    /// As of a switch of one host; and when the store is out of reach.
    pub fn unpin(&mut self, now: Timestamp, switch: &str, by: &str, out: &mut Asked) -> Result<(), Refused> {
        self.say(now, switch, Said::Unpin { by: by.to_owned() }, out)
    }

    /// Says a word to a rollout of the fleet.
    ///
    /// # Errors
    /// As of a rollout of one host; and when the store is out of reach.
    pub fn say_to_rollout(
        &mut self,
        now: Timestamp,
        switch: &str,
        word: RolloutWord,
        by: &str,
        out: &mut Asked,
    ) -> Result<(), Refused> {
        self.say(now, switch, Said::Rollout { word, by: by.to_owned() }, out)
    }

    fn say(&mut self, now: Timestamp, switch: &str, what: Said, out: &mut Asked) -> Result<(), Refused> {
        if !self.reach {
            return Err(Refused::OutOfReach);
        }
        let written = carry_out(self.desk(now, &Place::Fleet), now, switch, &what)?;
        if let Ok(name) = SwitchName::new(switch) {
            self.intents.insert(name, Intent { what, tries: 1, again_at: None });
        }
        if let Some(write) = written {
            self.write(now, write, out);
        }
        Ok(())
    }

    /// The store had another record: the word is said again when that is known. Any other reason ends it: whoever said it
    /// was told so, and it must not be tried later.
    pub(super) fn intent_refused(&mut self, now: Timestamp, name: &SwitchName, moved: bool) {
        if !moved {
            self.intents.remove(name);
        } else if let Some(intent) = self.intents.get_mut(name) {
            intent.again_at = Some(now + AGAIN);
        }
    }

    /// When the next is due.
    pub(super) fn next_intent(&self) -> Option<Timestamp> {
        self.intents.values().filter_map(|intent| intent.again_at).min()
    }

    /// Says again what was refused.
    pub(super) fn repeat_intents(&mut self, now: Timestamp, out: &mut Asked) {
        let due = |intent: &Intent| intent.again_at.is_some_and(|at| at <= now);
        let refused: Vec<SwitchName> =
            self.intents.iter().filter(|(_, intent)| due(intent)).map(|(name, _)| name.clone()).collect();
        for name in refused {
            let pending = self.pending.contains_key(&(Place::Fleet, name.clone()));
            let Some(intent) = self.intents.get_mut(&name).filter(|_| !pending) else { continue };
            if intent.tries >= TRIES {
                self.intents.remove(&name);
                continue;
            }
            (intent.tries, intent.again_at) = (intent.tries + 1, None);
            let what = intent.what.clone();
            match carry_out(self.desk(now, &Place::Fleet), now, name.as_str(), &what) {
                Ok(Some(write)) => self.write(now, write, out),
                Ok(None) | Err(_) => drop(self.intents.remove(&name)),
            }
        }
    }
}

fn carry_out(desk: &mut Switches, now: Timestamp, switch: &str, what: &Said) -> Result<Option<Write>, Refused> {
    match what {
        Said::Pin(request) => desk.pin(now, request.clone()).map(Some),
        Said::Unpin { by } => desk.unpin(now, switch, by).map(Some),
        Said::Rollout { word, by } => desk.say_to_rollout(now, switch, *word, by),
    }
}
