//! This host's votes and presence: put when they change, and renewed before they expire.

use std::collections::BTreeSet;
use std::time::Duration;

use super::super::arbiter::{Opinion, Switches};
use super::super::value::SwitchValue;
use super::super::votes::{FleetSettings, Member, Vote};
use super::known::VOTE_LIFE;
use super::state::{Asked, Fleet};
use crate::rng::Rng;
use crate::time::Timestamp;

/// How often a host says what its clock shows.
const PRESENCE_EVERY: Duration = Duration::from_secs(5 * 60);
/// How long a bounded rule of scope `host` waits for a store that does not answer.
const PATIENCE: Duration = Duration::from_secs(10);

impl Fleet {
    /// Puts what changed; after a break everything is put again, as it is now.
    pub(super) fn vote(&mut self, now: Timestamp, own: &Switches, out: &mut Asked) {
        if !self.reach {
            // What is put when the store is back is worked out then.
            self.presence = None;
            return;
        }
        if now < self.vote_at {
            return;
        }
        let again = self.presence.is_none();
        // In a freeze this host thinks what it thought.
        if own.frozen().is_some() {
            for (key, vote) in &mut self.sent {
                if again || vote.expires_at.since(now) < VOTE_LIFE / 2 {
                    vote.expires_at = now + VOTE_LIFE;
                    out.votes.push((key.clone(), Some(vote.clone())));
                }
            }
        } else {
            self.put_opinions(now, own, again, out);
        }
        let rules: BTreeSet<String> = self.rules.keys().cloned().collect();
        let demand = self.demand.says(now).clone();
        let known = self.presence.as_ref().filter(|member| {
            member.rules == rules
                && member.zone == self.settings.zone
                && member.config.as_ref() == Some(&self.runs.state)
                && member.demand == demand
                && now.since(member.at) < PRESENCE_EVERY
        });
        if known.is_none() {
            let FleetSettings { zone, version, .. } = self.settings.clone();
            let config = Some(self.runs.state.clone());
            let (instance, address) = (String::new(), String::new());
            let member = Member { zone, since: self.since, rules, version, at: now, config, demand, instance, address };
            self.presence = Some(member.clone());
            out.presence = Some(member);
        }
    }

    fn put_opinions(&mut self, now: Timestamp, own: &Switches, again: bool, out: &mut Asked) {
        let opinions = own.opinions();
        let over: Vec<String> = self.sent.keys().filter(|key| !opinions.contains_key(*key)).cloned().collect();
        for key in over {
            self.sent.remove(&key);
            out.votes.push((key, None));
        }
        for (key, opinion) in opinions {
            let before = self.sent.get(&key);
            let same = before.filter(|vote| says_the_same(vote, &opinion));
            let fresh = same.is_some_and(|vote| vote.expires_at.since(now) >= VOTE_LIFE / 2);
            if fresh && !again {
                continue;
            }
            let since = opinion.since.or(same.map(|vote| vote.since)).unwrap_or(now);
            let level = opinion.value.text();
            let value = Some(opinion.value).filter(|value| !matches!(value, SwitchValue::Feature { .. }));
            let (switch, expression) = (opinion.switch, opinion.expression);
            let measured = opinion.measured.filter(|value| value.is_finite());
            let expires_at = now + VOTE_LIFE;
            let vote = Vote { rule: key.clone(), switch, level, value, since, expression, measured, expires_at };
            self.sent.insert(key.clone(), vote.clone());
            out.votes.push((key, Some(vote)));
        }
    }

    /// Rules of scope `host` with a bound: this host degrades, too, while few enough claim it before it. Where the fleet is
    /// so large that a host is not told who is in it, a lot that its name draws says whether it may. Out of the store's
    /// reach nobody can be asked, and the rule goes on by itself.
    pub(super) fn bound_host_rules(&mut self, now: Timestamp, own: &mut Switches) {
        let mut withheld = BTreeSet::new();
        for (title, rule) in self.rules.iter().filter(|(_, rule)| rule.scope == "host") {
            let asked = self.reach || self.lost_since.is_some_and(|lost| now.since(lost) < PATIENCE);
            let Some(most) = rule.quorum.max_degraded_share.filter(|_| asked) else { continue };
            if own.is_asked_by(title) {
                continue;
            }
            if self.only_counter {
                if drawn(&self.settings.host, title) >= most {
                    withheld.insert(title.clone());
                }
                continue;
            }
            let (known, claims) = self.known.claims(now, title);
            let mine = claims.iter().position(|host| *host == self.settings.host);
            if mine.is_none_or(|rank| (rank + 1) as f64 > most * known + 1e-9) {
                withheld.insert(title.clone());
            }
        }
        own.withhold(now, &withheld);
    }
}

/// The lot of a host for a rule: a number in [0, 1) that is the same whenever it is drawn.
fn drawn(host: &str, rule: &str) -> f64 {
    let seed = host.bytes().chain([0]).chain(rule.bytes());
    let seed = seed.fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| (sum ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    Rng::seeded(seed).unit()
}

fn says_the_same(vote: &Vote, opinion: &Opinion) -> bool {
    let same_value = match &vote.value {
        None => vote.level == opinion.value.text(),
        Some(value) => !super::super::arbiter::tells(value, &opinion.value),
    };
    vote.switch == opinion.switch && same_value
}
