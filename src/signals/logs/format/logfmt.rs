//! logfmt: `key=value key="quoted value" flag`.

use memchr::memchr2;

use super::super::fields::Fields;

/// Reads the wanted keys; false when no `key=value` pair is in the line. The first of several equal keys wins.
pub fn read(line: &[u8], wanted: &[String], fields: &mut Fields) -> bool {
    let (mut at, mut pairs) = (0, 0);
    while at < line.len() {
        if line[at] <= b' ' {
            at += 1;
            continue;
        }
        let key_end = at + line[at..].iter().position(|b| *b == b'=' || *b <= b' ').unwrap_or(line.len() - at);
        let slot = wanted.iter().position(|name| name.as_bytes() == &line[at..key_end]);
        let slot = slot.filter(|slot| fields.get(*slot, line).is_none());
        if line.get(key_end) != Some(&b'=') {
            if let Some(slot) = slot {
                fields.set(slot, key_end, key_end);
            }
            at = key_end;
            continue;
        }
        pairs += usize::from(key_end > at);
        at = value(line, key_end + 1, slot, fields);
    }
    pairs > 0
}

/// Reads a value that begins at `start`; gives where the line goes on.
fn value(line: &[u8], start: usize, slot: Option<usize>, fields: &mut Fields) -> usize {
    if line.get(start) != Some(&b'"') {
        let end = start + line[start..].iter().position(|b| *b <= b' ').unwrap_or(line.len() - start);
        if let Some(slot) = slot {
            fields.set(slot, start, end);
        }
        return end;
    }
    let (mut at, mut escaped) = (start + 1, false);
    let end = loop {
        match memchr2(b'"', b'\\', line.get(at..).unwrap_or_default()) {
            // A quote that is never closed goes to the end of the line.
            None => break line.len(),
            Some(length) if line[at + length] == b'"' => break at + length,
            Some(length) => {
                escaped = true;
                at += length + 2;
            }
        }
    };
    if let Some(slot) = slot {
        match escaped {
            false => fields.set(slot, start + 1, end),
            true => fields.set_text(slot, &unescape(&line[start + 1..end])),
        }
    }
    (end + 1).min(line.len())
}

fn unescape(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next() {
        plain.push(match byte {
            b'\\' => match bytes.next() {
                Some(b'n') => b'\n',
                Some(b't') => b'\t',
                Some(b'r') => b'\r',
                Some(other) => *other,
                None => b'\\',
            },
            other => *other,
        });
    }
    plain
}
