//! What each integration was last told about a group, and what follows from it: Alertmanager's notification log and
//! its dedup stage. Here it is durable to the message, so a restart neither repeats nor forgets.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::notification::NotifyReason;
use crate::time::Timestamp;

/// Receiver, integration, group key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(super) struct LogKey {
    pub receiver: String,
    pub integration: String,
    pub group_key: String,
}

/// The last message to an integration about a group; alerts are named by their fingerprints.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct LogEntry {
    pub at: Timestamp,
    pub firing: BTreeSet<String>,
    pub resolved: BTreeSet<String>,
    /// How many messages there were; part of the next one's id.
    pub sequence: u64,
    /// What was told of alerts that flap: how often, and when last.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub flapping: BTreeMap<String, (u32, Timestamp)>,
    /// Somebody knows of it: no repeats for a while.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged: Option<Acknowledged>,
}

/// Who knows of a group, and for how long repeats are held back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Acknowledged {
    pub until: Timestamp,
    pub by: String,
}

/// Why a message is due now, or `None` when nothing has to be said (`needsUpdate` in `notify/dedup_stage.go`).
pub(super) fn needs_update(
    entry: Option<&LogEntry>,
    firing: &BTreeSet<String>,
    resolved: &BTreeSet<String>,
    send_resolved: bool,
    repeat: Duration,
    now: Timestamp,
) -> Option<NotifyReason> {
    let Some(entry) = entry else {
        return (!firing.is_empty()).then_some(NotifyReason::FirstNotification);
    };
    if !firing.is_subset(&entry.firing) {
        let first = entry.firing.is_empty();
        return Some(if first { NotifyReason::FirstNotification } else { NotifyReason::NewAlerts });
    }
    if firing.is_empty() {
        return (!entry.firing.is_empty()).then_some(NotifyReason::AllResolved);
    }
    if send_resolved && !resolved.is_subset(&entry.resolved) {
        return Some(NotifyReason::SomeResolved);
    }
    (entry.at < now - repeat).then_some(NotifyReason::RepeatInterval)
}

/// The stable id of a message: a UUID-like text from what it is about and when it was decided.
pub(super) fn delivery_id(key: &LogKey, sequence: u64, at: Timestamp) -> String {
    let fnv = |basis: u64| {
        let mut hash = basis;
        let mut add = |bytes: &[u8]| {
            for byte in bytes.iter().chain(&[0xff]) {
                hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
            }
        };
        add(key.receiver.as_bytes());
        add(key.integration.as_bytes());
        add(key.group_key.as_bytes());
        add(&sequence.to_le_bytes());
        add(&at.as_millis().to_le_bytes());
        hash
    };
    let (high, low) = (fnv(0xcbf2_9ce4_8422_2325), fnv(0x6c62_272e_07bb_0142));
    format!(
        "{:08x}-{:04x}-8{:03x}-{:04x}-{:012x}",
        high >> 32,
        (high >> 16) & 0xffff,
        high & 0xfff,
        0x8000 | ((low >> 48) & 0x3fff),
        low & 0xffff_ffff_ffff
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_due_as_in_alertmanager() {
        let at = |secs: i64| Timestamp::from_millis(secs * 1000);
        let set = |names: &str| names.split_whitespace().map(str::to_owned).collect::<BTreeSet<_>>();
        let check = |entry: Option<(&str, &str)>, firing: &str, resolved: &str, sends: bool, now: i64, want| {
            let entry = entry.map(|(firing, resolved)| LogEntry {
                at: at(0),
                firing: set(firing),
                resolved: set(resolved),
                ..LogEntry::default()
            });
            let repeat = Duration::from_secs(100);
            let got = needs_update(entry.as_ref(), &set(firing), &set(resolved), sends, repeat, at(now));
            assert_eq!(got, want, "{entry:?} {firing:?} {resolved:?} {now}");
        };
        use NotifyReason::{AllResolved, FirstNotification, NewAlerts, RepeatInterval, SomeResolved};
        check(None, "a", "", true, 0, Some(FirstNotification));
        check(None, "", "a", true, 0, None);
        check(Some(("a", "")), "a", "", true, 10, None);
        check(Some(("a", "")), "a b", "", true, 10, Some(NewAlerts));
        check(Some(("", "a")), "a", "", true, 10, Some(FirstNotification));
        check(Some(("a", "")), "", "a", true, 10, Some(AllResolved));
        check(Some(("a", "")), "", "a", false, 10, Some(AllResolved));
        check(Some(("", "a")), "", "a", true, 1000, None);
        check(Some(("a b", "")), "a", "b", true, 10, Some(SomeResolved));
        check(Some(("a b", "")), "a", "b", false, 10, None);
        check(Some(("a", "b")), "a", "b", true, 10, None);
        check(Some(("a", "")), "a", "", true, 100, None);
        check(Some(("a", "")), "a", "", true, 101, Some(RepeatInterval));
        check(Some(("a b", "")), "a", "", true, 101, Some(RepeatInterval));
    }
}
