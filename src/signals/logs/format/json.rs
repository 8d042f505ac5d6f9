//! One JSON object a line. Only the wanted fields are looked at; the rest is skipped without building anything.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::super::fields::Fields;

/// Reads the wanted paths (`a.b.c`; a key that has dots itself is found too). False when the line is no JSON object.
pub fn read(line: &[u8], wanted: &[String], fields: &mut Fields) -> bool {
    let paths: Vec<(&str, usize)> = wanted.iter().enumerate().map(|(slot, path)| (path.as_str(), slot)).collect();
    if read_object(line, &paths, fields) {
        return true;
    }
    // Bytes that are no UTF-8 must not hide the rest of the line.
    if std::str::from_utf8(line).is_ok() {
        return false;
    }
    fields.clear();
    let repaired = String::from_utf8_lossy(line);
    let mut copy = Fields::new(wanted.len());
    let good = read_object(repaired.as_bytes(), &paths, &mut copy);
    for slot in 0..wanted.len() {
        if let Some(text) = copy.get(slot, repaired.as_bytes()) {
            fields.set_text(slot, text);
        }
    }
    good
}

fn read_object(line: &[u8], paths: &[(&str, usize)], fields: &mut Fields) -> bool {
    let mut reader = serde_json::Deserializer::from_slice(line);
    let object = Object { paths, line, fields };
    object.deserialize(&mut reader).is_ok() && reader.end().is_ok()
}

struct Object<'a, 'p> {
    paths: &'a [(&'p str, usize)],
    line: &'a [u8],
    fields: &'a mut Fields,
}

impl<'de> DeserializeSeed<'de> for Object<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Object<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(choice) = map.next_key_seed(Key { paths: self.paths })? {
            match choice {
                Choice::Skip => drop(map.next_value::<IgnoredAny>()?),
                Choice::Leaf(slot) => {
                    let raw: &RawValue = map.next_value()?;
                    store(slot, raw.get(), self.line, self.fields);
                }
                Choice::Nested(paths) => {
                    let raw: &RawValue = map.next_value()?;
                    if raw.get().starts_with('{') {
                        let mut reader = serde_json::Deserializer::from_str(raw.get());
                        let nested = Object { paths: &paths, line: self.line, fields: self.fields };
                        nested.deserialize(&mut reader).map_err(serde::de::Error::custom)?;
                    }
                }
            }
        }
        Ok(())
    }
}

enum Choice<'p> {
    Skip,
    Leaf(usize),
    Nested(Vec<(&'p str, usize)>),
}

struct Key<'a, 'p> {
    paths: &'a [(&'p str, usize)],
}

impl<'de, 'p> DeserializeSeed<'de> for Key<'_, 'p> {
    type Value = Choice<'p>;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Choice<'p>, D::Error> {
        reader.deserialize_str(self)
    }
}

impl<'p> Visitor<'_> for Key<'_, 'p> {
    type Value = Choice<'p>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Choice<'p>, E> {
        let mut nested = Vec::new();
        for (path, slot) in self.paths {
            match path.strip_prefix(key) {
                Some("") => return Ok(Choice::Leaf(*slot)),
                Some(rest) if rest.starts_with('.') => nested.push((&rest[1..], *slot)),
                _ => {}
            }
        }
        Ok(if nested.is_empty() { Choice::Skip } else { Choice::Nested(nested) })
    }
}

/// Notes a value: a string without its quotes, anything else as it is written, null as missing.
fn store(slot: usize, raw: &str, line: &[u8], fields: &mut Fields) {
    // The raw text is a part of the line: its address tells where.
    let start = (raw.as_ptr() as usize).wrapping_sub(line.as_ptr() as usize);
    match raw.as_bytes() {
        b"null" => {}
        [b'"', inner @ .., b'"'] if !inner.contains(&b'\\') => fields.set(slot, start + 1, start + 1 + inner.len()),
        [b'"' | b'[', ..] => match text_of(raw) {
            Some(text) => fields.set_text(slot, &text),
            None => fields.set(slot, start, start + raw.len()),
        },
        _ => fields.set(slot, start, start + raw.len()),
    }
}

/// The bytes of a JSON string, or of a list of bytes (as journald writes what is no UTF-8).
fn text_of(raw: &str) -> Option<Vec<u8>> {
    match raw.as_bytes().first()? {
        b'"' => serde_json::from_str::<String>(raw).ok().map(String::into_bytes),
        b'[' => serde_json::from_str::<Vec<u8>>(raw).ok(),
        _ => None,
    }
}
