//! Protocol Buffers, as much of them as our few messages need: fields in, fields out, no generated code.
//! <https://protobuf.dev/programming-guides/encoding/>.

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

impl<'a> Field<'a> {
    /// The text of a length-delimited field; nothing when it is none.
    pub fn text(self) -> &'a str {
        std::str::from_utf8(self.bytes()).unwrap_or_default()
    }

    pub fn bytes(self) -> &'a [u8] {
        match self {
            Field::Bytes(bytes) => bytes,
            Field::Number(_) => &[],
        }
    }

    pub fn number(self) -> u64 {
        match self {
            Field::Number(number) => number,
            Field::Bytes(_) => 0,
        }
    }
}

/// The fields of a message in their order, each with its number. Ends at the first byte that makes no sense, with `None`.
pub fn fields(message: &[u8]) -> Option<Vec<(u32, Field<'_>)>> {
    let (mut rest, mut found) = (message, Vec::new());
    while !rest.is_empty() {
        let tag = varint(&mut rest)?;
        let field = match tag & 7 {
            0 => Field::Number(varint(&mut rest)?),
            1 => Field::Bytes(take(&mut rest, 8)?),
            2 => {
                let length = usize::try_from(varint(&mut rest)?).ok()?;
                Field::Bytes(take(&mut rest, length)?)
            }
            5 => Field::Bytes(take(&mut rest, 4)?),
            _ => return None,
        };
        found.push((u32::try_from(tag >> 3).ok()?, field));
    }
    Some(found)
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (&byte, after) = rest.split_first()?;
        *rest = after;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(taken)
}

/// A message that is being written.
#[derive(Clone, Debug, Default)]
pub struct Message(pub Vec<u8>);

impl Message {
    /// Writes a whole number; zero is the absence of the field.
    pub fn number(mut self, field: u32, value: u64) -> Message {
        if value != 0 {
            self.tag(field, 0);
            self.varint(value);
        }
        self
    }

    /// Writes a text; the empty one is the absence of the field.
    pub fn text(self, field: u32, value: &str) -> Message {
        if value.is_empty() { self } else { self.bytes(field, value.as_bytes()) }
    }

    /// Writes a message or bytes, also empty ones.
    pub fn bytes(mut self, field: u32, value: &[u8]) -> Message {
        self.tag(field, 2);
        self.varint(value.len() as u64);
        self.0.extend_from_slice(value);
        self
    }

    /// Writes a double.
    pub fn double(mut self, field: u32, value: f64) -> Message {
        self.tag(field, 1);
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }

    fn tag(&mut self, field: u32, kind: u32) {
        self.varint(u64::from(field << 3 | kind));
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let message = Message::default().number(1, 300).text(2, "héllo").bytes(16, &[]).number(3, u64::MAX);
        let read = fields(&message.0).expect("a message");
        assert_eq!(
            read,
            [
                (1, Field::Number(300)),
                (2, Field::Bytes("héllo".as_bytes())),
                (16, Field::Bytes(&[])),
                (3, Field::Number(u64::MAX))
            ]
        );
        // The example of the specification.
        assert_eq!(Message::default().number(1, 150).0, [0x08, 0x96, 0x01]);
    }

    #[test]
    fn nonsense_is_no_message() {
        for bad in [&[0x0a][..], &[0x0a, 5, 1], &[0xff; 11], &[0x0b], &[0x09, 1]] {
            assert_eq!(fields(bad), None, "{bad:?}");
        }
    }
}
