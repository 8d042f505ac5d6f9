//! Retention on demand: how long each series is kept, from what the rules and the page say they read.
//!
//! A series is kept for the longest window of the needs that match it, and five minutes more for the lookback; never
//! less than [`Settings::retention`](super::Settings::retention). Only needs that ask for more than that are held.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::store::Need;
use crate::model::{Labels, Matcher, NAME};
use crate::time::millis;

/// How far an instant selector looks back: Prometheus' default.
pub(super) const LOOKBACK: Duration = Duration::from_secs(300);

/// The needs that ask for more than the default, by the metric name they give.
#[derive(Clone, Debug, Default)]
pub(super) struct Needs {
    named: HashMap<String, Vec<Window>>,
    unnamed: Vec<Window>,
    default: i64,
}

#[derive(Clone, Debug)]
struct Window {
    matchers: Arc<[Matcher]>,
    /// In milliseconds, the lookback included.
    keep: i64,
}

impl Needs {
    pub(super) fn new(needs: &[Need], default: Duration) -> Needs {
        let mut all = Needs { default: millis(default), ..Needs::default() };
        for need in needs {
            let window =
                Window { matchers: Arc::clone(&need.matchers), keep: millis(need.window.saturating_add(LOOKBACK)) };
            if window.keep <= all.default {
                continue;
            }
            match need.matchers.iter().find(|m| m.name == NAME).and_then(Matcher::listed_values) {
                Some([name]) => all.named.entry(name.to_string()).or_default().push(window),
                _ => all.unnamed.push(window),
            }
        }
        all
    }

    /// How long a series is kept, in milliseconds.
    pub(super) fn keep(&self, labels: &Labels) -> i64 {
        if self.named.is_empty() && self.unnamed.is_empty() {
            return self.default;
        }
        let named = self.named.get(labels.name()).map_or(&[][..], Vec::as_slice);
        let matching =
            named.iter().chain(&self.unnamed).filter(|w| w.matchers.iter().all(|m| m.matches_labels(labels)));
        matching.map(|window| window.keep).max().unwrap_or(self.default).max(self.default)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::MatchOp;

    #[test]
    fn the_longest_matching_window_counts() {
        let need = |matchers: &[(MatchOp, &str, &str)], secs| Need {
            matchers: matchers.iter().map(|(op, n, v)| Matcher::new(*op, n, v).expect("a matcher")).collect(),
            window: Duration::from_secs(secs),
        };
        let needs = [
            need(&[(MatchOp::Equal, NAME, "a")], 3600),
            need(&[(MatchOp::Equal, NAME, "a"), (MatchOp::Equal, "x", "1")], 7200),
            need(&[(MatchOp::Equal, NAME, "a")], 10),
            need(&[(MatchOp::Matches, NAME, "b.*")], 86_400),
        ];
        let needs = Needs::new(&needs, Duration::from_secs(900));
        let check = |pairs: &[(&str, &str)], secs: i64| {
            assert_eq!(needs.keep(&Labels::from_pairs(pairs.iter().copied())), secs * 1000, "{pairs:?}");
        };
        check(&[(NAME, "a")], 3900);
        check(&[(NAME, "a"), ("x", "1")], 7500);
        check(&[(NAME, "bc")], 86_700);
        check(&[(NAME, "c")], 900);
        check(&[], 900);
    }
}
