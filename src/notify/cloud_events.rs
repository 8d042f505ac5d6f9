//! Scale calls as CloudEvents 1.0 (<https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md> and its HTTP
//! binding): structured, the event in the body, or binary, its attributes in `ce-` headers. The data are the call as
//! [`ScaleCall::to_json`] gives it; the event's id is the `webhook-id`. What signs the body signs it in either form.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::render;
use super::scale::ScaleCall;
use super::settings::CallFormat;

/// What happened, as receivers subscribe to it.
const KIND: &str = "brownout.scale.requested";

/// What a request carries beside the headers that every call has.
#[derive(Debug)]
pub(super) struct Envelope {
    pub content_type: &'static str,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
}

/// A call in this format, sent by this host.
pub(super) fn envelope(format: CallFormat, call: &ScaleCall, host: &str) -> Envelope {
    let (id, source) = (render::one_line(&call.id), format!("//{}/brownout", encoded(host)));
    match format {
        CallFormat::Json => Envelope { content_type: "application/json", headers: Vec::new(), body: call.to_json() },
        CallFormat::CloudEvents => {
            let event = json!({
                "specversion": "1.0",
                "id": id,
                "source": source,
                "type": KIND,
                "subject": call.target,
                "time": call.at.to_rfc3339(),
                "datacontenttype": "application/json",
                "data": serde_json::from_slice::<Value>(&call.to_json()).unwrap_or_default(),
            });
            let body = serde_json::to_vec(&event).unwrap_or_default();
            Envelope { content_type: "application/cloudevents+json; charset=utf-8", headers: Vec::new(), body }
        }
        CallFormat::CloudEventsBinary => {
            let headers = vec![
                ("ce-specversion", "1.0".to_owned()),
                ("ce-id", encoded(&id)),
                ("ce-source", encoded(&source)),
                ("ce-type", KIND.to_owned()),
                ("ce-subject", encoded(&call.target)),
                ("ce-time", call.at.to_rfc3339()),
            ];
            Envelope { content_type: "application/json", headers, body: call.to_json() }
        }
    }
}

/// An attribute as a header's value: what is no printable ASCII, and space, quote and percent, as its bytes (section
/// 3.1.3.2 of the HTTP binding).
fn encoded(text: &str) -> String {
    let mut written = String::with_capacity(text.len());
    for byte in text.bytes() {
        if matches!(byte, b'!'..=b'~') && !matches!(byte, b'"' | b'%') {
            written.push(char::from(byte));
        } else {
            let _ = write!(written, "%{byte:02X}");
        }
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_stay_within_what_a_header_may_hold() {
        for (text, expected) in [
            ("checkout-7", "checkout-7"),
            ("Euro € sign", "Euro%20%E2%82%AC%20sign"),
            ("a\r\nb\"%", "a%0D%0Ab%22%25"),
            ("//host/brownout", "//host/brownout"),
        ] {
            assert_eq!(encoded(text), expected);
        }
    }
}
