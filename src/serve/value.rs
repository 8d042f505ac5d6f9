//! What a switch says, whatever its kind: the one place that the protocols read.
//!
//! A feature is at a level of its ladder; a dimmer and a rollout are shares, a limit is a number. Every protocol writes a
//! [`Value`] in its own words; none knows where it came from.

use serde_json::{Map, Value as Json, json};

use crate::rng::Rng;
pub use crate::switches::LimitUnit as Unit;
use crate::switches::SwitchValue;

/// The value of one switch.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `depth` is the level's place on the ladder; 0 is healthy.
    Feature { level: String, depth: usize, ladder: Vec<String> },
    /// `share` of the requests get the optional part, 0 to 1. A consumer that counts its own requests in flight compares
    /// them with `threshold` and `limit`.
    Dimmer { share: f64, threshold: Option<f64>, limit: Option<f64> },
    /// Without a value nothing is limited.
    Limit { value: Option<f64>, unit: Unit },
    /// `share` of the users are on the new version, 0 to 1.
    Rollout { share: f64 },
}

impl Value {
    /// The kind as the configuration names it.
    pub fn kind(&self) -> &'static str {
        match self {
            Value::Feature { .. } => "feature",
            Value::Dimmer { .. } => "dimmer",
            Value::Limit { .. } => "limit",
            Value::Rollout { .. } => "rollout",
        }
    }

    /// One word for a shell script: the level, the share in per cent (`25%`), the limit's number or `none`.
    pub fn text(&self) -> String {
        match self {
            Value::Feature { level, .. } => level.clone(),
            Value::Dimmer { share, .. } | Value::Rollout { share } => format!("{}%", percent(*share)),
            Value::Limit { value, .. } => value.map_or_else(|| "none".to_owned(), number_text),
        }
    }

    /// What the engine says of a switch with this ladder.
    pub(super) fn of(told: &SwitchValue, ladder: &[String]) -> Value {
        match told {
            SwitchValue::Feature { level, depth } => {
                Value::Feature { level: level.clone(), depth: *depth, ladder: ladder.to_vec() }
            }
            SwitchValue::Dimmer { share, threshold, limit } => {
                Value::Dimmer { share: *share, threshold: *threshold, limit: *limit }
            }
            SwitchValue::Limit { value, unit } => Value::Limit { value: *value, unit: *unit },
            SwitchValue::Rollout { share, .. } => Value::Rollout { share: *share },
        }
    }

    /// The other way round, for the tests.
    #[cfg(test)]
    pub(super) fn told(&self) -> SwitchValue {
        match self.clone() {
            Value::Feature { level, depth, .. } => SwitchValue::Feature { level, depth },
            Value::Dimmer { share, threshold, limit } => SwitchValue::Dimmer { share, threshold, limit },
            Value::Limit { value, unit } => SwitchValue::Limit { value, unit },
            Value::Rollout { share } => {
                let state = crate::switches::RolloutState::Running;
                SwitchValue::Rollout { share, state, step: 0, version: String::new() }
            }
        }
    }

    /// 0 at the healthy level; for a dimmer that is below 1, 1.
    #[cfg(test)]
    pub(super) fn depth(&self) -> usize {
        match self {
            Value::Feature { depth, .. } => *depth,
            Value::Dimmer { share, .. } => usize::from(*share < 1.0),
            Value::Limit { .. } | Value::Rollout { .. } => 0,
        }
    }

    /// A feature's ladder; nothing for the other kinds.
    pub fn ladder(&self) -> &[String] {
        match self {
            Value::Feature { ladder, .. } => ladder,
            _ => &[],
        }
    }

    /// How much of the service is given, 0 to 1: a share as it is, a feature 1 at its healthy level, 0 at its last one
    /// and in even steps between. `None` for a limit.
    pub fn share(&self) -> Option<f64> {
        match self {
            Value::Feature { depth, ladder, .. } => Some(1.0 - *depth as f64 / (ladder.len().max(2) - 1) as f64),
            Value::Dimmer { share, .. } | Value::Rollout { share } => Some(share.clamp(0.0, 1.0)),
            Value::Limit { .. } => None,
        }
    }

    /// The parts of the value as JSON, beside `kind`.
    pub(super) fn parts(&self) -> Map<String, Json> {
        let parts = match self {
            Value::Feature { .. } => json!({}),
            Value::Dimmer { share, threshold, limit } => {
                json!({ "share": share, "threshold": threshold, "limit": limit })
            }
            Value::Limit { value, unit } => json!({ "limit": value, "unit": unit }),
            Value::Rollout { share } => json!({ "share": share }),
        };
        match parts {
            Json::Object(parts) => parts,
            _ => Map::new(),
        }
    }
}

/// A number without a needless fraction: `20`, `0.25`.
pub fn number_text(number: f64) -> String {
    format!("{number}")
}

/// A share in per cent, to four digits behind the point: `25`, `0.5`.
pub fn percent(share: f64) -> f64 {
    (share.clamp(0.0, 1.0) * 1e6).round() / 1e4
}

/// Where a targeting key falls for a switch, in `[0, 1)`: below the share it is in. It is the same on every host and in
/// every version: FNV-1a (64 bits) over the switch's name, a zero byte and the key, mixed by one step of SplitMix64, its
/// upper 53 bits as a fraction. Raising a share therefore only ever adds keys.
pub fn bucket(switch: &str, targeting_key: &str) -> f64 {
    let bytes = switch.bytes().chain([0]).chain(targeting_key.bytes());
    Rng::seeded(fnv(bytes)).unit()
}

/// FNV-1a, 64 bits.
pub(super) fn fnv(bytes: impl IntoIterator<Item = u8>) -> u64 {
    bytes.into_iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_stay_where_they_are_and_are_spread_evenly() {
        // Fixed for good: applications on other hosts must fall to the same side.
        assert_eq!(format!("{:.6}", bucket("related_items", "user-1")), "0.256781");
        let inside = |share: f64| (0..10_000).filter(|n| bucket("a", &format!("user-{n}")) < share).count();
        for (share, expected) in [(0.01, 100.0), (0.25, 2_500.0), (0.5, 5_000.0), (0.9, 9_000.0)] {
            let off = (inside(share) as f64 - expected).abs();
            assert!(off < 4.0 * (expected * (1.0 - share)).sqrt(), "{share}: {off} from {expected}");
        }
        assert_eq!((inside(0.0), inside(1.0)), (0, 10_000));
    }

    #[test]
    fn two_switches_do_not_choose_the_same_users() {
        let both = (0..10_000).filter(|n| ["a", "b"].iter().all(|s| bucket(s, &n.to_string()) < 0.5)).count();
        assert!((2_300..2_700).contains(&both), "{both} of 10000 users are in both halves");
    }

    #[test]
    fn a_ladder_gives_its_service_in_even_steps() {
        let ladder: Vec<String> = ["full", "cached", "off"].map(str::to_owned).to_vec();
        let share =
            |depth: usize| Value::Feature { level: ladder[depth].clone(), depth, ladder: ladder.clone() }.share();
        assert_eq!([share(0), share(1), share(2)], [Some(1.0), Some(0.5), Some(0.0)]);
    }
}
