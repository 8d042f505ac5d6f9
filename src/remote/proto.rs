//! A protobuf message as it is written: fields one behind the other. Only what remote write needs, and only writing.
//!
//! Follows <https://protobuf.dev/programming-guides/encoding/>. As in proto3, a number that is 0 and a text that is empty
//! are left out, except in repeated fields.

const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const LENGTH: u64 = 2;

/// A message under construction.
#[derive(Clone, Debug, Default)]
pub struct Message(Vec<u8>);

impl Message {
    /// What was written so far.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Takes everything out, and keeps the room.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    fn raw_varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn key(&mut self, field: u64, kind: u64) {
        self.raw_varint(field << 3 | kind);
    }

    /// An integer that is not negative, or an enum.
    pub fn uint(&mut self, field: u64, value: u64) {
        if value != 0 {
            self.key(field, VARINT);
            self.raw_varint(value);
        }
    }

    /// `int64`: a negative number takes ten bytes.
    pub fn int(&mut self, field: u64, value: i64) {
        self.uint(field, value as u64);
    }

    /// `sint32` and `sint64`: small negative numbers stay small.
    pub fn sint(&mut self, field: u64, value: i64) {
        self.uint(field, ((value << 1) ^ (value >> 63)) as u64);
    }

    /// `double`. Positive zero is left out, negative zero is not.
    pub fn double(&mut self, field: u64, value: f64) {
        if value.to_bits() != 0 {
            self.key(field, FIXED64);
            self.0.extend_from_slice(&value.to_bits().to_le_bytes());
        }
    }

    /// Repeated `double`, packed.
    pub fn doubles(&mut self, field: u64, values: &[f64]) {
        if !values.is_empty() {
            self.key(field, LENGTH);
            self.raw_varint(values.len() as u64 * 8);
            values.iter().for_each(|value| self.0.extend_from_slice(&value.to_bits().to_le_bytes()));
        }
    }

    /// A text.
    pub fn text(&mut self, field: u64, text: &str) {
        if !text.is_empty() {
            self.bytes(field, text.as_bytes());
        }
    }

    /// A message in this one; it is there even when it is empty.
    pub fn message(&mut self, field: u64, inner: &Message) {
        self.bytes(field, &inner.0);
    }

    fn bytes(&mut self, field: u64, bytes: &[u8]) {
        self.key(field, LENGTH);
        self.raw_varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_written_as_the_encoding_guide_shows() {
        let check = |write: &dyn Fn(&mut Message), expected: &[u8]| {
            let mut message = Message::default();
            write(&mut message);
            assert_eq!(message.as_bytes(), expected);
        };
        check(&|m| m.uint(1, 150), &[0x08, 0x96, 0x01]);
        check(&|m| m.uint(1, 0), &[]);
        check(&|m| m.text(2, "testing"), b"\x12\x07testing");
        check(&|m| m.int(1, -2), &[0x08, 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]);
        check(&|m| m.sint(1, -2), &[0x08, 0x03]);
        check(&|m| m.sint(1, 1), &[0x08, 0x02]);
        check(&|m| m.double(1, 1.0), &[0x09, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f]);
        check(&|m| m.double(1, -0.0), &[0x09, 0, 0, 0, 0, 0, 0, 0, 0x80]);
        check(&|m| m.doubles(16, &[0.0]), &[0x82, 0x01, 8, 0, 0, 0, 0, 0, 0, 0, 0]);
        check(&|m| m.message(3, &Message::default()), &[0x1a, 0x00]);
    }
}
