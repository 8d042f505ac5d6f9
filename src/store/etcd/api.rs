//! etcd's messages, as far as we send and read them.
//! <https://github.com/etcd-io/etcd/blob/release-3.5/api/etcdserverpb/rpc.proto>.

use crate::net::wire::{Field, Message, fields};

pub(super) const RANGE: &str = "/etcdserverpb.KV/Range";
pub(super) const TXN: &str = "/etcdserverpb.KV/Txn";
pub(super) const WATCH: &str = "/etcdserverpb.Watch/Watch";
pub(super) const LEASE_GRANT: &str = "/etcdserverpb.Lease/LeaseGrant";
pub(super) const LEASE_REVOKE: &str = "/etcdserverpb.Lease/LeaseRevoke";
pub(super) const LEASE_KEEP_ALIVE: &str = "/etcdserverpb.Lease/LeaseKeepAlive";
pub(super) const AUTHENTICATE: &str = "/etcdserverpb.Auth/Authenticate";

/// A key and what it holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct KeyValue {
    pub key: Vec<u8>,
    pub value: Vec<u8>,
    /// The revision at which the key came to be, last changed.
    pub created: u64,
    pub modified: u64,
    pub lease: u64,
}

/// Which cluster answered, and its revision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Header {
    pub cluster: u64,
    pub revision: u64,
}

/// The keys that a range has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ranged {
    pub header: Header,
    pub kvs: Vec<KeyValue>,
    pub count: u64,
}

/// What became of a transaction; one answer for each of its operations, those of other kinds than ranges are empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Done {
    pub header: Header,
    pub succeeded: bool,
    pub answers: Vec<Ranged>,
}

/// What a watch says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Watched {
    pub header: Header,
    pub id: i64,
    pub created: bool,
    pub cancelled: bool,
    /// Not 0 when the watch wanted to begin before it.
    pub compacted: u64,
    pub reason: String,
    pub events: Vec<Changed>,
}

/// A key that was put, or is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Changed {
    pub gone: bool,
    pub kv: KeyValue,
}

/// Which keys to read.
#[derive(Clone, Debug, Default)]
pub(super) struct Range {
    pub key: Vec<u8>,
    /// Empty: the key alone.
    pub end: Vec<u8>,
    pub limit: u64,
    /// By the revision at which the keys came to be; `Some(true)`: the latest first.
    pub by_age: Option<bool>,
    pub keys_only: bool,
    pub count_only: bool,
}

impl Range {
    /// One key.
    pub(super) fn key(key: &str) -> Range {
        Range { key: key.as_bytes().to_vec(), ..Range::default() }
    }

    /// All keys that begin with this; it ends with `/`.
    pub(super) fn prefix(prefix: &str) -> Range {
        Range { end: super::keys::end_of(prefix), ..Range::key(prefix) }
    }

    pub(super) fn message(&self) -> Message {
        let message = Message::default().bytes(1, &self.key);
        let message = if self.end.is_empty() { message } else { message.bytes(2, &self.end) };
        let message = message.number(3, self.limit);
        let message = match self.by_age {
            None => message,
            Some(latest_first) => message.number(5, 1 + u64::from(latest_first)).number(6, 2),
        };
        message.number(8, u64::from(self.keys_only)).number(9, u64::from(self.count_only))
    }
}

/// What a transaction compares.
#[derive(Clone, Debug)]
pub(super) enum Compare {
    /// The revision at which the key last changed; 0: there is none.
    Modified(String, u64),
    /// The revision at which the key came to be; 0: there is none.
    Created(String, u64),
}

/// What a transaction does.
#[derive(Clone, Debug)]
pub(super) enum Op {
    Range(Range),
    Put {
        key: String,
        value: Vec<u8>,
        lease: u64,
    },
    Delete(String),
    /// All keys that begin with this; it ends with `/`.
    DeleteAll(String),
}

impl Op {
    fn message(&self) -> Message {
        match self {
            Op::Range(range) => Message::default().bytes(1, &range.message().0),
            Op::Put { key, value, lease } => {
                let put = Message::default().text(1, key).bytes(2, value).number(3, *lease);
                Message::default().bytes(2, &put.0)
            }
            Op::Delete(key) => Message::default().bytes(3, &Message::default().text(1, key).0),
            Op::DeleteAll(prefix) => {
                let all = Message::default().text(1, prefix).bytes(2, &super::keys::end_of(prefix));
                Message::default().bytes(3, &all.0)
            }
        }
    }
}

pub(super) fn txn(compares: &[Compare], success: &[Op], failure: &[Op]) -> Message {
    let mut message = Message::default();
    for compare in compares {
        // The kind of comparison is EQUAL, which is 0.
        let compare = match compare {
            Compare::Created(key, revision) => Message::default().number(2, 1).text(3, key).number(5, *revision),
            Compare::Modified(key, revision) => Message::default().number(2, 2).text(3, key).number(6, *revision),
        };
        message = message.bytes(1, &compare.0);
    }
    message = success.iter().fold(message, |message, op| message.bytes(2, &op.message().0));
    failure.iter().fold(message, |message, op| message.bytes(3, &op.message().0))
}

/// Asks for a lease of so many seconds.
pub(super) fn lease_grant(seconds: u64) -> Message {
    Message::default().number(1, seconds)
}

/// Names a lease, to keep or to revoke it.
pub(super) fn lease(id: u64) -> Message {
    Message::default().number(1, id)
}

/// A lease as it was granted or kept: its id and how many seconds it has; 0: it has ended.
pub(super) fn read_lease(message: &[u8]) -> Option<(u64, u64)> {
    let (mut id, mut seconds) = (0, 0);
    for (number, field) in fields(message)? {
        match number {
            2 => id = field.number(),
            // Signed; one that has ended may be below zero.
            3 => seconds = u64::try_from(field.number().cast_signed()).unwrap_or(0),
            _ => {}
        }
    }
    Some((id, seconds))
}

pub(super) fn authenticate(name: &str, password: &str) -> Message {
    Message::default().text(1, name).text(2, password)
}

pub(super) fn read_token(message: &[u8]) -> Option<String> {
    let token = fields(message)?.into_iter().find(|(number, _)| *number == 2)?.1;
    Some(token.text().to_owned())
}

/// Watches all keys that begin with this, from a revision on.
pub(super) fn watch_prefix(prefix: &str, from: u64, id: u64) -> Message {
    let end = super::keys::end_of(prefix);
    let create = Message::default().text(1, prefix).bytes(2, &end).number(3, from).number(7, id);
    Message::default().bytes(1, &create.0)
}

/// Asks a watch for a sign of life.
pub(super) fn watch_progress() -> Message {
    Message::default().bytes(3, &[])
}

pub(super) fn read_range(message: &[u8]) -> Option<Ranged> {
    let mut ranged = Ranged::default();
    for (number, field) in fields(message)? {
        match number {
            1 => ranged.header = read_header(field.bytes())?,
            2 => ranged.kvs.push(read_kv(field.bytes())?),
            4 => ranged.count = field.number(),
            _ => {}
        }
    }
    Some(ranged)
}

pub(super) fn read_txn(message: &[u8]) -> Option<Done> {
    let mut done = Done::default();
    for (number, field) in fields(message)? {
        match number {
            1 => done.header = read_header(field.bytes())?,
            2 => done.succeeded = field.number() != 0,
            3 => {
                let answer = fields(field.bytes())?.into_iter().find(|(number, _)| *number == 1);
                done.answers.push(match answer {
                    Some((_, Field::Bytes(range))) => read_range(range)?,
                    _ => Ranged::default(),
                });
            }
            _ => {}
        }
    }
    Some(done)
}

pub(super) fn read_watch(message: &[u8]) -> Option<Watched> {
    let mut watched = Watched::default();
    for (number, field) in fields(message)? {
        match number {
            1 => watched.header = read_header(field.bytes())?,
            2 => watched.id = field.number().cast_signed(),
            3 => watched.created = field.number() != 0,
            4 => watched.cancelled = field.number() != 0,
            5 => watched.compacted = field.number(),
            6 => field.text().clone_into(&mut watched.reason),
            11 => watched.events.push(read_event(field.bytes())?),
            _ => {}
        }
    }
    Some(watched)
}

fn read_event(message: &[u8]) -> Option<Changed> {
    let mut changed = Changed { gone: false, kv: KeyValue::default() };
    for (number, field) in fields(message)? {
        match number {
            1 => changed.gone = field.number() == 1,
            2 => changed.kv = read_kv(field.bytes())?,
            _ => {}
        }
    }
    Some(changed)
}

fn read_header(message: &[u8]) -> Option<Header> {
    let mut header = Header::default();
    for (number, field) in fields(message)? {
        match number {
            1 => header.cluster = field.number(),
            3 => header.revision = field.number(),
            _ => {}
        }
    }
    Some(header)
}

fn read_kv(message: &[u8]) -> Option<KeyValue> {
    let mut kv = KeyValue::default();
    for (number, field) in fields(message)? {
        match number {
            1 => kv.key = field.bytes().to_vec(),
            2 => kv.created = field.number(),
            3 => kv.modified = field.number(),
            5 => kv.value = field.bytes().to_vec(),
            6 => kv.lease = field.number(),
            _ => {}
        }
    }
    Some(kv)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_written_as_etcds_own_clients_do() {
        // Each by etcd's field numbers, by hand.
        let cases: [(Message, &[u8]); 7] = [
            (Range::key("a").message(), b"\x0a\x01a"),
            (
                Range { limit: 3, by_age: Some(true), ..Range::prefix("a/") }.message(),
                b"\x0a\x02a/\x12\x02a0\x18\x03\x28\x02\x30\x02",
            ),
            (
                txn(
                    &[Compare::Modified("a".into(), 5)],
                    &[Op::Put { key: "a".into(), value: b"v".to_vec(), lease: 7 }],
                    &[],
                ),
                b"\x0a\x07\x10\x02\x1a\x01a\x30\x05\x12\x0a\x12\x08\x0a\x01a\x12\x01v\x18\x07",
            ),
            (
                txn(&[Compare::Created("a".into(), 0)], &[], &[Op::Delete("b".into())]),
                b"\x0a\x05\x10\x01\x1a\x01a\x1a\x05\x1a\x03\x0a\x01b",
            ),
            (txn(&[], &[Op::DeleteAll("b/".into())], &[]), b"\x12\x0a\x1a\x08\x0a\x02b/\x12\x02b0"),
            (watch_prefix("a/", 9, 1), b"\x0a\x0c\x0a\x02a/\x12\x02a0\x18\x09\x38\x01"),
            (watch_progress(), b"\x1a\x00"),
        ];
        for (message, expected) in cases {
            assert_eq!(message.0, expected);
        }
    }

    #[test]
    fn answers_are_read() {
        let kv = Message::default().text(1, "k").number(2, 3).number(3, 4).text(5, "v").number(6, 9);
        let header = Message::default().number(1, 77).number(3, 12);
        let ranged = Message::default().bytes(1, &header.0).bytes(2, &kv.0).number(4, 1);
        let expected = KeyValue { key: b"k".to_vec(), value: b"v".to_vec(), created: 3, modified: 4, lease: 9 };
        let read = read_range(&ranged.0).expect("a range");
        assert_eq!((read.header.cluster, read.header.revision, &read.kvs[0], read.count), (77, 12, &expected, 1));
        let event = Message::default().number(1, 1).bytes(2, &kv.0);
        let watched =
            Message::default().bytes(1, &header.0).number(2, u64::MAX).number(4, 1).number(5, 8).text(6, "why");
        let read = read_watch(&watched.bytes(11, &event.0).0).expect("a watch");
        assert_eq!((read.id, read.cancelled, read.compacted, read.reason.as_str()), (-1, true, 8, "why"));
        assert_eq!(read.events, [Changed { gone: true, kv: expected }]);
        let done = Message::default().number(2, 1).bytes(3, &Message::default().bytes(1, &ranged.0).0);
        let read = read_txn(&done.bytes(3, &Message::default().bytes(2, &[]).0).0).expect("a txn");
        assert_eq!((read.succeeded, read.answers[0].kvs.len(), read.answers[1].kvs.len()), (true, 1, 0));
        assert_eq!(read_lease(&Message::default().number(2, 5).number(3, 10).0), Some((5, 10)));
        assert_eq!(read_lease(&Message::default().number(2, 5).number(3, u64::MAX).0), Some((5, 0)));
        assert_eq!(read_token(&Message::default().text(2, "tok.1").0).as_deref(), Some("tok.1"));
        assert_eq!(read_range(b"\xff"), None);
    }
}
