//! Syslog lines: RFC 5424, RFC 3164, and the two forms that daemons write to files (with a classic or an RFC 3339 time,
//! without the priority).

use memchr::memchr;

use super::super::fields::Fields;

/// The fields.
pub const NAMES: [&str; 9] =
    ["priority", "facility", "severity", "timestamp", "hostname", "app_name", "procid", "msgid", "message"];
const PRIORITY: usize = 0;
const FACILITY: usize = 1;
const SEVERITY: usize = 2;
const TIMESTAMP: usize = 3;
const HOSTNAME: usize = 4;
const APP_NAME: usize = 5;
const PROCID: usize = 6;
const MSGID: usize = 7;
const MESSAGE: usize = 8;

const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp", "ntp",
    "audit", "alert", "clock", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
];
const SEVERITIES: [&str; 8] = ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"];
const MONTHS: &[u8] = b"JanFebMarAprMayJunJulAugSepOctNovDec";

/// Which slot each field goes to.
#[derive(Debug, Default)]
pub struct Slots([Option<usize>; NAMES.len()]);

impl Slots {
    /// Notes a wanted field; `None` when there is no such field.
    pub fn want(&mut self, name: &str, slot: usize) -> Option<()> {
        let index = NAMES.iter().position(|known| *known == name)?;
        self.0[index] = Some(slot);
        Some(())
    }

    fn note(&self, index: usize, start: usize, end: usize, fields: &mut Fields) {
        if let Some(slot) = self.0[index] {
            fields.set(slot, start, end);
        }
    }
}

/// Splits a line; `None` when it is none of the forms.
pub fn read(line: &[u8], slots: &Slots, fields: &mut Fields) -> Option<()> {
    let at = priority(line, slots, fields)?;
    if at > 0 && line.get(at..at + 2) == Some(b"1 ") {
        return rfc5424(line, at + 2, slots, fields);
    }
    let end = time_end(line, at)?;
    slots.note(TIMESTAMP, at, end, fields);
    let host = end + 1;
    let host_end = host + memchr(b' ', line.get(host..)?)?;
    slots.note(HOSTNAME, host, host_end, fields);
    tag_and_message(line, host_end + 1, slots, fields);
    Some(())
}

/// `<34>` at the beginning, if it is there; gives where the line goes on.
fn priority(line: &[u8], slots: &Slots, fields: &mut Fields) -> Option<usize> {
    if line.first() != Some(&b'<') {
        return Some(0);
    }
    let end = 1 + memchr(b'>', line.get(1..5.min(line.len()))?)?;
    let number: usize = std::str::from_utf8(&line[1..end]).ok()?.parse().ok()?;
    let facility = FACILITIES.get(number / 8)?;
    slots.note(PRIORITY, 1, end, fields);
    if let Some(slot) = slots.0[FACILITY] {
        fields.set_text(slot, facility.as_bytes());
    }
    if let Some(slot) = slots.0[SEVERITY] {
        fields.set_text(slot, SEVERITIES[number % 8].as_bytes());
    }
    Some(end + 1)
}

/// `Oct  1 22:14:15` or RFC 3339.
fn time_end(line: &[u8], at: usize) -> Option<usize> {
    let classic = line.get(at..at + 16);
    if let Some(text) = classic
        && MONTHS.chunks(3).any(|month| month == &text[..3])
        && [3, 6, 15].iter().all(|space| text[*space] == b' ')
        && text[9] == b':'
        && text[12] == b':'
    {
        return Some(at + 15);
    }
    let end = at + memchr(b' ', line.get(at..)?)?;
    let text = &line[at..end];
    let dated = text.len() >= 19 && text[4] == b'-' && text[7] == b'-' && matches!(text[10], b'T' | b' ');
    (dated && text[..4].iter().all(u8::is_ascii_digit)).then_some(end)
}

/// `tag[pid]: message`; without such a tag everything is the message.
fn tag_and_message(line: &[u8], at: usize, slots: &Slots, fields: &mut Fields) {
    let rest = &line[at.min(line.len())..];
    let tag = rest.iter().take_while(|b| !matches!(b, b':' | b'[' | b' ')).count();
    let mut after = at + tag;
    let mut pid = None;
    if line.get(after) == Some(&b'[')
        && let Some(close) = memchr(b']', &line[after..])
    {
        pid = Some((after + 1, after + close));
        after += close + 1;
    }
    let tagged = tag > 0 && line.get(after) == Some(&b':');
    let start = if tagged { after + 1 + usize::from(line.get(after + 1) == Some(&b' ')) } else { at.min(line.len()) };
    if tagged {
        slots.note(APP_NAME, at, at + tag, fields);
        if let Some((start, end)) = pid {
            slots.note(PROCID, start, end, fields);
        }
    }
    slots.note(MESSAGE, start, line.len(), fields);
}

fn rfc5424(line: &[u8], mut at: usize, slots: &Slots, fields: &mut Fields) -> Option<()> {
    for index in [TIMESTAMP, HOSTNAME, APP_NAME, PROCID, MSGID] {
        let end = at + memchr(b' ', line.get(at..)?)?;
        if &line[at..end] != b"-" {
            slots.note(index, at, end, fields);
        }
        at = end + 1;
    }
    let mut end = at;
    if line.get(at) == Some(&b'-') {
        end += 1;
    } else {
        while line.get(end) == Some(&b'[') {
            end = element_end(line, end + 1)?;
        }
        if end == at {
            return None;
        }
    }
    let message = (end + 1).min(line.len());
    let message = if line[message..].starts_with("\u{feff}".as_bytes()) { message + 3 } else { message };
    slots.note(MESSAGE, message, line.len(), fields);
    Some(())
}

/// Behind the `]` of a structured element; quotes may hold brackets.
fn element_end(line: &[u8], mut at: usize) -> Option<usize> {
    let mut quoted = false;
    loop {
        match line.get(at)? {
            b'\\' if quoted => at += 1,
            b'"' => quoted = !quoted,
            b']' if !quoted => return Some(at + 1),
            _ => {}
        }
        at += 1;
    }
}
