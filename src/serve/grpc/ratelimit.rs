//! Envoy's rate limit service, version 3:
//! <https://www.envoyproxy.io/docs/envoy/latest/api-v3/service/ratelimit/v3/rls.proto>.
//!
//! A descriptor names its limit in an entry with the key `limit`; its other entries, if there are any, are the key that
//! the limit is kept by. Descriptors without such an entry, and limits that do not exist, are let through and counted: a
//! typing error must not stop the traffic. A limit in requests in flight cannot be enforced so, because Envoy does not say
//! when a request has ended; it is let through, too.

use std::time::Duration;

use hyper::body::Incoming;

use super::wire::{Field, Message, fields};
use super::{Code, Failed, Messages, Reply, Shared, ok};
use crate::serve::Unit;
use crate::telemetry::Metric;

const OK: u64 = 1;
const OVER_LIMIT: u64 = 2;
/// `RateLimit.Unit.SECOND`.
const SECOND: u64 = 1;

#[derive(Debug, Default, PartialEq)]
struct Descriptor {
    limit: Option<String>,
    key: Option<String>,
    hits: Option<u64>,
}

#[derive(Debug, Default, PartialEq)]
struct Asked {
    descriptors: Vec<Descriptor>,
    hits: u64,
}

fn asked(message: &[u8]) -> Option<Asked> {
    let mut asked = Asked::default();
    for (number, field) in fields(message)? {
        match (number, field) {
            (2, Field::Bytes(bytes)) => asked.descriptors.push(descriptor(bytes)?),
            (3, Field::Number(hits)) => asked.hits = hits,
            _ => {}
        }
    }
    Some(asked)
}

fn descriptor(message: &[u8]) -> Option<Descriptor> {
    let mut descriptor = Descriptor::default();
    for (number, field) in fields(message)? {
        match (number, field) {
            (1, Field::Bytes(entry)) => {
                let (mut name, mut value) = ("", "");
                for (number, field) in fields(entry)? {
                    match number {
                        1 => name = field.text(),
                        2 => value = field.text(),
                        _ => {}
                    }
                }
                if name == "limit" && descriptor.limit.is_none() {
                    descriptor.limit = Some(value.to_owned());
                } else {
                    // The length before each part keeps ("a", "bc") and ("ab", "c") apart.
                    let key = descriptor.key.get_or_insert_default();
                    key.push_str(&format!("{}:{name}={value};", name.len()));
                }
            }
            // google.protobuf.UInt64Value
            (3, Field::Bytes(hits)) => descriptor.hits = fields(hits)?.first().map(|(_, hits)| hits.number()),
            _ => {}
        }
    }
    Some(descriptor)
}

pub(super) async fn ask(shared: &Shared, body: Incoming) -> Result<Reply, Failed> {
    let message = Messages::of(body).only().await?;
    let asked = asked(&message).ok_or(Failed(Code::InvalidArgument, "this is no RateLimitRequest"))?;
    let mut overall = OK;
    let mut statuses = Message::default();
    for descriptor in &asked.descriptors {
        let (code, status) = judge(shared, descriptor, asked.hits.max(1));
        overall = overall.max(code);
        statuses = statuses.bytes(2, &status.0);
    }
    let mut response = Message::default().number(1, overall);
    response.0.extend_from_slice(&statuses.0);
    Ok(ok(&response))
}

fn judge(shared: &Shared, descriptor: &Descriptor, hits: u64) -> (u64, Message) {
    let pass = || {
        shared.telemetry.count(Metric::LimitUnmatched, &[]);
        (OK, Message::default().number(1, OK))
    };
    let Some(name) = &descriptor.limit else { return pass() };
    match shared.limit(name) {
        Some((_, limit, Unit::RequestsPerSecond)) if limit.is_finite() => {}
        _ => return pass(),
    }
    let key = descriptor.key.as_deref().filter(|key| key.len() <= crate::limits::LIMIT_KEY_BYTES);
    let Some(verdict) = shared.take(name, key, descriptor.hits.unwrap_or(hits).max(1)) else { return pass() };
    let code = if verdict.allowed { OK } else { OVER_LIMIT };
    let limit = Message::default().number(1, verdict.limit.max(0.0).round() as u64).number(2, SECOND).text(3, name);
    let wait = verdict.wait.unwrap_or(Duration::from_secs(1));
    let duration = Message::default().number(1, wait.as_secs()).number(2, u64::from(wait.subsec_nanos()));
    let status =
        Message::default().number(1, code).bytes(2, &limit.0).number(3, verdict.remaining).bytes(4, &duration.0);
    (code, status)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(key: &str, value: &str) -> Message {
        Message::default().text(1, key).text(2, value)
    }

    #[test]
    fn a_descriptor_names_its_limit_and_the_rest_is_the_key() {
        let first = Message::default().bytes(1, &entry("limit", "checkout").0).bytes(1, &entry("user", "u7").0);
        let first = first.bytes(3, &Message::default().number(1, 4).0);
        let second = Message::default().bytes(1, &entry("generic_key", "x").0);
        let request = Message::default().text(1, "shop").bytes(2, &first.0).bytes(2, &second.0).number(3, 2);
        let read = asked(&request.0).expect("a request");
        assert_eq!(read.hits, 2);
        let limit = Some("checkout".to_owned());
        assert_eq!(read.descriptors[0], Descriptor { limit, key: Some("4:user=u7;".into()), hits: Some(4) });
        assert_eq!(read.descriptors[1].limit, None);
        assert_eq!(asked(&[0x12, 9]), None);
    }
}
