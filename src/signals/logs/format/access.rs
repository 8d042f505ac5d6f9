//! The web servers' access logs: `combined` and `common`, split by hand.
//!
//! `addr ident user [time] "request" status bytes` and, for combined, ` "referer" "user agent"`; further columns follow as
//! `extra_1` and so on, quoted or not.

use memchr::{memchr, memchr2, memmem};

use super::super::fields::Fields;

const NAMES: [&str; 14] = [
    "remote_addr",
    "remote_logname",
    "remote_user",
    "time_local",
    "request",
    "status",
    "body_bytes_sent",
    "http_referer",
    "http_user_agent",
    "method",
    "uri",
    "path",
    "query",
    "protocol",
];
const REFERER: usize = 7;
const USER_AGENT: usize = 8;
const METHOD: usize = 9;
const URI: usize = 10;
const PATH: usize = 11;
const QUERY: usize = 12;
const PROTOCOL: usize = 13;
const EXTRAS: usize = 99;

/// Which slot each column goes to.
#[derive(Debug, Default)]
pub struct Slots {
    named: [Option<usize>; NAMES.len()],
    /// Column numbers from 1, and slots.
    extras: Vec<(usize, usize)>,
}

impl Slots {
    /// Notes a wanted column; `None` when there is no such column.
    pub fn want(&mut self, name: &str, slot: usize, combined: bool) -> Option<()> {
        if let Some(number) = name.strip_prefix("extra_") {
            let number = number.parse().ok().filter(|number| (1..=EXTRAS).contains(number))?;
            self.extras.push((number, slot));
            return Some(());
        }
        let index = NAMES.iter().position(|known| *known == name)?;
        if !combined && (index == REFERER || index == USER_AGENT) {
            return None;
        }
        self.named[index] = Some(slot);
        Some(())
    }

    fn note(&self, index: usize, start: usize, end: usize, fields: &mut Fields) {
        if let Some(slot) = self.named[index] {
            fields.set(slot, start, end);
        }
    }
}

/// The names, for messages.
pub fn known(combined: bool) -> String {
    let names = NAMES.iter().enumerate().filter(|(index, _)| combined || (*index != REFERER && *index != USER_AGENT));
    let mut text = names.map(|(_, name)| *name).collect::<Vec<_>>().join(", ");
    text.push_str(", extra_1, extra_2 ...");
    text
}

/// Splits a line; `None` when it does not have the format.
pub fn read(line: &[u8], combined: bool, slots: &Slots, fields: &mut Fields) -> Option<()> {
    let word = |from: usize| memchr(b' ', line.get(from..)?).map(|length| from + length);
    let addr = word(0).filter(|end| *end > 0)?;
    slots.note(0, 0, addr, fields);
    let ident = word(addr + 1)?;
    slots.note(1, addr + 1, ident, fields);
    // A user's name may have spaces in it.
    let user = ident + 1 + memmem::find(line.get(ident + 1..)?, b" [")?;
    slots.note(2, ident + 1, user, fields);
    let time = user + 2 + memchr(b']', line.get(user + 2..)?)?;
    slots.note(3, user + 2, time, fields);
    let (request, after) = quoted(line, time + 1)?;
    slots.note(4, request, after - 1, fields);
    split_request(line, request, after - 1, slots, fields);
    let status = word(after + 1).unwrap_or(line.len());
    let digits = line.get(after + 1..status).filter(|d| d.len() == 3 && d.iter().all(u8::is_ascii_digit));
    digits.filter(|_| line[after] == b' ')?;
    slots.note(5, after + 1, status, fields);
    let bytes = word(status + 1).unwrap_or(line.len());
    match line.get(status + 1..bytes)? {
        // Apache's way to say that there was no body.
        b"-" => {
            if let Some(slot) = slots.named[6] {
                fields.set_text(slot, b"0");
            }
        }
        digits if !digits.is_empty() && digits.iter().all(u8::is_ascii_digit) => {
            slots.note(6, status + 1, bytes, fields);
        }
        _ => return None,
    }
    let mut at = bytes;
    if combined {
        for index in [REFERER, USER_AGENT] {
            let (start, after) = quoted(line, at)?;
            slots.note(index, start, after - 1, fields);
            at = after;
        }
    }
    if !slots.extras.is_empty() {
        read_extras(line, at, slots, fields);
    }
    Some(())
}

/// ` "text"` from `at` on: where the text begins, and where the line goes on behind the closing quote.
fn quoted(line: &[u8], at: usize) -> Option<(usize, usize)> {
    if line.get(at..at + 2)? != b" \"" {
        return None;
    }
    let start = at + 2;
    let mut end = start;
    loop {
        end += memchr2(b'"', b'\\', line.get(end..)?)?;
        if line[end] == b'"' {
            return Some((start, end + 1));
        }
        end += 2;
    }
}

fn split_request(line: &[u8], start: usize, end: usize, slots: &Slots, fields: &mut Fields) {
    if slots.named[METHOD..].iter().all(Option::is_none) {
        return;
    }
    let request = &line[start..end];
    let (Some(first), Some(last)) = (memchr(b' ', request), memchr::memrchr(b' ', request)) else {
        return;
    };
    if first == last {
        return;
    }
    let (uri, uri_end) = (start + first + 1, start + last);
    let path_end = memchr(b'?', &line[uri..uri_end]).map_or(uri_end, |length| uri + length);
    slots.note(METHOD, start, start + first, fields);
    slots.note(URI, uri, uri_end, fields);
    slots.note(PATH, uri, path_end, fields);
    if path_end < uri_end {
        slots.note(QUERY, path_end + 1, uri_end, fields);
    }
    slots.note(PROTOCOL, uri_end + 1, end, fields);
}

fn read_extras(line: &[u8], mut at: usize, slots: &Slots, fields: &mut Fields) {
    for number in 1..=EXTRAS {
        if line.get(at) != Some(&b' ') {
            return;
        }
        let (start, end, after) = match quoted(line, at) {
            Some((start, after)) => (start, after - 1, after),
            None => {
                let end = memchr(b' ', &line[at + 1..]).map_or(line.len(), |length| at + 1 + length);
                (at + 1, end, end)
            }
        };
        for (_, slot) in slots.extras.iter().filter(|(wanted, _)| *wanted == number) {
            fields.set(*slot, start, end);
        }
        at = after;
    }
}
