//! `switches`.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::config::checker::Checker;
use crate::config::switches::Switches;
use crate::model::SwitchName;
use crate::switches::{OnSilence, SwitchKind};

/// A switch as it is declared.
#[derive(Clone, Debug, PartialEq)]
pub struct SwitchSettings {
    pub kind: SwitchKind,
    /// Of a feature: healthy first; at least two, each once. Of other kinds empty.
    pub levels: Vec<String>,
    pub description: String,
    /// After this time without a decision the first level is restored; `None` holds the last one.
    pub restore_after: Option<Duration>,
}

/// All switches by their names.
pub fn settings(check: &mut Checker<'_>, switches: &Switches) -> BTreeMap<SwitchName, SwitchSettings> {
    let mut all = BTreeMap::new();
    for (name, switch) in &switches.0 {
        match SwitchName::new(&name.value) {
            Ok(key) => {
                let declared = SwitchSettings {
                    kind: switch.kind.clone(),
                    levels: switch.feature.iter().map(|level| level.value.clone()).collect(),
                    description: switch.description.clone(),
                    restore_after: match switch.on_silence {
                        OnSilence::Hold => None,
                        OnSilence::Restore(span) => Some(span),
                    },
                };
                all.insert(key, declared);
            }
            Err(error) => check.error(&name.place, error.to_string(), "rename it"),
        }
    }
    all
}
