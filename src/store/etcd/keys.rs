//! The names of keys: parts that people chose are percent-encoded, so that none of them can be a path.

use crate::model::SwitchName;
use crate::switches::Place;

/// What a key is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Switch(Place, SwitchName),
    Member(String),
    Vote {
        host: String,
        rule: String,
    },
    Counter(String),
    Outbox(String),
    /// Which revision of the configuration is for whom.
    Stage,
    /// How limits are shared out.
    Shares,
    Bundle(u64),
    /// What a host reports of its alerts.
    Alerts(String),
    /// What became of them.
    Told(String),
    /// What a central query API answered.
    Query(String),
}

/// The keys of one fleet.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    prefix: String,
}

impl Keys {
    pub(super) fn new(prefix: &str) -> Keys {
        Keys { prefix: format!("{}/", prefix.trim_end_matches('/')) }
    }

    /// All keys of a kind begin with this.
    pub(super) fn all(&self, kind: &str) -> String {
        format!("{}{kind}/", self.prefix)
    }

    /// `None` for a host's own switch, which has no key.
    pub(super) fn switch(&self, place: &Place, name: &SwitchName) -> Option<String> {
        Some(format!("{}switches/{}/{}", self.prefix, of_place(place)?, escaped(name.as_str())))
    }

    pub(super) fn member(&self, host: &str) -> String {
        format!("{}members/{}", self.prefix, escaped(host))
    }

    /// All votes of a host begin with this.
    pub(super) fn votes(&self, host: &str) -> String {
        format!("{}votes/{}/", self.prefix, escaped(host))
    }

    pub(super) fn vote(&self, host: &str, rule: &str) -> String {
        format!("{}{}", self.votes(host), escaped(rule))
    }

    pub(super) fn counter(&self, host: &str) -> String {
        format!("{}counter/{}", self.prefix, escaped(host))
    }

    pub(super) fn outbox(&self, id: &str) -> String {
        format!("{}outbox/{}", self.prefix, escaped(id))
    }

    /// Below `config/`, which is watched.
    pub(super) fn stage(&self) -> String {
        format!("{}config/stage", self.prefix)
    }

    pub(super) fn shares(&self) -> String {
        format!("{}config/shares", self.prefix)
    }

    /// Beside `config/`: read by those alone who are to run it.
    pub(super) fn bundle(&self, revision: u64) -> String {
        format!("{}bundles/{revision:010}", self.prefix)
    }

    pub(super) fn alerts(&self, host: &str) -> String {
        format!("{}alerts/{}", self.prefix, escaped(host))
    }

    pub(super) fn query(&self, name: &str) -> String {
        format!("{}queries/{}", self.prefix, escaped(name))
    }

    pub(super) fn told(&self, host: &str) -> String {
        format!("{}alerts-told/{}", self.prefix, escaped(host))
    }

    pub(super) fn decision(&self, place: &Place, name: &SwitchName, revision: u64) -> Option<String> {
        Some(format!("{}decisions/{}/{}/{revision:020}", self.prefix, of_place(place)?, escaped(name.as_str())))
    }

    /// What a key is about; `None` for one that is none of ours.
    pub(super) fn read(&self, key: &[u8]) -> Option<Key> {
        let rest = std::str::from_utf8(key).ok()?.strip_prefix(&self.prefix)?;
        let parts: Vec<&str> = rest.split('/').collect();
        match parts.as_slice() {
            ["switches", "fleet", name] => Some(Key::Switch(Place::Fleet, SwitchName::new(&plain(name)?).ok()?)),
            ["switches", "zone", zone, name] => {
                Some(Key::Switch(Place::Zone(plain(zone)?), SwitchName::new(&plain(name)?).ok()?))
            }
            ["members", host] => Some(Key::Member(plain(host)?)),
            ["votes", host, rule] => Some(Key::Vote { host: plain(host)?, rule: plain(rule)? }),
            ["alerts", host] => Some(Key::Alerts(plain(host)?)),
            ["alerts-told", host] => Some(Key::Told(plain(host)?)),
            ["queries", name] => Some(Key::Query(plain(name)?)),
            ["outbox", id] => Some(Key::Outbox(plain(id)?)),
            ["config", "stage"] => Some(Key::Stage),
            ["config", "shares"] => Some(Key::Shares),
            ["bundles", revision] => Some(Key::Bundle(revision.parse().ok()?)),
            ["counter", host] => Some(Key::Counter(plain(host)?)),
            _ => None,
        }
    }
}

fn of_place(place: &Place) -> Option<String> {
    match place {
        Place::Fleet => Some("fleet".to_owned()),
        Place::Zone(zone) => Some(format!("zone/{}", escaped(zone))),
        Place::Host => None,
    }
}

/// The first key after all that begin with this.
pub(super) fn end_of(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    // The prefixes end with `/`, which has a successor.
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

fn plain(text: &str) -> Option<String> {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((&first, after)) = rest.split_first() {
        if first == b'%' {
            let hex = std::str::from_utf8(after.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(hex, 16).ok()?);
            rest = &after[2..];
        } else {
            bytes.push(first);
            rest = after;
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_chose_cannot_leave_its_place() {
        let keys = Keys::new("/brownout/shop/");
        let name = SwitchName::new("recs").expect("a name");
        let zone = Place::Zone("eu/1 %".into());
        let key = keys.switch(&zone, &name).expect("shared");
        assert_eq!(key, "/brownout/shop/switches/zone/eu%2F1%20%25/recs");
        assert_eq!(keys.read(key.as_bytes()), Some(Key::Switch(zone.clone(), name.clone())));
        assert_eq!(keys.switch(&Place::Host, &name), None);
        let vote = keys.vote("../h", "g/r é");
        assert_eq!(vote, "/brownout/shop/votes/..%2Fh/g%2Fr%20%C3%A9");
        assert_eq!(keys.read(vote.as_bytes()), Some(Key::Vote { host: "../h".into(), rule: "g/r é".into() }));
        assert_eq!(keys.read(keys.counter("a").as_bytes()), Some(Key::Counter("a".into())));
        assert_eq!(keys.read(keys.member("a").as_bytes()), Some(Key::Member("a".into())));
        assert_eq!(keys.read(keys.alerts("a/b").as_bytes()), Some(Key::Alerts("a/b".into())));
        assert_eq!(keys.read(keys.told("a").as_bytes()), Some(Key::Told("a".into())));
        assert_eq!(keys.read(b"/brownout/shop/decisions/fleet/recs/1"), None);
        assert_eq!(keys.read(b"/brownout/shopping/members/a"), None);
        assert_eq!(keys.read(b"/brownout/shop/members/%f"), None);
        assert_eq!(end_of("a/"), b"a0");
        let decision = keys.decision(&zone, &name, 7).expect("shared");
        assert!(decision.ends_with("decisions/zone/eu%2F1%20%25/recs/00000000000000000007"), "{decision}");
        assert_eq!(keys.read(keys.stage().as_bytes()), Some(Key::Stage));
        assert_eq!(keys.read(keys.shares().as_bytes()), Some(Key::Shares));
        assert_eq!(keys.read(keys.bundle(7).as_bytes()), Some(Key::Bundle(7)));
        assert_eq!(keys.outbox("a/b"), "/brownout/shop/outbox/a%2Fb");
    }
}
