//! JSON as Protocol Buffers' well-known types write it.
//! <https://protobuf.dev/reference/protobuf/google.protobuf/#struct>.

use serde_json::{Map, Value as Json};

pub(super) use crate::net::wire::{Field, Message, fields};

/// A JSON object as `google.protobuf.Struct`.
pub(super) fn structure(object: &Map<String, Json>) -> Message {
    object.iter().fold(Message::default(), |message, (key, item)| {
        let entry = Message::default().text(1, key).bytes(2, &value(item).0);
        message.bytes(1, &entry.0)
    })
}

/// JSON as `google.protobuf.Value`.
fn value(json: &Json) -> Message {
    let empty = Message::default();
    match json {
        // A one-of field is written also when it is zero.
        Json::Null => Message(vec![1 << 3, 0]),
        Json::Number(number) => empty.double(2, number.as_f64().unwrap_or_default()),
        Json::String(text) => empty.bytes(3, text.as_bytes()),
        Json::Bool(truth) => Message(vec![4 << 3, u8::from(*truth)]),
        Json::Object(object) => empty.bytes(5, &structure(object).0),
        Json::Array(items) => {
            let list = items.iter().fold(Message::default(), |list, item| list.bytes(1, &value(item).0));
            empty.bytes(6, &list.0)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_struct_is_written_as_googles() {
        let object = serde_json::json!({ "a": 1.5, "b": [true, null], "c": { "d": "x" } });
        let written = structure(object.as_object().expect("an object"));
        let hex: String = written.0.iter().map(|byte| format!("{byte:02x}")).collect();
        // By Python's protobuf, one field after the other.
        let (a, b) = ("0a0e0a0161120911000000000000f83f", "0a0f0a0162120a32080a0220010a020800");
        assert_eq!(hex, format!("{a}{b}0a110a0163120c2a0a0a080a016412031a0178"));
    }
}
