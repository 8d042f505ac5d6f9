//! `switches`.

use std::collections::BTreeMap;

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
    pub on_silence: OnSilence,
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
                    on_silence: switch.on_silence,
                };
                all.insert(key, declared);
            }
            Err(error) => check.error(&name.place, error.to_string(), "rename it"),
        }
    }
    all
}
