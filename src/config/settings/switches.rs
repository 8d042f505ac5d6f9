//! `switches`.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::config::checker::Checker;
use crate::config::switches::Switches;
use crate::model::SwitchName;
use crate::switches::OnSilence;

/// A feature switch as it is declared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeatureSwitch {
    /// Healthy first; at least two, each once.
    pub levels: Vec<String>,
    pub description: String,
    /// After this time without a decision the first level is restored; `None` holds the last one.
    pub restore_after: Option<Duration>,
}

/// All switches by their names.
pub fn settings(check: &mut Checker<'_>, switches: &Switches) -> BTreeMap<SwitchName, FeatureSwitch> {
    let mut all = BTreeMap::new();
    for (name, switch) in &switches.0 {
        check.refused(&switch.refused);
        match SwitchName::new(&name.value) {
            Ok(key) => {
                let feature = FeatureSwitch {
                    levels: switch.feature.iter().map(|level| level.value.clone()).collect(),
                    description: switch.description.clone(),
                    restore_after: match switch.on_silence {
                        OnSilence::Hold => None,
                        OnSilence::Restore(span) => Some(span),
                    },
                };
                all.insert(key, feature);
            }
            Err(error) => check.error(&name.place, error.to_string(), "rename it"),
        }
    }
    all
}
