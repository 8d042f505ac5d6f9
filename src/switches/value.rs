//! What a switch says to applications, by its kind: [`SwitchValue`], and what the configuration declares of it:
//! [`SwitchKind`].
//!
//! | kind | value | healthy |
//! | --- | --- | --- |
//! | feature | a level of its ladder, and its depth | the first level |
//! | dimmer | the share of requests that get the optional part; where the consumer counts its own requests in flight, the threshold from which it degrades by itself, and the limit from which it rejects | the largest share, no threshold |
//! | limit | requests in flight, or a rate; nothing while nothing is limited | as it was measured in calm, or nothing |
//! | rollout | the share of users on a new version, and how far it got | the initial share |
//!
//! A value can be written as a text and read again: that is what `level` of a record, of a pin and of a decision holds.

use serde::{Deserialize, Serialize};

/// What a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum LimitUnit {
    /// Requests that are being worked on at one time, on one host.
    #[default]
    #[serde(rename = "in_flight")]
    InFlight,
    /// Requests a second, on one host.
    #[serde(rename = "requests/s")]
    RequestsPerSecond,
}

impl LimitUnit {
    /// As the configuration writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            LimitUnit::InFlight => "in_flight",
            LimitUnit::RequestsPerSecond => "requests/s",
        }
    }
}

/// How far a rollout got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RolloutState {
    /// Not begun: the share is the initial one.
    #[default]
    Waiting,
    /// A step is baking.
    Running,
    /// A person, or a doubt, holds it where it is until a person says `resume`.
    Paused,
    /// It went wrong: back at the initial share, and locked until a person acknowledges it.
    RolledBack,
    /// The last step was baked.
    Done,
}

impl RolloutState {
    /// One word for a page or an API.
    pub fn as_str(self) -> &'static str {
        match self {
            RolloutState::Waiting => "waiting",
            RolloutState::Running => "running",
            RolloutState::Paused => "paused",
            RolloutState::RolledBack => "rolled_back",
            RolloutState::Done => "done",
        }
    }
}

/// What a switch says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum SwitchValue {
    Feature {
        level: String,
        /// 0 is healthy.
        depth: usize,
    },
    Dimmer {
        /// 0 to 1: the share of requests that get the optional part.
        share: f64,
        /// Requests that arrive while this many are in flight get no optional part; `None` where the law gives none.
        threshold: Option<f64>,
        /// Requests that arrive while this many are in flight are rejected; `None` before anything was measured.
        limit: Option<f64>,
    },
    Limit {
        /// `None`: nothing is limited.
        value: Option<f64>,
        unit: LimitUnit,
    },
    Rollout {
        /// 0 to 1: the share of users on the new version.
        share: f64,
        state: RolloutState,
        /// The step it is at, from 0.
        step: usize,
        /// The name of the new version, where the rule gives one.
        version: String,
    },
}

impl SwitchValue {
    /// The value as one word: the level, the share as a percentage, the limit's number or `none`.
    pub fn text(&self) -> String {
        match self {
            SwitchValue::Feature { level, .. } => level.clone(),
            SwitchValue::Dimmer { share, .. } | SwitchValue::Rollout { share, .. } => percent(*share),
            SwitchValue::Limit { value, .. } => value.map_or_else(|| "none".to_owned(), short),
        }
    }

    /// The value as one number: the depth, the share, the limit (infinite while nothing is limited).
    pub fn number(&self) -> f64 {
        match self {
            SwitchValue::Feature { depth, .. } => *depth as f64,
            SwitchValue::Dimmer { share, .. } | SwitchValue::Rollout { share, .. } => *share,
            SwitchValue::Limit { value, .. } => value.unwrap_or(f64::INFINITY),
        }
    }
}

/// What kind a switch is, and the bounds of its value.
#[derive(Clone, Debug, PartialEq, Default)]
pub enum SwitchKind {
    /// Its levels are the declaration's ladder.
    #[default]
    Feature,
    Dimmer {
        /// The share never falls below.
        min: f64,
        /// The share when all is well.
        max: f64,
    },
    Limit {
        unit: LimitUnit,
        /// The limit never falls below.
        min: f64,
        max: Option<f64>,
        /// The fleet's value is a total that is shared out over the hosts by demand.
        share_out: bool,
    },
    Rollout {
        /// The share before the first step and after a rollback.
        initial: f64,
    },
}

impl SwitchKind {
    /// The word of the configuration.
    pub fn as_str(&self) -> &'static str {
        match self {
            SwitchKind::Feature => "feature",
            SwitchKind::Dimmer { .. } => "dimmer",
            SwitchKind::Limit { .. } => "limit",
            SwitchKind::Rollout { .. } => "rollout",
        }
    }

    /// The value while nobody has decided anything; `ladder` is used by features only.
    pub fn healthy(&self, ladder: &[String]) -> SwitchValue {
        match self {
            SwitchKind::Feature => {
                SwitchValue::Feature { level: ladder.first().cloned().unwrap_or_default(), depth: 0 }
            }
            SwitchKind::Dimmer { max, .. } => SwitchValue::Dimmer { share: *max, threshold: None, limit: None },
            SwitchKind::Limit { unit, .. } => SwitchValue::Limit { value: None, unit: *unit },
            SwitchKind::Rollout { initial } => {
                SwitchValue::Rollout { share: *initial, state: RolloutState::Waiting, step: 0, version: String::new() }
            }
        }
    }

    /// Reads a value that a person wrote; what it does not say is as in `now`.
    ///
    /// # Errors
    /// What to write instead.
    pub fn read(&self, text: &str, ladder: &[String], now: &SwitchValue) -> Result<SwitchValue, String> {
        match (self, now) {
            (SwitchKind::Feature, _) => {
                let depth = ladder.iter().position(|level| level == text);
                let depth = depth.ok_or_else(|| format!("its ladder is: {}", ladder.join(", ")))?;
                Ok(SwitchValue::Feature { level: text.to_owned(), depth })
            }
            (SwitchKind::Dimmer { .. }, SwitchValue::Dimmer { threshold, limit, .. }) => {
                Ok(SwitchValue::Dimmer { share: read_share(text)?, threshold: *threshold, limit: *limit })
            }
            (SwitchKind::Rollout { .. }, SwitchValue::Rollout { state, step, version, .. }) => {
                let share = read_share(text)?;
                Ok(SwitchValue::Rollout { share, state: *state, step: *step, version: version.clone() })
            }
            (SwitchKind::Limit { unit, .. }, _) if text == "none" => {
                Ok(SwitchValue::Limit { value: None, unit: *unit })
            }
            (SwitchKind::Limit { unit, .. }, _) => match text.parse::<f64>() {
                Ok(value) if value.is_finite() && value >= 0.0 => {
                    Ok(SwitchValue::Limit { value: Some(value), unit: *unit })
                }
                _ => Err(format!("write a number ({}), or `none`", unit.as_str())),
            },
            (SwitchKind::Dimmer { .. } | SwitchKind::Rollout { .. }, _) => {
                self.read(text, ladder, &self.healthy(ladder))
            }
        }
    }
}

/// `30%` or `0.3`.
///
/// # Errors
/// What to write instead.
pub fn read_share(text: &str) -> Result<f64, String> {
    let (number, whole) = text.strip_suffix('%').map_or((text, 1.0), |number| (number.trim_end(), 100.0));
    match number.parse::<f64>() {
        Ok(value) if (0.0..=whole).contains(&value) => Ok(value / whole),
        _ => Err(format!("`{text}` is no share: write 0% to 100%, or 0 to 1")),
    }
}

/// A share as a percentage with at most one decimal.
pub(super) fn percent(share: f64) -> String {
    format!("{}%", (share * 1000.0).round() / 10.0)
}

/// A number with at most two decimals.
pub(super) fn short(value: f64) -> String {
    format!("{}", (value * 100.0).round() / 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_written_as_a_person_would_write_it_and_read_again() {
        let dimmer = SwitchKind::Dimmer { min: 0.0, max: 1.0 };
        let limit = SwitchKind::Limit { unit: LimitUnit::InFlight, min: 4.0, max: None, share_out: false };
        let rollout = SwitchKind::Rollout { initial: 0.0 };
        let ladder = ["full".to_owned(), "off".to_owned()];
        for (kind, written, text, number) in [
            (&SwitchKind::Feature, "off", "off", 1.0),
            (&dimmer, "0.25", "25%", 0.25),
            (&dimmer, "12.5%", "12.5%", 0.125),
            (&limit, "213.333", "213.33", 213.333),
            (&limit, "none", "none", f64::INFINITY),
            (&rollout, "1%", "1%", 0.01),
        ] {
            let value = kind.read(written, &ladder, &kind.healthy(&ladder)).expect(written);
            assert_eq!((value.text().as_str(), value.number()), (text, number), "{written}");
        }
        for (kind, written) in [(&SwitchKind::Feature, "half"), (&dimmer, "2"), (&limit, "-1"), (&rollout, "101%")] {
            assert!(kind.read(written, &ladder, &kind.healthy(&ladder)).is_err(), "{written}");
        }
    }

    #[test]
    fn a_dimmer_that_is_set_by_hand_keeps_its_threshold_and_limit() {
        let kind = SwitchKind::Dimmer { min: 0.0, max: 1.0 };
        let now = SwitchValue::Dimmer { share: 1.0, threshold: Some(12.0), limit: Some(64.0) };
        let set = SwitchValue::Dimmer { share: 0.5, threshold: Some(12.0), limit: Some(64.0) };
        assert_eq!(kind.read("50%", &[], &now), Ok(set));
    }
}
